//! What a connected system is to the engine: the contract of all connectors.
//!
//! Every type here is owned and serialisable, so that an agent can carry it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Attributes};
use super::space::ObjectId;
use crate::identity::{ConnectorName, DistinguishedName};

/// A connected system: a directory on premises, the tenant directory, a remote service.
#[async_trait::async_trait]
pub trait Connector: Send + Sync {
    fn name(&self) -> &ConnectorName;

    fn capabilities(&self) -> Capabilities;

    /// Opens a read of the connected system. The stream is pulled page by page, so the engine sets the pace.
    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError>;

    /// Carries out a batch, judged on its end state. One result per change, in the order of the batch.
    async fn export(&self, batch: Vec<ExportChange>) -> Result<Vec<ExportResult>, ConnectorError>;

    /// Reads single objects back, by anchor or, for an add whose answer was lost, by the key it was added under.
    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError>;
}

/// Pages of an import.
#[async_trait::async_trait]
pub trait ImportStream: Send {
    /// The next page; `None` once everything was read to its end. An error is an aborted read: it obsoletes nothing.
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError>;
}

/// What a connector can do; drives the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The rule files address connectors by this word, such as `ldap` or `tenant`.
    pub kind: String,
    /// Objects lie in a tree and are named by distinguished names.
    pub hierarchical: bool,
    /// Accepts exports; its space is then a target space, confirmed by import.
    pub exports: bool,
    /// Can read what changed since a watermark, deletes included.
    pub delta_import: bool,
    /// The attribute of an add under which it is found again when the answer was lost.
    pub add_key: Option<Attribute>,
    /// Attributes by which the target knows whose object a change concerns; told with every change.
    pub identity: Vec<Attribute>,
    /// Attributes whose value only one object may hold: what frees such a value is exported first.
    pub unique: Vec<Attribute>,
    /// How a disabled account looks here; used by `account_enabled` flows.
    pub disabled_when: Vec<DisabledTest>,
}

/// One configured test for a disabled account; any that holds means disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "test")]
pub enum DisabledTest {
    Equals { attribute: Attribute, value: String },
    BitSet { attribute: Attribute, bit: i64 },
}

impl DisabledTest {
    /// OpenLDAP's permanent lock, the 389 Directory Server's inactivation, and AD's account flag.
    pub fn defaults() -> Vec<Self> {
        let equals =
            |attribute: &str, value: &str| Self::Equals { attribute: attribute.into(), value: value.to_owned() };
        vec![
            equals("pwdAccountLockedTime", "000001010000Z"),
            equals("nsAccountLock", "TRUE"),
            Self::BitSet { attribute: "userAccountControl".into(), bit: 2 },
        ]
    }

    pub fn holds(&self, attributes: &Attributes) -> bool {
        match self {
            Self::Equals { attribute, value } => attributes
                .get(attribute)
                .is_some_and(|values| values.iter().any(|v| v.folded() == crate::identity::fold(value))),
            Self::BitSet { attribute, bit } => attributes
                .get(attribute)
                .and_then(|values| values.first())
                .and_then(|value| value.as_text().parse::<i64>().ok())
                .is_some_and(|flags| flags & bit != 0),
        }
    }

    pub fn attribute(&self) -> &Attribute {
        match self {
            Self::Equals { attribute, .. } | Self::BitSet { attribute, .. } => attribute,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    pub mode: ImportMode,
    /// Containers that the settings name, with the anchor each had when it was first seen.
    pub bases: Vec<KnownBase>,
    /// What the rules read, by object type.
    pub wanted: BTreeMap<String, Wanted>,
}

/// The attributes of one object type that the rules read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub attributes: BTreeSet<Attribute>,
    /// Those whose values refer to other objects.
    pub references: BTreeSet<Attribute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportMode {
    Full,
    Delta { since: Watermark },
}

/// A container named by the settings. The anchor finds it after it was renamed or moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBase {
    pub named: DistinguishedName,
    pub anchor: String,
}

/// How far a connected system was read. Belongs to one server and one incarnation of its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    pub server: String,
    pub incarnation: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImportPage {
    pub objects: Vec<ImportedObject>,
    /// Anchors of objects that a delta reports as deleted.
    pub deleted: Vec<String>,
    /// Links told one by one instead of with their owner.
    pub links: Vec<LinkReport>,
    /// Committed together with this page.
    pub watermark: Option<Watermark>,
    /// Containers of the settings that were found, to be remembered by anchor.
    pub bases: Vec<KnownBase>,
    /// Entries that could not be taken, by name.
    pub refused: Vec<RefusedEntry>,
}

/// One link of a target as it is or is no more; its ends by [`Capabilities::add_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    pub owner: String,
    pub attribute: Attribute,
    pub target: String,
    pub present: bool,
}

/// An entry that was read but is no object of the space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEntry {
    pub name: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedObject {
    pub anchor: String,
    /// In hierarchical systems.
    pub dn: Option<DistinguishedName>,
    pub object_type: String,
    pub container: bool,
    pub attributes: Attributes,
    pub references: BTreeMap<Attribute, Vec<Reference>>,
}

/// The target of a reference value as the connected system names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reference {
    Dn(DistinguishedName),
    Anchor(String),
}

/// One pending export on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportChange {
    pub object: ObjectId,
    pub object_type: String,
    /// The values of [`Capabilities::identity`].
    pub identity: Attributes,
    pub operation: ExportOperation,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportOperation {
    Add {
        attributes: Attributes,
    },
    /// Attributes with no value are removed.
    Update {
        anchor: String,
        changes: Attributes,
    },
    Delete {
        anchor: String,
    },
    /// Links of one owner; targets by type and anchor.
    Links {
        anchor: String,
        attribute: Attribute,
        add: Vec<LinkTarget>,
        remove: Vec<LinkTarget>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkTarget {
    pub object_type: String,
    pub anchor: String,
    /// The value of [`Capabilities::add_key`].
    pub key: String,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportResult {
    /// Carried out; an add names its anchor. A warning is reported and changes nothing.
    Accepted { anchor: Option<String>, warning: Option<String> },
    /// Refused for this object alone.
    Refused { code: String, reason: String },
}

/// An object whose export is in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadBack {
    ByAnchor {
        object_type: String,
        anchor: String,
    },
    /// The value of [`Capabilities::add_key`].
    ByAddKey {
        object_type: String,
        value: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// The connected system could not be reached, or stopped answering.
    #[error("{connector} is unreachable: {reason}")]
    Unreachable { connector: ConnectorName, reason: String },
    /// The read ended before its end.
    #[error("the read of {connector} was aborted: {reason}")]
    Aborted { connector: ConnectorName, reason: String },
    /// The settings do not fit the connected system.
    #[error("the settings of {connector} do not fit: {reason}")]
    Settings { connector: ConnectorName, reason: String },
    /// It answers, and refuses the whole batch or read.
    #[error("{connector} refused: {reason}")]
    Refused { connector: ConnectorName, reason: String },
    #[error("{connector} cannot do that: {what}")]
    Unsupported { connector: ConnectorName, what: &'static str },
}
