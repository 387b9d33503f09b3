//! What a full synchronisation finds although nothing was due any more: a delta synchronisation missed it, because an edge
//! is missing that should have led there (design, section 4).

use serde::{Deserialize, Serialize};

use crate::sync::change_set::{LinkBatch, SyncBatch};
use crate::sync::metaverse::MvObject;
use crate::sync::space::{ObjectId, codes};
use crate::sync::store::{EngineStore, StoreResult};

codes! {
    /// What should have been followed.
    Edge {
        /// The object itself, or what it joins.
        Join = "join",
        /// A contribution to its metaverse object.
        Flow = "flow",
        /// Its metaverse object, to what a target is to hold.
        Export = "export",
        /// One of its references, or whom it refers to.
        Reference = "reference",
        /// What is wrong with it.
        Problem = "problem",
    }
}

/// The counter of a step, and the alarm: how much delta synchronisations had missed.
pub const DELTA_MISSED: &str = "delta-missed";

/// Objects that are told by name.
const TOLD: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    pub count: u64,
    /// The first of them.
    pub among: Vec<(ObjectId, Edge)>,
}

impl Missed {
    pub(super) fn batch(&mut self, batch: &SyncBatch) {
        let contributor = |mv: &MvObject| mv.attributes.values().next().map_or(ObjectId(0), |held| held.object);
        self.tell(Edge::Join, batch.updated.iter().filter(|object| object.shown.is_some()).map(|object| object.id));
        self.tell(Edge::Flow, batch.mv_written.iter().map(contributor));
        self.tell(Edge::Export, batch.staged.iter().map(|export| export.object).chain(batch.unstaged.iter().copied()));
        self.tell(Edge::Problem, batch.problems_of.iter().copied());
    }

    pub(super) fn links(&mut self, batch: &LinkBatch) {
        self.tell(Edge::Reference, batch.mv_added.iter().chain(&batch.mv_gone).map(|link| link.contributor));
        self.tell(Edge::Reference, batch.target_written.iter().map(|link| link.key.owner));
        self.tell(Edge::Reference, batch.target_removed.iter().map(|key| key.owner));
    }

    /// Raises the alarm; what the step says of it. `None` when nothing was missed.
    pub async fn told(&self, store: &dyn EngineStore) -> StoreResult<Option<String>> {
        if self.count == 0 {
            return Ok(None);
        }
        let ids: Vec<_> = self.among.iter().map(|(id, _)| *id).collect();
        let objects = store.objects(&ids).await?;
        let named = self.among.iter().filter_map(|(id, edge)| {
            let object = objects.iter().find(|object| object.id == *id)?;
            Some(format!("{}/{} ({})", object.connector, object.rdn, edge.code()))
        });
        let among = named.collect::<Vec<_>>().join(", ");
        metrics::counter!("landbridge_sync_delta_missed_total").increment(self.count);
        tracing::warn!(count = self.count, among, "a full synchronisation found what delta synchronisations missed");
        Ok(Some(format!("{DELTA_MISSED}: {among}")))
    }

    fn tell(&mut self, edge: Edge, objects: impl Iterator<Item = ObjectId>) {
        for object in objects {
            self.count += 1;
            if self.among.len() < TOLD {
                self.among.push((object, edge));
            }
        }
    }
}
