//! Scoping filters: groups that are OR-ed, of clauses that are AND-ed.
//!
//! On an absent attribute a positive operator is false and its negation true (reference, section 2.2).

use serde::Deserialize;

use crate::identity::fold;
use crate::sync::attribute::{Attribute, Value};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub groups: Vec<Vec<Clause>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub attribute: Attribute,
    pub operator: Operator,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operator {
    Equal,
    NotEqual,
    Contains,
    NotContains,
    StartsWith,
    NotStartsWith,
    EndsWith,
    NotEndsWith,
    IsNull,
    IsNotNull,
    IsIn,
    IsNotIn,
    /// The value is the bit's weight, not its index.
    IsBitSet,
    /// The field writes it both ways.
    #[serde(alias = "ISBITNOTSET")]
    IsNotBitSet,
}

impl Operator {
    pub fn takes_value(self) -> bool {
        !matches!(self, Self::IsNull | Self::IsNotNull)
    }
}

impl Scope {
    /// Whether an object whose values `values` returns is in scope. No group means every object of the type.
    pub fn admits<'a>(&self, values: impl Fn(&Attribute) -> &'a [Value]) -> bool {
        self.groups.is_empty()
            || self.groups.iter().any(|group| group.iter().all(|clause| clause.holds(values(&clause.attribute))))
    }

    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.groups.iter().flatten().map(|clause| &clause.attribute)
    }
}

impl Clause {
    fn holds(&self, values: &[Value]) -> bool {
        let wanted = fold(&self.value);
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(&value.folded()));
        let bit_set = || match (values, self.value.parse::<i64>()) {
            ([value], Ok(weight)) => value.as_text().parse::<i64>().is_ok_and(|flags| flags & weight != 0),
            _ => false,
        };
        match self.operator {
            Operator::Equal | Operator::IsIn => any(&|text| text == wanted),
            Operator::NotEqual | Operator::IsNotIn => !any(&|text| text == wanted),
            Operator::Contains => any(&|text| text.contains(&wanted)),
            Operator::NotContains => !any(&|text| text.contains(&wanted)),
            Operator::StartsWith => any(&|text| text.starts_with(&wanted)),
            Operator::NotStartsWith => !any(&|text| text.starts_with(&wanted)),
            Operator::EndsWith => any(&|text| text.ends_with(&wanted)),
            Operator::NotEndsWith => !any(&|text| text.ends_with(&wanted)),
            Operator::IsNull => values.is_empty(),
            Operator::IsNotNull => !values.is_empty(),
            Operator::IsBitSet => bit_set(),
            Operator::IsNotBitSet => !bit_set(),
        }
    }
}
