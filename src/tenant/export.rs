//! What a client of the tenant directory asks for in a batch, and what it is answered per object.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::identity::{ConnectorName, CredentialSource, GroupId, LeaseEpoch, Upn, UserId};

/// The directory as the target of an export.
#[async_trait]
pub trait TenantExport: Send + Sync {
    /// Applies a batch (about 1,000 objects; [`MAX_BATCH`] at most) and answers one result per change, in their order.
    ///
    /// Values that must be unique are judged on the end state of the batch. Repeating a batch that was applied
    /// changes nothing and gives the same answers. `Err` means that nothing of the batch is known to have happened:
    /// a large batch is applied in several transactions, so read back or repeat.
    async fn apply_batch(
        &self,
        epoch: LeaseEpoch,
        changes: Vec<ExportChange>,
    ) -> Result<Vec<ExportResult>, TenantUnavailable>;
}

/// Most changes in one batch.
pub const MAX_BATCH: usize = 2000;

/// The directory could not be asked, or the lease is no longer the caller's.
#[derive(Debug, thiserror::Error)]
pub enum TenantUnavailable {
    #[error("the engine lease is no longer ours (epoch {epoch})")]
    LeaseLost { epoch: i64 },
    #[error("a batch of {len} changes is larger than {MAX_BATCH}")]
    BatchTooLarge { len: usize },
    #[error("the tenant directory could not be reached")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A change of one object. An object occurs at most once in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportChange {
    pub object: ObjectKey,
    /// The connector that contributed the source anchor; it owns the object from then on (design D9).
    pub anchor_connector: ConnectorName,
    pub action: Action,
}

/// How a change names its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey {
    /// What an earlier add was answered. `None` adds, or takes over the object that has this source anchor already
    /// (hard match), which restores it when it was deleted.
    pub oid: Option<ObjectId>,
    /// As the rules made it: a text attribute, or the base64 of a binary one. Immutable once exported.
    pub source_anchor: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    PutUser(Box<UserPatch>),
    PutGroup(Box<GroupPatch>),
    /// Soft: kept for 30 days, restored by the same source anchor (design D22).
    DeleteUser,
    DeleteGroup,
}

/// What becomes of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<T> {
    Keep,
    Set(T),
    Clear,
}

/// An empty patch keeps everything.
impl<T> Default for Edit<T> {
    fn default() -> Self {
        Self::Keep
    }
}

impl<T> Edit<T> {
    /// The value after the edit of `present`.
    pub fn applied(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Set(value) => Some(value),
            Self::Clear => None,
        }
    }

    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// The attributes of a user. An add sets what the user has; an update names only what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// The raw text of the on-premises user principal name. The directory keeps it, and calculates the effective one.
    pub on_premises_upn: Edit<String>,
    /// The connector that contributed it: set whenever `on_premises_upn` is.
    pub upn_connector: Edit<ConnectorName>,
    pub display_name: Edit<String>,
    pub given_name: Edit<String>,
    pub surname: Edit<String>,
    pub mail: Edit<String>,
    /// `netbios\name`, for sign-in in the down-level form.
    pub sam: Edit<String>,
    /// An add without it makes a disabled user.
    pub account_enabled: Edit<bool>,
    pub credential_source: Edit<CredentialLink>,
    /// Attributes without a place of their own; `None` removes one.
    pub attributes: BTreeMap<String, Option<serde_json::Value>>,
}

/// Where a user's password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialLink {
    pub source: CredentialSource,
    /// Password sync is enabled for this user by the rules in scope.
    pub eligible: bool,
}

/// The attributes of a group, and the change of its memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPatch {
    pub display_name: Edit<String>,
    pub mail: Edit<String>,
    pub sid: Edit<String>,
    pub attributes: BTreeMap<String, Option<serde_json::Value>>,
    /// Source anchors of users and groups. One that is not in the directory waits, and joins when it arrives.
    pub members_added: Vec<String>,
    pub members_removed: Vec<String>,
}

/// The `oid` of an object, with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "oid")]
pub enum ObjectId {
    User(UserId),
    Group(GroupId),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(oid) => fmt::Display::fmt(oid, f),
            Self::Group(oid) => fmt::Display::fmt(oid, f),
        }
    }
}

pub type ExportResult = Result<Accepted, ExportError>;

/// The object is as asked, but for what the warnings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The object's anchor in the tenant space.
    pub oid: ObjectId,
    /// A deleted object came back.
    pub restored: bool,
    /// Of a user that was not deleted.
    pub effective_upn: Option<Upn>,
    pub warnings: Vec<ExportWarning>,
    /// Members that are not in the directory yet. They wait there; nothing needs to be sent again.
    pub members_waiting: Vec<String>,
}

/// Accepted, and worth telling an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "warning")]
pub enum ExportWarning {
    #[error("the suffix of `{upn}` cannot be verified on the internet; the initial domain stands in")]
    NonRoutableUpn { upn: String },
    #[error("the suffix of `{upn}` is not a verified domain of the tenant; the initial domain stands in")]
    UnverifiedSuffix { upn: String },
    #[error("`{upn}` has characters that sign-in names cannot have; a fitting name stands in")]
    InvalidCharacters { upn: String },
    /// The value is quarantined until its holder lets go; then it is given without another export.
    #[error("{attribute} `{value}` belongs to {held_by} already")]
    AttributeValueMustBeUnique { attribute: String, value: String, held_by: String },
}

/// The object is unchanged. `code` is stable; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ExportError {
    pub code: ErrorCode,
    pub message: String,
}

/// The catalogue of export errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The source anchor is missing or breaks the published rules.
    InvalidSourceAnchor,
    /// The object was exported with another source anchor before.
    SourceAnchorChanged,
    /// The source anchor belongs to an object of another type.
    ObjectTypeMismatch,
    /// The object belongs to another connector, or to the cloud.
    ObjectOwnedElsewhere,
    /// A unique value is taken and no stand-in is free.
    AttributeValueMustBeUnique,
    /// A value is malformed in a way that no stand-in can repair.
    IdentityDataValidationFailed,
    /// The UPN's suffix is a verified domain for which its connector may not speak (design D9).
    DomainNotRegisteredForConnector,
    /// Another user has the same credential source.
    CredentialSourceTaken,
    /// There is no object with this `oid`.
    ObjectNotFound,
    /// The object occurs twice in the batch.
    ObjectTwiceInBatch,
    /// An attribute is longer than the directory keeps.
    ExceededAllowedLength,
}

impl ErrorCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSourceAnchor => "InvalidSourceAnchor",
            Self::SourceAnchorChanged => "SourceAnchorChanged",
            Self::ObjectTypeMismatch => "ObjectTypeMismatch",
            Self::ObjectOwnedElsewhere => "ObjectOwnedElsewhere",
            Self::AttributeValueMustBeUnique => "AttributeValueMustBeUnique",
            Self::IdentityDataValidationFailed => "IdentityDataValidationFailed",
            Self::DomainNotRegisteredForConnector => "DomainNotRegisteredForConnector",
            Self::CredentialSourceTaken => "CredentialSourceTaken",
            Self::ObjectNotFound => "ObjectNotFound",
            Self::ObjectTwiceInBatch => "ObjectTwiceInBatch",
            Self::ExceededAllowedLength => "ExceededAllowedLength",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
