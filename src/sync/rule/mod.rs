//! Sync rules (design D6; reference, section 2): files to a validated set, and their evaluation on one object.

mod check;
mod file;
mod flow;
mod formula;
mod mentions;
mod parameters;
mod place;
mod scope;
mod set;
pub mod shipped;
#[cfg(test)]
mod shipped_tests;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
pub mod vocabulary;

pub use file::{RuleSource, parse};
pub use flow::{AnchorEncoding, Flow, FlowError, FlowKind, Merge, Take};
pub use formula::{Formula, FormulaError, RunFacts, Yield, count_of};
pub use mentions::{Mention, Use};
pub use parameters::{CONNECTOR_ID, Parameters, TOLD_BY_CONNECTORS};
pub use place::RuleFileError;
pub use scope::{Clause, FailedClause, MEMBER_OF, Operator, Scope, ScopeVerdict};
pub use set::{ANY_TYPE, ConnectorKind, Direction, GROUP, Join, JoinClause, LinkType, MEMBER, Rule, RuleSet, names};
pub use source::Source;
pub use syntax::{Syntax, Syntaxes};
