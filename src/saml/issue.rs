//! Responses that we sign as an identity provider: one assertion, signed, in a response that is signed as well.

use std::time::Duration;

use super::engine::{SigningFailure, XmlSignatureEngine, signature_template};
use super::key::SigningKey;
use super::received_request::{RelyingParty, VerifiedAuthnRequest};
use super::request::RequestId;
use super::{names, tree};
use crate::identity::{EntityId, Timestamp};

/// How long an issued assertion may be presented: time for a form to be posted.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What an issued assertion says about the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The persistent name identifier.
    pub name_id: String,
    /// Attributes, name and value.
    pub attributes: Vec<(String, String)>,
    /// The authentication context class.
    pub authn_context: String,
    /// When the user was authenticated.
    pub authn_instant: Timestamp,
}

/// We, as an identity provider.
#[derive(Debug, Clone, Copy)]
pub struct Issuer<'a> {
    /// Our entity id.
    pub entity_id: &'a EntityId,
    /// Our key.
    pub key: &'a SigningKey,
    /// Signs.
    pub engine: &'a dyn XmlSignatureEngine,
}

/// Writes and signs the response to a verified request.
pub fn signed_response(
    issuer: Issuer<'_>,
    party: &RelyingParty,
    request: &VerifiedAuthnRequest,
    statement: &Statement,
    now: Timestamp,
) -> Result<String, SigningFailure> {
    let Issuer { entity_id, key, engine } = issuer;
    let assertion = engine.sign(&assertion_template(issuer, party, request, statement, now), key)?;
    let id = RequestId::random();
    let response = format!(
        "<samlp:Response xmlns:samlp=\"{protocol}\" xmlns:saml=\"{saml}\" ID=\"{id}\" Version=\"2.0\" IssueInstant=\"{now}\" \
         Destination=\"{acs}\" InResponseTo=\"{request}\"><saml:Issuer>{issuer}</saml:Issuer>{signature}\
         <samlp:Status><samlp:StatusCode Value=\"{success}\"/></samlp:Status>{assertion}</samlp:Response>",
        protocol = names::PROTOCOL,
        saml = names::ASSERTION,
        now = now.rfc3339(),
        acs = tree::escape(party.acs_url.as_str()),
        request = tree::escape(request.id()),
        issuer = tree::escape(entity_id.as_str()),
        signature = signature_template(id.as_str(), key),
        success = names::STATUS_SUCCESS,
    );
    engine.sign(&response, key)
}

fn assertion_template(
    issuer: Issuer<'_>,
    party: &RelyingParty,
    request: &VerifiedAuthnRequest,
    statement: &Statement,
    now: Timestamp,
) -> String {
    let id = RequestId::random();
    let values: String = statement
        .attributes
        .iter()
        .map(|(name, value)| {
            format!(
                "<saml:Attribute Name=\"{}\" NameFormat=\"urn:oasis:names:tc:SAML:2.0:attrname-format:uri\">\
                 <saml:AttributeValue>{}</saml:AttributeValue></saml:Attribute>",
                tree::escape(name),
                tree::escape(value)
            )
        })
        .collect();
    // The schema knows no empty attribute statement.
    let attributes = match values.as_str() {
        "" => String::new(),
        values => format!("<saml:AttributeStatement>{values}</saml:AttributeStatement>"),
    };
    format!(
        "<saml:Assertion xmlns:saml=\"{saml}\" ID=\"{id}\" Version=\"2.0\" IssueInstant=\"{now}\">\
         <saml:Issuer>{issuer}</saml:Issuer>{signature}\
         <saml:Subject><saml:NameID Format=\"{persistent}\">{name_id}</saml:NameID>\
         <saml:SubjectConfirmation Method=\"{bearer}\"><saml:SubjectConfirmationData NotOnOrAfter=\"{end}\" Recipient=\"{acs}\" \
         InResponseTo=\"{request}\"/></saml:SubjectConfirmation></saml:Subject>\
         <saml:Conditions NotBefore=\"{now}\" NotOnOrAfter=\"{end}\"><saml:AudienceRestriction><saml:Audience>{audience}\
         </saml:Audience></saml:AudienceRestriction></saml:Conditions>\
         <saml:AuthnStatement AuthnInstant=\"{authn_instant}\" SessionIndex=\"{session}\"><saml:AuthnContext>\
         <saml:AuthnContextClassRef>{context}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>\
         {attributes}</saml:Assertion>",
        saml = names::ASSERTION,
        now = now.rfc3339(),
        issuer = tree::escape(issuer.entity_id.as_str()),
        signature = signature_template(id.as_str(), issuer.key),
        persistent = names::NAME_ID_PERSISTENT,
        name_id = tree::escape(&statement.name_id),
        bearer = names::BEARER,
        end = (now + LIFETIME).rfc3339(),
        acs = tree::escape(party.acs_url.as_str()),
        request = tree::escape(request.id()),
        audience = tree::escape(party.entity_id.as_str()),
        authn_instant = statement.authn_instant.rfc3339(),
        session = RequestId::random(),
        context = tree::escape(&statement.authn_context),
    )
}
