//! Where objects stand in the tree: containers come before what lies below them, and a place that nobody told yet gets a
//! placeholder.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Importer, Page};
use crate::identity::DistinguishedName;
use crate::sync::connector::{ImportedObject, Reference};
use crate::sync::space::{ObjectId, ObjectKind, PendingImport, SpaceHead};
use crate::sync::store::StoreResult;

impl Importer<'_> {
    /// Stages objects, from the root down.
    pub(super) async fn place_all(&mut self, objects: Vec<(ImportedObject, String)>) -> StoreResult<Page> {
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

    pub(super) fn place(&self, dn: &DistinguishedName) -> String {
        let parent = self.parents.get(&dn.parent_folded()).map_or(0, |id| id.0);
        format!("{parent}:{}", dn.rdn_folded())
    }

    /// Of several rows at one place, the one that this import has seen, else the real one: a renamed object may not
    /// have been read yet.
    pub(super) async fn by_place(&self, places: &[String]) -> StoreResult<HashMap<String, SpaceHead>> {
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

    pub(super) async fn placeholder(&mut self, dn: &Dn, place: &str, work: &mut Page) -> StoreResult<ObjectId> {
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
}

/// A DN, ordered from the root down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dn {
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
    pub fn new(dn: DistinguishedName) -> Self {
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
