//! Objects and links of a connector space (design, section 4 "Objects and links").

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Attributes};
use super::connector::{Adopted, Capabilities};
use super::metaverse::MvId;
pub use super::object_id::ObjectId;
use super::rule::names;
use crate::identity::{ConnectorName, Timestamp};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code in the store and in reports.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// What a row of the space stands for.
    ObjectKind {
        Object = "object",
        Container = "container",
        /// Fills a hole: a parent or a reference target that was not imported. Never joined.
        Placeholder = "placeholder",
    }
}

codes! {
    /// What was imported and not yet synchronised.
    PendingImport { None = "none", Add = "add", Update = "update", Delete = "delete" }
}

codes! {
    /// Where a link stands between import, staging and export.
    LinkState {
        /// Shown by the connected system.
        Confirmed = "confirmed",
        /// No longer shown by a source; to be synchronised, then gone.
        Removed = "removed",
        StagedAdd = "staged-add",
        StagedDelete = "staged-delete",
        SentAdd = "sent-add",
        SentDelete = "sent-delete",
    }
}

/// What import needs of an object: where it stands and whether it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceHead {
    pub id: ObjectId,
    pub connector: ConnectorName,
    pub object_type: String,
    pub kind: ObjectKind,
    pub anchor: Option<String>,
    pub parent: Option<ObjectId>,
    /// The RDN as the directory writes it; a label in systems without a tree.
    pub rdn: String,
    /// Parent id and folded RDN: the key by which a DN is resolved.
    pub place: Option<String>,
    /// Over everything shown; equal digests mean nothing to compare.
    pub digest: String,
    pub pending_import: PendingImport,
    pub mv: Option<MvId>,
}

/// An object of a connector space with the states that are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceObject {
    pub id: ObjectId,
    pub connector: ConnectorName,
    pub object_type: String,
    pub kind: ObjectKind,
    pub anchor: Option<String>,
    pub rdn: String,
    /// What the connected system last showed; `None` before it showed anything.
    pub shown: Option<Arc<Attributes>>,
    pub pending_import: PendingImport,
    /// Due for synchronisation, by a pending import or by an edge that leads here.
    pub due: bool,
    /// What was sent, accepted and not yet confirmed by an import.
    pub unconfirmed: Option<Unconfirmed>,
    pub mv: Option<MvId>,
    /// The rule that joined, projected or provisioned it. In a target space it outlasts the link while an answer is out:
    /// the object is to be deleted once its fate is known.
    pub joined_by: Option<String>,
    /// The rules in scope at the last evaluation; a change moves its links.
    pub applied: BTreeSet<String>,
    /// In a target space: the value by which a metaverse object adopts it.
    pub match_key: Option<String>,
    /// In a target space: since when it is known of an object that no export of this engine had made.
    pub found_at: Option<Timestamp>,
}

/// An accepted export that no import has shown yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub kind: ExportKind,
    pub changes: Attributes,
}

codes! {
    ExportKind { Add = "add", Update = "update", Delete = "delete" }
}

codes! {
    /// The life of a pending export. What is accepted leaves this list and waits for confirmation at its object.
    ExportState {
        Pending = "pending",
        /// Recorded before it left; the answer is not known yet.
        Sent = "sent",
        /// Sent before a crash: to be read back before anything is resent.
        InDoubt = "in-doubt",
        Failed = "failed",
    }
}

/// A staged change of one object of a target space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingExport {
    pub object: ObjectId,
    pub connector: ConnectorName,
    pub kind: ExportKind,
    /// Of an add or update; an attribute without values is to be removed.
    pub changes: Attributes,
    pub state: ExportState,
    pub error: Option<String>,
    /// How often it was sent, or asked about, since the target last answered.
    pub attempts: i64,
}

impl PendingExport {
    pub fn staged(object: ObjectId, connector: ConnectorName, kind: ExportKind, changes: Attributes) -> Self {
        Self { object, connector, kind, changes, state: ExportState::Pending, error: None, attempts: 0 }
    }
}

impl SpaceObject {
    /// What rules read of an object of a source: what imports showed, and over it what was written back and accepted.
    pub fn view(&self) -> Option<Cow<'_, Attributes>> {
        match (&self.shown, &self.unconfirmed) {
            (Some(shown), None) => Some(Cow::Borrowed(shown)),
            (Some(_), Some(_)) => self.effective().map(Cow::Owned),
            (None, _) => None,
        }
    }

    /// What the target holds once all accepted exports are confirmed: the base of every difference.
    pub fn effective(&self) -> Option<Attributes> {
        held(self.shown.as_deref(), self.unconfirmed.as_ref())
    }

    /// Whether an export of ours ever arrived at this object of a target. A target that is told whose an object is tells it
    /// of each of them; of any other target everything that rules provision is taken for ours, but for what is kept.
    pub fn is_ours(&self, capabilities: &Capabilities) -> bool {
        let owner = Attribute::from(names::ANCHOR_CONNECTOR);
        if capabilities.identity.contains(&owner) {
            return self.effective().is_some_and(|held| held.contains_key(&owner));
        }
        !self.is_kept(capabilities)
    }

    /// Whether it stays at its target when whoever adopted it leaves: others made it.
    pub fn is_kept(&self, capabilities: &Capabilities) -> bool {
        match capabilities.adopted {
            Adopted::Deleted => false,
            Adopted::Kept { .. } => self.found_at.is_some(),
        }
    }
}

/// What a target holds that showed `shown` once `unconfirmed` is confirmed.
pub fn held(shown: Option<&Attributes>, unconfirmed: Option<&Unconfirmed>) -> Option<Attributes> {
    match (shown, unconfirmed) {
        (_, Some(Unconfirmed { kind: ExportKind::Delete, .. })) => None,
        (None, None) => None,
        (shown, unconfirmed) => {
            let mut attributes = shown.cloned().unwrap_or_default();
            if let Some(unconfirmed) = unconfirmed {
                apply(&mut attributes, &unconfirmed.changes);
            }
            Some(attributes)
        }
    }
}

/// Lays `changes` over `attributes`; an attribute without values is removed.
pub fn apply(attributes: &mut Attributes, changes: &Attributes) {
    for (name, values) in changes {
        if values.is_empty() {
            attributes.remove(name);
        } else {
            attributes.insert(name.clone(), values.clone());
        }
    }
}

/// A reference from one object of a space to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    pub owner: ObjectId,
    pub attribute: Attribute,
    pub target: ObjectId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceLink {
    pub key: LinkKey,
    pub state: LinkState,
}
