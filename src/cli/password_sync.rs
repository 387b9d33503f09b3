//! `landbridge password-sync run|status|leaked|check-list`.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::output::table;
use super::{Client, Output};
use crate::credential::LeakedList;
use crate::identity::{ConnectorName, Timestamp, causes};
use crate::password_sync::overview::LeakedUser;
use crate::web::admin::password_sync_leaked::{self, PasswordSyncLeaked};
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
    /// Show whose password is on the list of leaked ones, those found last first.
    Leaked {
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Read a list of leaked passwords from end to end: whether it is one, and in order.
    CheckList { file: PathBuf },
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
        PasswordSyncCommand::Leaked { limit } => {
            let users = client.call::<PasswordSyncLeaked>(&password_sync_leaked::Request { limit: *limit }).await?;
            output.show(&users, |users| show_leaked(users));
        }
        PasswordSyncCommand::CheckList { file } => match LeakedList::new(file.clone()).verify() {
            Ok(hashes) => output.show(&CheckedList { hashes }, |list| format!("{} hashes, in order", list.hashes)),
            Err((line, error)) => anyhow::bail!("line {line}: {}", causes(&error)),
        },
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

/// A list that was read from end to end.
#[derive(Serialize)]
struct CheckedList {
    hashes: u64,
}

fn show_leaked(users: &[LeakedUser]) -> String {
    if users.is_empty() {
        return "no stored password is known to be leaked".to_owned();
    }
    let rows = users
        .iter()
        .map(|user| [user.upn.clone(), user.connector.to_string(), user.met.clone(), user.found_at.rfc3339()]);
    table(["USER", "CONNECTOR", "MET IN LEAKS", "FOUND"], rows)
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
    for connector in &status.connectors {
        if let Some(error) = &connector.leaked_error {
            text.push_str(&format!("\n\n{}: {error}", connector.connector));
        }
    }
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
