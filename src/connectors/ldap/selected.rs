//! Single objects and subtrees, read by anchor.

use std::collections::BTreeSet;

use super::extent::{Container, Extent};
use super::position::Newest;
use super::reader::{Reader, Refused, unreadable};
use super::settings::ObjectType;
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Filter, Search};
use crate::sync::connector::{ConnectorError, ImportPage};

/// Anchors in one filter.
const CHUNK: usize = 50;
/// The kind whose directories correct references without marking who refers.
const ACTIVE_DIRECTORY: &str = "ad";

/// Anchors that were asked for and not sent as objects.
#[derive(Default)]
pub(super) struct Removed {
    /// Nowhere below the root, or of no type that is read.
    pub absent: Vec<String>,
    /// Outside the scope.
    pub outside: Vec<String>,
}

impl Reader {
    /// Sends the objects of these anchors as they are now.
    pub(super) async fn read_selected(
        &self,
        connection: &mut Connection,
        extent: &Extent,
        anchors: &[String],
        newest: &mut Newest,
    ) -> Result<Removed, Refused> {
        let mut removed = Removed::default();
        for chunk in anchors.chunks(CHUNK) {
            let mut missing: BTreeSet<&str> = chunk.iter().map(String::as_str).collect();
            let wanted = Filter::or(chunk.iter().filter_map(|anchor| self.anchor_filter(anchor)));
            let mut outside = BTreeSet::new();
            for object_type in [self.settings.containers()].into_iter().chain(self.settings.types.clone()) {
                let mut search = self.stamped(&object_type, self.settings.root.clone());
                search.filter = Filter::and([search.filter, wanted.clone()]);
                let entries = connection.search(search).await.map_err(|error| self.judge(error))?;
                entries.iter().for_each(|entry| newest.show(entry, self.anchor_of(entry)));
                let taken = self.take(&object_type, entries, extent);
                for object in &taken.page.objects {
                    missing.remove(object.anchor.as_str());
                }
                taken.parts.iter().for_each(|anchor| {
                    missing.remove(anchor.as_str());
                });
                outside.extend(taken.outside);
                if !taken.page.objects.is_empty() || !taken.page.refused.is_empty() {
                    self.send(taken.page).await.map_err(Refused::Failed)?;
                }
                self.rest(connection, &object_type, &taken.parts, extent).await.map_err(Refused::Failed)?;
            }
            missing.retain(|anchor| !outside.contains(*anchor));
            removed.absent.extend(missing.into_iter().map(str::to_owned));
            removed.outside.extend(outside);
        }
        Ok(removed)
    }

    /// Sends these objects, and the containers with all below them.
    pub(super) async fn selected(
        &self,
        connection: &mut Connection,
        objects: &[String],
        subtrees: &[String],
    ) -> Result<(), Refused> {
        let (extent, included) = self.located(connection).await?;
        let outside = self.send_bases(included, &extent).await.map_err(Refused::Failed)?;
        let mut tops = self.containers_by_anchor(connection, subtrees).await?;
        let found: BTreeSet<String> = tops.iter().map(|container| container.anchor.clone()).collect();
        tops.retain(|container| extent.covers(&container.dn));
        // What lies within another is read with it.
        let names: Vec<_> = tops.iter().map(|container| container.dn.clone()).collect();
        tops.retain(|top| !names.iter().any(|other| *other != top.dn && top.dn.is_within(other)));
        let mut told = Vec::new();
        for top in tops {
            self.subtree(connection, &top, &extent, &mut told).await.map_err(Refused::Failed)?;
        }
        let mut objects: BTreeSet<String> = objects.iter().cloned().collect();
        if self.settings.kind == ACTIVE_DIRECTORY {
            objects.extend(self.referrers(connection, &told).await?);
        }
        let objects: Vec<String> = objects.into_iter().collect();
        let mut removed = self.read_selected(connection, &extent, &objects, &mut Newest::default()).await?;
        removed.absent.extend(subtrees.iter().filter(|anchor| !found.contains(*anchor)).cloned());
        removed.outside.extend(outside);
        let page = ImportPage { deleted: removed.absent, left_below: removed.outside, ..ImportPage::default() };
        self.send(page).await.map_err(Refused::Failed)
    }

    async fn subtree(
        &self,
        connection: &mut Connection,
        top: &Container,
        extent: &Extent,
        told: &mut Vec<DistinguishedName>,
    ) -> Result<(), ConnectorError> {
        for object_type in [self.settings.containers()].into_iter().chain(self.settings.types.clone()) {
            let search = self.search(&object_type, top.dn.clone());
            let mut look = |entry: &Entry| told.push(entry.dn.clone());
            self.paged_search(connection, &object_type, search, extent, &mut look).await?;
        }
        Ok(())
    }

    /// Reads a search in pages and sends what is in scope; `look` sees every entry.
    pub(super) async fn paged_search(
        &self,
        connection: &mut Connection,
        object_type: &ObjectType,
        search: Search,
        extent: &Extent,
        look: &mut (dyn FnMut(&Entry) + Send),
    ) -> Result<(), ConnectorError> {
        let mut parts = Vec::new();
        let mut paged = connection.search_paged(search, self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.aborted(&error))? {
            page.entries.iter().for_each(&mut *look);
            let mut taken = self.take(object_type, page.entries, extent);
            taken.page.refused.extend(unreadable(page.unreadable.into_iter().map(|name| (name, None))));
            parts.append(&mut taken.parts);
            self.send(taken.page).await?;
        }
        self.rest(connection, object_type, &parts, extent).await
    }
}
