//! From the objects of a page to changes of the space: only real differences stage a pending import.

use std::collections::HashMap;

use super::contested::Placed;
use super::references::ToLink;
use super::{Coverage, Importer, Page, STALE};
use crate::identity::DistinguishedName;
use crate::sync::connector::ImportedObject;
use crate::sync::fault::{Fault, planted};
use crate::sync::space::{ObjectKind, PendingImport, SpaceHead};
use crate::sync::store::StoreResult;

impl Importer<'_> {
    /// Stages the objects of a page; returns those whose links are to be compared.
    pub(super) async fn stage_objects(
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
}
