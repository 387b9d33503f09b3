//! What to look for.

use super::filter::Filter;
use crate::identity::DistinguishedName;

/// How far below the base a search reaches (RFC 4511, section 4.5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Base,
    OneLevel,
    Subtree,
}

/// A search. Aliases are never followed.
#[derive(Clone, Debug)]
pub struct Search {
    pub base: DistinguishedName,
    pub scope: Scope,
    pub filter: Filter,
    /// Attributes to return; none means all user attributes, `+` the operational ones.
    pub attributes: Vec<String>,
}
