//! Import by content synchronisation (RFC 4533): a refresh per object type.
//!
//! One search per type tells what each entry is without evaluating filters here. Removals that a search tells count for
//! objects of its type alone: slapd tells every changed entry that a search does not match as "no longer in the content",
//! whether it ever was or not.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::extent::{Container, Extent};
use super::methods::SyncId;
use super::position::{Mark, Newest, Position, STAMPS, Witness};
use super::reader::{Reader, Refused, unreadable};
use super::settings::{CONTAINER, ObjectType};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, LdapError, Phase, RefreshEnd, RootDse, Search, SyncChange, SyncUuid};
use crate::sync::connector::ImportPage;

/// Anchors in one page.
const ANCHORS: usize = 5_000;

/// What one refresh told besides the objects it sent on.
#[derive(Default)]
struct Told {
    gone: Vec<String>,
    outside: Vec<String>,
    parts: Vec<String>,
    /// Changed entries that were told without what was asked of them.
    hints: Vec<String>,
    end: Option<RefreshEnd>,
}

/// Removals of a delta, told behind everything else: what moved out of a container must be seen before the container goes.
#[derive(Default)]
struct Removals {
    left: BTreeMap<String, Vec<String>>,
    left_below: Vec<String>,
    enumerated: BTreeSet<String>,
}

impl Reader {
    /// A full import; the watermark covers it by the protocol's own promise.
    pub(super) async fn full_by_content_sync(
        &self,
        connection: &mut Connection,
        server: &RootDse,
    ) -> Result<Option<Mark>, Refused> {
        let ids = self.sync_ids()?;
        let mut newest = Newest::default();
        let mut cookies = BTreeMap::new();
        let containers_type = self.settings.containers();
        let search = self.stamped(&containers_type, self.settings.root.clone());
        let mut containers = Vec::new();
        let mut names = Vec::new();
        let mut refresh = connection.refresh(&search, None).await.map_err(|error| self.judge(error))?;
        while let Some(change) = refresh.next().await.map_err(|error| self.judge(error))? {
            match change {
                SyncChange::Entry { id, entry } => {
                    let anchor = self.confirmed(ids, &id, &entry)?;
                    newest.show(&entry, anchor.clone());
                    containers.extend(anchor.map(|anchor| Container { dn: entry.dn, anchor }));
                }
                SyncChange::Unreadable { id, name } => names.push((name, Some(ids.anchor(&id)))),
                SyncChange::Present(_) | SyncChange::Gone(_) => {}
            }
        }
        keep(&mut cookies, CONTAINER, refresh.end());
        let (extent, bases) = Extent::resolve(&self.settings, &self.known, &containers).map_err(Refused::Failed)?;
        let objects = containers.into_iter().filter(|container| extent.covers(&container.dn));
        let objects = objects.map(Container::object).collect();
        let page = ImportPage { objects, bases, refused: unreadable(names), ..ImportPage::default() };
        self.send(page).await.map_err(Refused::Failed)?;
        for object_type in self.settings.types.clone() {
            let search = self.stamped(&object_type, extent.top());
            let told = self.follow(connection, &object_type, &search, None, &extent, ids, &mut newest).await?;
            self.rest(connection, &object_type, &told.parts, &extent).await.map_err(Refused::Failed)?;
            keep(&mut cookies, &object_type.name, told.end);
        }
        // A server that gave no cookie (389 before its first change) has nothing to go on from yet.
        let all = cookies.len() == self.settings.types.len() + 1;
        Ok(all.then(|| Mark {
            server: connection.server().to_string(),
            scope: String::new(),
            position: Position::ContentSync { cookies, exits: !server.is_389() },
            witness: newest.0,
        }))
    }

    /// What changed since `mark`.
    pub(super) async fn delta_by_content_sync(
        &self,
        connection: &mut Connection,
        server: &RootDse,
        mark: Mark,
        cookies: &BTreeMap<String, String>,
    ) -> Result<Mark, Refused> {
        let ids = self.sync_ids()?;
        let gone_witness = self.check_witness(connection, mark.witness.as_ref()).await?;
        let (extent, included) = self.located(connection).await?;
        let mut removals = Removals::default();
        removals.left_below.extend(self.send_bases(included, &extent).await.map_err(Refused::Failed)?);
        let mut newest = Newest(mark.witness.clone().filter(|_| gone_witness.is_none()));
        let mut new_cookies = BTreeMap::new();
        let mut proved = gone_witness.is_none();
        let types = [self.settings.containers()].into_iter().chain(self.settings.types.clone());
        for object_type in types {
            let base = if object_type.name == CONTAINER { self.settings.root.clone() } else { extent.top() };
            let cookie = cookies.get(&object_type.name).and_then(|cookie| STANDARD.decode(cookie).ok());
            let cookie = cookie.ok_or_else(|| Refused::Unfit("the watermark lacks a cookie".to_owned()))?;
            let search = self.stamped(&object_type, base);
            let told = self.follow(connection, &object_type, &search, Some(&cookie), &extent, ids, &mut newest).await?;
            self.rest(connection, &object_type, &told.parts, &extent).await.map_err(Refused::Failed)?;
            // One that is gone by now is told as removed by the next delta.
            removals
                .left_below
                .extend(self.read_selected(connection, &extent, &told.hints, &mut newest).await?.outside);
            let Some(end) = told.end else { continue };
            match end.phase {
                Phase::Deletes => {
                    proved |= gone_witness.as_ref().is_some_and(|witness| told.gone.contains(&witness.anchor));
                }
                Phase::Presents => {
                    removals.enumerated.insert(object_type.name.clone());
                }
                // 389 never sets the flag and tells removals one by one all the same.
                Phase::Unclear if server.is_389() => {
                    proved |= gone_witness.as_ref().is_some_and(|witness| told.gone.contains(&witness.anchor));
                }
                Phase::Unclear => {
                    return Err(Refused::Unfit("it did not tell which entries are left as they were".to_owned()));
                }
            }
            removals.left.entry(object_type.name.clone()).or_default().extend(told.gone);
            removals.left_below.extend(told.outside);
            let cookie = match end.cookie {
                Some(cookie) if cookie.is_empty() => {
                    return Err(Refused::Unfit("it does not know the cookie".to_owned()));
                }
                Some(cookie) => cookie,
                None => cookie,
            };
            new_cookies.insert(object_type.name.clone(), STANDARD.encode(cookie));
        }
        if !proved {
            return Err(Refused::Unfit("the entry that was changed last is gone, and no delete was told".to_owned()));
        }
        self.remove(removals).await?;
        let position = Position::ContentSync { cookies: new_cookies, exits: !server.is_389() };
        Ok(Mark { position, witness: newest.0, ..mark })
    }

    /// One refresh: objects go to the engine, the rest is returned.
    #[expect(clippy::too_many_arguments, reason = "the parts of one search and where its answer goes")]
    async fn follow(
        &self,
        connection: &mut Connection,
        object_type: &ObjectType,
        search: &Search,
        cookie: Option<&[u8]>,
        extent: &Extent,
        ids: SyncId,
        newest: &mut Newest,
    ) -> Result<Told, Refused> {
        let mut told = Told::default();
        let (mut entries, mut names): (Vec<Entry>, Vec<(String, Option<String>)>) = Default::default();
        let mut present: Vec<String> = Vec::new();
        let judge = |error: LdapError| self.judge(error);
        let mut refresh = connection.refresh(search, cookie).await.map_err(judge)?;
        loop {
            let change = refresh.next().await.map_err(judge)?;
            let ended = change.is_none();
            match change {
                // 389 tells changed entries without their operational attributes, the anchor among them.
                Some(SyncChange::Entry { id, entry }) if cookie.is_some() && self.anchor_of(&entry).is_none() => {
                    told.hints.push(ids.anchor(&id));
                }
                Some(SyncChange::Entry { id, entry }) => {
                    let anchor = self.confirmed(ids, &id, &entry)?;
                    newest.show(&entry, anchor);
                    entries.push(entry);
                }
                Some(SyncChange::Unreadable { id, name }) => {
                    names.push((name, Some(ids.anchor(&id))));
                }
                Some(SyncChange::Present(set)) => present.extend(set.iter().map(|id| ids.anchor(id))),
                Some(SyncChange::Gone(set)) => told.gone.extend(set.iter().map(|id| ids.anchor(id))),
                None => {}
            }
            if ended || entries.len() >= self.settings.page_size as usize || present.len() >= ANCHORS {
                let mut taken = self.take(object_type, std::mem::take(&mut entries), extent);
                told.outside.append(&mut taken.outside);
                told.parts.append(&mut taken.parts);
                taken.page.refused.extend(unreadable(std::mem::take(&mut names)));
                for chunk in present.chunks(ANCHORS) {
                    let page = ImportPage { present: chunk.to_vec(), ..ImportPage::default() };
                    self.send(page).await.map_err(Refused::Failed)?;
                }
                present.clear();
                if !taken.page.objects.is_empty() || !taken.page.refused.is_empty() {
                    self.send(taken.page).await.map_err(Refused::Failed)?;
                }
            }
            if ended {
                break;
            }
        }
        told.end = refresh.end();
        Ok(told)
    }

    async fn remove(&self, removals: Removals) -> Result<(), Refused> {
        for (object_type, anchors) in removals.left {
            for chunk in anchors.chunks(ANCHORS) {
                let left = BTreeMap::from([(object_type.clone(), chunk.to_vec())]);
                self.send(ImportPage { left, ..ImportPage::default() }).await.map_err(Refused::Failed)?;
            }
        }
        for chunk in removals.left_below.chunks(ANCHORS) {
            let page = ImportPage { left_below: chunk.to_vec(), ..ImportPage::default() };
            self.send(page).await.map_err(Refused::Failed)?;
        }
        if !removals.enumerated.is_empty() {
            let page = ImportPage { enumerated: removals.enumerated, ..ImportPage::default() };
            self.send(page).await.map_err(Refused::Failed)?;
        }
        Ok(())
    }

    fn sync_ids(&self) -> Result<SyncId, Refused> {
        SyncId::of(&self.settings.anchor)
            .ok_or_else(|| Refused::Unfit(format!("its ids cannot be mapped to the anchor {}", self.settings.anchor)))
    }

    /// The anchor of an entry, which must be what the protocol's id says: removals are told by that id alone.
    fn confirmed(&self, ids: SyncId, id: &SyncUuid, entry: &Entry) -> Result<Option<String>, Refused> {
        let anchor = self.anchor_of(entry);
        match &anchor {
            Some(anchor) if !anchor.eq_ignore_ascii_case(&ids.anchor(id)) => Err(Refused::Unfit(format!(
                "its id of {} is {}, and the {} is {anchor}",
                entry.dn.as_str(),
                ids.anchor(id),
                self.settings.anchor
            ))),
            _ => Ok(anchor),
        }
    }

    pub(super) fn stamped(&self, object_type: &ObjectType, base: DistinguishedName) -> Search {
        let mut search = self.search(object_type, base);
        search.attributes.extend(STAMPS.map(str::to_owned));
        search
    }

    /// Whether the newest entry that was seen is there, no older than it was. `Some`: it is gone, which a delete may explain.
    pub(super) async fn check_witness<'w>(
        &self,
        connection: &mut Connection,
        witness: Option<&'w Witness>,
    ) -> Result<Option<&'w Witness>, Refused> {
        let Some(witness) = witness else { return Ok(None) };
        let attributes = || STAMPS.map(str::to_owned).into_iter().chain([self.settings.anchor.clone()]).collect();
        let is_it = |entry: &Entry| self.anchor_of(entry).as_deref() == Some(witness.anchor.as_str());
        let mut found = None;
        if let Ok(dn) = witness.dn.parse() {
            let entry = connection.read(&dn, attributes()).await.map_err(|error| self.judge(error))?;
            found = entry.filter(is_it);
        }
        if found.is_none()
            && let Some(filter) = self.anchor_filter(&witness.anchor)
        {
            let scope = crate::ldap::Scope::Subtree;
            let search = Search { base: self.settings.root.clone(), scope, filter, attributes: attributes() };
            found = connection.search(search).await.map_err(|error| self.judge(error))?.into_iter().find(is_it);
        }
        match found.as_ref().map(super::position::stamp) {
            None => Ok(Some(witness)),
            Some(Some(stamp)) if stamp < witness.stamp.as_str() => {
                let reason = format!("{} is older than it was: the server was restored from a backup", witness.dn);
                Err(Refused::Unfit(reason))
            }
            Some(_) => Ok(None),
        }
    }
}

fn keep(cookies: &mut BTreeMap<String, String>, name: &str, end: Option<RefreshEnd>) {
    if let Some(cookie) = end.and_then(|end| end.cookie).filter(|cookie| !cookie.is_empty()) {
        cookies.insert(name.to_owned(), STANDARD.encode(cookie));
    }
}
