//! Which term of the engine lease a transaction belongs to (design D3).

use std::fmt;

/// Grows with each acquisition of the engine lease. Checked inside every transaction of engine and password sync,
/// so that a holder that lost the lease can write nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseEpoch(i64);

impl LeaseEpoch {
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for LeaseEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
