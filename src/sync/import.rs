//! Import: pages of a source directory into its connector space. Only real differences stage a pending import.
//!
//! "Seen" is a bitmap in memory. What was not seen becomes obsolete in one final step, which the caller takes only
//! after the read came to its end and the guard agreed; an aborted read obsoletes nothing.

mod confirmations;
mod contested;
mod places;
mod references;
mod removals;
mod seen;
mod staging;

use std::collections::{BTreeSet, HashMap};

use contested::Former;
use seen::Seen;

use super::change_set::ImportBatch;
use super::connector::{Capabilities, Hidden, RefusedEntry, Watermark};
use super::fault::{Fault, planted};
use super::read_ahead::ReadPage;
use super::space::{ObjectId, SpaceHead};
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

    async fn next_id(&mut self) -> StoreResult<ObjectId> {
        if let Some(id) = self.ids.take() {
            return Ok(ObjectId(id));
        }
        let first = self.store.reserve_ids(self.epoch, ID_BLOCK).await?;
        self.ids = IdBlock::new(first + 1, ID_BLOCK - 1);
        Ok(ObjectId(first))
    }
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
