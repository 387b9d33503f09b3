//! Import by `modifyTimestamp`, the last resort: it tells what was added and changed, no deletes and no moves.
//!
//! All stamps are the server's, so that no two clocks have to agree. What a write stamps and what a search sees do not
//! happen at the same instant; a read therefore begins again a little before the point up to which the last one saw
//! everything.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::extent::Extent;
use super::position::{Mark, Newest, Position};
use super::reader::{Reader, Refused};
use super::settings::CONTAINER;
use crate::identity::Timestamp;
use crate::ldap::{Connection, Entry, Filter, time};

/// Longer than any write takes from its stamp to being seen.
const OVERLAP: Duration = Duration::from_secs(60);

/// The least that the clock of each server can show now: the newest stamp it was seen to write, and when it was seen.
#[derive(Debug, Default)]
pub(super) struct ServerClocks(Mutex<HashMap<String, (Timestamp, Instant)>>);

impl ServerClocks {
    fn least(&self, server: &str, now: Instant) -> Option<Timestamp> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(server).map(|(stamp, at)| *stamp + now.saturating_duration_since(*at))
    }

    fn saw(&self, server: &str, stamp: Timestamp, now: Instant) {
        if self.least(server, now).is_none_or(|least| least < stamp) {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(server.to_owned(), (stamp, now));
        }
    }
}

/// One read: when it began, and the newest stamp it met.
pub(super) struct Reading<'a> {
    clocks: &'a ServerClocks,
    server: String,
    began: Instant,
    least: Option<Timestamp>,
    pub newest: Newest,
    stamp: Option<Timestamp>,
}

impl<'a> Reading<'a> {
    pub fn begin(clocks: &'a ServerClocks, server: String, newest: Newest) -> Self {
        let began = Instant::now();
        let least = clocks.least(&server, began);
        Self { clocks, server, began, least, newest, stamp: None }
    }

    pub fn look(&mut self, entry: &Entry, anchor: Option<String>) {
        self.newest.show(entry, anchor);
        let stamp = entry.text("modifytimestamp").and_then(time::generalized);
        self.stamp = self.stamp.max(stamp);
    }

    /// Up to where everything is seen once this read has ended: changes with an older stamp had happened before it began.
    pub fn end(self, before: Option<&str>) -> (Option<String>, Newest) {
        let now = Instant::now();
        if let Some(stamp) = self.stamp {
            self.clocks.saw(&self.server, stamp, now);
        }
        let from_clock = self.least.map(|least| least - OVERLAP);
        // The newest stamp may have been written while this read went on.
        let from_stamp = self.stamp.map(|stamp| stamp - (now.saturating_duration_since(self.began) + OVERLAP));
        let before = before.map(str::to_owned);
        let after = from_clock.max(from_stamp).map(written).max(before);
        (after, self.newest)
    }
}

/// GeneralizedTime, to the second.
pub(super) fn written(time: Timestamp) -> String {
    let digits: String = time.rfc3339().chars().filter(char::is_ascii_digit).take(14).collect();
    digits + "Z"
}

impl Reader {
    pub(super) async fn delta_by_timestamp(
        &self,
        connection: &mut Connection,
        clocks: &ServerClocks,
        mark: Mark,
        after: &str,
    ) -> Result<Mark, Refused> {
        if let Some(witness) = self.check_witness(connection, mark.witness.as_ref()).await? {
            let reason = format!("{} was changed last and is gone: deletes are not told by time stamps", witness.dn);
            return Err(Refused::Unfit(reason));
        }
        let server = connection.server().to_string();
        let (extent, included) = self.located(connection).await?;
        let outside = self.send_bases(included, &extent).await.map_err(Refused::Failed)?;
        let mut reading = Reading::begin(clocks, server, Newest(mark.witness.clone()));
        for object_type in [self.settings.containers()].into_iter().chain(self.settings.types.clone()) {
            let base = if object_type.name == CONTAINER { self.settings.root.clone() } else { extent.top() };
            let mut search = self.stamped(&object_type, base);
            search.filter = Filter::and([search.filter, Filter::at_least("modifyTimestamp", after)]);
            let mut look = |entry: &Entry| reading.look(entry, self.anchor_of(entry));
            let read = self.paged_search(connection, &object_type, search, &extent, &mut look).await;
            read.map_err(Refused::Failed)?;
        }
        if !outside.is_empty() {
            let page = crate::sync::connector::ImportPage { left_below: outside, ..Default::default() };
            self.send(page).await.map_err(Refused::Failed)?;
        }
        let (after, newest) = reading.end(Some(after));
        let position = Position::Timestamp { after: after.unwrap_or_default() };
        Ok(Mark { position, witness: newest.0, ..mark })
    }

    /// Objects below the included containers, in pages; `look` sees every entry.
    pub(super) async fn full_in_pages(
        &self,
        connection: &mut Connection,
        extent: &Extent,
        look: &mut (dyn FnMut(&Entry) + Send),
    ) -> Result<(), crate::sync::connector::ConnectorError> {
        for object_type in &self.settings.types {
            for base in &extent.include {
                let search = self.stamped(object_type, base.clone());
                self.paged_search(connection, object_type, search, extent, look).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_runs_on_from_the_newest_stamp_that_was_seen() {
        let clocks = ServerClocks::default();
        let (start, stamp) = (Instant::now(), Timestamp::from_secs(1_800_000_000));
        assert_eq!(clocks.least("a", start), None);
        clocks.saw("a", stamp, start);
        let later = start + Duration::from_secs(300);
        assert_eq!(clocks.least("a", later), Some(stamp + Duration::from_secs(300)));
        // A stamp older than what the clock must show by now says nothing new.
        clocks.saw("a", stamp + Duration::from_secs(10), later);
        assert_eq!(clocks.least("a", later), Some(stamp + Duration::from_secs(300)));
        assert_eq!(clocks.least("b", later), None);
    }

    #[test]
    fn times_are_written_as_directories_write_them() {
        assert_eq!(written(Timestamp::from_secs(1_577_934_245)), "20200102030405Z");
    }
}
