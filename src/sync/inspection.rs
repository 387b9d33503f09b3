//! What is asked of the engine's tables about single objects: by previews, explanations, searches and provisioning on
//! demand. All of it goes by indexes, but for the scans, which are bounded by what they go through.

use std::collections::BTreeSet;

use super::attribute::Attribute;
use super::change_set::MvPair;
use super::metaverse::{MvId, MvLink, MvObject};
use super::space::{LinkKey, LinkState, ObjectId, SpaceHead, SpaceLink, SpaceObject};
use super::store::StoreResult;
use super::synchronise::DueLink;
use crate::identity::ConnectorName;

#[async_trait::async_trait]
pub trait Inspection: Send + Sync {
    async fn heads(&self, ids: &[ObjectId]) -> StoreResult<Vec<SpaceHead>>;
    /// Due links of source spaces from or to these objects, each once, at most about `limit`.
    async fn due_links_about(
        &self,
        targets: &[ConnectorName],
        objects: &[ObjectId],
        limit: usize,
    ) -> StoreResult<Vec<DueLink>>;
    async fn due_pairs_about(&self, mvs: &[MvId], limit: usize) -> StoreResult<BTreeSet<MvPair>>;
    async fn due_target_links_about(
        &self,
        targets: &[ConnectorName],
        objects: &[ObjectId],
        limit: usize,
    ) -> StoreResult<Vec<(LinkKey, Option<MvId>, Option<MvId>)>>;
    /// Staged links of a target from or to these objects.
    async fn staged_links_about(&self, objects: &[ObjectId], limit: usize) -> StoreResult<Vec<SpaceLink>>;
    /// Links of one owner by attribute and state, counted.
    async fn count_links(&self, owner: ObjectId) -> StoreResult<Vec<LinkCount>>;
    /// Links of one owner in the order of their keys.
    async fn some_links(&self, owner: ObjectId, limit: usize) -> StoreResult<Vec<SpaceLink>>;
    /// Links to an object, counted by owner's connector and attribute.
    async fn count_referrers(&self, target: ObjectId) -> StoreResult<i64>;
    /// Metaverse links of an owner that some contributor makes.
    async fn mv_links_of(&self, owner: MvId, limit: usize) -> StoreResult<Vec<MvLink>>;
    /// Objects that are due for synchronisation, behind `after`.
    async fn due_objects(&self, after: ObjectId, limit: usize) -> StoreResult<Vec<ObjectId>>;
    /// Objects of spaces that may match; the scan goes through `window` ids behind `after`.
    async fn scan_spaces(&self, scan: &Scan) -> StoreResult<Scanned<SpaceObject>>;
    async fn scan_metaverse(&self, scan: &Scan) -> StoreResult<Scanned<MvObject>>;
}

/// Links of one owner in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCount {
    pub attribute: Attribute,
    pub state: LinkState,
    pub count: i64,
}

/// A bounded scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// In a space; every one when absent.
    pub connector: Option<ConnectorName>,
    pub object_type: Option<String>,
    /// What must stand in an object's text, by comparison without regard to ASCII case; what comes back may match, what
    /// does not come back does not.
    pub text: Option<String>,
    pub only: Only,
    pub after: i64,
    /// Ids that are gone through.
    pub window: i64,
    pub limit: usize,
}

/// A state that is searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    #[default]
    Any,
    /// Imported and not yet synchronised.
    PendingImport,
    /// With staged exports.
    PendingExport,
    /// Objects without a metaverse object.
    Unjoined,
    /// Objects with a problem.
    Problem,
}

#[derive(Clone, Debug)]
pub struct Scanned<T> {
    pub found: Vec<T>,
    /// Where the next scan goes on; `None`: there is nothing behind.
    pub next: Option<i64>,
}
