//! Entries that are told under one anchor. An anchor that the settings name, such as an employee number, is as unique as the
//! people who fill it in: none of two entries may silently become the other. The object keeps the entry that it has; the
//! other is refused, and both are named.
//!
//! An entry that is met under another name than the object had may be a rename, or somebody else: that is known when
//! the one of the former name is met too. Nothing is concluded before the read has ended, so that the object is simply
//! told again.

use std::collections::HashMap;

use super::{Coverage, Importer, TOLD};
use crate::identity::DistinguishedName;
use crate::sync::connector::ImportedObject;
use crate::sync::space::{ObjectId, SpaceHead};
use crate::sync::store::StoreResult;

/// Objects whose former places are remembered in one read. Of those behind them the first entry that is met counts.
const REMEMBERED: usize = 100_000;

/// An object with its digest and its place.
pub(super) type Placed = (ImportedObject, String, Option<String>);

/// Where objects were before a read found them elsewhere.
#[derive(Default)]
pub(super) struct Former(HashMap<ObjectId, String>);

impl Importer<'_> {
    /// Those objects that are the only ones of their anchors, as far as it is known; `known` are the heads of their anchors.
    pub(super) fn uncontested(&mut self, objects: Vec<Placed>, known: &HashMap<String, SpaceHead>) -> Vec<Placed> {
        let mut taken: Vec<Placed> = Vec::with_capacity(objects.len());
        let mut place_of: HashMap<String, usize> = HashMap::with_capacity(objects.len());
        for object in objects {
            if object.0.dn.is_none() {
                taken.push(object);
                continue;
            }
            let head = known.get(&object.0.anchor);
            let stands = head.is_some_and(|head| head.place == object.2);
            if let Some(index) = place_of.get(&object.0.anchor).copied() {
                if taken[index].2 == object.2 || stands {
                    let other = std::mem::replace(&mut taken[index], object);
                    if other.2 != taken[index].2 {
                        self.contested(&other.0, name(&taken[index].0));
                    }
                } else {
                    self.contested(&object.0, name(&taken[index].0));
                }
                continue;
            }
            if let Some(head) = head.filter(|_| self.coverage == Coverage::Full && !stands) {
                if self.told.contains(head.id) {
                    if self.former.0.get(&head.id) != object.2.as_ref() {
                        self.contested(&object.0, &head.rdn);
                        continue;
                    }
                    // It is where it was: whoever was met before is somebody else.
                    self.counters.refused += 1;
                    self.tell(&head.rdn, name(&object.0), &object.0.anchor);
                } else if let Some(place) = head.place.clone().filter(|_| self.former.0.len() < REMEMBERED) {
                    self.former.0.insert(head.id, place);
                }
            }
            place_of.insert(object.0.anchor.clone(), taken.len());
            taken.push(object);
        }
        taken
    }

    fn contested(&mut self, refused: &ImportedObject, kept: &str) {
        self.counters.refused += 1;
        self.tell(name(refused), kept, &refused.anchor);
    }

    fn tell(&mut self, refused: &str, kept: &str, anchor: &str) {
        if self.refused.len() < TOLD {
            self.refused.push(format!("{refused}: {kept} has the same anchor {anchor}"));
        }
    }

    /// At the end of a read: marks as seen whoever stands under a name of which the entry could not be taken.
    pub async fn finish(&mut self) -> StoreResult<()> {
        for dn in std::mem::take(&mut self.hidden) {
            self.see_at(&dn).await?;
        }
        Ok(())
    }

    /// Whoever the space has under this name counts as seen.
    async fn see_at(&mut self, dn: &DistinguishedName) -> StoreResult<()> {
        let mut names = vec![dn.clone()];
        while let Some(parent) = names.last().and_then(DistinguishedName::parent).filter(|parent| !parent.is_root()) {
            names.push(parent);
        }
        let mut parent = 0;
        while let Some(name) = names.pop() {
            let place = format!("{parent}:{}", name.rdn_folded());
            let heads = self.store.heads_by_place(&self.connector, &[place]).await?;
            if names.is_empty() {
                heads.iter().for_each(|head| self.seen.insert(head.id));
                break;
            }
            let container = heads.iter().max_by_key(|head| (self.seen.contains(head.id), -head.id.0));
            let Some(container) = container else { break };
            parent = container.id.0;
        }
        Ok(())
    }
}

fn name(object: &ImportedObject) -> &str {
    object.dn.as_ref().map_or(object.anchor.as_str(), DistinguishedName::as_str)
}
