//! `landbridge domain add|verify|withdraw|list|show`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::{ChangeId, ConnectorName, DomainName};
use crate::tenant::Verification;
use crate::web::admin::domain_add::{self, DomainAdd};
use crate::web::admin::domain_list::{self, DomainList};
use crate::web::admin::domain_show::{self, DomainShow};
use crate::web::admin::domain_verify::{self, DomainVerify};
use crate::web::admin::domain_withdraw::{self, DomainWithdraw};

#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Change how the domain's users sign in; refuses to lock people out unless forced.
    SetMethod(super::switch::SetMethodArgs),
    /// List changes of methods: proposed, scheduled, being tried, done.
    Changes(super::switch::ChangesArgs),
    /// Approve a change that another principal has proposed; it begins at once.
    Approve { change: ChangeId },
    /// Withdraw a change that is proposed or scheduled.
    Cancel { change: ChangeId },
    /// Give the domain back the method before its last change, or end its canary.
    Rollback(super::switch::RollbackArgs),
    /// Tell of every user how they sign in, why, and whether they can; with --method, whether they could.
    Readiness(super::rollout::ReportArgs),
    /// Set what stands behind the method, and who decides that it answers.
    SetFailover(super::failover::SetFailoverArgs),
    /// Add a domain, and print the TXT record that proves it.
    Add { name: DomainName },
    /// Look for the TXT record, and give the domain's users their names.
    Verify {
        name: DomainName,
        /// Vouch for the domain instead of looking for the record.
        #[arg(long)]
        vouch: bool,
    },
    /// Take a domain away from a connector that the settings no longer give it to; its users lose the names of it.
    Withdraw {
        name: DomainName,
        /// The connector.
        #[arg(long = "from")]
        connector: ConnectorName,
    },
    /// List the domains and how their users sign in.
    List,
    /// Show a domain, and how many of its users could sign in.
    Show { name: DomainName },
}

pub(super) async fn run(client: &Client, command: &DomainCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        DomainCommand::SetMethod(args) => super::switch::set_method(client, args, output).await?,
        DomainCommand::Changes(args) => super::switch::changes(client, args, output).await?,
        DomainCommand::Approve { change } => super::switch::approve(client, *change, output).await?,
        DomainCommand::Cancel { change } => super::switch::cancel(client, *change, output).await?,
        DomainCommand::Rollback(args) => super::switch::rollback(client, args, output).await?,
        DomainCommand::Readiness(args) => super::rollout::report(client, args, output).await?,
        DomainCommand::SetFailover(args) => super::failover::set_failover(client, args, output).await?,
        DomainCommand::Add { name } => {
            let answer = client.call::<DomainAdd>(&domain_add::Request { name: name.clone() }).await?;
            output.show(&answer, |answer| {
                let record = format!("publish: {} TXT \"{}\"", answer.record.name, answer.record.text);
                let way = match answer.non_routable {
                    true => "the name is not routable: use `landbridge domain verify --vouch`".to_owned(),
                    false => format!("{record}\nthen run: landbridge domain verify {}", answer.domain.name),
                };
                format!("{} is added and waits to be verified\n{way}", answer.domain.name)
            });
        }
        DomainCommand::Verify { name, vouch } => {
            let request = domain_verify::Request { name: name.clone(), vouched: *vouch };
            let answer = client.call::<DomainVerify>(&request).await?;
            output.show(&answer, |answer| {
                let mut lines = vec![format!(
                    "{} is verified ({}); the names of {} users were calculated anew",
                    answer.domain.name,
                    verification(answer.domain.verification),
                    answer.recalculated
                )];
                lines.extend(answer.warnings.iter().map(|warning| format!("warning: {warning}")));
                lines.join("\n")
            });
        }
        DomainCommand::Withdraw { name, connector } => {
            let request = domain_withdraw::Request { name: name.clone(), connector: connector.clone() };
            let answer = client.call::<DomainWithdraw>(&request).await?;
            output.show(&answer, |answer| format!("{} no longer speaks for {}", answer.connector, answer.name));
        }
        DomainCommand::List => {
            let answer = client.call::<DomainList>(&domain_list::Request {}).await?;
            output.show(&answer.domains, |domains| {
                let rows = domains.iter().map(|domain| {
                    [
                        domain.name.to_string(),
                        verification(domain.verification).to_owned(),
                        domain.method.to_string(),
                        domain.backup.to_string(),
                        domain.failover.to_string(),
                        domain.pin.as_ref().map_or_else(String::new, |mark| format!("{} by {}", mark.pin, mark.by)),
                    ]
                });
                table(["DOMAIN", "VERIFIED", "METHOD", "BACKUP", "FAILOVER", "PIN"], rows)
            });
        }
        DomainCommand::Show { name } => {
            let answer = client.call::<DomainShow>(&domain_show::Request { name: name.clone() }).await?;
            output.show(&answer, shown);
        }
    }
    Ok(())
}

fn shown(answer: &domain_show::Response) -> String {
    let (domain, ready) = (&answer.domain, &answer.readiness);
    let connectors: Vec<&str> = answer.connectors.iter().map(|name| name.as_str()).collect();
    let mut rows = vec![
        ["domain".to_owned(), domain.name.to_string()],
        ["verified".to_owned(), verification(domain.verification).to_owned()],
        ["method".to_owned(), format!("{} since {}", domain.method, domain.method_since)],
        ["backup".to_owned(), format!("{}, {}", domain.backup, domain.failover)],
        ["connectors".to_owned(), connectors.join(", ")],
        ["users".to_owned(), format!("{}, of whom {} enabled", ready.users, ready.enabled)],
        ["without a source".to_owned(), ready.without_source.to_string()],
        ["without a hash".to_owned(), format!("{}, of which {} quarantined", ready.without_hash, ready.quarantined)],
        ["outdated hashes".to_owned(), ready.outdated.to_string()],
        ["stale hashes".to_owned(), ready.stale.to_string()],
        ["waiting for a name".to_owned(), ready.waiting_for_a_name.to_string()],
    ];
    if let Some(pin) = &domain.pin {
        rows.push(["pin".to_owned(), format!("{} by {} since {}", pin.pin, pin.by, pin.at)]);
    }
    if let Some(partner) = &domain.partner {
        rows.push(["partner".to_owned(), partner.to_string()]);
    }
    if let Some(record) = &answer.record {
        rows.push(["record".to_owned(), format!("{} TXT \"{}\"", record.name, record.text)]);
    }
    table(["", ""], rows)
}

fn verification(verification: Verification) -> &'static str {
    match verification {
        Verification::Initial => "initial",
        Verification::Pending => "pending",
        Verification::Dns(_) => "by DNS",
        Verification::Operator(_) => "by operator",
    }
}
