//! `landbridge alerts status|test`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::alerts::ChannelStatus;
use crate::identity::Timestamp;
use crate::web::admin::alerts_status::{self, AlertsStatus};
use crate::web::admin::alerts_test::{self, AlertsTest};

#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Show the channels of the settings and how far each is. What is raised now: `failover status`.
    Status,
    /// Send a notice to a channel now, which says that it is a test.
    Test { channel: String },
}

pub(super) async fn run(client: &Client, command: &AlertsCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        AlertsCommand::Status => {
            let channels = client.call::<AlertsStatus>(&alerts_status::Request {}).await?;
            output.show(&channels, |channels| shown(channels));
        }
        AlertsCommand::Test { channel } => {
            let answer = client.call::<AlertsTest>(&alerts_test::Request { channel: channel.clone() }).await?;
            output.show(&answer, |_| format!("{channel} has taken the test"));
        }
    }
    Ok(())
}

fn shown(channels: &[ChannelStatus]) -> String {
    if channels.is_empty() {
        return "the settings name no channel ([[alerts]]): alerts are in the log, the audit log and `failover status` alone"
            .to_owned();
    }
    let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339).unwrap_or_default();
    let rows = channels.iter().map(|channel| {
        [
            channel.name.clone(),
            channel.waiting.to_string(),
            time(channel.delivered_at),
            time(channel.next_try),
            channel.given_up.to_string(),
            channel.last_error.clone().unwrap_or_default(),
        ]
    });
    table(["CHANNEL", "WAITING", "LAST TAKEN", "NEXT TRY", "GIVEN UP", "LAST ERROR"], rows)
}
