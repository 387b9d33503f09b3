//! The link passes: source links to metaverse links, metaverse links to target links. They cost what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::identity::ConnectorName;
use crate::sync::Attribute;
use crate::sync::change_set::{LinkBatch, MvPair};
use crate::sync::metaverse::{MvId, MvLink};
use crate::sync::rule::{Direction, RuleSet};
use crate::sync::space::{LinkKey, LinkState, ObjectId, SpaceLink};

/// A source link that is due, with what its ends are.
#[derive(Clone, Debug)]
pub struct DueLink {
    pub link: SpaceLink,
    pub owner_mv: Option<MvId>,
    pub owner_applied: Arc<BTreeSet<String>>,
    pub target_mv: Option<MvId>,
}

/// Evaluates due source links against the metaverse links that exist for them.
pub fn inbound(rules: &RuleSet, due: &[DueLink], existing: &[MvLink]) -> LinkBatch {
    let mut by_source: BTreeMap<LinkKey, Vec<&MvLink>> = BTreeMap::new();
    for link in existing {
        let key =
            LinkKey { owner: link.contributor, attribute: link.source_attribute.clone(), target: link.source_target };
        by_source.entry(key).or_default().push(link);
    }
    let mut batch = LinkBatch::default();
    let mut flows = Flows::of(rules, Direction::Inbound);
    for due in due {
        let key = &due.link.key;
        let flows_to = flows.target(&due.owner_applied, &key.attribute);
        let wanted = match (due.link.state, due.owner_mv, due.target_mv, flows_to) {
            (LinkState::Removed, ..) => None,
            (_, Some(owner), Some(target), Some(attribute)) => Some(MvLink {
                contributor: key.owner,
                source_attribute: key.attribute.clone(),
                source_target: key.target,
                owner,
                attribute: attribute.clone(),
                target,
            }),
            _ => None,
        };
        let made = by_source.remove(key).unwrap_or_default();
        batch.mv_gone.extend(made.iter().filter(|link| Some(**link) != wanted.as_ref()).map(|link| (*link).clone()));
        if let Some(wanted) = wanted
            && !made.contains(&&wanted)
        {
            batch.mv_added.push(wanted);
        }
        match due.link.state {
            LinkState::Removed => batch.forgotten.push(key.clone()),
            _ => batch.evaluated.push(key.clone()),
        }
    }
    batch
}

/// A reference attribute of objects to which the same rules apply, with what it flowed to.
#[derive(Clone, Debug)]
pub struct FlowInUse {
    pub applied: Arc<BTreeSet<String>>,
    pub attribute: Attribute,
    /// The metaverse attribute; `None` for an attribute of a target.
    pub flowed_to: Option<Attribute>,
}

/// Flows that made links and that the rules, which still apply, do not have any more.
pub fn ended(rules: &RuleSet, in_use: Vec<FlowInUse>) -> Vec<FlowInUse> {
    let stands = |flow: &FlowInUse| match &flow.flowed_to {
        Some(to) => rules.reference_target(&flow.applied, Direction::Inbound, &flow.attribute) == Some(to),
        None => rules.reference_reaches(&flow.applied, &flow.attribute),
    };
    in_use.into_iter().filter(|flow| !stands(flow)).collect()
}

/// Target objects by connector and metaverse object, with the rules applied to them.
pub type TargetEnds = BTreeMap<ConnectorName, HashMap<MvId, (ObjectId, Arc<BTreeSet<String>>)>>;

/// What the outbound pass needs to know of the pairs it evaluates.
#[derive(Clone, Debug, Default)]
pub struct PairFacts {
    /// Pairs that some contributor still makes.
    pub alive: BTreeSet<MvPair>,
    /// The ends of pairs in target spaces.
    pub ends: TargetEnds,
    /// Links that stand for the pairs there.
    pub links: HashMap<LinkKey, LinkState>,
    /// Target links that were due themselves.
    pub due: Vec<LinkKey>,
}

/// The links of target spaces that stand for `pairs`.
pub fn keys(rules: &RuleSet, pairs: &BTreeSet<MvPair>, ends: &TargetEnds) -> Vec<LinkKey> {
    let mut keys = Vec::new();
    each_end(rules, pairs, ends, |_, key, _| keys.push(key));
    keys
}

/// Tells of each pair and target in which both ends are: the key of its link, and whether a rule makes it flow.
fn each_end<'p>(
    rules: &RuleSet,
    pairs: &'p BTreeSet<MvPair>,
    ends: &TargetEnds,
    mut tell: impl FnMut(&'p MvPair, LinkKey, bool),
) {
    let mut flows = Flows::of(rules, Direction::Outbound);
    for objects in rules.targets().filter_map(|connector| ends.get(connector)) {
        for pair in pairs {
            let (owner, target) = (objects.get(&pair.owner), objects.get(&pair.target));
            let (Some((owner, applied)), Some((target, _))) = (owner, target) else { continue };
            let flow = flows.target(applied, &pair.attribute);
            // Without a flow nothing is staged; what a rule staged before is found under the same name.
            let attribute = flow.unwrap_or(&pair.attribute).clone();
            tell(pair, LinkKey { owner: *owner, attribute, target: *target }, flow.is_some());
        }
    }
}

/// Evaluates metaverse pairs against the links of every target space.
pub fn outbound(rules: &RuleSet, pairs: &BTreeSet<MvPair>, facts: &PairFacts) -> LinkBatch {
    let mut batch = LinkBatch { pairs: pairs.iter().cloned().collect(), ..LinkBatch::default() };
    each_end(rules, pairs, &facts.ends, |pair, key, flows| {
        let wanted = flows && facts.alive.contains(pair);
        match step(facts.links.get(&key).copied(), wanted) {
            Step::Stay => {}
            Step::Become(state) => batch.target_written.push(SpaceLink { key, state }),
            Step::Vanish => batch.target_removed.push(key),
        }
    });
    batch.target_evaluated = facts.due.clone();
    batch
}

/// Links of which an end stands for nobody in the metaverse: nothing is wanted of them any more.
pub fn unstage(loose: Vec<SpaceLink>, batch: &mut LinkBatch) {
    for SpaceLink { key, state } in loose {
        match state {
            LinkState::StagedAdd => batch.target_removed.push(key),
            LinkState::StagedDelete => batch.target_written.push(SpaceLink { key, state: LinkState::Confirmed }),
            LinkState::Confirmed | LinkState::Removed | LinkState::SentAdd | LinkState::SentDelete => {}
        }
    }
}

/// Where references flow to, remembered from one link to the next: links come in the order of their owners.
struct Flows<'r> {
    rules: &'r RuleSet,
    direction: Direction,
    last: Option<(Arc<BTreeSet<String>>, Attribute, Option<&'r Attribute>)>,
}

impl<'r> Flows<'r> {
    fn of(rules: &'r RuleSet, direction: Direction) -> Self {
        Self { rules, direction, last: None }
    }

    fn target(&mut self, applied: &Arc<BTreeSet<String>>, source: &Attribute) -> Option<&'r Attribute> {
        match &self.last {
            Some((of, from, to)) if Arc::ptr_eq(of, applied) && from == source => *to,
            _ => {
                let to = self.rules.reference_target(applied, self.direction, source);
                self.last = Some((applied.clone(), source.clone(), to));
                to
            }
        }
    }
}

enum Step {
    Stay,
    Become(LinkState),
    Vanish,
}

fn step(state: Option<LinkState>, wanted: bool) -> Step {
    match (state, wanted) {
        (None, true) | (Some(LinkState::SentDelete), true) => Step::Become(LinkState::StagedAdd),
        (Some(LinkState::StagedDelete), true) => Step::Become(LinkState::Confirmed),
        (Some(LinkState::Confirmed | LinkState::StagedAdd | LinkState::SentAdd | LinkState::Removed), true) => {
            Step::Stay
        }
        (Some(LinkState::StagedAdd), false) => Step::Vanish,
        (Some(LinkState::Confirmed | LinkState::SentAdd), false) => Step::Become(LinkState::StagedDelete),
        (None | Some(LinkState::StagedDelete | LinkState::SentDelete | LinkState::Removed), false) => Step::Stay,
    }
}
