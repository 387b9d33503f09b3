//! Which write a value comes from, as Active Directory tells it: the same on every controller, so that a controller that
//! lags behind is known by what it shows (MS-DRSR 5.11 AttributeStamp, MS-DRSR 5.167 PROPERTY_META_DATA_VECTOR).

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::identity::Timestamp;

/// The stamp of one attribute. The greater one is the later write: by version, time and writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteStamp {
    pub version: u32,
    /// Seconds since 1970.
    pub at: i64,
    /// The invocation id of the controller that took the write.
    pub writer: Uuid,
}

/// Writes of one attribute of one account: beyond what a directory makes in its life.
const MOST_WRITES: u32 = 10_000_000;

impl WriteStamp {
    /// Whether it can be of a write until `latest`. One that is not would outlive all that are.
    pub fn is_plausible(&self, latest: Timestamp) -> bool {
        self.version <= MOST_WRITES && self.at <= latest.millis() / 1000
    }
}

impl fmt::Display for WriteStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.version, self.at, self.writer.simple())
    }
}

/// A text that is no stamp.
#[derive(Debug, thiserror::Error)]
#[error("it is no stamp of a write")]
pub struct NoStamp;

impl FromStr for WriteStamp {
    type Err = NoStamp;

    fn from_str(text: &str) -> Result<Self, NoStamp> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(NoStamp);
        let (version, at, writer) = (next()?, next()?, next()?);
        Ok(Self {
            version: version.parse().map_err(|_| NoStamp)?,
            at: at.parse().map_err(|_| NoStamp)?,
            writer: writer.parse().map_err(|_| NoStamp)?,
        })
    }
}

/// The attributes that make an account's state, by their ids in the schema that every forest has (MS-ADA1 to MS-ADA3,
/// prefix 2.5.5 and 1.2.840.113556.1.4 of the initial prefix table).
const STATE_ATTRIBUTES: [u32; 5] = [
    0x0009_0008, // userAccountControl
    0x0009_0060, // pwdLastSet
    0x0009_0296, // lockoutTime
    0x0009_009f, // accountExpires
    0x0009_0040, // logonHours
];
const SEPARATOR: char = ',';

/// The stamps of the attributes of a state, in the order of [`STATE_ATTRIBUTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateStamps([Option<WriteStamp>; STATE_ATTRIBUTES.len()]);

impl StateStamps {
    /// From the value of `replPropertyMetaData`; `None` for what is none.
    pub fn read(value: &[u8]) -> Option<Self> {
        const HEAD: usize = 16;
        const ENTRY: usize = 48;
        let number = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
        let count = usize::try_from(number(8)?).ok()?;
        if number(0)? != 1 || value.len() != HEAD.checked_add(count.checked_mul(ENTRY)?)? {
            return None;
        }
        let mut stamps = Self::default();
        for entry in value[HEAD..].chunks_exact(ENTRY) {
            let part = |at: usize, size: usize| &entry[at..at + size];
            let id = u32::from_le_bytes(part(0, 4).try_into().ok()?);
            let Some(place) = STATE_ATTRIBUTES.iter().position(|known| *known == id) else { continue };
            let since_1601 = i64::from_le_bytes(part(8, 8).try_into().ok()?);
            stamps.0[place] = Some(WriteStamp {
                version: u32::from_le_bytes(part(4, 4).try_into().ok()?),
                at: since_1601.saturating_sub(11_644_473_600),
                writer: Uuid::from_bytes_le(part(16, 16).try_into().ok()?),
            });
        }
        stamps.0[0].is_some().then_some(stamps)
    }

    /// Whether this was shown by a server that lags behind the one that showed `other`. Of two that each lack a write of the
    /// other the account's flags decide: a disable counts at once, wherever it is seen first.
    pub fn lags_behind(&self, other: &Self) -> bool {
        let pairs = || self.0.iter().zip(&other.0).filter_map(|(one, other)| one.as_ref().zip(other.as_ref()));
        let (mut older, mut newer) = (false, false);
        for (one, other) in pairs() {
            older |= one < other;
            newer |= one > other;
        }
        match (older, newer) {
            (false, _) => false,
            (true, false) => true,
            (true, true) => self.0[0] < other.0[0],
        }
    }

    pub fn are_plausible(&self, latest: Timestamp) -> bool {
        self.0.iter().flatten().all(|stamp| stamp.is_plausible(latest))
    }

    /// When the last of them was written.
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.iter().flatten().map(|stamp| stamp.at).max().map(Timestamp::from_secs)
    }
}

impl fmt::Display for StateStamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, stamp) in self.0.iter().enumerate() {
            if place > 0 {
                write!(f, "{SEPARATOR}")?;
            }
            if let Some(stamp) = stamp {
                write!(f, "{stamp}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for StateStamps {
    type Err = NoStamp;

    fn from_str(text: &str) -> Result<Self, NoStamp> {
        let mut stamps = Self::default();
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        if parts.len() != stamps.0.len() {
            return Err(NoStamp);
        }
        for (place, part) in parts.into_iter().enumerate() {
            stamps.0[place] = if part.is_empty() { None } else { Some(part.parse()?) };
        }
        Ok(stamps)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: u32, version: u32, seconds: i64, writer: u128) -> Vec<u8> {
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend((seconds + 11_644_473_600).to_le_bytes());
        bytes.extend(Uuid::from_u128(writer).to_bytes_le());
        bytes.extend([0; 16]);
        bytes
    }

    fn blob(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [1_u32, 0, u32::try_from(entries.len()).expect("few"), 0].map(u32::to_le_bytes).concat();
        bytes.extend(entries.concat());
        bytes
    }

    fn stamps(flags: (u32, i64), set: (u32, i64)) -> StateStamps {
        let other = entry(0x0003_0000, 9, 9, 9);
        let entries = [other, entry(0x0009_0008, flags.0, flags.1, 1), entry(0x0009_0060, set.0, set.1, 2)];
        StateStamps::read(&blob(&entries)).expect("a vector")
    }

    #[test]
    fn a_lagging_server_is_known_by_what_it_shows() {
        let rows = [
            (stamps((3, 100), (1, 50)), stamps((3, 100), (1, 50)), false),
            // Its clock is ahead, its write is the older one all the same.
            (stamps((2, 900), (1, 50)), stamps((3, 100), (1, 50)), true),
            (stamps((4, 100), (1, 50)), stamps((3, 900), (1, 50)), false),
            (stamps((3, 100), (1, 50)), stamps((3, 101), (1, 50)), true),
            // Each has something that the other lacks.
            (stamps((4, 100), (1, 50)), stamps((3, 100), (2, 60)), false),
            (stamps((3, 100), (2, 60)), stamps((4, 100), (1, 50)), true),
        ];
        for (shown, known, lags) in rows {
            assert_eq!(shown.lags_behind(&known), lags, "{shown} and {known}");
        }
        assert_eq!(stamps((3, 100), (1, 50)).newest(), Some(Timestamp::from_secs(100)));
    }

    #[test]
    fn stamps_go_through_text() {
        let stamps = stamps((3, 100), (1, 50));
        assert_eq!(stamps.to_string().parse::<StateStamps>().expect("stamps"), stamps);
        for text in ["", ",,,", "1/2,,,,", "x/1/2,,,,"] {
            assert!(text.parse::<StateStamps>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_stamps(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = StateStamps::read(&bytes);
        }
    }
}
