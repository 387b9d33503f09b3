//! What a response must mean before it is believed: the rules of the web browser SSO profile (SAML profiles 4.1.4.3) and of
//! SAML core 2 and 3, read from verified octets.

use std::sync::Arc;
use std::time::Duration;

use roxmltree::Node;

use super::algorithm::AlgorithmPolicy;
use super::assertion::{Attribute, NameId, VerifiedAssertion};
use super::certificate::SigningCertificate;
use super::engine::{self, XmlSignatureEngine};
use super::guard::{self, Guarded, SignedPart};
use super::refusal::SamlRefusal;
use super::request::{RequestId, ServiceProvider};
use super::{names, tree};
use crate::identity::{Clock, EntityId, Timestamp};

/// Longest name identifier (SAML core 8.3.7 says 256 for persistent ones).
const MAX_NAME_ID_CHARS: usize = 256;
/// How much of a partner's status is kept for the audit record.
const MAX_STATUS_CHARS: usize = 200;

/// How far the partner's clock may differ from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSkew(Duration);

/// A clock skew above five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("clock skew of {} s is more than the permitted 300 s", .0.as_secs())]
pub struct SkewTooLarge(pub Duration);

impl ClockSkew {
    /// At most five minutes.
    pub fn new(skew: Duration) -> Result<Self, SkewTooLarge> {
        if skew <= Duration::from_secs(300) { Ok(Self(skew)) } else { Err(SkewTooLarge(skew)) }
    }
}

impl Default for ClockSkew {
    /// One minute.
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

/// The request that a response has to answer, and the partner that it was sent to.
#[derive(Debug, Clone, Copy)]
pub struct Awaited<'a> {
    /// The id of our request; responses to no request are refused.
    pub request_id: &'a RequestId,
    /// The partner's entity id.
    pub issuer: &'a EntityId,
    /// The partner's signing certificates.
    pub certificates: &'a [SigningCertificate],
}

/// Turns a posted response into a [`VerifiedAssertion`].
#[derive(Debug, Clone)]
pub struct ResponseChecker {
    /// Who we are.
    pub service: ServiceProvider,
    /// What signatures may use.
    pub algorithms: AlgorithmPolicy,
    /// Tolerance for the partner's clock.
    pub skew: ClockSkew,
    /// Verifies signatures.
    pub engine: Arc<dyn XmlSignatureEngine>,
    /// Our clock.
    pub clock: Arc<dyn Clock>,
}

impl ResponseChecker {
    /// Checks the `SAMLResponse` field of the POST binding against the request it has to answer.
    ///
    /// The one rule that is left to the caller is that an assertion is used once: whoever opens a session for it records
    /// [`VerifiedAssertion::fingerprint`] in the same transaction.
    pub fn check(&self, field: &str, awaited: Awaited<'_>) -> Result<VerifiedAssertion, SamlRefusal> {
        let now = self.clock.now();
        let message = guard::posted_response(field, &self.algorithms)?;
        self.read(&message, awaited, now)
    }

    fn read(&self, message: &Guarded, awaited: Awaited<'_>, now: Timestamp) -> Result<VerifiedAssertion, SamlRefusal> {
        let verified = engine::verify(&*self.engine, message, awaited.certificates, now)?;
        let verified = tree::parse(verified.xml())?;
        let root = verified.root_element();
        let rules = Rules { service: &self.service, awaited, skew: self.skew.0, now };
        if message.signed() == SignedPart::Assertion {
            if !tree::is(root, names::ASSERTION, "Assertion") {
                return Err(SamlRefusal::VerifiedPartMismatch);
            }
            // The response around a signed assertion is not authentic: it can add reasons to refuse and nothing else.
            let received = tree::parse(message.xml())?;
            rules.check_response(received.root_element(), Signed::No)?;
            return rules.read_assertion(root);
        }
        if !tree::is(root, names::PROTOCOL, "Response") {
            return Err(SamlRefusal::VerifiedPartMismatch);
        }
        rules.check_response(root, Signed::Yes)?;
        let assertion =
            tree::only_child(root, names::ASSERTION, "Assertion").ok_or(SamlRefusal::VerifiedPartMismatch)?;
        rules.read_assertion(assertion)
    }
}

/// Refuses a response whose status is not success, naming what the partner reports.
pub(super) fn check_status(response: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let code = tree::only_child(response, names::PROTOCOL, "Status")
        .and_then(|status| tree::only_child(status, names::PROTOCOL, "StatusCode"))
        .ok_or(SamlRefusal::StatusMissing)?;
    let value = code.attribute("Value").unwrap_or_default();
    if value == names::STATUS_SUCCESS {
        return Ok(());
    }
    let detail = tree::only_child(code, names::PROTOCOL, "StatusCode").and_then(|inner| inner.attribute("Value"));
    let told = [value, detail.unwrap_or_default()].join(" ");
    Err(SamlRefusal::StatusNotSuccess(
        told.trim().chars().filter(|character| !character.is_control()).take(MAX_STATUS_CHARS).collect(),
    ))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    Yes,
    No,
}

struct Rules<'a> {
    service: &'a ServiceProvider,
    awaited: Awaited<'a>,
    skew: Duration,
    now: Timestamp,
}

impl Rules<'_> {
    fn check_response(&self, response: Node<'_, '_>, signed: Signed) -> Result<(), SamlRefusal> {
        check_status(response)?;
        if tree::children(response, names::ASSERTION, "Issuer").next().is_some() {
            self.check_issuer(response)?;
        } else if signed == Signed::Yes {
            // SAML profiles 4.1.4.2: a signed response names its issuer.
            return Err(SamlRefusal::IssuerMissing);
        }
        match response.attribute("Destination") {
            Some(destination) if destination == self.service.acs_url.as_str() => {}
            Some(_) => return Err(SamlRefusal::DestinationMismatch),
            // SAML bindings 3.5.5.2: a signed message names its destination.
            None if signed == Signed::Yes => return Err(SamlRefusal::DestinationMissing),
            None => {}
        }
        self.check_in_response_to(response)?;
        self.check_issue_instant(response)
    }

    fn read_assertion(&self, assertion: Node<'_, '_>) -> Result<VerifiedAssertion, SamlRefusal> {
        self.check_issuer(assertion)?;
        self.check_issue_instant(assertion)?;
        let conditions_end = self.check_conditions(assertion)?;
        let subject = tree::only_child(assertion, names::ASSERTION, "Subject").ok_or(SamlRefusal::SubjectMissing)?;
        let name_id = read_name_id(subject)?;
        let confirmation_end = self.check_confirmation(subject)?;
        let statement = tree::children(assertion, names::ASSERTION, "AuthnStatement").next();
        let statement = statement.ok_or(SamlRefusal::AuthnStatementMissing)?;
        let authn_instant = instant(statement, "AuthnInstant")?.ok_or(SamlRefusal::InstantMalformed)?;
        if authn_instant > self.now + self.skew {
            return Err(SamlRefusal::IssuedInFuture);
        }
        if instant(statement, "SessionNotOnOrAfter")?.is_some_and(|end| self.is_past(end)) {
            return Err(SamlRefusal::SessionExpired);
        }
        let authn_context = tree::only_child(statement, names::ASSERTION, "AuthnContext")
            .and_then(|context| tree::only_child(context, names::ASSERTION, "AuthnContextClassRef"))
            .and_then(tree::text_only);
        Ok(VerifiedAssertion {
            id: tree::attribute(assertion, "ID").ok_or(SamlRefusal::IdMalformed)?.to_owned(),
            issuer: self.awaited.issuer.clone(),
            in_response_to: self.awaited.request_id.clone(),
            name_id,
            attributes: read_attributes(assertion)?,
            session_index: tree::attribute(statement, "SessionIndex").map(str::to_owned),
            authn_instant,
            authn_context,
            usable_until: conditions_end.map_or(confirmation_end, |end| end.min(confirmation_end)) + self.skew,
        })
    }

    fn check_issuer(&self, element: Node<'_, '_>) -> Result<(), SamlRefusal> {
        let issuer = tree::only_child(element, names::ASSERTION, "Issuer").ok_or(SamlRefusal::IssuerMissing)?;
        let is_entity = issuer.attribute("Format").is_none_or(|format| format == names::NAME_ID_ENTITY);
        match tree::text_only(issuer) {
            Some(value) if is_entity && value == self.awaited.issuer.as_str() => Ok(()),
            _ => Err(SamlRefusal::IssuerMismatch),
        }
    }

    fn check_in_response_to(&self, element: Node<'_, '_>) -> Result<(), SamlRefusal> {
        match element.attribute("InResponseTo") {
            None => Err(SamlRefusal::Unsolicited),
            Some(id) if id == self.awaited.request_id.as_str() => Ok(()),
            Some(_) => Err(SamlRefusal::InResponseToMismatch),
        }
    }

    fn check_issue_instant(&self, element: Node<'_, '_>) -> Result<(), SamlRefusal> {
        let issued = instant(element, "IssueInstant")?.ok_or(SamlRefusal::InstantMalformed)?;
        if issued > self.now + self.skew { Err(SamlRefusal::IssuedInFuture) } else { Ok(()) }
    }

    /// Returns the end of the conditions, if they name one.
    fn check_conditions(&self, assertion: Node<'_, '_>) -> Result<Option<Timestamp>, SamlRefusal> {
        let conditions =
            tree::only_child(assertion, names::ASSERTION, "Conditions").ok_or(SamlRefusal::ConditionsMissing)?;
        if instant(conditions, "NotBefore")?.is_some_and(|start| self.now + self.skew < start) {
            return Err(SamlRefusal::NotYetValid);
        }
        let end = instant(conditions, "NotOnOrAfter")?;
        if end.is_some_and(|end| self.is_past(end)) {
            return Err(SamlRefusal::Expired);
        }
        let mut restricted = false;
        for condition in conditions.children().filter(Node::is_element) {
            if tree::is(condition, names::ASSERTION, "AudienceRestriction") {
                restricted = true;
                // Restrictions are joined by "and", the audiences of one by "or" (SAML core 2.5.1.4).
                let mut audiences = tree::children(condition, names::ASSERTION, "Audience");
                if !audiences
                    .any(|audience| tree::text_only(audience).as_deref() == Some(self.service.entity_id.as_str()))
                {
                    return Err(SamlRefusal::AudienceMismatch);
                }
            } else if !tree::is(condition, names::ASSERTION, "OneTimeUse")
                && !tree::is(condition, names::ASSERTION, "ProxyRestriction")
            {
                return Err(SamlRefusal::ConditionUnknown);
            }
        }
        if restricted { Ok(end) } else { Err(SamlRefusal::AudienceMissing) }
    }

    /// One bearer confirmation must fulfil every rule. Returns the end of the last one: the assertion must be remembered as
    /// long as any of them could still let it in.
    fn check_confirmation(&self, subject: Node<'_, '_>) -> Result<Timestamp, SamlRefusal> {
        let bearers = tree::children(subject, names::ASSERTION, "SubjectConfirmation")
            .filter(|confirmation| confirmation.attribute("Method") == Some(names::BEARER));
        let (mut fulfilled, mut last_end, mut first_refusal) = (false, None, None);
        for bearer in bearers {
            match self.check_bearer(bearer) {
                Ok(()) => fulfilled = true,
                Err(refusal) => first_refusal = first_refusal.or(Some(refusal)),
            }
            last_end = last_end.max(bearer_end(bearer).ok());
        }
        match last_end {
            Some(end) if fulfilled => Ok(end),
            _ => Err(first_refusal.unwrap_or(SamlRefusal::BearerMissing)),
        }
    }

    fn check_bearer(&self, confirmation: Node<'_, '_>) -> Result<(), SamlRefusal> {
        let facts = confirmation_data(confirmation)?;
        let recipient = facts.attribute("Recipient").ok_or(SamlRefusal::ConfirmationMalformed)?;
        if recipient != self.service.acs_url.as_str() {
            return Err(SamlRefusal::RecipientMismatch);
        }
        if facts.attribute("NotBefore").is_some() {
            return Err(SamlRefusal::ConfirmationMalformed);
        }
        if self.is_past(bearer_end(confirmation)?) {
            return Err(SamlRefusal::ConfirmationExpired);
        }
        self.check_in_response_to(facts)
    }

    fn is_past(&self, end: Timestamp) -> bool {
        self.now >= end + self.skew
    }
}

fn confirmation_data<'a, 'i>(confirmation: Node<'a, 'i>) -> Result<Node<'a, 'i>, SamlRefusal> {
    tree::only_child(confirmation, names::ASSERTION, "SubjectConfirmationData")
        .ok_or(SamlRefusal::ConfirmationMalformed)
}

fn bearer_end(confirmation: Node<'_, '_>) -> Result<Timestamp, SamlRefusal> {
    instant(confirmation_data(confirmation)?, "NotOnOrAfter")?.ok_or(SamlRefusal::ConfirmationMalformed)
}

pub(super) fn instant(element: Node<'_, '_>, name: &str) -> Result<Option<Timestamp>, SamlRefusal> {
    element.attribute(name).map(|text| Timestamp::parse_rfc3339(text).ok_or(SamlRefusal::InstantMalformed)).transpose()
}

fn read_name_id(subject: Node<'_, '_>) -> Result<NameId, SamlRefusal> {
    let name_id = tree::only_child(subject, names::ASSERTION, "NameID").ok_or(SamlRefusal::SubjectMissing)?;
    let value = tree::text_only(name_id).ok_or(SamlRefusal::NameIdMalformed)?;
    if value.is_empty() || value.chars().count() > MAX_NAME_ID_CHARS || value.chars().any(char::is_control) {
        return Err(SamlRefusal::NameIdMalformed);
    }
    Ok(NameId { value, format: tree::attribute(name_id, "Format").map(str::to_owned) })
}

fn read_attributes(assertion: Node<'_, '_>) -> Result<Vec<Attribute>, SamlRefusal> {
    let mut attributes = Vec::new();
    for statement in tree::children(assertion, names::ASSERTION, "AttributeStatement") {
        for attribute in tree::children(statement, names::ASSERTION, "Attribute") {
            let name = tree::attribute(attribute, "Name").ok_or(SamlRefusal::AttributeMalformed)?.to_owned();
            let mut values = Vec::new();
            for value in tree::children(attribute, names::ASSERTION, "AttributeValue") {
                match tree::text_only(value) {
                    Some(text) => values.push(text),
                    // A value made of elements (a name id, say) is left out; text with elements in it could be read in two
                    // ways.
                    None if has_text(value) => return Err(SamlRefusal::AttributeMalformed),
                    None => {}
                }
            }
            attributes.push(Attribute { name, values });
        }
    }
    Ok(attributes)
}

fn has_text(node: Node<'_, '_>) -> bool {
    node.children().any(|child| child.is_text() && !child.text().unwrap_or_default().trim().is_empty())
}
