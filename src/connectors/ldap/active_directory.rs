//! Delta import from Active Directory: by the DirSync control, or by `uSNChanged` where the account may not use that.
//!
//! Either way tells which objects changed, also those that were deleted, moved or renamed; what they are now is read from
//! them by objectGUID, so that what left a container or a filter is known for what it is. Both count within one
//! incarnation of one controller's database. An account that does not see deleted objects is told of no delete, and
//! nothing says so; that is looked at in every import and kept with the position.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::position::{Incarnation, Mark, Newest, Position};
use super::reader::{Reader, Refused};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, DirSyncEnd, Entry, Filter, LdapError, RootDse, Scope, Search};
use crate::sync::connector::ImportPage;

/// Changed objects beyond which reading everything is the shorter way.
const MAX_CHANGED: usize = 200_000;
const OBJECT_GUID: &str = "objectGUID";
/// Names in one filter.
const NAMES: usize = 20;

/// What DirSync told: whose objects, and how far.
struct Changed {
    anchors: BTreeSet<String>,
    /// Where those stand that are new, or have another name or place than before.
    named: Vec<DistinguishedName>,
    cookie: Vec<u8>,
}

/// How much more of a pass is listened to: a server that lies has always more to tell. A mark passes over the whole
/// directory, with little of each object.
struct Patience {
    answers: u32,
    entries: u32,
    bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answers: 100_000, entries: 20_000_000, bytes: 16 << 30 }
    }
}

impl Patience {
    fn entry(&mut self, entry: &Result<Entry, String>) -> Result<(), Refused> {
        let bytes = entry.as_ref().map_or_else(String::len, Entry::weight);
        let left = self.bytes.checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        (self.bytes, self.entries) = left.zip(self.entries.checked_sub(1)).ok_or_else(endless)?;
        Ok(())
    }

    /// Names are kept until the end of the pass.
    fn named(&self, count: usize) -> Result<(), Refused> {
        if count > MAX_CHANGED { Err(too_many()) } else { Ok(()) }
    }

    /// Whether there is more to ask for after an answer to the question with the cookie `asked`.
    fn answer(&mut self, asked: &[u8], end: &DirSyncEnd) -> Result<bool, Refused> {
        if end.more && end.cookie == asked {
            let reason = "the server says that it has more to tell, and its cookie stays as it was";
            return Err(Refused::Unfit(reason.to_owned()));
        }
        self.answers = self.answers.checked_sub(1).ok_or_else(endless)?;
        Ok(end.more)
    }
}

fn endless() -> Refused {
    Refused::Unfit("the server has always more to tell, beyond what any directory holds".to_owned())
}

fn too_many() -> Refused {
    Refused::Unfit(format!("more than {MAX_CHANGED} objects changed"))
}

impl Reader {
    /// Where the naming context stands now; to be asked before the first read of a full import.
    pub(super) async fn dir_sync_mark(&self, connection: &mut Connection, server: &RootDse) -> Result<Mark, Refused> {
        let incarnation = self.incarnation(connection, server).await?;
        // Every object has a class: the server passes over nothing, and sends little of each.
        let attributes = vec!["objectClass".to_owned()];
        let cookie = self.changed(connection, attributes, Vec::new(), false).await?.cookie;
        Ok(self.ad_mark(connection, Position::DirSync { cookie: STANDARD.encode(cookie), incarnation }))
    }

    pub(super) async fn delta_by_dir_sync(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        mark: Mark,
        cookie: &str,
        known: &Incarnation,
    ) -> Result<Mark, Refused> {
        let incarnation = self.same_incarnation(connection, server, known).await?;
        let unreadable = |_| Refused::Unfit("the watermark lacks its cookie".to_owned());
        let cookie = STANDARD.decode(cookie).map_err(unreadable)?;
        // All attributes: one that only a filter names may bring an object into it.
        let Changed { mut anchors, named, cookie } = self.changed(connection, Vec::new(), cookie, true).await?;
        anchors.extend(self.referrers(connection, &named).await?);
        self.send_changed(connection, anchors).await?;
        Ok(Mark { position: Position::DirSync { cookie: STANDARD.encode(cookie), incarnation }, ..mark })
    }

    pub(super) async fn usn_mark(&self, connection: &mut Connection, server: &RootDse) -> Result<Mark, Refused> {
        let incarnation = self.incarnation(connection, server).await?;
        let number = highest_usn(server)?;
        Ok(self.ad_mark(connection, Position::Usn { number, incarnation }))
    }

    pub(super) async fn delta_by_usn(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        mark: Mark,
        number: u64,
        known: &Incarnation,
    ) -> Result<Mark, Refused> {
        let incarnation = self.same_incarnation(connection, server, known).await?;
        let last = highest_usn(server)?;
        if last < number {
            return Err(Refused::Unfit(format!("the controller counts {last} changes, and {number} were read")));
        }
        let search = Search {
            base: self.settings.root.clone(),
            scope: Scope::Subtree,
            filter: Filter::at_least("uSNChanged", (number + 1).to_string()),
            attributes: vec![OBJECT_GUID.to_owned()],
        };
        let mut anchors = BTreeSet::new();
        let mut paged = connection.search_paged(search, self.settings.page_size).with_deleted();
        while let Some(page) = paged.next_page().await.map_err(|error| self.judge(error))? {
            if let Some(name) = page.unreadable.first() {
                return Err(Refused::Unfit(format!("the name of a changed object cannot be read: {name}")));
            }
            for entry in &page.entries {
                self.note(&mut anchors, entry)?;
            }
        }
        self.send_changed(connection, anchors).await?;
        Ok(Mark { position: Position::Usn { number: last, incarnation }, ..mark })
    }

    fn ad_mark(&self, connection: &Connection, position: Position) -> Mark {
        Mark { server: connection.server().to_string(), scope: String::new(), position, witness: None }
    }

    /// Asks until the server has no more to tell; whom it named is of interest if `remember`.
    async fn changed(
        &self,
        connection: &mut Connection,
        attributes: Vec<String>,
        mut cookie: Vec<u8>,
        remember: bool,
    ) -> Result<Changed, Refused> {
        let search =
            Search { base: self.settings.root.clone(), scope: Scope::Subtree, filter: Filter::any(), attributes };
        let (mut anchors, mut named) = (BTreeSet::new(), Vec::new());
        let mut patience = Patience::default();
        loop {
            let mut answer = connection.dir_sync(&search, &cookie).await.map_err(|error| self.judge(error))?;
            while let Some(entry) = answer.next().await.map_err(|error| self.judge(error))? {
                patience.entry(&entry)?;
                match entry {
                    _ if !remember => {}
                    Ok(entry) => {
                        self.note(&mut anchors, &entry)?;
                        if entry.bytes("name").is_some() && entry.text("isdeleted") != Some("TRUE") {
                            named.push(entry.dn);
                            patience.named(named.len())?;
                        }
                    }
                    Err(name) => {
                        return Err(Refused::Unfit(format!("the name of a changed object cannot be read: {name}")));
                    }
                }
            }
            let end = answer.end().ok_or_else(|| Refused::Unfit("an answer came to no end".to_owned()))?;
            let goes_on = patience.answer(&cookie, &end)?;
            cookie = end.cookie;
            if !goes_on {
                return Ok(Changed { anchors, named, cookie });
            }
        }
    }

    /// Who refers to objects that have another name: the directory corrects such references, and marks nobody as changed
    /// for it. What knew them by their former name, or did not know them, is to be read again.
    pub(super) async fn referrers(
        &self,
        connection: &mut Connection,
        named: &[DistinguishedName],
    ) -> Result<BTreeSet<String>, Refused> {
        let attributes: BTreeSet<&String> = self.settings.types.iter().flat_map(|kind| &kind.references).collect();
        let mut anchors = BTreeSet::new();
        for names in named.chunks(NAMES).filter(|_| !attributes.is_empty()) {
            let refers = |name: &'_ DistinguishedName| {
                let name = name.as_str().to_owned();
                attributes.iter().map(move |attribute| Filter::equal(attribute, &name))
            };
            let search = Search {
                base: self.settings.root.clone(),
                scope: Scope::Subtree,
                filter: Filter::or(names.iter().flat_map(refers)),
                attributes: vec![OBJECT_GUID.to_owned()],
            };
            let mut paged = connection.search_paged(search, self.settings.page_size);
            while let Some(page) = paged.next_page().await.map_err(|error| self.judge(error))? {
                for entry in &page.entries {
                    self.note(&mut anchors, entry)?;
                }
            }
        }
        Ok(anchors)
    }

    fn note(&self, anchors: &mut BTreeSet<String>, entry: &Entry) -> Result<(), Refused> {
        let anchor = self.anchor_of(entry);
        let anchor = anchor.ok_or_else(|| Refused::Unfit(format!("{} is told without its {OBJECT_GUID}", entry.dn)))?;
        anchors.insert(anchor);
        if anchors.len() > MAX_CHANGED {
            return Err(too_many());
        }
        Ok(())
    }

    /// Sends the objects of these anchors as they are now, and then which of them are gone or out of scope.
    async fn send_changed(&self, connection: &mut Connection, anchors: BTreeSet<String>) -> Result<(), Refused> {
        let (extent, included) = self.located(connection).await?;
        let outside = self.send_bases(included, &extent).await.map_err(Refused::Failed)?;
        let anchors: Vec<String> = anchors.into_iter().collect();
        let mut removed = self.read_selected(connection, &extent, &anchors, &mut Newest::default()).await?;
        removed.outside.extend(outside);
        let page = ImportPage { deleted: removed.absent, left_below: removed.outside, ..ImportPage::default() };
        self.send(page).await.map_err(Refused::Failed)
    }

    async fn same_incarnation(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        known: &Incarnation,
    ) -> Result<Incarnation, Refused> {
        let incarnation = self.incarnation(connection, server).await?;
        incarnation.go_on_from(known).map_err(|reason| Refused::Unfit(reason.to_owned()))?;
        Ok(incarnation)
    }

    async fn incarnation(&self, connection: &mut Connection, server: &RootDse) -> Result<Incarnation, Refused> {
        if !self.settings.anchor.eq_ignore_ascii_case(OBJECT_GUID) {
            let reason = format!("changes are told by {OBJECT_GUID}, and the anchor is {}", self.settings.anchor);
            return Err(Refused::Unfit(reason));
        }
        let service = server.service.as_ref().ok_or_else(|| Refused::Unfit("it is no domain controller".to_owned()))?;
        let entry =
            connection.read(service, vec!["invocationId".to_owned()]).await.map_err(|error| self.judge(error))?;
        let id = entry.as_ref().and_then(|entry| entry.bytes("invocationid"));
        let hidden = || Refused::Unfit(format!("the service account cannot read invocationId of {service}"));
        let invocation_id = hex::encode(id.ok_or_else(hidden)?);
        let tells_deletes = connection.sees_deleted(&self.settings.root).await.map_err(|error| self.judge(error))?;
        if !tells_deletes {
            tracing::warn!(
                connector = %self.settings.name,
                "the service account cannot read CN=Deleted Objects,{}: deletes are found by full imports alone; `landbridge ad check` tells the remedy",
                self.settings.root
            );
        }
        let kept_days = self.kept_days(connection, server).await?;
        Ok(Incarnation { invocation_id, tells_deletes, at: server.now, kept_days })
    }

    /// How long the forest keeps deleted objects (MS-ADTS, section 6.1.1.2.4.1.1); `None` where nothing is said, which means
    /// 60 days.
    async fn kept_days(&self, connection: &mut Connection, server: &RootDse) -> Result<Option<u32>, Refused> {
        let configuration = server.schema_context.as_ref().and_then(DistinguishedName::parent);
        let services = configuration.and_then(|head| head.child("CN", "Services").ok());
        let service = services.and_then(|services| services.child("CN", "Windows NT").ok());
        let Some(service) = service.and_then(|service| service.child("CN", "Directory Service").ok()) else {
            return Ok(None);
        };
        const LIFETIME: &str = "tombstoneLifetime";
        match connection.read(&service, vec![LIFETIME.to_owned()]).await {
            Ok(entry) => Ok(entry.and_then(|entry| entry.text(&LIFETIME.to_ascii_lowercase())?.parse().ok())),
            // Who may not read it is told as little as where nothing is said.
            Err(LdapError::SearchRefused { .. }) => Ok(None),
            Err(error) => Err(self.judge(error)),
        }
    }
}

fn highest_usn(server: &RootDse) -> Result<u64, Refused> {
    server.highest_usn.ok_or_else(|| Refused::Unfit("it does not tell its highestCommittedUSN".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Result<Entry, String> {
        let attributes = std::collections::BTreeMap::from([("objectclass".to_owned(), vec![vec![b'x'; bytes]])]);
        Ok(Entry { dn: DistinguishedName::root(), attributes })
    }

    fn end(cookie: &[u8], more: bool) -> DirSyncEnd {
        DirSyncEnd { cookie: cookie.to_vec(), more }
    }

    fn reason(refused: Refused) -> String {
        match refused {
            Refused::Unfit(reason) => reason,
            Refused::Failed(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_server_that_has_always_more_is_not_listened_to_for_ever() {
        let mut patience = Patience { answers: 2, entries: 2, bytes: 1000 };
        assert!(patience.answer(b"", &end(b"1", true)).expect("it moves on"));
        assert!(!patience.answer(b"1", &end(b"1", false)).expect("nothing is new"));
        assert!(reason(patience.answer(b"1", &end(b"2", true)).expect_err("a third")).contains("always more"));
        patience.entry(&entry(10)).expect("there is room");
        patience.entry(&entry(10)).expect("there is room");
        assert!(reason(patience.entry(&entry(0)).expect_err("a third")).contains("always more"));
        let mut patience = Patience { answers: 2, entries: 2, bytes: 1000 };
        assert!(reason(patience.entry(&entry(1001)).expect_err("too large")).contains("always more"));
        assert!(reason(patience.answer(b"1", &end(b"1", true)).expect_err("it stands")).contains("its cookie stays"));
        assert!(reason(patience.named(MAX_CHANGED + 1).expect_err("too many")).contains("objects changed"));
    }
}
