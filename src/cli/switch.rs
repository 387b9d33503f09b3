//! `landbridge domain set-method|changes|approve|cancel|rollback`, `landbridge failover drill`.

use clap::Args;

use super::output::table;
use super::{Client, Output};
use crate::identity::{AuthenticationMethod, ChangeId, DomainName, Percent, Timestamp};
use crate::signin::change::{CanaryPlan, ChangeState, MethodChange, Plan};
use crate::signin::desk::{Drill, MethodSet, SetMethod};
use crate::web::admin::domain_approve::{self, DomainApprove};
use crate::web::admin::domain_cancel::{self, DomainCancel};
use crate::web::admin::domain_changes::{self, DomainChanges};
use crate::web::admin::domain_rollback::{self, DomainRollback};
use crate::web::admin::domain_set_method::DomainSetMethod;
use crate::web::admin::failover_drill::{self, FailoverDrill};

/// Changes how a domain's users sign in.
#[derive(Debug, Args)]
pub struct SetMethodArgs {
    domain: DomainName,
    /// phs, pta or federated.
    method: AuthenticationMethod,
    /// End the sign-ins and sessions that rest on the former method.
    #[arg(long)]
    cut: bool,
    /// Change it even if people are locked out.
    #[arg(long)]
    force: bool,
    /// Show what would change and what it means, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Change it then, such as 2026-05-04T06:00:00Z.
    #[arg(long, value_parser = instant)]
    at: Option<Timestamp>,
    /// Try it on this share of the users first; goes back by itself when more are refused than before.
    #[arg(long)]
    canary: Option<Percent>,
    /// How long the canary lasts, in minutes.
    #[arg(long, default_value_t = 60, requires = "canary")]
    minutes: u64,
    /// By how many percent points the rate of refusals may rise above the one of the day before.
    #[arg(long, default_value_t = 5, requires = "canary")]
    margin: u8,
    /// Tries that must have been seen before anything is concluded.
    #[arg(long, default_value_t = 20, requires = "canary")]
    least: u32,
}

/// Lists changes of methods.
#[derive(Debug, Args)]
pub struct ChangesArgs {
    domain: Option<DomainName>,
    /// How many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// Goes back to the method before.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    domain: DomainName,
    /// Even if more people could not sign in afterwards than cannot now.
    #[arg(long)]
    force: bool,
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("expected a time such as 2026-05-04T06:00:00Z")
}

pub(super) async fn set_method(client: &Client, args: &SetMethodArgs, output: &Output) -> anyhow::Result<()> {
    let canary = args.canary.map(|percent| CanaryPlan {
        percent,
        seconds: args.minutes.saturating_mul(60),
        margin: args.margin,
        least: args.least,
    });
    let request = SetMethod {
        cut: args.cut,
        force: args.force,
        dry_run: args.dry_run,
        at: args.at,
        canary,
        ..SetMethod::new(args.domain.clone(), args.method)
    };
    let answer = client.call::<DomainSetMethod>(&request).await?;
    output.show(&answer, |set| shown(set, args.dry_run));
    Ok(())
}

pub(super) async fn changes(client: &Client, args: &ChangesArgs, output: &Output) -> anyhow::Result<()> {
    let request = domain_changes::Request { domain: args.domain.clone(), limit: args.limit };
    let changes = client.call::<DomainChanges>(&request).await?;
    output.show(&changes, |changes| table(["CHANGE", "DOMAIN", "WHAT", "STATE", "ASKED BY"], changes.iter().map(row)));
    Ok(())
}

pub(super) async fn approve(client: &Client, change: ChangeId, output: &Output) -> anyhow::Result<()> {
    let change = client.call::<DomainApprove>(&domain_approve::Request { change }).await?;
    output.show(&change, |change| format!("{} is {}", what(&change.plan), state(&change.state)));
    Ok(())
}

pub(super) async fn cancel(client: &Client, change: ChangeId, output: &Output) -> anyhow::Result<()> {
    let change = client.call::<DomainCancel>(&domain_cancel::Request { change }).await?;
    output.show(&change, |change| format!("{} is {}", what(&change.plan), state(&change.state)));
    Ok(())
}

pub(super) async fn rollback(client: &Client, args: &RollbackArgs, output: &Output) -> anyhow::Result<()> {
    let request = domain_rollback::Request { domain: args.domain.clone(), force: args.force };
    let set = client.call::<DomainRollback>(&request).await?;
    output.show(&set, |set| match set.from == set.to {
        true => format!("the canary of {} has ended: its users sign in by {} again", set.domain, set.from),
        false => shown(set, false),
    });
    Ok(())
}

/// Fails when the backup would not hold.
pub(super) async fn drill(client: &Client, domain: &DomainName, output: &Output) -> anyhow::Result<()> {
    let drill = client.call::<FailoverDrill>(&failover_drill::Request { domain: domain.clone() }).await?;
    output.show(&drill, drilled);
    anyhow::ensure!(drill.findings.is_empty(), "the backup of {domain} would not hold");
    Ok(())
}

fn shown(set: &MethodSet, dry_run: bool) -> String {
    let verb = match (&set.state, set.changed) {
        (_, true) => "is now",
        (Some(ChangeState::Proposed { .. }), false) => "is proposed to be",
        (Some(ChangeState::Scheduled { .. }), false) => "is scheduled to be",
        (Some(ChangeState::Canary { .. }), false) => "is being tried as",
        (_, false) => "would be",
    };
    let mut text = format!("{} {verb} {} (was {})", set.domain, set.to, set.from);
    if let Some(partner) = &set.partner {
        text.push_str(&format!(", with partner {partner}"));
    }
    let readiness = &set.readiness;
    text.push_str(&format!(
        "\n{} of {} enabled users can sign in",
        readiness.users - readiness.not_ready,
        readiness.users
    ));
    if set.transactions_cut + set.sessions_cut > 0 {
        text.push_str(&format!("\nended: {} sign-ins, {} sessions", set.transactions_cut, set.sessions_cut));
    }
    if let Some(pin) = set.released_pin {
        text.push_str(&format!("\nthe pin to the {pin} is released"));
    }
    text.push_str(&super::rollout::unready(readiness));
    if let (Some(id), Some(waits)) = (set.change, set.state.as_ref().filter(|state| state.is_open())) {
        text.push_str(&format!("\nchange {id}: {}", state(waits)));
    }
    if dry_run {
        text.push_str("\n\nWhat it means:");
        for effect in &set.effects {
            text.push_str(&format!("\n- {effect}"));
        }
    }
    text
}

fn row(change: &MethodChange) -> [String; 5] {
    let by = match &change.approved_by {
        Some(approver) => format!("{}, approved by {approver}", change.asked_by),
        None => change.asked_by.clone(),
    };
    [change.id.to_string(), change.domain.to_string(), what(&change.plan), state(&change.state), by]
}

fn what(plan: &Plan) -> String {
    match plan {
        Plan::SetMethod { method, canary: None, .. } => format!("method {method}"),
        Plan::SetMethod { method, canary: Some(canary), .. } => format!("method {method} after {}", canary.percent),
        Plan::AddRollout(wish) => match (&wish.group, wish.percent) {
            (Some(group), _) => format!("rollout of {} for group {group}", wish.method),
            (None, Some(percent)) => format!("rollout of {} for {percent}", wish.method),
            (None, None) => format!("rollout of {}", wish.method),
        },
        Plan::RemoveRollout(wish) => match &wish.group {
            Some(group) => format!("end of the rollout for group {group}"),
            None => "end of the share".to_owned(),
        },
    }
}

fn state(state: &ChangeState) -> String {
    match state {
        ChangeState::Proposed { until } => format!("proposed, to be approved by another principal until {until}"),
        ChangeState::Scheduled { at } => format!("scheduled for {at}"),
        ChangeState::Canary { since, .. } => format!("a canary since {since}"),
        ChangeState::Done { at } => format!("done at {at}"),
        ChangeState::Cancelled { at, by } => format!("cancelled by {by} at {at}"),
        ChangeState::Expired { at } => format!("expired at {at}"),
        ChangeState::Failed { at, why } => format!("failed at {at}: {why}"),
        ChangeState::RolledBack { at, why } => format!("rolled back at {at}: {why}"),
    }
}

fn drilled(drill: &Drill) -> String {
    let mut text = format!(
        "{}: {}, backup {}, failover {}\n{} of {} enabled users would get in through the backup",
        drill.domain, drill.method, drill.backup, drill.failover, drill.covered, drill.users
    );
    for reason in &drill.reasons {
        text.push_str(&format!("\n{} would not: {}", reason.users, reason.reason));
    }
    for pass in &drill.passes {
        let when = pass.age_seconds.map_or_else(|| "never".to_owned(), |age| format!("{} ago", duration(age)));
        text.push_str(&format!("\nlast complete pass over {}: {when}", pass.connector));
    }
    if let (Some(newest), Some(median), Some(oldest)) = (drill.hashes.newest, drill.hashes.median, drill.hashes.oldest)
    {
        text.push_str(&format!(
            "\nhashes were found to be the directory's {} ago at best, {} in the middle, {} at worst",
            duration(newest),
            duration(median),
            duration(oldest)
        ));
    }
    let peak = drill.peak.map_or_else(
        || "none was counted".to_owned(),
        |peak| format!("{} in the minute of {}", peak.tries, peak.minute_began),
    );
    text.push_str(&format!(
        "\n{} hashes can be checked in a minute, by {} of the nodes; most tries in a minute of last week: {peak}",
        drill.checks_a_minute,
        drill.nodes.len()
    ));
    if drill.by_itself != drill.covered {
        text.push_str(&format!("\n{} of them without an administrator's word", drill.by_itself));
    }
    for warning in &drill.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    for finding in &drill.findings {
        text.push_str(&format!("\nfinding: {finding}"));
    }
    text
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
