//! Outbound synchronisation of one metaverse object: provision, adopt, flow, deprovision (reference, section 1.5).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::identity::ConnectorName;
use crate::sync::attribute::{Attribute, Attributes, Value, canonical};
use crate::sync::connector::Capabilities;
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::{FlowError, FlowKind, LinkType, Merge, Rule, RuleSet, Source, Yield, names};
use crate::sync::space::{ExportKind, ExportState, ObjectId, ObjectKind, PendingExport, PendingImport, SpaceObject};
use crate::sync::trace::{Asked, Fate, Finding, TargetDecision, Trace};
use crate::sync::workspace::Workspace;

/// Unlinked objects of target spaces by connector and match key.
pub type Adoptable = HashMap<(ConnectorName, JoinKey), BTreeSet<ObjectId>>;

/// The keys by which a metaverse object without a target object may adopt one; to be looked up before [`stage`].
pub fn keys_wanted(ws: &Workspace, rules: &RuleSet, mv: MvId) -> Vec<(ConnectorName, JoinKey)> {
    let Some(object) = ws.mv(mv) else { return Vec::new() };
    let mut keys = Vec::new();
    for connector in rules.targets() {
        let Some(rule) = joining_rule(rules, connector, object) else { continue };
        if target_of(ws, connector, mv).is_none_or(|id| !stays(ws, rule, object, id))
            && let Some(key) = rule.joins.first().and_then(|join| join.target_key(&rule.space_type, object))
        {
            keys.push((connector.clone(), key));
        }
    }
    keys
}

/// Brings the staged exports of one metaverse object, alive or just removed, to what the rules want.
pub fn stage(ws: &mut Workspace, rules: &RuleSet, adoptable: &mut Adoptable, mv: MvId) {
    for connector in rules.targets() {
        let current = target_of(ws, connector, mv);
        let object = ws.mv(mv).cloned();
        let rule = object.as_ref().and_then(|object| joining_rule(rules, connector, object).map(|rule| (object, rule)));
        if let Some(object) = &object {
            ws.trace.note_all(|| scopes(rules, connector, object));
        }
        match (rule, current) {
            (None, None) => decided(ws, mv, connector, || TargetDecision::NotWanted),
            (None, Some(id)) => {
                leave(ws, rules, id);
                let deletes = ws.staged(id).is_some_and(|staged| staged.kind == ExportKind::Delete);
                decided(ws, mv, connector, || TargetDecision::Leaves { object: id, deletes });
            }
            (Some((object, rule)), current) => {
                let applied = rules.outbound(connector, object).map(|rule| rule.name.clone()).collect();
                let current = match current {
                    Some(id) if stays(ws, rule, object, id) => Some(id),
                    // A contact that turns out to be a user: another object takes its place.
                    replaced => {
                        if let Some(id) = replaced {
                            leave(ws, rules, id);
                        }
                        None
                    }
                };
                let adopted = match current {
                    Some(_) => None,
                    None => adopt(ws, adoptable, connector, rule, object),
                };
                let id = current.or(adopted).or_else(|| provision(ws, connector, rule, object));
                decided(ws, mv, connector, || {
                    let rule = rule.into();
                    match id {
                        None => TargetDecision::NoMatch { rule },
                        Some(object) if current.is_some() => TargetDecision::Linked { object, rule },
                        Some(object) if adopted.is_some() => TargetDecision::Adopted { object, rule },
                        Some(object) => TargetDecision::Provisioned { object, rule },
                    }
                });
                let Some(id) = id else { continue };
                if let Some(target) = ws.object_mut(id) {
                    target.applied = applied;
                }
                match desired(rules, connector, &rule.space_type, object, &mut ws.trace) {
                    Ok(wanted) => {
                        ws.set_problems(id, BTreeSet::new());
                        if adopted.is_some() {
                            recognise(ws, rules, id, &wanted);
                        }
                        stage_difference(ws, rules, id, rule, wanted);
                    }
                    // No other attribute of the object is exported either, and no link: what is doubtful is left alone.
                    Err(error) => {
                        if !in_flight(ws, id) {
                            ws.unstage(id);
                        }
                        let problem = Problem::of_flow(&error);
                        decided(ws, mv, connector, || TargetDecision::Refused { object: id, problem: problem.clone() });
                        ws.set_problems(id, BTreeSet::from([problem]));
                    }
                }
            }
        }
    }
    if let Some(object) = ws.mv_mut(mv) {
        object.due = false;
    }
}

pub(super) fn decided(
    ws: &mut Workspace,
    mv: MvId,
    connector: &ConnectorName,
    decision: impl FnOnce() -> TargetDecision,
) {
    ws.trace.note(|| Finding::Target { mv, connector: connector.clone(), decision: decision() });
}

/// What the scopes of all rules towards `connector` say of a metaverse object.
pub(super) fn scopes(rules: &RuleSet, connector: &ConnectorName, object: &MvObject) -> Vec<Finding> {
    let asked = || Asked::Outbound { mv: object.id, connector: connector.clone() };
    let judged = rules.judge_outbound(connector, object);
    judged.map(|(rule, verdict)| Finding::Scope { asked: asked(), rule: rule.into(), verdict }).collect()
}

fn target_of(ws: &Workspace, connector: &ConnectorName, mv: MvId) -> Option<ObjectId> {
    ws.members(mv).into_iter().find(|id| ws.object(*id).is_some_and(|object| object.connector == *connector))
}

/// Whether a target object can be what the rule in scope wants: not one of another type, as when an account makes a
/// user of a contact, nor one that was never exported under a key that is another one by now. While an answer is out it
/// is not replaced.
fn stays(ws: &Workspace, rule: &Rule, object: &MvObject, id: ObjectId) -> bool {
    let Some(target) = ws.object(id) else { return false };
    let key = rule.joins.first().and_then(|join| join.target_key(&rule.space_type, object));
    let fits = target.object_type == rule.space_type
        && (has_left(ws, target) || target.match_key.as_deref() == key.as_ref().map(JoinKey::as_str));
    fits || in_flight(ws, id)
}

/// Whether the target may know the object already.
fn has_left(ws: &Workspace, target: &SpaceObject) -> bool {
    target.shown.is_some() || target.unconfirmed.is_some() || in_flight(ws, target.id)
}

/// Whether an object of a target is tied to the source anchor under which it was exported: one that `object`, as it will
/// be, goes on to hold.
pub fn is_bound(ws: &Workspace, rules: &RuleSet, object: &MvObject, target: &SpaceObject) -> bool {
    has_left(ws, target)
        && joining_rule(rules, &target.connector, object).is_some_and(|rule| rule.space_type == target.object_type)
}

/// The strongest rule with a join; where others repeat its join, one that provisions.
fn joining_rule<'a>(rules: &'a RuleSet, connector: &ConnectorName, object: &MvObject) -> Option<&'a Rule> {
    let joining: Vec<&Rule> = rules.outbound(connector, object).filter(|rule| !rule.joins.is_empty()).collect();
    let strongest = *joining.first()?;
    let repeats = |rule: &&&Rule| rule.joins == strongest.joins && rule.space_type == strongest.space_type;
    let provisioning = joining.iter().filter(repeats).find(|rule| rule.link == LinkType::Provision);
    rules.by_name(&provisioning.map_or(strongest, |rule| rule).name)
}

fn adopt(
    ws: &mut Workspace,
    adoptable: &mut Adoptable,
    connector: &ConnectorName,
    rule: &Rule,
    object: &MvObject,
) -> Option<ObjectId> {
    let key = rule.joins.first()?.target_key(&rule.space_type, object).filter(|_| !planted(Fault::NoAdoption))?;
    let found = adoptable.get_mut(&(connector.clone(), key))?;
    let id = found.iter().copied().find(|id| ws.object(*id).is_some_and(|target| target.mv.is_none()))?;
    found.remove(&id);
    ws.link(id, object.id, &rule.name);
    Some(id)
}

fn provision(ws: &mut Workspace, connector: &ConnectorName, rule: &Rule, object: &MvObject) -> Option<ObjectId> {
    if rule.link != LinkType::Provision {
        return None;
    }
    let id = ObjectId(ws.ids.take()?);
    let key = rule.joins.first().and_then(|join| join.target_key(&rule.space_type, object));
    ws.insert_object(SpaceObject {
        id,
        connector: connector.clone(),
        object_type: rule.space_type.clone(),
        kind: ObjectKind::Object,
        anchor: None,
        rdn: label(object),
        shown: None,
        pending_import: PendingImport::None,
        due: false,
        unconfirmed: None,
        mv: Some(object.id),
        joined_by: Some(rule.name.clone()),
        applied: BTreeSet::new(),
        match_key: key.map(|key| key.as_str().to_owned()),
        found_at: None,
    });
    Some(id)
}

/// How reports name an object that has no DN.
fn label(object: &MvObject) -> String {
    let first = |name: &str| object.values(&name.into()).first().map(|value| value.as_text().to_owned());
    first(names::UPN).or_else(|| first("displayName")).or_else(|| first(names::SOURCE_ANCHOR)).unwrap_or_default()
}

/// What the rules want of an object of a system that they write to.
#[derive(Default)]
pub(super) struct Wanted {
    pub values: Attributes,
    /// For an object that is added now, and never again.
    once: Attributes,
    /// To be left as they are.
    pub ignored: BTreeSet<Attribute>,
    /// Whose values come to those that the target holds.
    merged: BTreeMap<Attribute, Merge>,
}

/// What the outbound rules for objects of `space_type` want for a metaverse object.
pub(super) fn desired(
    rules: &RuleSet,
    connector: &ConnectorName,
    space_type: &str,
    object: &MvObject,
    trace: &mut Trace,
) -> Result<Wanted, FlowError> {
    let mut wanted = Wanted::default();
    let mut blocked: BTreeSet<Attribute> = BTreeSet::new();
    for rule in rules.outbound(connector, object).filter(|rule| rule.space_type == space_type) {
        for flow in &rule.flows {
            let target = &flow.target;
            let values = if flow.apply_once { &mut wanted.once } else { &mut wanted.values };
            let decided = flow.merge == Merge::Update && values.contains_key(target);
            if matches!(flow.kind, FlowKind::Reference { .. }) {
                continue;
            }
            let asked = || Asked::Outbound { mv: object.id, connector: connector.clone() };
            if blocked.contains(target) || decided {
                let said = || rules.evaluate(flow, connector, Source::Metaverse(object));
                trace.note(|| Finding::flow(asked(), object.id, rule, flow, &said(), Fate::Loses));
                continue;
            }
            if flow.merge != Merge::Update {
                wanted.merged.insert(target.clone(), flow.merge);
            }
            let said = rules.evaluate(flow, connector, Source::Metaverse(object));
            trace.note(|| {
                let fate = Fate::of(&said, values.contains_key(target));
                Finding::flow(asked(), object.id, rule, flow, &said, fate)
            });
            match said? {
                Yield::Values(said) => {
                    flow.merge.add(values.entry(target.clone()).or_default(), said);
                }
                Yield::Null => {}
                Yield::AuthoritativeNull => {
                    blocked.insert(target.clone());
                }
                Yield::Ignore => {
                    wanted.ignored.insert(target.clone());
                }
            }
        }
    }
    if let Some(capabilities) = rules.capabilities(connector) {
        publish(object, &capabilities.identity, &mut wanted.values);
    }
    let Wanted { values, once, ignored, merged } = &mut wanted;
    merged.retain(|target, _| !blocked.contains(target));
    ignored.retain(|target| !values.contains_key(target) && !blocked.contains(target));
    once.retain(|target, _| !values.contains_key(target));
    wanted.values = canonical(wanted.values);
    wanted.once = canonical(wanted.once);
    Ok(wanted)
}

/// Who said it, told to targets that identify objects by it: the tenant refuses contributions of connectors that are not
/// registered for the domain (design D9).
fn publish(object: &MvObject, identity: &[Attribute], wanted: &mut Attributes) {
    // Only whoever signs in has a credential.
    let signs_in = wanted.contains_key(&Attribute::from(names::ACCOUNT_ENABLED));
    let by = |name: &str| object.attributes.get(&Attribute::from(name));
    let mut tell = |name: &str, value: String| {
        let name = Attribute::from(name);
        if identity.contains(&name) {
            wanted.insert(name, vec![Value::text(value)]);
        }
    };
    if let Some(upn) = by(names::UPN) {
        tell(names::UPN_CONNECTOR, upn.connector.to_string());
    }
    if let Some(anchor) = by(names::SOURCE_ANCHOR) {
        tell(names::ANCHOR_CONNECTOR, anchor.connector.to_string());
    }
    if let Some(enabled) = by(names::ACCOUNT_ENABLED).filter(|_| signs_in)
        && let Some(anchor) = &enabled.anchor
    {
        tell(names::CREDENTIAL_CONNECTOR, enabled.connector.to_string());
        tell(names::CREDENTIAL_ANCHOR, anchor.clone());
        tell(names::CREDENTIAL_ELIGIBLE, Value::boolean(enabled.password_sync).as_text().to_owned());
    }
}

/// An adopted object that bears the mark of what rules add to the target was added by them, whatever engine they ran in.
fn recognise(ws: &mut Workspace, rules: &RuleSet, id: ObjectId, wanted: &Wanted) {
    let Some(target) = ws.object_mut(id) else { return };
    let Some(mark) = rules.capabilities(&target.connector).and_then(Capabilities::mark) else { return };
    let wanted = wanted.values.get(mark).or_else(|| wanted.once.get(mark));
    let held = target.shown.as_deref().and_then(|shown| shown.get(mark));
    let (Some(wanted), Some(held)) = (wanted, held) else { return };
    if !wanted.is_empty() && wanted.iter().all(|value| held.contains(value)) {
        target.found_at = None;
    }
}

fn stage_difference(ws: &mut Workspace, rules: &RuleSet, id: ObjectId, rule: &Rule, mut wanted: Wanted) {
    let Some(target) = ws.object(id).cloned() else { return };
    if in_flight(ws, id) {
        // The answer of an earlier export is not known: decided again once it was read back.
        if let Some(mv) = target.mv.and_then(|mv| ws.mv_mut(mv)) {
            mv.due = true;
        }
        return;
    }
    let (kind, changes) = match target.effective() {
        None => (ExportKind::Add, added(wanted, ws.staged(id))),
        Some(held) => {
            // The mark tells what was added from what was adopted: it is written with an add alone.
            let capabilities = rules.capabilities(&target.connector);
            let kept = capabilities.filter(|capabilities| target.is_kept(capabilities));
            wanted.ignored.extend(kept.and_then(Capabilities::mark).cloned());
            let managed = rules.managed(&target.connector, &rule.space_type);
            (ExportKind::Update, differences(rules, &target.connector, held, wanted, managed))
        }
    };
    if kind == ExportKind::Update && changes.is_empty() {
        ws.unstage(id);
        return;
    }
    match ws.staged(id) {
        // The same change keeps its history of attempts.
        Some(staged) if staged.kind == kind && staged.changes == changes => {}
        _ => ws.stage(PendingExport::staged(id, target.connector, kind, changes)),
    }
}

/// What has to change at `held` so that it is as wanted in the attributes `names`.
pub(super) fn differences<'a>(
    rules: &RuleSet,
    connector: &ConnectorName,
    held: Attributes,
    mut wanted: Wanted,
    names: impl Iterator<Item = &'a Attribute>,
) -> Attributes {
    let held = canonical(held);
    for (name, merge) in &wanted.merged {
        let mut all = held.get(name).cloned().unwrap_or_default();
        merge.add(&mut all, wanted.values.remove(name).unwrap_or_default());
        wanted.values.insert(name.clone(), all);
    }
    let values = canonical(wanted.values);
    let mut changes = BTreeMap::new();
    for name in names.filter(|name| !wanted.ignored.contains(*name)) {
        let (old, new) = (held.get(name), values.get(name));
        if new.is_none() && planted(Fault::RemovalNotExported) {
            continue;
        }
        let of = |values: Option<&'_ Vec<Value>>| values.cloned().unwrap_or_default();
        if old != new && !rules.capabilities(connector).is_some_and(|c| c.agree(name, &of(old), &of(new))) {
            changes.insert(name.clone(), of(new));
        }
    }
    changes
}

/// What an add carries. What is applied once keeps the value of its first evaluation until the add was accepted.
fn added(wanted: Wanted, staged: Option<&PendingExport>) -> Attributes {
    let mut attributes = wanted.values;
    let earlier = staged.filter(|staged| staged.kind == ExportKind::Add).map(|staged| &staged.changes);
    for (name, values) in wanted.once {
        let values = earlier.and_then(|earlier| earlier.get(&name)).cloned().unwrap_or(values);
        attributes.insert(name, values);
    }
    attributes
}

pub(super) fn in_flight(ws: &Workspace, id: ObjectId) -> bool {
    ws.staged(id).is_some_and(|staged| matches!(staged.state, ExportState::Sent | ExportState::InDoubt))
}

/// The metaverse object is gone or left the scope: what a rule provisioned is staged for deletion, unless others made it
/// and nothing of ours ever arrived there.
fn leave(ws: &mut Workspace, rules: &RuleSet, id: ObjectId) {
    let Some(target) = ws.object(id).cloned() else { return };
    let provisioned = target
        .joined_by
        .as_ref()
        .is_none_or(|name| rules.by_name(name).is_none_or(|rule| rule.link == LinkType::Provision));
    let ours = rules.capabilities(&target.connector).is_some_and(|capabilities| target.is_ours(capabilities));
    ws.unlink(id);
    ws.set_problems(id, BTreeSet::new());
    if let Some(target) = ws.object_mut(id) {
        target.applied.clear();
    }
    if !provisioned {
        if !in_flight(ws, id) {
            ws.unstage(id);
        }
        return;
    }
    if in_flight(ws, id) {
        // What is known once the answer is read back decides whether there is anything to delete.
        if let Some(left) = ws.object_mut(id) {
            left.joined_by = target.joined_by;
        }
        return;
    }
    if target.effective().is_none() {
        if target.unconfirmed.is_none() && target.shown.is_none() {
            ws.remove_object(id);
        } else {
            ws.unstage(id);
        }
        return;
    }
    if !ours {
        ws.unstage(id);
        if rules.capabilities(&target.connector).is_some_and(|capabilities| target.is_kept(capabilities)) {
            let detail =
                "others made it, and nobody who is synchronised wants it any more: it stays at its target as it is";
            ws.set_problems(id, BTreeSet::from([Problem::new(ProblemCode::KeptAtTarget, detail)]));
        }
        return;
    }
    ws.stage(PendingExport::staged(id, target.connector, ExportKind::Delete, Attributes::new()));
}
