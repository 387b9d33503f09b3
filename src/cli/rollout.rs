//! `landbridge rollout add|remove|list|report`, `landbridge domain readiness`.

use clap::{Args, Subcommand};

use super::output::table;
use super::{Client, Output};
use crate::identity::{AuthenticationMethod, DomainName, Percent};
use crate::signin::desk::{AddRollout, RemoveRollout, RolloutSet, RolloutSummary, UserOutlook};
use crate::signin::readiness::Readiness;
use crate::signin::rollout::{Because, Rollout, Scope};
use crate::web::admin::domain_readiness::{self, DomainReadiness};
use crate::web::admin::rollout_add::RolloutAdd;
use crate::web::admin::rollout_list::{self, RolloutList};
use crate::web::admin::rollout_remove::RolloutRemove;

#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Move a group or a share of a domain to a method; refuses to lock people out unless forced.
    Add {
        domain: DomainName,
        /// phs, pta or federated.
        method: AuthenticationMethod,
        /// The group, by name or oid; nested groups count.
        #[arg(long, conflicts_with = "percent", required_unless_present = "percent")]
        group: Option<String>,
        /// The share of the domain's users; again with another number to change it.
        #[arg(long)]
        percent: Option<Percent>,
        /// Of several groups of a user the lowest number counts; after all others when left out.
        #[arg(long, requires = "group")]
        precedence: Option<u32>,
        /// Do it even if people are locked out.
        #[arg(long)]
        force: bool,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// End a rollout: its people sign in as they would without it.
    Remove {
        domain: DomainName,
        /// The group, by name or oid.
        #[arg(long, conflicts_with = "share", required_unless_present = "share")]
        group: Option<String>,
        /// The domain's share.
        #[arg(long)]
        share: bool,
        /// Do it even if people are locked out.
        #[arg(long)]
        force: bool,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the rollouts, in the order in which they count.
    List { domain: Option<DomainName> },
    /// Tell of every user how they sign in, why, and whether they can.
    Report(ReportArgs),
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    domain: DomainName,
    /// As if this were the domain's method.
    #[arg(long)]
    method: Option<AuthenticationMethod>,
    /// Only users who could not sign in.
    #[arg(long)]
    not_ready: bool,
    /// Comma-separated values instead of a table.
    #[arg(long)]
    csv: bool,
}

pub(super) async fn run(client: &Client, command: &RolloutCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        RolloutCommand::Add { domain, method, group, percent, precedence, force, dry_run } => {
            let request = AddRollout {
                domain: domain.clone(),
                group: group.clone(),
                percent: *percent,
                method: *method,
                precedence: *precedence,
                force: *force,
                dry_run: *dry_run,
            };
            let set = client.call::<RolloutAdd>(&request).await?;
            output.show(&set, |set| change(set, ["is moved to", "would be moved to"]));
        }
        RolloutCommand::Remove { domain, group, share: _, force, dry_run } => {
            let request =
                RemoveRollout { domain: domain.clone(), group: group.clone(), force: *force, dry_run: *dry_run };
            let set = client.call::<RolloutRemove>(&request).await?;
            output.show(&set, |set| change(set, ["is no longer moved to", "would no longer be moved to"]));
        }
        RolloutCommand::List { domain } => {
            let answer = client.call::<RolloutList>(&rollout_list::Request { domain: domain.clone() }).await?;
            output.show(&answer.rollouts, |rollouts| {
                let header = ["DOMAIN", "PRECEDENCE", "FOR", "METHOD", "USERS", "BY"];
                table(header, rollouts.iter().map(row))
            });
        }
        RolloutCommand::Report(args) => report(client, args, output).await?,
    }
    Ok(())
}

/// The report on every user of a domain.
pub(super) async fn report(client: &Client, args: &ReportArgs, output: &Output) -> anyhow::Result<()> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let request = domain_readiness::Request {
            domain: args.domain.clone(),
            method: args.method,
            after,
            limit: domain_readiness::page(),
        };
        let page = client.call::<DomainReadiness>(&request).await?;
        if after.is_none() {
            page.warnings.iter().for_each(|warning| output.note(&format!("warning: {warning}")));
        }
        users.extend(page.users);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let all = users.len();
    users.retain(|user| !args.not_ready || user.not_ready.is_some());
    users.sort_by_key(|user| user.upn.folded());
    let list = client.call::<RolloutList>(&rollout_list::Request { domain: Some(args.domain.clone()) }).await?;
    let rows = |users: &[UserOutlook]| -> Vec<[String; 6]> {
        users.iter().map(|user| user_row(user, &list.rollouts)).collect()
    };
    if args.csv {
        let mut writer = csv::Writer::from_writer(std::io::stdout());
        writer.write_record(["oid", "user", "now", "then", "because", "not_ready"])?;
        for row in rows(&users) {
            writer.write_record(row)?;
        }
        writer.flush()?;
        return Ok(());
    }
    output.show(&users, |users| {
        let unable = users.iter().filter(|user| user.not_ready.is_some()).count();
        let sum = format!("{} of {all} enabled users can sign in", all - unable);
        let rows =
            rows(users).into_iter().map(|[_, user, now, then, because, reason]| [user, now, then, because, reason]);
        format!("{sum}\n\n{}", table(["USER", "NOW", "THEN", "BECAUSE OF", "COULD NOT SIGN IN"], rows))
    });
    Ok(())
}

fn user_row(user: &UserOutlook, rollouts: &[RolloutSummary]) -> [String; 6] {
    let named = |id| rollouts.iter().find(|summary| summary.rollout.id == id).map(label);
    let because = match user.because {
        Because::Domain => Some("the domain".to_owned()),
        Because::Group(id) | Because::Share(id) => named(id),
    };
    [
        user.oid.to_string(),
        user.upn.to_string(),
        user.now.to_string(),
        user.then.to_string(),
        because.unwrap_or_default(),
        user.not_ready.map(|reason| reason.describe().0.to_owned()).unwrap_or_default(),
    ]
}

fn row(summary: &RolloutSummary) -> [String; 6] {
    let rollout = &summary.rollout;
    let precedence = match rollout.scope {
        Scope::Group { precedence, .. } => precedence.to_string(),
        Scope::Share { .. } => "last".to_owned(),
    };
    [
        rollout.domain.to_string(),
        precedence,
        label(summary),
        rollout.method.to_string(),
        summary.users.to_string(),
        rollout.by.clone(),
    ]
}

fn label(summary: &RolloutSummary) -> String {
    scope(&summary.rollout, summary.group_name.as_deref())
}

fn scope(rollout: &Rollout, group_name: Option<&str>) -> String {
    match (rollout.scope, group_name) {
        (Scope::Group { .. }, Some(name)) => format!("group {name}"),
        (Scope::Group { group, .. }, None) => format!("group {group}"),
        (Scope::Share { percent }, _) => percent.to_string(),
    }
}

fn change(set: &RolloutSet, [done, planned]: [&str; 2]) -> String {
    let (rollout, verb) = (&set.rollout, if set.changed { done } else { planned });
    let mut text =
        format!("{} of {} {verb} {}", scope(rollout, set.group_name.as_deref()), rollout.domain, rollout.method);
    text.push_str(&format!("\n{} users sign in by another method than before", set.readiness.users));
    text + &unready(&set.readiness)
}

/// What a report in sum says below its first lines.
pub(super) fn unready(readiness: &Readiness) -> String {
    let mut text = String::new();
    for count in &readiness.reasons {
        let (word, meaning) = count.reason.describe();
        text.push_str(&format!("\n{} could not sign in: {word}, {meaning}", count.users));
    }
    for warning in &readiness.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}
