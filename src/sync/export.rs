//! Export: pending exports leave in the order that frees unique values first; every batch is recorded before it leaves.

mod only;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::attribute::{Attribute, Attributes, Value};
use super::connector::{Connector, ConnectorError, ExportChange, ExportOperation, ExportResult, LinkTarget};
use super::doubt::{PATIENCE, state_unanswered, unanswered};
use super::fault::{Fault, planted};
use super::guard::{GuardItem, GuardLedgerEntry, kind, kinds_of};
use super::lease::{HeldLease, LeaseError, Turn};
use super::problem::{Problem, ProblemCode};
use super::profile::StepKind;
use super::run::{Progress, ProgressSink};
use super::space::{ExportKind, LinkKey, LinkState, ObjectId, PendingExport, SpaceLink, SpaceObject, Unconfirmed};
use super::store::{EngineStore, EngineStoreError, ExportOutcome, Exported, LinkEnd};
use crate::identity::{Clock, ConnectorName, LeaseEpoch, Timestamp};

/// Changes per batch. A crash leaves two of them in doubt at most: one on its way, and one whose results are being written.
pub(super) const BATCH: usize = 500;
/// Batches in a row without any answer, after which a target is taken to be down.
const SILENCE: u32 = 3;
/// Links per batch.
const LINKS: usize = 5000;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Store(#[from] EngineStoreError),
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportCounters {
    pub adds: i64,
    pub updates: i64,
    pub deletes: i64,
    pub links: i64,
    pub failed: i64,
    /// Sent, and not answered: in doubt until the next run.
    pub unanswered: i64,
}

/// Staged links of a batch, by owner and attribute.
type LinksByOwner = BTreeMap<(ObjectId, super::Attribute), Vec<(LinkKey, LinkState, LinkTarget)>>;

/// Which pending exports leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    All,
    /// Those that touch these attributes: the writeback of source anchors, for which others wait.
    Touching(BTreeSet<Attribute>),
}

impl Part {
    fn admits(&self, export: &PendingExport) -> bool {
        match self {
            Self::All => true,
            Self::Touching(attributes) => export.changes.keys().any(|name| attributes.contains(name)),
        }
    }
}

/// One export run towards one target, after the guard agreed.
pub struct Exporter<'a> {
    pub store: &'a dyn EngineStore,
    pub connector: &'a dyn Connector,
    pub lease: &'a HeldLease,
    pub clock: &'a dyn Clock,
    pub part: Part,
    /// Items that pass by a release; consumed as they leave.
    pub released: BTreeSet<GuardItem>,
    pub progress: &'a ProgressSink,
    pub counters: ExportCounters,
    /// Batches in a row of which nothing was told.
    pub silence: u32,
    /// What was answered last.
    pub answered: Answered,
}

/// Answers of a target that are not recorded yet: that is done while the next batch is on its way.
#[derive(Default)]
pub struct Answered {
    exported: Vec<Exported>,
    links: Vec<(LinkKey, LinkState)>,
    entries: Vec<GuardLedgerEntry>,
}

impl Answered {
    async fn record(self, store: &dyn EngineStore, epoch: LeaseEpoch) -> Result<(), EngineStoreError> {
        let mut entries = self.entries;
        if !self.links.is_empty() {
            store.record_links(epoch, self.links, std::mem::take(&mut entries)).await?;
        }
        if !self.exported.is_empty() || !entries.is_empty() {
            store.record_exported(epoch, self.exported, entries).await?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Changes and deletes that free a unique value which another pending export claims.
    Freeing,
    AddsAndUpdates,
    Deletes,
}

impl Phase {
    /// The kinds of change that it may hold.
    const fn kinds(self) -> &'static [ExportKind] {
        match self {
            Self::Freeing => &[ExportKind::Update, ExportKind::Delete],
            Self::AddsAndUpdates => &[ExportKind::Add, ExportKind::Update],
            Self::Deletes => &[ExportKind::Delete],
        }
    }
}

impl Exporter<'_> {
    pub async fn run(&mut self) -> Result<(), ExportError> {
        let sent = self.send_all().await;
        self.settled(sent).await
    }

    /// Records what was answered, whatever the export came to.
    async fn settled(&mut self, sent: Result<(), ExportError>) -> Result<(), ExportError> {
        let recorded = std::mem::take(&mut self.answered).record(self.store, self.lease.epoch).await;
        sent?;
        Ok(recorded?)
    }

    async fn send_all(&mut self) -> Result<(), ExportError> {
        let claimed = self.claimed().await?;
        if !claimed.is_empty() {
            self.phase(Phase::Freeing, &claimed).await?;
        }
        self.phase(Phase::AddsAndUpdates, &claimed).await?;
        self.links().await?;
        self.phase(Phase::Deletes, &claimed).await
    }

    fn name(&self) -> &ConnectorName {
        self.connector.name()
    }

    fn tell_progress(&self) {
        let c = &self.counters;
        let done = (c.adds + c.updates + c.deletes + c.links).unsigned_abs();
        let step = StepKind::Export.code().to_owned();
        (self.progress)(Progress { run: 0, step, connector: self.name().to_string(), done });
    }

    fn largest_batch(&self) -> usize {
        self.connector.capabilities().largest_batch.max(1)
    }

    /// Changes per batch, of those that were sent so often without an answer.
    fn company(&self, attempts: i64) -> usize {
        let halvings = u32::try_from(attempts.clamp(0, 8)).unwrap_or(8) * 3;
        (self.largest_batch() >> halvings).max(1)
    }

    /// Sends a batch. What is not told of a change leaves it in doubt alone; a target that tells nothing at all is down. One
    /// change without an answer does not show which of both it is: the next batches do.
    async fn carry(&mut self, changes: Vec<ExportChange>) -> Result<Vec<ExportResult>, ExportError> {
        let before = std::mem::take(&mut self.answered);
        let (store, epoch) = (self.store, self.lease.epoch);
        let (carried, recorded) = tokio::join!(self.carry_alone(changes), before.record(store, epoch));
        recorded?;
        carried
    }

    async fn carry_alone(&mut self, changes: Vec<ExportChange>) -> Result<Vec<ExportResult>, ExportError> {
        let count = changes.len();
        let results = match self.connector.export(changes, &Turn::of(self.lease)).await {
            Ok(results) if results.len() == count => results,
            Ok(results) => {
                let reason = format!("{} results for {count} changes", results.len());
                return Err(ConnectorError::Refused { connector: self.name().clone(), reason }.into());
            }
            Err(ConnectorError::Unreachable { reason, .. }) if count == 1 => vec![ExportResult::Unknown { reason }],
            Err(error) => return Err(error.into()),
        };
        let mut reasons = results.iter().map(|result| match result {
            ExportResult::Unknown { reason } => Some(reason),
            ExportResult::Accepted { .. } | ExportResult::Refused { .. } => None,
        });
        let silent = match reasons.next() {
            Some(Some(reason)) if reasons.all(|reason| reason.is_some()) => Some(reason.clone()),
            Some(_) | None => None,
        };
        self.silence = if silent.is_some() { self.silence + 1 } else { 0 };
        match silent {
            Some(reason) if count > 1 || self.silence >= SILENCE => {
                Err(ConnectorError::Unreachable { connector: self.name().clone(), reason }.into())
            }
            Some(_) | None => Ok(results),
        }
    }

    /// Unique values that pending adds and updates want; none where nothing may free one.
    async fn claimed(&self) -> Result<BTreeSet<String>, ExportError> {
        if self.store.pending(self.name(), Phase::Freeing.kinds(), ObjectId(0), 1).await?.is_empty() {
            return Ok(BTreeSet::new());
        }
        let unique = self.connector.capabilities().unique;
        let (mut claimed, mut after) = (BTreeSet::new(), ObjectId(0));
        loop {
            let kinds = [ExportKind::Add, ExportKind::Update];
            let batch = self.store.pending(self.name(), &kinds, after, BATCH).await?;
            let Some(last) = batch.last() else { return Ok(claimed) };
            after = last.object;
            for export in &batch {
                let values = unique.iter().filter_map(|name| export.changes.get(name)).flatten();
                claimed.extend(values.map(|value| value.folded()));
            }
        }
    }

    async fn phase(&mut self, phase: Phase, claimed: &BTreeSet<String>) -> Result<(), ExportError> {
        let (store, name) = (self.store, self.name().clone());
        let mut next = pending(store, &name, phase, ObjectId(0)).await?;
        while let Some(last) = next.last().map(|(export, _)| export.object) {
            // No change of the next batch is one of this.
            let (sent, read) =
                tokio::join!(self.send_in_company(phase, claimed, next), pending(store, &name, phase, last));
            sent?;
            next = read?;
        }
        // Whatever comes next may ask what is at the target by now.
        self.settled(Ok(())).await
    }

    async fn send_in_company(
        &mut self,
        phase: Phase,
        claimed: &BTreeSet<String>,
        pending: Vec<(PendingExport, SpaceObject)>,
    ) -> Result<(), ExportError> {
        let mut batch = Vec::new();
        for (export, object) in pending {
            if self.part.admits(&export)
                && self.phase_of(&export, &object, claimed) == phase
                && let Some(change) = self.change(&export, &object)
            {
                batch.push((export, object, change));
            }
        }
        // What was not answered before goes last, and in ever smaller company: one change that a target chokes on must
        // not keep the others from leaving.
        batch.sort_by_key(|(export, ..)| export.attempts);
        let mut batch = batch.into_iter().peekable();
        while let Some((first, ..)) = batch.peek() {
            let (attempts, size) = (first.attempts, self.company(first.attempts));
            let next: Vec<_> =
                std::iter::from_fn(|| batch.next_if(|(export, ..)| export.attempts == attempts)).take(size).collect();
            self.send(next).await?;
        }
        Ok(())
    }

    fn phase_of(&self, export: &PendingExport, object: &SpaceObject, claimed: &BTreeSet<String>) -> Phase {
        let held = object.effective().unwrap_or_default();
        let frees = self.connector.capabilities().unique.iter().any(|name| {
            let after = match export.kind {
                ExportKind::Delete => Some([].as_slice()),
                ExportKind::Add | ExportKind::Update => export.changes.get(name).map(Vec::as_slice),
            };
            let stays =
                |value: &Value| after.is_none_or(|after| after.iter().any(|kept| kept.folded() == value.folded()));
            held.get(name).is_some_and(|values| values.iter().any(|v| !stays(v) && claimed.contains(&v.folded())))
        });
        match export.kind {
            ExportKind::Add => Phase::AddsAndUpdates,
            ExportKind::Update | ExportKind::Delete if frees => Phase::Freeing,
            ExportKind::Update => Phase::AddsAndUpdates,
            ExportKind::Delete => Phase::Deletes,
        }
    }

    async fn send(&mut self, batch: Vec<(PendingExport, SpaceObject, ExportChange)>) -> Result<(), ExportError> {
        self.lease.check()?;
        let ids: Vec<ObjectId> = batch.iter().map(|(export, ..)| export.object).collect();
        if !planted(Fault::SentUnrecorded) {
            self.store.record_sent(self.lease.epoch, &ids).await?;
        }
        let changes: Vec<ExportChange> = batch.iter().map(|(.., change)| change.clone()).collect();
        // When this fails, the batch stays recorded as sent: the next run reads it back before it resends anything.
        let results = self.carry(changes).await?;
        let (mut exported, mut ledger) = (Vec::new(), Ledger::default());
        for ((export, object, _), result) in batch.into_iter().zip(results) {
            let outcome = match result {
                ExportResult::Accepted { anchor, warning } => {
                    match export.kind {
                        ExportKind::Add => self.counters.adds += 1,
                        ExportKind::Update => self.counters.updates += 1,
                        ExportKind::Delete => self.counters.deletes += 1,
                    }
                    ledger.note_export(&self.released, &export, &object);
                    let problem = warning.map(|warning| Problem::new(ProblemCode::ExportWarning, warning));
                    let changes = merged(object.unconfirmed.as_ref(), &export);
                    ExportOutcome::Accepted { anchor, unconfirmed: changes, problem }
                }
                ExportResult::Refused { code, reason } => {
                    self.counters.failed += 1;
                    let problem = Problem::new(ProblemCode::ExportRefused, format!("{code}: {reason}"));
                    ExportOutcome::Failed { problem }
                }
                // Recorded as sent: the next run reads it back.
                ExportResult::Unknown { .. } if export.attempts + 1 < PATIENCE => {
                    self.counters.unanswered += 1;
                    continue;
                }
                ExportResult::Unknown { reason } => {
                    self.counters.failed += 1;
                    ExportOutcome::Unanswered { problem: unanswered(reason), state: state_unanswered(export.kind) }
                }
            };
            exported.push(Exported { object: export.object, outcome });
        }
        self.answered.exported.extend(exported);
        self.answered.entries.extend(ledger.entries(self.name(), self.clock.now()));
        self.tell_progress();
        Ok(())
    }

    fn change(&self, export: &PendingExport, object: &SpaceObject) -> Option<ExportChange> {
        let operation = match export.kind {
            ExportKind::Add => ExportOperation::Add { attributes: export.changes.clone() },
            ExportKind::Update => {
                ExportOperation::Update { anchor: object.anchor.clone()?, changes: export.changes.clone() }
            }
            ExportKind::Delete => ExportOperation::Delete { anchor: object.anchor.clone()? },
        };
        let identity = self.identity(object, Some(&export.changes));
        Some(ExportChange { object: export.object, object_type: object.object_type.clone(), identity, operation })
    }

    /// What the target holds of the identifying attributes, or will hold with an add.
    fn identity(&self, object: &SpaceObject, added: Option<&Attributes>) -> Attributes {
        let held = object.effective();
        let known = held.as_ref().or(added);
        let names = self.connector.capabilities().identity;
        names.into_iter().filter_map(|name| Some((name.clone(), known?.get(&name)?.clone()))).collect()
    }

    async fn links(&mut self) -> Result<(), ExportError> {
        let (store, name) = (self.store, self.name().clone());
        let mut next = store.pending_links(&name, None, LINKS).await?;
        while let Some(last) = next.last().map(|link| link.key.clone()) {
            let (sent, read) = tokio::join!(self.send_ready(next), store.pending_links(&name, Some(&last), LINKS));
            sent?;
            next = read?;
        }
        self.settled(Ok(())).await
    }

    /// Sends those of `links` of which both ends are at the target.
    async fn send_ready(&mut self, links: Vec<SpaceLink>) -> Result<(), ExportError> {
        let ends: BTreeSet<ObjectId> = links.iter().flat_map(|link| [link.key.owner, link.key.target]).collect();
        let ends: Vec<ObjectId> = ends.into_iter().collect();
        let objects: HashMap<ObjectId, LinkEnd> =
            self.store.link_ends(&ends).await?.into_iter().map(|end| (end.id, end)).collect();
        // An end that is not at the target yet, or no more, waits without failing the others.
        let there = |id: &ObjectId| objects.get(id).filter(|end| end.anchor.is_some() && end.there);
        let mut by_owner: LinksByOwner = BTreeMap::new();
        for link in links {
            if let (Some(_), Some(target)) = (there(&link.key.owner), there(&link.key.target))
                && let Some(anchor) = &target.anchor
            {
                let target =
                    LinkTarget { object_type: target.object_type.clone(), anchor: anchor.clone(), key: target.name() };
                let owner = (link.key.owner, link.key.attribute.clone());
                by_owner.entry(owner).or_default().push((link.key, link.state, target));
            }
        }
        let mut batches = VecDeque::new();
        while !by_owner.is_empty() {
            let rest = by_owner.keys().nth(self.largest_batch()).cloned().map(|key| by_owner.split_off(&key));
            batches.push_back(std::mem::replace(&mut by_owner, rest.unwrap_or_default()));
        }
        while let Some(mut batch) = batches.pop_front() {
            match self.send_links(batch.clone(), &objects).await {
                // Links may be sent twice: in halves, whatever the target chokes on is soon alone.
                Err(ExportError::Connector(ConnectorError::Unreachable { .. }))
                    if batch.len() > 1 && self.silence < SILENCE =>
                {
                    self.silence += 1;
                    let middle = batch.keys().nth(batch.len() / 2).cloned();
                    let upper = middle.map(|key| batch.split_off(&key)).unwrap_or_default();
                    batches.extend([batch, upper]);
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    async fn send_links(
        &mut self,
        by_owner: LinksByOwner,
        objects: &HashMap<ObjectId, LinkEnd>,
    ) -> Result<(), ExportError> {
        self.lease.check()?;
        let owners: BTreeSet<ObjectId> = by_owner.keys().map(|(owner, _)| *owner).collect();
        let owners: Vec<ObjectId> = owners.into_iter().collect();
        let owners: HashMap<ObjectId, SpaceObject> =
            self.store.objects(&owners).await?.into_iter().map(|object| (object.id, object)).collect();
        let mut changes = Vec::new();
        for ((owner, attribute), links) in &by_owner {
            let Some(object) = owners.get(owner) else { continue };
            let of = |state: LinkState| {
                links.iter().filter(|(_, s, _)| *s == state).map(|(.., target)| target.clone()).collect::<Vec<_>>()
            };
            changes.push(ExportChange {
                object: *owner,
                object_type: object.object_type.clone(),
                identity: self.identity(object, None),
                operation: ExportOperation::Links {
                    anchor: object.anchor.clone().unwrap_or_default(),
                    attribute: attribute.clone(),
                    add: of(LinkState::StagedAdd),
                    remove: of(LinkState::StagedDelete),
                },
            });
        }
        // Adding and removing links twice does no harm: a batch that a crash left in doubt is simply sent again.
        let results = self.carry(changes).await?;
        let (mut sent, mut failed, mut ledger) = (Vec::new(), Vec::new(), Ledger::default());
        for (((owner, _), links), result) in by_owner.into_iter().zip(results) {
            match result {
                ExportResult::Accepted { .. } => {
                    self.counters.links += links.len() as i64;
                    for (key, state, _) in links {
                        if state == LinkState::StagedDelete {
                            let name = |id: &ObjectId| objects.get(id).map(LinkEnd::name).unwrap_or_default();
                            let group = name(&key.owner);
                            let item = format!("{group} > {}", name(&key.target));
                            for kind in [kind::MEMBERSHIPS.to_owned(), kind::members_of(&group)] {
                                ledger.note(&self.released, GuardItem { kind, item: item.clone() });
                            }
                        }
                        let next =
                            if state == LinkState::StagedDelete { LinkState::SentDelete } else { LinkState::SentAdd };
                        sent.push((key, next));
                    }
                }
                ExportResult::Refused { code, reason } => {
                    self.counters.failed += 1;
                    let problem = Problem::new(ProblemCode::ExportRefused, format!("{code}: {reason}"));
                    failed.push(Exported { object: owner, outcome: ExportOutcome::Failed { problem } });
                }
                // They stay staged, and are sent again.
                ExportResult::Unknown { reason } => {
                    self.counters.failed += 1;
                    failed.push(Exported {
                        object: owner,
                        outcome: ExportOutcome::Failed { problem: unanswered(reason) },
                    });
                }
            }
        }
        self.answered.links.extend(sent);
        self.answered.exported.extend(failed);
        self.answered.entries.extend(ledger.entries(self.name(), self.clock.now()));
        self.tell_progress();
        Ok(())
    }
}

/// The next batch of pending exports of a phase's kinds, with their objects.
async fn pending(
    store: &dyn EngineStore,
    name: &ConnectorName,
    phase: Phase,
    after: ObjectId,
) -> Result<Vec<(PendingExport, SpaceObject)>, EngineStoreError> {
    let pending = store.pending(name, phase.kinds(), after, BATCH).await?;
    let ids: Vec<ObjectId> = pending.iter().map(|export| export.object).collect();
    let mut objects: HashMap<ObjectId, SpaceObject> =
        store.objects(&ids).await?.into_iter().map(|object| (object.id, object)).collect();
    Ok(pending
        .into_iter()
        .filter_map(|export| Some((objects.remove(&export.object)?, export)))
        .map(|(o, e)| (e, o))
        .collect())
}

/// The name of a target object that survives a rebuild of the engine; the store's count uses the same.
fn item_name(match_key: Option<&str>, anchor: Option<&str>) -> String {
    let key = match_key.and_then(|key| key.rsplit(['\u{1e}', '\u{1d}']).next());
    key.or(anchor).unwrap_or_default().to_owned()
}

impl LinkEnd {
    fn name(&self) -> String {
        item_name(self.match_key.as_deref(), self.anchor.as_deref())
    }
}

/// What waits for confirmation after this export: an earlier accepted change stays in it.
pub(super) fn merged(earlier: Option<&Unconfirmed>, export: &PendingExport) -> Unconfirmed {
    match (earlier, export.kind) {
        (Some(earlier), ExportKind::Update) if earlier.kind != ExportKind::Delete => {
            let mut changes = earlier.changes.clone();
            changes.extend(export.changes.clone());
            Unconfirmed { kind: earlier.kind, changes }
        }
        _ => Unconfirmed { kind: export.kind, changes: export.changes.clone() },
    }
}

/// What a batch did that the guard counts.
#[derive(Default)]
pub(super) struct Ledger {
    /// Items by kind, and whether a release let them pass.
    passed: BTreeMap<(String, bool), Vec<String>>,
}

impl Ledger {
    fn note(&mut self, released: &BTreeSet<GuardItem>, item: GuardItem) {
        let by_release = released.contains(&item);
        self.passed.entry((item.kind, by_release)).or_default().push(item.item);
    }

    pub(super) fn note_export(&mut self, released: &BTreeSet<GuardItem>, export: &PendingExport, object: &SpaceObject) {
        for kind in kinds_of(export, &object.object_type, object.effective().as_ref()) {
            let item = item_name(object.match_key.as_deref(), object.anchor.as_deref());
            self.note(released, GuardItem { kind, item });
        }
    }

    pub(super) fn entries(self, target: &ConnectorName, at: Timestamp) -> Vec<GuardLedgerEntry> {
        let entry = |((kind, released), items): ((String, bool), Vec<String>)| GuardLedgerEntry {
            target: target.clone(),
            kind,
            count: items.len() as i64,
            released,
            at,
            used: if released { items } else { Vec::new() },
        };
        self.passed.into_iter().map(entry).collect()
    }
}
