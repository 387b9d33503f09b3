//! Inbound attribute flow: the contributions of all linked objects compete for each attribute (reference, 1.8 and 2.5).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outbound;
use crate::identity::Upn;
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::{Contribution, MvId, MvObject};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::{Flow, FlowError, FlowKind, Merge, Rule, RuleSet, Source, Yield, names};
use crate::sync::space::{ObjectId, SpaceObject};
use crate::sync::trace::{Asked, Fate, Finding, Trace};
use crate::sync::workspace::Workspace;

/// Recomputes one metaverse object from its members. One that no provision rule keeps alive is removed; its source
/// members are unlinked and due again, its target members are left to the outbound pass.
pub fn flow(ws: &mut Workspace, rules: &RuleSet, mv: MvId) {
    let Some(object) = ws.mv(mv).cloned() else { return };
    let is_target = |o: &SpaceObject| rules.capabilities(&o.connector).is_some_and(|c| c.exports);
    let members: Vec<SpaceObject> = ws.members(mv).into_iter().filter_map(|id| ws.object(id).cloned()).collect();
    let (targets, sources): (Vec<_>, Vec<_>) = members.into_iter().partition(is_target);

    let read = Read::of(&sources);
    for (source, attributes) in &read.0 {
        ws.trace.note_all(|| scopes(rules, source, attributes));
    }
    let contenders = contenders(rules, &object, &read);
    ws.trace.note(|| {
        let keeping = contenders.iter().filter(|contender| contender.rule.keeps_alive());
        Finding::Alive { mv, by: keeping.map(|contender| (contender.rule.into(), contender.source.id)).collect() }
    });
    if !contenders.iter().any(|contender| contender.rule.keeps_alive()) && !planted(Fault::OrphansKept) {
        for source in &sources {
            ws.withdraw(source.id);
            if let Some(source) = ws.object_mut(source.id) {
                source.due = true;
            }
        }
        ws.remove_mv(mv);
        return;
    }
    // What a target says of an object: it adds, and keeps nothing alive.
    let told = Read::of(&targets);
    for (target, attributes) in &told.0 {
        ws.trace.note_all(|| scopes(rules, target, attributes));
    }
    let contenders = strongest_first(contenders.into_iter().chain(self::contenders(rules, &object, &told)).collect());
    let mut board = Board::new(&object);
    board.trace = std::mem::take(&mut ws.trace);
    for contender in &contenders {
        contender.contribute(rules, &mut board, |_| true);
    }
    ws.trace = std::mem::take(&mut board.trace);
    let members = sources.iter().chain(&targets).map(|member| member.id).collect();
    let (mut won, mut problems, raised) = board.conclude(&members);
    tell_credential_source(&contenders, &mut won);
    warn_about_upn(&won, &mut problems);

    let anchor = Attribute::from(names::SOURCE_ANCHOR);
    let changed = object
        .attributes
        .get(&anchor)
        .is_some_and(|held| won.get(&anchor).is_some_and(|new| new.values != held.values));
    // One whose anchor was migrated has the new one there already.
    let known = |target: &SpaceObject, new: &[Value]| {
        let told = target.view();
        let told = told.as_ref().and_then(|told| told.get(&Attribute::from(names::CLOUD_SOURCE_ANCHOR)));
        told.is_some_and(|told| told == new)
    };
    let migrated = won.get(&anchor).is_some_and(|new| targets.iter().any(|target| known(target, &new.values)));
    let won = Arc::new(won);
    let frozen = changed && !migrated && {
        let next = MvObject { attributes: won.clone(), ..object };
        targets.iter().any(|target| outbound::is_bound(ws, rules, &next, target))
    };
    if frozen && let Some(new) = won.get(&anchor) {
        let detail = format!("now {}", new.values.first().map_or("", |value| value.as_text()));
        let problem = Problem::new(ProblemCode::AnchorChanged, detail);
        ws.trace.note(|| Finding::Frozen { mv, why: problem.clone() });
        problems.entry(new.object).or_default().insert(problem);
        if let Some(now) = ws.mv_mut(mv).filter(|_| !raised)
            && let Some(tightened) = tightened(&now.attributes, &won)
        {
            now.attributes = Arc::new(tightened);
        }
    } else if let Some(now) = ws.mv_mut(mv).filter(|_| !raised) {
        now.attributes = won;
    }
    for source in &sources {
        ws.set_problems(source.id, problems.remove(&source.id).unwrap_or_default());
    }
}

/// The join keys under which a metaverse object is found with the members that it has now.
pub fn keys(ws: &Workspace, rules: &RuleSet, mv: MvId) -> BTreeSet<JoinKey> {
    let Some(object) = ws.mv(mv).cloned() else { return BTreeSet::new() };
    let is_source = |o: &SpaceObject| rules.capabilities(&o.connector).is_some_and(|c| !c.exports);
    let members = ws.members(mv).into_iter().filter_map(|id| ws.object(id).cloned());
    let sources: Vec<SpaceObject> = members.filter(is_source).collect();
    let mut board = Board::new(&object);
    let read = Read::of(&sources);
    for contender in contenders(rules, &object, &read) {
        contender.contribute(rules, &mut board, |target| rules.is_joined_by(target));
    }
    let (won, ..) = board.conclude(&sources.iter().map(|source| source.id).collect());
    rules.metaverse_keys(&MvObject { attributes: Arc::new(won), ..object })
}

/// The source anchor that the rules make of the members of a metaverse object, whatever it holds.
pub fn anchor_of(rules: &RuleSet, object: &MvObject, members: &[SpaceObject]) -> Result<Option<Value>, FlowError> {
    let is_target = |member: &SpaceObject| rules.capabilities(&member.connector).is_some_and(|c| c.exports);
    let sources: Vec<SpaceObject> = members.iter().filter(|member| !is_target(member)).cloned().collect();
    let read = Read::of(&sources);
    let anchor = Attribute::from(names::SOURCE_ANCHOR);
    for contender in contenders(rules, object, &read) {
        let Some(imported) = contender.source.shown.as_deref() else { continue };
        let rdn = &contender.source.rdn;
        let source = Source::Space { attributes: contender.attributes, imported, rdn, disabled: &[] };
        for flow in contender.rule.flows.iter().filter(|flow| flow.target == anchor) {
            match rules.evaluate(flow, &contender.source.connector, source)? {
                Yield::Values(values) => return Ok(values.into_iter().next()),
                Yield::AuthoritativeNull => return Ok(None),
                Yield::Null | Yield::Ignore => {}
            }
        }
    }
    Ok(None)
}

/// What the scopes of all rules for an object say of it.
pub(super) fn scopes(rules: &RuleSet, object: &SpaceObject, attributes: &Attributes) -> Vec<Finding> {
    let asked = || Asked::Inbound { object: object.id, connector: object.connector.clone() };
    let judged = rules.judge_inbound(&object.connector, &object.object_type, attributes);
    judged.map(|(rule, verdict)| Finding::Scope { asked: asked(), rule: rule.into(), verdict }).collect()
}

/// Source objects with what rules read of them.
pub struct Read<'a>(Vec<(&'a SpaceObject, Cow<'a, Attributes>)>);

impl<'a> Read<'a> {
    pub fn of(sources: &'a [SpaceObject]) -> Self {
        Self(sources.iter().filter_map(|source| Some((source, source.view()?))).collect())
    }
}

/// Who has something to say of `object`, the strongest first.
pub fn contenders<'a>(rules: &'a RuleSet, object: &MvObject, read: &'a Read<'_>) -> Vec<Contender<'a>> {
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (source, attributes) in &read.0 {
        let rank = rules.rank(&source.connector);
        let in_scope = rules.inbound(&source.connector, &source.object_type, attributes);
        let of_type = in_scope.filter(|rule| rule.is_of_type(&object.object_type));
        contenders.extend(of_type.map(|rule| Contender { rule, rank, source, attributes }));
    }
    strongest_first(contenders)
}

fn strongest_first(mut contenders: Vec<Contender<'_>>) -> Vec<Contender<'_>> {
    contenders.sort_by_key(|contender| (contender.rule.precedence, contender.rank, contender.source.id));
    contenders
}

/// A rule in scope of a source object.
pub struct Contender<'a> {
    pub rule: &'a Rule,
    rank: usize,
    pub source: &'a SpaceObject,
    attributes: &'a Attributes,
}

/// What has been said of each attribute so far, the strongest first.
struct Board<'a> {
    mv: MvId,
    held: &'a BTreeMap<Attribute, Contribution>,
    won: BTreeMap<Attribute, Contribution>,
    /// Attributes that a rule emptied for all weaker ones.
    blocked: BTreeSet<Attribute>,
    /// Attributes that a rule wants left as they are, if no other rule has a value.
    ignored: BTreeSet<Attribute>,
    problems: BTreeMap<ObjectId, BTreeSet<Problem>>,
    /// A rule refused its object: what the metaverse object holds stays.
    raised: bool,
    trace: Trace,
}

impl<'a> Board<'a> {
    fn new(object: &'a MvObject) -> Self {
        Self {
            mv: object.id,
            held: &object.attributes,
            won: BTreeMap::new(),
            blocked: BTreeSet::new(),
            ignored: BTreeSet::new(),
            problems: BTreeMap::new(),
            raised: false,
            trace: Trace::default(),
        }
    }

    /// Whether weaker rules have nothing to say any more.
    fn is_decided(&self, target: &Attribute, merge: Merge) -> bool {
        self.blocked.contains(target) || (merge == Merge::Update && self.won.contains_key(target))
    }

    fn conclude(
        mut self,
        members: &BTreeSet<ObjectId>,
    ) -> (BTreeMap<Attribute, Contribution>, BTreeMap<ObjectId, BTreeSet<Problem>>, bool) {
        for target in self.ignored {
            if self.blocked.contains(&target) {
                continue;
            }
            if let Some(held) = self.held.get(&target).filter(|held| members.contains(&held.object)) {
                self.won.entry(target).or_insert_with(|| held.clone());
            }
        }
        (self.won, self.problems, self.raised)
    }
}

impl<'a> Contender<'a> {
    /// What the rule reads.
    pub fn source(&self, rules: &'a RuleSet) -> Option<Source<'a>> {
        let disabled = rules.capabilities(&self.source.connector).map_or(&[][..], |c| &c.disabled_when);
        let imported = self.source.shown.as_deref()?;
        Some(Source::Space { attributes: self.attributes, imported, rdn: &self.source.rdn, disabled })
    }

    /// Says what it has to say of the attributes that `of` admits.
    fn contribute(&self, rules: &'a RuleSet, board: &mut Board<'_>, of: impl Fn(&Attribute) -> bool) {
        let Some(source) = self.source(rules) else { return };
        for flow in &self.rule.flows {
            if matches!(flow.kind, FlowKind::Reference { .. }) || !of(&flow.target) {
                continue;
            }
            if board.is_decided(&flow.target, flow.merge) {
                let said = || rules.evaluate(flow, &self.source.connector, source);
                board.trace.note(|| self.finding(board.mv, flow, &said(), Fate::Loses));
                continue;
            }
            let held = board.held.get(&flow.target);
            let own = held.filter(|held| held.object == self.source.id && held.rule == self.rule.name);
            let said = match own {
                // What was applied once stays as it was then.
                Some(own) if flow.apply_once => Ok(Yield::Values(own.values.clone())),
                None if flow.apply_once && !board.held.is_empty() => Ok(Yield::Null),
                _ => rules.evaluate(flow, &self.source.connector, source),
            };
            board.trace.note(|| {
                let fate = match own {
                    Some(_) if flow.apply_once => Fate::AppliedOnce,
                    _ => Fate::of(&said, board.won.contains_key(&flow.target)),
                };
                self.finding(board.mv, flow, &said, fate)
            });
            let values = match said {
                Ok(Yield::Values(values)) => values,
                Ok(Yield::Null) => continue,
                Ok(Yield::AuthoritativeNull) => {
                    board.blocked.insert(flow.target.clone());
                    continue;
                }
                Ok(Yield::Ignore) => {
                    board.ignored.insert(flow.target.clone());
                    continue;
                }
                Err(error) => {
                    let problem = Problem::of_flow(&error);
                    board.raised |= problem.code == ProblemCode::FlowRaised;
                    if problem.code == ProblemCode::FlowRaised {
                        board.trace.note(|| Finding::Frozen { mv: board.mv, why: problem.clone() });
                    }
                    board.problems.entry(self.source.id).or_default().insert(problem);
                    // What is doubtful is left as it was.
                    match own {
                        Some(own) => own.values.clone(),
                        None => continue,
                    }
                }
            };
            match board.won.get_mut(&flow.target) {
                Some(stronger) => flow.merge.add(&mut stronger.values, values),
                None => {
                    let contribution = self.contribution(values);
                    board.won.insert(flow.target.clone(), contribution);
                }
            }
        }
    }

    fn finding(&self, mv: MvId, flow: &Flow, said: &Result<Yield, FlowError>, fate: Fate) -> Finding {
        let asked = Asked::Inbound { object: self.source.id, connector: self.source.connector.clone() };
        Finding::flow(asked, mv, self.rule, flow, said, fate)
    }

    fn contribution(&self, values: Vec<Value>) -> Contribution {
        Contribution {
            values,
            rule: self.rule.name.clone(),
            connector: self.source.connector.clone(),
            object: self.source.id,
            password_sync: false,
            anchor: None,
        }
    }
}

/// The account that won `accountEnabled` is the user's credential source (design D9).
fn tell_credential_source(contenders: &[Contender<'_>], won: &mut BTreeMap<Attribute, Contribution>) {
    let Some(winner) = won.get_mut(&Attribute::from(names::ACCOUNT_ENABLED)) else { return };
    let of_winner = || contenders.iter().filter(|contender| contender.source.id == winner.object);
    let password_sync = of_winner().any(|contender| contender.rule.enable_password_sync);
    let anchor = of_winner().next().and_then(|contender| contender.source.anchor.clone());
    winner.password_sync = password_sync;
    winner.anchor = anchor;
}

/// What is `held` with what `won` takes away: who is disabled, or whose password no longer counts, is so even where nothing
/// else may change.
fn tightened(
    held: &BTreeMap<Attribute, Contribution>,
    won: &BTreeMap<Attribute, Contribution>,
) -> Option<BTreeMap<Attribute, Contribution>> {
    let enabled = Attribute::from(names::ACCOUNT_ENABLED);
    let (before, after) = (held.get(&enabled)?, won.get(&enabled)?);
    let is_on = |said: &Contribution| said.values.first().is_some_and(|value| value.folded() == "true");
    let disables = is_on(before) && !is_on(after);
    if !disables && (after.password_sync || !before.password_sync) {
        return None;
    }
    let mut tightened = held.clone();
    let said = tightened.get_mut(&enabled)?;
    if disables {
        said.values = after.values.clone();
    }
    said.password_sync &= after.password_sync;
    Some(tightened)
}

fn warn_about_upn(won: &BTreeMap<Attribute, Contribution>, problems: &mut BTreeMap<ObjectId, BTreeSet<Problem>>) {
    let Some(upn) = won.get(&Attribute::from(names::UPN)) else { return };
    let Some(value) = upn.values.first() else { return };
    let warning = match value.as_text().parse::<Upn>() {
        Err(error) => format!("{}: {error}", value.as_text()),
        Ok(parsed) if !is_routable(parsed.domain().as_str()) => {
            format!("{}: the suffix is not routable", value.as_text())
        }
        Ok(_) => return,
    };
    problems.entry(upn.object).or_default().insert(Problem::new(ProblemCode::InvalidUpn, warning));
}

/// Suffixes that no public resolver serves (RFC 6762 appendix G, RFC 9476), and names without a dot.
fn is_routable(domain: &str) -> bool {
    const PRIVATE: [&str; 8] = ["local", "lan", "internal", "intranet", "corp", "home", "private", "alt"];
    domain.rsplit_once('.').is_some_and(|(_, top)| !PRIVATE.contains(&top))
}
