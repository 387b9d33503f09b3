//! `landbridge password-sync run|status`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::{ConnectorName, Timestamp};
use crate::web::admin::password_sync_run::{self, PasswordSyncRun};
use crate::web::admin::password_sync_status::{self, PasswordSyncStatus};

#[derive(Debug, Subcommand)]
pub enum PasswordSyncCommand {
    /// Read the hashes and account states of one connector, or of all, now.
    Run {
        #[arg(long)]
        connector: Option<ConnectorName>,
        /// Read all passwords again, also where the directory can tell which have changed.
        #[arg(long)]
        full: bool,
    },
    /// Show when each connector was last read to its end, and whose password could not be taken.
    Status,
}

pub(super) async fn run(client: &Client, command: &PasswordSyncCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        PasswordSyncCommand::Run { connector, full } => {
            output.note("reading passwords and account states ...");
            let request = password_sync_run::Request { connector: connector.clone(), full: *full };
            let passes = client.call::<PasswordSyncRun>(&request).await?;
            output.show(&passes, |passes| passes.iter().map(describe).collect::<Vec<_>>().join("\n"));
            let failed = passes.iter().filter(|pass| pass.error.is_some()).count();
            anyhow::ensure!(failed == 0, "{failed} of {} connectors were not read to their end", passes.len());
        }
        PasswordSyncCommand::Status => {
            let status = client.call::<PasswordSyncStatus>(&password_sync_status::Request {}).await?;
            output.show(&status, show_status);
        }
    }
    Ok(())
}

fn describe(pass: &password_sync_run::Pass) -> String {
    match (&pass.report, &pass.error) {
        (Some(report), _) => format!(
            "{}: {} read, {} stored, {} unchanged, {} quarantined, {} account states changed",
            pass.connector, report.read, report.stored, report.unchanged, report.quarantined, report.states_changed
        ),
        (None, error) => format!("{}: not read to its end: {}", pass.connector, error.as_deref().unwrap_or("unknown")),
    }
}

fn show_status(status: &password_sync_status::Response) -> String {
    let connectors = status.connectors.iter().map(|connector| {
        let stages = connector.credentials.iter().map(|(stage, number)| format!("{number} {stage}"));
        [
            connector.connector.to_string(),
            connector.last_completed.map_or_else(|| "never".to_owned(), Timestamp::rfc3339),
            stages.collect::<Vec<_>>().join(", "),
            connector.error.clone().unwrap_or_default(),
        ]
    });
    let mut text = table(["CONNECTOR", "LAST COMPLETE PASS", "CREDENTIALS", "ERROR"], connectors);
    let wrapping = status.wrapping;
    text.push_str(&format!("\n\nwrapped in Argon2id: {}, still to come: {}", wrapping.wrapped, wrapping.sealed));
    if !status.problems.is_empty() {
        let rows = status.problems.iter().map(|problem| {
            [
                problem.upn.clone(),
                problem.result.clone(),
                problem.detail.clone().unwrap_or_default(),
                problem.at.rfc3339(),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&table(["USER", "RESULT", "DETAIL", "AT"], rows));
    }
    text
}
