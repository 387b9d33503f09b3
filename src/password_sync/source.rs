//! Where hashes and account states come from: the contract with a directory.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::account_state::StateFault;
use super::ad_source::UNICODE_PWD;
use super::write_stamp::{StateStamps, WriteStamp};
use crate::credential::{LeakClass, NtHash, Quarantine, parse_nt_hash};
use crate::identity::{AccountState, SourceAnchor, Timestamp};

/// A directory that can be read for the password channel.
#[async_trait]
pub trait AccountSource: Send + Sync {
    /// Reads every account in the connector's scope and sends it page by page. `Ok` means that the read came to its
    /// end without error; what was sent before an `Err` is good, and not the whole.
    ///
    /// `since` is where an earlier read came to whose passwords are all stored: these need not be read again. The answer
    /// is where this one came to; `None` where every read reads everything.
    async fn read_all(
        &self,
        since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError>;

    /// Reads these accounts wherever they are in the directory, in scope or not. One that is missing from an `Ok` is
    /// not in the directory.
    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError>;
}

/// How far the passwords of a directory were read: a text of the source's own. It is stored with the last of what it
/// covers, and given back to the source by whichever node reads next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition(String);

impl SourcePosition {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the directory could not be read")]
    Directory(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the read was given up by its reader")]
    GivenUp,
}

/// Some accounts, read from one server.
#[derive(Debug)]
pub struct SourcePage {
    pub server: String,
    /// The connector has no other server: what this one shows is the directory's newest.
    pub sole_server: bool,
    /// The directory was restored since it was read last: what is older than before is what it holds now.
    pub restored: bool,
    /// When the read of this page began: nothing in it is older.
    pub read_at: Timestamp,
    pub looked: Looked,
    pub accounts: Vec<SourceAccount>,
}

/// Whether leaked passwords were looked for where the page was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Looked {
    /// No: there is no list, or whoever takes the page looks.
    #[default]
    No,
    /// Each account says what was found.
    Yes,
    /// There is a list, and why it could not be looked into.
    Failed(String),
}

/// What a list of leaked passwords says of an account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// Nobody looked: there is no list, or it could not be read, or the hash was not shown.
    NotLookedFor,
    NotListed,
    Listed(LeakClass),
}

impl SourcePage {
    /// Without accounts, of no server.
    pub fn empty(read_at: Timestamp) -> Self {
        let (server, looked, accounts) = (String::new(), Looked::No, Vec::new());
        Self { server, sole_server: false, restored: false, read_at, looked, accounts }
    }

    /// The same in pages of at most so many accounts; an empty one stays one.
    pub fn pieces(mut self, accounts: usize) -> Vec<Self> {
        let mut pieces = Vec::new();
        while self.accounts.len() > accounts {
            let rest = self.accounts.split_off(accounts);
            let accounts = std::mem::replace(&mut self.accounts, rest);
            pieces.push(Self { server: self.server.clone(), looked: self.looked.clone(), accounts, ..self });
        }
        pieces.push(self);
        pieces
    }
}

/// An account as its directory shows it. Holds password values: erased when dropped, never printed.
#[derive(Debug)]
pub struct SourceAccount {
    pub anchor: SourceAnchor,
    pub version: SourceVersion,
    pub state: Result<AccountState, StateFault>,
    pub passwords: Passwords,
    /// Which write the password comes from, where the directory tells it.
    pub written: Option<WriteStamp>,
    pub password_time: PasswordTime,
    /// What was found where it was read.
    pub leak: Leak,
}

/// When the password was set that an account shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordTime {
    /// As its state says: both were read at once.
    OfState,
    /// As was told with the password, which was read before the state. A state that says something else is of another
    /// password.
    Told(Option<Timestamp>),
}

/// What a directory says of an account's password.
#[derive(Debug)]
pub enum Passwords {
    /// Its values, in the connector's order of preference; an attribute without values has none here.
    Read(Vec<PasswordValues>),
    /// As it was in a read that was stored.
    Unchanged,
    /// There is one that cannot be read, and why.
    Unreadable(Quarantine),
}

impl Passwords {
    /// The NT hash among the values that are shown.
    pub fn nt_hash(&self) -> Option<NtHash> {
        let Self::Read(passwords) = self else { return None };
        let of_nt = passwords.iter().filter(|PasswordValues { attribute, .. }| is_nt_hash(attribute));
        of_nt.flat_map(|password| password.values.first()).find_map(|value| parse_nt_hash(value).ok())
    }
}

/// The values of one password attribute.
pub struct PasswordValues {
    pub attribute: String,
    pub values: Vec<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for PasswordValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordValues({}, {})", self.attribute, self.values.len())
    }
}

/// Whether an attribute holds NT hashes.
pub fn is_nt_hash(attribute: &str) -> bool {
    [UNICODE_PWD, "sambaNTPassword"].iter().any(|name| attribute.eq_ignore_ascii_case(name))
}

/// The version of an entry, as its directory counts: `entryCSN`, or the time of its last change. Later versions
/// compare greater, also between servers of one directory; an unknown version is the least. The controllers of an Active
/// Directory each have a time of their own for a change: where several are read, the stamps of the writes stand behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceVersion(String);

/// Characters of one that is told: a time, and five stamps.
const LONGEST_VERSION: usize = 500;
/// Between the time and the stamps.
const STAMPS: char = '|';

impl SourceVersion {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn with_stamps(self, stamps: &StateStamps) -> Self {
        Self(format!("{}{STAMPS}{stamps}", self.0))
    }

    /// One that somebody told who may be wrong, or lie: what is later than `latest` counts as of then, so that it outlives
    /// nothing that comes after. `None`: it is no version.
    pub fn no_later_than(self, latest: Timestamp) -> Option<Self> {
        if self.0.is_empty() {
            return Some(self);
        }
        if self.0.len() > LONGEST_VERSION {
            return None;
        }
        let (time, stamps) = self.0.split_once(STAMPS).map_or((self.0.as_str(), None), |(time, s)| (time, Some(s)));
        let told = super::account_state::generalized_time(time.split(['.', '#']).next()?);
        if !time.is_empty() && told.is_none() {
            return None;
        }
        let stamps = stamps.map(|text| text.parse::<StateStamps>()).transpose().ok()?;
        let is_later = told.is_some_and(|told| told > latest);
        match stamps {
            Some(stamps) if !is_later && stamps.are_plausible(latest) => Some(self),
            None if !is_later => Some(self),
            Some(_) | None => {
                Some(Self(super::account_state::generalized(told.map_or(latest, |told| told.min(latest)))))
            }
        }
    }

    fn stamps(&self) -> Option<StateStamps> {
        self.0.split_once(STAMPS)?.1.parse().ok()
    }

    /// Whether `other` tells of later writes.
    pub fn is_older_than(&self, other: &Self) -> bool {
        match (self.stamps(), other.stamps()) {
            (Some(shown), Some(known)) => shown.lags_behind(&known),
            _ => self.0 < other.0,
        }
    }

    /// The time of the change, to the second, where the version tells it (generalized time leads in all of them).
    pub fn instant(&self) -> Option<Timestamp> {
        if let Some(stamps) = self.stamps() {
            return stamps.newest();
        }
        super::account_state::generalized_time(self.0.split(['.', '#']).next()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_was_told_is_of_no_later_than_now() {
        let latest = Timestamp::from_secs(1_800_000_000);
        let same = ["", "20260101000000Z", "20260101000000.000001Z#000000#000#000000", "20260101000000.0Z|,,,,"];
        for text in same {
            let version = SourceVersion::new(text.to_owned());
            assert_eq!(version.clone().no_later_than(latest), Some(version), "{text}");
        }
        let stamp =
            |version: u32, at: i64| format!("20260101000000.0Z|{version}/{at}/{},,,,", uuid::Uuid::nil().simple());
        let sound = SourceVersion::new(stamp(7, 1_700_000_000));
        assert_eq!(sound.clone().no_later_than(latest), Some(sound));
        let now = "20270115080000Z";
        let rows = [
            ("20990101000000Z".to_owned(), now),
            ("20990101000000.000001Z#ffffff#000#000000".to_owned(), now),
            ("20990101000000.0Z|,,,,".to_owned(), now),
            (stamp(u32::MAX, 1_700_000_000), "20260101000000Z"),
            (stamp(7, 1_900_000_000), "20260101000000Z"),
        ];
        for (text, clamped) in rows {
            let version = SourceVersion::new(text.clone()).no_later_than(latest);
            assert_eq!(version.as_ref().map(SourceVersion::as_str), Some(clamped), "{text}");
        }
        for text in ["zzzz", "|", "2026", "20260101000000Z|x", &"2".repeat(501)] {
            assert_eq!(SourceVersion::new(text.to_owned()).no_later_than(latest), None, "{text}");
        }
    }
}
