//! Authentication requests that we receive as an identity provider. They pass the same gate and the same verifier as
//! responses do; an unsigned request is refused.

use url::Url;

use super::algorithm::AlgorithmPolicy;
use super::certificate::SigningCertificate;
use super::engine::{self, XmlSignatureEngine};
use super::refusal::SamlRefusal;
use super::request::Freshness;
use super::{guard, names, redirect, tree};
use crate::identity::{EntityId, Timestamp};

/// Longest id of a foreign request that we repeat in a response.
const MAX_ID_CHARS: usize = 256;

/// A registered service provider, from whom a request may come.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    /// Its entity id.
    pub entity_id: EntityId,
    /// Where its responses go. A request may repeat it; it may not choose another.
    pub acs_url: Url,
    /// The certificates that may sign its requests.
    pub certificates: Vec<SigningCertificate>,
}

/// A request that was verified to come from a registered service provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAuthnRequest {
    id: String,
    freshness: Freshness,
}

impl VerifiedAuthnRequest {
    /// The id that the response must name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the user must be asked again.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }
}

/// Verifies the `SAMLRequest` field of the POST binding.
pub fn posted(
    field: &str,
    party: &RelyingParty,
    endpoint: &Url,
    engine: &dyn XmlSignatureEngine,
    now: Timestamp,
) -> Result<VerifiedAuthnRequest, SamlRefusal> {
    let message = guard::posted_authn_request(field, &AlgorithmPolicy::default())?;
    let verified = engine::verify(engine, &message, &party.certificates, now)?;
    read(verified.xml(), party, endpoint)
}

/// Verifies the raw query of the redirect binding; returns the relay state beside the request.
pub fn redirected(
    raw_query: &str,
    party: &RelyingParty,
    endpoint: &Url,
    now: Timestamp,
) -> Result<(VerifiedAuthnRequest, Option<String>), SamlRefusal> {
    let message = redirect::verify_query(raw_query, &party.certificates, now)?;
    guard::redirected_authn_request(&message.xml, &AlgorithmPolicy::default())?;
    Ok((read(&message.xml, party, endpoint)?, message.relay_state))
}

fn read(xml: &str, party: &RelyingParty, endpoint: &Url) -> Result<VerifiedAuthnRequest, SamlRefusal> {
    let document = tree::parse(xml)?;
    let root = document.root_element();
    if !tree::is(root, names::PROTOCOL, "AuthnRequest") {
        return Err(SamlRefusal::VerifiedPartMismatch);
    }
    let issuer = tree::only_child(root, names::ASSERTION, "Issuer").ok_or(SamlRefusal::IssuerMissing)?;
    if tree::text_only(issuer).as_deref() != Some(party.entity_id.as_str()) {
        return Err(SamlRefusal::IssuerMismatch);
    }
    match root.attribute("Destination") {
        None => return Err(SamlRefusal::DestinationMissing),
        Some(destination) if destination != endpoint.as_str() => return Err(SamlRefusal::DestinationMismatch),
        Some(_) => {}
    }
    if root.attribute("AssertionConsumerServiceURL").is_some_and(|acs| acs != party.acs_url.as_str()) {
        return Err(SamlRefusal::ConsumerServiceMismatch);
    }
    let id = tree::attribute(root, "ID").filter(|id| id.len() <= MAX_ID_CHARS).ok_or(SamlRefusal::IdMalformed)?;
    let freshness = match root.attribute("ForceAuthn") {
        Some("true" | "1") => Freshness::Forced,
        _ => Freshness::SessionAllowed,
    };
    Ok(VerifiedAuthnRequest { id: id.to_owned(), freshness })
}
