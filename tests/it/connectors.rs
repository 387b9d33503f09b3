//! Every connector against the conformance suite, and what is particular to each.

use landbridge::identity::LeaseEpoch;
use landbridge::sync::lease::Turn;

pub mod conformance;

mod active_directory;
mod adopted;
pub mod directory;
mod directory_target;
pub mod directory_writeback;
mod files;
mod scim;
mod scripted_domain;
mod sql;
pub mod tenant;
mod whole;

/// The turn of a run that holds the first lease.
pub fn turn() -> Turn {
    Turn::unending(LeaseEpoch::from_number(1))
}
