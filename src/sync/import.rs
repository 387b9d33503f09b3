//! Import: pages of a source directory into its connector space. Only real differences stage a pending import.
//!
//! "Seen" is a bitmap in memory. What was not seen becomes obsolete in one final step, which the caller takes only
//! after the read came to its end and the guard agreed; an aborted read obsoletes nothing.

mod confirmations;
mod contested;
mod removals;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use contested::{Former, Placed};

use super::attribute::Attribute;
use super::change_set::ImportBatch;
use super::connector::{Capabilities, Hidden, ImportedObject, Reference, RefusedEntry, Watermark};
use super::fault::{Fault, planted};
use super::read_ahead::ReadPage;
use super::space::{LinkKey, LinkState, ObjectId, ObjectKind, PendingImport, SpaceHead};
use super::store::{EngineStore, StoreResult};
use super::workspace::IdBlock;
use crate::identity::LeaseEpoch;
use crate::identity::{ConnectorName, DistinguishedName};

/// Ids taken from the store at a time.
const ID_BLOCK: i64 = 8192;
/// Heads read at a time when looking for what was not seen.
const SCAN: usize = 5000;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportCounters {
    pub read: u64,
    pub added: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub obsolete: u64,
    pub refused: u64,
}

impl ImportCounters {
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.added += other.added;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.obsolete += other.obsolete;
        self.refused += other.refused;
    }
}

/// An object that the directory no longer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obsolete {
    pub id: ObjectId,
    pub object_type: String,
    pub anchor: String,
    pub name: String,
}

/// What a read covers, and so what may be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Everything: what was not seen is gone.
    Full,
    /// What changed.
    Delta,
    /// What the engine asked for.
    Selected,
}

/// Where the reads before were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormerRead {
    /// The server, where it was one of several.
    pub server: Option<String>,
    /// A full read met another server than before, and its replicas are still given time to hear from each other.
    pub is_settling: bool,
}

/// The digest of what must be read again: an object whose references may mean others by now, or a container of which the
/// objects below are not known.
pub const STALE: &str = "stale";

/// One import of one connector.
pub struct Importer<'a> {
    store: &'a dyn EngineStore,
    connector: ConnectorName,
    epoch: LeaseEpoch,
    coverage: Coverage,
    /// Of the connector, where they matter: what it takes back is confirmed here.
    capabilities: Option<Capabilities>,
    /// Object types of which a delta named every object.
    enumerated: BTreeSet<String>,
    /// Not committed before what was not named is removed.
    watermark: Option<Watermark>,
    /// What is known of the reads before this.
    before: FormerRead,
    ids: IdBlock,
    seen: Seen,
    /// Those that were told with what they show.
    told: Seen,
    /// Ids of objects that have children, by folded DN. As large as the tree has inner nodes.
    parents: HashMap<String, ObjectId>,
    pub counters: ImportCounters,
    /// The first entries that could not be taken, by name and reason.
    pub refused: Vec<String>,
    /// Somebody unknown could not be read.
    doubtful: bool,
    /// Names under which entries stand that could not be taken.
    hidden: Vec<DistinguishedName>,
    /// Of a full read: where objects were that came to another place.
    former: Former,
}

/// Refused entries that are told by name.
const TOLD: usize = 50;
/// Names of refused entries that are kept until the end of the read; when there are more, it deletes nothing.
const HIDDEN: usize = 10_000;

impl<'a> Importer<'a> {
    pub fn new(store: &'a dyn EngineStore, connector: ConnectorName, epoch: LeaseEpoch, coverage: Coverage) -> Self {
        Self {
            store,
            connector,
            epoch,
            coverage,
            capabilities: None,
            enumerated: BTreeSet::new(),
            watermark: None,
            before: FormerRead::default(),
            ids: IdBlock::new(0, 0),
            seen: Seen::default(),
            told: Seen::default(),
            parents: HashMap::new(),
            counters: ImportCounters::default(),
            refused: Vec::new(),
            doubtful: false,
            hidden: Vec::new(),
            former: Former::default(),
        }
    }

    /// For a source that takes updates.
    pub fn confirming(self, capabilities: Capabilities) -> Self {
        Self { capabilities: Some(capabilities), ..self }
    }

    pub fn after(self, before: FormerRead) -> Self {
        Self { before, ..self }
    }

    /// Stages one page and commits it together with its watermark.
    pub async fn page(&mut self, page: ReadPage) -> StoreResult<()> {
        let ReadPage { mut page, digests } = page;
        self.counters.read += (page.objects.len() + page.refused.len()) as u64;
        self.counters.refused += page.refused.len() as u64;
        let room = TOLD.saturating_sub(self.refused.len());
        self.refused.extend(page.refused.iter().take(room).map(|entry| format!("{}: {}", entry.name, entry.reason)));
        self.leave_alone(&page.refused).await?;
        let objects = std::mem::take(&mut page.objects).into_iter().zip(digests).collect();
        let work = self.place_all(objects).await?;
        self.saw(&page.present).await?;
        self.enumerated.extend(page.enumerated.iter().cloned());
        let mut batch = work.into_batch();
        batch.written_back = self.confirmations(&batch.changed).await?;
        if !page.left_below.is_empty() && !batch.is_empty() {
            // What moved out from below these is told with them, and has its new place before their subtrees are taken.
            self.store.commit_import(self.epoch, std::mem::take(&mut batch)).await?;
        }
        batch.deleted = self.removed(&page).await?;
        batch.stale = self.bereft(&batch.deleted).await?;
        self.counters.obsolete += batch.deleted.len() as u64;
        if let Some(watermark) = page.watermark {
            if self.sweeps() && !planted(Fault::WatermarkSavedEarly) {
                self.watermark = Some(watermark);
            } else {
                batch.watermark = Some((self.connector.clone(), watermark));
            }
        }
        batch.bases = (!page.bases.is_empty()).then(|| (self.connector.clone(), page.bases));
        if !batch.is_empty() {
            self.store.commit_import(self.epoch, batch).await?;
        }
        Ok(())
    }

    /// Stages objects, from the root down.
    async fn place_all(&mut self, objects: Vec<(ImportedObject, String)>) -> StoreResult<Page> {
        let mut work = Page::default();
        // A container that moved has to be known before anything below it is placed.
        let mut levels: BTreeMap<_, (Vec<ImportedObject>, Vec<String>)> = BTreeMap::new();
        for (object, digest) in objects {
            let (objects, digests) = levels.entry(level(&object)).or_default();
            objects.push(object);
            digests.push(digest);
        }
        let mut placed = Vec::new();
        for (objects, digests) in levels.into_values() {
            let (mut parents, mut met) = (BTreeSet::new(), HashSet::new());
            for dn in objects.iter().flat_map(|object| object.dn.iter().chain(dn_references(object))) {
                let folded = dn.parent_folded();
                if !self.parents.contains_key(&folded) && met.insert(folded) {
                    parents.extend(dn.parent().filter(|parent| !parent.is_root()).map(Dn::new));
                }
            }
            self.resolve_parents(parents, &mut work).await?;
            placed.extend(self.stage_objects(objects, digests, &mut work).await?);
        }
        self.stage_links(placed, &mut work).await?;
        Ok(work)
    }

    /// Whom a refused entry may stand for counts as seen.
    async fn leave_alone(&mut self, refused: &[RefusedEntry]) -> StoreResult<()> {
        let mut anchors = Vec::new();
        for entry in refused {
            match &entry.hides {
                Hidden::Nobody => {}
                Hidden::Object(anchor) => anchors.push(anchor.clone()),
                Hidden::At(dn) if self.hidden.len() < HIDDEN => self.hidden.push(dn.clone()),
                Hidden::At(_) | Hidden::Anybody => self.doubtful = true,
            }
        }
        for head in self.store.heads_by_anchor(&self.connector, &anchors).await? {
            self.seen.insert(head.id);
        }
        Ok(())
    }

    /// Finds or makes the rows of parent containers, from the root down.
    async fn resolve_parents(&mut self, wanted: BTreeSet<Dn>, work: &mut Page) -> StoreResult<()> {
        let mut by_depth: BTreeMap<usize, BTreeSet<Dn>> = BTreeMap::new();
        for dn in wanted {
            let mut next = Some(dn);
            while let Some(dn) = next {
                if self.parents.contains_key(&dn.folded) || !by_depth.entry(dn.depth).or_default().insert(dn.clone()) {
                    break;
                }
                next = dn.parent();
            }
        }
        for level in by_depth.into_values() {
            let places: Vec<(Dn, String)> = level
                .into_iter()
                .filter(|dn| !self.parents.contains_key(&dn.folded))
                .map(|dn| {
                    let place = self.place(&dn.dn);
                    (dn, place)
                })
                .collect();
            let texts: Vec<String> = places.iter().map(|(_, place)| place.clone()).collect();
            let found = self.by_place(&texts).await?;
            for (dn, place) in places {
                let id = match found.get(&place).or_else(|| work.heads.get(&place)) {
                    Some(head) => head.id,
                    None => self.placeholder(&dn, &place, work).await?,
                };
                self.parents.insert(dn.folded, id);
            }
        }
        Ok(())
    }

    fn place(&self, dn: &DistinguishedName) -> String {
        let parent = self.parents.get(&dn.parent_folded()).map_or(0, |id| id.0);
        format!("{parent}:{}", dn.rdn_folded())
    }

    /// Of several rows at one place, the one that this import has seen, else the real one: a renamed object may not
    /// have been read yet.
    async fn by_place(&self, places: &[String]) -> StoreResult<HashMap<String, SpaceHead>> {
        let mut best: HashMap<String, SpaceHead> = HashMap::new();
        for head in self.store.heads_by_place(&self.connector, places).await? {
            let Some(place) = head.place.clone() else { continue };
            let rank =
                |head: &SpaceHead| (self.seen.contains(head.id), head.kind != ObjectKind::Placeholder, -head.id.0);
            match best.get(&place) {
                Some(other) if rank(other) >= rank(&head) => {}
                _ => {
                    best.insert(place, head);
                }
            }
        }
        Ok(best)
    }

    async fn placeholder(&mut self, dn: &Dn, place: &str, work: &mut Page) -> StoreResult<ObjectId> {
        let id = self.next_id().await?;
        let head = SpaceHead {
            id,
            connector: self.connector.clone(),
            object_type: String::new(),
            kind: ObjectKind::Placeholder,
            anchor: None,
            parent: self.parents.get(&dn.dn.parent_folded()).copied(),
            rdn: dn.dn.rdn().unwrap_or_default().to_owned(),
            place: Some(place.to_owned()),
            digest: String::new(),
            pending_import: PendingImport::None,
            mv: None,
        };
        work.heads.insert(place.to_owned(), head.clone());
        work.batch.inserted.push((head, None));
        Ok(id)
    }

    /// Stages the objects of a page; returns those whose links are to be compared.
    async fn stage_objects(
        &mut self,
        objects: Vec<ImportedObject>,
        digests: Vec<String>,
        work: &mut Page,
    ) -> StoreResult<Vec<ToLink>> {
        let anchors: Vec<String> = objects.iter().map(|object| object.anchor.clone()).collect();
        let known = self.store.heads_by_anchor(&self.connector, &anchors).await?;
        let mut known: HashMap<String, SpaceHead> =
            known.into_iter().filter_map(|head| Some((head.anchor.clone()?, head))).collect();
        let placed = objects.into_iter().zip(digests).map(|(object, digest)| {
            let place = object.dn.as_ref().map(|dn| self.place(dn));
            (object, digest, place)
        });
        let placed: Vec<Placed> = placed.collect();
        let objects = self.uncontested(placed, &known);
        let texts: Vec<String> = objects.iter().filter_map(|(.., place)| place.clone()).collect();
        let at_place = self.by_place(&texts).await?;
        let mut to_link = Vec::new();
        for (mut object, digest, place) in objects {
            let attributes = std::mem::take(&mut object.attributes);
            let dn = object.dn.as_ref();
            let parent = dn.and_then(|dn| self.parents.get(&dn.parent_folded())).copied();
            let rdn = dn.and_then(DistinguishedName::rdn).unwrap_or(&object.anchor).to_owned();
            let placeholder = || {
                let place = place.as_ref()?;
                let head = work.heads.get(place).or_else(|| at_place.get(place))?;
                (head.kind == ObjectKind::Placeholder).then(|| head.clone())
            };
            let existing = known.remove(&object.anchor).or_else(placeholder);
            if let Some(place) = &place {
                let there = work.heads.get(place).or_else(|| at_place.get(place));
                let moved = existing.as_ref().is_some_and(|head| head.place.as_ref() != Some(place));
                let own = existing.as_ref().map(|head| head.id);
                work.batch.displaced.extend(there.map(|head| head.id).filter(|id| Some(*id) != own));
                work.batch.displaced.extend(own.filter(|_| moved));
                if let Some(hole) = there.filter(|head| object.container && head.kind == ObjectKind::Placeholder) {
                    work.filled.extend(own.filter(|own| *own != hole.id).map(|own| (hole.id, own)));
                }
            }
            let is_new = existing.as_ref().is_none_or(|head| head.kind == ObjectKind::Placeholder);
            let digest = match &existing {
                _ if !object.container || self.coverage != Coverage::Delta => digest,
                // What lies below a container that came into the space was not told with it.
                None => STALE.to_owned(),
                Some(head) if is_new || head.pending_import == PendingImport::Delete || head.digest == STALE => {
                    STALE.to_owned()
                }
                Some(_) => digest,
            };
            let id = match &existing {
                Some(head) => head.id,
                None => self.next_id().await?,
            };
            if !(planted(Fault::SeenMarkLost) && existing.as_ref().is_some_and(|head| head.digest == digest)) {
                self.seen.insert(id);
            }
            self.told.insert(id);
            let head = SpaceHead {
                id,
                connector: self.connector.clone(),
                object_type: object.object_type.clone(),
                kind: if object.container { ObjectKind::Container } else { ObjectKind::Object },
                anchor: Some(object.anchor.clone()),
                parent,
                rdn,
                place: place.clone(),
                digest,
                pending_import: match &existing {
                    _ if is_new => PendingImport::Add,
                    Some(head) if head.pending_import == PendingImport::Add => PendingImport::Add,
                    _ => PendingImport::Update,
                },
                mv: existing.as_ref().and_then(|head| head.mv),
            };
            if let (Some(dn), Some(place)) = (dn, place) {
                if object.container && existing.as_ref().is_none_or(|head| head.place.as_ref() != Some(&place)) {
                    // What was found by a name below this one was found below another container.
                    let below = format!(",{}", dn.folded());
                    self.parents.retain(|name, _| !name.ends_with(&below));
                }
                // A container that moved keeps its id: its children's places stay true.
                let folded = dn.folded();
                if object.container || self.parents.contains_key(&folded) {
                    self.parents.insert(folded, id);
                }
                work.heads.insert(place, head.clone());
            }
            let Some(before) = existing else {
                self.counters.added += 1;
                work.batch.inserted.push((head, Some(attributes)));
                to_link.push(ToLink { owner: id, references: object.references, new: true });
                continue;
            };
            let returned = before.pending_import == PendingImport::Delete;
            if is_new || before.digest != head.digest || before.object_type != head.object_type || returned {
                if is_new {
                    self.counters.added += 1
                } else {
                    self.counters.updated += 1
                }
                // A placeholder made for this very page is inserted as what it turned out to be.
                match work.batch.inserted.iter_mut().find(|(made, _)| is_new && made.id == id) {
                    Some(made) => *made = (head, Some(attributes)),
                    None => work.batch.changed.push((head, attributes)),
                }
                to_link.push(ToLink { owner: id, references: object.references, new: false });
            } else {
                self.counters.unchanged += 1;
                if before.place != head.place || before.rdn != head.rdn {
                    work.batch.placed.push(SpaceHead { pending_import: before.pending_import, ..head });
                }
            }
        }
        Ok(to_link)
    }

    async fn stage_links(&mut self, objects: Vec<ToLink>, work: &mut Page) -> StoreResult<()> {
        let mut wanted: BTreeSet<LinkKey> = BTreeSet::new();
        let mut by_place: Vec<(ObjectId, Attribute, &DistinguishedName, String)> = Vec::new();
        let mut by_anchor: Vec<(ObjectId, Attribute, String)> = Vec::new();
        for ToLink { owner, references, .. } in &objects {
            for (attribute, references) in references {
                for reference in references {
                    match reference {
                        Reference::Dn(dn) => {
                            let place = self.place(dn);
                            by_place.push((*owner, attribute.clone(), dn, place));
                        }
                        Reference::Anchor(anchor) => by_anchor.push((*owner, attribute.clone(), anchor.clone())),
                    }
                }
            }
        }
        let places: BTreeSet<String> = by_place.iter().map(|(.., place)| place.clone()).collect();
        let unread: Vec<String> = places.into_iter().filter(|place| !work.heads.contains_key(place)).collect();
        let found = self.by_place(&unread).await?;
        for (owner, attribute, dn, place) in by_place {
            let target = match work.heads.get(&place).or_else(|| found.get(&place)) {
                Some(head) => head.id,
                None => self.placeholder(&Dn::new(dn.clone()), &place, work).await?,
            };
            wanted.insert(LinkKey { owner, attribute, target });
        }
        if !by_anchor.is_empty() {
            let targets = self.anchored(by_anchor.iter().map(|(.., anchor)| anchor.as_str()), work).await?;
            for (owner, attribute, anchor) in by_anchor {
                if let Some(target) = targets.get(&anchor) {
                    wanted.insert(LinkKey { owner, attribute, target: *target });
                }
            }
        }
        let owners: Vec<ObjectId> = objects.iter().filter(|object| !object.new).map(|object| object.owner).collect();
        let mut held = BTreeMap::new();
        for link in self.store.links_of(&owners).await? {
            held.insert(link.key, link.state);
        }
        work.batch.links_added = wanted
            .iter()
            .filter(|key| held.get(*key).is_none_or(|state| *state == LinkState::Removed))
            .cloned()
            .collect();
        work.batch.links_removed = held
            .into_iter()
            .filter(|(key, state)| *state != LinkState::Removed && !wanted.contains(key))
            .map(|(key, _)| key)
            .collect();
        Ok(())
    }

    /// The objects of these anchors; one that was not told yet gets a placeholder, which it takes over when it is.
    async fn anchored(
        &mut self,
        anchors: impl Iterator<Item = &str>,
        work: &mut Page,
    ) -> StoreResult<HashMap<String, ObjectId>> {
        let mut found: HashMap<String, ObjectId> =
            work.batch.inserted.iter().filter_map(|(head, _)| Some((head.anchor.clone()?, head.id))).collect();
        let unread: BTreeSet<&str> = anchors.filter(|anchor| !found.contains_key(*anchor)).collect();
        let unread: Vec<String> = unread.into_iter().map(str::to_owned).collect();
        let heads = self.store.heads_by_anchor(&self.connector, &unread).await?;
        found.extend(heads.into_iter().filter_map(|head| Some((head.anchor?, head.id))));
        for anchor in unread {
            let Entry::Vacant(unknown) = found.entry(anchor) else { continue };
            let id = self.next_id().await?;
            let head = SpaceHead {
                id,
                connector: self.connector.clone(),
                object_type: String::new(),
                kind: ObjectKind::Placeholder,
                anchor: Some(unknown.key().clone()),
                parent: None,
                rdn: unknown.key().clone(),
                place: None,
                digest: String::new(),
                pending_import: PendingImport::None,
                mv: None,
            };
            work.batch.inserted.push((head, None));
            unknown.insert(id);
        }
        Ok(found)
    }

    async fn next_id(&mut self) -> StoreResult<ObjectId> {
        if let Some(id) = self.ids.take() {
            return Ok(ObjectId(id));
        }
        let first = self.store.reserve_ids(self.epoch, ID_BLOCK).await?;
        self.ids = IdBlock::new(first + 1, ID_BLOCK - 1);
        Ok(ObjectId(first))
    }
}

/// An object of a page whose links are to be compared.
struct ToLink {
    owner: ObjectId,
    references: BTreeMap<Attribute, Vec<Reference>>,
    /// The space has none of its links yet.
    new: bool,
}

/// What one page comes to.
#[derive(Default)]
struct Page {
    batch: ImportBatch,
    /// Rows read from or made for this page, by place.
    heads: HashMap<String, SpaceHead>,
    /// Placeholders whose place a container took: what lies below them is the container's.
    filled: Vec<(ObjectId, ObjectId)>,
}

impl Page {
    fn into_batch(self) -> ImportBatch {
        ImportBatch { filled: self.filled, ..self.batch }
    }
}

/// A DN, ordered from the root down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dn {
    depth: usize,
    folded: String,
    dn: OrderedDn,
}

/// Ordered by what stands before it in [`Dn`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OrderedDn(DistinguishedName);

impl PartialOrd for OrderedDn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedDn {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl std::ops::Deref for OrderedDn {
    type Target = DistinguishedName;
    fn deref(&self) -> &DistinguishedName {
        &self.0
    }
}

impl Dn {
    fn new(dn: DistinguishedName) -> Self {
        Self { depth: dn.depth(), folded: dn.folded(), dn: OrderedDn(dn) }
    }

    fn parent(&self) -> Option<Self> {
        self.dn.parent().filter(|parent| !parent.is_root()).map(Self::new)
    }
}

/// Containers from the root down, then everything else.
fn level(object: &ImportedObject) -> usize {
    match &object.dn {
        Some(dn) if object.container => Dn::new(dn.clone()).depth,
        _ => usize::MAX,
    }
}

fn dn_references(object: &ImportedObject) -> impl Iterator<Item = &DistinguishedName> {
    object.references.values().flatten().filter_map(|reference| match reference {
        Reference::Dn(dn) => Some(dn),
        Reference::Anchor(_) => None,
    })
}

/// A bitmap over object ids.
#[derive(Default)]
struct Seen(Vec<u64>);

impl Seen {
    fn insert(&mut self, id: ObjectId) {
        let (word, bit) = Self::position(id);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn contains(&self, id: ObjectId) -> bool {
        let (word, bit) = Self::position(id);
        self.0.get(word).is_some_and(|bits| bits & (1 << bit) != 0)
    }

    fn position(id: ObjectId) -> (usize, u32) {
        let id = id.0.unsigned_abs();
        ((id / 64) as usize, (id % 64) as u32)
    }
}
