//! The import step of one source: a delta where one goes on, else everything; then what the read made stale is read again.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::connector::{Connector, ConnectorError, DeltaReports, ImportMode, ImportRequest, Watermark};
use super::export::ExportError;
use super::fault::{Fault, planted};
use super::guard::{GuardItem, Hold, Releases, Tally, kind};
use super::import::{Coverage, FormerRead, Importer};
use super::lease::HeldLease;
use super::profile::StepKind;
use super::read_ahead::{Counted, ReadAhead, ReadPage};
use super::rule::RuleSet;
use super::run::{Progress, ProgressSink, Runner};
use super::space::{ObjectId, ObjectKind};
use super::store::{EngineStore, StoreResult};
use crate::identity::{ConnectorName, Timestamp};

/// Full imports of sources whose deltas do not tell everything are at most this far apart.
pub const FULL_IMPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How soon a full import that was due and left somebody in doubt is tried again.
const DOUBTFUL_AGAIN: Duration = Duration::from_secs(3600);

/// How long replicas of a directory are given to hear from each other before a full import repeats one that met another
/// server than before: the longest usual interval between sites is three hours, within a site it is seconds.
pub const ELSEWHERE_AGAIN: Duration = Duration::from_secs(3 * 3600);

/// Objects that are read again at a time.
const STALE_AT_ONCE: usize = 1000;
/// Rounds of reading again: what a round makes stale by its own findings is read by the next one.
const ROUNDS: usize = 8;

/// How an import begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Delta(Watermark),
    Full,
}

/// What became of an import.
pub struct Imported {
    pub counters: Vec<(&'static str, i64)>,
    /// Not empty: what is no longer shown was not removed.
    pub holds: Vec<Hold>,
    pub detail: Option<String>,
}

/// How far a source can be followed by deltas.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportOutlook {
    /// What the next delta would tell; `None`: the next import is full.
    pub delta: Option<DeltaReports>,
    pub last_full: Option<Timestamp>,
    /// When the next cycle imports everything, because deltas do not tell everything, or because the last full import met
    /// another server than before.
    pub full_due: Option<Timestamp>,
    /// The last full import met another server than before: who was not shown there is looked for once more, by the full
    /// import that is due.
    pub another_server: bool,
}

impl DeltaReports {
    pub fn complete(self) -> bool {
        self.deletes && self.moves && self.filter_exits
    }
}

/// What the next delta import of a source would tell, and when everything is read again.
pub async fn outlook(store: &dyn EngineStore, source: &dyn Connector) -> StoreResult<ImportOutlook> {
    let last_full = store.mark(&full_import_mark(source.name())).await?.map(Timestamp::from_millis);
    let watermark = store.watermark(source.name()).await?;
    let delta = watermark.and_then(|watermark| source.delta_since(&watermark));
    let elsewhere = elsewhere(store, source.name()).await?;
    let full_due = match (delta, elsewhere, last_full) {
        (Some(_), Some(read), _) => Some(read + ELSEWHERE_AGAIN),
        (Some(reports), None, Some(last)) if !reports.complete() => Some(last + FULL_IMPORT_EVERY),
        _ => None,
    };
    Ok(ImportOutlook { delta, last_full, full_due, another_server: elsewhere.is_some() })
}

/// When a full import met another server than before, if none has come to its end since.
async fn elsewhere(store: &dyn EngineStore, connector: &ConnectorName) -> StoreResult<Option<Timestamp>> {
    let last = store.mark(&full_import_mark(connector)).await?;
    let elsewhere = store.mark(&elsewhere_mark(connector)).await?;
    // In one instant the one that met another server is the later one: it is none that comes to its end.
    Ok(elsewhere.filter(|read| last.is_none_or(|last| last <= *read)).map(Timestamp::from_millis))
}

/// The mark of what was counted when everything was read last: what is to be counted else is known by a full import.
fn counted_mark(connector: &ConnectorName) -> String {
    format!("counted:{connector}")
}

fn digest(counted: &Counted) -> i64 {
    let mut sha = Sha256::new();
    for (of, names) in counted {
        for name in names {
            sha.update(format!("{of}:{};", name.as_str().to_ascii_lowercase()));
        }
    }
    let digest = sha.finalize();
    i64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

/// The mark of the last full import that came to its end, by when it began.
pub(super) fn full_import_mark(connector: &ConnectorName) -> String {
    format!("full-import:{connector}")
}

/// The mark of the last full import that left somebody in doubt, by when it began: it is none that is done.
fn doubtful_mark(connector: &ConnectorName) -> String {
    format!("doubtful-import:{connector}")
}

/// The mark of the last full import that met another server than before, by when it began: who was not shown there is to be
/// looked for once more.
fn elsewhere_mark(connector: &ConnectorName) -> String {
    format!("elsewhere-import:{connector}")
}

/// The mark of how many entries the last full import could not take.
pub(super) fn refused_mark(connector: &ConnectorName) -> String {
    format!("refused:{connector}")
}

/// One import of one source.
pub(super) struct SourceImport<'a> {
    pub runner: &'a Runner,
    pub rules: &'a RuleSet,
    pub lease: &'a HeldLease,
    pub progress: &'a ProgressSink,
    pub source: &'a dyn Connector,
}

impl SourceImport<'_> {
    /// Whether a delta can go on, and is enough for now.
    pub async fn start(&self) -> StoreResult<Start> {
        let store = &*self.runner.store;
        let Some(watermark) = store.watermark(self.source.name()).await? else { return Ok(Start::Full) };
        let Some(reports) = self.source.delta_since(&watermark) else { return Ok(Start::Full) };
        let counted = self.rules.counted(self.source.name());
        if !counted.is_empty() && store.mark(&counted_mark(self.source.name())).await? != Some(digest(&counted)) {
            return Ok(Start::Full);
        }
        let last = store.mark(&full_import_mark(self.source.name())).await?.map(Timestamp::from_millis);
        let now = self.runner.clock.now();
        let elsewhere = elsewhere(store, self.source.name()).await?;
        if elsewhere.is_some_and(|read| read + ELSEWHERE_AGAIN <= now) {
            return Ok(Start::Full);
        }
        if !reports.complete() {
            let doubtful = store.mark(&doubtful_mark(self.source.name())).await?.map(Timestamp::from_millis);
            let tried = elsewhere.is_some() || doubtful.is_some_and(|tried| tried + DOUBTFUL_AGAIN > now);
            if !tried && last.is_none_or(|last| last + FULL_IMPORT_EVERY <= now) {
                return Ok(Start::Full);
            }
        }
        Ok(Start::Delta(watermark))
    }

    pub async fn run(&self, start: Start) -> Result<Imported, ExportError> {
        let store = &*self.runner.store;
        let name = self.source.name();
        let began = self.runner.clock.now();
        let (mode, coverage) = match start {
            Start::Full => (ImportMode::Full, Coverage::Full),
            Start::Delta(since) => (ImportMode::Delta { since }, Coverage::Delta),
        };
        let capabilities = self.source.capabilities();
        let server = store.watermark(name).await?.map(|watermark| watermark.server).filter(|server| !server.is_empty());
        let is_settling = elsewhere(store, name).await?.is_some_and(|read| read + ELSEWHERE_AGAIN > began);
        let mut importer = Importer::new(store, name.clone(), self.lease.epoch, coverage)
            .confirming(capabilities.clone())
            .after(FormerRead { server, is_settling });
        let read = self.read(mode, &mut importer).await;
        if !planted(Fault::SweepAfterAbort) {
            read?;
        }
        importer.finish().await?;
        let mut holds = Vec::new();
        let mut unseen = 0;
        if importer.sweeps() {
            (holds, unseen) = self.sweep(&mut importer).await?;
        }
        let (may_lag, elsewhere) = (importer.may_lag(), importer.met_another_server());
        if elsewhere {
            store.set_mark(self.lease.epoch, &elsewhere_mark(name), began.millis()).await?;
        }
        if holds.is_empty() {
            importer.settle().await?;
            if coverage == Coverage::Full && importer.is_doubtful() {
                store.set_mark(self.lease.epoch, &doubtful_mark(name), began.millis()).await?;
            } else if coverage == Coverage::Full && !may_lag {
                let refused = importer.counters.refused as i64;
                store.set_mark(self.lease.epoch, &refused_mark(name), refused).await?;
                store.set_mark(self.lease.epoch, &full_import_mark(name), began.millis()).await?;
                store.set_mark(self.lease.epoch, &counted_mark(name), digest(&self.rules.counted(name))).await?;
            }
            self.read_stale(&mut importer).await?;
        }
        let told = (!importer.refused.is_empty()).then(|| importer.refused.join("; "));
        if elsewhere {
            tracing::warn!(connector = %name, "another server of the directory was read than before: nobody is deleted for not being shown there, until it is read again in three hours");
        }
        let detail = match (holds.is_empty(), importer.is_doubtful()) {
            (false, _) => Some(format!("{unseen} objects are no longer shown; nothing is concluded from it")),
            (true, true) => {
                let doubt = "entries could not be read that may be anybody: nobody who was not shown is deleted, and this is \
                             no complete read";
                Some(told.map_or(doubt.to_owned(), |told| format!("{doubt}: {told}")))
            }
            (true, false) if may_lag => {
                let other = "another server is read than before, which may lag behind: nobody is deleted for not being shown \
                             before three hours have passed";
                Some(told.map_or(other.to_owned(), |told| format!("{other}; {told}")))
            }
            (true, false) => told,
        };
        let c = &importer.counters;
        let obsolete = if holds.is_empty() { c.obsolete as i64 } else { unseen as i64 };
        let counters = vec![
            ("read", c.read as i64),
            ("added", c.added as i64),
            ("updated", c.updated as i64),
            ("unchanged", c.unchanged as i64),
            ("obsolete", obsolete),
            ("refused", c.refused as i64),
        ];
        Ok(Imported { counters, holds, detail })
    }

    async fn read(&self, mode: ImportMode, importer: &mut Importer<'_>) -> Result<(), ExportError> {
        let name = self.source.name();
        let step = match &mode {
            ImportMode::Full => StepKind::FullImport.code(),
            ImportMode::Delta { .. } | ImportMode::Selected { .. } => StepKind::DeltaImport.code(),
        };
        let bases = self.runner.store.bases(name).await?;
        let request = ImportRequest { mode, bases, wanted: self.rules.wanted(name) };
        let counted = self.rules.counted(name);
        let stream = self.source.import(request).await?;
        let mut pages = ReadAhead::start(name.clone(), stream, move |page| ReadPage::of(page, &counted));
        while let Some(page) = pages.next().await? {
            importer.page(page).await?;
            self.lease.check()?;
            (self.progress)(Progress {
                run: 0,
                step: step.into(),
                connector: name.to_string(),
                done: importer.counters.read,
            });
        }
        Ok(())
    }

    /// Removes what a read that named everything did not name, if the guard agrees; returns the holds and how much it is.
    async fn sweep(&self, importer: &mut Importer<'_>) -> Result<(Vec<Hold>, usize), ExportError> {
        let store = &*self.runner.store;
        let name = self.source.name();
        let population = store.population(name).await?;
        let unseen = importer.unseen().await?;
        let nothing = importer.counters.read == 0 && importer.coverage() == Coverage::Full;
        // Where the engine's own state was lost, what it once showed is known from the targets alone.
        let showed = population.iter().any(|(_, count)| *count > 0);
        if nothing && (showed || !self.runner.found().await?.is_empty()) {
            let reason = "the directory showed nothing".to_owned();
            return Err(ConnectorError::Aborted { connector: name.clone(), reason }.into());
        }
        let target = import_target(name);
        let items = unseen
            .iter()
            .map(|object| GuardItem { kind: kind::obsolete(&object.object_type), item: object.anchor.clone() });
        let tally =
            Tally { items: items.collect(), population: population.into_iter().collect(), exported: BTreeMap::new() };
        let now = self.runner.clock.now();
        let Releases { standing, spent: mut used } = Releases::of(store.released(&target).await?, &tally, now);
        let holds = self.runner.guard.judge(&target, &tally, &standing, now);
        if holds.is_empty() {
            importer.obsolete(&unseen).await?;
            used.extend(standing);
        }
        if !used.is_empty() {
            store.consume_release(self.lease.epoch, &target, &used).await?;
        }
        Ok((holds, unseen.len()))
    }

    /// Reads again whom a move left with references that mean others now, and what lies below containers that came into
    /// the space. What is stale is so in the store: a run that ends before this leaves it to the next one.
    async fn read_stale(&self, importer: &mut Importer<'_>) -> Result<(), ExportError> {
        let store = &*self.runner.store;
        let name = self.source.name();
        if !self.source.capabilities().selected_import {
            return Ok(());
        }
        let mut before: Vec<ObjectId> = Vec::new();
        for _ in 0..ROUNDS {
            let stale = store.stale(name, STALE_AT_ONCE).await?;
            let ids: Vec<ObjectId> = stale.iter().map(|head| head.id).collect();
            if ids.is_empty() || ids == before {
                return Ok(());
            }
            before = ids;
            // Without a watermark every import is full, and compares them anew.
            let Some(at) = store.watermark(name).await? else { return Ok(()) };
            let anchors = |kind: ObjectKind| -> Vec<String> {
                stale.iter().filter(|head| head.kind == kind).filter_map(|head| head.anchor.clone()).collect()
            };
            let mode = ImportMode::Selected {
                at,
                objects: anchors(ObjectKind::Object),
                subtrees: anchors(ObjectKind::Container),
            };
            let selected = Importer::new(store, name.clone(), self.lease.epoch, Coverage::Selected);
            let mut selected = selected.confirming(self.source.capabilities());
            self.read(mode, &mut selected).await?;
            importer.counters.add(&selected.counters);
        }
        Ok(())
    }
}

/// What holds of an import are kept under.
pub(super) fn import_target(connector: &ConnectorName) -> String {
    format!("import:{connector}")
}
