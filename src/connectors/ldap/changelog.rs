//! Import by the retro change log of the 389 Directory Server and its relatives (draft-good-ldap-changelog).
//!
//! The log tells which entries changed; what they are now is read from the entries themselves. A log is of use only when it
//! tells the id of the target (`nsslapd-attribute: nsuniqueid:targetUniqueId` of the plugin's settings): a name may be
//! another entry's by now.

use std::collections::BTreeSet;

use super::position::{Mark, Newest, Position, Witness};
use super::reader::{Reader, Refused};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Filter, RootDse, Scope, Search};
use crate::sync::connector::ImportPage;

/// Changed entries beyond which reading everything is the shorter way.
const MAX_CHANGED: usize = 200_000;

/// One logged change.
struct Change {
    number: u64,
    target: String,
    /// `None` where the log does not tell it.
    id: Option<String>,
    fingerprint: String,
}

impl Change {
    fn of(entry: &Entry) -> Option<Self> {
        let text = |name: &str| entry.text(name).unwrap_or_default();
        let number = entry.text("changenumber")?.parse().ok()?;
        let id = entry.text("targetuniqueid").map(str::to_owned);
        let parts = [text("changetime"), text("changetype"), text("targetdn"), id.as_deref().unwrap_or_default()];
        Some(Self { number, target: text("targetdn").to_owned(), fingerprint: parts.join(" "), id })
    }

    /// What proves later that the log is still the same.
    fn witness(&self) -> Witness {
        Witness { dn: self.target.clone(), anchor: self.number.to_string(), stamp: self.fingerprint.clone() }
    }
}

impl Reader {
    /// Where the log stands now; to be asked before the first read of a full import.
    pub(super) async fn changelog_mark(&self, connection: &mut Connection, server: &RootDse) -> Result<Mark, Refused> {
        let (log, last) = self.log(server)?;
        let newest = if last == 0 { None } else { self.changes(connection, log, last, last).await?.pop() };
        if let Some(change) = newest.as_ref().filter(|change| change.id.is_none()) {
            return Err(untold(change));
        }
        if last > 0 && newest.is_none() {
            return Err(Refused::Unfit(format!("the service account cannot read the change log {}", log.as_str())));
        }
        Ok(Mark {
            server: connection.server().to_string(),
            scope: String::new(),
            position: Position::Changelog { number: last },
            witness: newest.as_ref().map(Change::witness),
        })
    }

    pub(super) async fn delta_by_changelog(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        mark: Mark,
        number: u64,
    ) -> Result<Mark, Refused> {
        let (log, last) = self.log(server)?;
        if last < number {
            return Err(Refused::Unfit(format!("the change log ends at {last}, before {number}: a restored backup")));
        }
        if last == number {
            return Ok(mark);
        }
        // The change that was read last must still be there: it proves both that the log is the same and that nothing
        // between was trimmed.
        let changes = self.changes(connection, log, number, last).await?;
        let first = changes.first();
        match (&mark.witness, first) {
            (Some(witness), Some(change)) if change.number == number && change.fingerprint == witness.stamp => {}
            (Some(_), Some(change)) if change.number == number => {
                return Err(Refused::Unfit(format!("change {number} of the log is another one: a restored backup")));
            }
            (None, Some(change)) if number == 0 && change.number == 1 => {}
            _ => return Err(Refused::Unfit(format!("the change log was trimmed behind {number}"))),
        }
        let Some(newest) = changes.last() else { return Ok(mark) };
        let witness = newest.witness();
        let mut ids = BTreeSet::new();
        for change in changes.iter().filter(|change| change.number > number) {
            let id = change.id.clone().ok_or_else(|| untold(change))?;
            ids.insert(id);
            if ids.len() > MAX_CHANGED {
                return Err(Refused::Unfit(format!("more than {MAX_CHANGED} entries changed")));
            }
        }
        let (extent, included) = self.located(connection).await?;
        let outside = self.send_bases(included, &extent).await.map_err(Refused::Failed)?;
        let ids: Vec<String> = ids.into_iter().collect();
        let mut removed = self.read_selected(connection, &extent, &ids, &mut Newest::default()).await?;
        removed.outside.extend(outside);
        self.send(ImportPage { deleted: removed.absent, left_below: removed.outside, ..ImportPage::default() })
            .await
            .map_err(Refused::Failed)?;
        let position = Position::Changelog { number: newest.number };
        Ok(Mark { position, witness: Some(witness), ..mark })
    }

    fn log<'s>(&self, server: &'s RootDse) -> Result<(&'s DistinguishedName, u64), Refused> {
        if !self.settings.anchor.eq_ignore_ascii_case("nsUniqueId") {
            let reason = format!("its change log names entries by nsUniqueId, not by {}", self.settings.anchor);
            return Err(Refused::Unfit(reason));
        }
        match &server.changelog {
            Some(log) => Ok((log, server.last_change.unwrap_or(0))),
            None => Err(Refused::Unfit("it keeps no change log".to_owned())),
        }
    }

    /// Changes from `first` to `last`, in their order.
    async fn changes(
        &self,
        connection: &mut Connection,
        log: &DistinguishedName,
        first: u64,
        last: u64,
    ) -> Result<Vec<Change>, Refused> {
        let search = Search {
            base: log.clone(),
            scope: Scope::OneLevel,
            filter: Filter::and([
                Filter::at_least("changeNumber", first.to_string()),
                Filter::at_most("changeNumber", last.to_string()),
            ]),
            attributes: ["changeNumber", "targetDn", "targetUniqueId", "changeType", "changeTime"]
                .map(str::to_owned)
                .to_vec(),
        };
        let mut changes = Vec::new();
        let mut paged = connection.search_paged(search, self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.judge(error))? {
            // Servers without an integer order compare numbers as text.
            let read = page.entries.iter().filter_map(Change::of);
            changes.extend(read.filter(|change| (first..=last).contains(&change.number)));
        }
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }
}

fn untold(change: &Change) -> Refused {
    Refused::Unfit(format!("change {} of the log does not tell the id of {}", change.number, change.target))
}
