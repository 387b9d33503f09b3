//! What a pass did, in numbers.

use serde::{Deserialize, Serialize};

use super::account_result::AccountResult;

/// Counts of one pass. `read` accounts were seen; each user's account is in one of the other counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassReport {
    pub read: u64,
    /// New or changed hashes that were derived, sealed and stored.
    pub stored: u64,
    /// Hashes whose source stamp was the stored one: nothing was derived.
    pub unchanged: u64,
    pub quarantined: u64,
    pub no_target_connection: u64,
    pub filtered_by_target: u64,
    /// Users whose account is not in the directory.
    pub missing: u64,
    /// Accounts that a server showed in an older version than is stored: a replica that lags.
    pub stale: u64,
    pub errors: u64,
    pub states_changed: u64,
    /// Users whose password was found in the list of leaked ones, and was not known to be there.
    pub leaked: u64,
}

impl PassReport {
    pub(super) fn count(&mut self, result: &AccountResult) {
        match result {
            AccountResult::Success => {}
            AccountResult::Quarantined(_) | AccountResult::StillQuarantined(_) => self.quarantined += 1,
            AccountResult::NoTargetConnection => self.no_target_connection += 1,
            AccountResult::FilteredByTarget => self.filtered_by_target += 1,
            AccountResult::SourceObjectMissing => self.missing += 1,
            AccountResult::Error(_) => self.errors += 1,
        }
    }
}
