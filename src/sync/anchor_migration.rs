//! Changing the attribute that source anchors are made of, for objects that the tenant holds already.
//!
//! A source anchor is immutable: rules that make another one freeze their object. A migration gives the tenant's objects
//! the anchors that other rules make, all or none, and activates these rules before the next run: the next confirming import
//! shows the new anchors, and nothing is frozen.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::activation::{ActivationError, activate};
use super::metaverse::{MvId, MvObject};
use super::rule::{RuleSet, RuleSource, names};
use super::run::{RunError, Runner};
use super::space::{ObjectId, SpaceObject};
use super::store::EngineStore;
use super::synchronise::anchor_of;
use crate::identity::{ConnectorName, LeaseEpoch, SourceAnchor, causes};

/// Objects read at a time.
const BATCH: usize = 1000;
/// Objects of each kind that a report lists.
const LISTED: usize = 100;

/// An object that gets another anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The object's anchor in the tenant's space: its `oid`.
    pub oid: String,
    pub object_type: String,
    pub from: String,
    pub to: String,
}

/// An object that cannot get one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    pub oid: String,
    pub name: String,
    pub reason: String,
}

/// What a migration would do, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    pub unchanged: u64,
    pub moved: u64,
    pub obstacles: u64,
    /// The first of each.
    pub moves: Vec<Move>,
    pub in_the_way: Vec<Obstacle>,
    /// The version of the rules that was activated; `None` after a dry run, or when something was in the way.
    pub activated: Option<i64>,
}

/// The tenant's side of a migration.
#[async_trait::async_trait]
pub trait Reanchor: Send + Sync {
    /// Gives objects other anchors. May be repeated after a crash.
    async fn reanchor(&self, epoch: LeaseEpoch, moves: Vec<(String, SourceAnchor)>) -> Result<(), ReanchorError>;
}

#[derive(Debug, thiserror::Error)]
#[error("the tenant directory could not be written")]
pub struct ReanchorError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Rules(#[from] ActivationError),
    #[error(transparent)]
    Tenant(#[from] ReanchorError),
    #[error("a run has exports in doubt; run a cycle first")]
    InDoubt,
}

impl From<super::store::EngineStoreError> for MigrationError {
    fn from(error: super::store::EngineStoreError) -> Self {
        Self::Run(error.into())
    }
}

/// A migration to the anchors that `sources` make.
pub struct AnchorMigration<'a> {
    pub runner: &'a Runner,
    pub tenant: &'a dyn Reanchor,
    pub sources: Vec<RuleSource>,
    pub by: &'a str,
}

impl AnchorMigration<'_> {
    /// Tells what would change; changes it unless `dry_run`, if nothing is in the way.
    pub async fn run(self, target: &ConnectorName, dry_run: bool) -> Result<Migration, MigrationError> {
        let Self { runner, tenant, sources, by } = self;
        let rules = super::rule::parse(&sources).map_err(ActivationError::Faults)?;
        let still = runner.hold_still()?;
        if !runner.store.in_doubt(target).await?.is_empty() {
            return Err(MigrationError::InDoubt);
        }
        let rules = runner.bind(rules).await?;
        let (mut migration, moves) = survey(&*runner.store, &rules, target).await?;
        if dry_run || migration.obstacles > 0 {
            return Ok(migration);
        }
        tenant.reanchor(still.epoch(), moves).await?;
        migration.activated = Some(activate(&*runner.activations, sources, by).await?.number);
        Ok(migration)
    }
}

type Moves = Vec<(String, SourceAnchor)>;

async fn survey(
    store: &dyn EngineStore,
    rules: &RuleSet,
    target: &ConnectorName,
) -> Result<(Migration, Moves), MigrationError> {
    let (mut migration, mut moves) = (Migration::default(), Moves::new());
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut after = ObjectId(0);
    loop {
        let heads = store.heads_after(target, after, BATCH).await?;
        let Some(last) = heads.last() else { break };
        after = last.id;
        let ids: Vec<ObjectId> = heads.iter().map(|head| head.id).collect();
        let objects = store.objects(&ids).await?;
        let mvs: Vec<MvId> = objects.iter().filter_map(|object| object.mv).collect();
        let metaverse: HashMap<MvId, MvObject> =
            store.metaverse(&mvs).await?.into_iter().map(|object| (object.id, object)).collect();
        let mut members: HashMap<MvId, Vec<SpaceObject>> = HashMap::new();
        for member in store.members(&mvs).await? {
            if let Some(mv) = member.mv {
                members.entry(mv).or_default().push(member);
            }
        }
        for object in objects {
            let (Some(oid), Some(mv)) = (object.anchor.clone(), object.mv.and_then(|mv| metaverse.get(&mv))) else {
                continue;
            };
            let held = anchor_text(&object);
            let members = members.remove(&mv.id).unwrap_or_default();
            let wanted = match wanted(rules, mv, &members) {
                Ok(anchor) => anchor,
                Err(reason) => {
                    migration.obstruct(oid, object.rdn, reason);
                    continue;
                }
            };
            if let Some(other) = taken.insert(wanted.to_string(), oid.clone()) {
                migration.obstruct(oid, object.rdn, format!("{wanted} would be the anchor of {other} too"));
            } else if held.as_deref() == Some(wanted.as_str()) {
                migration.unchanged += 1;
            } else {
                let from = held.unwrap_or_default();
                migration.note(Move {
                    oid: oid.clone(),
                    object_type: object.object_type,
                    from,
                    to: wanted.to_string(),
                });
                moves.push((oid, wanted));
            }
        }
    }
    Ok((migration, moves))
}

/// The anchor that the target holds.
fn anchor_text(object: &SpaceObject) -> Option<String> {
    let values = object.effective()?;
    values.get(&names::SOURCE_ANCHOR.into())?.first().map(|value| value.as_text().to_owned())
}

fn wanted(rules: &RuleSet, mv: &MvObject, members: &[SpaceObject]) -> Result<SourceAnchor, String> {
    let value = anchor_of(rules, mv, members).map_err(|error| causes(&error))?;
    let value = value.ok_or_else(|| "the rules give it no source anchor".to_owned())?;
    SourceAnchor::from_exported(value.as_text()).map_err(|error| error.to_string())
}

impl Migration {
    fn obstruct(&mut self, oid: String, name: String, reason: String) {
        self.obstacles += 1;
        if self.in_the_way.len() < LISTED {
            self.in_the_way.push(Obstacle { oid, name, reason });
        }
    }

    fn note(&mut self, moved: Move) {
        self.moved += 1;
        if self.moves.len() < LISTED {
            self.moves.push(moved);
        }
    }
}
