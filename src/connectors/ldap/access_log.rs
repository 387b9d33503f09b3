//! Import by the access log of OpenLDAP (slapo-accesslog(5)).
//!
//! The log tells which entries were written to, by their `entryUUID`; what they are now is read from the entries
//! themselves. A delete is believed when the entry is not found under its id. Times are the server's own: no clock of ours
//! has to agree with them.
//!
//! Old records are purged. How far, the log's `minCSN` tells (OpenLDAP 2.5): the newest change of each server that was
//! purged, or the first that was ever logged. Without it, the record that was read last must still be there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::methods::SyncId;
use super::position::{Mark, Newest, Position};
use super::reader::{Reader, Refused};
use super::timestamp::written;
use crate::identity::{DistinguishedName, Timestamp};
use crate::ldap::{Connection, Entry, Filter, RootDse, Scope, Search, time};
use crate::sync::connector::ImportPage;

/// Changed entries beyond which reading everything is the shorter way, and records to find them in.
const MAX_CHANGED: usize = 200_000;
const MAX_RECORDS: usize = 1_000_000;
/// Longer than any write takes from its stamp to its record.
const OVERLAP: Duration = Duration::from_secs(60);
/// Searches for the newest record begin here (2000-01-01), and span so many seconds.
const EARLIEST: i64 = 946_684_800;
const SPAN: i64 = 1 << 32;
/// Reads of a log that is purged meanwhile.
const TRIES: usize = 3;

/// One successful write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    start: String,
    /// When it began, to the second.
    at: Timestamp,
    /// Its change sequence number; empty where the log tells none.
    csn: String,
    target: String,
    /// `None` where the log does not tell it.
    id: Option<String>,
    deletes: bool,
}

impl Record {
    fn of(entry: &Entry) -> Option<Self> {
        let text = |name: &str| entry.text(name).unwrap_or_default().to_owned();
        let start = text("reqstart");
        Some(Self {
            at: time::generalized(&start)?,
            start,
            csn: text("entrycsn"),
            target: text("reqdn"),
            id: entry.text("reqentryuuid").map(str::to_ascii_lowercase),
            deletes: text("reqtype").eq_ignore_ascii_case("delete"),
        })
    }

    fn logged(&self) -> Logged {
        let deleted = self.id.clone().filter(|_| self.deletes);
        Logged { start: self.start.clone(), csn: self.csn.clone(), deleted }
    }
}

/// What a position keeps of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Logged {
    start: String,
    csn: String,
    /// The entry, where it was a delete.
    deleted: Option<String>,
}

/// How far a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPosition {
    /// `None`: there was no record yet, or none any more.
    last: Option<Logged>,
    /// The newest change of each server that was read, or was purged before everything was read.
    known: BTreeMap<String, String>,
    /// Over the records shortly before the last, so that one that comes late is noticed.
    window: String,
}

/// The server of a change sequence number (draft-chu-ldap-csn: time, count, server, modification).
fn server_of(csn: &str) -> Option<&str> {
    csn.split('#').nth(2)
}

fn digest<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut sha = Sha256::new();
    records.for_each(|record| sha.update(record.start.as_bytes()));
    hex::encode(&sha.finalize()[..8])
}

impl LogPosition {
    /// The position after `records`, in their order, of a log that was purged up to `purged`.
    fn after(self, records: &[Record], purged: &[String]) -> Self {
        let mut known = self.known;
        for csn in records.iter().map(|record| &record.csn).chain(purged) {
            let Some(server) = server_of(csn) else { continue };
            let newest = known.entry(server.to_owned()).or_default();
            if *newest < *csn {
                newest.clone_from(csn);
            }
        }
        let Some(last) = records.last() else { return Self { known, ..self } };
        let window = digest(records.iter().filter(|record| record.at >= last.at - OVERLAP));
        Self { last: Some(last.logged()), known, window }
    }

    /// Where to begin to read: a record that was slower than the last may have come behind it.
    fn from(&self) -> Option<Timestamp> {
        self.last.as_ref().and_then(|last| time::generalized(&last.start)).map(|at| at - OVERLAP)
    }

    /// The records of which the engine was not told yet, all of a log that still tells everything since this position.
    fn fresh<'r>(&self, records: &'r [Record], purged: &[String]) -> Result<&'r [Record], String> {
        let unread = |csn: &&String| {
            let known = server_of(csn).and_then(|server| self.known.get(server));
            // Of a server whose first change was logged since, it is that first one.
            known.map_or(!records.iter().any(|record| record.csn == **csn), |known| known < *csn)
        };
        if let Some(csn) = purged.iter().find(unread) {
            return Err(format!(
                "the access log begins behind what was read, at {csn}: it was purged, or is another one"
            ));
        }
        let Some(last) = &self.last else {
            return match purged.is_empty() && !records.is_empty() {
                true => Err("nothing tells how far the access log was purged".to_owned()),
                false => Ok(records),
            };
        };
        let there = records.iter().any(|record| record.start == last.start && record.csn == last.csn);
        if !there && !purged.contains(&last.csn) {
            return Err(match purged.is_empty() {
                true => format!("the access log was purged behind {}, or is another one", last.start),
                false => format!("the access log lost {}, which was not purged: a restored backup", last.start),
            });
        }
        let read = records.partition_point(|record| record.start <= last.start);
        let (before, behind) = records.split_at(read);
        Ok(if digest(before.iter()) == self.window { behind } else { records })
    }
}

impl Reader {
    /// Reads everything after the log was looked at.
    pub(super) async fn full_by_access_log(
        &self,
        connection: &mut Connection,
        server: &RootDse,
    ) -> Result<Mark, Refused> {
        let log = self.access_log(connection, server).await?;
        let (records, purged) = match self.newest_second(connection, &log).await? {
            Some(second) => self.consistent(connection, &log, Some(second - OVERLAP)).await?,
            None => self.consistent(connection, &log, None).await?,
        };
        if let Some(record) = records.iter().find(|record| record.id.is_none()) {
            return Err(untold(record));
        }
        let position = Position::AccessLog { log: LogPosition::default().after(&records, &purged) };
        let extent = self.open(connection).await.map_err(Refused::Failed)?;
        let mut newest = Newest::default();
        let mut look = |entry: &Entry| newest.show(entry, self.anchor_of(entry));
        self.full_in_pages(connection, &extent, &mut look).await.map_err(Refused::Failed)?;
        Ok(Mark { server: connection.server().to_string(), scope: String::new(), position, witness: newest.0 })
    }

    pub(super) async fn delta_by_access_log(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        mark: Mark,
        position: LogPosition,
    ) -> Result<Mark, Refused> {
        // Before the log is read: whatever takes the witness away later is told by the next delta.
        let gone = self.check_witness(connection, mark.witness.as_ref()).await?;
        let log = self.access_log(connection, server).await?;
        let (records, purged) = self.consistent(connection, &log, position.from()).await?;
        let fresh = position.fresh(&records, &purged).map_err(Refused::Unfit)?;
        if let Some(witness) = gone {
            let id = witness.anchor.to_ascii_lowercase();
            if !records.iter().any(|record| record.deletes && record.id.as_deref() == Some(id.as_str())) {
                let reason = format!("{} was changed last and is gone, and no delete was logged", witness.dn);
                return Err(Refused::Unfit(reason));
            }
        }
        self.still_deleted(connection, &position, &records).await?;
        let mut ids = BTreeSet::new();
        for record in fresh {
            ids.insert(record.id.clone().ok_or_else(|| untold(record))?);
        }
        if ids.len() > MAX_CHANGED {
            return Err(Refused::Unfit(format!("more than {MAX_CHANGED} entries changed")));
        }
        let mut newest = Newest(mark.witness.clone().filter(|_| gone.is_none()));
        if !ids.is_empty() {
            let (extent, included) = self.located(connection).await?;
            let outside = self.send_bases(included, &extent).await.map_err(Refused::Failed)?;
            let ids: Vec<String> = ids.into_iter().collect();
            let mut removed = self.read_selected(connection, &extent, &ids, &mut newest).await?;
            removed.outside.extend(outside);
            let page = ImportPage { deleted: removed.absent, left_below: removed.outside, ..ImportPage::default() };
            self.send(page).await.map_err(Refused::Failed)?;
        }
        let position = Position::AccessLog { log: position.after(&records, &purged) };
        Ok(Mark { position, witness: newest.0, ..mark })
    }

    /// An entry that is there although its delete is the last that was read comes from data that are older than the log.
    async fn still_deleted(
        &self,
        connection: &mut Connection,
        position: &LogPosition,
        records: &[Record],
    ) -> Result<(), Refused> {
        let Some(last) = &position.last else { return Ok(()) };
        let Some(id) = last.deleted.clone() else { return Ok(()) };
        let written_since = |record: &Record| record.start > last.start && record.id.as_ref() == Some(&id);
        if records.iter().any(written_since) {
            return Ok(());
        }
        match self.containers_by_anchor(connection, &[id]).await?.first() {
            None => Ok(()),
            Some(entry) => Err(Refused::Unfit(format!("{} was deleted, and is there: a restored backup", entry.dn))),
        }
    }

    /// The log of the naming context, as its head names it.
    async fn access_log(&self, connection: &mut Connection, server: &RootDse) -> Result<DistinguishedName, Refused> {
        if SyncId::of(&self.settings.anchor) != Some(SyncId::EntryUuid) {
            let reason = format!("its access log names entries by entryUUID, not by {}", self.settings.anchor);
            return Err(Refused::Unfit(reason));
        }
        let contexts = server.naming_contexts.iter().filter(|context| self.settings.root.is_within(context));
        let Some(context) = contexts.max_by_key(|context| context.as_str().len()) else {
            return Err(Refused::Unfit(format!("it has no naming context for {}", self.settings.root)));
        };
        let head = connection.read(context, vec!["auditContext".to_owned()]).await;
        let head = head.map_err(|error| self.judge(error))?;
        let log = head.as_ref().and_then(|head| head.text("auditcontext")).and_then(|text| text.parse().ok());
        log.ok_or_else(|| {
            let reason = format!("{context} names no access log (overlay accesslog) that the service account sees");
            Refused::Unfit(reason)
        })
    }

    /// Records from a time on, in their order, and how far the log was purged before and after they were read.
    async fn consistent(
        &self,
        connection: &mut Connection,
        log: &DistinguishedName,
        from: Option<Timestamp>,
    ) -> Result<(Vec<Record>, Vec<String>), Refused> {
        for _ in 0..TRIES {
            let before = self.purged(connection, log).await?;
            let records = self.records(connection, log, from).await?;
            if self.purged(connection, log).await? == before {
                return Ok((records, before));
            }
        }
        Err(Refused::Unfit("the access log was purged while it was read".to_owned()))
    }

    /// How far the log was purged, of a log that the service account reads.
    async fn purged(&self, connection: &mut Connection, log: &DistinguishedName) -> Result<Vec<String>, Refused> {
        let unreadable = || Refused::Unfit(format!("the service account cannot read the access log {log}"));
        let attributes = || vec!["minCSN".to_owned(), "hasSubordinates".to_owned()];
        // The last record may be purged between the two looks.
        for _ in 0..TRIES {
            let head = connection.read(log, attributes()).await.map_err(|error| self.judge(error))?;
            let head = head.ok_or_else(unreadable)?;
            let mut purged: Vec<String> = head.texts("mincsn").map(str::to_owned).collect();
            purged.sort_unstable();
            if !head.text("hassubordinates").is_some_and(|text| text.eq_ignore_ascii_case("TRUE")) {
                return Ok(purged);
            }
            // Records that are hidden would look like a quiet directory.
            let search = Search {
                base: log.clone(),
                scope: Scope::OneLevel,
                filter: Filter::any(),
                attributes: ["reqStart", "reqType"].map(str::to_owned).to_vec(),
            };
            let page = connection.search_paged(search, 1).next_page().await.map_err(|error| self.judge(error))?;
            match page.and_then(|page| page.entries.into_iter().next()) {
                Some(first) if first.text("reqstart").is_some() && first.text("reqtype").is_some() => {
                    return Ok(purged);
                }
                Some(_) => return Err(unreadable()),
                None => {}
            }
        }
        Err(unreadable())
    }

    /// The second of the newest record. No search tells it at once, since servers need not sort.
    async fn newest_second(
        &self,
        connection: &mut Connection,
        log: &DistinguishedName,
    ) -> Result<Option<Timestamp>, Refused> {
        // INVARIANT: there is a record from `low` on, and none from `high` on.
        let (mut low, mut high) = (EARLIEST, EARLIEST + SPAN);
        if !self.any_since(connection, log, low).await? {
            return Ok(None);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.any_since(connection, log, middle).await? {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(Some(Timestamp::from_secs(low)))
    }

    async fn any_since(
        &self,
        connection: &mut Connection,
        log: &DistinguishedName,
        second: i64,
    ) -> Result<bool, Refused> {
        let search = writes(log, Some(Timestamp::from_secs(second)), vec!["reqStart".to_owned()]);
        let page = connection.search_paged(search, 1).next_page().await.map_err(|error| self.judge(error))?;
        Ok(page.is_some_and(|page| !page.entries.is_empty()))
    }

    async fn records(
        &self,
        connection: &mut Connection,
        log: &DistinguishedName,
        from: Option<Timestamp>,
    ) -> Result<Vec<Record>, Refused> {
        let attributes = ["reqStart", "reqType", "reqDN", "reqEntryUUID", "entryCSN"].map(str::to_owned).to_vec();
        let mut records = Vec::new();
        let mut paged = connection.search_paged(writes(log, from, attributes), self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.judge(error))? {
            for entry in &page.entries {
                let record = Record::of(entry);
                records.push(record.ok_or_else(|| Refused::Unfit(format!("the record {} has no time", entry.dn)))?);
            }
            if records.len() > MAX_RECORDS {
                return Err(Refused::Unfit(format!("more than {MAX_RECORDS} changes were logged")));
            }
        }
        records.sort_unstable_by(|one, other| one.start.cmp(&other.start));
        Ok(records)
    }
}

/// The search for what was written from a time on.
fn writes(log: &DistinguishedName, from: Option<Timestamp>, attributes: Vec<String>) -> Search {
    let kinds = ["add", "delete", "modify", "modrdn"].map(|kind| Filter::equal("reqType", kind));
    let from = from.map(|from| Filter::at_least("reqStart", written(from)));
    let filter = Filter::and([Filter::or(kinds), Filter::equal("reqResult", "0")].into_iter().chain(from));
    Search { base: log.clone(), scope: Scope::OneLevel, filter, attributes }
}

fn untold(record: &Record) -> Refused {
    Refused::Unfit(format!(
        "the record {} of the access log does not tell the entryUUID of {}",
        record.start, record.target
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a second, by server 0.
    fn record(second: i64) -> Record {
        let at = Timestamp::from_secs(1_800_000_000 + second);
        let start = written(at).replace('Z', ".000001Z");
        let csn = csn(second, "000");
        Record { start, at, csn, target: "uid=a".to_owned(), id: Some("a".to_owned()), deletes: false }
    }

    fn csn(second: i64, server: &str) -> String {
        let at = written(Timestamp::from_secs(1_800_000_000 + second)).replace('Z', ".000001Z");
        format!("{at}#000000#{server}#000000")
    }

    fn records(seconds: &[i64]) -> Vec<Record> {
        seconds.iter().map(|second| record(*second)).collect()
    }

    fn read(seconds: &[i64], purged: &[i64]) -> LogPosition {
        let purged: Vec<String> = purged.iter().map(|second| csn(*second, "000")).collect();
        LogPosition::default().after(&records(seconds), &purged)
    }

    #[test]
    fn a_delta_goes_on_where_nothing_unread_was_purged() {
        // What was read, how far the log was purged then; what is there now, how far it is purged now.
        type Row<'a> = (&'a [i64], &'a [i64], &'a [i64], &'a [i64], Result<&'a [i64], &'a str>);
        let rows: &[Row<'_>] = &[
            (&[1, 2], &[1], &[1, 2], &[1], Ok(&[])),
            (&[1, 2], &[1], &[1, 2, 3], &[1], Ok(&[3])),
            // All that was read is purged, and nothing else.
            (&[1, 2], &[1], &[], &[2], Ok(&[])),
            (&[1, 2], &[1], &[3], &[2], Ok(&[3])),
            (&[1, 2], &[1], &[4], &[3], Err("begins behind")),
            (&[1, 2], &[1], &[], &[3], Err("begins behind")),
            // Another log, or an older state of it.
            (&[1, 2], &[1], &[1], &[1], Err("restored")),
            (&[1, 2], &[1], &[1, 3], &[1], Err("restored")),
            (&[1, 2], &[1], &[], &[], Err("another one")),
            // A log that was empty: its first record is there, or it is not.
            (&[], &[], &[], &[], Ok(&[])),
            (&[], &[], &[5, 6], &[5], Ok(&[5, 6])),
            (&[], &[], &[6], &[5], Err("begins behind")),
            (&[], &[4], &[5], &[4], Ok(&[5])),
            (&[], &[4], &[6], &[5], Err("begins behind")),
            // Servers before 2.5 do not tell.
            (&[1, 2], &[], &[2, 3], &[], Ok(&[2, 3])),
            (&[1, 2], &[], &[1, 2, 3], &[], Ok(&[3])),
            (&[], &[], &[1], &[], Err("nothing tells")),
            // One that came late is read with all around it.
            (&[1, 3], &[1], &[1, 2, 3, 4], &[1], Ok(&[1, 2, 3, 4])),
        ];
        for row in rows {
            let (before, purged_before, now, purged_now, expected) = row;
            let purged: Vec<String> = purged_now.iter().map(|second| csn(*second, "000")).collect();
            let now = records(now);
            let found = read(before, purged_before).fresh(&now, &purged).map(<[Record]>::to_vec);
            match (expected, found) {
                (Ok(expected), found) => assert_eq!(found, Ok(records(expected)), "{row:?}"),
                (Err(expected), Err(found)) => assert!(found.contains(expected), "{row:?}: {found}"),
                (Err(_), Ok(found)) => panic!("{row:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn each_server_of_several_is_purged_for_itself() {
        let position = read(&[1, 2], &[1]);
        let now = records(&[2, 3]);
        assert!(position.fresh(&now, &[csn(2, "000"), csn(1, "001")]).is_err(), "what 001 wrote was never read");
        let with_other = LogPosition { known: BTreeMap::from([("001".to_owned(), csn(1, "001"))]), ..position };
        let merged = with_other.after(&records(&[2]), &[]);
        assert_eq!(merged.fresh(&now, &[csn(2, "000"), csn(1, "001")]).map(<[Record]>::len), Ok(1));
    }
}
