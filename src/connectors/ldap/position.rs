//! Watermarks of LDAP directories: how far a server was read, by which method, and what proves that it is still the same
//! data.
//!
//! LDAP servers name no incarnation of their data. What stands for it is a witness: the entry, or the logged change, that
//! was the newest when the watermark was taken. A server restored from an older backup holds an older state of it, or
//! none, even when later writes have brought its counters past ours.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access_log::LogPosition;
use crate::identity::Timestamp;
use crate::ldap::Entry;
use crate::sync::connector::{DeltaReports, Watermark};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "method")]
pub(super) enum Position {
    /// Cookies by object type, as base64.
    ContentSync {
        cookies: BTreeMap<String, String>,
        /// The server tells entries that no longer match. 389 does not.
        exits: bool,
    },
    /// The last change read.
    Changelog { number: u64 },
    /// How far the access log of OpenLDAP was read.
    AccessLog { log: LogPosition },
    /// Every change with an older stamp was read.
    Timestamp { after: String },
    /// The cookie of the naming context, as base64.
    DirSync { cookie: String, incarnation: Incarnation },
    /// Every change up to this number of the controller was read.
    Usn { number: u64, incarnation: Incarnation },
}

/// Whose changes a position of Active Directory counts, and what of them the account sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incarnation {
    /// The controller's database: a restored one has another.
    pub invocation_id: String,
    /// The account sees deleted objects. Without that, deletes are left out in silence.
    pub tells_deletes: bool,
    /// When it was, by the controller's clock.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Days for which the forest keeps what was deleted (tombstoneLifetime), where that is told.
    #[serde(default)]
    pub kept_days: Option<u32>,
}

/// After so long a delta is none any more. Deleted objects are told for 60 days where the forest's tombstoneLifetime says
/// nothing else (MS-ADTS, section 6.1.1.2.4.1.1).
const OLDEST: Duration = Duration::from_secs(30 * 86_400);
/// Clocks of controllers are five minutes apart at the most, or Kerberos fails; one that was set right may be further.
const AHEAD: Duration = Duration::from_secs(86_400);

impl Incarnation {
    /// Whether what changed since `known` is told now; else why not.
    pub fn go_on_from(&self, known: &Self) -> Result<(), &'static str> {
        if self.invocation_id != known.invocation_id {
            return Err("the controller's database is another one than before: it was restored");
        }
        let (Some(now), Some(then)) = (self.at, known.at) else {
            return Err("nothing tells how old the last read is, and deleted objects may be gone for good");
        };
        let kept = self.kept_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        if now.since(then) > kept.map_or(OLDEST, |kept| kept.min(OLDEST)) {
            return Err("the last read is so long ago that deleted objects may be gone for good");
        }
        if then.since(now) > AHEAD {
            return Err("the last read lies in the future of the controller's clock: nothing tells how old it is");
        }
        if self.tells_deletes && !known.tells_deletes {
            return Err("deleted objects are seen now, and what was deleted before was never told");
        }
        Ok(())
    }
}

/// The newest entry that a read met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witness {
    pub dn: String,
    pub anchor: String,
    /// `entryCSN`, or `modifyTimestamp` where there is none. Both sort as text.
    pub stamp: String,
}

/// What a watermark carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub server: String,
    /// Over the settings and the rules' wishes.
    pub scope: String,
    pub position: Position,
    pub witness: Option<Witness>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    scope: String,
    #[serde(flatten)]
    position: Position,
}

impl Position {
    /// What deltas from here tell. Of a moved container, the container alone is told.
    pub fn reports(&self) -> DeltaReports {
        match self {
            Self::ContentSync { exits, .. } => DeltaReports { deletes: true, moves: true, filter_exits: *exits },
            Self::Changelog { .. } | Self::AccessLog { .. } => {
                DeltaReports { deletes: true, moves: true, filter_exits: true }
            }
            Self::Timestamp { .. } => DeltaReports { deletes: false, moves: false, filter_exits: false },
            Self::DirSync { incarnation, .. } => {
                DeltaReports { deletes: incarnation.tells_deletes, moves: true, filter_exits: true }
            }
            // Of a moved object, not who refers to it.
            Self::Usn { incarnation, .. } => {
                DeltaReports { deletes: incarnation.tells_deletes, moves: false, filter_exits: true }
            }
        }
    }
}

impl Mark {
    pub fn read(watermark: &Watermark) -> Option<Self> {
        let Stored { scope, position } = serde_json::from_str(&watermark.value).ok()?;
        let witness = match watermark.incarnation.as_str() {
            "" => None,
            text => Some(serde_json::from_str(text).ok()?),
        };
        Some(Self { server: watermark.server.clone(), scope, position, witness })
    }

    pub fn watermark(&self) -> Result<Watermark, serde_json::Error> {
        let stored = Stored { scope: self.scope.clone(), position: self.position.clone() };
        Ok(Watermark {
            server: self.server.clone(),
            incarnation: self.witness.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default(),
            value: serde_json::to_string(&stored)?,
        })
    }
}

/// Attributes that tell how new an entry is.
pub(super) const STAMPS: [&str; 2] = ["entryCSN", "modifyTimestamp"];

/// The stamp of an entry that was read with [`STAMPS`].
pub(super) fn stamp(entry: &Entry) -> Option<&str> {
    STAMPS.iter().find_map(|name| entry.text(&name.to_ascii_lowercase()))
}

/// Keeps the newest of what it is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Newest(pub Option<Witness>);

impl Newest {
    pub fn show(&mut self, entry: &Entry, anchor: Option<String>) {
        let (Some(stamp), Some(anchor)) = (stamp(entry), anchor) else { return };
        if self.0.as_ref().is_none_or(|held| held.anchor == anchor || held.stamp.as_str() < stamp) {
            self.0 = Some(Witness { dn: entry.dn.as_str().to_owned(), anchor, stamp: stamp.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_goes_on_from_a_read_of_this_month_in_the_same_database_alone() {
        const DAY: i64 = 86_400;
        let seen = |at: Option<i64>, tells_deletes, id: &str| Incarnation {
            invocation_id: id.to_owned(),
            tells_deletes,
            at: at.map(|days| Timestamp::from_secs(1_800_000_000 + days * DAY)),
            kept_days: None,
        };
        let rows = [
            (seen(Some(0), true, "a"), None),
            (seen(Some(-30), true, "a"), None),
            (seen(Some(-31), true, "a"), Some("so long ago")),
            (seen(None, true, "a"), Some("how old")),
            // The clock was set back by an hour's worth, and by more.
            (seen(Some(1), true, "a"), None),
            (seen(Some(2), true, "a"), Some("in the future")),
            (seen(Some(0), true, "b"), Some("restored")),
            (seen(Some(0), false, "a"), Some("never told")),
        ];
        for (known, refused) in rows {
            let found = seen(Some(0), true, "a").go_on_from(&known);
            assert_eq!(
                found.err().map(|reason| reason.contains(refused.unwrap_or("-"))),
                refused.map(|_| true),
                "{known:?}"
            );
        }
        // The forest forgets sooner, or later.
        for (kept_days, days, goes_on) in [(7, -7, true), (7, -8, false), (180, -30, true), (180, -31, false)] {
            let now = Incarnation { kept_days: Some(kept_days), ..seen(Some(0), true, "a") };
            assert_eq!(now.go_on_from(&seen(Some(days), true, "a")).is_ok(), goes_on, "{kept_days}: {days}");
        }
        assert_eq!(seen(Some(0), false, "a").go_on_from(&seen(Some(0), true, "a")), Ok(()), "kept with the position");
    }

    #[test]
    fn marks_come_back_as_they_were_stored() {
        let witness = Witness { dn: "uid=a,dc=x".into(), anchor: "1".into(), stamp: "20260101000000Z".into() };
        let incarnation = Incarnation {
            invocation_id: "0f".into(),
            tells_deletes: false,
            at: Some(Timestamp::from_secs(7)),
            kept_days: Some(60),
        };
        let cookies = BTreeMap::from([("user".to_owned(), "Y29va2ll".to_owned())]);
        for position in [
            Position::ContentSync { cookies, exits: false },
            Position::Changelog { number: 7 },
            Position::AccessLog { log: LogPosition::default() },
            Position::Timestamp { after: "20260101000000Z".into() },
            Position::DirSync { cookie: "TVNEUw==".into(), incarnation: incarnation.clone() },
            Position::Usn { number: 7, incarnation },
        ] {
            for witness in [None, Some(witness.clone())] {
                let mark = Mark { server: "ldaps://a".into(), scope: "d".into(), position: position.clone(), witness };
                assert_eq!(Mark::read(&mark.watermark().expect("plain data")), Some(mark));
            }
        }
        let foreign = Watermark { server: String::new(), incarnation: String::new(), value: "17".into() };
        assert_eq!(Mark::read(&foreign), None);
    }
}
