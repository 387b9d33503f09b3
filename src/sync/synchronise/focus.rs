//! Synchronisation of single objects by the very passes of a run: for previews on a scratch overlay, and for real when one
//! object is provisioned on demand. What waits elsewhere stays for the next cycle.

use std::collections::BTreeSet;

use super::{Counters, Engine, LINK_BATCH, membership};
use crate::identity::LeaseEpoch;
use crate::sync::metaverse::MvId;
use crate::sync::rule::RuleSet;
use crate::sync::space::ObjectId;
use crate::sync::store::{EngineStore, StoreResult};
use crate::sync::trace::{Finding, Trace};
use crate::sync::workspace::{IdBlock, Workspace};

/// Rounds of the link passes at most: the first follows the objects, the second what it moved.
const ROUNDS: usize = 4;

/// What is synchronised, and afterwards what that concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Objects of source spaces.
    pub objects: BTreeSet<ObjectId>,
    pub mvs: BTreeSet<MvId>,
}

/// Synchronises what `focus` names, with its links. `trace` listens; returned are the findings and all that was concerned.
pub async fn focused(
    store: &dyn EngineStore,
    rules: &RuleSet,
    epoch: LeaseEpoch,
    focus: Focus,
    trace: Trace,
) -> StoreResult<(Focus, Vec<Finding>, Counters)> {
    let groups = membership::follow(store, rules, epoch).await?;
    let mut engine = Engine::new(store, rules, epoch, groups);
    engine.trace = trace;
    let Focus { objects, mut mvs } = focus;
    let ids: Vec<ObjectId> = objects.iter().copied().collect();
    let read = engine.groups.tell(store, store.objects(&ids).await?).await?;
    if !read.is_empty() {
        let affected = engine.batch(read).await?;
        mvs.extend(affected.iter().copied());
        let rest: BTreeSet<MvId> = mvs.difference(&affected).copied().collect();
        engine.outbound_of(&rest).await?;
    } else {
        engine.outbound_of(&mvs).await?;
    }
    let focus = Focus { objects, mvs };
    engine.links_about(&focus).await?;
    let findings = std::mem::take(&mut engine.trace).into_findings();
    Ok((focus, findings, engine.counters))
}

/// Ids for what is considered and never committed.
const UNWRITTEN: i64 = 1 << 20;

/// What the rules say now of metaverse objects, as they were last imported. The workspace shows what would become of them;
/// nothing is written, so that no lease is needed.
pub async fn considered(
    store: &dyn EngineStore,
    rules: &RuleSet,
    mvs: &BTreeSet<MvId>,
) -> StoreResult<(Workspace, Vec<Finding>)> {
    let groups = membership::look(store, rules).await?.groups;
    let engine = Engine::new(store, rules, LeaseEpoch::from_number(0), groups);
    let mut ws = Workspace::new(IdBlock::new(i64::MAX - UNWRITTEN, UNWRITTEN));
    ws.trace = Trace::on();
    engine.read_metaverse(&mut ws, &mvs.iter().copied().collect::<Vec<_>>()).await?;
    engine.flow(&mut ws, mvs).await?;
    let findings = std::mem::take(&mut ws.trace).into_findings();
    Ok((ws, findings))
}

impl Engine<'_> {
    /// Flows metaverse objects anew that no object of the batch led to.
    async fn outbound_of(&mut self, mvs: &BTreeSet<MvId>) -> StoreResult<()> {
        if mvs.is_empty() {
            return Ok(());
        }
        let mut ws = self.workspace(mvs.len()).await?;
        self.read_metaverse(&mut ws, &mvs.iter().copied().collect::<Vec<_>>()).await?;
        self.finish(ws, mvs).await
    }

    async fn links_about(&mut self, focus: &Focus) -> StoreResult<()> {
        let objects: Vec<ObjectId> = focus.objects.iter().copied().collect();
        let mvs: Vec<MvId> = focus.mvs.iter().copied().collect();
        for _ in 0..ROUNDS {
            let before = self.counters.links;
            loop {
                let due = self.store.due_links_about(&self.targets, &objects, LINK_BATCH).await?;
                let Some(links) = self.evaluate_links(due).await? else { break };
                self.counters.links += links.count;
                self.store.commit_links(self.epoch, links.batch).await?;
            }
            while self.evaluate_pairs(self.store.due_pairs_about(&mvs, LINK_BATCH).await?).await? {}
            let members = self.store.members(&mvs).await?;
            let of_targets = members.iter().filter(|member| self.targets.contains(&member.connector));
            let ends: Vec<ObjectId> = of_targets.map(|member| member.id).collect();
            loop {
                let due = self.store.due_target_links_about(&self.targets, &ends, LINK_BATCH).await?;
                if !self.evaluate_target_links(due).await? {
                    break;
                }
            }
            if self.counters.links == before {
                break;
            }
        }
        Ok(())
    }
}
