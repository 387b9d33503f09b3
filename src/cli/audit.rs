//! `landbridge audit tail|verify`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::audit::{Actor, Record};
use crate::web::admin::audit_tail::{self, AuditTail};
use crate::web::admin::audit_verify::{self, AuditVerify};

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show the newest records, oldest first.
    Tail {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: u32,
        /// Go on showing records as they are written.
        #[arg(long, short)]
        follow: bool,
    },
    /// Check the hash chain of every node.
    Verify,
}

/// Between two looks for new records.
const FOLLOW_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);

pub(super) async fn run(client: &Client, command: &Audit, output: &Output) -> anyhow::Result<()> {
    match command {
        Audit::Tail { lines, follow } => tail(client, *lines, *follow, output).await,
        Audit::Verify => {
            let answer = client.call::<AuditVerify>(&audit_verify::Request {}).await?;
            output.show(&answer, |answer| match answer.breaks.as_slice() {
                [] => format!("the chain holds: {} records", answer.records),
                breaks => format!("{} records, and the chain is broken:\n{}", answer.records, breaks.join("\n")),
            });
            if answer.breaks.is_empty() { Ok(()) } else { anyhow::bail!("the audit log was tampered with or damaged") }
        }
    }
}

async fn tail(client: &Client, lines: u32, follow: bool, output: &Output) -> anyhow::Result<()> {
    let records = client.call::<AuditTail>(&audit_tail::Request { limit: lines, after: None }).await?;
    output.show(&records, |records| show(records));
    let mut last = records.last().map(|record| record.number.clone());
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        let request = audit_tail::Request { limit: 1000, after: last.clone() };
        let records = client.call::<AuditTail>(&request).await?;
        if let Some(newest) = records.last() {
            last = Some(newest.number.clone());
            output.show(&records, |records| show(records));
        }
    }
}

fn show(records: &[Record]) -> String {
    let rows = records.iter().map(|record| {
        let detail = serde_json::to_string(&record.detail).unwrap_or_default();
        [
            record.at.rfc3339(),
            record.number.to_string(),
            record.kind.clone(),
            record.outcome.clone(),
            record.reason.clone().unwrap_or_default(),
            actor(&record.actor),
            record.subject.clone().unwrap_or_default(),
            if record.detail.is_empty() { String::new() } else { detail },
        ]
    });
    table(["TIME", "NUMBER", "WHAT", "OUTCOME", "REASON", "WHO", "SUBJECT", "DETAIL"], rows)
}

fn actor(actor: &Actor) -> String {
    match actor {
        Actor::System(part) => format!("system:{part}"),
        Actor::Admin(name) => format!("admin:{name}"),
        Actor::User(oid) => format!("user:{oid}"),
        Actor::Anonymous => "anonymous".to_owned(),
        Actor::Client(id) => format!("client:{id}"),
    }
}
