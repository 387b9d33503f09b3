//! Attribute names and values as they stand in connector spaces and the metaverse.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::identity::fold;

/// An attribute's name. Keeps its spelling; ASCII case does not tell names apart.
#[derive(Clone, Debug)]
pub struct Attribute(Arc<str>);

/// One value. Binary values are kept as base64, which is also their text form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Binary { base64: String },
}

/// The values of an object by attribute. No attribute is present without a value.
pub type Attributes = BTreeMap<Attribute, Vec<Value>>;

impl Attribute {
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::from(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn lower(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
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

    /// Whether it is text with a NUL character, which PostgreSQL cannot hold.
    pub fn has_nul(&self) -> bool {
        matches!(self, Self::Text(text) if text.contains('\0'))
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

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl Visitor<'_> for Seen {
            type Value = Attribute;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an attribute")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Attribute, E> {
                Ok(Attribute::from(name))
            }
        }

        deserializer.deserialize_str(Seen)
    }
}

/// By what stands there: an untagged enum would copy each value into a buffer before it looks.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        #[derive(Deserialize)]
        struct Binary {
            base64: String,
        }

        impl<'de> Visitor<'de> for Seen {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an object with `base64`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::text(text))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
                Ok(Value::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                let Binary { base64 } = Binary::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Value::Binary { base64 })
            }
        }

        deserializer.deserialize_any(Seen)
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
        if self.0 == other.0 { Ordering::Equal } else { self.lower().cmp(other.lower()) }
    }
}

impl Hash for Attribute {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower().for_each(|byte| state.write_u8(byte));
        // A byte of no text ends it.
        state.write_u8(0xff);
    }
}

impl From<&str> for Attribute {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
