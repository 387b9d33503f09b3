//! Inbound attribute flow: the contributions of all linked objects compete for each attribute (reference, 1.8 and 2.5).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::identity::Upn;
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::metaverse::{Contribution, MvId, MvObject};
use crate::sync::problem::{Problem, ProblemCode};
use crate::sync::rule::{FlowError, FlowKind, Merge, Rule, RuleSet, Source, Yield, names};
use crate::sync::space::{ObjectId, SpaceObject};
use crate::sync::workspace::Workspace;

/// Recomputes one metaverse object from its members. One that no provision rule keeps alive is removed; its source
/// members are unlinked and due again, its target members are left to the outbound pass.
pub fn flow(ws: &mut Workspace, rules: &RuleSet, mv: MvId) {
    let Some(object) = ws.mv(mv).cloned() else { return };
    let is_target = |o: &SpaceObject| rules.capabilities(&o.connector).is_some_and(|c| c.exports);
    let members: Vec<SpaceObject> = ws.members(mv).into_iter().filter_map(|id| ws.object(id).cloned()).collect();
    let (targets, sources): (Vec<_>, Vec<_>) = members.into_iter().partition(is_target);

    let read: Vec<(&SpaceObject, Cow<'_, Attributes>)> =
        sources.iter().filter_map(|source| Some((source, source.view()?))).collect();
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (source, attributes) in &read {
        contenders.extend(contenders_of(rules, source, attributes, &object.object_type));
    }
    if !contenders.iter().any(|contender| contender.rule.keeps_alive()) {
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
    let told: Vec<(&SpaceObject, Cow<'_, Attributes>)> =
        targets.iter().filter_map(|target| Some((target, target.view()?))).collect();
    for (target, attributes) in &told {
        contenders.extend(contenders_of(rules, target, attributes, &object.object_type));
    }
    contenders.sort_by_key(|contender| (contender.rule.precedence, contender.rank, contender.source.id));

    let mut board = Board::new(&object.attributes);
    for contender in &contenders {
        contender.contribute(rules, &mut board);
    }
    let members = sources.iter().chain(&targets).map(|member| member.id).collect();
    let (mut won, mut problems, raised) = board.conclude(&members);
    tell_credential_source(&contenders, &mut won);
    warn_about_upn(&won, &mut problems);

    let anchor = Attribute::from(names::SOURCE_ANCHOR);
    // A contact that turns out to be a user is another object to the targets, with an anchor of its own.
    let of_type = |attributes: &BTreeMap<Attribute, Contribution>| {
        attributes.get(&Attribute::from(names::SOURCE_OBJECT_TYPE)).map(|contribution| contribution.values.clone())
    };
    // One whose anchor was migrated has the new one there already.
    let known = |target: &SpaceObject, new: &[Value]| {
        let told = target.view();
        let told = told.as_ref().and_then(|told| told.get(&Attribute::from(names::CLOUD_SOURCE_ANCHOR)));
        told.is_some_and(|told| told == new)
    };
    let migrated = won.get(&anchor).is_some_and(|new| targets.iter().any(|target| known(target, &new.values)));
    let frozen = !targets.is_empty()
        && !migrated
        && of_type(&object.attributes) == of_type(&won)
        && object
            .attributes
            .get(&anchor)
            .is_some_and(|held| won.get(&anchor).is_some_and(|new| new.values != held.values));
    if frozen && let Some(new) = won.get(&anchor) {
        let detail = format!("now {}", new.values.first().map_or("", |value| value.as_text()));
        problems.entry(new.object).or_default().insert(Problem::new(ProblemCode::AnchorChanged, detail));
    } else if let Some(now) = ws.mv_mut(mv).filter(|_| !raised) {
        now.attributes = Arc::new(won);
    }
    for source in &sources {
        ws.set_problems(source.id, problems.remove(&source.id).unwrap_or_default());
    }
}

/// The source anchor that the rules make of the members of a metaverse object, whatever it holds.
pub fn anchor_of(rules: &RuleSet, object: &MvObject, members: &[SpaceObject]) -> Result<Option<Value>, FlowError> {
    let is_target = |member: &SpaceObject| rules.capabilities(&member.connector).is_some_and(|c| c.exports);
    let read: Vec<(&SpaceObject, Cow<'_, Attributes>)> = members
        .iter()
        .filter(|member| !is_target(member))
        .filter_map(|member| Some((member, member.view()?)))
        .collect();
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (source, attributes) in &read {
        contenders.extend(contenders_of(rules, source, attributes, &object.object_type));
    }
    contenders.sort_by_key(|contender| (contender.rule.precedence, contender.rank, contender.source.id));
    let anchor = Attribute::from(names::SOURCE_ANCHOR);
    for contender in contenders {
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

struct Contender<'a> {
    rule: &'a Rule,
    rank: usize,
    source: &'a SpaceObject,
    attributes: &'a Attributes,
}

/// The rules by which an object contributes to a metaverse object of a type.
fn contenders_of<'a>(
    rules: &'a RuleSet,
    source: &'a SpaceObject,
    attributes: &'a Attributes,
    metaverse_type: &'a str,
) -> impl Iterator<Item = Contender<'a>> {
    let rank = rules.rank(&source.connector);
    let in_scope = rules.inbound(&source.connector, &source.object_type, attributes);
    let of_type = in_scope.filter(move |rule| rule.is_of_type(metaverse_type));
    of_type.map(move |rule| Contender { rule, rank, source, attributes })
}

/// What has been said of each attribute so far, the strongest first.
struct Board<'a> {
    held: &'a BTreeMap<Attribute, Contribution>,
    won: BTreeMap<Attribute, Contribution>,
    /// Attributes that a rule emptied for all weaker ones.
    blocked: BTreeSet<Attribute>,
    /// Attributes that a rule wants left as they are, if no other rule has a value.
    ignored: BTreeSet<Attribute>,
    problems: BTreeMap<ObjectId, BTreeSet<Problem>>,
    /// A rule refused its object: what the metaverse object holds stays.
    raised: bool,
}

impl<'a> Board<'a> {
    fn new(held: &'a BTreeMap<Attribute, Contribution>) -> Self {
        Self {
            held,
            won: BTreeMap::new(),
            blocked: BTreeSet::new(),
            ignored: BTreeSet::new(),
            problems: BTreeMap::new(),
            raised: false,
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

impl Contender<'_> {
    fn contribute(&self, rules: &RuleSet, board: &mut Board<'_>) {
        let disabled = rules.capabilities(&self.source.connector).map_or(&[][..], |c| &c.disabled_when);
        let Some(imported) = self.source.shown.as_deref() else { return };
        let source = Source::Space { attributes: self.attributes, imported, rdn: &self.source.rdn, disabled };
        for flow in &self.rule.flows {
            if matches!(flow.kind, FlowKind::Reference { .. }) || board.is_decided(&flow.target, flow.merge) {
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
