//! Where one object stands: what its system shows, what was imported, what is staged, what was sent, each told apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::InspectError;
use super::find::{Found, ObjectName, find};
use super::names::{Named, Names};
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::metaverse::{Contribution, MvId};
use crate::sync::problem::Problem;
use crate::sync::run::Runner;
use crate::sync::space::{ExportKind, ExportState, LinkState, ObjectId, ObjectKind, PendingImport};
use crate::sync::store::EngineStore;

/// Links that are named; all are counted.
const NAMED: usize = 50;

/// An object of the metaverse with its objects in all spaces, or one object of a space that is not joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectState {
    pub metaverse: Option<InMetaverse>,
    pub spaces: Vec<SpaceState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InMetaverse {
    pub object: Named,
    pub object_type: String,
    /// An export or a target's answer waits to be looked at.
    pub due: bool,
    pub attributes: BTreeMap<Attribute, Contribution>,
    /// Those it refers to, as `attribute object`; the first ones.
    pub refers_to: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceState {
    pub object: Named,
    pub connector: String,
    pub object_type: String,
    pub kind: ObjectKind,
    pub anchor: Option<String>,
    /// The rule that joined, projected or provisioned it.
    pub joined_by: Option<String>,
    /// The rules in scope when it was last synchronised.
    pub rules: Vec<String>,
    /// What the system last showed; `None`: it never did.
    pub shown: Option<Attributes>,
    /// What was imported and is not synchronised yet.
    pub imported: PendingImport,
    /// It is looked at by the next synchronisation.
    pub due: bool,
    /// What leaves with the next export.
    pub staged: Option<StagedState>,
    /// What was accepted and not shown by an import since.
    pub sent: Option<SentState>,
    pub links: Vec<LinksOf>,
    /// Links of others to it.
    pub referred_to_by: i64,
    /// Join values it waits for.
    pub waits: Vec<String>,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedState {
    pub operation: ExportKind,
    pub state: ExportState,
    pub changes: Attributes,
    pub attempts: i64,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentState {
    pub operation: ExportKind,
    pub changes: Attributes,
}

/// The links of one attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinksOf {
    pub attribute: Attribute,
    pub states: BTreeMap<LinkState, i64>,
    /// The first ones.
    pub to: Vec<Named>,
}

impl Runner {
    /// Tells where the object that `name` means stands, with everything it is joined to.
    pub async fn object_state(&self, name: &ObjectName) -> Result<ObjectState, InspectError> {
        let rules = self.rules().await?.1;
        let store = &*self.store;
        let (mv, ids) = match find(store, &rules, name).await? {
            Found::Metaverse(mv) => (Some(mv), Vec::new()),
            Found::Space(head) => (head.mv, vec![head.id]),
        };
        let members = match mv {
            Some(mv) => store.members(&[mv]).await?,
            None => store.objects(&ids).await?,
        };
        let mut names = Names::default();
        names.read(store, members.iter().map(|member| member.id), mv).await?;
        let ids: Vec<ObjectId> = members.iter().map(|member| member.id).collect();
        let staged = store.staged(&ids).await?;
        let problems = store.problems(&ids).await?;
        let waits = store.waits(&ids).await?;
        let mut spaces = Vec::new();
        for member in members {
            let staged = staged.iter().find(|export| export.object == member.id).cloned();
            spaces.push(SpaceState {
                object: names.object(member.id),
                connector: member.connector.to_string(),
                object_type: member.object_type,
                kind: member.kind,
                anchor: member.anchor,
                joined_by: member.joined_by,
                rules: member.applied.into_iter().collect(),
                shown: member.shown.as_deref().cloned(),
                imported: member.pending_import,
                due: member.due,
                staged: staged.map(|export| StagedState {
                    operation: export.kind,
                    state: export.state,
                    changes: export.changes,
                    attempts: export.attempts,
                    error: export.error,
                }),
                sent: member.unconfirmed.map(|sent| SentState { operation: sent.kind, changes: sent.changes }),
                links: links(store, member.id, &mut names).await?,
                referred_to_by: store.count_referrers(member.id).await?,
                waits: waits.iter().filter(|(of, _)| *of == member.id).map(|(_, key)| key.told()).collect(),
                problems: problems.iter().filter(|(of, _)| *of == member.id).map(|(_, p)| p.clone()).collect(),
            });
        }
        let metaverse = match mv {
            Some(mv) => in_metaverse(store, mv, &mut names).await?,
            None => None,
        };
        Ok(ObjectState { metaverse, spaces })
    }
}

async fn in_metaverse(
    store: &dyn EngineStore,
    mv: MvId,
    names: &mut Names,
) -> Result<Option<InMetaverse>, InspectError> {
    let Some(object) = store.metaverse(&[mv]).await?.into_iter().next() else { return Ok(None) };
    let links = store.mv_links_of(mv, NAMED).await?;
    names.read(store, [], links.iter().map(|link| link.target)).await?;
    Ok(Some(InMetaverse {
        object: names.mv(mv),
        object_type: object.object_type,
        due: object.due,
        attributes: (*object.attributes).clone(),
        refers_to: links.iter().map(|link| format!("{} {}", link.attribute, names.mv(link.target))).collect(),
    }))
}

async fn links(store: &dyn EngineStore, owner: ObjectId, names: &mut Names) -> Result<Vec<LinksOf>, InspectError> {
    let mut told: BTreeMap<Attribute, LinksOf> = BTreeMap::new();
    for count in store.count_links(owner).await? {
        let of = LinksOf { attribute: count.attribute.clone(), states: BTreeMap::new(), to: Vec::new() };
        told.entry(count.attribute).or_insert(of).states.insert(count.state, count.count);
    }
    let some = store.some_links(owner, NAMED).await?;
    names.read(store, some.iter().map(|link| link.key.target), []).await?;
    for link in some {
        if let Some(of) = told.get_mut(&link.key.attribute) {
            of.to.push(names.object(link.key.target));
        }
    }
    Ok(told.into_values().collect())
}
