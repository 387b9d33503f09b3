//! Values of attributes and of expressions.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Boolean(bool),
    Binary(Cow<'a, [u8]>),
    /// The distinguished name of another object.
    Reference(Cow<'a, str>),
    /// Made and used inside expressions; no attribute holds one.
    Date(DateTime<Utc>),
}

/// What an attribute holds, or an expression yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Values<'a> {
    #[default]
    Absent,
    One(Value<'a>),
    /// Of an attribute that may have several; without any it counts as absent.
    Many(Vec<Value<'a>>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl<'a> Value<'a> {
    /// The same value, borrowed from this one.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(truth) => Value::Boolean(*truth),
            Self::Binary(bytes) => Value::Binary(Cow::Borrowed(bytes)),
            Self::Reference(dn) => Value::Reference(Cow::Borrowed(dn)),
            Self::Date(date) => Value::Date(*date),
        }
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Binary(bytes) => Value::Binary(Cow::Owned(bytes.into_owned())),
            Self::Reference(dn) => Value::Reference(Cow::Owned(dn.into_owned())),
            Self::Date(date) => Value::Date(date),
        }
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reference(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Integer(_) | Self::Boolean(_) | Self::Date(_) => 0,
        }
    }
}

impl<'a> Values<'a> {
    pub fn borrow(&self) -> Values<'_> {
        match self {
            Self::Absent => Values::Absent,
            Self::One(value) => Values::One(value.borrow()),
            Self::Many(values) => Values::Many(values.iter().map(Value::borrow).collect()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::One(_) => 1,
            Self::Many(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
