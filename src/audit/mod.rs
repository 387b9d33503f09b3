//! Audit (design D25): what happened, who did it, and the exact reason that users are never told.
//!
//! This room defines what a record is and how records are chained; `store::audit` keeps them.

mod chain;
mod event;

pub use chain::{ChainBreak, Link, RecordHash};
pub use event::{Actor, AuditNumber, Event, EventKind, Outcome, Record};
