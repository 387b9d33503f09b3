//! What a connected system is to the engine: the contract of all connectors.
//!
//! A connector brings one system (a directory, a database, a folder of files, a remote service) into the engine's
//! terms and decides nothing: which objects join, what flows where and what is deleted is the engine's. It answers three
//! questions. [`Connector::import`] tells what the system holds, or what changed in it since a [`Watermark`];
//! [`Connector::export`] carries out changes; [`Connector::read_back`] tells the present state of single objects. What it
//! can do of these it declares once, in [`Capabilities`], and the engine asks for nothing else: calls that a connector
//! does not declare answer [`ConnectorError::Unsupported`].
//!
//! # The objects of a system
//!
//! An object is known by its *anchor*: a text that the system gives it, that never changes and that no other object of the
//! connector has, whatever its type. Names (a DN, a login name) may change and be handed on; anchors may not. An
//! [`ImportedObject`] is always told whole: an attribute that it lacks has no value. Values are told as the system
//! has them, in any order; the engine sorts them and compares. In hierarchical systems objects carry their distinguished
//! names, and containers are objects like others.
//!
//! References name their target by DN or by anchor. A target may be told later, in another page or another run, or never:
//! the engine keeps its place.
//!
//! # Reading
//!
//! A full import tells every object in scope, each once. `next_page` returns `None` only after the system was read to its
//! very end; whatever cuts a read short (a lost connection, a size limit, a file that shrinks) is an error. What a full
//! import did not tell is deleted after it, so that a short read that looks complete costs people their accounts. When in
//! doubt, abort.
//!
//! An entry that cannot be taken (no anchor, two with one anchor, malformed) is told in [`ImportPage::refused`] and stops
//! nobody else; whom it may stand for is told with it ([`Hidden`]), so that nobody is deleted for a malformed line. A system
//! that cannot be read at all is an error.
//!
//! The watermark of a full import is taken *before* its first read, so that what changes meanwhile is told again by the next
//! delta import. A page's watermark is committed in the transaction of the page itself: it may cover only changes
//! that this page and the pages before it told. A connector that tells no watermark during a full import is imported in full
//! again. Deltas may tell an object again that did not change, and must not leave out one that did, within what
//! [`DeltaReports`] declares. A watermark that does not fit (another server, a restored backup, a change log that was trimmed,
//! other settings) answers [`ConnectorError::StaleWatermark`], before any removal is told; the engine then reads everything.
//!
//! # Writing
//!
//! A batch is a set of changes of different objects, at most [`Capabilities::largest_batch`]; where the system can, it is
//! judged on its end state. The answer has one [`ExportResult`] per change, in the order of the batch. A change that the
//! system refuses is refused alone, and one of which nothing is known is in doubt alone. An error instead of results means that the fate of the *whole* batch is unknown: the engine
//! reads its objects back before it sends anything again.
//!
//! Every change may arrive twice. Deleting what is gone, adding a link that is there, removing one that is not, and updating to
//! the values that are there are accepted. An add that arrives again for the same [`Capabilities::add_key`] finds the object
//! that the first one made and answers with its anchor; it never makes a second.
//!
//! A source that declares [`Capabilities::writes_back`] takes updates alone, of objects that it told.
//!
//! # Checking an implementation
//!
//! `tests/it/connectors/conformance.rs` holds a suite that checks a connector against its own declaration. Its `Peer` trait is
//! the hand that changes the system behind the connector's back.
//!
//! Every type here is owned and serialisable, so that an agent can carry it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Attributes, Value};
use super::lease::Turn;
use super::object_id::ObjectId;
use crate::identity::{ConnectorName, DistinguishedName};

/// A connected system: a directory on premises, the tenant directory, a remote service.
///
/// Implementations hold settings and clients, no state of a run: the engine may open several imports, drop one before
/// its end, and ask from any task.
#[async_trait::async_trait]
pub trait Connector: Send + Sync {
    /// The name in the settings; unique among the connectors of a gateway.
    fn name(&self) -> &ConnectorName;

    /// What this connector can do. Never changes while the gateway runs.
    fn capabilities(&self) -> Capabilities;

    /// What deltas since a watermark tell, where that depends on the server that gave it. `None`: no delta goes on from it.
    fn delta_since(&self, _since: &Watermark) -> Option<DeltaReports> {
        self.capabilities().delta
    }

    /// Opens a read of the connected system. The stream is pulled page by page, so the engine sets the pace: an
    /// implementation holds a bounded number of pages in memory.
    ///
    /// # Errors
    /// [`ConnectorError::Unreachable`] when no server answers, [`ConnectorError::StaleWatermark`] for a delta that cannot
    /// go on, [`ConnectorError::Unsupported`] for a delta when [`Capabilities::delta`] is `None`,
    /// [`ConnectorError::Settings`] when the settings name what is not there.
    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError>;

    /// Reads one object of a source as an import would tell it: if it is in scope, with what the rules want of it.
    ///
    /// # Errors
    /// As [`Self::import`]; [`ConnectorError::Unsupported`] when [`Capabilities::single_import`] is false.
    async fn import_one(&self, _: Sought, _: SingleRequest) -> Result<SingleRead, ConnectorError> {
        let what = "reading one object; a run imports it with the others";
        Err(ConnectorError::Unsupported { connector: self.name().clone(), what })
    }

    /// Carries out a batch, judged on its end state. One result per change, in the order of the batch. `turn` is asked before
    /// each change: nothing leaves once it is over.
    ///
    /// # Errors
    /// Any error leaves the batch in doubt. [`ConnectorError::Unsupported`] when neither [`Capabilities::exports`] nor
    /// [`Capabilities::writes_back`] is declared.
    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError>;

    /// Reads single objects back, by anchor or, for an add whose answer was lost, by the key it was added under. One
    /// answer per question, in their order; `None` for what is not there (or no longer in scope).
    ///
    /// # Errors
    /// [`ConnectorError::Unsupported`] when [`Capabilities::single_read`] is false.
    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError>;
}

/// Pages of an import. Dropping the stream gives the read up.
#[async_trait::async_trait]
pub trait ImportStream: Send {
    /// The next page; `None` once everything was read to its end, and on every call after that. An error is an aborted read:
    /// it obsoletes nothing, and pages told before it stand.
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError>;
}

/// Objects of one page, at most: what an import may hold in memory and commit at once.
pub const LARGEST_PAGE: usize = 10_000;

/// What a connector can do; drives the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The rule files address connectors by this word, such as `ldap` or `tenant`.
    pub kind: String,
    /// Objects lie in a tree and are named by distinguished names.
    pub hierarchical: bool,
    /// Accepts exports; its space is then a target space, confirmed by import.
    pub exports: bool,
    /// Accepts updates of the objects that it is the source of. Its space stays a source space: imports confirm what was
    /// written, rules join and provision nothing here.
    #[serde(default)]
    pub writes_back: bool,
    /// What delta imports tell; `None`: every import is full.
    pub delta: Option<DeltaReports>,
    /// How references arrive.
    pub links: LinkReports,
    /// Takes [`ImportMode::Selected`]. Needed where names are DNs: a delta tells who moved, not who refers to them.
    pub selected_import: bool,
    /// Answers [`Connector::import_one`].
    #[serde(default)]
    pub single_import: bool,
    /// Answers [`Connector::read_back`] by anchor, and by [`Capabilities::add_key`] when one is declared.
    pub single_read: bool,
    /// An accepted add names the new object's anchor. Where it does not, the confirming import tells it.
    pub anchor_at_add: bool,
    /// Watermarks name the server and the incarnation of its data, so that a restored backup is noticed.
    pub server_incarnation: bool,
    /// Changes of one [`Connector::export`] at most. The engine lease is checked before each: a batch should leave within
    /// seconds.
    pub largest_batch: usize,
    /// The attribute of an add under which it is found again when the answer was lost.
    pub add_key: Option<Attribute>,
    /// Attributes by which the target knows whose object a change concerns; told with every change.
    pub identity: Vec<Attribute>,
    /// Attributes whose value only one object may hold: what frees such a value is exported first.
    pub unique: Vec<Attribute>,
    /// Attributes whose values are distinguished names, which a system may spell in its own way.
    #[serde(default)]
    pub names: Vec<Attribute>,
    /// What becomes of an object that others made and that a rule's join adopted, once nobody wants it any more.
    #[serde(default)]
    pub adopted: Adopted,
    /// How a disabled account looks here; used by `account_enabled` flows.
    pub disabled_when: Vec<DisabledTest>,
    /// What rules may use as `%name%`, such as `Domain.FQDN`.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// What becomes of adopted objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopted {
    /// They are deleted like objects that rules provisioned.
    #[default]
    Deleted,
    /// They stay as they are. An object counts as provisioned that is joined by `mark`, or whose `mark` has the value that
    /// rules give it: that attribute is written when an object is added, and to no object that was adopted.
    Kept { mark: Option<Attribute> },
}

/// Changes per batch where a connector names no smaller number.
pub const USUAL_BATCH: usize = 500;

/// What a delta import tells besides added and changed objects. Where it does not, full imports must be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaReports {
    /// Deleted objects, by anchor.
    pub deletes: bool,
    /// Objects whose name or container changed; for a renamed container, the container suffices. True for systems
    /// without a tree.
    pub moves: bool,
    /// Objects that no longer match what is imported (a filter, a query, a container), as deleted.
    pub filter_exits: bool,
}

/// How references arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkReports {
    /// With their owner: a reference attribute of an imported object is told whole.
    WithOwner,
    /// One by one, in [`ImportPage::links`].
    OneByOne,
}

impl Capabilities {
    /// A source that can only be read in full; to be refined with struct update syntax.
    pub fn source(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            hierarchical: false,
            exports: false,
            writes_back: false,
            delta: None,
            links: LinkReports::WithOwner,
            selected_import: false,
            single_import: false,
            single_read: false,
            anchor_at_add: false,
            server_incarnation: false,
            largest_batch: USUAL_BATCH,
            add_key: None,
            identity: Vec::new(),
            unique: Vec::new(),
            names: Vec::new(),
            adopted: Adopted::Deleted,
            disabled_when: Vec::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// A target whose adds are answered with the new anchor and found again by `add_key`.
    pub fn target(kind: &str, add_key: impl Into<Attribute>) -> Self {
        Self {
            exports: true,
            single_read: true,
            anchor_at_add: true,
            add_key: Some(add_key.into()),
            ..Self::source(kind)
        }
    }

    /// The attribute that tells what rules added here from what others made.
    pub fn mark(&self) -> Option<&Attribute> {
        match &self.adopted {
            Adopted::Kept { mark } => mark.as_ref(),
            Adopted::Deleted => None,
        }
    }

    /// Whether two lists of values of an attribute, in canonical order, say the same.
    pub fn agree(&self, name: &Attribute, one: &[Value], other: &[Value]) -> bool {
        one == other
            || (self.names.contains(name)
                && one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| {
                    let name = |value: &Value| value.as_text().parse::<DistinguishedName>();
                    matches!((name(one), name(other)), (Ok(one), Ok(other)) if one == other)
                }))
    }
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
    /// Containers that the settings name, with the anchor each had when it was first seen. Found by anchor from then on,
    /// so that a renamed container keeps its people.
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
    /// Everything in scope.
    Full,
    /// What changed since a watermark that this connector told.
    Delta { since: Watermark },
    /// Single objects, and containers with all below them, by anchor, as they are now at the server of a watermark. What is
    /// not there, or not in scope, is told as deleted. Tells no watermark.
    Selected { at: Watermark, objects: Vec<String>, subtrees: Vec<String> },
}

/// What one object is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sought {
    /// In hierarchical systems.
    Dn(DistinguishedName),
    Anchor(String),
}

/// How one object is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleRequest {
    /// As in [`ImportRequest`].
    pub bases: Vec<KnownBase>,
    pub wanted: BTreeMap<String, Wanted>,
}

/// What reading one object came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SingleRead {
    /// The page holds the object alone, and containers of the settings that were found by the way. It tells no watermark.
    Found(Box<ImportPage>),
    /// It is there, and an import would not tell it.
    OutOfScope {
        reason: String,
    },
    Absent,
}

/// A container named by the settings. The anchor finds it after it was renamed or moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBase {
    pub named: DistinguishedName,
    pub anchor: String,
}

/// How far a connected system was read. Belongs to one server and one incarnation of its data. The engine stores and
/// returns it and reads nothing into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Whose numbers these are; empty where there is only one.
    pub server: String,
    /// Changes when the server's data were restored or made anew; empty where the system has no such notion.
    pub incarnation: String,
    /// A cookie, a change number, a time.
    pub value: String,
}

/// A piece of a read: at most [`LARGEST_PAGE`] objects. May be empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImportPage {
    pub objects: Vec<ImportedObject>,
    /// Anchors of objects that a delta reports as deleted. Anchors the engine does not know are passed over.
    pub deleted: Vec<String>,
    /// Of a delta: objects that no longer match what is read as their type, by that type. They are gone if they are of
    /// that type still.
    pub left: BTreeMap<String, Vec<String>>,
    /// Of a delta: objects that lie outside the scope now, and with them everything below.
    pub left_below: Vec<String>,
    /// Anchors of objects that are there, unchanged.
    pub present: Vec<String>,
    /// Of a delta that named everything that is there: the object types of which whatever was not named is gone.
    pub enumerated: BTreeSet<String>,
    /// Links told one by one instead of with their owner.
    pub links: Vec<LinkReport>,
    /// Committed together with this page.
    pub watermark: Option<Watermark>,
    /// Containers of the settings that were found, to be remembered by anchor.
    pub bases: Vec<KnownBase>,
    /// Entries that could not be taken, by name.
    pub refused: Vec<RefusedEntry>,
}

impl ImportPage {
    /// The same in pages of at most so many objects. What concerns the whole, the watermark above all, goes with the last.
    pub fn pieces(mut self, objects: usize) -> Vec<Self> {
        let mut pieces = Vec::new();
        while self.objects.len() > objects {
            let rest = self.objects.split_off(objects);
            pieces.push(Self { objects: std::mem::replace(&mut self.objects, rest), ..Self::default() });
        }
        pieces.push(self);
        pieces
    }
}

/// One link as it is or is no more; its ends by [`Capabilities::add_key`], or by anchor where none is declared.
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
    /// Where an operator finds it: a DN, a file with its line, a key.
    pub name: String,
    /// What is wrong with it, without its secrets.
    pub reason: String,
    pub hides: Hidden,
}

/// Whom a refused entry may stand for. A full import deletes nobody whom it could not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hidden {
    /// Nobody who could be an object.
    Nobody,
    /// The object with this anchor, which stays as it is.
    Object(String),
    /// The object that was last told under this name, which stays as it is.
    At(DistinguishedName),
    /// It cannot be told: the whole import deletes nothing.
    Anybody,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedObject {
    /// Immutable and unique within the connector.
    pub anchor: String,
    /// In hierarchical systems.
    pub dn: Option<DistinguishedName>,
    /// The word of the rule files, such as `user` or `group`.
    pub object_type: String,
    pub container: bool,
    pub attributes: Attributes,
    /// Whole, by attribute. An attribute that is told with no target has none; under [`LinkReports::OneByOne`] nothing is
    /// told here.
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
    /// With every attribute that the rules give it; links follow by themselves.
    Add {
        attributes: Attributes,
    },
    /// Whole values by attribute; attributes with no value are removed, those not named stay.
    Update {
        anchor: String,
        changes: Attributes,
    },
    Delete {
        anchor: String,
    },
    /// Links of one owner; targets by type and anchor. Links not named stay.
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
    /// Carried out; an add names its anchor (see [`Capabilities::anchor_at_add`]). A warning is reported and changes
    /// nothing.
    Accepted { anchor: Option<String>, warning: Option<String> },
    /// Refused for this object alone. The code is a short word of the connected system that stays the same for the same
    /// fault; the reason is for the operator. The engine tries again with the next run.
    Refused { code: String, reason: String },
    /// It is not known what became of this change: the system broke on it, or did not answer. The engine reads the object
    /// back before it sends anything of it again.
    Unknown { reason: String },
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
    /// The watermark does not fit this system any more: everything has to be read. Told before any removal.
    #[error("{connector} cannot tell what changed: {reason}")]
    StaleWatermark { connector: ConnectorName, reason: String },
    /// The settings do not fit the connected system.
    #[error("the settings of {connector} do not fit: {reason}")]
    Settings { connector: ConnectorName, reason: String },
    /// It answers, and refuses the whole batch or read.
    #[error("{connector} refused: {reason}")]
    Refused { connector: ConnectorName, reason: String },
    #[error("{connector} cannot do that: {what}")]
    Unsupported { connector: ConnectorName, what: &'static str },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_of_a_page_goes_with_its_last_piece() {
        const MOST: usize = 100;
        let object = |number: usize| ImportedObject {
            anchor: number.to_string(),
            dn: None,
            object_type: "user".to_owned(),
            container: false,
            attributes: Default::default(),
            references: Default::default(),
        };
        let watermark = Watermark { server: "tenant".into(), incarnation: String::new(), value: "9".into() };
        for count in [0, 1, MOST, MOST + 1, 2 * MOST, 5 * MOST - 1] {
            let page = ImportPage {
                objects: (0..count).map(object).collect(),
                deleted: vec!["gone".into()],
                watermark: Some(watermark.clone()),
                ..ImportPage::default()
            };
            let pieces = page.pieces(MOST);
            assert!(pieces.iter().all(|piece| piece.objects.len() <= MOST));
            let told: Vec<String> =
                pieces.iter().flat_map(|piece| &piece.objects).map(|object| object.anchor.clone()).collect();
            assert_eq!(told, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
            let (last, rest) = pieces.split_last().expect("at least one piece");
            assert_eq!((last.watermark.as_ref(), last.deleted.len()), (Some(&watermark), 1));
            assert!(rest.iter().all(|piece| piece.watermark.is_none() && piece.deleted.is_empty()));
        }
    }
}
