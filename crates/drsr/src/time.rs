//! Times as the directory writes them.

use serde::{Deserialize, Serialize};

/// Seconds between 1601 and 1970.
const EPOCH_OFFSET: i64 = 11_644_473_600;
const TICKS_PER_SECOND: i64 = 10_000_000;

/// A point in time in units of 100 ns since 1601 (MS-DTYP 2.3.3, FILETIME), with whatever meaning an attribute gives to
/// zero and to the greatest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileTime(i64);

impl FileTime {
    pub const ZERO: Self = Self(0);
    /// What `accountExpires` says for "never", beside zero (MS-ADA1 2.1).
    pub const NEVER: Self = Self(i64::MAX);

    pub fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// A DSTIME (MS-DRSR 5.53): seconds since 1601.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    pub fn ticks(self) -> i64 {
        self.0
    }

    /// Seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SECOND) - EPOCH_OFFSET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_time_counts_from_1601() {
        assert_eq!(FileTime::from_ticks(133_497_504_000_000_000).unix_seconds(), 1_705_276_800);
        assert_eq!(FileTime::from_seconds(EPOCH_OFFSET).unix_seconds(), 0);
        assert_eq!(FileTime::from_seconds(i64::MAX), FileTime::NEVER);
    }
}
