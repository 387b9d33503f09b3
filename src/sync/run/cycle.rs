//! One run: takes the steps of its profile, and records each.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Progress, ProgressSink, RunError, RunOutcome, Runner, StepRecord, TENANT_KIND, Work};
use crate::identity::{ConnectorName, Timestamp};
use crate::sync::connector::{Connector, ConnectorError, ImportMode, ImportRequest};
use crate::sync::export::{ExportError, Part};
use crate::sync::fault::{Fault, planted};
use crate::sync::guard::Hold;
use crate::sync::lease::{HeldLease, LeaseError};
use crate::sync::maintenance::{HeldBack, open_windows};
use crate::sync::profile::{RunProfile, Step, StepKind};
use crate::sync::rule::RuleSet;

/// The step before those of the profile.
pub(super) const READ_BACK: &str = "read-back";

/// The mark of a target's first import.
pub(in crate::sync) fn looked_at(target: &ConnectorName) -> String {
    format!("full-import:{target}")
}

/// A run under way.
pub(super) struct Cycle<'a> {
    pub runner: &'a Runner,
    pub rules: &'a RuleSet,
    pub lease: HeldLease,
    /// The version of the rules.
    pub activation: i64,
    pub progress: ProgressSink,
    run: i64,
    anyway: bool,
    outcome: RunOutcome,
    /// An import lost too much.
    import_held: bool,
    /// Sources that were read to their end.
    pub(super) imported: BTreeSet<ConnectorName>,
    /// Targets that could not be exported to: what is in doubt there is read back first, by the next run.
    failed_exports: BTreeSet<ConnectorName>,
    /// Updates that were accepted so far.
    pub exported: i64,
    doing: Option<Doing>,
    steps: Vec<StepRecord>,
}

/// A step that has begun and is not recorded yet.
struct Doing {
    connector: String,
    kind: &'static str,
    since: Timestamp,
}

/// Whether a run goes on after a step.
#[derive(PartialEq, Eq)]
enum Next {
    Step,
    End,
}

impl<'a> Cycle<'a> {
    pub fn new(
        runner: &'a Runner,
        rules: &'a RuleSet,
        lease: HeldLease,
        run: i64,
        activation: i64,
        progress: ProgressSink,
    ) -> Self {
        Self {
            runner,
            rules,
            lease,
            activation,
            progress,
            run,
            anyway: false,
            outcome: RunOutcome::Completed,
            import_held: false,
            imported: BTreeSet::new(),
            failed_exports: BTreeSet::new(),
            exported: 0,
            doing: None,
            steps: Vec::new(),
        }
    }

    pub fn into_steps(self) -> Vec<StepRecord> {
        self.steps
    }

    pub async fn run(&mut self, work: Work<'_>) -> Result<RunOutcome, RunError> {
        let ended = match work {
            Work::Profile { profile, anyway } => {
                self.anyway = anyway;
                self.take_all(profile).await
            }
            Work::Removal { removal, target } => self.remove(removal, target).await,
        };
        if let (Err(RunError::Lease(LeaseError::Cancelled)), Some(doing)) = (&ended, self.doing.take()) {
            self.record(&doing.connector, doing.kind, doing.since, RunOutcome::Cancelled, &[], None).await?;
        }
        ended.map(|()| self.outcome)
    }

    async fn take_all(&mut self, profile: &RunProfile) -> Result<(), RunError> {
        // What a run that was cut off left in doubt is told apart before anything is concluded or sent.
        for written in self.targets(None).into_iter().chain(self.written_back(None)) {
            let settled = self.settle(&*written).await?;
            self.worsen(settled);
        }
        let concludes = |step: &Step| matches!(step.kind, StepKind::DeltaSync | StepKind::FullSync);
        if profile.steps().iter().any(concludes) {
            // What a target that is not known holds tells how the sources are to be read.
            for target in self.targets(None) {
                if self.is_unknown(&*target).await? {
                    let confirmed = self.confirm(&*target).await?;
                    self.worsen(confirmed);
                }
            }
        }
        for step in profile.steps() {
            self.lease.check()?;
            if self.take(step).await? == Next::End {
                break;
            }
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step) -> Result<Next, RunError> {
        let named = step.connector.as_ref();
        match step.kind {
            StepKind::DeltaImport | StepKind::FullImport => {
                for source in self.sources(named) {
                    let imported = self.import(&*source, step.kind == StepKind::DeltaImport).await?;
                    self.import_held |= imported == RunOutcome::Held;
                    if imported == RunOutcome::Completed {
                        self.imported.insert(source.name().clone());
                    }
                    self.worsen(imported);
                }
            }
            // A directory that lost too much is looked at before anything is concluded from it.
            StepKind::DeltaSync | StepKind::FullSync if self.import_held => return Ok(Next::End),
            StepKind::DeltaSync | StepKind::FullSync => {
                let other_rules = !self.same_rules().await?;
                for target in self.targets(None) {
                    // Other rules may make anchors that were migrated in the target.
                    if other_rules || self.is_unknown(&*target).await? {
                        let confirmed = self.confirm(&*target).await?;
                        self.worsen(confirmed);
                    }
                }
                self.synchronise(step.kind == StepKind::FullSync).await?;
                if planted(Fault::StagingExports) {
                    self.export_in_order(None).await?;
                }
                self.claim().await?;
            }
            StepKind::Export => match self.deferred().await? {
                Some(reason) => {
                    for written in self.targets(named).into_iter().chain(self.written_back(named)) {
                        self.defer(written.name(), &reason).await?;
                    }
                }
                None => self.export_in_order(named).await?,
            },
            StepKind::Confirm => {
                for target in self.targets(named) {
                    if !self.failed_exports.contains(target.name()) {
                        let confirmed = self.confirm(&*target).await?;
                        self.worsen(confirmed);
                    }
                }
            }
        }
        Ok(Next::Step)
    }

    /// Source anchors that are kept in the sources themselves, for which targets wait; targets; whatever else is written
    /// back. Imports confirm what was written back.
    async fn export_in_order(&mut self, named: Option<&ConnectorName>) -> Result<(), RunError> {
        let written_back = self.written_back(named);
        let mut anchored = false;
        for source in &written_back {
            let anchors = self.rules.anchor_attributes(source.name());
            if !anchors.is_empty() {
                let before = self.exported;
                let exported = self.export(&**source, Part::Touching(anchors)).await?;
                self.worsen(exported);
                anchored |= self.exported > before;
            }
        }
        if anchored {
            self.synchronise(false).await?;
        }
        for target in self.targets(named) {
            if self.is_unknown(&*target).await? {
                continue;
            }
            let exported = self.export(&*target, Part::All).await?;
            if exported == RunOutcome::Failed {
                self.failed_exports.insert(target.name().clone());
            }
            self.worsen(exported);
        }
        for source in &written_back {
            let exported = self.export(&**source, Part::All).await?;
            self.worsen(exported);
        }
        Ok(())
    }

    /// A target of which no import came to its end yet, or of which the engine saw another history than it has now: what it
    /// holds must be adopted, not added again.
    async fn is_unknown(&self, target: &dyn Connector) -> Result<bool, RunError> {
        if target.capabilities().delta.is_none() {
            return Ok(self.runner.store.mark(&looked_at(target.name())).await?.is_none());
        }
        let Some(since) = self.runner.store.watermark(target.name()).await? else { return Ok(true) };
        if target.delta_since(&since).is_none() {
            return Ok(self.runner.store.mark(&looked_at(target.name())).await?.is_none());
        }
        let request =
            ImportRequest { mode: ImportMode::Delta { since }, bases: Vec::new(), wanted: Default::default() };
        // One that cannot be reached is no other one for it.
        Ok(matches!(target.import(request).await, Err(ConnectorError::StaleWatermark { .. })))
    }

    /// The sources, or the one of that name, in the order of the settings.
    pub(super) fn sources(&self, named: Option<&ConnectorName>) -> Vec<Arc<dyn Connector>> {
        self.connectors(named).filter(|connector| !connector.capabilities().exports).collect()
    }

    /// Sources that take updates of their own objects, or the one of that name.
    fn written_back(&self, named: Option<&ConnectorName>) -> Vec<Arc<dyn Connector>> {
        self.sources(named).into_iter().filter(|source| source.capabilities().writes_back).collect()
    }

    /// The targets, or the one of that name: the tenant before the others.
    pub(super) fn targets(&self, named: Option<&ConnectorName>) -> Vec<Arc<dyn Connector>> {
        let mut targets: Vec<_> = self.connectors(named).filter(|connector| connector.capabilities().exports).collect();
        targets.sort_by_key(|target| target.capabilities().kind != TENANT_KIND);
        targets
    }

    fn connectors(&self, named: Option<&ConnectorName>) -> impl Iterator<Item = Arc<dyn Connector>> {
        let all = self.runner.connectors.iter();
        all.filter(move |connector| named.is_none_or(|named| named == connector.name())).cloned()
    }

    /// Why nothing may be exported now.
    async fn deferred(&self) -> Result<Option<String>, RunError> {
        if self.runner.staging {
            return Ok(Some("staging mode exports nothing".to_owned()));
        }
        let open = open_windows(&self.runner.windows, self.runner.clock.now());
        if let Some(window) = open.into_iter().find(|window| window.holds == HeldBack::Exports && !self.anyway) {
            return Ok(Some(format!("maintenance window {} until {}", window.name, window.until)));
        }
        Ok(self.runner.too_little_known().await?)
    }

    /// What waits for its time is nothing to look at.
    async fn defer(&mut self, target: &ConnectorName, reason: &str) -> Result<(), RunError> {
        let started = self.begin(target.as_str(), StepKind::Export.code());
        let detail = Some(reason.to_owned());
        self.record(target.as_str(), StepKind::Export.code(), started, RunOutcome::Deferred, &[], detail).await
    }

    /// Held outranks failed outranks completed.
    pub(super) fn worsen(&mut self, other: RunOutcome) {
        if self.outcome != RunOutcome::Held && other != RunOutcome::Completed {
            self.outcome = other;
        }
    }

    /// Tells that a step begins; its record follows.
    pub(super) fn begin(&mut self, connector: &str, kind: &'static str) -> Timestamp {
        let since = self.runner.clock.now();
        self.doing = Some(Doing { connector: connector.to_owned(), kind, since });
        (self.progress)(Progress { run: 0, step: kind.to_owned(), connector: connector.to_owned(), done: 0 });
        since
    }

    /// The step that began did nothing that is worth a record.
    pub(super) fn forget_step(&mut self) {
        self.doing = None;
    }

    /// Keeps the time of a hold that goes on, and tells of new ones.
    pub(super) async fn hold(&mut self, target: &str, mut holds: Vec<Hold>) -> Result<(), RunError> {
        let before: Vec<Hold> = self.runner.store.holds().await?.into_iter().filter(|h| h.target == target).collect();
        if before.is_empty() && holds.is_empty() {
            return Ok(());
        }
        for hold in &mut holds {
            if let Some(earlier) = before.iter().find(|earlier| earlier.kind == hold.kind) {
                hold.since = earlier.since;
            }
        }
        let new: Vec<Hold> =
            holds.iter().filter(|hold| !before.iter().any(|b| b.digest == hold.digest)).cloned().collect();
        self.runner.store.put_holds(self.lease.epoch, target, holds).await?;
        if !new.is_empty() {
            self.runner.events.held(&new).await;
        }
        Ok(())
    }

    /// A step that failed for the connector's sake ends alone; one that failed for ours ends the run.
    pub(super) async fn failed(
        &mut self,
        connector: &ConnectorName,
        kind: &'static str,
        started: Timestamp,
        error: ExportError,
    ) -> Result<RunOutcome, RunError> {
        match error {
            ExportError::Lease(error) => Err(error.into()),
            ExportError::Store(error) => Err(error.into()),
            ExportError::Connector(error) => {
                let detail = Some(error.to_string());
                self.record(connector.as_str(), kind, started, RunOutcome::Failed, &[], detail).await?;
                Ok(RunOutcome::Failed)
            }
        }
    }

    pub(super) async fn record(
        &mut self,
        connector: &str,
        kind: &str,
        started_at: Timestamp,
        outcome: RunOutcome,
        counters: &[(&str, i64)],
        detail: Option<String>,
    ) -> Result<(), RunError> {
        self.doing = None;
        let step = StepRecord {
            ordinal: self.steps.len() as i64 + 1,
            connector: connector.to_owned(),
            kind: kind.to_owned(),
            started_at,
            ended_at: self.runner.clock.now(),
            outcome,
            counters: counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            detail,
        };
        self.runner.store.record_step(self.lease.epoch, self.run, &step).await?;
        self.steps.push(step);
        Ok(())
    }
}
