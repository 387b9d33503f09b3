//! `landbridge failover ...`, `landbridge domain set-failover`.

use clap::{Args, Subcommand};

use super::output::table;
use super::{Client, Output};
use crate::identity::{Backup, DomainName, FailoverMode, GroupFailover, Pin};
use crate::signin::desk::{DomainStatus, FailoverStatus, GroupPolicy, PartnerStatus};
use crate::web::admin::domain_set_failover::{self, DomainSetFailover};
use crate::web::admin::failover_force::{self, FailoverForce};
use crate::web::admin::failover_release::{self, FailoverRelease};
use crate::web::admin::failover_set_group::{self, FailoverSetGroup};
use crate::web::admin::failover_status::{self, ShowFailover};

#[derive(Debug, Subcommand)]
pub enum FailoverCommand {
    /// Show domains, breakers, pins and alerts.
    Status {
        /// Look at every server of the pass-through domains, and every federation partner, now. Nothing follows from it.
        #[arg(long)]
        probe: bool,
    },
    /// Pin a domain to its backup (or to its primary) until the pin is released.
    Force {
        domain: DomainName,
        /// backup or primary.
        #[arg(long, default_value = "backup")]
        to: Pin,
        /// Release it by itself after so many minutes; a backup stays forced while nobody could sign in without it.
        #[arg(long)]
        minutes: Option<u64>,
    },
    /// Say what failover is for a group of a domain; of several groups of a user the strictest counts.
    SetGroup {
        domain: DomainName,
        /// Its oid or display name.
        group: String,
        /// automatic, manual, barred; as for the domain when left out.
        failover: Option<GroupFailover>,
    },
    /// Tell what the backup of a domain would hold, without touching anybody; fails when it would not hold.
    Drill { domain: DomainName },
    /// Release a pin.
    Release {
        domain: DomainName,
        /// Even if nobody could sign in afterwards.
        #[arg(long)]
        anyway: bool,
    },
}

/// Sets what stands behind a domain's method.
#[derive(Debug, Args)]
pub struct SetFailoverArgs {
    domain: DomainName,
    /// none or phs.
    #[arg(long)]
    backup: Option<Backup>,
    /// manual or automatic.
    #[arg(long)]
    mode: Option<FailoverMode>,
    /// Hours since the last complete pass of the password channel within which the backup counts.
    #[arg(long)]
    max_hash_age_hours: Option<u64>,
    /// Seconds for which synthetic sign-ins from every node must find a federation partner without service.
    #[arg(long)]
    partner_outage_seconds: Option<u64>,
}

pub(super) async fn run(client: &Client, command: &FailoverCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        FailoverCommand::Status { probe } => {
            let status = client.call::<ShowFailover>(&failover_status::Request { probe: *probe }).await?;
            output.show(&status, show_status);
        }
        FailoverCommand::SetGroup { domain, group, failover } => {
            let request =
                failover_set_group::Request { domain: domain.clone(), group: group.clone(), failover: *failover };
            let set = client.call::<FailoverSetGroup>(&request).await?;
            output.show(&set, |set| match set.groups.is_empty() {
                true => format!("failover is the same for everybody of {domain}"),
                false => groups_table(&set.groups),
            });
        }
        FailoverCommand::Drill { domain } => super::switch::drill(client, domain, output).await?,
        FailoverCommand::Force { domain, to, minutes } => {
            let seconds = minutes.map(|minutes| minutes.saturating_mul(60));
            let request = failover_force::Request { domain: domain.clone(), pin: *to, seconds };
            let status = client.call::<FailoverForce>(&request).await?;
            output.show(&status, |status| format!("{} is pinned to its {to}", status.domain));
        }
        FailoverCommand::Release { domain, anyway } => {
            let request = failover_release::Request { domain: domain.clone(), anyway: *anyway };
            let status = client.call::<FailoverRelease>(&request).await?;
            output.show(&status, |status| format!("{} is no longer pinned", status.domain));
        }
    }
    Ok(())
}

pub(super) async fn set_failover(client: &Client, args: &SetFailoverArgs, output: &Output) -> anyhow::Result<()> {
    let request = domain_set_failover::Request {
        domain: args.domain.clone(),
        backup: args.backup,
        failover: args.mode,
        max_hash_age_seconds: args.max_hash_age_hours.map(|hours| hours.saturating_mul(3600)),
        partner_outage_seconds: args.partner_outage_seconds,
    };
    let status = client.call::<DomainSetFailover>(&request).await?;
    output.show(&status, |status| format!("{}: backup {}, failover {}", status.domain, status.backup, status.failover));
    Ok(())
}

fn show_status(status: &FailoverStatus) -> String {
    let domains = status.domains.iter().map(domain_row);
    let mut text = table(["DOMAIN", "METHOD", "BACKUP", "FAILOVER", "PIN"], domains);
    if !status.groups.is_empty() {
        text.push_str("\n\n");
        text.push_str(&groups_table(&status.groups));
    }
    for partner in &status.partners {
        text.push_str(&partner_lines(partner));
    }
    for connector in &status.connectors {
        let breaker = match connector.open_since {
            Some(since) => format!("open since {since}, {} good probes", connector.good_probes),
            None => "closed".to_owned(),
        };
        text.push_str(&format!("\n\nconnector {}: breaker {breaker}", connector.connector));
        for server in &connector.servers {
            let state = server.fault.clone().unwrap_or_else(|| "answers".to_owned());
            text.push_str(&format!("\n  {}: {state}", server.server));
        }
    }
    for alert in &status.alerts {
        text.push_str(&format!(
            "\n\nalert {} on {} since {}: {}",
            alert.name, alert.subject, alert.raised_at, alert.detail
        ));
    }
    text
}

fn groups_table(groups: &[GroupPolicy]) -> String {
    let row = |policy: &GroupPolicy| {
        let name = policy.name.clone().unwrap_or_else(|| policy.group.to_string());
        [policy.domain.to_string(), name, policy.failover.to_string(), policy.by.clone()]
    };
    table(["DOMAIN", "GROUP", "FAILOVER", "BY"], groups.iter().map(row))
}

fn partner_lines(status: &PartnerStatus) -> String {
    let state = match status.outage_since {
        Some(since) => format!("without service since {since}"),
        None => "no outage".to_owned(),
    };
    let after = status.after_seconds;
    let depth = if status.canary_account { "with a canary account" } else { "first page only" };
    let mut text = format!(
        "\n\npartner {} of {}: {state} (down after {after} s from every node, {depth})",
        status.partner, status.domain
    );
    for node in &status.nodes {
        let seen = match &node.view {
            None => "has not looked yet".to_owned(),
            Some(view) => {
                let detail = view.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                let since = view.failing_since.map(|since| format!(", failing since {since}")).unwrap_or_default();
                format!("{} at {}{since}{detail}", view.found.as_str(), view.at)
            }
        };
        text.push_str(&format!("\n  {}: {seen}", node.node));
    }
    if let Some(looked) = &status.looked {
        let detail = looked.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        text.push_str(&format!("\n  just now: {}{detail}", looked.found.as_str()));
    }
    text
}

fn domain_row(domain: &DomainStatus) -> [String; 5] {
    let pin = domain.pin.as_ref().map(|mark| match mark.until {
        Some(until) => format!("{} by {} until {until}", mark.pin, mark.by),
        None => format!("{} by {}", mark.pin, mark.by),
    });
    let pin = pin.unwrap_or_default();
    [domain.domain.to_string(), domain.method.to_string(), domain.backup.to_string(), domain.failover.to_string(), pin]
}
