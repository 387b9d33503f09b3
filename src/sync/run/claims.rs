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
use crate::sync::connector::DeltaReports;
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::names;
use crate::sync::source_import::{ELSEWHERE_AGAIN, full_import_mark, refused_mark};
use crate::sync::space::{ExportKind, ObjectId, PendingExport};
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

    /// After a synchronisation: stages the end of what was found in a target and is claimed by nobody, or reports it.
    pub(super) async fn claim(&mut self) -> Result<(), RunError> {
        for target in self.targets(None) {
            let (found, met) = (self.runner.has_found(target.name()).await?, self.runner.met(target.name()).await?);
            let due = match met {
                // The other engine may have read another replica than this one does.
                Some(met) => met + ELSEWHERE_AGAIN <= self.runner.clock.now(),
                None => found,
            };
            if due && self.runner.unread().await?.is_empty() && self.has_asked_all(met).await? {
                self.claim_in(target.name()).await?;
            }
        }
        Ok(())
    }

    /// What is found in a target its source may still have: each was asked in this very run, and told everything since
    /// another engine was `met`.
    async fn has_asked_all(&self, met: Option<Timestamp>) -> Result<bool, RunError> {
        let store = &self.runner.store;
        for source in self.sources(None) {
            if !self.imported.contains(source.name()) {
                return Ok(false);
            }
            let Some(met) = met else { continue };
            let watermark = store.watermark(source.name()).await?;
            let reports = watermark.and_then(|watermark| source.delta_since(&watermark));
            let last_full = store.mark(&full_import_mark(source.name())).await?.map(Timestamp::from_millis);
            if !reports.is_some_and(DeltaReports::complete) && last_full.is_none_or(|last| last < met) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn claim_in(&mut self, target: &ConnectorName) -> Result<(), RunError> {
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
            for object in &unclaimed {
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
        store.set_mark(self.lease.epoch, &found_mark(target), 0).await?;
        store.set_mark(self.lease.epoch, &met_mark(target), 0).await?;
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

/// The connector whose object it is, as the target was told.
fn contributor(shown: &Attributes) -> Option<&str> {
    shown.get(&Attribute::from(names::ANCHOR_CONNECTOR))?.first().map(|value| value.as_text())
}
