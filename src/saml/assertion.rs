//! What a checked assertion says.

use aws_lc_rs::digest;

use super::request::RequestId;
use crate::identity::{EntityId, Timestamp};

/// An assertion that passed every check of [`super::response`], and was made by nothing else. All of it is read from the
/// octets that the partner signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAssertion {
    pub(super) id: String,
    pub(super) issuer: EntityId,
    pub(super) in_response_to: RequestId,
    pub(super) name_id: NameId,
    pub(super) attributes: Vec<Attribute>,
    pub(super) session_index: Option<String>,
    pub(super) authn_instant: Timestamp,
    pub(super) authn_context: Option<String>,
    pub(super) usable_until: Timestamp,
}

/// The name identifier of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameId {
    /// The value, as written.
    pub value: String,
    /// The format URI, if given.
    pub format: Option<String>,
}

/// An attribute with its text values. Values that are elements are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The name, compared as written.
    pub name: String,
    /// The values in the order of the message.
    pub values: Vec<String>,
}

impl VerifiedAssertion {
    /// Its id, unique for the issuer.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The partner that signed it.
    pub fn issuer(&self) -> &EntityId {
        &self.issuer
    }

    /// Whom it is about.
    pub fn name_id(&self) -> &NameId {
        &self.name_id
    }

    /// All attributes.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// All values of the attributes with this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.name == name)
            .flat_map(|attribute| attribute.values.iter().map(String::as_str))
    }

    /// The partner's name for its session, needed for single logout.
    pub fn session_index(&self) -> Option<&str> {
        self.session_index.as_deref()
    }

    /// When the partner authenticated the user.
    pub fn authn_instant(&self) -> Timestamp {
        self.authn_instant
    }

    /// How the partner authenticated the user (an authentication context class).
    pub fn authn_context(&self) -> Option<&str> {
        self.authn_context.as_deref()
    }

    /// The request that it answers.
    pub fn in_response_to(&self) -> &RequestId {
        &self.in_response_to
    }

    /// What it is remembered by, so that it is used once: SHA-256 of issuer and id, in hex.
    pub fn fingerprint(&self) -> String {
        // No entity id holds a line break, so the pair cannot be cut in two ways.
        let pair = format!("{}\n{}", self.issuer, self.id);
        hex::encode(digest::digest(&digest::SHA256, pair.as_bytes()))
    }

    /// When it is refused as expired in any case: the end of its conditions or of its last confirmation, whichever comes
    /// first, and the tolerance for the partner's clock.
    pub fn usable_until(&self) -> Timestamp {
        self.usable_until
    }
}
