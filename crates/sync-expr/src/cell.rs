//! Values on their way through an evaluation.

use crate::error::Fault;
use crate::value::{Value, Values};

/// One value, none, or the error that took its place among several.
///
/// An error of one of several values waits in its place: `IIF(IsNumeric([a]), CNum([a]), 0)` must not fail for values
/// that the condition leaves out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Cell<'a> {
    #[default]
    Null,
    Value(Value<'a>),
    Fault(Box<Fault>),
}

/// What a node yields. Several values keep the places of those that became null, so that they stay side by side with
/// other results of the same attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<'a> {
    One(Cell<'a>),
    Many(Vec<Cell<'a>>),
    /// Results, not values; the checker lets them stand nowhere else.
    Authoritative,
    Ignore,
}

impl Default for Data<'_> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<'a> Data<'a> {
    pub const NULL: Self = Self::One(Cell::Null);

    pub fn text(text: String) -> Self {
        Self::One(Cell::Value(Value::from(text)))
    }

    /// The values without empty places.
    pub fn into_list(self) -> Result<Vec<Value<'a>>, Fault> {
        let cells = match self {
            Self::One(cell) => vec![cell],
            Self::Many(cells) => cells,
            Self::Authoritative | Self::Ignore => Vec::new(),
        };
        let mut values = Vec::with_capacity(cells.len());
        for cell in cells {
            match cell {
                Cell::Null => {}
                Cell::Value(value) => values.push(value),
                Cell::Fault(fault) => return Err(*fault),
            }
        }
        Ok(values)
    }

    pub fn from_list(values: Vec<Value<'a>>) -> Self {
        if values.is_empty() { Self::NULL } else { Self::Many(values.into_iter().map(Cell::Value).collect()) }
    }
}

impl<'a> From<Values<'a>> for Data<'a> {
    fn from(values: Values<'a>) -> Self {
        match values {
            Values::Absent => Self::NULL,
            Values::One(value) => Self::One(Cell::Value(value)),
            Values::Many(values) => Self::from_list(values),
        }
    }
}

impl<'a, T: Into<Value<'a>>> From<T> for Cell<'a> {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}
