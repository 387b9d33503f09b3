//! A share of people, in whole percent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

/// A number that is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is 1 to 100 percent")]
pub struct NoPercent;

impl Percent {
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = NoPercent;
    fn try_from(number: u8) -> Result<Self, NoPercent> {
        if (1..=100).contains(&number) { Ok(Self(number)) } else { Err(NoPercent) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

impl FromStr for Percent {
    type Err = NoPercent;
    fn from_str(text: &str) -> Result<Self, NoPercent> {
        text.strip_suffix('%').unwrap_or(text).parse::<u8>().map_err(|_| NoPercent)?.try_into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_neither_nothing_nor_more_than_all() {
        for good in ["1", "100", "25%"] {
            assert!(good.parse::<Percent>().is_ok(), "{good}");
        }
        for bad in ["0", "101", "-1", "2.5", "%", ""] {
            assert_eq!(bad.parse::<Percent>(), Err(NoPercent), "{bad}");
        }
    }
}
