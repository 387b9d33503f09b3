//! Synchronise: batches of objects through join, inbound flow and outbound, then the link passes (design D5).
//!
//! [`run`] fetches read sets and commits; everything between is a pure function of a [`Workspace`].

mod focus;
mod footprint;
mod inbound;
mod join;
mod links;
mod membership;
mod missed;
mod outbound;
mod review;
mod writeback;

pub use inbound::anchor_of;

use std::collections::BTreeSet;

pub use focus::{Focus, considered, focused};
use footprint::Footprint;
use links::PairFacts;
pub use links::{DueLink, FlowInUse, TargetEnds};
use membership::NamedGroups;
pub use missed::{DELTA_MISSED, Edge, Missed};

use super::change_set::{LinkBatch, MvPair, SyncBatch};
use super::fault;
use super::join_key::JoinKey;
use super::metaverse::MvId;
use super::rule::{Direction, FlowKind, RuleSet};
use super::space::{LinkKey, ObjectId, SpaceObject};
use super::store::{EngineStore, StoreResult, Walk, Which};
use super::trace::Trace;
use super::workspace::{IdBlock, Workspace};
use crate::identity::ConnectorName;
use crate::identity::LeaseEpoch;

/// Objects per batch and transaction.
pub const BATCH: usize = 1000;
/// Ids that are reserved at once, as many batches need: who reserves waits for what is being committed.
const IDS: i64 = 64 * BATCH as i64;
/// Links per batch and transaction.
pub const LINK_BATCH: usize = 5000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every object and link: after a change of rules.
    Full,
    /// Every object and link, once nothing is due any more: what changes then was missed before.
    Repair,
    /// What is due.
    Delta,
}

/// What a synchronisation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub objects: u64,
    pub batches: u64,
    pub committed: u64,
    pub links: u64,
    /// Of a repair.
    pub missed: Missed,
}

/// Synchronises until nothing is due. `tick` is called after each batch; its error ends the run between batches.
pub async fn run<E>(
    store: &dyn EngineStore,
    rules: &RuleSet,
    epoch: LeaseEpoch,
    extent: Extent,
    tick: &mut (dyn AsyncTick<E> + Send),
) -> Result<Counters, E>
where
    E: From<super::store::EngineStoreError>,
{
    let groups = membership::follow(store, rules, epoch).await?;
    let mut engine = Engine::new(store, rules, epoch, groups);
    let sources: Vec<ConnectorName> = engine.sources();
    if rules.reads_clock() {
        // A full synchronisation comes before the time of some of them; what it finds of these was not missed.
        store.review(epoch, (extent == Extent::Delta).then(|| rules.now())).await?;
    }
    if extent == Extent::Repair {
        engine.what_is_due(&sources, tick).await?;
        engine.repairing = true;
    }
    if extent != Extent::Delta {
        for connector in &sources {
            engine.walk(connector, Which::All, tick).await?;
        }
        store.compare_links(epoch, &engine.targets).await?;
    }
    if extent == Extent::Full {
        let ended = links::ended(rules, store.flows_in_use(&engine.targets).await?);
        store.end_flows(epoch, &engine.targets, &ended).await?;
    }
    engine.what_is_due(&sources, tick).await?;
    store.sweep(epoch).await?;
    Ok(engine.counters)
}

/// Called between batches: renews the lease, shows progress, stops.
#[async_trait::async_trait]
pub trait AsyncTick<E> {
    async fn tick(&mut self, counters: &Counters) -> Result<(), E>;
}

struct Engine<'a> {
    store: &'a dyn EngineStore,
    rules: &'a RuleSet,
    epoch: LeaseEpoch,
    targets: Vec<ConnectorName>,
    groups: NamedGroups,
    ids: IdBlock,
    /// Whatever changes now was missed.
    repairing: bool,
    counters: Counters,
    trace: Trace,
}

/// Where a walk over a connector's objects has come to.
#[derive(Clone, Copy)]
struct Place<'a> {
    connector: &'a ConnectorName,
    walk: Walk,
}

/// An evaluated batch of objects. Nothing of it is committed.
struct Evaluated {
    last: Option<ObjectId>,
    objects: u64,
    /// The metaverse objects that it concerned.
    affected: BTreeSet<MvId>,
    batch: SyncBatch,
    footprint: Footprint,
    /// Those that are left.
    ids: IdBlock,
    trace: Trace,
}

/// An evaluated batch of source links.
struct SourceLinks {
    last: LinkKey,
    count: u64,
    batch: LinkBatch,
}

impl<'a> Engine<'a> {
    fn new(store: &'a dyn EngineStore, rules: &'a RuleSet, epoch: LeaseEpoch, groups: NamedGroups) -> Self {
        Self {
            store,
            rules,
            epoch,
            targets: rules.targets().cloned().collect(),
            groups,
            ids: IdBlock::new(0, 0),
            repairing: false,
            counters: Counters::default(),
            trace: Trace::default(),
        }
    }

    fn sources(&self) -> Vec<ConnectorName> {
        self.rules.connectors().filter(|name| !self.targets.contains(name)).cloned().collect()
    }

    /// Works until nothing is due. Edges make further objects due; each of them becomes due a bounded number of times.
    async fn what_is_due<E>(&mut self, sources: &[ConnectorName], tick: &mut (dyn AsyncTick<E> + Send)) -> Result<(), E>
    where
        E: From<super::store::EngineStoreError>,
    {
        loop {
            let before = self.counters.objects + self.counters.links;
            for connector in sources {
                // What a batch makes due behind it is found by another walk.
                while self.walk(connector, Which::Due, tick).await? > 0 {}
            }
            while self.due_metaverse().await? {
                tick.tick(&self.counters).await?;
            }
            let mut next = self.source_links(None).await?;
            while let Some(SourceLinks { last, count, batch }) = next {
                self.missed_links(&batch);
                // No link of the next batch is one of this, so that it is read while this one is written. The write comes
                // first: reads may block the thread.
                let (written, read) =
                    tokio::join!(self.store.commit_links(self.epoch, batch), self.source_links(Some(&last)));
                written?;
                next = read?;
                self.counters.links += count;
                tick.tick(&self.counters).await?;
            }
            while self.pairs().await? {
                tick.tick(&self.counters).await?;
            }
            while self.target_links().await? {
                tick.tick(&self.counters).await?;
            }
            if self.counters.objects + self.counters.links == before {
                break;
            }
        }
        Ok(())
    }

    /// Batch after batch of a connector's objects; returns how many there were.
    async fn walk<E>(
        &mut self,
        connector: &ConnectorName,
        which: Which,
        tick: &mut (dyn AsyncTick<E> + Send),
    ) -> Result<u64, E>
    where
        E: From<super::store::EngineStoreError>,
    {
        let mut walked = 0;
        let mut place = Place { connector, walk: Walk { which, after: ObjectId(0) } };
        let mut next = self.look(place).await?;
        while let Some(after) = next.last {
            walked += next.objects;
            let footprint = std::mem::take(&mut next.footprint);
            let (_, batch) = self.accept(next);
            place.walk.after = after;
            let written = !batch.is_empty();
            next = self.commit_and_look(batch, place).await?;
            if written && next.footprint.meets(&footprint) {
                next = self.look(place).await?;
            }
            tick.tick(&self.counters).await?;
        }
        Ok(walked)
    }

    /// Commits a batch while the one behind it is read and evaluated: that one is not to be used if it met anything of the
    /// first, since it may have read that as it was before.
    async fn commit_and_look(&self, batch: SyncBatch, place: Place<'_>) -> StoreResult<Evaluated> {
        let (commit, look) = (self.store_batch(batch), self.look(place));
        if fault::looks_first() {
            let next = look.await;
            commit.await?;
            return next;
        }
        // The write comes first: reads may block the thread.
        let (written, next) = tokio::join!(commit, look);
        written?;
        next
    }

    /// The batch at `place`, evaluated.
    async fn look(&self, place: Place<'_>) -> StoreResult<Evaluated> {
        let objects = self.store.walk(place.connector, place.walk, fault::batch(BATCH)).await?;
        let told = self.groups.tell(self.store, objects).await?;
        self.evaluate(told, Trace::default()).await
    }

    /// Joins and flows `objects`, and commits; returns the metaverse objects that this concerned.
    async fn batch(&mut self, objects: Vec<SpaceObject>) -> StoreResult<BTreeSet<MvId>> {
        let trace = std::mem::take(&mut self.trace);
        let evaluated = self.evaluate(objects, trace).await?;
        let (affected, batch) = self.accept(evaluated);
        self.store_batch(batch).await?;
        Ok(affected)
    }

    /// Joins and flows `objects`; nothing of the engine changes.
    async fn evaluate(&self, objects: Vec<SpaceObject>, trace: Trace) -> StoreResult<Evaluated> {
        let ids: Vec<ObjectId> = objects.iter().map(|object| object.id).collect();
        let mut ws = Workspace::new(self.ids_for(ids.len()).await?);
        ws.trace = trace;
        let keys: BTreeSet<_> = objects.iter().flat_map(|object| join::keys_wanted(self.rules, object)).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        ws.asked.extend(keys.iter().cloned());
        ws.read_objects(objects);
        ws.read_waits(self.store.waits(&ids).await?);
        ws.read_problems(self.store.problems(&ids).await?);
        let mut candidates = join::Candidates::new();
        for (key, mv) in self.store.by_join_key(&keys).await? {
            candidates.entry(key).or_default().insert(mv);
        }
        let linked: BTreeSet<MvId> = ids.iter().filter_map(|id| ws.object(*id)?.mv).collect();
        let mvs: Vec<MvId> = linked.into_iter().chain(candidates.values().flatten().copied()).collect();
        self.read_metaverse(&mut ws, &mvs).await?;
        let affected = join::join(&mut ws, self.rules, &mut candidates, &ids);
        self.flow(&mut ws, &affected).await?;
        let mut footprint = Footprint::of(&mut ws);
        let (left, trace) = (ws.ids.clone(), std::mem::take(&mut ws.trace));
        let batch = ws.into_batch(self.rules);
        footprint.gives(&batch);
        Ok(Evaluated {
            last: ids.last().copied(),
            objects: ids.len() as u64,
            affected,
            batch,
            footprint,
            ids: left,
            trace,
        })
    }

    /// Takes over what an evaluated batch that is to be committed means to the engine.
    fn accept(&mut self, evaluated: Evaluated) -> (BTreeSet<MvId>, SyncBatch) {
        let Evaluated { objects, affected, batch, ids, trace, .. } = evaluated;
        self.counters.objects += objects;
        (self.ids, self.trace) = (ids, trace);
        self.count(&batch);
        (affected, batch)
    }

    /// One batch of metaverse objects that targets made due.
    async fn due_metaverse(&mut self) -> StoreResult<bool> {
        let due = self.store.due_metaverse(BATCH).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let mut ws = self.workspace(due.len()).await?;
        self.read_metaverse(&mut ws, &due).await?;
        // An object that stays due waits for an answer that only an export can bring: it is left to the next run.
        let affected = due.iter().copied().collect();
        self.flow(&mut ws, &affected).await?;
        let left = due.iter().filter(|id| ws.mv(**id).is_some_and(|mv| mv.due)).count();
        let batch = self.changes(ws);
        self.store_batch(batch).await?;
        self.counters.objects += (due.len() - left) as u64;
        Ok(left < due.len())
    }

    /// Inbound flow and outbound of the affected metaverse objects, and the commit.
    async fn finish(&mut self, mut ws: Workspace, affected: &BTreeSet<MvId>) -> StoreResult<()> {
        self.flow(&mut ws, affected).await?;
        let batch = self.changes(ws);
        self.store_batch(batch).await
    }

    /// What an evaluated batch comes to.
    fn changes(&mut self, mut ws: Workspace) -> SyncBatch {
        self.trace = std::mem::take(&mut ws.trace);
        self.ids = ws.ids.clone();
        let batch = ws.into_batch(self.rules);
        self.count(&batch);
        batch
    }

    fn count(&mut self, batch: &SyncBatch) {
        self.counters.batches += 1;
        if batch.is_empty() {
            return;
        }
        if self.repairing {
            self.counters.missed.batch(batch);
        }
        self.counters.committed += 1;
    }

    async fn store_batch(&self, batch: SyncBatch) -> StoreResult<()> {
        match batch.is_empty() {
            true => Ok(()),
            false => self.store.commit_sync(self.epoch, batch, &self.targets).await,
        }
    }

    /// Inbound flow and outbound of the affected metaverse objects; commits nothing.
    async fn flow(&self, ws: &mut Workspace, affected: &BTreeSet<MvId>) -> StoreResult<()> {
        for mv in affected {
            inbound::flow(ws, self.rules, *mv);
        }
        let mut adoptable = outbound::Adoptable::new();
        for connector in &self.targets {
            let keys: Vec<_> = affected
                .iter()
                .flat_map(|mv| outbound::keys_wanted(ws, self.rules, *mv))
                .filter(|(of, _)| of == connector)
                .map(|(_, key)| key)
                .collect();
            ws.asked.extend(keys.iter().cloned());
            let found = self.store.adoptable(connector, &keys).await?;
            let ids: Vec<ObjectId> = found.iter().map(|object| object.id).collect();
            ws.read_staged(self.store.staged(&ids).await?);
            ws.read_problems(self.store.problems(&ids).await?);
            for object in found {
                if let Some(key) = &object.match_key {
                    let key = JoinKey::from_stored(key.clone());
                    adoptable.entry((connector.clone(), key)).or_default().insert(object.id);
                }
                ws.read_objects([object]);
            }
        }
        for mv in affected {
            outbound::stage(ws, self.rules, &mut adoptable, *mv);
            writeback::stage(ws, self.rules, *mv);
            review::set(ws, self.rules, *mv);
        }
        Ok(())
    }

    /// Metaverse objects with all their members and what is staged and known of those.
    async fn read_metaverse(&self, ws: &mut Workspace, mvs: &[MvId]) -> StoreResult<()> {
        ws.read_metaverse(self.store.metaverse(mvs).await?);
        let known = ws.object_ids().collect();
        let members = self.groups.tell(self.store, self.store.further_members(mvs, &known).await?).await?;
        let ids: Vec<ObjectId> = known.into_iter().chain(members.iter().map(|object| object.id)).collect();
        ws.read_objects(members);
        ws.read_staged(self.store.staged(&ids).await?);
        ws.read_problems(self.store.problems(&ids).await?);
        Ok(())
    }

    async fn workspace(&mut self, objects: usize) -> StoreResult<Workspace> {
        self.ids = self.ids_for(objects).await?;
        let mut ws = Workspace::new(self.ids.clone());
        ws.trace = std::mem::take(&mut self.trace);
        Ok(ws)
    }

    /// The engine's ids, or new ones if these are too few for a batch of so many objects.
    async fn ids_for(&self, objects: usize) -> StoreResult<IdBlock> {
        // Each object may project one metaverse object and provision one object in every target.
        let wanted = (objects * (1 + self.targets.len())) as i64;
        if self.ids.left() >= wanted {
            return Ok(self.ids.clone());
        }
        let count = wanted.max(IDS);
        Ok(IdBlock::new(self.store.reserve_ids(self.epoch, count).await?, count))
    }

    /// What the due source links behind `after` come to. What they add to the metaverse goes on to the targets in the
    /// same batch; what they take away may have another contributor and is left to [`Self::pairs`].
    async fn source_links(&self, after: Option<&LinkKey>) -> StoreResult<Option<SourceLinks>> {
        let due = self.store.due_links(&self.targets, after, LINK_BATCH).await?;
        self.evaluate_links(due).await
    }

    async fn evaluate_links(&self, due: Vec<DueLink>) -> StoreResult<Option<SourceLinks>> {
        let Some(last) = due.last().map(|due| due.link.key.clone()) else { return Ok(None) };
        let keys: Vec<_> = due.iter().map(|due| due.link.key.clone()).collect();
        let existing = self.store.mv_links_from(&keys).await?;
        let mut batch = links::inbound(self.rules, &due, &existing);
        let added: BTreeSet<MvPair> = batch.mv_added.iter().map(MvPair::of).collect();
        let facts = PairFacts { alive: added.clone(), ..self.pair_facts(&added).await? };
        let outbound = links::outbound(self.rules, &added, &facts);
        batch.target_written = outbound.target_written;
        batch.target_removed = outbound.target_removed;
        Ok(Some(SourceLinks { last, count: due.len() as u64, batch }))
    }

    fn missed_links(&mut self, batch: &LinkBatch) {
        if self.repairing {
            self.counters.missed.links(batch);
        }
    }

    async fn pairs(&mut self) -> StoreResult<bool> {
        let pairs = self.store.due_pairs(LINK_BATCH).await?;
        self.evaluate_pairs(pairs).await
    }

    async fn evaluate_pairs(&mut self, pairs: BTreeSet<MvPair>) -> StoreResult<bool> {
        if pairs.is_empty() {
            return Ok(false);
        }
        let alive = self.store.alive_pairs(&pairs).await?;
        let facts = PairFacts { alive, ..self.pair_facts(&pairs).await? };
        self.counters.links += pairs.len() as u64;
        let batch = links::outbound(self.rules, &pairs, &facts);
        self.missed_links(&batch);
        self.store.commit_links(self.epoch, batch).await?;
        Ok(true)
    }

    async fn target_links(&mut self) -> StoreResult<bool> {
        let due = self.store.due_target_links(&self.targets, LINK_BATCH).await?;
        self.evaluate_target_links(due).await
    }

    async fn evaluate_target_links(&mut self, due: Vec<(LinkKey, Option<MvId>, Option<MvId>)>) -> StoreResult<bool> {
        if due.is_empty() {
            return Ok(false);
        }
        let (mut pairs, mut loose) = (BTreeSet::new(), Vec::new());
        for (key, owner, target) in &due {
            if let (Some(owner), Some(target)) = (owner, target) {
                for attribute in self.metaverse_attributes(&key.attribute) {
                    pairs.insert(MvPair { owner: *owner, attribute, target: *target });
                }
            } else {
                loose.push(key.clone());
            }
        }
        let alive = self.store.alive_pairs(&pairs).await?;
        let due: Vec<LinkKey> = due.into_iter().map(|(key, ..)| key).collect();
        let count = due.len() as u64;
        let facts = PairFacts { alive, due, ..self.pair_facts(&pairs).await? };
        self.counters.links += count;
        let mut batch = links::outbound(self.rules, &pairs, &facts);
        links::unstage(self.store.link_states(&loose).await?, &mut batch);
        self.missed_links(&batch);
        self.store.commit_links(self.epoch, batch).await?;
        Ok(true)
    }

    /// What the targets hold of `pairs`; which of these are alive is left open.
    async fn pair_facts(&self, pairs: &BTreeSet<MvPair>) -> StoreResult<PairFacts> {
        let mvs: BTreeSet<MvId> = pairs.iter().flat_map(|pair| [pair.owner, pair.target]).collect();
        let mvs: Vec<MvId> = mvs.into_iter().collect();
        let ends = self.store.target_ends(&self.targets, &mvs).await?;
        let held = self.store.link_states(&links::keys(self.rules, pairs, &ends)).await?;
        let links = held.into_iter().map(|link| (link.key, link.state)).collect();
        Ok(PairFacts { ends, links, ..PairFacts::default() })
    }

    /// The metaverse attributes that flow to a reference attribute of a target.
    fn metaverse_attributes(&self, target: &super::Attribute) -> BTreeSet<super::Attribute> {
        let outbound = self.rules.rules().iter().filter(|rule| rule.direction == Direction::Outbound);
        outbound
            .flat_map(|rule| &rule.flows)
            .filter(|flow| flow.target == *target)
            .filter_map(|flow| match &flow.kind {
                FlowKind::Reference { source } => Some(source.clone()),
                _ => None,
            })
            .collect()
    }
}
