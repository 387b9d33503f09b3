//! The immutable key by which an identity is known in the directory it comes from.

use std::fmt;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

/// A source anchor: the value that ties a tenant user to an object on premises for ever. Case matters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceAnchor(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceAnchorError {
    #[error("the source anchor is empty")]
    Empty,
    #[error("the source anchor is 60 characters or longer, each one outside a-z, A-Z and 0-9 counted three times")]
    TooLong,
    #[error("the source anchor has the character `{0}`, which is not allowed")]
    Character(char),
}

/// A text anchor must stay below this length, escapes counted.
const LENGTH_LIMIT: usize = 60;
const FORBIDDEN: &str = "\\!#$%&*+/=?^`{}|~<>()';:,[]\"@_";

impl SourceAnchor {
    /// An anchor from a text attribute, by the published rules (reference, section 8.1).
    pub fn from_text(text: &str) -> Result<Self, SourceAnchorError> {
        if text.is_empty() {
            return Err(SourceAnchorError::Empty);
        }
        if let Some(c) = text.chars().find(|c| FORBIDDEN.contains(*c) || c.is_control() || c.is_whitespace()) {
            return Err(SourceAnchorError::Character(c));
        }
        let length: usize = text.chars().map(|c| if c.is_ascii_alphanumeric() { 1 } else { 3 }).sum();
        if length >= LENGTH_LIMIT { Err(SourceAnchorError::TooLong) } else { Ok(Self(text.to_owned())) }
    }

    /// An anchor from a binary attribute such as objectGUID: its base64.
    pub fn from_binary(bytes: &[u8]) -> Result<Self, SourceAnchorError> {
        if bytes.is_empty() {
            return Err(SourceAnchorError::Empty);
        }
        // The escapes of the length rule concern text: base64's own `+`, `/` and `=` count once.
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        if text.len() >= LENGTH_LIMIT { Err(SourceAnchorError::TooLong) } else { Ok(Self(text)) }
    }

    /// An anchor as rules and exports carry it: text by the published rules, or the base64 of a binary value.
    pub fn from_exported(text: &str) -> Result<Self, SourceAnchorError> {
        Self::from_text(text).or_else(|error| match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => Self::from_binary(&bytes),
            Err(_) => Err(error),
        })
    }

    /// An anchor that one of the two constructors made before: from the store, or from a partner's assertion,
    /// where it is only ever compared.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SourceAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_and_a_guid_are_anchors() {
        let uuid = SourceAnchor::from_text("4f0c9f4e-9a8e-103f-8f8e-9d2b2e6d8a11").expect("a uuid fits");
        assert_eq!(uuid.as_str().len(), 36);
        let guid = SourceAnchor::from_binary(&[0xff; 16]).expect("a guid fits");
        assert_eq!(guid.as_str(), "/////////////////////w==");
    }

    #[test]
    fn the_published_rules_are_kept() {
        assert_eq!(SourceAnchor::from_text(""), Err(SourceAnchorError::Empty));
        assert_eq!(SourceAnchor::from_text("ada@example.org"), Err(SourceAnchorError::Character('@')));
        assert_eq!(SourceAnchor::from_text("a_b"), Err(SourceAnchorError::Character('_')));
        assert_eq!(SourceAnchor::from_text(&"a".repeat(60)), Err(SourceAnchorError::TooLong));
        assert!(SourceAnchor::from_text(&"a".repeat(59)).is_ok());
        assert_eq!(SourceAnchor::from_text(&"-".repeat(20)), Err(SourceAnchorError::TooLong));
    }

    #[test]
    fn case_matters() {
        assert_ne!(SourceAnchor::from_text("abc"), SourceAnchor::from_text("ABC"));
    }
}
