//! The link passes: source links to metaverse links, metaverse links to target links. They cost what changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::ConnectorName;
use crate::sync::change_set::{LinkBatch, MvPair};
use crate::sync::metaverse::{MvId, MvLink};
use crate::sync::rule::{Direction, RuleSet};
use crate::sync::space::{LinkKey, LinkState, ObjectId, SpaceLink};

/// A source link that is due, with what its ends are.
#[derive(Clone, Debug)]
pub struct DueLink {
    pub link: SpaceLink,
    pub owner_mv: Option<MvId>,
    pub owner_applied: BTreeSet<String>,
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
    for due in due {
        let key = &due.link.key;
        let flows_to = rules.reference_target(&due.owner_applied, Direction::Inbound, &key.attribute);
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

/// What the outbound pass needs to know of the pairs it evaluates.
#[derive(Clone, Debug, Default)]
pub struct PairFacts {
    /// Pairs that some contributor still makes.
    pub alive: BTreeSet<MvPair>,
    /// Target objects by connector and metaverse object, with the rules applied to them.
    pub targets: BTreeMap<(ConnectorName, MvId), (ObjectId, BTreeSet<String>)>,
    pub links: BTreeMap<LinkKey, LinkState>,
    /// Target links that were due themselves.
    pub due: Vec<LinkKey>,
}

/// Evaluates metaverse pairs against the links of every target space.
pub fn outbound(rules: &RuleSet, pairs: &BTreeSet<MvPair>, facts: &PairFacts) -> LinkBatch {
    let mut batch = LinkBatch { pairs: pairs.iter().cloned().collect(), ..LinkBatch::default() };
    for pair in pairs {
        for connector in rules.targets() {
            let owner = facts.targets.get(&(connector.clone(), pair.owner));
            let target = facts.targets.get(&(connector.clone(), pair.target));
            let (Some((owner, applied)), Some((target, _))) = (owner, target) else { continue };
            let flow = rules.reference_target(applied, Direction::Outbound, &pair.attribute);
            // Without a flow nothing is staged; what a rule staged before is found under the same name.
            let attribute = flow.cloned().unwrap_or_else(|| pair.attribute.clone());
            let key = LinkKey { owner: *owner, attribute, target: *target };
            let wanted = flow.is_some() && facts.alive.contains(pair);
            match step(facts.links.get(&key).copied(), wanted) {
                Step::Stay => {}
                Step::Become(state) => batch.target_written.push(SpaceLink { key, state }),
                Step::Vanish => batch.target_removed.push(key),
            }
        }
    }
    batch.target_evaluated = facts.due.clone();
    batch
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
