//! What changed in a target since it was read last, by the ways in which changes of a source are learned.
//!
//! Entries here are objects by themselves: their names are attributes, and they refer to each other by anchor. So what is
//! told by name is looked up, and whatever may have renamed entries that are not told themselves (a container that was
//! added, renamed or moved) leads to a full read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::reading::{Anchors, know};
use super::{DN, LdapTarget};
use crate::config::Bounds;
use crate::connectors::ldap::servers::Servers;
use crate::connectors::ldap::{LdapConnector, LdapConnectorSettings, ObjectType};
use crate::connectors::page_stream::Page;
use crate::identity::{DistinguishedName, causes};
use crate::ldap::{Connection, LdapError, Scope, Search};
use crate::sync::attribute::Value;
use crate::sync::connector::{
    Connector, ConnectorError, DeltaReports, ImportMode, ImportPage, ImportRequest, ImportedObject, KnownBase,
    Reference, Watermark,
};

/// Names that are looked up one by one; where there are more, all names are read.
const LOOKED_UP: usize = 1000;

/// What a watermark carries besides the source's.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// `None`: the server offers no way in which everything is told.
    value: Option<String>,
    bases: Vec<KnownBase>,
    /// Over the names of all containers.
    containers: String,
}

impl Kept {
    fn of(since: &Watermark) -> Option<(Self, Watermark)> {
        let kept: Self = serde_json::from_str(&since.value).ok()?;
        let value = kept.value.clone()?;
        Some((kept, Watermark { value, ..since.clone() }))
    }
}

/// Anchors by folded name.
struct Names {
    known: Anchors,
    looked_up: usize,
    all: bool,
}

impl LdapTarget {
    /// The directory as if it were a source of the same entries.
    fn as_source(&self) -> LdapConnector {
        let settings = &self.settings;
        let types = settings.types.iter().map(|object_type| ObjectType {
            name: object_type.name.clone(),
            filter: object_type.filter.clone(),
            attributes: settings.read_of(object_type).into_iter().skip(1).collect(),
            references: object_type.references.clone(),
            binary: settings.writable.binary.clone(),
        });
        let root = settings.bases.first().map(LdapConnectorSettings::root_of);
        LdapConnector::new(LdapConnectorSettings {
            name: settings.name.clone(),
            kind: super::KIND.to_owned(),
            servers: settings.servers.clone(),
            trust: settings.trust.clone(),
            account: settings.account.clone(),
            deadline: settings.deadline,
            page_size: settings.page_size,
            root: root.unwrap_or_else(DistinguishedName::root),
            include: settings.bases.clone(),
            exclude: Vec::new(),
            anchor: settings.anchor.clone(),
            anchor_is_binary: settings.anchor_is_binary,
            container_filter: LdapConnectorSettings::usual_containers(),
            types: types.collect(),
            disabled_when: Vec::new(),
            delta: settings.delta,
            writeback: None,
            bounds: Bounds::Everywhere,
        })
    }

    /// Deltas go on only from where everything is told of an entry. Who referred to one that was renamed is not: names in
    /// other entries are corrected by some servers, and by none with a stamp.
    pub(super) fn delta_from(&self, since: &Watermark) -> Option<DeltaReports> {
        let (_, inner) = Kept::of(since)?;
        self.as_source().delta_since(&inner).filter(|reports| reports.complete()).map(|_| super::DELTAS)
    }

    /// Whether a watermark was taken under the same settings.
    pub(super) fn fitting(&self, since: &Watermark) -> Result<(), ConnectorError> {
        let (_, inner) = Kept::of(since).ok_or_else(|| self.stale("the watermark tells no way to go on"))?;
        self.as_source().fits(&inner)
    }

    fn aborted(&self, error: &LdapError) -> ConnectorError {
        ConnectorError::Aborted { connector: self.settings.name.clone(), reason: causes(error) }
    }

    fn stale(&self, reason: &str) -> ConnectorError {
        ConnectorError::StaleWatermark { connector: self.settings.name.clone(), reason: reason.to_owned() }
    }

    /// Reads everything, and leaves a watermark.
    pub(super) async fn read_all(&self, pages: &mpsc::Sender<Page>) -> Result<(), ConnectorError> {
        let mut connection = self.settings.servers().connect().await?;
        let containers = self.containers(&mut connection).await?;
        let mut known = HashMap::new();
        // Those of types that refer to nothing are met before anything refers to them.
        let types = self.settings.types.iter();
        for object_type in types.skip_while(|object_type| object_type.references.is_empty()) {
            let knowing = know(&self.settings, &mut connection, object_type, &mut known).await;
            knowing.map_err(|error| self.aborted(&error))?;
        }
        let mut names = Names { known, looked_up: 0, all: true };
        let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: BTreeMap::new() };
        let source = self.as_source();
        let mut read = source.import(request).await?;
        let (mut bases, mut watermark) = (Vec::new(), None);
        while let Some(page) = read.next_page().await? {
            bases.extend(page.bases);
            watermark = page.watermark.or(watermark);
            let objects = self.objects(page.objects, &mut connection, &mut names).await?;
            // The engine may have given the import up: then nobody waits for the rest.
            if pages.send(Ok(Some(ImportPage { objects, ..ImportPage::default() }))).await.is_err() {
                return Ok(());
            }
        }
        let told = watermark.as_ref().and_then(|watermark| source.delta_since(watermark));
        let watermark = watermark.filter(|_| told.is_some_and(DeltaReports::complete));
        let watermark = self.keep(watermark, bases, containers)?;
        let _ = pages.send(Ok(Some(ImportPage { watermark: Some(watermark), ..ImportPage::default() }))).await;
        Ok(())
    }

    /// Reads what changed. Removals come last: until then the watermark may turn out not to fit.
    pub(super) async fn read_changes(
        &self,
        since: &Watermark,
        pages: &mpsc::Sender<Page>,
    ) -> Result<(), ConnectorError> {
        let (kept, inner) = Kept::of(since).ok_or_else(|| self.stale("the watermark tells no way to go on"))?;
        // What is asked besides is asked of the server that tells the changes: another one may lag behind it.
        let own: Vec<_> =
            self.settings.servers.iter().filter(|server| server.to_string() == inner.server).cloned().collect();
        if own.is_empty() {
            return Err(self.stale("the watermark is of a server that the settings do not name"));
        }
        let mut connection = Servers { servers: &own, ..self.settings.servers() }.connect().await?;
        let containers = self.containers(&mut connection).await?;
        if containers != kept.containers {
            return Err(self.stale("containers were added, renamed, moved or deleted"));
        }
        let mut names = Names { known: HashMap::new(), looked_up: 0, all: false };
        let mode = ImportMode::Delta { since: inner };
        let request = ImportRequest { mode, bases: kept.bases.clone(), wanted: BTreeMap::new() };
        let source = self.as_source();
        let mut read = source.import(request).await?;
        let (mut watermark, mut gone) = (None, BTreeSet::new());
        while let Some(page) = read.next_page().await? {
            if !page.enumerated.is_empty() {
                return Err(self.stale("the server tells who is left, and not who is gone"));
            }
            watermark = page.watermark.or(watermark);
            gone.extend(page.deleted.into_iter().chain(page.left.into_values().flatten()).chain(page.left_below));
            let objects = self.objects(page.objects, &mut connection, &mut names).await?;
            if !objects.is_empty()
                && pages.send(Ok(Some(ImportPage { objects, ..ImportPage::default() }))).await.is_err()
            {
                return Ok(());
            }
        }
        let watermark = self.keep(watermark, kept.bases, containers)?;
        // Of some it is told only that they are not of one type, or not below one container.
        let asked: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        let mut there = BTreeSet::new();
        for object_type in &self.settings.types {
            let anchors = [self.settings.anchor.clone()];
            let found = self.anchored(&mut connection, object_type, &asked, &anchors).await;
            there.extend(found.map_err(|error| self.aborted(&error))?.into_iter().map(|(anchor, _)| anchor));
        }
        let deleted = gone.difference(&there).cloned().collect();
        let page = ImportPage { deleted, watermark: Some(watermark), ..ImportPage::default() };
        let _ = pages.send(Ok(Some(page))).await;
        Ok(())
    }

    fn keep(
        &self,
        inner: Option<Watermark>,
        bases: Vec<KnownBase>,
        containers: String,
    ) -> Result<Watermark, ConnectorError> {
        let inner = inner
            .map_or((String::new(), String::new(), None), |mark| (mark.server, mark.incarnation, Some(mark.value)));
        let (server, incarnation, value) = inner;
        let value = serde_json::to_string(&Kept { value, bases, containers }).map_err(|error| {
            ConnectorError::Aborted { connector: self.settings.name.clone(), reason: error.to_string() }
        })?;
        Ok(Watermark { server, incarnation, value })
    }

    /// A digest of all containers and their names.
    async fn containers(&self, connection: &mut Connection) -> Result<String, ConnectorError> {
        let mut found = BTreeSet::new();
        for base in &self.settings.bases {
            let search = Search {
                base: base.clone(),
                scope: Scope::Subtree,
                filter: LdapConnectorSettings::usual_containers(),
                attributes: vec![self.settings.anchor.clone()],
            };
            let mut paged = connection.search_paged(search, self.settings.page_size);
            while let Some(page) = paged.next_page().await.map_err(|error| self.aborted(&error))? {
                let named = page.entries.into_iter();
                found.extend(named.map(|entry| (self.settings.anchor().of(&entry), entry.dn.folded())));
            }
        }
        let mut sha = Sha256::new();
        for (anchor, name) in found {
            sha.update(format!("{}\n{name}\n", anchor.unwrap_or_default()));
        }
        Ok(hex::encode(&sha.finalize()[..16]))
    }

    /// Entries as objects of this connector, references as far as their targets are such.
    async fn objects(
        &self,
        told: Vec<ImportedObject>,
        connection: &mut Connection,
        names: &mut Names,
    ) -> Result<Vec<ImportedObject>, ConnectorError> {
        let told: Vec<ImportedObject> = told.into_iter().filter(|object| !object.container).collect();
        let named = told.iter().filter_map(|object| Some((object.dn.as_ref()?.folded(), object.anchor.clone())));
        names.known.extend(named);
        let referred = told.iter().flat_map(|object| object.references.values().flatten()).filter_map(dn_of);
        let referred = referred.filter(|dn| Some(*dn) != self.settings.placeholder_member.as_ref());
        let referred: BTreeMap<String, &DistinguishedName> = referred.map(|dn| (dn.folded(), dn)).collect();
        let found = self.look_up(&referred, connection, names).await;
        found.map_err(|error| self.aborted(&error))?;
        let translated = |mut object: ImportedObject| {
            if let Some(dn) = object.dn.take() {
                object.attributes.insert(DN.into(), vec![Value::text(dn.as_str())]);
            }
            for targets in object.references.values_mut() {
                let others = targets.iter().filter_map(dn_of);
                let others = others.filter(|dn| Some(*dn) != self.settings.placeholder_member.as_ref());
                *targets =
                    others.filter_map(|dn| names.known.get(&dn.folded()).cloned().map(Reference::Anchor)).collect();
            }
            object
        };
        Ok(told.into_iter().map(translated).collect())
    }

    /// Learns the anchors of entries that are referred to.
    async fn look_up(
        &self,
        referred: &BTreeMap<String, &DistinguishedName>,
        connection: &mut Connection,
        names: &mut Names,
    ) -> Result<(), LdapError> {
        let unknown: Vec<(&String, &DistinguishedName)> = referred
            .iter()
            .filter(|(name, _)| !names.known.contains_key(*name))
            .map(|(name, dn)| (name, *dn))
            .collect();
        if names.all || unknown.is_empty() {
            return Ok(());
        }
        names.looked_up += unknown.len();
        if names.looked_up > LOOKED_UP {
            for object_type in &self.settings.types {
                know(&self.settings, connection, object_type, &mut names.known).await?;
            }
            names.all = true;
            return Ok(());
        }
        for (name, dn) in unknown.into_iter().filter(|(_, dn)| self.settings.covers(dn)) {
            let entry = connection.read(dn, vec![self.settings.anchor.clone()]).await?;
            if let Some(anchor) = entry.and_then(|entry| self.settings.anchor().of(&entry)) {
                names.known.insert(name.clone(), anchor);
            }
        }
        Ok(())
    }
}

fn dn_of(reference: &Reference) -> Option<&DistinguishedName> {
    match reference {
        Reference::Dn(dn) => Some(dn),
        Reference::Anchor(_) => None,
    }
}
