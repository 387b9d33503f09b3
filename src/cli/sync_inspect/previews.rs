//! Previews for people.

use super::super::output::table;
use super::super::sync;
use super::{show_fate, show_rule, show_values};
use crate::sync::explain::{
    AttributeFlows, Change, JoinExplained, MetaverseExplained, MetaverseState, ObjectPreview, RuleScope, ScopePreview,
    SpaceExplained, TargetExplained,
};
use crate::sync::rule::FailedClause;
use crate::sync::space::{ExportKind, ExportState, PendingImport};
use crate::sync::trace::RuleName;

pub(super) fn show_preview(preview: &ObjectPreview) -> String {
    let mut parts = vec![format!("{}: nothing is written", preview.object)];
    parts.extend(preview.spaces.iter().map(show_space));
    parts.extend(preview.metaverse.iter().map(show_metaverse));
    parts.extend(preview.targets.iter().map(show_target));
    if !preview.then_due.is_empty() {
        let names: Vec<String> = preview.then_due.iter().map(ToString::to_string).collect();
        parts.push(format!("looked at again because of it: {}", names.join(", ")));
    }
    parts.join("\n\n")
}

fn show_space(space: &SpaceExplained) -> String {
    let imported = match space.pending_import {
        PendingImport::None => "nothing new was imported",
        PendingImport::Add => "imported as new",
        PendingImport::Update => "imported with changes",
        PendingImport::Delete => "no longer shown by its directory",
    };
    let mut text = format!("{} {}: {imported}\n{}", space.object_type, space.object, show_rules(&space.rules));
    for group in &space.groups {
        let candidates: Vec<String> = group.candidates.iter().map(ToString::to_string).collect();
        let found = if candidates.is_empty() { "nobody".to_owned() } else { candidates.join(", ") };
        let asked =
            if group.keys.is_empty() { "no single value to ask for".to_owned() } else { group.keys.join(" or ") };
        text.push_str(&format!("\njoin group {} of \"{}\": {asked}: {found}", group.group, group.rule.rule));
    }
    for decision in &space.join {
        text.push_str(&format!("\n{}", show_join(decision)));
    }
    if !space.waiting_references.is_empty() {
        let names: Vec<String> = space.waiting_references.iter().map(ToString::to_string).collect();
        text.push_str(&format!("\nreferences that wait until these are in the metaverse: {}", names.join(", ")));
    }
    for problem in &space.problems {
        text.push_str(&format!("\nproblem: {}: {}", problem.code.code(), problem.detail));
    }
    text
}

fn show_join(decision: &JoinExplained) -> String {
    let by = |rule: &RuleName| format!("by \"{}\" ({})", rule.rule, rule.precedence);
    match decision {
        JoinExplained::Deleted => "it leaves the space, and with it what it contributed".to_owned(),
        JoinExplained::StaysJoined { to, rule } => format!("stays joined to {to} by \"{rule}\""),
        JoinExplained::Unlinked { from, rule } => {
            format!("leaves {from}: \"{}\" is not in scope any more", rule.as_deref().unwrap_or("its rule"))
        }
        JoinExplained::NoJoinRule => "not joined: no rule with a join is in scope".to_owned(),
        JoinExplained::Joined { to, rule } => format!("joined to {to} {}", by(rule)),
        JoinExplained::Projected { to, rule } => format!("projected as {to} {}", by(rule)),
        JoinExplained::Waits { rule, keys } => format!("waits for {} ({})", keys.join(" or "), by(rule)),
        JoinExplained::Refused { problem } => format!("not joined: {}: {}", problem.code.code(), problem.detail),
    }
}

fn show_rules(rules: &[RuleScope]) -> String {
    let rows = rules.iter().map(|scope| {
        let said = if scope.in_scope { "in scope".to_owned() } else { show_failed(&scope.failed) };
        [scope.rule.precedence.to_string(), scope.rule.rule.clone(), said]
    });
    table(["PRECEDENCE", "RULE", "SCOPE"], rows)
}

fn show_failed(groups: &[Vec<FailedClause>]) -> String {
    let clause = |failed: &FailedClause| {
        let operator = serde_json::to_value(failed.operator).ok().and_then(|word| word.as_str().map(str::to_owned));
        let operator = operator.unwrap_or_default();
        let wanted = if failed.operator.takes_value() { format!(" \"{}\"", failed.wanted) } else { String::new() };
        format!("{} {operator}{wanted} (has {})", failed.attribute, show_values(&failed.found))
    };
    let groups = groups.iter().map(|group| group.iter().map(clause).collect::<Vec<_>>().join(" and "));
    format!("out: {}", groups.collect::<Vec<_>>().join("; "))
}

fn show_metaverse(object: &MetaverseExplained) -> String {
    let state = match object.state {
        MetaverseState::New => "new",
        MetaverseState::Kept => "kept",
        MetaverseState::Removed => "removed: no rule keeps it",
    };
    let mut text = format!("metaverse {} {}: {state}", object.object_type, object.object);
    for kept in &object.kept_by {
        text.push_str(&format!("\nkept by \"{}\" for {}", kept.rule.rule, kept.object));
    }
    for problem in &object.frozen {
        text.push_str(&format!("\nleft as it is: {}: {}", problem.code.code(), problem.detail));
    }
    text.push('\n');
    text.push_str(&show_flows(&object.attributes));
    text
}

/// Attributes that have, had or get a value, with everybody who spoke of them. Others are told in JSON alone.
fn show_flows(attributes: &[AttributeFlows]) -> String {
    let mut rows = Vec::new();
    for attribute in attributes.iter().filter(|a| !a.before.is_empty() || !a.after.is_empty()) {
        let change = match attribute.before == attribute.after {
            true => show_values(&attribute.after),
            false => format!("{} -> {}", show_values(&attribute.before), show_values(&attribute.after)),
        };
        let mut first = true;
        for flow in &attribute.flows {
            let (name, change) = match std::mem::take(&mut first) {
                true => (attribute.attribute.to_string(), change.clone()),
                false => (String::new(), String::new()),
            };
            rows.push([name, change, show_fate(flow), show_rule(flow)]);
        }
        if first {
            rows.push([attribute.attribute.to_string(), change, "nobody speaks of it".to_owned(), String::new()]);
        }
    }
    table(["ATTRIBUTE", "VALUE", "SAID", "BY"], rows)
}

fn show_target(target: &TargetExplained) -> String {
    let rule = target.rule.as_ref().map(|rule| format!(" by \"{}\"", rule.rule)).unwrap_or_default();
    let object = target.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
    let mut text = format!("target {}, {}: {}{object}{rule}", target.target, target.of, target.decision);
    text.push_str(&format!("\n{}", show_rules(&target.rules)));
    if !target.attributes.is_empty() {
        text.push_str(&format!("\n{}", show_flows(&target.attributes)));
    }
    text.push_str(&match &target.change {
        Some(change) => format!("\n{}", show_change(change)),
        None => "\nnothing to export".to_owned(),
    });
    if target.links.added + target.links.removed > 0 {
        text.push_str(&format!("\nlinks: {} added, {} removed", target.links.added, target.links.removed));
        target.links.names.iter().for_each(|name| text.push_str(&format!("\n  {name}")));
    }
    for problem in &target.problems {
        text.push_str(&format!("\nproblem: {}: {}", problem.code.code(), problem.detail));
    }
    if !target.holds.is_empty() {
        text.push_str("\nthe guard would hold all exports to this target:\n");
        text.push_str(&sync::show_holds(&target.holds));
    }
    text
}

fn show_change(change: &Change) -> String {
    let what = match change.operation {
        ExportKind::Add => "to be added",
        ExportKind::Update => "to be changed",
        ExportKind::Delete => "to be deleted",
    };
    let state = match change.state {
        ExportState::Pending if change.already_staged => " (staged already)".to_owned(),
        ExportState::Pending => String::new(),
        ExportState::Sent => " (sent, the answer is awaited)".to_owned(),
        ExportState::InDoubt => " (sent, and to be read back)".to_owned(),
        ExportState::Failed => format!(" (failed: {})", change.error.as_deref().unwrap_or("without a reason")),
    };
    let rows = change
        .attributes
        .iter()
        .map(|change| [change.attribute.to_string(), show_values(&change.from), show_values(&change.to)]);
    format!("{what}{state}\n{}", table(["ATTRIBUTE", "FROM", "TO"], rows))
}

pub(super) fn show_scope(preview: &ScopePreview) -> String {
    let mut text = String::from("nothing is written\n");
    for source in &preview.sources {
        let name = &source.connector;
        match &source.error {
            Some(error) => text.push_str(&format!("{name}: {error}; its objects stay as they are\n")),
            None => text.push_str(&format!("{name}: {} read\n", source.read)),
        }
        for (what, changed) in [("come", &source.added), ("change", &source.updated), ("go", &source.obsolete)] {
            let names: Vec<String> = changed.names.iter().take(10).map(ToString::to_string).collect();
            let more = if changed.count > names.len() { ", ..." } else { "" };
            let names = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
            text.push_str(&format!("  {} {what}{names}\n", changed.count));
        }
        if !source.holds.is_empty() {
            text.push_str("the guard would hold the import:\n");
            text.push_str(&sync::show_holds(&source.holds));
            text.push('\n');
        }
    }
    for name in &preview.unnamed {
        text.push_str(&format!("{name} is not named any more: its objects stay as they are\n"));
    }
    text.push_str(&sync::show_preview(&preview.preview));
    text
}
