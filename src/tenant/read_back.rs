//! What a client reads back: values as they were exported (not as the directory calculated them), so that an export
//! is seen confirmed, and the change feed that makes a confirming read cost what changed (design D24).

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::export::{CredentialLink, ObjectId, TenantUnavailable};
use crate::identity::{ConnectorName, GroupId, SourceAnchor, UserId};

/// The directory as the source of a confirming import.
#[async_trait]
pub trait TenantReadBack: Send + Sync {
    /// The newest change. A full read takes it before its first page.
    async fn newest_change(&self) -> Result<ChangeMark, TenantUnavailable>;

    /// Exported, undeleted users in order of their source anchors, after `after`; at most `limit`.
    async fn users_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable>;

    /// Exported, undeleted groups in order of their source anchors, after `after`; at most `limit`. Without members.
    async fn groups_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable>;

    /// Undeleted contacts and devices, likewise.
    async fn plain_after(
        &self,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<ShadowObject>, TenantUnavailable>;

    /// Memberships of all groups, waiting ones included, after `after`; at most `limit`.
    async fn links_after(&self, after: Option<&LinkPosition>, limit: u32) -> Result<LinkPage, TenantUnavailable>;

    /// Changes after `mark`, oldest first; at most `limit`. Several changes of one thing are several entries. `None`: the
    /// feed does not hold what was marked. It was trimmed, or the directory's history is another one (a restored backup).
    async fn changes_after(&self, mark: ChangeMark, limit: u32) -> Result<Option<ChangePage>, TenantUnavailable>;

    /// The present state of these objects, in no order. Deleted and unknown ones are missing.
    async fn objects(&self, oids: &[ObjectId]) -> Result<Vec<ShadowObject>, TenantUnavailable>;

    /// The same by source anchor, of every type: for an add whose answer was lost.
    async fn anchored(&self, anchors: &[SourceAnchor]) -> Result<Vec<ShadowObject>, TenantUnavailable>;
}

/// An object as it was exported.
#[derive(Clone, Debug, PartialEq)]
pub enum ShadowObject {
    User(UserShadow),
    Group(GroupShadow),
    Plain(PlainShadow),
}

impl ShadowObject {
    pub fn source_anchor(&self) -> &SourceAnchor {
        match self {
            Self::User(user) => &user.source_anchor,
            Self::Group(group) => &group.source_anchor,
            Self::Plain(plain) => &plain.source_anchor,
        }
    }

    /// The connector that contributed the source anchor.
    pub fn anchor_connector(&self) -> &ConnectorName {
        match self {
            Self::User(user) => &user.anchor_connector,
            Self::Group(group) => &group.anchor_connector,
            Self::Plain(plain) => &plain.anchor_connector,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct UserShadow {
    pub oid: UserId,
    pub source_anchor: SourceAnchor,
    pub anchor_connector: ConnectorName,
    pub on_premises_upn: Option<String>,
    pub upn_connector: Option<ConnectorName>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub mail: Option<String>,
    pub sam: Option<String>,
    pub account_enabled: bool,
    pub credential_source: Option<CredentialLink>,
    pub attributes: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupShadow {
    pub oid: GroupId,
    pub source_anchor: SourceAnchor,
    pub anchor_connector: ConnectorName,
    pub display_name: Option<String>,
    pub mail: Option<String>,
    pub sid: Option<String>,
    pub attributes: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PlainShadow {
    pub oid: ObjectId,
    pub source_anchor: SourceAnchor,
    pub anchor_connector: ConnectorName,
    pub display_name: Option<String>,
    pub mail: Option<String>,
    pub attributes: Map<String, Value>,
}

/// A membership, by the source anchors of both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowLink {
    pub group: SourceAnchor,
    pub member: SourceAnchor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPage {
    pub links: Vec<ShadowLink>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<LinkPosition>,
}

/// A place in the listing of memberships. Opaque to callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPosition {
    pub group: String,
    pub member: String,
}

/// A place in the change feed, by the number of a change and what tells it from the change of that number in another history
/// of the directory. Number 0 is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeMark {
    pub number: i64,
    pub witness: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    pub changes: Vec<Change>,
    /// The last change in the page, or the one asked after when it is empty.
    pub upto: ChangeMark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub number: i64,
    pub what: ChangedThing,
    pub operation: ChangeOperation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedThing {
    Object {
        oid: ObjectId,
        source_anchor: Option<SourceAnchor>,
    },
    /// A membership; the operation is an add or a delete.
    Link(ShadowLink),
    Domain(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOperation {
    Add,
    Update,
    Delete,
    Restore,
}
