//! `landbridge user show|list`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::DomainName;
use crate::web::admin::user_list::{self, UserList};
use crate::web::admin::user_show::{self, UserShow};

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Show a user by sign-in name or oid, with credential and account state.
    Show { user: String },
    /// List users.
    List {
        /// Only those of one domain.
        #[arg(long)]
        domain: Option<DomainName>,
        /// At most so many; all when absent.
        #[arg(long)]
        limit: Option<u32>,
    },
}

pub(super) async fn run(client: &Client, command: &UserCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        UserCommand::Show { user } => {
            let answer = client.call::<UserShow>(&user_show::Request { user: user.clone() }).await?;
            output.show(&answer, |answer| match serde_json::to_string_pretty(answer) {
                Ok(text) => text,
                Err(error) => error.to_string(),
            });
        }
        UserCommand::List { domain, limit } => {
            let users = list(client, domain.as_ref(), *limit).await?;
            output.show(&users, |users| {
                let rows = users.iter().map(|user| {
                    let state = if user.account_enabled { "enabled" } else { "disabled" };
                    [user.upn.to_string(), user.oid.to_string(), state.to_owned(), user.display_name.clone().unwrap_or_default()]
                });
                table(["USER", "OID", "STATE", "NAME"], rows)
            });
        }
    }
    Ok(())
}

async fn list(
    client: &Client,
    domain: Option<&DomainName>,
    limit: Option<u32>,
) -> anyhow::Result<Vec<crate::store::tenant::UserSummary>> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let left = limit.map(|limit| limit.saturating_sub(u32::try_from(users.len()).unwrap_or(u32::MAX)));
        let request = user_list::Request { domain: domain.cloned(), after, limit: left };
        let page = client.call::<UserList>(&request).await?;
        users.extend(page.users);
        after = page.next;
        if after.is_none() || limit.is_some_and(|limit| users.len() >= limit as usize) {
            return Ok(users);
        }
    }
}
