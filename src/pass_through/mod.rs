//! The live check of a password against the directory itself (design section 3, "The live check").
//!
//! Implements `signin::LiveCheck` on the tool `ldap`. Per connector: servers in order, two pools for each, and what its
//! dialect means by disabled, locked, expired. Knows nothing of pages, lockout or failover to another authority.
//!
//! What a directory answers is a verdict, for good or ill; only the closed list of design D4 is unavailability.

mod absent;
mod attempt;
mod connector;
mod live_check;
mod old_password;
mod probe;
mod server;
mod settings;
mod state;
mod tickets;
mod verdict;

pub use live_check::{AgentCheck, PassThrough};
pub use old_password::{OldPasswordRule, Verified};
pub use settings::{AnchorAttribute, OLD_PASSWORD_WINDOW, PROBE_DEADLINE, PassThroughSettings, SettingsError};
