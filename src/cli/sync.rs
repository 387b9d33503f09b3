//! `landbridge sync|guard`.

use clap::Subcommand;

use super::output::table;
use super::sync_following::{following, queued, show_running};
use super::{Client, Output, sync_inspect};
use crate::identity::{ConnectorName, Timestamp};
use crate::sync::anchor_migration::Migration;
use crate::sync::guard::Hold;
use crate::sync::maintenance::{HeldBack, Suspension};
use crate::sync::run::{Preview, Profile, RunOutcome, RunRecord, StepRecord};
use crate::sync::scheduler::Admission;
use crate::sync::source_import::ImportOutlook;
use crate::web::admin::guard_release::{self, GuardRelease};
use crate::web::admin::guard_show::{self, GuardShow};
use crate::web::admin::sync_anchor_migrate::{self, SyncAnchorMigrate};
use crate::web::admin::sync_cancel::{self, SyncCancel};
use crate::web::admin::sync_preview::{self, SyncPreview};
use crate::web::admin::sync_resume::{self, SyncResume};
use crate::web::admin::sync_run::{self, SyncRun};
use crate::web::admin::sync_runs::{self, SyncRuns};
use crate::web::admin::sync_status::{self, SyncStatus};
use crate::web::admin::sync_suspend::{self, SyncSuspend};

#[derive(Debug, Subcommand)]
pub enum SyncCommand {
    /// Import, synchronise and export now, and wait for the end.
    Run {
        /// delta: import what changed; cycle: import everything; full: synchronise everything too; staging: export
        /// nothing; or a run profile of the settings. A staging instance takes `compare` when nothing is said: it imports
        /// from sources and targets what changed, and synchronises.
        #[arg(long)]
        profile: Option<String>,
        /// Do not wait for the end of the run.
        #[arg(long)]
        no_wait: bool,
        /// Although synchronisation is suspended or a maintenance window is open.
        #[arg(long)]
        anyway: bool,
    },
    /// End the run under way between two of its batches. What it did stands; the next run goes on from there.
    Cancel,
    /// Let no run begin by itself any more, on any node. A run under way goes on to its end.
    Suspend {
        /// When it ends by itself, such as 2026-03-01T06:00:00Z.
        #[arg(long, value_parser = instant)]
        until: Option<Timestamp>,
        /// For people who wonder.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let runs begin by themselves again.
    Resume,
    /// List the runs that are remembered.
    Runs {
        /// Newest runs to show.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Show this run alone, with its steps.
        #[arg(long)]
        run: Option<i64>,
    },
    /// Show what a run would export, or what would become of one object and why, and change nothing.
    Preview {
        /// connector:DN, connector:anchor, a user principal name, or mv:ID; the whole cycle when absent.
        object: Option<String>,
        /// Try the rule files as they are instead of the activated version.
        #[arg(long)]
        files: bool,
        /// Try the settings file as it is: read its directories into a scratch overlay, and show what would come and go.
        #[arg(long, conflicts_with = "object")]
        settings: bool,
        /// First import from the directories, for real; nothing is synchronised or exported.
        #[arg(long, conflicts_with = "settings")]
        import: bool,
        /// With --settings: read only this source. May be given several times.
        #[arg(long, requires = "settings")]
        connector: Vec<ConnectorName>,
    },
    /// Show where the value of an attribute comes from, who lost, and how far it got.
    Explain {
        /// Of the metaverse, or of a target.
        attribute: String,
        /// connector:DN, connector:anchor, a user principal name, or mv:ID.
        object: String,
    },
    /// Import, synchronise, export and confirm one object now, ahead of the next cycle.
    Provision {
        /// connector:DN or connector:anchor of an object that may be new; a user principal name or mv:ID of a known one.
        object: String,
    },
    /// Find objects in connector spaces and the metaverse.
    Search(sync_inspect::SearchArgs),
    /// Show where an object stands: what its directory shows, what was imported, what is staged, what was sent.
    Object {
        /// connector:DN, connector:anchor, a user principal name, or mv:ID.
        object: String,
    },
    /// Compare what a staging instance makes of the targets with what the active one does: per object and attribute.
    Diff {
        /// The staging instance; may be left out where there is one alone.
        #[arg(value_name = "INSTANCE")]
        staging: Option<String>,
        /// Compare this target alone.
        #[arg(long)]
        target: Option<ConnectorName>,
        /// Differing objects of a target that are shown; all are counted.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Give the tenant's objects the source anchors that the rule files make, and activate the files.
    AnchorMigrate {
        /// Tell what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
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

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("give date and time with a zone, such as 2026-03-01T06:00:00Z")
}

pub(super) async fn run(client: &Client, command: &SyncCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        SyncCommand::Run { profile, no_wait, anyway } => {
            let usual = if client.instance().is_some() { "compare" } else { Profile::Delta.code() };
            let profile = profile.clone().unwrap_or_else(|| usual.to_owned());
            let request = sync_run::Request { profile, wait: !no_wait, anyway: *anyway };
            let answer = match no_wait {
                true => client.call::<SyncRun>(&request).await?,
                false => following(client, output, client.call::<SyncRun>(&request)).await?,
            };
            output.show(&answer, show_answer);
            if let Some(run) = &answer.run {
                let ended = !matches!(run.outcome, RunOutcome::Failed | RunOutcome::Cancelled);
                anyhow::ensure!(ended, "run {} was not carried out to its end: {}", run.number, run.outcome.code());
            }
        }
        SyncCommand::Cancel => {
            let running = client.call::<SyncCancel>(&sync_cancel::Request {}).await?;
            output.show(&running, |running| format!("{} ends after its present batch", show_running(running)));
        }
        SyncCommand::Suspend { until, reason } => {
            let request = sync_suspend::Request { until: *until, reason: reason.clone() };
            let answer = client.call::<SyncSuspend>(&request).await?;
            output.show(&answer, |answer| {
                let running = answer
                    .running
                    .as_ref()
                    .map(|running| format!("\n{} goes on to its end; `sync cancel` ends it", show_running(running)));
                format!("{}{}", show_suspension(&answer.suspension), running.unwrap_or_default())
            });
        }
        SyncCommand::Resume => {
            let ended = client.call::<SyncResume>(&sync_resume::Request {}).await?;
            output.show(&ended, |ended| format!("resumed; {}", show_suspension(ended)));
        }
        SyncCommand::Runs { limit, run } => {
            let runs = client.call::<SyncRuns>(&sync_runs::Request { limit: *limit, run: *run }).await?;
            output.show(&runs, |runs| match (run, runs.as_slice()) {
                (Some(_), [one]) => show_run(&one.run, &one.steps),
                (_, runs) => show_runs(runs),
            });
        }
        SyncCommand::Preview { object: Some(object), files, import, .. } => {
            if *import {
                import_first(client, output).await?;
            }
            sync_inspect::preview(client, object, *files, output).await?;
        }
        SyncCommand::Preview { files, settings: true, connector, .. } => {
            output.note("reading the directories ...");
            sync_inspect::preview_settings(client, *files, connector, output).await?;
        }
        SyncCommand::Explain { attribute, object } => {
            sync_inspect::explain(client, attribute, object, output).await?;
        }
        SyncCommand::Provision { object } => sync_inspect::provision(client, object, output).await?,
        SyncCommand::Search(args) => sync_inspect::search(client, args, output).await?,
        SyncCommand::Object { object } => sync_inspect::object(client, object, output).await?,
        SyncCommand::Preview { object: None, files, settings: false, import, .. } => {
            if *import {
                import_first(client, output).await?;
            }
            let preview = client.call::<SyncPreview>(&sync_preview::Request { files: *files }).await?;
            output.show(&preview, show_preview);
        }
        SyncCommand::Diff { staging, target, limit } => {
            let staging = staging.clone().or_else(|| client.instance().map(ToOwned::to_owned));
            sync_inspect::diff(&client.active(), staging, target.clone(), *limit, output).await?;
        }
        SyncCommand::AnchorMigrate { dry_run } => {
            let request = sync_anchor_migrate::Request { dry_run: *dry_run };
            let migration = client.call::<SyncAnchorMigrate>(&request).await?;
            output.show(&migration, show_migration);
            let stopped = !*dry_run && migration.activated.is_none();
            anyhow::ensure!(!stopped, "nothing was changed: {} objects are in the way", migration.obstacles);
        }
        SyncCommand::Status { runs } => {
            let status = client.call::<SyncStatus>(&sync_status::Request { runs: *runs }).await?;
            output.show(&status, show_status);
        }
    }
    Ok(())
}

fn show_migration(migration: &Migration) -> String {
    let moves = migration.moves.iter().map(|m| [m.object_type.clone(), m.oid.clone(), m.from.clone(), m.to.clone()]);
    let mut text = table(["TYPE", "OID", "ANCHOR", "BECOMES"], moves);
    for obstacle in &migration.in_the_way {
        text += &format!("\n{} ({}): {}", obstacle.name, obstacle.oid, obstacle.reason);
    }
    let done = if migration.activated.is_some() { "moved" } else { "to be moved" };
    text +=
        &format!("\n{} {done}, {} unchanged, {} in the way", migration.moved, migration.unchanged, migration.obstacles);
    text
}

/// Imports for real, and says so.
async fn import_first(client: &Client, output: &Output) -> anyhow::Result<()> {
    output.note("importing for real ...");
    let answer = client.call::<SyncRun>(&sync_run::Request::waiting(Profile::Import.code())).await?;
    let Some(run) = &answer.run else { return Ok(()) };
    output.note(&format!("imported by run {}; nothing is synchronised or exported:", run.number));
    output.note(&show_run(run, &answer.steps));
    let ended = matches!(run.outcome, RunOutcome::Completed | RunOutcome::Held);
    anyhow::ensure!(ended, "run {} was not carried out to its end: {}", run.number, run.outcome.code());
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

fn show_answer(answer: &sync_run::Response) -> String {
    match (&answer.run, &answer.admission) {
        (Some(run), _) => show_run(run, &answer.steps),
        (None, Admission::Begun) => "the run has begun; `sync status` shows it".to_owned(),
        (None, Admission::Queued { behind }) => queued(*behind),
    }
}

fn show_runs(runs: &[sync_status::Run]) -> String {
    let rows = runs.iter().map(|sync_status::Run { run, .. }| {
        let took = run.ended_at.map(|ended| format!("{:.1} s", ended.since(run.started_at).as_secs_f64()));
        [
            run.number.to_string(),
            run.profile.clone(),
            run.started_at.rfc3339(),
            took.unwrap_or_default(),
            run.outcome.code().to_owned(),
            run.by.clone(),
            run.detail.clone().unwrap_or_default(),
        ]
    });
    table(["RUN", "PROFILE", "STARTED", "TOOK", "OUTCOME", "BY", "DETAIL"], rows)
}

fn show_suspension(suspension: &Suspension) -> String {
    let until = suspension.until.map_or_else(|| "until it is resumed".to_owned(), |until| format!("until {until}"));
    let reason = suspension.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("suspended {until}, since {} by {}{reason}", suspension.since, suspension.by)
}

fn show_schedule(schedule: &sync_status::Schedule) -> String {
    let activity = &schedule.activity;
    let mut text = match (&activity.running, activity.next) {
        (Some(running), _) => format!("{} is under way\n", show_running(running)),
        (None, _) if !schedule.engine_here => "another node holds the engine lease\n".to_owned(),
        (None, Some(next)) => format!("the next cycle begins {next}\n"),
        (None, None) => "no cycle begins by itself\n".to_owned(),
    };
    if !activity.waiting.is_empty() {
        text.push_str(&format!("waiting: {}\n", activity.waiting.join(", ")));
    }
    if let Some(suspension) = &schedule.suspension {
        text.push_str(&format!("{}\n", show_suspension(suspension)));
    }
    for window in &schedule.open_windows {
        let held = match window.holds {
            HeldBack::Exports => "exports",
            HeldBack::Cycles => "cycles",
        };
        text.push_str(&format!("maintenance window {} holds {held} back until {}\n", window.name, window.until));
    }
    if schedule.staging {
        text.push_str("staging mode: nothing is exported\n");
    }
    text
}

pub(super) fn show_run(run: &RunRecord, steps: &[StepRecord]) -> String {
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
    let head = format!(
        "run {} ({}, rules version {}, by {}): {}{detail}",
        run.number,
        run.profile,
        run.rules,
        run.by,
        run.outcome.code()
    );
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

pub(super) fn show_holds(holds: &[Hold]) -> String {
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
    let without = if untold.is_empty() { String::new() } else { format!(" without {}", untold.join(", ")) };
    let due = outlook.full_due.map(|due| format!(", full from {due}")).unwrap_or_default();
    let why = if outlook.another_server { ", because another server is read than before" } else { "" };
    format!("delta{without}{due}{why}")
}

fn show_status(status: &sync_status::Response) -> String {
    let mut text = match &status.rules {
        Some(rules) => format!("rules version {}, activated {} by {}\n", rules.number, rules.at, rules.by),
        None => "no rules are active: run `landbridge rules activate`\n".to_owned(),
    };
    if let Some(rules) = status.rules.as_ref().filter(|rules| !rules.differing.is_empty()) {
        text.push_str(&format!("files that differ from it: {}\n", rules.differing.join(", ")));
    }
    text.push_str(&show_schedule(&status.schedule));
    let figures = status.connectors.iter().map(|connector| {
        let figures = &connector.figures;
        let pending = [figures.pending_adds, figures.pending_updates, figures.pending_deletes, figures.pending_links];
        [
            connector.connector.clone(),
            figures.objects.to_string(),
            figures.joined.to_string(),
            pending.iter().sum::<i64>().to_string(),
            figures.failed.to_string(),
            match connector.missing {
                true => "not in the settings".to_owned(),
                false => connector.import.as_ref().map(show_outlook).unwrap_or_default(),
            },
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
