//! Every connector against the conformance suite, and what is particular to each.

pub mod conformance;

mod directory;
mod directory_target;
pub mod directory_writeback;
mod files;
mod scim;
mod sql;
pub mod tenant;
mod whole;
