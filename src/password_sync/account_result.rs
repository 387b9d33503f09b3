//! What the channel did with one account, as operators read it. Kept for seven days.

use std::time::Duration;

use crate::credential::Quarantine;

/// How long a result is kept that nothing renewed.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The result of one account in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountResult {
    /// The stored hash is the directory's.
    Success,
    /// The value at the source cannot be used; it is set aside, and the user has no stored password.
    Quarantined(Quarantine),
    /// A former read found so, for this reason, and the value is the same.
    StillQuarantined(String),
    /// No user of the tenant has this account as credential source.
    NoTargetConnection,
    /// The rules do not enable password sync for this user.
    FilteredByTarget,
    /// The account of a user is not in the directory any more.
    SourceObjectMissing,
    /// Something went wrong on our side or in the account's state; tried again with the next pass.
    Error(String),
}

impl AccountResult {
    /// The stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Quarantined(_) | Self::StillQuarantined(_) => "quarantined",
            Self::NoTargetConnection => "no-target-connection",
            Self::FilteredByTarget => "filtered-by-target",
            Self::SourceObjectMissing => "source-object-missing",
            Self::Error(_) => "error",
        }
    }

    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Quarantined(reason) => Some(reason.to_string()),
            Self::StillQuarantined(text) | Self::Error(text) => Some(text.clone()),
            Self::Success | Self::NoTargetConnection | Self::FilteredByTarget | Self::SourceObjectMissing => None,
        }
    }
}
