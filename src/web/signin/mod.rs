//! The sign-in pages, one file per operation. Each takes what was posted, calls `signin`, and renders the step it answers.

pub(super) mod acs;
pub mod gate;
pub(super) mod name;
pub(super) mod partner_metadata;
pub(super) mod password;
pub(super) mod paths;
pub(super) mod show;
pub(super) mod start_over;
pub(super) mod step;
