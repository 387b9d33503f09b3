//! The preview of one object: the passes run for it on a scratch overlay, and what they decided is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::InspectError;
use super::find::{FindError, Found, ObjectName, find};
use super::names::{Named, Names};
use super::outcome::{
    AttributeChange, Change, KeptBy, LinkChanges, MetaverseExplained, MetaverseState, Sorted, SpaceExplained,
    TargetExplained,
};
use crate::identity::ConnectorName;
use crate::sync::lease::HeldLease;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::Problem;
use crate::sync::rule::RuleSet;
use crate::sync::run::{RunError, Runner};
use crate::sync::space::{ExportKind, LinkState, ObjectId, PendingExport, PendingImport, SpaceObject};
use crate::sync::store::{EngineStore, StoreResult};
use crate::sync::synchronise::{Focus, focused};
use crate::sync::trace::{Asked, Finding, Trace};

/// Links whose names are told; all are counted up to [`COUNTED`].
const NAMED_LINKS: usize = 50;
/// Links that are read to be counted.
const COUNTED: usize = 10_000;
/// Objects that become due by this one, named at most.
const NAMED_OTHERS: usize = 20;

/// What a synchronisation would make of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPreview {
    pub object: Named,
    pub spaces: Vec<SpaceExplained>,
    pub metaverse: Vec<MetaverseExplained>,
    pub targets: Vec<TargetExplained>,
    /// Objects that would be looked at again because of this one.
    pub then_due: Vec<Named>,
}

impl Runner {
    /// What a synchronisation would make of the object that `name` means, as it was last imported. Nothing is written.
    /// `rules` are those to try; none: the activated ones.
    pub async fn preview_object(
        &self,
        rules: Option<RuleSet>,
        name: &ObjectName,
    ) -> Result<ObjectPreview, InspectError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let rules = match rules {
            Some(rules) => self.bind(rules).await?,
            None => self.rules().await?.1,
        };
        let store = &*self.store;
        let found = find(store, &rules, name).await?;
        let focus = focus_of(store, &rules, &found).await?;
        let lease = HeldLease::begin(self.lease.clone())?;
        let scratch = store.scratch().await?;
        let (focus, findings, _) = focused(&*scratch, &rules, lease.epoch, focus, Trace::on()).await?;
        let outlook = Outlook { runner: self, rules: &rules, before: store, after: &*scratch };
        outlook.preview(&found, focus, findings).await
    }
}

/// What is synchronised for an object: the source objects of one metaverse object, or one that has none.
pub(super) async fn focus_of(store: &dyn EngineStore, rules: &RuleSet, found: &Found) -> Result<Focus, InspectError> {
    let is_target = |connector: &ConnectorName| rules.capabilities(connector).is_some_and(|c| c.exports);
    let mv = match found {
        Found::Metaverse(mv) => *mv,
        Found::Space(head) if !is_target(&head.connector) => {
            return Ok(Focus { objects: BTreeSet::from([head.id]), mvs: BTreeSet::new() });
        }
        Found::Space(head) => match head.mv {
            Some(mv) => mv,
            None => {
                let mut names = Names::default();
                names.read(store, [head.id], []).await?;
                return Err(FindError::NotInMetaverse(names.object(head.id).to_string()).into());
            }
        },
    };
    let members = store.members(&[mv]).await?;
    let sources = members.iter().filter(|member| !is_target(&member.connector));
    Ok(Focus { objects: sources.map(|member| member.id).collect(), mvs: BTreeSet::from([mv]) })
}

struct Outlook<'a> {
    runner: &'a Runner,
    rules: &'a RuleSet,
    before: &'a dyn EngineStore,
    after: &'a dyn EngineStore,
}

impl Outlook<'_> {
    async fn preview(
        &self,
        found: &Found,
        focus: Focus,
        findings: Vec<Finding>,
    ) -> Result<ObjectPreview, InspectError> {
        let sorted = Sorted::new(findings);
        let (objects, mvs) = sorted.subjects();
        let mut names = Names::default();
        let target_objects: BTreeSet<ObjectId> =
            sorted.targets.values().filter_map(|decision| decision.object()).collect();
        names.read(self.after, objects.iter().chain(&target_objects).copied(), mvs.iter().copied()).await?;
        let due = self.then_due(&focus).await?;
        names.read(self.before, due.iter().copied(), mvs.iter().copied()).await?;
        let object = match found {
            Found::Space(head) => {
                names.read(self.before, [head.id], []).await?;
                names.object(head.id)
            }
            Found::Metaverse(mv) => names.mv(*mv),
        };
        Ok(ObjectPreview {
            object,
            spaces: self.spaces(&sorted, &objects, &mut names).await?,
            metaverse: self.metaverse(&sorted, &mvs, &names).await?,
            targets: self.targets(&sorted, &mut names).await?,
            then_due: due.into_iter().map(|id| names.object(id)).collect(),
        })
    }

    /// Objects that wait for a value that this one brought or took.
    async fn then_due(&self, focus: &Focus) -> StoreResult<Vec<ObjectId>> {
        let limit = NAMED_OTHERS * 50;
        let before: BTreeSet<ObjectId> = self.before.due_objects(ObjectId(0), limit).await?.into_iter().collect();
        if before.len() >= limit {
            // Too much is due already to tell what is new.
            return Ok(Vec::new());
        }
        let after = self.after.due_objects(ObjectId(0), limit).await?.into_iter();
        Ok(after.filter(|id| !before.contains(id) && !focus.objects.contains(id)).take(NAMED_OTHERS).collect())
    }

    async fn spaces(
        &self,
        sorted: &Sorted,
        objects: &BTreeSet<ObjectId>,
        names: &mut Names,
    ) -> StoreResult<Vec<SpaceExplained>> {
        let ids: Vec<ObjectId> = objects.iter().copied().collect();
        // What was imported stands before the synchronisation cleared it.
        let before: HashMap<ObjectId, SpaceObject> =
            self.before.objects(&ids).await?.into_iter().map(|object| (object.id, object)).collect();
        let mut problems: BTreeMap<ObjectId, Vec<Problem>> = BTreeMap::new();
        for (object, problem) in self.after.problems(&ids).await? {
            problems.entry(object).or_default().push(problem);
        }
        let mut told = Vec::new();
        for id in ids {
            let Some(object) = before.get(&id) else { continue };
            let asked = Asked::Inbound { object: id, connector: object.connector.clone() };
            let waiting = self.waiting_references(id, names).await?;
            told.push(SpaceExplained {
                object: names.object(id),
                object_type: object.object_type.clone(),
                pending_import: object.pending_import,
                rules: sorted.rules_for(&asked),
                join: sorted.joins_of(id, names),
                groups: sorted.groups_of(id, names),
                problems: problems.remove(&id).unwrap_or_default(),
                waiting_references: waiting,
            });
        }
        told.sort_by_key(|space| space.pending_import == PendingImport::None);
        Ok(told)
    }

    async fn waiting_references(&self, owner: ObjectId, names: &mut Names) -> StoreResult<Vec<Named>> {
        let links = self.after.some_links(owner, COUNTED).await?;
        let ends: Vec<ObjectId> =
            links.iter().filter(|link| link.state != LinkState::Removed).map(|link| link.key.target).collect();
        let waiting: Vec<ObjectId> = self
            .after
            .heads(&ends)
            .await?
            .into_iter()
            .filter(|head| head.mv.is_none())
            .take(NAMED_LINKS)
            .map(|head| head.id)
            .collect();
        names.read(self.after, waiting.iter().copied(), []).await?;
        Ok(waiting.into_iter().map(|id| names.object(id)).collect())
    }

    async fn metaverse(
        &self,
        sorted: &Sorted,
        mvs: &BTreeSet<MvId>,
        names: &Names,
    ) -> StoreResult<Vec<MetaverseExplained>> {
        // Candidates of joins are among the subjects; told are those that were flowed.
        let flowed: Vec<MvId> = mvs.iter().copied().filter(|mv| sorted.alive.contains_key(mv)).collect();
        let by_id = |objects: Vec<MvObject>| -> HashMap<MvId, MvObject> {
            objects.into_iter().map(|object| (object.id, object)).collect()
        };
        let before = by_id(self.before.metaverse(&flowed).await?);
        let after = by_id(self.after.metaverse(&flowed).await?);
        let mut told = Vec::new();
        for mv in flowed {
            let (was, is) = (before.get(&mv), after.get(&mv));
            let Some(object) = is.or(was) else { continue };
            let kept_by = sorted.alive.get(&mv).into_iter().flatten();
            told.push(MetaverseExplained {
                object: names.mv(mv),
                object_type: object.object_type.clone(),
                state: match (was, is) {
                    (None, _) => MetaverseState::New,
                    (Some(_), Some(_)) => MetaverseState::Kept,
                    (Some(_), None) => MetaverseState::Removed,
                },
                kept_by: kept_by
                    .map(|(rule, object)| KeptBy { rule: rule.clone(), object: names.object(*object) })
                    .collect(),
                frozen: sorted.frozen(mv),
                attributes: sorted.metaverse_attributes(mv, was, is, names),
            });
        }
        Ok(told)
    }

    async fn targets(&self, sorted: &Sorted, names: &mut Names) -> Result<Vec<TargetExplained>, InspectError> {
        let mut told = Vec::new();
        for target in self.rules.targets().chain(self.rules.written_back()) {
            let concerned: Vec<_> = sorted.targets.iter().filter(|((_, name), _)| name == target.as_str()).collect();
            if concerned.is_empty() {
                continue;
            }
            let (holds, _) = self.runner.judge(self.after, target).await?;
            for ((mv, _), decision) in concerned {
                let object = decision.object();
                let ids: Vec<ObjectId> = object.into_iter().collect();
                let held = self.after.objects(&ids).await?.into_iter().next();
                let held_attributes = held.as_ref().and_then(SpaceObject::effective).unwrap_or_default();
                let staged = self.after.staged(&ids).await?.into_iter().next();
                let earlier = self.before.staged(&ids).await?.into_iter().next();
                let problems = self.after.problems(&ids).await?;
                let asked = Asked::Outbound { mv: *mv, connector: target.clone() };
                let links = self.links(object, names).await?;
                told.push(TargetExplained {
                    target: target.to_string(),
                    of: names.mv(*mv),
                    decision: decision.word().to_owned(),
                    rule: decision.rule(),
                    object: object.map(|id| names.object(id)),
                    rules: sorted.rules_for(&asked),
                    attributes: sorted.target_attributes(*mv, target.as_str(), &held_attributes, names),
                    change: staged.map(|staged| change(&staged, &held_attributes, earlier.as_ref())),
                    links,
                    problems: problems.into_iter().map(|(_, problem)| problem).collect(),
                    holds: holds.clone(),
                });
            }
        }
        Ok(told)
    }

    /// Staged links from and to a target object.
    async fn links(&self, object: Option<ObjectId>, names: &mut Names) -> StoreResult<LinkChanges> {
        let Some(object) = object else { return Ok(LinkChanges::default()) };
        let links = self.after.staged_links_about(&[object], COUNTED).await?;
        let first = links.iter().take(NAMED_LINKS);
        names.read(self.after, first.clone().flat_map(|link| [link.key.owner, link.key.target]), []).await?;
        let added = links.iter().filter(|link| link.state == LinkState::StagedAdd).count();
        let told = first.map(|link| {
            let sign = if link.state == LinkState::StagedAdd { '+' } else { '-' };
            let (owner, target) = (names.object(link.key.owner), names.object(link.key.target));
            match link.key.owner == object {
                true => format!("{sign} {} {target}", link.key.attribute),
                false => format!("{sign} {} of {owner}", link.key.attribute),
            }
        });
        Ok(LinkChanges { added, removed: links.len() - added, names: told.collect() })
    }
}

fn change(staged: &PendingExport, held: &crate::sync::Attributes, earlier: Option<&PendingExport>) -> Change {
    let attributes = staged.changes.iter().map(|(attribute, to)| AttributeChange {
        attribute: attribute.clone(),
        from: held.get(attribute).cloned().unwrap_or_default(),
        to: to.clone(),
    });
    Change {
        operation: staged.kind,
        state: staged.state,
        already_staged: earlier.is_some_and(|e| e.kind == staged.kind && e.changes == staged.changes),
        attributes: match staged.kind {
            ExportKind::Delete => Vec::new(),
            ExportKind::Add | ExportKind::Update => attributes.collect(),
        },
        error: staged.error.clone(),
    }
}
