//! From the references of a page to changes of links. What refers to an object that was not told yet gets a placeholder.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::places::Dn;
use super::{Importer, Page};
use crate::identity::DistinguishedName;
use crate::sync::attribute::Attribute;
use crate::sync::connector::Reference;
use crate::sync::space::{LinkKey, LinkState, ObjectId, ObjectKind, PendingImport, SpaceHead};
use crate::sync::store::StoreResult;

/// An object of a page whose links are to be compared.
pub(super) struct ToLink {
    pub owner: ObjectId,
    pub references: BTreeMap<Attribute, Vec<Reference>>,
    /// The space has none of its links yet.
    pub new: bool,
}

impl Importer<'_> {
    pub(super) async fn stage_links(&mut self, objects: Vec<ToLink>, work: &mut Page) -> StoreResult<()> {
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
}
