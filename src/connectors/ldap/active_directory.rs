//! Delta import from Active Directory: by the DirSync control, or by `uSNChanged` where the account may not use that.
//!
//! Either way tells which objects changed, also those that were deleted, moved or renamed; what they are now is read from
//! them by objectGUID, so that what left a container or a filter is known for what it is. Both count within one
//! incarnation of one controller's database. An account that does not see deleted objects is told of no delete, and
//! nothing says so; that is looked at in every import and kept with the position.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::position::{Incarnation, Mark, Newest, Position};
use super::reader::{Reader, Refused};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Filter, RootDse, Scope, Search};
use crate::sync::connector::ImportPage;

/// Changed objects beyond which reading everything is the shorter way.
const MAX_CHANGED: usize = 200_000;
/// Answers of a server that always has more.
const MAX_ANSWERS: usize = 100_000;
const OBJECT_GUID: &str = "objectGUID";

/// Deleted objects are kept for 60 days at the least (MS-ADTS, section 6.1.1.2.4.1.1, tombstoneLifetime).
const OLDEST: Duration = Duration::from_secs(30 * 86_400);
/// Names in one filter.
const NAMES: usize = 20;

/// What DirSync told: whose objects, and how far.
struct Changed {
    anchors: BTreeSet<String>,
    /// Where those stand that are new, or have another name or place than before.
    named: Vec<DistinguishedName>,
    cookie: Vec<u8>,
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
        for _ in 0..MAX_ANSWERS {
            let mut answer = connection.dir_sync(&search, &cookie).await.map_err(|error| self.judge(error))?;
            let mut told = 0_usize;
            while let Some(entry) = answer.next().await.map_err(|error| self.judge(error))? {
                told += 1;
                match entry {
                    _ if !remember => {}
                    Ok(entry) => {
                        self.note(&mut anchors, &entry)?;
                        if entry.bytes("name").is_some() && entry.text("isdeleted") != Some("TRUE") {
                            named.push(entry.dn);
                        }
                    }
                    Err(name) => {
                        return Err(Refused::Unfit(format!("the name of a changed object cannot be read: {name}")));
                    }
                }
            }
            let Some(end) = answer.end() else { break };
            let goes_on = end.more && (told > 0 || end.cookie != cookie);
            if end.more && !goes_on {
                break;
            }
            cookie = end.cookie;
            if !goes_on {
                return Ok(Changed { anchors, named, cookie });
            }
        }
        Err(Refused::Unfit("the server says that it has more to tell, and tells nothing".to_owned()))
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
            return Err(Refused::Unfit(format!("more than {MAX_CHANGED} objects changed")));
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
        if incarnation.invocation_id != known.invocation_id {
            return Err(Refused::Unfit(
                "the controller's database is another one than before: it was restored".to_owned(),
            ));
        }
        let age = incarnation.at.zip(known.at).map(|(now, then)| now.since(then));
        if age.is_none_or(|age| age > OLDEST) {
            return Err(Refused::Unfit(
                "the last read is so long ago that deleted objects may be gone for good".to_owned(),
            ));
        }
        if incarnation.tells_deletes && !known.tells_deletes {
            return Err(Refused::Unfit(
                "deleted objects are seen now, and what was deleted before was never told".to_owned(),
            ));
        }
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
        Ok(Incarnation { invocation_id, tells_deletes, at: server.now })
    }
}

fn highest_usn(server: &RootDse) -> Result<u64, Refused> {
    server.highest_usn.ok_or_else(|| Refused::Unfit("it does not tell its highestCommittedUSN".to_owned()))
}
