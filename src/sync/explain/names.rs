//! Names of objects as operators read and write them.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::rule::names::{SOURCE_ANCHOR, UPN};
use crate::sync::space::{ObjectId, SpaceHead};
use crate::sync::store::{EngineStore, StoreResult};

/// An object by a name that finds it again on the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    /// `connector:DN`, `connector:anchor` or `mv:ID`.
    pub name: String,
    /// What people call it, where the name does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{} ({label})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The names of the objects of one answer.
#[derive(Default)]
pub struct Names {
    heads: HashMap<ObjectId, SpaceHead>,
    metaverse: HashMap<MvId, Option<String>>,
}

/// Levels of a tree that are climbed at most.
const DEEPEST: usize = 200;

impl Names {
    /// Reads the names of these objects. Those read before are not asked for again.
    pub async fn read(
        &mut self,
        store: &dyn EngineStore,
        objects: impl IntoIterator<Item = ObjectId>,
        mvs: impl IntoIterator<Item = MvId>,
    ) -> StoreResult<()> {
        let mut wanted: BTreeSet<ObjectId> = objects.into_iter().collect();
        for _ in 0..DEEPEST {
            wanted.retain(|id| !self.heads.contains_key(id));
            if wanted.is_empty() {
                break;
            }
            let ids: Vec<ObjectId> = wanted.iter().copied().collect();
            let read = store.heads(&ids).await?;
            wanted = read.iter().filter_map(|head| head.parent).collect();
            self.heads.extend(read.into_iter().map(|head| (head.id, head)));
        }
        let mvs: BTreeSet<MvId> = mvs.into_iter().filter(|mv| !self.metaverse.contains_key(mv)).collect();
        let mvs: Vec<MvId> = mvs.into_iter().collect();
        for object in store.metaverse(&mvs).await? {
            self.metaverse.insert(object.id, label(&object));
        }
        Ok(())
    }

    pub fn head(&self, id: ObjectId) -> Option<&SpaceHead> {
        self.heads.get(&id)
    }

    pub fn object(&self, id: ObjectId) -> Named {
        let Some(head) = self.heads.get(&id) else { return Named { name: format!("object {id}"), label: None } };
        if head.place.is_some() {
            return Named { name: format!("{}:{}", head.connector, self.dn(head)), label: None };
        }
        let label =
            (head.anchor.as_deref() != Some(head.rdn.as_str()) && !head.rdn.is_empty()).then(|| head.rdn.clone());
        match (&head.anchor, label) {
            (Some(anchor), label) => Named { name: format!("{}:{anchor}", head.connector), label },
            // Provisioned and not yet there: it has no anchor.
            (None, label) => Named { name: format!("{}:(new)", head.connector), label },
        }
    }

    /// The distinguished name, derived from the names of the containers above.
    pub fn dn(&self, head: &SpaceHead) -> String {
        let (mut parts, mut next) = (vec![head.rdn.as_str()], head.parent);
        while let Some(parent) = next.and_then(|id| self.heads.get(&id)) {
            if parts.len() > DEEPEST {
                break;
            }
            parts.push(&parent.rdn);
            next = parent.parent;
        }
        parts.join(",")
    }

    pub fn mv(&self, id: MvId) -> Named {
        Named { name: format!("mv:{id}"), label: self.metaverse.get(&id).cloned().flatten() }
    }
}

/// What people call a metaverse object.
pub fn label(object: &MvObject) -> Option<String> {
    [UPN, "displayName", SOURCE_ANCHOR]
        .into_iter()
        .find_map(|name| object.values(&name.into()).first())
        .map(|value| value.as_text().to_owned())
}
