//! The confirming import: a target space is told what the target really holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::attribute::{Attribute, Attributes, canonical};
use super::connector::{Capabilities, ImportPage, ImportedObject, LinkReport, LinkReports, Reference, Watermark};
use super::doubt::holds;
use super::fault::{Fault, planted};
use super::join_key::JoinKey;
use super::problem::{Problem, ProblemCode};
use super::rule::RuleSet;
use super::space::{
    ExportKind, ExportState, LinkKey, LinkState, ObjectId, ObjectKind, PendingExport, PendingImport, SpaceHead,
    SpaceObject,
};
use super::store::{Confirmed, EngineStore, LinkChange, StoreResult};
use super::workspace::IdBlock;
use crate::identity::{ConnectorName, LeaseEpoch, Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfirmCounters {
    pub read: i64,
    pub confirmed: i64,
    pub differing: i64,
    pub gone: i64,
    /// Objects that the space did not know.
    pub found: i64,
}

/// Owners whose links are compared at a time.
const OWNERS: usize = 500;
/// Ends of links that are remembered from one page to the next.
const ENDS: usize = 100_000;

pub struct Confirmer<'a> {
    store: &'a dyn EngineStore,
    rules: &'a RuleSet,
    connector: ConnectorName,
    epoch: LeaseEpoch,
    seen: HashSet<ObjectId>,
    /// Of a full read of a target that tells links one by one: digests of those that it told.
    seen_links: HashSet<u64>,
    /// Ends of links by the value that tells them, of such a read: each object is an end of many.
    ends: HashMap<String, ObjectId>,
    /// Owners, without their attributes, of references that are followed when all ends are known: those of objects that the
    /// space did not know, and those to objects that it did not know.
    found: Vec<(ObjectId, ImportedObject)>,
    digest: RandomState,
    pub counters: ConfirmCounters,
    /// Everything is read: what is not shown is gone.
    full: bool,
    now: Timestamp,
    /// Of a full read; committed when what is gone is so in the space.
    watermark: Option<(ConnectorName, Watermark)>,
}

impl<'a> Confirmer<'a> {
    /// `full`: everything is read, so that what is not shown is gone. What is found is known since `now`.
    pub fn new(
        store: &'a dyn EngineStore,
        rules: &'a RuleSet,
        connector: ConnectorName,
        epoch: LeaseEpoch,
        full: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            store,
            rules,
            connector,
            epoch,
            seen: HashSet::new(),
            seen_links: HashSet::new(),
            ends: HashMap::new(),
            found: Vec::new(),
            digest: RandomState::new(),
            counters: ConfirmCounters::default(),
            full,
            now,
            watermark: None,
        }
    }

    pub async fn page(&mut self, mut page: ImportPage) -> StoreResult<()> {
        // No object of ours has such an anchor: not every store can hold it.
        page.objects.retain(|object| !object.anchor.contains('\0'));
        self.counters.read += page.objects.len() as i64;
        if !self.full || !page.objects.is_empty() || self.ends.len() > ENDS {
            self.ends.clear();
        }
        let references = page.objects.iter().flat_map(|object| object.references.values().flatten());
        let anchors: BTreeSet<String> = references
            .filter_map(|reference| match reference {
                Reference::Anchor(anchor) => Some(anchor.clone()),
                Reference::Dn(_) => None,
            })
            .chain(page.objects.iter().map(|object| object.anchor.clone()))
            .collect();
        let anchors: Vec<String> = anchors.into_iter().collect();
        let heads = self.store.heads_by_anchor(&self.connector, &anchors).await?;
        let heads: HashMap<String, SpaceHead> =
            heads.into_iter().filter_map(|h| Some((h.anchor.clone()?, h))).collect();
        let own: Vec<ObjectId> =
            page.objects.iter().filter_map(|object| heads.get(&object.anchor)).map(|head| head.id).collect();
        let mut known: HashMap<ObjectId, SpaceObject> =
            self.store.objects(&own).await?.into_iter().map(|object| (object.id, object)).collect();
        let mut links: HashMap<ObjectId, BTreeMap<LinkKey, LinkState>> = HashMap::new();
        for link in self.store.links_of(&own).await? {
            links.entry(link.key.owner).or_default().insert(link.key, link.state);
        }
        let mut awaited = self.awaited(&page, &heads).await?;
        let mut confirmed = Vec::new();
        let unknown = page.objects.iter().filter(|shown| !heads.contains_key(&shown.anchor)).count() as i64;
        let first = if unknown > 0 { self.store.reserve_ids(self.epoch, unknown).await? } else { 0 };
        let mut ids = IdBlock::new(first, unknown);
        let mut relevant: HashMap<&str, BTreeSet<Attribute>> = HashMap::new();
        for shown in &page.objects {
            let object = match heads.get(&shown.anchor) {
                Some(head) => known.remove(&head.id),
                None => awaited.remove(&shown.anchor),
            };
            let entry = match object {
                Some(object) => {
                    self.found.extend(unresolved(shown, &heads).map(|open| (object.id, open)));
                    let held = links.remove(&object.id).unwrap_or_default();
                    let relevant =
                        relevant.entry(&shown.object_type).or_insert_with(|| self.relevant(&shown.object_type));
                    self.compare(object, shown, relevant, &heads, held)
                }
                None => match ids.take() {
                    Some(id) => {
                        self.counters.found += 1;
                        if !shown.references.is_empty() {
                            let bare = ImportedObject { attributes: Attributes::new(), ..shown.clone() };
                            self.found.push((ObjectId(id), bare));
                        }
                        self.unknown(ObjectId(id), shown)
                    }
                    None => continue,
                },
            };
            self.seen.insert(entry.object.id);
            confirmed.push(entry);
        }
        let watermark = page.watermark.map(|watermark| (self.connector.clone(), watermark));
        // A watermark covers links and what is gone, too: it is committed after them.
        let (now, later) = match self.full {
            true => {
                self.watermark = watermark.or(self.watermark.take());
                (None, None)
            }
            false if page.deleted.is_empty() && page.links.is_empty() && self.found.is_empty() => (watermark, None),
            false => (None, watermark),
        };
        self.store.confirm(self.epoch, confirmed, now).await?;
        // Links may be told with their ends: these are known from here.
        self.links(&page.links).await?;
        if !self.full {
            self.links_found().await?;
        }
        if !page.deleted.is_empty() {
            let heads = self.store.heads_by_anchor(&self.connector, &page.deleted).await?;
            let ids: Vec<ObjectId> = heads.into_iter().map(|head| head.id).collect();
            self.gone(&ids).await?;
        }
        self.settle(later).await
    }

    async fn settle(&mut self, watermark: Option<(ConnectorName, Watermark)>) -> StoreResult<()> {
        if watermark.is_none() {
            return Ok(());
        }
        self.store.confirm(self.epoch, Vec::new(), watermark).await
    }

    /// Objects of the space that have no anchor yet and are shown now, by the anchor that they get: an add whose answer was
    /// lost made them, or somebody else did before it left.
    async fn awaited(
        &self,
        page: &ImportPage,
        heads: &HashMap<String, SpaceHead>,
    ) -> StoreResult<HashMap<String, SpaceObject>> {
        let unknown = page.objects.iter().filter(|shown| !heads.contains_key(&shown.anchor));
        let keys: Vec<_> = unknown
            .filter_map(|shown| {
                let image = canonical(shown.attributes.clone());
                Some((self.rules.match_key(&self.connector, &shown.object_type, &image)?, shown))
            })
            .collect();
        let wanted: Vec<_> = keys.iter().map(|(key, _)| key.clone()).collect();
        let ids = self.store.ids_by_match_key(&self.connector, &wanted).await?;
        let ids: Vec<ObjectId> = ids.into_iter().map(|(_, id)| id).collect();
        // Of an add that left and was not answered nobody else is known to have been there first.
        let unanswered = |export: &PendingExport| {
            export.kind == ExportKind::Add && matches!(export.state, ExportState::Sent | ExportState::InDoubt)
        };
        let staged = self.store.staged(&ids).await?.into_iter();
        let unanswered: HashSet<ObjectId> = staged.filter(unanswered).map(|export| export.object).collect();
        let mut waiting: Vec<SpaceObject> = self.store.objects(&ids).await?;
        waiting.retain(|object| object.anchor.is_none() && object.kind == ObjectKind::Object);
        // Whoever is wanted comes before whoever left.
        waiting.sort_by_key(|object| object.mv.is_none());
        let mut awaited = HashMap::new();
        for (key, shown) in keys {
            let fits = |object: &SpaceObject| {
                object.match_key.as_deref() == Some(key.as_str()) && object.object_type == shown.object_type
            };
            if let Some(index) = waiting.iter().position(fits) {
                let mut object = SpaceObject { anchor: Some(shown.anchor.clone()), ..waiting.remove(index) };
                let made = object.unconfirmed.is_some() || unanswered.contains(&object.id);
                if !made && !self.is_marked(&shown.attributes, Some(&key)) {
                    object.found_at = Some(self.now);
                }
                awaited.insert(shown.anchor.clone(), object);
            }
        }
        Ok(awaited)
    }

    /// Links that the target tells one by one.
    async fn links(&mut self, reports: &[LinkReport]) -> StoreResult<()> {
        let Some(add_key) = self.rules.capabilities(&self.connector).and_then(|c| c.add_key.clone()) else {
            return Ok(());
        };
        let unknown: BTreeSet<&str> = reports
            .iter()
            .flat_map(|link| [link.owner.as_str(), link.target.as_str()])
            .filter(|value| !self.ends.contains_key(*value))
            .collect();
        let mut value_of = HashMap::new();
        for value in unknown {
            for key in self.rules.match_keys(&self.connector, &add_key, value) {
                value_of.insert(key, value);
            }
        }
        let keys: Vec<_> = value_of.keys().cloned().collect();
        let ids = self.store.ids_by_match_key(&self.connector, &keys).await?;
        self.ends.extend(ids.iter().filter_map(|(key, id)| Some(((*value_of.get(key)?).to_owned(), *id))));
        let told: Vec<(LinkKey, bool)> = reports
            .iter()
            .filter_map(|link| {
                let (owner, target) = (*self.ends.get(&link.owner)?, *self.ends.get(&link.target)?);
                Some((LinkKey { owner, attribute: link.attribute.clone(), target }, link.present))
            })
            .collect();
        if self.full {
            let there = told.iter().filter(|(_, present)| *present);
            self.seen_links.extend(there.map(|(key, _)| self.digest.hash_one(key)));
        }
        let keys: Vec<LinkKey> = told.iter().map(|(key, _)| key.clone()).collect();
        let held: HashMap<LinkKey, LinkState> =
            self.store.link_states(&keys).await?.into_iter().map(|link| (link.key, link.state)).collect();
        let changes = told.into_iter().filter_map(|(key, present)| {
            let state = held.get(&key).copied();
            let change = if present { when_there(state) } else { when_gone(state) };
            change.map(|change| (key, change))
        });
        self.store.confirm_links(self.epoch, changes.collect()).await
    }

    /// After a full read to its end: what was not seen is not there.
    pub async fn finish(&mut self) -> StoreResult<()> {
        let capabilities = self.rules.capabilities(&self.connector);
        let one_by_one = capabilities.is_some_and(|c| c.links == LinkReports::OneByOne);
        let mut after = ObjectId(0);
        loop {
            let heads = self.store.heads_after(&self.connector, after, 5000).await?;
            let Some(last) = heads.last() else { break };
            after = last.id;
            let gone: Vec<ObjectId> = heads
                .iter()
                .filter(|head| head.anchor.is_some() && !self.seen.contains(&head.id))
                .map(|head| head.id)
                .collect();
            self.gone(&gone).await?;
            if one_by_one {
                let there = heads.iter().map(|head| head.id).filter(|id| self.seen.contains(id));
                let there: Vec<ObjectId> = there.collect();
                for owners in there.chunks(OWNERS) {
                    self.links_gone(owners).await?;
                }
            }
        }
        self.links_found().await?;
        let watermark = self.watermark.take();
        self.settle(watermark).await
    }

    /// The links of and to objects that the space did not know before. What refers to an object that a later page may tell
    /// is kept.
    async fn links_found(&mut self) -> StoreResult<()> {
        let mut open = Vec::new();
        for found in std::mem::take(&mut self.found).chunks(OWNERS) {
            let references = found.iter().flat_map(|(_, shown)| shown.references.values().flatten());
            let anchors: BTreeSet<String> = references
                .filter_map(|reference| match reference {
                    Reference::Anchor(anchor) => Some(anchor.clone()),
                    Reference::Dn(_) => None,
                })
                .collect();
            let anchors: Vec<String> = anchors.into_iter().collect();
            let heads = self.store.heads_by_anchor(&self.connector, &anchors).await?;
            let heads: HashMap<String, SpaceHead> =
                heads.into_iter().filter_map(|head| Some((head.anchor.clone()?, head))).collect();
            let changes = found.iter().flat_map(|(owner, shown)| link_changes(*owner, shown, &heads, BTreeMap::new()));
            self.store.confirm_links(self.epoch, changes.collect()).await?;
            open.extend(found.iter().filter_map(|(owner, shown)| Some((*owner, unresolved(shown, &heads)?))));
        }
        self.found = open;
        Ok(())
    }

    /// The links of these objects that a full read did not tell.
    async fn links_gone(&mut self, owners: &[ObjectId]) -> StoreResult<()> {
        let held = self.store.links_of(owners).await?.into_iter();
        let unseen = held.filter(|link| !self.seen_links.contains(&self.digest.hash_one(&link.key)));
        let gone = unseen.filter_map(|link| Some((link.key, when_gone(Some(link.state))?)));
        self.store.confirm_links(self.epoch, gone.collect()).await
    }

    /// The attributes of a type that rules read or write: a change of any other changes nothing.
    fn relevant(&self, object_type: &str) -> BTreeSet<Attribute> {
        let wanted = self.rules.wanted(&self.connector).remove(object_type).unwrap_or_default();
        let managed = self.rules.managed(&self.connector, object_type).cloned();
        wanted.attributes.into_iter().chain(managed).collect()
    }

    fn holds(&self, image: &Attributes, changes: &Attributes) -> bool {
        self.rules.capabilities(&self.connector).is_some_and(|capabilities| holds(capabilities, image, changes))
    }

    async fn gone(&mut self, ids: &[ObjectId]) -> StoreResult<()> {
        self.counters.gone += ids.len() as i64;
        if ids.is_empty() {
            return Ok(());
        }
        self.ends.clear();
        self.store.confirm_gone(self.epoch, ids).await
    }

    fn compare(
        &mut self,
        mut object: SpaceObject,
        shown: &ImportedObject,
        relevant: &BTreeSet<Attribute>,
        heads: &HashMap<String, SpaceHead>,
        held: BTreeMap<LinkKey, LinkState>,
    ) -> Confirmed {
        let image = canonical(shown.attributes.clone());
        let expected = object.effective().map(canonical);
        let mut problem = None;
        if let Some(unconfirmed) = object.unconfirmed.take() {
            if unconfirmed.kind == ExportKind::Delete {
                // Accepted and still shown: the delete is on its way, the next listing decides.
                object.unconfirmed = Some(unconfirmed);
            } else if self.holds(&image, &unconfirmed.changes) {
                self.counters.confirmed += 1;
            } else {
                self.counters.differing += 1;
                problem = Some(Problem::new(ProblemCode::NotReimported, "the target shows other values"));
            }
        }
        object.due = match &expected {
            Some(_) if planted(Fault::DriftAccepted) => false,
            Some(expected) => relevant.iter().any(|name| expected.get(name) != image.get(name)),
            None => true,
        };
        let key = self.rules.match_key(&self.connector, &shown.object_type, &image);
        if object.mv.is_none() && self.is_marked(&image, key.as_ref()) {
            object.found_at = None;
        }
        object.match_key = key.map(|key| key.as_str().to_owned()).or(object.match_key);
        object.shown = Some(Arc::new(image));
        let links = link_changes(object.id, shown, heads, held);
        Confirmed { object, inserted: false, links, problem }
    }

    /// An object of the target that the space does not hold: it may be adopted by the rules' join.
    fn unknown(&self, id: ObjectId, shown: &ImportedObject) -> Confirmed {
        let image = canonical(shown.attributes.clone());
        let key = self.rules.match_key(&self.connector, &shown.object_type, &image);
        let found_at = (!self.is_marked(&image, key.as_ref())).then_some(self.now);
        let object = SpaceObject {
            id,
            connector: self.connector.clone(),
            object_type: shown.object_type.clone(),
            kind: ObjectKind::Object,
            anchor: Some(shown.anchor.clone()),
            rdn: shown.anchor.clone(),
            shown: Some(Arc::new(image)),
            pending_import: PendingImport::None,
            due: false,
            unconfirmed: None,
            mv: None,
            joined_by: None,
            applied: BTreeSet::new(),
            match_key: key.map(|key| key.as_str().to_owned()),
            found_at,
        };
        Confirmed { object, inserted: true, links: Vec::new(), problem: None }
    }

    /// Whether rules find the object, by `key`, under the value of an attribute that provisioning alone writes.
    fn is_marked(&self, image: &Attributes, key: Option<&JoinKey>) -> bool {
        let mark = self.rules.capabilities(&self.connector).and_then(Capabilities::mark);
        let (Some(mark), Some(key)) = (mark, key) else { return false };
        let value = image.get(mark).and_then(|values| values.first());
        value.is_some_and(|value| self.rules.match_keys(&self.connector, mark, value.as_text()).contains(key))
    }
}

/// The references of an object to objects that are not known, without anything else of it.
fn unresolved(shown: &ImportedObject, heads: &HashMap<String, SpaceHead>) -> Option<ImportedObject> {
    let is_open = |reference: &&Reference| match reference {
        Reference::Anchor(anchor) => !heads.contains_key(anchor),
        Reference::Dn(_) => false,
    };
    let mut references = BTreeMap::new();
    for (attribute, all) in &shown.references {
        let open: Vec<Reference> = all.iter().filter(is_open).cloned().collect();
        if !open.is_empty() {
            references.insert(attribute.clone(), open);
        }
    }
    (!references.is_empty()).then(|| ImportedObject {
        anchor: shown.anchor.clone(),
        dn: None,
        object_type: shown.object_type.clone(),
        container: shown.container,
        attributes: Attributes::new(),
        references,
    })
}

/// Compares the links that a page tells; attributes it does not mention stay as they are.
fn link_changes(
    owner: ObjectId,
    shown: &ImportedObject,
    heads: &HashMap<String, SpaceHead>,
    held: BTreeMap<LinkKey, LinkState>,
) -> Vec<(LinkKey, LinkChange)> {
    let mut changes = Vec::new();
    for (attribute, references) in &shown.references {
        let targets = references.iter().filter_map(|reference| match reference {
            Reference::Anchor(anchor) => heads.get(anchor).map(|head| head.id),
            Reference::Dn(_) => None,
        });
        let there: BTreeSet<LinkKey> =
            targets.map(|target| LinkKey { owner, attribute: attribute.clone(), target }).collect();
        for key in &there {
            changes.extend(when_there(held.get(key).copied()).map(|change| (key.clone(), change)));
        }
        for (key, state) in held.iter().filter(|(key, _)| key.attribute == *attribute && !there.contains(key)) {
            changes.extend(when_gone(Some(*state)).map(|change| (key.clone(), change)));
        }
    }
    changes
}

/// What a link of the space becomes when the target shows it.
fn when_there(state: Option<LinkState>) -> Option<LinkChange> {
    match state {
        Some(LinkState::Confirmed | LinkState::StagedDelete) => None,
        Some(LinkState::SentAdd | LinkState::StagedAdd) => Some(LinkChange::Write(LinkState::Confirmed)),
        Some(LinkState::SentDelete | LinkState::Removed) | None => Some(LinkChange::Doubt(LinkState::Confirmed)),
    }
}

/// What it becomes when the target does not.
fn when_gone(state: Option<LinkState>) -> Option<LinkChange> {
    match state {
        None | Some(LinkState::StagedAdd) => None,
        Some(
            LinkState::Confirmed
            | LinkState::SentAdd
            | LinkState::SentDelete
            | LinkState::StagedDelete
            | LinkState::Removed,
        ) => Some(LinkChange::Remove),
    }
}
