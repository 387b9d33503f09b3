//! `landbridge domain ...`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::DomainName;
use crate::tenant::Verification;
use crate::web::admin::domain_add::{self, DomainAdd};
use crate::web::admin::domain_list::{self, DomainList};
use crate::web::admin::domain_show::{self, DomainShow};
use crate::web::admin::domain_verify::{self, DomainVerify};
use crate::web::admin::tenant::DomainSummary;

#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Add a domain; prints the DNS record that proves it.
    Add { name: DomainName },
    /// Verify a domain by its DNS record, or on your own word.
    Verify {
        name: DomainName,
        /// Do not look for the record: vouch for the domain yourself.
        #[arg(long)]
        vouch: bool,
    },
    /// List the domains and how their users sign in.
    List,
    /// Show one domain, its connectors, and how many of its users hash sync could serve.
    Show { name: DomainName },
}

pub(super) async fn run(client: &Client, command: &DomainCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        DomainCommand::Add { name } => {
            let answer = client.call::<DomainAdd>(&domain_add::Request { name: name.clone() }).await?;
            output.show(&answer, |answer| {
                let how = if answer.non_routable {
                    format!("it is not routable: only `landbridge domain verify {name} --vouch` can verify it")
                } else {
                    let record = &answer.record;
                    format!("publish this record, then run `landbridge domain verify {name}`:\n{} TXT \"{}\"", record.name, record.text)
                };
                format!("{name} is added and pending\n{how}")
            });
        }
        DomainCommand::Verify { name, vouch } => {
            let request = domain_verify::Request { name: name.clone(), vouched: *vouch };
            let answer = client.call::<DomainVerify>(&request).await?;
            output.show(&answer, |answer| {
                format!("{name} is verified; {} users have new names, {} warnings", answer.recalculated, answer.warnings.len())
            });
        }
        DomainCommand::List => {
            let answer = client.call::<DomainList>(&domain_list::Request {}).await?;
            output.show(&answer, |answer| {
                table(["DOMAIN", "VERIFIED", "METHOD", "BACKUP", "FAILOVER", "PIN"], answer.domains.iter().map(row))
            });
        }
        DomainCommand::Show { name } => {
            let answer = client.call::<DomainShow>(&domain_show::Request { name: name.clone() }).await?;
            output.show(&answer, |answer| match serde_json::to_string_pretty(answer) {
                Ok(text) => text,
                Err(error) => error.to_string(),
            });
        }
    }
    Ok(())
}

fn row(domain: &DomainSummary) -> [String; 6] {
    let word = |value: &dyn std::fmt::Display| value.to_string();
    let pin = domain.pin.as_ref().map_or_else(String::new, |mark| mark.pin.to_string());
    [
        word(&domain.name),
        verified(domain.verification).to_owned(),
        word(&domain.method),
        word(&domain.backup),
        word(&domain.failover),
        pin,
    ]
}

const fn verified(verification: Verification) -> &'static str {
    match verification {
        Verification::Initial => "initial",
        Verification::Pending => "pending",
        Verification::Dns(_) => "by DNS",
        Verification::Operator(_) => "by operator",
    }
}
