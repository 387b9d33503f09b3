//! What one batch commits, in one transaction.

use super::attribute::Attributes;
use super::connector::{KnownBase, Watermark};
use super::join_key::JoinKey;
use super::metaverse::{MvId, MvLink, MvObject};
use super::problem::Problem;
use super::space::{LinkKey, ObjectId, PendingExport, SpaceHead, SpaceLink, SpaceObject, Unconfirmed};
use crate::identity::ConnectorName;

/// Of synchronise. Edges that lead further are followed by the same transaction: waiting objects become due when a
/// join key comes or goes, links when an end of theirs moved.
#[derive(Clone, Debug, Default)]
pub struct SyncBatch {
    pub inserted: Vec<SpaceObject>,
    pub updated: Vec<SpaceObject>,
    pub removed: Vec<ObjectId>,
    pub mv_written: Vec<MvObject>,
    pub mv_removed: Vec<MvId>,
    pub keys_added: Vec<(JoinKey, MvId)>,
    pub keys_removed: Vec<(JoinKey, MvId)>,
    pub staged: Vec<PendingExport>,
    pub unstaged: Vec<ObjectId>,
    pub waits_added: Vec<(ObjectId, JoinKey)>,
    pub waits_removed: Vec<(ObjectId, JoinKey)>,
    /// Objects whose problems are replaced by those in `problems`.
    pub problems_of: Vec<ObjectId>,
    pub problems: Vec<(ObjectId, Problem)>,
    /// Source objects that changed their metaverse object or their rules: their links are due.
    pub moved_sources: Vec<ObjectId>,
    /// Metaverse objects whose target object came, went or changed its rules.
    pub moved_targets: Vec<MvId>,
    pub moved_target_objects: Vec<ObjectId>,
}

impl SyncBatch {
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty()
            && self.updated.is_empty()
            && self.removed.is_empty()
            && self.mv_written.is_empty()
            && self.mv_removed.is_empty()
            && self.keys_added.is_empty()
            && self.keys_removed.is_empty()
            && self.staged.is_empty()
            && self.unstaged.is_empty()
            && self.waits_added.is_empty()
            && self.waits_removed.is_empty()
            && self.problems_of.is_empty()
    }
}

/// Of import: one page, with the watermark that covers it.
#[derive(Clone, Debug, Default)]
pub struct ImportBatch {
    /// New objects and placeholders, with what they show.
    pub inserted: Vec<(SpaceHead, Option<Attributes>)>,
    /// Objects whose image changed.
    pub changed: Vec<(SpaceHead, Attributes)>,
    /// Objects that only moved, or were seen again after a pending delete.
    pub placed: Vec<SpaceHead>,
    pub links_added: Vec<LinkKey>,
    pub links_removed: Vec<LinkKey>,
    pub deleted: Vec<ObjectId>,
    /// Objects to be read again: whom they refer to is gone, and a directory that takes the reference out may not tell it.
    pub stale: Vec<ObjectId>,
    /// Objects that left a place, or whose place another one took: a name that refers to the place, or to one below it,
    /// means another object now, so that whoever links there is compared anew.
    pub displaced: Vec<ObjectId>,
    /// Placeholders and the containers that took their places: objects below the first are the second's.
    pub filled: Vec<(ObjectId, ObjectId)>,
    /// Changed objects that were waiting to show what was written back to them.
    pub written_back: Vec<WrittenBack>,
    pub watermark: Option<(ConnectorName, Watermark)>,
    pub bases: Option<(ConnectorName, Vec<KnownBase>)>,
}

/// What an import says of an object's accepted updates.
#[derive(Clone, Debug)]
pub struct WrittenBack {
    pub object: ObjectId,
    /// What still waits to be shown.
    pub unconfirmed: Option<Unconfirmed>,
    pub problem: Option<Problem>,
}

impl ImportBatch {
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty()
            && self.changed.is_empty()
            && self.placed.is_empty()
            && self.links_added.is_empty()
            && self.links_removed.is_empty()
            && self.deleted.is_empty()
            && self.watermark.is_none()
            && self.bases.is_none()
    }
}

/// Of the link passes.
#[derive(Clone, Debug, Default)]
pub struct LinkBatch {
    /// Source links that were evaluated; those no longer shown are deleted, the others are due no more.
    pub evaluated: Vec<LinkKey>,
    pub forgotten: Vec<LinkKey>,
    /// New metaverse links; their outbound side was evaluated too.
    pub mv_added: Vec<MvLink>,
    /// Metaverse links whose source link no longer makes them; they stay until their outbound side is evaluated.
    pub mv_gone: Vec<MvLink>,
    /// Pairs whose outbound side was evaluated.
    pub pairs: Vec<MvPair>,
    pub target_written: Vec<SpaceLink>,
    pub target_removed: Vec<LinkKey>,
    pub target_evaluated: Vec<LinkKey>,
}

/// A metaverse link whoever contributed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MvPair {
    pub owner: MvId,
    pub attribute: super::attribute::Attribute,
    pub target: MvId,
}

impl MvPair {
    pub fn of(link: &MvLink) -> Self {
        Self { owner: link.owner, attribute: link.attribute.clone(), target: link.target }
    }
}
