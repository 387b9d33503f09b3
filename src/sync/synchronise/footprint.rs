//! What a batch has to do with: whether two of them are the same to each other in whatever order they come.

use std::collections::HashSet;

use crate::sync::change_set::SyncBatch;
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::MvId;
use crate::sync::space::ObjectId;
use crate::sync::workspace::Workspace;

/// Objects of spaces and metaverse that a batch read or wrote, and the keys by which it asked for some and by which some
/// are found once it is committed.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    objects: HashSet<ObjectId>,
    metaverse: HashSet<MvId>,
    asked: HashSet<JoinKey>,
    given: HashSet<JoinKey>,
}

impl Footprint {
    /// Of a batch that was evaluated.
    pub fn of(ws: &mut Workspace) -> Self {
        Self {
            objects: ws.object_ids().collect(),
            metaverse: ws.mv_ids().collect(),
            asked: std::mem::take(&mut ws.asked),
            given: HashSet::new(),
        }
    }

    /// Adds the keys that come or go with its changes.
    pub fn gives(&mut self, batch: &SyncBatch) {
        let moved = batch.keys_added.iter().chain(&batch.keys_removed).map(|(key, _)| key.clone());
        let written = batch.inserted.iter().chain(&batch.updated);
        let matched = written.filter_map(|object| object.match_key.clone()).map(JoinKey::from_stored);
        self.given.extend(moved.chain(matched));
    }

    /// Whether it might be another one if it had been read after `before` was committed. Whom a batch links to a metaverse
    /// object, or parts from it, it has read together with that; so that objects and metaverse tell of links too.
    pub fn meets(&self, before: &Self) -> bool {
        let is_apart = self.objects.is_disjoint(&before.objects)
            && self.metaverse.is_disjoint(&before.metaverse)
            && self.asked.is_disjoint(&before.given);
        !is_apart && !planted(Fault::StaleBatches)
    }
}
