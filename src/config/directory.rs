//! `[matching]` and `[directory]`: which objects of the cloud directories may take over, and how many objects there may be.

use super::reader::Table;

/// What may be taken over from the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchingSettings {
    /// By mail address or name. Off: whoever may write these on premises could take any such object over.
    pub soft_match: bool,
    /// By source anchor.
    pub hard_match: bool,
}

impl MatchingSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let settings = Self {
            soft_match: table.flag("soft_match").unwrap_or(false),
            hard_match: table.flag("hard_match").unwrap_or(true),
        };
        table.finish();
        settings
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// Undeleted objects at most.
    pub object_quota: u32,
    /// From this share of the quota on, in percent, there is a warning.
    pub quota_warning: u8,
}

impl DirectorySettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let number = |key, range, usual| table.number(key, range).unwrap_or(usual);
        let settings = Self {
            object_quota: u32::try_from(number("object_quota", 1..=100_000_000, 500_000)).unwrap_or(u32::MAX),
            quota_warning: u8::try_from(number("quota_warning", 1..=100, 90)).unwrap_or(100),
        };
        table.finish();
        settings
    }
}
