//! After the engine's own state was lost, or a target's, or after another engine was at work for a while: a target holds
//! objects that the engine did not know, and each of them is somebody's.
//!
//! Until every source was read in full, an object that nobody claims may be claimed by the source that is still to be read,
//! and a value that nobody contributes may be contributed by it: nothing is exported. From then on what bears the name of
//! one of our connectors and is claimed by none of their objects was deleted at its source meanwhile. Its delete is staged,
//! before the guard like every other, unless an object of a source is in doubt: then it is reported.

use std::collections::BTreeSet;

use super::cycle::Cycle;
use super::{RunError, RunOutcome, Runner};
use crate::identity::{ConnectorName, Timestamp};
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::change_set::SyncBatch;
use crate::sync::connector::{Connector, DeltaReports};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::names;
use crate::sync::source_import::{ELSEWHERE_AGAIN, full_import_mark, refused_mark};
use crate::sync::space::{ExportKind, ObjectId, PendingExport, SpaceObject};
use crate::sync::store::StoreResult;

/// The step that tells of them.
const CLAIM: &str = "claim";
/// Objects that are looked at in one transaction.
const AT_ONCE: usize = 500;

/// The mark of a target in which a full confirming import found what the space did not know: how many objects.
fn found_mark(target: &ConnectorName) -> String {
    format!("found:{target}")
}

/// The mark of a target of which a delta told what the space did not know: when that was last. Another engine has written
/// there.
fn met_mark(target: &ConnectorName) -> String {
    format!("met:{target}")
}

/// Which objects of a target are judged now.
#[derive(Clone, Copy)]
enum Due {
    All,
    /// Those found up to a time. What was found before times were noted has time 0: it waits until nobody else was seen to
    /// write.
    FoundUntil(Timestamp),
}

impl Due {
    fn holds(self, object: &SpaceObject) -> bool {
        match self {
            Self::All => true,
            Self::FoundUntil(until) => {
                object.found_at.is_some_and(|found| Timestamp::from_millis(0) < found && found <= until)
            }
        }
    }
}

impl Runner {
    /// Why nothing may be exported before more is known of the sources.
    pub(in crate::sync) async fn too_little_known(&self) -> StoreResult<Option<String>> {
        let found = self.found().await?;
        if found.is_empty() {
            return Ok(None);
        }
        let unread = self.unread().await?;
        Ok((!unread.is_empty()).then(|| {
            format!(
                "{} held objects that the engine did not know: nothing leaves before a full import of {} came to its end",
                found.join(", "),
                unread.join(", ")
            )
        }))
    }

    /// The targets that held objects that the engine did not know, and that nobody was asked about yet.
    pub(in crate::sync) async fn found(&self) -> StoreResult<Vec<String>> {
        let mut found = Vec::new();
        for target in self.connectors.iter().filter(|connector| connector.capabilities().exports) {
            if self.has_found(target.name()).await? {
                found.push(target.name().to_string());
            }
        }
        Ok(found)
    }

    async fn has_found(&self, target: &ConnectorName) -> StoreResult<bool> {
        Ok(self.store.mark(&found_mark(target)).await?.is_some_and(|found| found > 0))
    }

    /// When another engine was last seen to have written there.
    async fn met(&self, target: &ConnectorName) -> StoreResult<Option<Timestamp>> {
        Ok(self.store.mark(&met_mark(target)).await?.filter(|met| *met > 0).map(Timestamp::from_millis))
    }

    /// The sources of which no full import came to its end.
    async fn unread(&self) -> StoreResult<Vec<String>> {
        let mut unread = Vec::new();
        for source in self.connectors.iter().filter(|connector| !connector.capabilities().exports) {
            if self.store.mark(&full_import_mark(source.name())).await?.is_none() {
                unread.push(source.name().to_string());
            }
        }
        Ok(unread)
    }
}

impl Cycle<'_> {
    /// Remembers that a full confirming import of `target` found objects that the space did not know.
    pub(super) async fn remember_found(&self, target: &ConnectorName, found: i64) -> Result<(), RunError> {
        if found > 0 {
            self.runner.store.set_mark(self.lease.epoch, &found_mark(target), found).await?;
        }
        Ok(())
    }

    /// Remembers that a delta of `target` told objects that the space did not know. Ours that another engine added, and
    /// whose source lost them before this one read it, are claimed by nobody.
    pub(super) async fn remember_met(&self, target: &ConnectorName, found: i64) -> Result<(), RunError> {
        if found > 0 {
            let now = self.runner.clock.now().millis();
            self.runner.store.set_mark(self.lease.epoch, &met_mark(target), now).await?;
        }
        Ok(())
    }

    /// After a synchronisation: stages the end of what was found in a target and is claimed by nobody, or reports it. What a
    /// delta told is judged by its own age: that there is ever more of it postpones nothing.
    pub(super) async fn claim(&mut self) -> Result<(), RunError> {
        for target in self.targets(None) {
            let (name, runner) = (target.name(), self.runner);
            let (found, met) = (runner.has_found(name).await?, runner.met(name).await?);
            if (!found && met.is_none()) || !runner.unread().await?.is_empty() {
                continue;
            }
            if !tells_owners(&*target) {
                // Nothing there is known to be ours.
                self.forget_found(name).await?;
                continue;
            }
            let Some(asked) = self.asked_until().await? else { continue };
            let due = match met {
                None => Some(Due::All),
                Some(met) => {
                    // The other engine may have read another replica than this one does.
                    let until = asked.min(runner.clock.now() - ELSEWHERE_AGAIN);
                    if met <= until {
                        Some(Due::All)
                    } else {
                        let some = runner.store.unclaimed_until(name, until).await?;
                        some.then_some(Due::FoundUntil(until))
                    }
                }
            };
            if let Some(due) = due {
                self.claim_in(name, due).await?;
            }
        }
        Ok(())
    }

    /// What is found in a target its source may still have: each was asked in this very run. Whatever came to a target
    /// before the time returned they would have told. `None` when one was not asked.
    async fn asked_until(&self) -> Result<Option<Timestamp>, RunError> {
        let store = &self.runner.store;
        let mut until = self.runner.clock.now();
        for source in self.sources(None) {
            if !self.imported.contains(source.name()) {
                return Ok(None);
            }
            let watermark = store.watermark(source.name()).await?;
            let reports = watermark.and_then(|watermark| source.delta_since(&watermark));
            if !reports.is_some_and(DeltaReports::complete) {
                let last_full = store.mark(&full_import_mark(source.name())).await?.unwrap_or(0);
                until = until.min(Timestamp::from_millis(last_full));
            }
        }
        Ok(Some(until))
    }

    async fn forget_found(&self, target: &ConnectorName) -> Result<(), RunError> {
        for mark in [found_mark(target), met_mark(target)] {
            self.runner.store.set_mark(self.lease.epoch, &mark, 0).await?;
        }
        Ok(())
    }

    async fn claim_in(&mut self, target: &ConnectorName, due: Due) -> Result<(), RunError> {
        let runner = self.runner;
        let store = &*runner.store;
        let sources: Vec<ConnectorName> = self.sources(None).iter().map(|source| source.name().clone()).collect();
        let known: BTreeSet<&str> = sources.iter().map(ConnectorName::as_str).collect();
        let mut doubtful = store.doubtful_claims(&sources).await?;
        for source in &sources {
            doubtful += store.mark(&refused_mark(source)).await?.unwrap_or(0);
        }
        let started = self.begin(target.as_str(), CLAIM);
        let (mut staged, mut reported, mut after) = (0, 0, ObjectId(0));
        loop {
            let unclaimed = store.unclaimed(target, after, AT_ONCE).await?;
            let Some(last) = unclaimed.last() else { break };
            after = last.id;
            let mut batch = SyncBatch::default();
            for object in unclaimed.iter().filter(|object| due.holds(object)) {
                // Whatever bears no connector's name was never ours.
                let Some(owner) = object.shown.as_deref().and_then(contributor) else { continue };
                if doubtful == 0 && known.contains(owner) {
                    let export =
                        PendingExport::staged(object.id, target.clone(), ExportKind::Delete, Attributes::new());
                    batch.staged.push(export);
                    staged += 1;
                } else {
                    let detail = format!("{target} holds it as an object of {owner}, and no source claims it");
                    batch.problems_of.push(object.id);
                    batch.problems.push((object.id, Problem::new(ProblemCode::Unclaimed, detail)));
                    reported += 1;
                }
            }
            if !batch.is_empty() {
                store.commit_sync(self.lease.epoch, batch, std::slice::from_ref(target)).await?;
            }
            self.lease.check()?;
        }
        // What is reported for the sake of objects in doubt is judged again when these are known.
        let concluded = doubtful == 0 || reported == 0;
        if matches!(due, Due::All) && concluded {
            self.forget_found(target).await?;
        }
        if staged + reported == 0 {
            self.forget_step();
            return Ok(());
        }
        let detail = (doubtful > 0).then(|| {
            format!("nothing is concluded from it: {doubtful} objects of the sources are in doubt, see their problems")
        });
        let counters = [("deletes", staged), ("unclaimed", reported)];
        self.record(target.as_str(), CLAIM, started, RunOutcome::Completed, &counters, detail).await
    }
}

/// Whether a target is told whose object each of its objects is.
fn tells_owners(target: &dyn Connector) -> bool {
    target.capabilities().identity.contains(&Attribute::from(names::ANCHOR_CONNECTOR))
}

/// The connector whose object it is, as the target was told.
fn contributor(shown: &Attributes) -> Option<&str> {
    shown.get(&Attribute::from(names::ANCHOR_CONNECTOR))?.first().map(|value| value.as_text())
}
