//! What the engine needs of its tables. `store::engine` implements it on SQL.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::change_set::{ImportBatch, LinkBatch, MvPair, SyncBatch};
use super::connector::{Capabilities, KnownBase, Watermark};
use super::guard::{GuardItem, GuardLedgerEntry, Hold, Tally};
use super::inspection::Inspection;
use super::join_key::JoinKey;
use super::metaverse::{MvId, MvLink, MvObject};
use super::problem::{ObjectProblem, Problem};
use super::run::{NewRun, RunRecord, StepRecord};
use super::space::{
    ExportKind, ExportState, LinkKey, LinkState, ObjectId, PendingExport, SpaceHead, SpaceLink, SpaceObject,
    Unconfirmed,
};
use super::synchronise::{DueLink, FlowInUse, TargetEnds};
use crate::identity::LeaseEpoch;
use crate::identity::{ConnectorName, Timestamp};

#[derive(Debug, thiserror::Error)]
pub enum EngineStoreError {
    /// Another node holds a newer lease; nothing was written.
    #[error("the engine lease is no longer ours (epoch {epoch})")]
    LeaseLost { epoch: i64 },
    #[error("the engine's tables could not be used")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub type StoreResult<T> = Result<T, EngineStoreError>;

/// Which objects a synchronisation walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that are due.
    Due,
    All,
}

/// A walk from behind the last object seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    pub which: Which,
    pub after: ObjectId,
}

impl Walk {
    pub fn all(after: ObjectId) -> Self {
        Self { which: Which::All, after }
    }
}

/// The result of one exported change, to be recorded.
#[derive(Clone, Debug)]
pub struct Exported {
    pub object: ObjectId,
    pub outcome: ExportOutcome,
}

#[derive(Clone, Debug)]
pub enum ExportOutcome {
    Accepted {
        anchor: Option<String>,
        unconfirmed: Unconfirmed,
        problem: Option<Problem>,
    },
    Failed {
        problem: Problem,
    },
    /// Nothing is known of it, and was not for too long; it goes on from `state`.
    Unanswered {
        problem: Problem,
        state: ExportState,
    },
}

/// How the doubt about an export ends.
#[derive(Clone, Debug)]
pub enum Settlement {
    Arrived {
        anchor: Option<String>,
        unconfirmed: Unconfirmed,
    },
    /// It did not arrive, and is sent again.
    Again,
    /// The target did not tell; asked again by the next run.
    Unread,
    /// The target did not tell, for too long.
    Unanswered {
        problem: Problem,
        state: ExportState,
    },
    /// Nobody wants the object any more, and the target holds it: a delete takes the place of the export.
    Delete {
        anchor: String,
        unconfirmed: Option<Unconfirmed>,
    },
    /// Nobody wants the change any more.
    Dropped {
        at_target: Presence,
    },
}

/// Whether a target holds an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    There,
    Absent,
}

/// An object of a target space as the end of a link.
#[derive(Clone, Debug)]
pub struct LinkEnd {
    pub id: ObjectId,
    pub object_type: String,
    pub anchor: Option<String>,
    pub match_key: Option<String>,
    /// The target holds it, once all accepted exports are confirmed.
    pub there: bool,
}

/// A group that a scope names, and that was found.
#[derive(Clone, Debug)]
pub struct KeptGroup {
    pub connector: ConnectorName,
    /// As the rules write it, folded.
    pub named: String,
    pub anchor: String,
    pub group: ObjectId,
}

/// What a confirming import shows of one object of a target space.
#[derive(Clone, Debug)]
pub struct Confirmed {
    pub object: SpaceObject,
    /// The space did not know it.
    pub inserted: bool,
    /// Links shown, when the page carries them.
    pub links: Vec<(LinkKey, LinkChange)>,
    pub problem: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    Write(LinkState),
    Remove,
    /// Write, and let the link pass look at it.
    Doubt(LinkState),
}

/// The engine's tables, by role. Every write carries the epoch of the lease and is refused when a newer one has written.
#[async_trait::async_trait]
pub trait EngineStore:
    Spaces + Synchronisation + Links + Exports + Claims + Holds + Runs + KnownConnectors + Inspection
{
    /// A view whose writes are seen by its own reads alone, and vanish with it.
    async fn scratch(&self) -> StoreResult<Arc<dyn EngineStore>>;

    /// The first of `count` new ids.
    async fn reserve_ids(&self, epoch: LeaseEpoch, count: i64) -> StoreResult<i64>;

    /// All state without engine ids and times, as sorted text lines: two engines in the same state print the same.
    async fn dump(&self) -> StoreResult<String>;
}

/// What import reads and writes.
#[async_trait::async_trait]
pub trait Spaces: Send + Sync {
    async fn heads_by_anchor(&self, connector: &ConnectorName, anchors: &[String]) -> StoreResult<Vec<SpaceHead>>;
    async fn heads_by_place(&self, connector: &ConnectorName, places: &[String]) -> StoreResult<Vec<SpaceHead>>;
    /// Objects of a target space by match key.
    async fn ids_by_match_key(
        &self,
        connector: &ConnectorName,
        keys: &[JoinKey],
    ) -> StoreResult<Vec<(JoinKey, ObjectId)>>;
    /// Imported objects and containers in id order, for obsolescence.
    async fn heads_after(
        &self,
        connector: &ConnectorName,
        after: ObjectId,
        limit: usize,
    ) -> StoreResult<Vec<SpaceHead>>;
    /// Imported objects by type.
    async fn population(&self, connector: &ConnectorName) -> StoreResult<Vec<(String, i64)>>;
    async fn links_of(&self, owners: &[ObjectId]) -> StoreResult<Vec<SpaceLink>>;
    async fn watermark(&self, connector: &ConnectorName) -> StoreResult<Option<Watermark>>;
    async fn bases(&self, connector: &ConnectorName) -> StoreResult<Vec<KnownBase>>;
    /// The objects that refer to these.
    async fn referrers(&self, targets: &[ObjectId]) -> StoreResult<Vec<ObjectId>>;
    /// Objects and containers that must be read again, in id order.
    async fn stale(&self, connector: &ConnectorName, limit: usize) -> StoreResult<Vec<SpaceHead>>;
    /// The objects and containers of these subtrees, their tops included, that are not on their way out.
    async fn below(&self, tops: &[ObjectId]) -> StoreResult<Vec<ObjectId>>;
    async fn commit_import(&self, epoch: LeaseEpoch, batch: ImportBatch) -> StoreResult<()>;
    /// Drops placeholders that nothing refers to.
    async fn sweep(&self, epoch: LeaseEpoch) -> StoreResult<()>;
}

/// The read sets of synchronise, and its commit.
#[async_trait::async_trait]
pub trait Synchronisation: Send + Sync {
    async fn walk(&self, connector: &ConnectorName, walk: Walk, limit: usize) -> StoreResult<Vec<SpaceObject>>;
    async fn objects(&self, ids: &[ObjectId]) -> StoreResult<Vec<SpaceObject>>;
    /// The objects of these metaverse objects.
    async fn members(&self, mvs: &[MvId]) -> StoreResult<Vec<SpaceObject>> {
        self.further_members(mvs, &HashSet::new()).await
    }
    /// The same but for those that are `known`.
    async fn further_members(&self, mvs: &[MvId], known: &HashSet<ObjectId>) -> StoreResult<Vec<SpaceObject>>;
    async fn metaverse(&self, ids: &[MvId]) -> StoreResult<Vec<MvObject>>;
    async fn due_metaverse(&self, limit: usize) -> StoreResult<Vec<MvId>>;
    /// Makes due whose rules may say something else by now; without a time, all whose rules ask for the time.
    async fn review(&self, epoch: LeaseEpoch, until: Option<Timestamp>) -> StoreResult<()>;
    async fn by_join_key(&self, keys: &[JoinKey]) -> StoreResult<Vec<(JoinKey, MvId)>>;
    /// Objects of a target space that no metaverse object holds.
    async fn adoptable(&self, connector: &ConnectorName, keys: &[JoinKey]) -> StoreResult<Vec<SpaceObject>>;
    async fn staged(&self, objects: &[ObjectId]) -> StoreResult<Vec<PendingExport>>;
    async fn waits(&self, objects: &[ObjectId]) -> StoreResult<Vec<(ObjectId, JoinKey)>>;
    async fn problems(&self, objects: &[ObjectId]) -> StoreResult<Vec<(ObjectId, Problem)>>;
    /// The groups that scopes name, found before: folded names and anchors.
    async fn kept_groups(&self, connector: &ConnectorName) -> StoreResult<Vec<(String, String)>>;
    /// Keeps the groups that were `found` now, and makes due all their members, and of the other `groups` who came or left.
    async fn follow_groups(&self, epoch: LeaseEpoch, found: Vec<KeptGroup>, groups: &[ObjectId]) -> StoreResult<()>;
    /// Who of `members` is in which of `groups`.
    async fn memberships(&self, groups: &[ObjectId], members: &[ObjectId]) -> StoreResult<Vec<(ObjectId, ObjectId)>>;
    async fn commit_sync(&self, epoch: LeaseEpoch, batch: SyncBatch, targets: &[ConnectorName]) -> StoreResult<()>;
}

/// The read sets of the link passes, and their commit.
#[async_trait::async_trait]
pub trait Links: Send + Sync {
    /// Marks as due what a full synchronisation finds out of step; counted.
    async fn compare_links(&self, epoch: LeaseEpoch, targets: &[ConnectorName]) -> StoreResult<()>;
    /// The flows that made the links of the metaverse and of the targets, each once.
    async fn flows_in_use(&self, targets: &[ConnectorName]) -> StoreResult<Vec<FlowInUse>>;
    /// Marks as due what such flows made.
    async fn end_flows(&self, epoch: LeaseEpoch, targets: &[ConnectorName], ended: &[FlowInUse]) -> StoreResult<()>;
    /// Due links of source spaces in the order of their keys, behind `after`.
    async fn due_links(
        &self,
        targets: &[ConnectorName],
        after: Option<&LinkKey>,
        limit: usize,
    ) -> StoreResult<Vec<DueLink>>;
    async fn mv_links_from(&self, links: &[LinkKey]) -> StoreResult<Vec<MvLink>>;
    async fn due_pairs(&self, limit: usize) -> StoreResult<BTreeSet<MvPair>>;
    /// Due links of target spaces with the metaverse objects of their ends.
    async fn due_target_links(
        &self,
        targets: &[ConnectorName],
        limit: usize,
    ) -> StoreResult<Vec<(LinkKey, Option<MvId>, Option<MvId>)>>;
    /// Those of `pairs` that some contributor makes.
    async fn alive_pairs(&self, pairs: &BTreeSet<MvPair>) -> StoreResult<BTreeSet<MvPair>>;
    /// The target objects of metaverse objects.
    async fn target_ends(&self, targets: &[ConnectorName], mvs: &[MvId]) -> StoreResult<TargetEnds>;
    async fn commit_links(&self, epoch: LeaseEpoch, batch: LinkBatch) -> StoreResult<()>;
}

/// Pending exports on their way out, and their confirmation.
#[async_trait::async_trait]
pub trait Exports: Send + Sync {
    /// Pending exports of a target of these kinds in id order, behind `after`.
    async fn pending(
        &self,
        connector: &ConnectorName,
        kinds: &[ExportKind],
        after: ObjectId,
        limit: usize,
    ) -> StoreResult<Vec<PendingExport>>;
    async fn pending_links(
        &self,
        connector: &ConnectorName,
        after: Option<&LinkKey>,
        limit: usize,
    ) -> StoreResult<Vec<SpaceLink>>;
    /// Records that a batch is about to leave.
    async fn record_sent(&self, epoch: LeaseEpoch, objects: &[ObjectId]) -> StoreResult<()>;
    async fn record_exported(
        &self,
        epoch: LeaseEpoch,
        results: Vec<Exported>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()>;
    async fn record_links(
        &self,
        epoch: LeaseEpoch,
        links: Vec<(LinkKey, LinkState)>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()>;
    /// Turns what a crash left as sent into doubt; returns how many.
    async fn doubt_sent(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<i64>;
    async fn in_doubt(&self, connector: &ConnectorName) -> StoreResult<Vec<PendingExport>>;
    async fn settle_doubt(
        &self,
        epoch: LeaseEpoch,
        settled: Vec<(ObjectId, Settlement)>,
        ledger: Vec<GuardLedgerEntry>,
    ) -> StoreResult<()>;
    /// What stands at the ends of links.
    async fn link_ends(&self, ids: &[ObjectId]) -> StoreResult<Vec<LinkEnd>>;
    async fn link_states(&self, links: &[LinkKey]) -> StoreResult<Vec<SpaceLink>>;
    async fn confirm_links(&self, epoch: LeaseEpoch, links: Vec<(LinkKey, LinkChange)>) -> StoreResult<()>;
    async fn confirm(
        &self,
        epoch: LeaseEpoch,
        confirmed: Vec<Confirmed>,
        watermark: Option<(ConnectorName, Watermark)>,
    ) -> StoreResult<()>;
    /// Objects of a target space that are gone there.
    async fn confirm_gone(&self, epoch: LeaseEpoch, objects: &[ObjectId]) -> StoreResult<()>;
}

/// Who claims what targets hold.
#[async_trait::async_trait]
pub trait Claims: Send + Sync {
    /// Objects that a target shows, that no metaverse object holds and for which nothing is staged, in id order behind `after`.
    async fn unclaimed(&self, target: &ConnectorName, after: ObjectId, limit: usize) -> StoreResult<Vec<SpaceObject>>;
    /// Whether there are such objects of which the time is known at which they were found, up to `until`.
    async fn unclaimed_until(&self, target: &ConnectorName, until: Timestamp) -> StoreResult<bool>;
    /// How many objects of these sources no metaverse object holds because something is wrong with them.
    async fn doubtful_claims(&self, sources: &[ConnectorName]) -> StoreResult<i64>;
}

/// The guard's memory.
#[async_trait::async_trait]
pub trait Holds: Send + Sync {
    /// What would change, and what has changed since then. Of populations, those of single groups alone.
    async fn tally(&self, connector: &ConnectorName, since: Timestamp) -> StoreResult<Tally>;
    /// What these shares are taken of: as [`Tally::population`] has them, and perhaps more.
    async fn populations(&self, connector: &ConnectorName, of: &BTreeSet<&str>) -> StoreResult<BTreeMap<String, i64>>;
    async fn holds(&self) -> StoreResult<Vec<Hold>>;
    async fn put_holds(&self, epoch: LeaseEpoch, target: &str, holds: Vec<Hold>) -> StoreResult<()>;
    /// Lets exactly these items pass, once.
    async fn release(
        &self,
        epoch: LeaseEpoch,
        target: &str,
        items: Vec<GuardItem>,
        by: &str,
        at: Timestamp,
    ) -> StoreResult<()>;
    /// What was released and has not passed yet, with the time of the release.
    async fn released(&self, target: &str) -> StoreResult<BTreeMap<GuardItem, Timestamp>>;
    async fn consume_release(&self, epoch: LeaseEpoch, target: &str, items: &[GuardItem]) -> StoreResult<()>;
}

/// Runs, steps, problems and figures, for status.
#[async_trait::async_trait]
pub trait Runs: Send + Sync {
    /// A number that the engine keeps under a name: when something was done last, or up to which version.
    async fn mark(&self, name: &str) -> StoreResult<Option<i64>>;
    async fn set_mark(&self, epoch: LeaseEpoch, name: &str, value: i64) -> StoreResult<()>;
    /// The number of the new run.
    async fn begin_run(&self, epoch: LeaseEpoch, run: &NewRun) -> StoreResult<i64>;
    async fn end_run(&self, epoch: LeaseEpoch, run: &RunRecord) -> StoreResult<()>;
    async fn record_step(&self, epoch: LeaseEpoch, run: i64, step: &StepRecord) -> StoreResult<()>;
    /// Forgets the runs that began before `before`, but not the newest one.
    async fn purge_runs(&self, epoch: LeaseEpoch, before: Timestamp) -> StoreResult<()>;
    async fn one_run(&self, number: i64) -> StoreResult<Option<(RunRecord, Vec<StepRecord>)>>;
    /// The newest runs, newest first.
    async fn last_runs(&self, limit: usize) -> StoreResult<Vec<(RunRecord, Vec<StepRecord>)>>;
    async fn all_problems(&self, limit: usize) -> StoreResult<Vec<ObjectProblem>>;
    /// Objects and pending exports by connector, for status.
    async fn figures(&self, connector: &ConnectorName) -> StoreResult<Figures>;
}

/// Connectors by their spaces, which outlast an absence from the settings.
#[async_trait::async_trait]
pub trait KnownConnectors: Send + Sync {
    /// Those that have run and were not removed, in the order that breaks ties.
    async fn known_connectors(&self) -> StoreResult<Vec<(ConnectorName, Capabilities)>>;
    /// Replaces them.
    async fn put_known_connectors(
        &self,
        epoch: LeaseEpoch,
        connectors: &[(ConnectorName, Capabilities)],
    ) -> StoreResult<()>;
    /// Objects of the space that a metaverse object holds.
    async fn contributions(&self, connector: &ConnectorName) -> StoreResult<i64>;
    /// The next import of the connector is full.
    async fn forget_watermark(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<()>;
    /// Drops a space, and all that is kept under the connector's name.
    async fn drop_space(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<()>;
}

/// Counts of one connector space.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    pub objects: i64,
    pub containers: i64,
    pub joined: i64,
    pub links: i64,
    pub pending_adds: i64,
    pub pending_updates: i64,
    pub pending_deletes: i64,
    pub pending_links: i64,
    pub failed: i64,
}
