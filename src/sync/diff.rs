//! Two engine instances compared by what each makes of the targets: the end state of every object that its rules keep
//! there, once everything that is staged had left. Nothing is written.
//!
//! An object is what the target says it is (its anchor); one that is not there yet is known by the value of the outbound
//! join. Only what the rules of either instance write is compared: everything else is the target's own business, and each
//! instance saw it at another time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::attribute::{Attribute, Attributes, Value, canonical};
use super::explain::{Named, Names};
use super::rule::RuleSet;
use super::run::{RunError, RunRecord, Runner};
use super::space::{ExportKind, LinkState, ObjectId, PendingExport, SpaceObject, apply};
use super::store::{EngineStore, StoreResult, Walk};
use crate::identity::ConnectorName;

/// Objects read at a time.
const BATCH: usize = 1000;
/// Names of differing links that are told of one attribute of an object.
const TOLD_LINKS: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceDiff {
    /// The last run of the active instance; `None` before the first one.
    pub active: Option<RunRecord>,
    pub staging: Option<RunRecord>,
    /// Of every connector that is written to.
    pub targets: Vec<TargetDiff>,
}

/// Objects of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDiff {
    pub target: ConnectorName,
    /// Objects that come to the same.
    pub alike: usize,
    pub differing: usize,
    pub only_active: usize,
    pub only_staging: usize,
    /// The first ones of those that do not come to the same.
    pub objects: Vec<ObjectDiff>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDiff {
    pub object: Named,
    pub object_type: String,
    /// The value under which the target knows it.
    pub key: String,
    pub difference: Difference,
    /// Whatever is not the same; of an object that one instance alone has, all of it.
    pub attributes: Vec<ValueDiff>,
    pub links: Vec<LinkDiff>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Both have it, with other values or links.
    Values,
    /// The rules of the staging instance do not keep it at the target.
    OnlyActive,
    /// The staging instance would add it, or take it over.
    OnlyStaging,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueDiff {
    pub attribute: Attribute,
    pub active: Vec<Value>,
    pub staging: Vec<Value>,
}

/// Links of one attribute that only one instance wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDiff {
    pub attribute: Attribute,
    /// Keys of their targets, the first ones.
    pub only_active: Vec<String>,
    pub only_staging: Vec<String>,
}

impl Runner {
    /// Compares what this instance makes of the targets, or of `only` one, with what `staging` would. `told`: differing
    /// objects of a target that are told by name; all are counted.
    ///
    /// # Errors
    /// [`RunError::Busy`] while a run of either is under way: what is half done is no difference.
    pub async fn diff(
        &self,
        staging: &Self,
        only: Option<&ConnectorName>,
        told: usize,
    ) -> Result<InstanceDiff, RunError> {
        let _gates =
            (self.gate.try_lock().map_err(|_| RunError::Busy)?, staging.gate.try_lock().map_err(|_| RunError::Busy)?);
        let rules = [self.rules().await?.1, staging.rules().await?.1];
        let mut targets: Vec<TargetDiff> = Vec::new();
        for target in written_to(self).into_iter().chain(written_to(staging)) {
            let wanted = only.is_none_or(|only| *only == target);
            if wanted && targets.iter().all(|told| told.target != target) {
                targets.push(compare(&*self.store, &*staging.store, &rules, target, told).await?);
            }
        }
        Ok(InstanceDiff { active: last_run(self).await?, staging: last_run(staging).await?, targets })
    }
}

fn written_to(runner: &Runner) -> Vec<ConnectorName> {
    let written = runner.connectors.iter().filter(|connector| {
        let capabilities = connector.capabilities();
        capabilities.exports || capabilities.writes_back
    });
    written.map(|connector| connector.name().clone()).collect()
}

async fn last_run(runner: &Runner) -> StoreResult<Option<RunRecord>> {
    Ok(runner.store.last_runs(1).await?.into_iter().next().map(|(run, _)| run))
}

async fn compare(
    active: &dyn EngineStore,
    staging: &dyn EngineStore,
    rules: &[RuleSet; 2],
    target: ConnectorName,
    told: usize,
) -> StoreResult<TargetDiff> {
    let (left, right) = (Side::read(active, &target, rules).await?, Side::read(staging, &target, rules).await?);
    let mut differences: Vec<Pair<'_>> = Vec::new();
    let mut alike = 0;
    for pair in paired(&left.ends, &right.ends) {
        match pair {
            Pair::Both(one, other) if one.digest == other.digest => alike += 1,
            _ => differences.push(pair),
        }
    }
    let count = |difference| differences.iter().filter(|pair| pair.difference() == difference).count();
    Ok(TargetDiff {
        alike,
        differing: count(Difference::Values),
        only_active: count(Difference::OnlyActive),
        only_staging: count(Difference::OnlyStaging),
        objects: {
            differences.sort_by_key(|pair| (&pair.end().object_type, &pair.end().name));
            differences.truncate(told);
            explain(&left, &right, &differences).await?
        },
        target,
    })
}

/// The end state of one object, as a digest.
struct End {
    id: ObjectId,
    object_type: String,
    /// What the target knows it by, for people.
    name: Arc<str>,
    anchor: Option<String>,
    match_key: Option<String>,
    digest: [u8; 16],
}

#[derive(Clone, Copy)]
enum Pair<'a> {
    Both(&'a End, &'a End),
    OnlyActive(&'a End),
    OnlyStaging(&'a End),
}

impl<'a> Pair<'a> {
    fn difference(self) -> Difference {
        match self {
            Self::Both(..) => Difference::Values,
            Self::OnlyActive(_) => Difference::OnlyActive,
            Self::OnlyStaging(_) => Difference::OnlyStaging,
        }
    }

    /// The active one's, where there is one.
    fn end(self) -> &'a End {
        match self {
            Self::Both(end, _) | Self::OnlyActive(end) | Self::OnlyStaging(end) => end,
        }
    }

    fn ids(self) -> (Option<ObjectId>, Option<ObjectId>) {
        match self {
            Self::Both(one, other) => (Some(one.id), Some(other.id)),
            Self::OnlyActive(end) => (Some(end.id), None),
            Self::OnlyStaging(end) => (None, Some(end.id)),
        }
    }
}

/// By anchor first; those that have none on one side, by the value of the join.
fn paired<'a>(active: &'a [End], staging: &'a [End]) -> Vec<Pair<'a>> {
    fn index<'a>(ends: &'a [End], by: impl Fn(&'a End) -> Option<&'a String>) -> HashMap<&'a str, usize> {
        ends.iter().enumerate().filter_map(|(at, end)| Some((by(end)?.as_str(), at))).collect()
    }
    let anchors = index(staging, |end| end.anchor.as_ref());
    let keys = index(staging, |end| end.match_key.as_ref());
    let mut free = vec![true; staging.len()];
    let mut partners: Vec<Option<usize>> =
        active.iter().map(|end| end.anchor.as_deref().and_then(|anchor| anchors.get(anchor)).copied()).collect();
    partners.iter().flatten().for_each(|at| free[*at] = false);
    for (end, partner) in active.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
        let known = end.match_key.as_deref().and_then(|key| keys.get(key)).copied();
        let fits = |at: &usize| free[*at] && (end.anchor.is_none() || staging[*at].anchor.is_none());
        if let Some(at) = known.filter(fits) {
            free[at] = false;
            *partner = Some(at);
        }
    }
    let ours = active.iter().zip(partners).map(|(end, partner)| match partner {
        Some(at) => Pair::Both(end, &staging[at]),
        None => Pair::OnlyActive(end),
    });
    let others = staging.iter().zip(&free).filter(|(_, free)| **free).map(|(end, _)| Pair::OnlyStaging(end));
    ours.chain(others).collect()
}

/// One instance's view of a target.
struct Side<'a> {
    store: &'a dyn EngineStore,
    target: &'a ConnectorName,
    rules: &'a [RuleSet; 2],
    /// Of those that its rules keep there.
    ends: Vec<End>,
    /// Of those; a link to anybody else is none of the rules' business.
    names: HashMap<ObjectId, Arc<str>>,
}

impl<'a> Side<'a> {
    async fn read(store: &'a dyn EngineStore, target: &'a ConnectorName, rules: &'a [RuleSet; 2]) -> StoreResult<Self> {
        let mut side = Self { store, target, rules, ends: Vec::new(), names: HashMap::new() };
        let mut after = ObjectId(0);
        loop {
            let objects = store.walk(target, Walk::all(after), BATCH).await?;
            let Some(last) = objects.last() else { break };
            after = last.id;
            let (kept, _) = side.kept(objects).await?;
            side.names.extend(kept.iter().map(|object| (object.id, name_of(object))));
        }
        after = ObjectId(0);
        loop {
            let objects = store.walk(target, Walk::all(after), BATCH).await?;
            let Some(last) = objects.last() else { return Ok(side) };
            after = last.id;
            for (object, end) in side.ends_of(objects).await? {
                side.ends.push(End {
                    id: object.id,
                    name: name_of(&object),
                    object_type: object.object_type,
                    anchor: object.anchor,
                    match_key: object.match_key,
                    digest: end.digest(),
                });
            }
        }
    }

    /// The end states of those among `objects` that the rules keep there.
    async fn ends_of(&self, objects: Vec<SpaceObject>) -> StoreResult<Vec<(SpaceObject, EndState)>> {
        let (kept, staged) = self.kept(objects).await?;
        let ids: Vec<ObjectId> = kept.iter().map(|object| object.id).collect();
        let mut links: HashMap<ObjectId, Links> = HashMap::new();
        for link in self.store.links_of(&ids).await? {
            let there = match link.state {
                LinkState::Confirmed | LinkState::StagedAdd | LinkState::SentAdd => true,
                LinkState::Removed | LinkState::StagedDelete | LinkState::SentDelete => false,
            };
            if let Some(name) = self.names.get(&link.key.target).filter(|_| there) {
                let of_owner = links.entry(link.key.owner).or_default();
                of_owner.entry(link.key.attribute).or_default().insert(name.clone());
            }
        }
        let mut ends = Vec::new();
        for object in kept {
            let mut attributes = object.effective().unwrap_or_default();
            if let Some(export) = staged.get(&object.id) {
                apply(&mut attributes, &export.changes);
            }
            let end = EndState {
                attributes: self.written(&object.object_type, attributes),
                links: links.remove(&object.id).unwrap_or_default(),
            };
            ends.push((object, end));
        }
        Ok(ends)
    }

    /// Those among `objects` that the rules keep there, and what is staged for them.
    async fn kept(
        &self,
        objects: Vec<SpaceObject>,
    ) -> StoreResult<(Vec<SpaceObject>, HashMap<ObjectId, PendingExport>)> {
        let mut kept: Vec<SpaceObject> = objects.into_iter().filter(|object| object.mv.is_some()).collect();
        let ids: Vec<ObjectId> = kept.iter().map(|object| object.id).collect();
        let staged = self.store.staged(&ids).await?;
        let staged: HashMap<ObjectId, _> = staged.into_iter().map(|export| (export.object, export)).collect();
        kept.retain(|object| match staged.get(&object.id).map(|export| export.kind) {
            Some(ExportKind::Add | ExportKind::Update) => true,
            Some(ExportKind::Delete) => false,
            None => object.effective().is_some(),
        });
        Ok((kept, staged))
    }

    /// What the rules of either instance write.
    fn written(&self, object_type: &str, attributes: Attributes) -> Attributes {
        let managed = self.rules.iter().flat_map(|rules| rules.managed(self.target, object_type));
        let managed: BTreeSet<&Attribute> = managed.collect();
        canonical(attributes.into_iter().filter(|(name, _)| managed.contains(name)).collect())
    }

    /// These objects with their end states and names.
    async fn told(&self, ids: Vec<ObjectId>) -> StoreResult<HashMap<ObjectId, (Named, EndState)>> {
        let objects = self.store.objects(&ids).await?;
        let mut names = Names::default();
        names.read(self.store, ids, objects.iter().filter_map(|object| object.mv)).await?;
        let ends = self.ends_of(objects).await?;
        let told = ends.into_iter().map(|(object, end)| {
            let Named { name, label } = names.object(object.id);
            let label = object.mv.and_then(|mv| names.mv(mv).label).or(label);
            (object.id, (Named { name, label }, end))
        });
        Ok(told.collect())
    }
}

/// The value of the join where there is one: an object that is not there yet has no anchor.
fn name_of(object: &SpaceObject) -> Arc<str> {
    let joined = object.match_key.as_deref().and_then(|key| key.rsplit(['\u{1e}', '\u{1d}']).next());
    joined.or(object.anchor.as_deref()).unwrap_or(&object.rdn).into()
}

type Links = BTreeMap<Attribute, BTreeSet<Arc<str>>>;

/// What a target would hold of an object.
#[derive(Default)]
struct EndState {
    attributes: Attributes,
    links: Links,
}

impl EndState {
    fn digest(&self) -> [u8; 16] {
        let mut sha = Sha256::new();
        let mut feed = |text: &str| {
            sha.update((text.len() as u64).to_be_bytes());
            sha.update(text.as_bytes());
        };
        for (name, values) in &self.attributes {
            feed(&name.as_str().to_ascii_lowercase());
            feed(&values.len().to_string());
            values.iter().for_each(|value| feed(value.as_text()));
        }
        feed("links");
        for (name, targets) in &self.links {
            feed(&name.as_str().to_ascii_lowercase());
            feed(&targets.len().to_string());
            targets.iter().for_each(|target| feed(target));
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&sha.finalize()[..16]);
        digest
    }
}

async fn explain(left: &Side<'_>, right: &Side<'_>, pairs: &[Pair<'_>]) -> StoreResult<Vec<ObjectDiff>> {
    let mut active = left.told(pairs.iter().filter_map(|pair| pair.ids().0).collect()).await?;
    let mut staging = right.told(pairs.iter().filter_map(|pair| pair.ids().1).collect()).await?;
    let told = pairs.iter().map(|pair| {
        let (one, other) = pair.ids();
        let (one, other) = (one.and_then(|id| active.remove(&id)), other.and_then(|id| staging.remove(&id)));
        let name = |side: &Option<(Named, EndState)>| side.as_ref().map(|(named, _)| named.clone());
        let named = name(&one).or_else(|| name(&other));
        let (one, other) = (one.map(|(_, end)| end).unwrap_or_default(), other.map(|(_, end)| end).unwrap_or_default());
        ObjectDiff {
            object: named.unwrap_or_else(|| Named { name: pair.end().name.to_string(), label: None }),
            object_type: pair.end().object_type.clone(),
            key: pair.end().name.to_string(),
            difference: pair.difference(),
            attributes: values(&one.attributes, &other.attributes),
            links: links(&one.links, &other.links),
        }
    });
    Ok(told.collect())
}

fn values(active: &Attributes, staging: &Attributes) -> Vec<ValueDiff> {
    let names: BTreeSet<&Attribute> = active.keys().chain(staging.keys()).collect();
    let of = |attributes: &Attributes, name: &Attribute| attributes.get(name).cloned().unwrap_or_default();
    let differing = names.into_iter().filter(|name| active.get(*name) != staging.get(*name));
    differing
        .map(|name| ValueDiff { attribute: name.clone(), active: of(active, name), staging: of(staging, name) })
        .collect()
}

fn links(active: &Links, staging: &Links) -> Vec<LinkDiff> {
    let names: BTreeSet<&Attribute> = active.keys().chain(staging.keys()).collect();
    let none = BTreeSet::new();
    let only = |one: &BTreeSet<Arc<str>>, other: &BTreeSet<Arc<str>>| -> Vec<String> {
        one.difference(other).take(TOLD_LINKS).map(ToString::to_string).collect()
    };
    let of = |name: &Attribute| (active.get(name).unwrap_or(&none), staging.get(name).unwrap_or(&none));
    names
        .into_iter()
        .filter(|name| of(name).0 != of(name).1)
        .map(|name| {
            let (active, staging) = of(name);
            LinkDiff {
                attribute: name.clone(),
                only_active: only(active, staging),
                only_staging: only(staging, active),
            }
        })
        .collect()
}
