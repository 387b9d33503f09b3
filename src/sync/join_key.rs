//! The index entry by which joins find their partner.

use std::fmt;

use super::attribute::{Attribute, Value};

/// Object type, attributes and comparison form of one join group's values, as one text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinKey(String);

impl JoinKey {
    /// The key of one join group: every clause's metaverse attribute with its value.
    pub fn new<'a>(object_type: &str, clauses: impl IntoIterator<Item = (&'a Attribute, &'a Value, bool)>) -> Self {
        let mut text = object_type.to_owned();
        for (attribute, value, case_sensitive) in clauses {
            let value = if case_sensitive { value.as_text().to_owned() } else { value.folded() };
            text.push('\u{1f}');
            text.push_str(&attribute.as_str().to_ascii_lowercase());
            text.push(if case_sensitive { '\u{1e}' } else { '\u{1d}' });
            text.push_str(&value);
        }
        Self(text)
    }

    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For people: the type, and each attribute with the value that is asked for.
    pub fn told(&self) -> String {
        let mut parts = self.0.split('\u{1f}');
        let object_type = parts.next().unwrap_or_default();
        let clauses: Vec<String> = parts.map(|clause| clause.replace(['\u{1d}', '\u{1e}'], " = ")).collect();
        format!("{object_type} with {}", clauses.join(", "))
    }
}

impl fmt::Display for JoinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
