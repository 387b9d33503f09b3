//! Metaverse objects: what all connectors together say about one identity, and who said it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Value};
use super::space::ObjectId;
use crate::identity::{ConnectorName, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MvId(pub i64);

impl fmt::Display for MvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MvObject {
    pub id: MvId,
    pub object_type: String,
    /// The winning contribution of each attribute.
    pub attributes: Arc<BTreeMap<Attribute, Contribution>>,
    /// Due for synchronisation because a target changed, or because its time has come.
    pub due: bool,
    /// When its rules may say something else though nothing changes: they ask for the time.
    pub review: Option<Timestamp>,
}

/// The values that won an attribute, with the rule and the object they came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    pub values: Vec<Value>,
    pub rule: String,
    pub connector: ConnectorName,
    pub object: ObjectId,
    /// The rule or another one in scope of the same object lets its password flow; told with `accountEnabled` alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password_sync: bool,
    /// The anchor of the contributing object in its space; told with `accountEnabled` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
}

impl MvObject {
    pub fn new(id: MvId, object_type: &str) -> Self {
        Self { id, object_type: object_type.to_owned(), attributes: Arc::default(), due: false, review: None }
    }

    pub fn values(&self, attribute: &Attribute) -> &[Value] {
        self.attributes.get(attribute).map_or(&[], |contribution| &contribution.values)
    }
}

/// A link of the metaverse, made from one link of a connector space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MvLink {
    /// The source link: owner, attribute and target in the connector space.
    pub contributor: ObjectId,
    pub source_attribute: Attribute,
    pub source_target: ObjectId,
    pub owner: MvId,
    pub attribute: Attribute,
    pub target: MvId,
}
