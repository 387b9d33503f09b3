//! `landbridge sync|guard`.

use clap::{Subcommand, ValueEnum};

use super::output::table;
use super::{Client, Output};
use crate::sync::guard::Hold;
use crate::sync::run::{Preview, Profile, RunOutcome, RunRecord, StepRecord};
use crate::sync::source_import::ImportOutlook;
use crate::web::admin::guard_release::{self, GuardRelease};
use crate::web::admin::guard_show::{self, GuardShow};
use crate::web::admin::sync_preview::{self, SyncPreview};
use crate::web::admin::sync_run::{self, SyncRun};
use crate::web::admin::sync_status::{self, SyncStatus};

#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Import, synchronise and export now, and wait for the end.
    Run {
        /// delta: import what changed; cycle: import everything; full: synchronise everything too; staging: export nothing.
        #[arg(long, value_enum, default_value_t = ProfileWord::Delta)]
        profile: ProfileWord,
    },
    /// Show what a run would export, and change nothing.
    Preview {
        /// Try the rule files as they are instead of the activated version.
        #[arg(long)]
        files: bool,
    },
    /// Show runs, figures, problems by object, and holds.
    Status {
        /// Newest runs to show.
        #[arg(long, default_value_t = 5)]
        runs: u32,
    },
}

#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    /// Show what is held, with the digest that a release must name.
    Show,
    /// Let exactly the listed changes pass, once.
    Release {
        /// As `guard show` tells it.
        target: String,
        #[arg(long)]
        digest: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileWord {
    Delta,
    Cycle,
    Full,
    Staging,
}

pub(super) async fn run(client: &Client, command: &SyncCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        SyncCommand::Run { profile } => {
            output.note("synchronising ...");
            let profile = match profile {
                ProfileWord::Delta => Profile::Delta,
                ProfileWord::Cycle => Profile::Cycle,
                ProfileWord::Full => Profile::Full,
                ProfileWord::Staging => Profile::Staging,
            };
            let answer = client.call::<SyncRun>(&sync_run::Request { profile }).await?;
            output.show(&answer, |answer| show_run(&answer.run, &answer.steps));
            anyhow::ensure!(answer.run.outcome != RunOutcome::Failed, "run {} failed", answer.run.number);
        }
        SyncCommand::Preview { files } => {
            let preview = client.call::<SyncPreview>(&sync_preview::Request { files: *files }).await?;
            output.show(&preview, show_preview);
        }
        SyncCommand::Status { runs } => {
            let status = client.call::<SyncStatus>(&sync_status::Request { runs: *runs }).await?;
            output.show(&status, show_status);
        }
    }
    Ok(())
}

pub(super) async fn guard(client: &Client, command: &GuardCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        GuardCommand::Show => {
            let holds = client.call::<GuardShow>(&guard_show::Request {}).await?;
            output.show(&holds, |holds| match holds.as_slice() {
                [] => "nothing is held".to_owned(),
                holds => show_holds(holds),
            });
        }
        GuardCommand::Release { target, digest } => {
            let request = guard_release::Request { target: target.clone(), digest: digest.clone() };
            let hold = client.call::<GuardRelease>(&request).await?;
            output.show(&hold, |hold| {
                format!(
                    "{} changes of kind {} to {} may pass with the next run",
                    hold.outstanding, hold.kind, hold.target
                )
            });
        }
    }
    Ok(())
}

fn show_run(run: &RunRecord, steps: &[StepRecord]) -> String {
    let rows = steps.iter().map(|step| {
        let counters = step.counters.iter().map(|(name, number)| format!("{number} {name}"));
        [
            step.connector.clone(),
            step.kind.clone(),
            step.outcome.code().to_owned(),
            counters.collect::<Vec<_>>().join(", "),
            step.detail.clone().unwrap_or_default(),
        ]
    });
    let detail = run.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let head =
        format!("run {} ({}, rules version {}): {}{detail}", run.number, run.profile, run.rules, run.outcome.code());
    format!("{head}\n{}", table(["CONNECTOR", "STEP", "OUTCOME", "NUMBERS", "DETAIL"], rows))
}

pub(super) fn show_preview(preview: &Preview) -> String {
    let mut text = String::new();
    for target in &preview.targets {
        let figures = &target.figures;
        text.push_str(&format!(
            "{}: {} adds, {} updates, {} deletes, {} membership changes\n",
            target.target,
            figures.pending_adds,
            figures.pending_updates,
            figures.pending_deletes,
            figures.pending_links
        ));
        let rows = target.changes.iter().map(|change| {
            [change.operation.clone(), change.object_type.clone(), change.name.clone(), change.attributes.join(", ")]
        });
        text.push_str(&table(["CHANGE", "TYPE", "OBJECT", "ATTRIBUTES"], rows));
        if target.more {
            text.push_str("\n... and more");
        }
        if !target.holds.is_empty() {
            text.push_str("\nthe guard would hold this:\n");
            text.push_str(&show_holds(&target.holds));
        }
        text.push('\n');
    }
    text
}

fn show_holds(holds: &[Hold]) -> String {
    let rows = holds.iter().map(|hold| {
        let some = hold.items.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let numbers = format!("{} (+{} in 24 h), limit {}", hold.outstanding, hold.exported, hold.limit);
        [hold.target.clone(), hold.kind.clone(), numbers, hold.digest.clone(), some]
    });
    table(["TARGET", "KIND", "CHANGES", "DIGEST", "AMONG THEM"], rows)
}

fn show_outlook(outlook: &ImportOutlook) -> String {
    let Some(reports) = outlook.delta else { return "full".to_owned() };
    let told = [("deletes", reports.deletes), ("moves", reports.moves), ("filter exits", reports.filter_exits)];
    let untold: Vec<&str> = told.iter().filter(|(_, told)| !told).map(|(what, _)| *what).collect();
    match (untold.as_slice(), outlook.full_due) {
        ([], _) => "delta".to_owned(),
        (untold, due) => {
            let due = due.map(|due| format!(", full from {due}")).unwrap_or_default();
            format!("delta without {}{due}", untold.join(", "))
        }
    }
}

fn show_status(status: &sync_status::Response) -> String {
    let mut text = match &status.rules {
        Some(rules) => format!("rules version {}, activated {} by {}\n", rules.number, rules.at, rules.by),
        None => "no rules are active: run `landbridge rules activate`\n".to_owned(),
    };
    if let Some(rules) = status.rules.as_ref().filter(|rules| !rules.differing.is_empty()) {
        text.push_str(&format!("files that differ from it: {}\n", rules.differing.join(", ")));
    }
    let figures = status.connectors.iter().map(|connector| {
        let figures = &connector.figures;
        let pending = [figures.pending_adds, figures.pending_updates, figures.pending_deletes, figures.pending_links];
        [
            connector.connector.clone(),
            figures.objects.to_string(),
            figures.joined.to_string(),
            pending.iter().sum::<i64>().to_string(),
            figures.failed.to_string(),
            connector.import.as_ref().map(show_outlook).unwrap_or_default(),
        ]
    });
    text.push_str(&table(["CONNECTOR", "OBJECTS", "JOINED", "PENDING", "FAILED", "NEXT IMPORT"], figures));
    for run in &status.runs {
        text.push_str("\n\n");
        text.push_str(&show_run(&run.run, &run.steps));
    }
    if !status.problems.is_empty() {
        let rows = status.problems.iter().map(|problem| {
            [
                problem.connector.clone(),
                problem.name.clone(),
                format!("{}: {}", problem.problem.code.code(), problem.problem.detail),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&table(["CONNECTOR", "OBJECT", "PROBLEM"], rows));
    }
    if !status.holds.is_empty() {
        text.push_str("\n\n");
        text.push_str(&show_holds(&status.holds));
    }
    text
}
