//! Join and project: the serial pass (reference, sections 1.4 and 2.3).

use std::collections::{BTreeSet, HashMap};

use super::inbound;
use crate::identity::causes;
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::{ANY_TYPE, FlowKind, LinkType, Rule, RuleSet, Source, Yield};
use crate::sync::space::{ObjectId, ObjectKind, PendingImport, SpaceObject};
use crate::sync::trace::{Finding, JoinDecision};
use crate::sync::workspace::Workspace;

/// Metaverse objects by join key: those committed, and those projected earlier in the batch.
pub type Candidates = HashMap<JoinKey, BTreeSet<MvId>>;

/// The keys that unjoined objects of a batch ask for; to be looked up before [`join`].
pub fn keys_wanted(rules: &RuleSet, object: &SpaceObject) -> Vec<JoinKey> {
    let Some(attributes) = object.view() else { return Vec::new() };
    if object.kind != ObjectKind::Object || object.pending_import == PendingImport::Delete {
        return Vec::new();
    }
    let in_scope = rules.inbound(&object.connector, &object.object_type, &attributes);
    in_scope.flat_map(|rule| rule.joins.iter().flat_map(|join| rules.join_keys(rule, join, &attributes))).collect()
}

/// Evaluates the objects of a batch in id order; returns the metaverse objects that changed hands.
pub fn join(ws: &mut Workspace, rules: &RuleSet, candidates: &mut Candidates, ids: &[ObjectId]) -> BTreeSet<MvId> {
    let mut affected = BTreeSet::new();
    for id in ids {
        let Some(object) = ws.object(*id).cloned() else { continue };
        affected.extend(object.mv.filter(|_| !planted(Fault::ContributorForgotten)));
        if object.pending_import == PendingImport::Delete {
            decided(ws, *id, || JoinDecision::Deleted);
            leave_the_space(ws, *id);
            continue;
        }
        if object.kind != ObjectKind::Object {
            settle(ws, *id, BTreeSet::new());
            continue;
        }
        let Some(attributes) = object.view() else { continue };
        let in_scope: Vec<&Rule> = rules.inbound(&object.connector, &object.object_type, &attributes).collect();
        let applied: BTreeSet<String> = in_scope.iter().map(|rule| rule.name.clone()).collect();
        let still_joined = object.mv.is_some() && object.joined_by.as_ref().is_some_and(|rule| applied.contains(rule));
        ws.trace.note_all(|| inbound::scopes(rules, &object, &attributes));
        if let Some(mv) = object.mv {
            decided(ws, *id, || match object.joined_by.clone() {
                Some(rule) if still_joined => JoinDecision::StaysJoined { mv, rule },
                rule => JoinDecision::Unlinked { mv, rule },
            });
            if !still_joined {
                ws.withdraw(*id);
            }
        }
        settle(ws, *id, applied);
        let outcome =
            if still_joined { Outcome::default() } else { find_partner(ws, rules, candidates, &object, &in_scope) };
        if let Some(problem) = &outcome.problem {
            decided(ws, *id, || JoinDecision::Refused { problem: problem.clone() });
        }
        if let Some(mv) = outcome.joined {
            affected.insert(mv);
            // What it contributes is found by the objects behind it, as if each were in a batch of its own.
            for key in inbound::keys(ws, rules, mv) {
                candidates.entry(key).or_default().insert(mv);
            }
        }
        ws.set_waits(*id, if planted(Fault::NoJoinWait) { BTreeSet::new() } else { outcome.waits });
        ws.set_problems(*id, outcome.problem.into_iter().collect());
    }
    affected
}

fn decided(ws: &mut Workspace, object: ObjectId, decision: impl FnOnce() -> JoinDecision) {
    ws.trace.note(|| Finding::Join { object, decision: decision() });
}

fn settle(ws: &mut Workspace, id: ObjectId, applied: BTreeSet<String>) {
    if let Some(object) = ws.object_mut(id) {
        object.pending_import = PendingImport::None;
        object.due = false;
        object.applied = applied;
    }
}

/// A deleted object keeps its row as a placeholder: others may still refer to it.
fn leave_the_space(ws: &mut Workspace, id: ObjectId) {
    ws.withdraw(id);
    ws.set_waits(id, BTreeSet::new());
    ws.set_problems(id, BTreeSet::new());
    if let Some(object) = ws.object_mut(id) {
        object.kind = ObjectKind::Placeholder;
        object.anchor = None;
        object.shown = None;
        object.unconfirmed = None;
        object.pending_import = PendingImport::None;
        object.due = false;
        object.applied.clear();
    }
}

#[derive(Default)]
struct Outcome {
    joined: Option<MvId>,
    waits: BTreeSet<JoinKey>,
    problem: Option<Problem>,
}

impl Outcome {
    fn problem(code: ProblemCode, detail: impl Into<String>, waits: BTreeSet<JoinKey>) -> Self {
        Self { joined: None, waits, problem: Some(Problem::new(code, detail)) }
    }
}

fn find_partner(
    ws: &mut Workspace,
    rules: &RuleSet,
    candidates: &Candidates,
    object: &SpaceObject,
    in_scope: &[&Rule],
) -> Outcome {
    let joining: Vec<&&Rule> = in_scope.iter().filter(|rule| !rule.joins.is_empty()).collect();
    let rule: &Rule = match joining.as_slice() {
        [] => {
            decided(ws, object.id, || JoinDecision::NoJoinRule);
            return Outcome::default();
        }
        [rule] => rule,
        several => {
            let names = several.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ");
            return Outcome::problem(ProblemCode::SeveralJoinRules, names, BTreeSet::new());
        }
    };
    let attributes = object.view().unwrap_or_default();
    if let Some(problem) = missing_anchor(rules, rule, object) {
        return Outcome { joined: None, waits: BTreeSet::new(), problem: Some(problem) };
    }
    let mut keys = BTreeSet::new();
    let mut ambiguous = None;
    for (group, join) in rule.joins.iter().enumerate() {
        let of_join = rules.join_keys(rule, join, &attributes);
        let known = of_join.iter().filter_map(|key| candidates.get(key)).flatten().copied();
        let found: BTreeSet<MvId> = known.filter(|id| ws.mv(*id).is_some()).collect();
        let found: Vec<MvId> = found.into_iter().collect();
        ws.trace.note(|| Finding::JoinGroup {
            object: object.id,
            rule: rule.into(),
            group: group + 1,
            keys: of_join.clone(),
            candidates: found.clone(),
        });
        keys.extend(of_join);
        match found.as_slice() {
            [] => {}
            [mv] => {
                let rival = rival(ws, rules, rule, object, *mv);
                if let Some(rival) = rival {
                    let name = ws.object(rival).map(|o| o.rdn.clone()).unwrap_or_default();
                    return Outcome::problem(
                        ProblemCode::DuplicateAnchor,
                        format!("the same join value as {name}"),
                        keys,
                    );
                }
                ws.link(object.id, *mv, &rule.name);
                decided(ws, object.id, || JoinDecision::Joined { mv: *mv, rule: rule.into() });
                return Outcome { joined: Some(*mv), ..Outcome::default() };
            }
            several => ambiguous = Some(several.len()),
        }
    }
    if let Some(count) = ambiguous {
        return Outcome::problem(ProblemCode::AmbiguousJoin, format!("{count} metaverse objects match"), keys);
    }
    match rule.link {
        LinkType::Join | LinkType::StickyJoin => {
            decided(ws, object.id, || JoinDecision::Waits { rule: rule.into(), keys: keys.iter().cloned().collect() });
            Outcome { waits: keys, ..Outcome::default() }
        }
        LinkType::Provision if keys.is_empty() => {
            Outcome::problem(ProblemCode::MissingAnchor, "no join attribute has a single value", keys)
        }
        LinkType::Provision => {
            let Some(id) = ws.ids.take() else { return Outcome { waits: keys, ..Outcome::default() } };
            let mv = MvId(id);
            ws.insert_mv(MvObject::new(mv, &rule.metaverse_type));
            ws.link(object.id, mv, &rule.name);
            decided(ws, object.id, || JoinDecision::Projected { mv, rule: rule.into() });
            Outcome { joined: Some(mv), ..Outcome::default() }
        }
    }
}

/// Another object of the connector that the metaverse object is linked to. One that joins whatever it finds (such as a
/// foreign security principal) stands for an object and is no rival of one.
fn rival(ws: &Workspace, rules: &RuleSet, rule: &Rule, object: &SpaceObject, mv: MvId) -> Option<ObjectId> {
    if rule.metaverse_type == ANY_TYPE {
        return None;
    }
    let stands_for = |other: &SpaceObject| {
        other
            .joined_by
            .as_ref()
            .and_then(|name| rules.by_name(name))
            .is_some_and(|rule| rule.metaverse_type == ANY_TYPE)
    };
    let is_rival = |other: &SpaceObject| other.connector == object.connector && !stands_for(other);
    ws.members(mv).into_iter().find(|id| ws.object(*id).is_some_and(is_rival))
}

/// A rule that flows the source anchor projects nothing without one.
fn missing_anchor(rules: &RuleSet, rule: &Rule, object: &SpaceObject) -> Option<Problem> {
    let flow = rule.flows.iter().find(|flow| matches!(flow.kind, FlowKind::SourceAnchor { .. }))?;
    let FlowKind::SourceAnchor { source: name, .. } = &flow.kind else { return None };
    let (attributes, imported) = (object.view()?, object.shown.as_ref()?);
    let source = Source::Space { attributes: &attributes, imported, rdn: &object.rdn, disabled: &[] };
    match rules.evaluate(flow, &object.connector, source) {
        Ok(Yield::Values(_)) => None,
        Ok(Yield::Null | Yield::AuthoritativeNull | Yield::Ignore) => {
            Some(Problem::new(ProblemCode::MissingAnchor, format!("`{name}` has no value")))
        }
        Err(error) => Some(Problem::new(ProblemCode::MissingAnchor, causes(&error))),
    }
}
