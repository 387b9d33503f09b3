//! Scoping filters: groups that are OR-ed, of clauses that are AND-ed.
//!
//! On an absent attribute a positive operator is false and its negation true (reference, section 2.2).

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use crate::identity::{DistinguishedName, fold};
use crate::sync::attribute::{Attribute, Value};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub groups: Vec<Vec<Clause>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub attribute: Attribute,
    pub operator: Operator,
    value: Operand,
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Text(Wanted),
    /// A `%parameter%`.
    Parameter(String),
    /// A group of the connector space, in which the object is or is not.
    Group {
        named: DistinguishedName,
        folded: String,
    },
}

/// The attribute under which the engine tells, of an object that rules are applied to, the groups that scopes name and
/// that it is a direct member of: their names as the rules write them, folded. No directory has one of this name.
pub const MEMBER_OF: &str = "member of";

/// A text in the forms that comparisons use.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// As the rule file writes it.
    text: String,
    folded: String,
    number: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    #[serde(rename = "EQUAL")]
    Equal,
    #[serde(rename = "NOTEQUAL")]
    NotEqual,
    /// As numbers where both sides are, as text otherwise.
    #[serde(rename = "LESSTHAN")]
    LessThan,
    #[serde(rename = "LESSTHAN_OR_EQUAL")]
    LessThanOrEqual,
    #[serde(rename = "GREATERTHAN")]
    GreaterThan,
    #[serde(rename = "GREATERTHAN_OR_EQUAL")]
    GreaterThanOrEqual,
    #[serde(rename = "CONTAINS")]
    Contains,
    #[serde(rename = "NOTCONTAINS")]
    NotContains,
    #[serde(rename = "STARTSWITH")]
    StartsWith,
    #[serde(rename = "NOTSTARTSWITH")]
    NotStartsWith,
    #[serde(rename = "ENDSWITH")]
    EndsWith,
    #[serde(rename = "NOTENDSWITH")]
    NotEndsWith,
    #[serde(rename = "ISNULL")]
    IsNull,
    #[serde(rename = "ISNOTNULL")]
    IsNotNull,
    #[serde(rename = "ISIN")]
    IsIn,
    #[serde(rename = "ISNOTIN")]
    IsNotIn,
    /// The value is the bit's weight, not its index.
    #[serde(rename = "ISBITSET")]
    IsBitSet,
    /// The field writes it both ways.
    #[serde(rename = "ISNOTBITSET", alias = "ISBITNOTSET")]
    IsNotBitSet,
    /// The value is the DN of a group; direct membership counts.
    #[serde(rename = "ISMEMBEROF")]
    IsMemberOf,
    #[serde(rename = "ISNOTMEMBEROF")]
    IsNotMemberOf,
}

/// What a scope says of one object, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeVerdict {
    pub admitted: bool,
    /// Per group the clauses that do not hold; a group without one admits. No group: every object of the type.
    pub failed: Vec<Vec<FailedClause>>,
}

/// A clause that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedClause {
    pub attribute: Attribute,
    pub operator: Operator,
    /// As the rule file writes it.
    pub wanted: String,
    /// What the object has.
    pub found: Vec<Value>,
}

impl Operator {
    pub fn takes_value(self) -> bool {
        !matches!(self, Self::IsNull | Self::IsNotNull)
    }

    pub fn takes_bits(self) -> bool {
        matches!(self, Self::IsBitSet | Self::IsNotBitSet)
    }

    pub fn takes_group(self) -> bool {
        matches!(self, Self::IsMemberOf | Self::IsNotMemberOf)
    }
}

impl Scope {
    /// Whether an object whose values `values` returns is in scope. No group means every object of the type.
    pub fn admits<'a>(&self, parameters: &Parameters, values: impl Fn(&Attribute) -> &'a [Value]) -> bool {
        let holds = |clause: &Clause| clause.holds(parameters, values(&clause.attribute));
        self.groups.is_empty() || self.groups.iter().any(|group| group.iter().all(holds))
    }

    /// The same, with every clause that does not hold.
    pub fn judge<'a>(&self, parameters: &Parameters, values: impl Fn(&Attribute) -> &'a [Value]) -> ScopeVerdict {
        let failing = |clause: &&Clause| !clause.holds(parameters, values(&clause.attribute));
        let tell = |clause: &Clause| FailedClause {
            attribute: clause.attribute.clone(),
            operator: clause.operator,
            wanted: clause.written(),
            found: values(&clause.attribute).to_vec(),
        };
        let failed: Vec<Vec<FailedClause>> =
            self.groups.iter().map(|group| group.iter().filter(failing).map(tell).collect()).collect();
        ScopeVerdict { admitted: failed.is_empty() || failed.iter().any(Vec::is_empty), failed }
    }

    /// The attributes that it reads of the object itself.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.groups.iter().flatten().filter(|clause| !clause.operator.takes_group()).map(|clause| &clause.attribute)
    }

    /// The groups whose members it tells apart.
    pub fn named_groups(&self) -> impl Iterator<Item = &DistinguishedName> {
        self.groups.iter().flatten().filter_map(|clause| match &clause.value {
            Operand::Group { named, .. } => Some(named),
            Operand::Text(_) | Operand::Parameter(_) => None,
        })
    }
}

impl Wanted {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), folded: fold(text), number: text.trim().parse().ok() }
    }
}

impl Clause {
    /// A value of the form `%name%` stands for a parameter. Operators without value ignore it.
    pub fn new(attribute: impl Into<Attribute>, operator: Operator, value: &str) -> Self {
        let name = value.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).filter(|name| !name.is_empty());
        let value = match name {
            Some(name) => Operand::Parameter(name.to_owned()),
            None => Operand::Text(Wanted::new(value)),
        };
        Self { attribute: attribute.into(), operator, value }
    }

    /// Of an operator that takes a group.
    pub fn of_group(operator: Operator, named: DistinguishedName) -> Self {
        let folded = named.folded();
        Self { attribute: MEMBER_OF.into(), operator, value: Operand::Group { named, folded } }
    }

    /// The parameter that its value names.
    pub fn parameter(&self) -> Option<&str> {
        match &self.value {
            Operand::Parameter(name) => Some(name),
            Operand::Text(_) | Operand::Group { .. } => None,
        }
    }

    fn written(&self) -> String {
        match &self.value {
            Operand::Text(wanted) => wanted.text.clone(),
            Operand::Parameter(name) => format!("%{name}%"),
            Operand::Group { named, .. } => named.to_string(),
        }
    }

    fn holds(&self, parameters: &Parameters, values: &[Value]) -> bool {
        match &self.value {
            Operand::Text(wanted) => self.compares(wanted, values),
            // A parameter without value is like an absent attribute: nothing equals it.
            Operand::Parameter(name) => match parameters.get(name) {
                Some(text) => self.compares(&Wanted::new(text), values),
                None => self.compares(&Wanted::new(""), &[]),
            },
            Operand::Group { folded, .. } => {
                let is_member = values.iter().any(|value| value.as_text() == folded);
                is_member == (self.operator == Operator::IsMemberOf)
            }
        }
    }

    fn compares(&self, wanted: &Wanted, values: &[Value]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|value| test(&value.folded()));
        let ordered = |test: fn(Ordering) -> bool| values.iter().any(|value| test(order(value, wanted)));
        let bit_set = || match (values, wanted.number) {
            ([value], Some(weight)) => value.as_text().parse::<i64>().is_ok_and(|flags| flags & weight != 0),
            _ => false,
        };
        let text = wanted.folded.as_str();
        match self.operator {
            Operator::Equal | Operator::IsIn | Operator::IsMemberOf => any(&|value| value == text),
            Operator::NotEqual | Operator::IsNotIn | Operator::IsNotMemberOf => !any(&|value| value == text),
            Operator::LessThan => ordered(Ordering::is_lt),
            Operator::LessThanOrEqual => ordered(Ordering::is_le),
            Operator::GreaterThan => ordered(Ordering::is_gt),
            Operator::GreaterThanOrEqual => ordered(Ordering::is_ge),
            Operator::Contains => any(&|value| value.contains(text)),
            Operator::NotContains => !any(&|value| value.contains(text)),
            Operator::StartsWith => any(&|value| value.starts_with(text)),
            Operator::NotStartsWith => !any(&|value| value.starts_with(text)),
            Operator::EndsWith => any(&|value| value.ends_with(text)),
            Operator::NotEndsWith => !any(&|value| value.ends_with(text)),
            Operator::IsNull => values.is_empty(),
            Operator::IsNotNull => !values.is_empty(),
            Operator::IsBitSet => bit_set(),
            Operator::IsNotBitSet => !bit_set(),
        }
    }
}

fn order(value: &Value, wanted: &Wanted) -> Ordering {
    match (value.as_text().trim().parse::<i64>(), wanted.number) {
        (Ok(value), Some(wanted)) => value.cmp(&wanted),
        _ => value.folded().as_str().cmp(&wanted.folded),
    }
}
