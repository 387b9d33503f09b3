//! Types, as sets of the kinds of value that may occur.

use std::fmt;
use std::ops::BitOr;

use crate::value::Value;

/// A set of kinds of value. The empty set is the type of `NULL` and `Error`, which fit everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    pub const NONE: Self = Self(0);
    pub const TEXT: Self = Self(1);
    pub const NUMBER: Self = Self(2);
    pub const BOOLEAN: Self = Self(4);
    pub const BINARY: Self = Self(8);
    pub const REFERENCE: Self = Self(16);
    pub const DATE: Self = Self(32);
    /// What an attribute may hold.
    pub const STORABLE: Self = Self(31);
    pub const ANY: Self = Self(63);
    /// What a condition may be: a number counts as true unless it is zero.
    pub const CONDITION: Self = Self(6);

    const NAMES: [(Self, &'static str, &'static str); 6] = [
        (Self::TEXT, "a string", "str"),
        (Self::NUMBER, "a number", "num"),
        (Self::BOOLEAN, "a boolean", "bool"),
        (Self::BINARY, "a binary", "bin"),
        (Self::REFERENCE, "a reference", "ref"),
        (Self::DATE, "a date", "date"),
    ];

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Text(_) => Self::TEXT,
            Value::Integer(_) => Self::NUMBER,
            Value::Boolean(_) => Self::BOOLEAN,
            Value::Binary(_) => Self::BINARY,
            Value::Reference(_) => Self::REFERENCE,
            Value::Date(_) => Self::DATE,
        }
    }

    /// The words of signatures: `str / bin`, `var` for anything.
    pub fn short(self) -> String {
        if self == Self::ANY || self == Self::STORABLE {
            return "var".to_owned();
        }
        if self == Self::CONDITION {
            return "exp".to_owned();
        }
        let names = Self::NAMES.iter().filter(|(kind, ..)| self.overlaps(*kind)).map(|(.., short)| *short);
        names.collect::<Vec<_>>().join(" / ")
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(kind, ..)| self.overlaps(*kind)).map(|(_, name, _)| *name).collect();
        match names.as_slice() {
            [] => f.write_str("null"),
            [one] => f.write_str(one),
            [first @ .., last] => write!(f, "{} or {last}", first.join(", ")),
        }
    }
}
