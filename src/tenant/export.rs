//! What a client of the tenant directory asks for in a batch, and what it is answered per object.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::catalogue::ExportError;
use super::soft_match::MatchKind;
use crate::identity::{ConnectorName, ContactId, CredentialSource, DeviceId, GroupId, LeaseEpoch, Upn, UserId};

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
    /// The connector that contributed the source anchor; it owns the object from then on (design D9). Changes in the name of any
    /// other are refused.
    pub anchor_connector: ConnectorName,
    /// The connector that contributes the same source anchor from now on, when it is another one: the object is handed over.
    pub handed_to: Option<ConnectorName>,
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
    PutPlain(PlainKind, Box<PlainPatch>),
    /// Soft: kept for 30 days, restored by the same source anchor (design D22).
    DeleteUser,
    DeleteGroup,
    DeletePlain(PlainKind),
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

/// The attributes of a contact or a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainPatch {
    pub display_name: Edit<String>,
    pub mail: Edit<String>,
    pub attributes: BTreeMap<String, Option<serde_json::Value>>,
}

/// An object that nobody signs in as and that has no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainKind {
    /// A person or mailbox elsewhere, for address books.
    Contact,
    /// A computer that joined a directory on premises.
    Device,
}

impl PlainKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Device => "device",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Contact, Self::Device].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The `oid` of an object of this kind.
    pub const fn id(self, oid: uuid::Uuid) -> ObjectId {
        match self {
            Self::Contact => ObjectId::Contact(ContactId::from_uuid(oid)),
            Self::Device => ObjectId::Device(DeviceId::from_uuid(oid)),
        }
    }
}

/// The `oid` of an object, with its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "oid")]
pub enum ObjectId {
    User(UserId),
    Group(GroupId),
    Contact(ContactId),
    Device(DeviceId),
}

impl ObjectId {
    /// The word of rule files and stored rows.
    pub const fn type_word(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Contact(_) => PlainKind::Contact.as_str(),
            Self::Device(_) => PlainKind::Device.as_str(),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(oid) => fmt::Display::fmt(oid, f),
            Self::Group(oid) => fmt::Display::fmt(oid, f),
            Self::Contact(oid) => fmt::Display::fmt(oid, f),
            Self::Device(oid) => fmt::Display::fmt(oid, f),
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
    #[error("{attribute} `{}` is left out: {reason}", value.escape_debug())]
    MalformedAddress { attribute: String, value: String, reason: String },
    #[error("proxyAddresses `{value}` is kept as a further address: one is primary, and that is `{primary}`")]
    SecondPrimaryAddress { value: String, primary: String },
    #[error("{attribute} `{value}` is left out: connector {connector} may not speak for its domain, and others do")]
    AddressOfForeignDomain { attribute: String, value: String, connector: String },
    /// The object was made in the cloud and belongs to the connector from now on.
    #[error("an object that was made in the cloud was taken over by its {}", by.as_str())]
    TookOver { by: MatchKind },
}
