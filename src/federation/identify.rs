//! From a verified assertion to the identity that it claims, within what its issuer may claim.

use crate::identity::{DomainName, SourceAnchor, Upn};
use crate::saml::{VerifiedAssertion, names};
use crate::signin::FederatedIdentity;

use super::partner::{AnchorEncoding, AnchorSource, MfaBehaviour, Partner};

/// Longest source anchor that is compared, in bytes; the tenant's own are shorter.
const MAX_ANCHOR_BYTES: usize = 256;
/// Authentication context classes (SAML authentication context 3.4, and AD FS's own) and what RFC 8176 calls them.
const METHODS: [(&str, &str); 5] = [
    (names::CONTEXT_PASSWORD_PROTECTED, "pwd"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:Password", "pwd"),
    ("urn:federation:authentication:windows", "wia"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:Kerberos", "wia"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI", "sc"),
];
/// Authentication context classes that say "several factors".
const MFA_CONTEXTS: [&str; 2] = ["https://refeds.org/profile/mfa", "http://schemas.microsoft.com/claims/multipleauthn"];
/// The claim in which AD FS lists authentication methods, and its value for several factors.
const MFA_ATTRIBUTE: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";
const MFA_VALUE: &str = "http://schemas.microsoft.com/claims/multipleauthn";

/// Why an assertion, though genuine, signs nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FederationRefusal {
    #[error("assertion is of another partner")]
    IssuerMismatch,
    #[error("assertion has no source anchor")]
    AnchorMissing,
    #[error("source anchor is not encoded as configured")]
    AnchorMalformed,
    #[error("assertion has several source anchors")]
    AnchorAmbiguous,
    #[error("assertion has no user principal name")]
    UpnMissing,
    #[error("assertion has several user principal names")]
    UpnAmbiguous,
    #[error("user principal name is malformed")]
    UpnMalformed,
    #[error("domain `{0}` is not one of the partner's")]
    DomainForeign(DomainName),
}

impl FederationRefusal {
    /// The stable code of this refusal in audit records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::IssuerMismatch => "federation.issuer_mismatch",
            Self::AnchorMissing => "federation.anchor_missing",
            Self::AnchorMalformed => "federation.anchor_malformed",
            Self::AnchorAmbiguous => "federation.anchor_ambiguous",
            Self::UpnMissing => "federation.upn_missing",
            Self::UpnAmbiguous => "federation.upn_ambiguous",
            Self::UpnMalformed => "federation.upn_malformed",
            Self::DomainForeign(_) => "federation.domain_foreign",
        }
    }
}

/// Reads the claimed identity as the partner's settings say, and refuses one outside the partner's domains.
pub fn identify(assertion: &VerifiedAssertion, partner: &Partner) -> Result<FederatedIdentity, FederationRefusal> {
    if assertion.issuer() != partner.entity_id() {
        return Err(FederationRefusal::IssuerMismatch);
    }
    let upn = read_upn(assertion, partner)?;
    if !partner.domains().contains(upn.domain()) {
        return Err(FederationRefusal::DomainForeign(upn.domain().clone()));
    }
    Ok(FederatedIdentity {
        partner: partner.entity_id().clone(),
        request_id: assertion.in_response_to().to_string(),
        source_anchor: read_anchor(assertion, partner)?,
        upn,
        amr: read_methods(assertion, partner),
        authenticated_at: assertion.authn_instant(),
        assertion: assertion.fingerprint(),
        valid_until: assertion.usable_until(),
    })
}

fn read_anchor(assertion: &VerifiedAssertion, partner: &Partner) -> Result<SourceAnchor, FederationRefusal> {
    let written = match &partner.claims().anchor {
        AnchorSource::NameId => assertion.name_id().value.as_str(),
        AnchorSource::Attribute(name) => {
            let mut values = assertion.values(name);
            let first = values.next().ok_or(FederationRefusal::AnchorMissing)?;
            if values.any(|other| other != first) {
                return Err(FederationRefusal::AnchorAmbiguous);
            }
            first
        }
    };
    let anchor = match partner.claims().anchor_encoding {
        AnchorEncoding::Verbatim => written.to_owned(),
        AnchorEncoding::DotHex => decode_dot_hex(written).ok_or(FederationRefusal::AnchorMalformed)?,
    };
    if anchor.is_empty() || anchor.len() > MAX_ANCHOR_BYTES || anchor.chars().any(char::is_control) {
        return Err(FederationRefusal::AnchorMalformed);
    }
    Ok(SourceAnchor::from_stored(anchor))
}

/// `kZ.2BA.3D.3D` is `kZ+A==`. A dot without two hexadecimal digits, or one that escapes more than ASCII, is no encoding.
fn decode_dot_hex(written: &str) -> Option<String> {
    let mut parts = written.split('.');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
        decoded.push(char::from(byte));
        decoded.push_str(&part[2..]);
    }
    Some(decoded)
}

fn read_upn(assertion: &VerifiedAssertion, partner: &Partner) -> Result<Upn, FederationRefusal> {
    let mut found: Option<Upn> = None;
    for text in partner.claims().upn_attributes.iter().flat_map(|name| assertion.values(name)) {
        let upn: Upn = text.parse().map_err(|_| FederationRefusal::UpnMalformed)?;
        if found.as_ref().is_some_and(|known| *known != upn) {
            return Err(FederationRefusal::UpnAmbiguous);
        }
        found = Some(upn);
    }
    found.ok_or(FederationRefusal::UpnMissing)
}

/// The partner's authentication context in the words of RFC 8176. Several factors count only where the settings say so.
fn read_methods(assertion: &VerifiedAssertion, partner: &Partner) -> Vec<String> {
    let known = METHODS.iter().find(|(context, _)| assertion.authn_context() == Some(context));
    let mut methods: Vec<String> = known.map(|(_, method)| (*method).to_owned()).into_iter().collect();
    let several = assertion.authn_context().is_some_and(|context| MFA_CONTEXTS.contains(&context))
        || assertion.values(MFA_ATTRIBUTE).any(|value| value == MFA_VALUE);
    match partner.claims().mfa {
        MfaBehaviour::Accept if several => methods.push("mfa".to_owned()),
        MfaBehaviour::Accept | MfaBehaviour::Reject => {}
    }
    methods
}
