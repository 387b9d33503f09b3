//! `landbridge lockout report`, `landbridge user unlock`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::Timestamp;
use crate::signin::desk::{JudgedUser, LockoutOverview};
use crate::signin::lockout_report::{NetworkTries, PlaceTries};
use crate::web::admin::lockout_report::{self, LockoutReport};
use crate::web::admin::user_unlock::{self, UserUnlock};

#[derive(Debug, Subcommand)]
pub enum LockoutCommand {
    /// Tell attacks from forgotten passwords: whose passwords failed, how often, from where.
    Report {
        /// How far to look back, in hours; at most a week.
        #[arg(long, default_value_t = 24)]
        hours: u32,
        /// Only this user.
        #[arg(long)]
        user: Option<String>,
        /// How many users, and how many networks, to show.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

pub(super) async fn run(client: &Client, command: &LockoutCommand, output: &Output) -> anyhow::Result<()> {
    let LockoutCommand::Report { hours, user, limit } = command;
    let request = lockout_report::Request { hours: *hours, user: user.clone(), limit: *limit };
    let answer = client.call::<LockoutReport>(&request).await?;
    output.show(&answer, shown);
    Ok(())
}

pub(super) async fn unlock(client: &Client, user: &str, output: &Output) -> anyhow::Result<()> {
    let answer = client.call::<UserUnlock>(&user_unlock::Request { user: user.to_owned() }).await?;
    output.show(&answer, |answer| match answer.was_counting {
        true => format!("{user} is unlocked"),
        false => format!("{user} was not locked"),
    });
    Ok(())
}

fn shown(report: &LockoutOverview) -> String {
    let attacked = report.users.iter().filter(|user| user.judgement.is_attack()).count();
    let mut text = format!(
        "since {}: wrong passwords of {} users, {attacked} of them under attack",
        report.since.rfc3339(),
        report.users.len()
    );
    if !report.users.is_empty() {
        let rows = report.users.iter().flat_map(user_rows);
        let header = ["USER", "LOOKS LIKE", "LOCKED UNTIL", "FROM", "WRONG", "SAME AGAIN", "TURNED AWAY", "THEN IN"];
        text += &format!("\n\n{}", table(header, rows));
    }
    if !report.networks.is_empty() {
        let header = ["NETWORK", "USERS", "UNKNOWN NAMES", "WRONG", "TURNED AWAY", "LAST", "SLOWED SINCE"];
        text += &format!("\n\n{}", table(header, report.networks.iter().map(network_row)));
    }
    text
}

/// A row for each place; what is said of the user stands in the first one.
fn user_rows(user: &JudgedUser) -> impl Iterator<Item = [String; 8]> {
    user.places.iter().enumerate().map(|(index, place)| {
        let [from, wrong, repeated, turned_away, then_in] = place_cells(place);
        let [name, looks, locked] = if index == 0 {
            let name = user.name.clone().unwrap_or_else(|| user.oid.to_string());
            [name, user.judgement.describe().to_owned(), time(user.locked_until)]
        } else {
            Default::default()
        };
        [name, looks, locked, from, wrong, repeated, turned_away, then_in]
    })
}

fn place_cells(place: &PlaceTries) -> [String; 5] {
    let device = if place.familiar { "familiar device" } else { "unknown device" };
    let network = place.network.as_deref().unwrap_or("hidden network");
    [
        format!("{network}, {device}"),
        place.tries.to_string(),
        place.repeated.to_string(),
        place.turned_away.to_string(),
        time(place.succeeded_at),
    ]
}

fn network_row(network: &NetworkTries) -> [String; 7] {
    [
        network.network.clone(),
        network.users.to_string(),
        network.unknown_names.to_string(),
        network.tries.to_string(),
        network.turned_away.to_string(),
        network.last_at.rfc3339(),
        time(network.slowed_since),
    ]
}

fn time(at: Option<Timestamp>) -> String {
    at.map(Timestamp::rfc3339).unwrap_or_default()
}
