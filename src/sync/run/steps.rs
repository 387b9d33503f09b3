//! The steps of a run, each recorded with what it did.

use super::cycle::{Cycle, READ_BACK, looked_at};
use super::{Progress, RunError, RunOutcome, Tick};
use crate::identity::{ConnectorName, Timestamp};
use crate::sync::confirm::{ConfirmCounters, Confirmer};
use crate::sync::connector::{Connector, ConnectorError, ImportMode, ImportRequest, Watermark};
use crate::sync::doubt::settle_doubt;
use crate::sync::export::{Answered, ExportCounters, ExportError, Exporter, Part};
use crate::sync::fault::{Fault, planted};
use crate::sync::profile::StepKind;
use crate::sync::read_ahead::ReadAhead;
use crate::sync::removal::{Removal, mark_gone};
use crate::sync::source_import::{FULL_IMPORT_EVERY, Imported, SourceImport, Start, import_target};
use crate::sync::synchronise::{self, DELTA_MISSED, Extent};

/// The mark that keeps the version of the rules by which every object was synchronised.
const SYNCHRONISED_BY: &str = "synchronised-by";

/// The steps of a removal.
const REMOVE: &str = "remove";
const DROP: &str = "drop-space";

impl Cycle<'_> {
    pub(super) async fn settle(&mut self, target: &dyn Connector) -> Result<RunOutcome, RunError> {
        let name = target.name();
        let started = self.begin(name.as_str(), READ_BACK);
        match settle_doubt(&*self.runner.store, target, &self.lease, &*self.runner.clock).await {
            Ok(0) => Ok(RunOutcome::Completed),
            Ok(settled) => {
                let counters = [("settled", settled as i64)];
                self.record(name.as_str(), READ_BACK, started, RunOutcome::Completed, &counters, None).await?;
                Ok(RunOutcome::Completed)
            }
            Err(error) => self.failed(name, READ_BACK, started, error).await,
        }
    }

    pub(super) async fn import(&mut self, source: &dyn Connector, delta: bool) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (lease, progress) = (self.lease.clone(), self.progress.clone());
        let import = SourceImport { runner, rules: self.rules, lease: &lease, progress: &progress, source };
        let start = if delta { import.start().await? } else { Start::Full };
        if let Start::Delta(since) = start {
            let began = self.begin(source.name().as_str(), StepKind::DeltaImport.code());
            match import.run(Start::Delta(since)).await {
                Err(ExportError::Connector(ConnectorError::StaleWatermark { reason, .. })) => {
                    let detail = Some(format!("{reason}; a full import follows"));
                    let kind = StepKind::DeltaImport.code();
                    self.record(source.name().as_str(), kind, began, RunOutcome::Completed, &[], detail).await?;
                }
                ended => return self.imported(source.name(), StepKind::DeltaImport, began, ended).await,
            }
        }
        let began = self.begin(source.name().as_str(), StepKind::FullImport.code());
        let ended = import.run(Start::Full).await;
        self.imported(source.name(), StepKind::FullImport, began, ended).await
    }

    async fn imported(
        &mut self,
        name: &ConnectorName,
        kind: StepKind,
        began: Timestamp,
        ended: Result<Imported, ExportError>,
    ) -> Result<RunOutcome, RunError> {
        let Imported { counters, holds, detail } = match ended {
            Ok(imported) => imported,
            Err(error) => return self.failed(name, kind.code(), began, error).await,
        };
        let outcome = if holds.is_empty() { RunOutcome::Completed } else { RunOutcome::Held };
        self.hold(&import_target(name), holds).await?;
        self.record(name.as_str(), kind.code(), began, outcome, &counters, detail).await?;
        Ok(outcome)
    }

    /// Whether the last synchronisation went by the present rules.
    pub(super) async fn same_rules(&self) -> Result<bool, RunError> {
        let by = self.runner.store.mark(SYNCHRONISED_BY).await?;
        Ok(by.is_none_or(|by| by == self.activation) || planted(Fault::RulesUnnoticed))
    }

    /// Synchronises what is due, or everything. Other rules than those of the last synchronisation concern every object.
    pub(super) async fn synchronise(&mut self, everything: bool) -> Result<(), RunError> {
        let runner = self.runner;
        let known = runner.store.mark(SYNCHRONISED_BY).await?.is_some();
        let (extent, kind) = match (everything, self.same_rules().await?) {
            (_, false) => (Extent::Full, StepKind::FullSync.code()),
            (true, true) if !known => (Extent::Full, StepKind::FullSync.code()),
            (true, true) => (Extent::Repair, StepKind::FullSync.code()),
            (false, true) => (Extent::Delta, StepKind::DeltaSync.code()),
        };
        if !known {
            // Should the first one be cut short, other rules find what it did.
            runner.store.set_mark(self.lease.epoch, SYNCHRONISED_BY, self.activation).await?;
        }
        let started = self.begin("", kind);
        let mut tick = Tick { lease: &self.lease, step: kind, progress: Some(self.progress.clone()) };
        let counters =
            synchronise::run::<RunError>(&*runner.store, self.rules, self.lease.epoch, extent, &mut tick).await?;
        let detail = counters.missed.told(&*runner.store).await?;
        let counters = [
            ("objects", counters.objects as i64),
            ("links", counters.links as i64),
            ("batches", counters.batches as i64),
            ("committed", counters.committed as i64),
            (DELTA_MISSED, counters.missed.count as i64),
        ];
        // Synchronise walks all sources; it is no connector's step.
        self.record("", kind, started, RunOutcome::Completed, &counters, detail).await?;
        Ok(runner.store.set_mark(self.lease.epoch, SYNCHRONISED_BY, self.activation).await?)
    }

    pub(super) async fn export(&mut self, target: &dyn Connector, part: Part) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (name, kind) = (target.name(), StepKind::Export.code());
        let started = self.begin(name.as_str(), kind);
        let (holds, releases) = runner.judge(&*runner.store, name).await?;
        if !releases.spent.is_empty() {
            runner.store.consume_release(self.lease.epoch, name.as_str(), &releases.spent).await?;
        }
        let held = holds
            .iter()
            .map(|hold| format!("{} {} over {}", hold.outstanding, hold.kind, hold.limit))
            .collect::<Vec<_>>();
        self.hold(name.as_str(), holds).await?;
        if !held.is_empty() {
            let detail = Some(held.join(", "));
            self.record(name.as_str(), kind, started, RunOutcome::Held, &[], detail).await?;
            return Ok(RunOutcome::Held);
        }
        self.lease.check()?;
        let mut exporter = Exporter {
            store: &*runner.store,
            connector: target,
            lease: &self.lease,
            clock: &*runner.clock,
            part,
            released: releases.standing,
            progress: &self.progress,
            counters: ExportCounters::default(),
            silence: 0,
            answered: Answered::default(),
        };
        let exported = exporter.run().await;
        let c = exporter.counters;
        self.exported += c.updates;
        if let Err(error) = exported {
            return self.failed(name, kind, started, error).await;
        }
        let counters = [
            ("adds", c.adds),
            ("updates", c.updates),
            ("deletes", c.deletes),
            ("links", c.links),
            ("failed", c.failed),
            ("unanswered", c.unanswered),
        ];
        // What was not answered is read back before the target is looked at.
        let outcome = if c.unanswered > 0 { RunOutcome::Failed } else { RunOutcome::Completed };
        // The run is carried out all the same: what was not accepted concerns its object alone, and is to be seen at once.
        let detail = (c.failed > 0).then(|| format!("{} not accepted: see `sync status`", c.failed));
        self.record(name.as_str(), kind, started, outcome, &counters, detail).await?;
        Ok(outcome)
    }

    /// Learns what a target holds: what changed there, or everything when its changes cannot be followed.
    pub(super) async fn confirm(&mut self, target: &dyn Connector) -> Result<RunOutcome, RunError> {
        let (name, kind) = (target.name(), StepKind::Confirm.code());
        if let Some(since) = self.goes_on(target).await? {
            let started = self.begin(name.as_str(), kind);
            match self.look(target, ImportMode::Delta { since }).await {
                Err(ExportError::Connector(ConnectorError::StaleWatermark { reason, .. })) => {
                    let detail = Some(format!("{reason}; everything is read"));
                    self.record(name.as_str(), kind, started, RunOutcome::Completed, &[], detail).await?;
                }
                looked => {
                    if let Ok(counters) = &looked {
                        self.remember_met(name, counters.found).await?;
                    }
                    return self.looked(name, started, looked).await;
                }
            }
        }
        let started = self.begin(name.as_str(), kind);
        let looked = self.look(target, ImportMode::Full).await;
        if let Ok(counters) = &looked {
            self.remember_found(name, counters.found).await?;
            self.runner.store.set_mark(self.lease.epoch, &looked_at(name), started.millis()).await?;
        }
        self.looked(name, started, looked).await
    }

    /// From where a delta tells what is enough for now. Targets whose deltas do not tell everything are read in full once a
    /// day.
    async fn goes_on(&self, target: &dyn Connector) -> Result<Option<Watermark>, RunError> {
        let store = &self.runner.store;
        let Some(since) = store.watermark(target.name()).await? else { return Ok(None) };
        let Some(reports) = target.delta_since(&since) else { return Ok(None) };
        if reports.complete() {
            return Ok(Some(since));
        }
        let last = store.mark(&looked_at(target.name())).await?.map(Timestamp::from_millis);
        Ok(last.filter(|last| *last + FULL_IMPORT_EVERY > self.runner.clock.now()).map(|_| since))
    }

    async fn look(&self, target: &dyn Connector, mode: ImportMode) -> Result<ConfirmCounters, ExportError> {
        let name = target.name();
        let full = mode == ImportMode::Full;
        let (store, now) = (&*self.runner.store, self.runner.clock.now());
        let mut confirmer = Confirmer::new(store, self.rules, name.clone(), self.lease.epoch, full, now);
        let wanted = self.rules.wanted(name);
        let stream = target.import(ImportRequest { mode, bases: Vec::new(), wanted }).await?;
        let mut pages = ReadAhead::start(name.clone(), stream, std::convert::identity);
        while let Some(page) = pages.next().await? {
            confirmer.page(page).await?;
            self.lease.check()?;
            let (connector, done) = (name.to_string(), confirmer.counters.read.unsigned_abs());
            (self.progress)(Progress { run: 0, step: StepKind::Confirm.code().to_owned(), connector, done });
        }
        if full {
            confirmer.finish().await?;
        }
        Ok(confirmer.counters)
    }

    async fn looked(
        &mut self,
        name: &ConnectorName,
        started: Timestamp,
        looked: Result<ConfirmCounters, ExportError>,
    ) -> Result<RunOutcome, RunError> {
        let kind = StepKind::Confirm.code();
        let c = match looked {
            Ok(counters) => counters,
            Err(error) => return self.failed(name, kind, started, error).await,
        };
        let counters = [("read", c.read), ("confirmed", c.confirmed), ("differing", c.differing), ("gone", c.gone)];
        self.record(name.as_str(), kind, started, RunOutcome::Completed, &counters, None).await?;
        Ok(RunOutcome::Completed)
    }

    /// Takes what `removal` names out of the metaverse, then drops what is left of the space.
    pub(super) async fn remove(&mut self, removal: &Removal, target: bool) -> Result<(), RunError> {
        let store = &*self.runner.store;
        let name = &removal.connector;
        if !target {
            let started = self.begin(name.as_str(), REMOVE);
            let marked = mark_gone(store, &self.lease, removal).await?;
            let counters = [("objects", marked)];
            self.record(name.as_str(), REMOVE, started, RunOutcome::Completed, &counters, None).await?;
            self.synchronise(false).await?;
        }
        if removal.object_type.is_some() {
            // A type that the settings still name is read again, and back.
            return Ok(store.forget_watermark(self.lease.epoch, name).await?);
        }
        let started = self.begin(name.as_str(), DROP);
        let left = if target { 0 } else { store.contributions(name).await? };
        if left > 0 {
            let detail = Some(format!("{left} objects are still held by the metaverse; the space is kept"));
            self.record(name.as_str(), DROP, started, RunOutcome::Failed, &[], detail).await?;
            self.worsen(RunOutcome::Failed);
            return Ok(());
        }
        store.drop_space(self.lease.epoch, name).await?;
        self.record(name.as_str(), DROP, started, RunOutcome::Completed, &[], None).await
    }
}
