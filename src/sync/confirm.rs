//! The confirming import: a target space is told what the target really holds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::attribute::canonical;
use super::connector::{ImportPage, ImportedObject, Reference};
use super::export::holds;
use super::lease::Epoch;
use super::problem::{Problem, ProblemCode};
use super::rule::RuleSet;
use super::space::{ExportKind, LinkKey, LinkState, ObjectId, ObjectKind, PendingImport, SpaceHead, SpaceObject};
use super::store::{Confirmed, EngineStore, LinkChange, StoreResult};
use crate::identity::ConnectorName;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfirmCounters {
    pub read: i64,
    pub confirmed: i64,
    pub differing: i64,
    pub gone: i64,
}

pub struct Confirmer<'a> {
    pub store: &'a dyn EngineStore,
    pub rules: &'a RuleSet,
    pub connector: ConnectorName,
    pub epoch: Epoch,
    pub seen: HashSet<ObjectId>,
    pub counters: ConfirmCounters,
}

impl Confirmer<'_> {
    pub async fn page(&mut self, page: ImportPage) -> StoreResult<()> {
        self.counters.read += page.objects.len() as i64;
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
        let mut confirmed = Vec::new();
        for shown in &page.objects {
            let object = heads.get(&shown.anchor).and_then(|head| known.remove(&head.id));
            let entry = match object {
                Some(object) => {
                    let held = links.remove(&object.id).unwrap_or_default();
                    self.compare(object, shown, &heads, held)
                }
                None => self.unknown(shown).await?,
            };
            self.seen.insert(entry.object.id);
            confirmed.push(entry);
        }
        let watermark = page.watermark.map(|watermark| (self.connector.clone(), watermark));
        self.store.confirm(self.epoch, confirmed, watermark).await?;
        if !page.deleted.is_empty() {
            let heads = self.store.heads_by_anchor(&self.connector, &page.deleted).await?;
            let ids: Vec<ObjectId> = heads.into_iter().map(|head| head.id).collect();
            self.gone(&ids).await?;
        }
        Ok(())
    }

    /// After a full read to its end: what was not seen is not there.
    pub async fn finish(&mut self) -> StoreResult<()> {
        let mut after = ObjectId(0);
        loop {
            let heads = self.store.heads_after(&self.connector, after, 5000).await?;
            let Some(last) = heads.last() else { return Ok(()) };
            after = last.id;
            let gone: Vec<ObjectId> = heads
                .iter()
                .filter(|head| head.anchor.is_some() && !self.seen.contains(&head.id))
                .map(|head| head.id)
                .collect();
            self.gone(&gone).await?;
        }
    }

    async fn gone(&mut self, ids: &[ObjectId]) -> StoreResult<()> {
        self.counters.gone += ids.len() as i64;
        if ids.is_empty() { Ok(()) } else { self.store.confirm_gone(self.epoch, ids).await }
    }

    fn compare(
        &mut self,
        mut object: SpaceObject,
        shown: &ImportedObject,
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
            } else if holds(&image, &unconfirmed.changes) {
                self.counters.confirmed += 1;
            } else {
                self.counters.differing += 1;
                problem = Some(Problem::new(ProblemCode::NotReimported, "the target shows other values"));
            }
        }
        object.due = expected.as_ref() != Some(&image);
        let key = self.rules.match_key(&self.connector, &shown.object_type, &image);
        object.match_key = key.map(|key| key.as_str().to_owned()).or(object.match_key);
        object.shown = Some(image);
        let links = link_changes(object.id, shown, heads, held);
        Confirmed { object, inserted: false, links, problem }
    }

    /// An object of the target that the space does not hold: it may be adopted by the rules' join.
    async fn unknown(&self, shown: &ImportedObject) -> StoreResult<Confirmed> {
        let image = canonical(shown.attributes.clone());
        let key = self.rules.match_key(&self.connector, &shown.object_type, &image);
        let object = SpaceObject {
            id: ObjectId(self.store.reserve_ids(self.epoch, 1).await?),
            connector: self.connector.clone(),
            object_type: shown.object_type.clone(),
            kind: ObjectKind::Object,
            anchor: Some(shown.anchor.clone()),
            rdn: shown.anchor.clone(),
            shown: Some(image),
            pending_import: PendingImport::None,
            due: false,
            unconfirmed: None,
            mv: None,
            joined_by: None,
            applied: BTreeSet::new(),
            match_key: key.map(|key| key.as_str().to_owned()),
        };
        Ok(Confirmed { object, inserted: true, links: Vec::new(), problem: None })
    }
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
            match held.get(key) {
                Some(LinkState::Confirmed | LinkState::StagedDelete) => {}
                Some(LinkState::SentAdd | LinkState::StagedAdd) => {
                    changes.push((key.clone(), LinkChange::Write(LinkState::Confirmed)));
                }
                Some(LinkState::SentDelete | LinkState::Removed) | None => {
                    changes.push((key.clone(), LinkChange::Doubt(LinkState::Confirmed)));
                }
            }
        }
        for (key, state) in held.iter().filter(|(key, _)| key.attribute == *attribute && !there.contains(key)) {
            match state {
                LinkState::StagedAdd => {}
                LinkState::Confirmed
                | LinkState::SentAdd
                | LinkState::SentDelete
                | LinkState::StagedDelete
                | LinkState::Removed => changes.push((key.clone(), LinkChange::Remove)),
            }
        }
    }
    changes
}
