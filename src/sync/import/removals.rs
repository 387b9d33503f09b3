//! What an import concludes to be gone: what a delta tells, and what a read that names everything did not name.

use std::collections::BTreeSet;

use super::{Coverage, Importer, Obsolete, SCAN};
use crate::sync::change_set::ImportBatch;
use crate::sync::connector::ImportPage;
use crate::sync::space::{ObjectId, ObjectKind, PendingImport, SpaceHead};
use crate::sync::store::StoreResult;

impl Importer<'_> {
    /// Whether somebody unknown could not be read, so that nothing is concluded from who was not seen.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether another server of the directory was read than before. Replicas tell different things until they have heard
    /// from each other: who is not shown here may be somebody of whom this one has not heard yet.
    pub fn met_another_server(&self) -> bool {
        let servers = self.before.server.as_ref().zip(self.watermark.as_ref());
        self.coverage == Coverage::Full && servers.is_some_and(|(former, read)| *former != read.server)
    }

    /// Whether nothing is concluded from who was not seen, because this server may lag behind another.
    pub fn may_lag(&self) -> bool {
        self.coverage == Coverage::Full && (self.before.is_settling || self.met_another_server())
    }

    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Whether this read names everything of some type, so that [`Self::unseen`] tells what is gone.
    pub fn sweeps(&self) -> bool {
        self.coverage == Coverage::Full || !self.enumerated.is_empty()
    }

    /// After a read to its end: the objects of the space that were not seen, of the types that were named whole. None
    /// while somebody unknown could not be read, or the server may lag behind the one before.
    pub async fn unseen(&self) -> StoreResult<Vec<Obsolete>> {
        if self.doubtful || self.may_lag() {
            return Ok(Vec::new());
        }
        let (mut unseen, mut after) = (Vec::new(), ObjectId(0));
        loop {
            let heads = self.store.heads_after(&self.connector, after, SCAN).await?;
            let Some(last) = heads.last() else { return Ok(unseen) };
            after = last.id;
            for head in heads {
                let covered = self.coverage == Coverage::Full || self.enumerated.contains(&head.object_type);
                if covered && !self.seen.contains(head.id) && head.pending_import != PendingImport::Delete {
                    unseen.push(Obsolete {
                        id: head.id,
                        object_type: head.object_type,
                        anchor: head.anchor.unwrap_or_default(),
                        name: head.rdn,
                    });
                }
            }
        }
    }

    /// The final step: stages the deletion of objects that are no longer shown.
    pub async fn obsolete(&mut self, objects: &[Obsolete]) -> StoreResult<()> {
        self.counters.obsolete += objects.len() as u64;
        for chunk in objects.chunks(1000) {
            let deleted: Vec<ObjectId> = chunk.iter().map(|object| object.id).collect();
            let stale = self.bereft(&deleted).await?;
            self.store.commit_import(self.epoch, ImportBatch { deleted, stale, ..ImportBatch::default() }).await?;
        }
        Ok(())
    }

    /// Commits the watermark of a read that swept, once what was not named is removed. While somebody could not be read
    /// there is none: the next read sweeps again.
    pub async fn settle(&mut self) -> StoreResult<()> {
        let Some(watermark) = self.watermark.take().filter(|_| !self.doubtful) else { return Ok(()) };
        let watermark = Some((self.connector.clone(), watermark));
        self.store.commit_import(self.epoch, ImportBatch { watermark, ..ImportBatch::default() }).await
    }

    pub(super) async fn saw(&mut self, anchors: &[String]) -> StoreResult<()> {
        for head in self.heads(anchors).await? {
            self.seen.insert(head.id);
        }
        Ok(())
    }

    /// The objects that a page tells to be gone. Those that the space does not hold, or is rid of already, are none.
    pub(super) async fn removed(&self, page: &ImportPage) -> StoreResult<Vec<ObjectId>> {
        let here =
            |head: &SpaceHead| head.kind != ObjectKind::Placeholder && head.pending_import != PendingImport::Delete;
        let mut removed: BTreeSet<ObjectId> =
            self.heads(&page.deleted).await?.iter().filter(|head| here(head)).map(|head| head.id).collect();
        for (object_type, anchors) in &page.left {
            let heads = self.heads(anchors).await?;
            let of_type = heads.iter().filter(|head| here(head) && head.object_type == *object_type);
            removed.extend(of_type.map(|head| head.id));
        }
        let outside: Vec<ObjectId> = self
            .heads(&page.left_below)
            .await?
            .iter()
            .filter(|head| head.kind != ObjectKind::Placeholder)
            .map(|head| head.id)
            .collect();
        if !outside.is_empty() {
            removed.extend(self.store.below(&outside).await?);
        }
        Ok(removed.into_iter().collect())
    }

    /// Who refers to what is gone and was not told since. slapd's `refint` takes such references out without marking
    /// the entry as changed, so that no method tells it.
    pub(super) async fn bereft(&self, gone: &[ObjectId]) -> StoreResult<Vec<ObjectId>> {
        if gone.is_empty() || self.coverage == Coverage::Full {
            return Ok(Vec::new());
        }
        let mut referrers = self.store.referrers(gone).await?;
        referrers.retain(|id| !self.told.contains(*id) && !gone.contains(id));
        Ok(referrers)
    }

    async fn heads(&self, anchors: &[String]) -> StoreResult<Vec<SpaceHead>> {
        if anchors.is_empty() { Ok(Vec::new()) } else { self.store.heads_by_anchor(&self.connector, anchors).await }
    }
}
