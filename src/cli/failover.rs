//! `landbridge failover ...`, `landbridge domain set-method|set-failover`.

use clap::{Args, Subcommand};

use super::output::table;
use super::{Client, Output};
use crate::identity::{AuthenticationMethod, Backup, DomainName, FailoverMode, Pin};
use crate::signin::desk::{DomainStatus, FailoverStatus, MethodSet, SetMethod};
use crate::web::admin::domain_set_failover::{self, DomainSetFailover};
use crate::web::admin::domain_set_method::DomainSetMethod;
use crate::web::admin::failover_force::{self, FailoverForce};
use crate::web::admin::failover_release::{self, FailoverRelease};
use crate::web::admin::failover_status::{self, ShowFailover};

#[derive(Debug, Subcommand)]
pub enum FailoverCommand {
    /// Show domains, breakers, pins and alerts.
    Status {
        /// Probe every server of the pass-through domains now.
        #[arg(long)]
        probe: bool,
    },
    /// Pin a domain to its backup (or to its primary) until the pin is released.
    Force {
        domain: DomainName,
        /// backup or primary.
        #[arg(long, default_value = "backup")]
        to: Pin,
    },
    /// Release a pin.
    Release {
        domain: DomainName,
        /// Even if nobody could sign in afterwards.
        #[arg(long)]
        anyway: bool,
    },
}

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
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
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
}

pub(super) async fn run(client: &Client, command: &FailoverCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        FailoverCommand::Status { probe } => {
            let status = client.call::<ShowFailover>(&failover_status::Request { probe: *probe }).await?;
            output.show(&status, show_status);
        }
        FailoverCommand::Force { domain, to } => {
            let request = failover_force::Request { domain: domain.clone(), pin: *to };
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

pub(super) async fn set_method(client: &Client, args: &SetMethodArgs, output: &Output) -> anyhow::Result<()> {
    let request = SetMethod {
        domain: args.domain.clone(),
        method: args.method,
        cut: args.cut,
        force: args.force,
        dry_run: args.dry_run,
    };
    let answer = client.call::<DomainSetMethod>(&request).await?;
    output.show(&answer, show_method);
    Ok(())
}

pub(super) async fn set_failover(client: &Client, args: &SetFailoverArgs, output: &Output) -> anyhow::Result<()> {
    let request = domain_set_failover::Request {
        domain: args.domain.clone(),
        backup: args.backup,
        failover: args.mode,
        max_hash_age_seconds: args.max_hash_age_hours.map(|hours| hours.saturating_mul(3600)),
    };
    let status = client.call::<DomainSetFailover>(&request).await?;
    output.show(&status, |status| format!("{}: backup {}, failover {}", status.domain, status.backup, status.failover));
    Ok(())
}

fn show_method(set: &MethodSet) -> String {
    let verb = if set.changed { "is now" } else { "would be" };
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
    for warning in &readiness.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}

fn show_status(status: &FailoverStatus) -> String {
    let domains = status.domains.iter().map(domain_row);
    let mut text = table(["DOMAIN", "METHOD", "BACKUP", "FAILOVER", "PIN"], domains);
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

fn domain_row(domain: &DomainStatus) -> [String; 5] {
    let pin = domain.pin.as_ref().map(|mark| format!("{} by {}", mark.pin, mark.by)).unwrap_or_default();
    [domain.domain.to_string(), domain.method.to_string(), domain.backup.to_string(), domain.failover.to_string(), pin]
}
