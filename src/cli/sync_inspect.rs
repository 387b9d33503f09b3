//! `landbridge sync preview OBJECT|explain|search|object|provision`: what is asked about single objects, for people.

mod diff;
mod previews;

use clap::{Args, ValueEnum};

pub(super) use diff::diff;

use super::output::table;
use super::{Client, Output};
use crate::identity::ConnectorName;
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::explain::{
    AttributeExplained, FlowExplained, HitState, LinksOf, ObjectState, SearchMode, SearchRequest, SearchResult,
    SpaceState, TargetAttribute,
};
use crate::sync::provision::Provisioned;
use crate::sync::space::PendingImport;
use crate::sync::trace::{Fate, Said};
use crate::web::admin::sync_explain::{self, SyncExplain};
use crate::web::admin::sync_object::{self, SyncObject};
use crate::web::admin::sync_preview_object::{self, SyncPreviewObject};
use crate::web::admin::sync_preview_settings::{self, SyncPreviewSettings};
use crate::web::admin::sync_provision::{self, SyncProvision};
use crate::web::admin::sync_search::SyncSearch;

/// Characters of a value that a table shows.
const SHOWN: usize = 60;
/// Values of one attribute that are shown.
const VALUES: usize = 5;

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// A whole name (connector:DN, connector:anchor, mv:ID), or a part of a name, an anchor, a user principal name or an
    /// address.
    text: Option<String>,
    /// Only objects whose attribute has this value.
    #[arg(long, value_name = "ATTRIBUTE=VALUE", value_parser = attribute_value)]
    attribute: Option<(Attribute, String)>,
    /// Only objects of this connector's space.
    #[arg(long)]
    connector: Option<ConnectorName>,
    /// Only the metaverse.
    #[arg(long, conflicts_with_all = ["connector", "state"])]
    metaverse: bool,
    /// Only objects of this type, such as user or group.
    #[arg(long = "type")]
    object_type: Option<String>,
    /// Only objects of spaces in this state.
    #[arg(long, value_enum)]
    state: Option<StateWord>,
    /// Objects at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Go on where an earlier search stopped.
    #[arg(long)]
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    PendingImport,
    PendingExport,
    Unjoined,
    Problem,
}

fn attribute_value(text: &str) -> Result<(Attribute, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((Attribute::from(name), value.to_owned())),
        _ => Err("write ATTRIBUTE=VALUE, such as employeeType=contractor".to_owned()),
    }
}

pub(super) async fn preview(client: &Client, object: &str, files: bool, output: &Output) -> anyhow::Result<()> {
    let request = sync_preview_object::Request { object: object.to_owned(), files };
    let preview = client.call::<SyncPreviewObject>(&request).await?;
    output.show(&preview, previews::show_preview);
    Ok(())
}

pub(super) async fn preview_settings(
    client: &Client,
    files: bool,
    connectors: &[ConnectorName],
    output: &Output,
) -> anyhow::Result<()> {
    let request = sync_preview_settings::Request { files, connectors: connectors.to_vec() };
    let preview = client.call::<SyncPreviewSettings>(&request).await?;
    output.show(&preview, previews::show_scope);
    Ok(())
}

pub(super) async fn explain(client: &Client, attribute: &str, object: &str, output: &Output) -> anyhow::Result<()> {
    let request = sync_explain::Request { attribute: Attribute::from(attribute), object: object.to_owned() };
    let explained = client.call::<SyncExplain>(&request).await?;
    output.show(&explained, show_explained);
    Ok(())
}

pub(super) async fn provision(client: &Client, object: &str, output: &Output) -> anyhow::Result<()> {
    let told = client.call::<SyncProvision>(&sync_provision::Request { object: object.to_owned() }).await?;
    output.show(&told, show_provisioned);
    anyhow::ensure!(told.is_done(), "{object} is not provisioned as far as the rules want");
    Ok(())
}

fn show_provisioned(told: &Provisioned) -> String {
    let rows = told.steps.iter().map(|step| {
        [step.step.code().to_owned(), step.connector.clone(), step.end.code().to_owned(), step.detail.clone()]
    });
    let mut text = table(["STEP", "CONNECTOR", "END", "DETAIL"], rows);
    if !told.waiting_references.is_empty() {
        let names: Vec<String> = told.waiting_references.iter().map(ToString::to_string).collect();
        text.push_str(&format!("\nreferences that wait for these: {}", names.join(", ")));
    }
    text
}

pub(super) async fn object(client: &Client, object: &str, output: &Output) -> anyhow::Result<()> {
    let state = client.call::<SyncObject>(&sync_object::Request { object: object.to_owned() }).await?;
    output.show(&state, show_state);
    Ok(())
}

pub(super) async fn search(client: &Client, args: &SearchArgs, output: &Output) -> anyhow::Result<()> {
    let request = SearchRequest {
        text: args.text.clone(),
        attribute: args.attribute.clone(),
        connector: args.connector.clone(),
        metaverse: args.metaverse,
        object_type: args.object_type.clone(),
        state: args.state.map(|word| match word {
            StateWord::PendingImport => HitState::PendingImport,
            StateWord::PendingExport => HitState::PendingExport,
            StateWord::Unjoined => HitState::Unjoined,
            StateWord::Problem => HitState::Problem,
        }),
        after: args.after.clone(),
        limit: Some(args.limit),
    };
    let found = client.call::<SyncSearch>(&request).await?;
    output.show(&found, show_found);
    Ok(())
}

fn show_rule(flow: &FlowExplained) -> String {
    format!("{} \"{}\" from {}", flow.rule.precedence, flow.rule.rule, flow.object.name)
}

fn show_fate(flow: &FlowExplained) -> String {
    let said = match &flow.said {
        Said::Values { values } => show_values(values),
        Said::Null => "nothing".to_owned(),
        Said::AuthoritativeNull => "no value for anybody weaker".to_owned(),
        Said::Ignore => "leave it".to_owned(),
        Said::Failed { error } => format!("error: {error}"),
    };
    let fate = match flow.fate {
        Fate::Wins => "wins",
        Fate::Merges => "merges",
        Fate::Loses => "loses",
        Fate::GivesNothing => "gives nothing",
        Fate::Empties => "empties it",
        Fate::LeavesAsIs => "leaves it as it is",
        Fate::AppliedOnce => "applied once, at the start",
        Fate::Fails => "fails: what was there stays",
    };
    format!("{fate}: {said} ({})", flow.flow)
}

fn show_explained(explained: &AttributeExplained) -> String {
    let mut text = format!("{} of {}\n", explained.attribute, explained.object);
    text.push_str(&match &explained.present {
        Some(present) => {
            let precedence = present.precedence.map(|number| format!(" ({number})")).unwrap_or_default();
            let values = show_values(&present.values);
            format!("is {values}: given by \"{}\"{precedence} from {}", present.rule, present.object)
        }
        None if explained.refers_to.is_empty() => "has no value in the metaverse".to_owned(),
        None => format!("refers to {} objects at least:", explained.refers_to.len()),
    });
    explained.refers_to.iter().for_each(|link| text.push_str(&format!("\n  {link}")));
    if !explained.flows.is_empty() {
        let rows = explained.flows.iter().map(|flow| [show_fate(flow), show_rule(flow)]);
        text.push_str(&format!("\n\n{}", table(["SAID NOW", "BY"], rows)));
    }
    if let Some(next) = &explained.next {
        text.push_str(&format!("\nthe next synchronisation makes it {}", show_values(next)));
    }
    for target in &explained.targets {
        text.push_str(&format!("\n\n{}", show_at_target(target)));
    }
    text
}

fn show_at_target(target: &TargetAttribute) -> String {
    let Some(object) = &target.object else { return format!("target {}: no object there", target.target) };
    let mut text = format!("target {}: {object}", target.target);
    let rows = target.attributes.iter().map(|value| {
        let pending = value.pending.as_ref().map(|pending| {
            let error = pending.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let (operation, state) = (pending.operation.code(), pending.state.code());
            format!("{} ({operation}, {state}{error})", show_values(&pending.values))
        });
        [
            value.flows.attribute.to_string(),
            show_values(&value.confirmed),
            value.sent.as_ref().map(|sent| show_values(sent)).unwrap_or_default(),
            pending.unwrap_or_default(),
        ]
    });
    if !target.attributes.is_empty() {
        text.push_str(&format!("\n{}", table(["ATTRIBUTE", "CONFIRMED", "SENT", "PENDING"], rows)));
    }
    for references in &target.references {
        let states = references.states.iter().map(|(state, count)| format!("{count} {}", state.code()));
        text.push_str(&format!("\n{}: {}", references.attribute, states.collect::<Vec<_>>().join(", ")));
    }
    text
}

fn show_state(state: &ObjectState) -> String {
    let mut parts = Vec::new();
    match &state.metaverse {
        None => parts.push("in no metaverse".to_owned()),
        Some(object) => {
            let rows = object.attributes.iter().map(|(name, contribution)| {
                [
                    name.to_string(),
                    show_values(&contribution.values),
                    contribution.rule.clone(),
                    contribution.connector.to_string(),
                ]
            });
            let due = if object.due { " (to be looked at again)" } else { "" };
            let mut text = format!("metaverse {} {}{due}\n", object.object_type, object.object);
            text.push_str(&table(["ATTRIBUTE", "VALUE", "RULE", "CONNECTOR"], rows));
            object.refers_to.iter().for_each(|link| text.push_str(&format!("\n{link}")));
            parts.push(text);
        }
    }
    parts.extend(state.spaces.iter().map(show_space_state));
    parts.join("\n\n")
}

fn show_space_state(space: &SpaceState) -> String {
    let mut text = format!("{} {} {}", space.connector, space.object_type, space.object);
    if let Some(rule) = &space.joined_by {
        text.push_str(&format!("\njoined by \"{rule}\"; rules in scope: {}", space.rules.join(", ")));
    }
    let imported = match space.imported {
        PendingImport::None => "synchronised".to_owned(),
        pending => format!("imported as {}, not synchronised yet", pending.code()),
    };
    text.push_str(&format!("\n{imported}{}", if space.due { ", due" } else { "" }));
    if let Some(shown) = &space.shown {
        text.push_str(&format!("\nshown:\n{}", show_attributes(shown)));
    }
    if let Some(staged) = &space.staged {
        let error = staged.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let (operation, state) = (staged.operation.code(), staged.state.code());
        text.push_str(&format!("\nstaged: {operation} ({state}, {} attempts{error})", staged.attempts));
        text.push_str(&format!("\n{}", show_attributes(&staged.changes)));
    }
    if let Some(sent) = &space.sent {
        text.push_str(&format!(
            "\nsent and not confirmed: {}\n{}",
            sent.operation.code(),
            show_attributes(&sent.changes)
        ));
    }
    space.links.iter().for_each(|links| text.push_str(&format!("\n{}", show_links(links))));
    if space.referred_to_by > 0 {
        text.push_str(&format!("\n{} references to it", space.referred_to_by));
    }
    if !space.waits.is_empty() {
        text.push_str(&format!("\nwaits for {}", space.waits.join(" or ")));
    }
    for problem in &space.problems {
        text.push_str(&format!("\nproblem: {}: {}", problem.code.code(), problem.detail));
    }
    text
}

fn show_links(links: &LinksOf) -> String {
    let states = links.states.iter().map(|(state, count)| format!("{count} {}", state.code())).collect::<Vec<_>>();
    let to: Vec<String> = links.to.iter().map(ToString::to_string).collect();
    format!("{}: {} ({})", links.attribute, states.join(", "), to.join("; "))
}

fn show_attributes(attributes: &Attributes) -> String {
    table(["ATTRIBUTE", "VALUE"], attributes.iter().map(|(name, values)| [name.to_string(), show_values(values)]))
}

fn show_found(found: &SearchResult) -> String {
    let rows = found.hits.iter().map(|hit| {
        let mut state: Vec<String> = Vec::new();
        if let Some(pending) = hit.pending_import.filter(|pending| *pending != PendingImport::None) {
            state.push(format!("import {}", pending.code()));
        }
        state.extend(hit.pending_export.map(|kind| format!("export {}", kind.code())));
        state.extend(hit.problems.iter().map(|problem| problem.code.code().to_owned()));
        let metaverse = hit.metaverse.as_ref().map(ToString::to_string).unwrap_or_default();
        [hit.object.to_string(), hit.object_type.clone(), metaverse, state.join(", ")]
    });
    let mut text = table(["OBJECT", "TYPE", "METAVERSE", "STATE"], rows);
    match (found.mode, &found.next) {
        (SearchMode::Index, _) => {}
        (SearchMode::Scan, None) => text.push_str("\neverything was searched"),
        (SearchMode::Scan, Some(next)) => text.push_str(&format!("\nthere is more to search: --after {next}")),
    }
    text
}

fn show_values(values: &[Value]) -> String {
    let short = |value: &Value| {
        let text = value.as_text();
        match text.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("\"{}...\"", &text[..at]),
            None => format!("\"{text}\""),
        }
    };
    match values {
        [] => "nothing".to_owned(),
        values => {
            let mut shown: Vec<String> = values.iter().take(VALUES).map(short).collect();
            if values.len() > VALUES {
                shown.push(format!("and {} more", values.len() - VALUES));
            }
            shown.join(", ")
        }
    }
}
