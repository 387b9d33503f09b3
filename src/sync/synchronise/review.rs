//! Time: when the rules of a metaverse object may say something else though nothing changes (design, section 4).

use std::time::Duration;

use sync_expr::NextChange;

use super::inbound;
use crate::identity::Timestamp;
use crate::sync::metaverse::MvId;
use crate::sync::rule::{RuleSet, Source};
use crate::sync::space::SpaceObject;
use crate::sync::workspace::Workspace;

/// Where an expression uses the time otherwise than in comparisons, nobody knows when it changes: its object is evaluated
/// again this often.
pub const EVERY: Duration = Duration::from_secs(3600);

/// Sets when a metaverse object is to be evaluated again.
pub fn set(ws: &mut Workspace, rules: &RuleSet, mv: MvId) {
    if !rules.reads_clock() {
        return;
    }
    let next = next(ws, rules, mv);
    if let Some(object) = ws.mv_mut(mv) {
        object.review = next;
    }
}

fn next(ws: &Workspace, rules: &RuleSet, mv: MvId) -> Option<Timestamp> {
    let object = ws.mv(mv)?;
    let is_source = |o: &&SpaceObject| rules.capabilities(&o.connector).is_some_and(|c| !c.exports);
    let members = ws.members(mv).into_iter().filter_map(|id| ws.object(id));
    let sources: Vec<SpaceObject> = members.filter(is_source).cloned().collect();
    let mut changes = Vec::new();
    let read = inbound::Read::of(&sources);
    for contender in inbound::contenders(rules, object, &read) {
        let Some(source) = contender.source(rules) else { continue };
        let flows = contender.rule.flows.iter();
        changes.extend(flows.map(|flow| rules.next_change(flow, &contender.source.connector, source)));
    }
    for connector in rules.targets() {
        let flows = rules.outbound(connector, object).flat_map(|rule| &rule.flows);
        changes.extend(flows.map(|flow| rules.next_change(flow, connector, Source::Metaverse(object))));
    }
    let times = changes.into_iter().filter_map(|change| match change {
        NextChange::Never => None,
        NextChange::At(at) => Some(Timestamp::from_millis(at.timestamp_millis())),
        NextChange::Anytime => Some(rules.now() + EVERY),
    });
    times.min()
}
