//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is of no use: the connections at once are bounded by the settings.
const ENOUGH: u64 = 65_536;

/// Raises the process's own limit towards what the system allows it, and returns the limit that holds then.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let present = limit.current.unwrap_or(u64::MAX);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(ENOUGH);
    if present >= wanted {
        return present;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, present, "the limit of open files cannot be raised");
            present
        }
    }
}
