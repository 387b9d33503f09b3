//! `landbridge sync diff`.

use super::{Client, Output, show_values};
use crate::cli::output::table;
use crate::identity::ConnectorName;
use crate::sync::diff::{Difference, LinkDiff, ObjectDiff};
use crate::sync::run::RunRecord;
use crate::web::admin::sync_diff::{Request, Response, SyncDiff};

pub(in crate::cli) async fn diff(
    client: &Client,
    instance: Option<String>,
    target: Option<ConnectorName>,
    limit: Option<usize>,
    output: &Output,
) -> anyhow::Result<()> {
    let answer = client.call::<SyncDiff>(&Request { instance, target, limit }).await?;
    output.show(&answer, show);
    Ok(())
}

fn show(answer: &Response) -> String {
    let (name, diff) = (&answer.instance, &answer.diff);
    let mut text =
        format!("active: {}\n{name}: {}\n", show_last(diff.active.as_ref()), show_last(diff.staging.as_ref()));
    for target in &diff.targets {
        text.push_str(&format!(
            "\n{}: {} alike, {} differ, {} in the active instance alone, {} in {name} alone\n",
            target.target, target.alike, target.differing, target.only_active, target.only_staging
        ));
        if !target.objects.is_empty() {
            let rows = target.objects.iter().flat_map(|object| rows(object, name));
            text.push_str(&table(["OBJECT", "TYPE", "ATTRIBUTE", "ACTIVE", &name.to_uppercase()], rows));
            text.push('\n');
        }
        let differing = target.differing + target.only_active + target.only_staging;
        if differing > target.objects.len() {
            text.push_str(&format!("... and {} more (--limit)\n", differing - target.objects.len()));
        }
    }
    text
}

fn show_last(run: Option<&RunRecord>) -> String {
    match run {
        None => "no run yet".to_owned(),
        Some(run) => {
            let ended = run.ended_at.map(|ended| format!(" {ended}")).unwrap_or_default();
            format!("run {} ({}, rules version {}), {}{ended}", run.number, run.profile, run.rules, run.outcome.code())
        }
    }
}

/// One line for each attribute that differs; one in all for an object that one instance alone has.
fn rows(object: &ObjectDiff, instance: &str) -> Vec<[String; 5]> {
    let (name, object_type) = (object.object.to_string(), object.object_type.clone());
    let mut rows: Vec<[String; 5]> = match object.difference {
        Difference::OnlyActive => {
            vec![[name, object_type, String::new(), "is there".to_owned(), format!("not kept by {instance}")]]
        }
        Difference::OnlyStaging => {
            vec![[name, object_type, String::new(), "is not there".to_owned(), "would be there".to_owned()]]
        }
        Difference::Values => {
            let values = object
                .attributes
                .iter()
                .map(|value| [value.attribute.to_string(), show_values(&value.active), show_values(&value.staging)]);
            let links = object.links.iter().map(|link| {
                let LinkDiff { attribute, only_active, only_staging } = link;
                [attribute.to_string(), only(only_active), only(only_staging)]
            });
            let both = values.chain(links);
            both.map(|[attribute, active, staging]| [name.clone(), object_type.clone(), attribute, active, staging])
                .collect()
        }
    };
    // The name is told once.
    for row in rows.iter_mut().skip(1) {
        row[0].clear();
        row[1].clear();
    }
    rows
}

fn only(targets: &[String]) -> String {
    if targets.is_empty() { String::new() } else { format!("only {}", targets.join(", ")) }
}
