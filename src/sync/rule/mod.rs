//! Sync rules (design D6; reference, section 2): files to a validated set, and their evaluation on one object.

mod file;
mod flow;
mod scope;
mod set;
#[cfg(test)]
mod tests;

pub use file::{RuleFileError, RuleSource, parse};
pub use flow::{AnchorEncoding, Flow, FlowError, FlowKind, Take};
pub use scope::{Clause, Operator, Scope};
pub use set::{ConnectorKind, Direction, Join, JoinClause, LinkType, Rule, RuleSet, names};
