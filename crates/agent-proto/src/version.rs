//! Versions of the protocol.

use minicbor::{Decode, Encode};

/// The versions that a peer speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Versions {
    #[n(0)]
    pub oldest: u32,
    #[n(1)]
    pub newest: u32,
}

impl Versions {
    /// What this release speaks. The next one that changes a message speaks 2 and 3: gateway and agents may be one
    /// release apart, either way.
    pub const OURS: Self = Self { oldest: 1, newest: 2 };

    /// The version from which on agents carry more than checks.
    pub const WITH_EXCHANGES: u32 = 2;

    /// The newest version that both speak.
    pub fn agree(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest && newest >= other.oldest && self.is_sound() && other.is_sound()).then_some(newest)
    }

    fn is_sound(self) -> bool {
        self.oldest <= self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn from_to(oldest: u32, newest: u32) -> Versions {
        Versions { oldest, newest }
    }

    #[test]
    fn neighbouring_releases_agree_and_others_do_not() {
        let rows = [
            (from_to(1, 1), from_to(1, 1), Some(1)),
            (from_to(1, 1), from_to(1, 2), Some(1)),
            (from_to(1, 2), from_to(2, 3), Some(2)),
            (from_to(1, 2), from_to(1, 2), Some(2)),
            (from_to(1, 1), from_to(2, 3), None),
            (from_to(3, 1), from_to(1, 3), None),
            (from_to(0, u32::MAX), from_to(1, 1), Some(1)),
        ];
        for (one, other, agreed) in rows {
            assert_eq!(one.agree(other), agreed, "{one:?} {other:?}");
            assert_eq!(other.agree(one), agreed, "{other:?} {one:?}");
        }
    }
}
