//! Attribute names and values as they stand in connector spaces and the metaverse.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::identity::fold;

/// An attribute's name. Keeps its spelling; ASCII case does not tell names apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attribute(String);

/// One value. Binary values are kept as base64, which is also their text form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Binary { base64: String },
}

/// The values of an object by attribute. No attribute is present without a value.
pub type Attributes = BTreeMap<Attribute, Vec<Value>>;

impl Attribute {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn binary(bytes: &[u8]) -> Self {
        Self::Binary { base64: base64::engine::general_purpose::STANDARD.encode(bytes) }
    }

    pub fn boolean(value: bool) -> Self {
        Self::Text(if value { "TRUE" } else { "FALSE" }.to_owned())
    }

    /// The value as text; base64 for a binary one.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Binary { base64 } => base64,
        }
    }

    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Binary { base64 } => base64::engine::general_purpose::STANDARD.decode(base64).ok().map(Cow::Owned),
        }
    }

    /// The form that comparisons without regard to case use.
    pub fn folded(&self) -> String {
        match self {
            Self::Text(text) => fold(text),
            Self::Binary { base64 } => base64.clone(),
        }
    }
}

/// Sorts the values of each attribute, drops doubles and attributes without a value, so that equal objects have one form.
pub fn canonical(mut attributes: Attributes) -> Attributes {
    attributes.retain(|_, values| {
        values.sort();
        values.dedup();
        !values.is_empty()
    });
    attributes
}

/// The single value of an attribute; `None` when it has none or several.
pub fn single<'a>(attributes: &'a Attributes, name: &Attribute) -> Option<&'a Value> {
    match attributes.get(name).map(Vec::as_slice) {
        Some([value]) => Some(value),
        _ => None,
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Attribute {}

impl PartialOrd for Attribute {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Attribute {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |text: &str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
        if self.0 == other.0 { Ordering::Equal } else { lower(&self.0).cmp(&lower(&other.0)) }
    }
}

impl Hash for Attribute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl From<&str> for Attribute {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
