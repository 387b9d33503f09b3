//! `landbridge user show|list|unlock|revoke-sessions|wipe-credential|add|delete|set-privileged|quarantine|quota`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::{DomainName, Upn};
use crate::store::tenant::NamedObject;
use crate::web::admin::directory_quarantine::{self, DirectoryQuarantine};
use crate::web::admin::directory_quota::{self, DirectoryQuota};
use crate::web::admin::user_add::{self, UserAdd};
use crate::web::admin::user_delete::{self, UserDelete};
use crate::web::admin::user_list::{self, UserList};
use crate::web::admin::user_revoke_sessions::{self, UserRevokeSessions};
use crate::web::admin::user_set_privileged::{self, UserSetPrivileged};
use crate::web::admin::user_show::{self, UserShow};
use crate::web::admin::user_wipe_credential::{self, UserWipeCredential};

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Forget the wrong passwords counted against a user, and lift the lock.
    Unlock { user: String },
    /// End all sessions of a user and everything that applications were granted by them.
    RevokeSessions { user: String },
    /// Erase a user's stored password; the password channel stores the directory's again while the rules let it.
    WipeCredential { user: String },
    /// Make a user of the cloud: no connector owns it until one takes it over.
    Add {
        upn: Upn,
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long)]
        mail: Option<String>,
        /// A directory's object with this source anchor takes the user over.
        #[arg(long)]
        source_anchor: Option<String>,
        /// Nothing takes the user over.
        #[arg(long)]
        privileged: bool,
    },
    /// Delete a user of the cloud; it can be restored for 30 days by nobody but its directory.
    Delete { user: String },
    /// Say whether a user of the cloud may be taken over by a directory.
    SetPrivileged {
        user: String,
        #[arg(action = clap::ArgAction::Set)]
        privileged: bool,
    },
    /// List names and addresses that users, groups and contacts go without, since others hold them.
    Quarantine {
        /// Only values in which this text occurs.
        #[arg(long, default_value = "")]
        search: String,
    },
    /// Show how many objects the directory holds, and how many it may.
    Quota,
    /// List users in order of their names.
    List {
        /// Only users whose name is in this domain.
        #[arg(long)]
        domain: Option<DomainName>,
    },
    /// Show a user by sign-in name or oid.
    Show { user: String },
}

pub(super) async fn run(client: &Client, command: &UserCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        UserCommand::Unlock { user } => super::lockout::unlock(client, user, output).await?,
        UserCommand::RevokeSessions { user } => {
            let request = user_revoke_sessions::Request { user: user.clone() };
            let answer = client.call::<UserRevokeSessions>(&request).await?;
            output.show(&answer, |answer| format!("{} sessions of {user} are ended", answer.sessions));
        }
        UserCommand::WipeCredential { user } => {
            let request = user_wipe_credential::Request { user: user.clone() };
            let answer = client.call::<UserWipeCredential>(&request).await?;
            output.show(&answer, |answer| match answer.wiped {
                true => format!("the stored password of {} is erased", answer.oid),
                false => format!("no password of {} was stored", answer.oid),
            });
        }
        UserCommand::Add { upn, display_name, mail, source_anchor, privileged } => {
            let request = user_add::Request {
                upn: upn.clone(),
                display_name: display_name.clone(),
                mail: mail.clone(),
                source_anchor: source_anchor.clone(),
                privileged: *privileged,
            };
            let answer = client.call::<UserAdd>(&request).await?;
            output.show(&answer, |answer| format!("{upn} is user {}", answer.oid));
        }
        UserCommand::Delete { user } => {
            let answer = client.call::<UserDelete>(&user_delete::Request { user: user.clone() }).await?;
            output.show(&answer, |answer| format!("user {} is deleted", answer.oid));
        }
        UserCommand::SetPrivileged { user, privileged } => {
            let request = user_set_privileged::Request { user: user.clone(), privileged: *privileged };
            let answer = client.call::<UserSetPrivileged>(&request).await?;
            let may = if *privileged { "is never taken over" } else { "may be taken over" };
            output.show(&answer, |answer| format!("user {} {may}", answer.oid));
        }
        UserCommand::Quarantine { search } => quarantine(client, search, output).await?,
        UserCommand::Quota => {
            let answer = client.call::<DirectoryQuota>(&directory_quota::Request {}).await?;
            output.show(&answer, |answer| {
                let warning = if answer.warning { " (warning)" } else { "" };
                format!("{} of {} objects{warning}", answer.objects, answer.quota)
            });
        }
        UserCommand::List { domain } => {
            let (mut users, mut after) = (Vec::new(), None);
            loop {
                let request = user_list::Request { domain: domain.clone(), after, limit: None };
                let page = client.call::<UserList>(&request).await?;
                users.extend(page.users);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            output.show(&users, |users| {
                let rows = users.iter().map(|user| {
                    [
                        user.upn.to_string(),
                        user.display_name.clone().unwrap_or_default(),
                        if user.account_enabled { "enabled" } else { "disabled" }.to_owned(),
                        user.credential.clone().unwrap_or_else(|| "no hash".to_owned()),
                        user.oid.to_string(),
                    ]
                });
                table(["NAME", "DISPLAY NAME", "ACCOUNT", "CREDENTIAL", "OID"], rows)
            });
        }
        UserCommand::Show { user } => {
            let answer = client.call::<UserShow>(&user_show::Request { user: user.clone() }).await?;
            output.show(&answer, shown);
        }
    }
    Ok(())
}

async fn quarantine(client: &Client, search: &str, output: &Output) -> anyhow::Result<()> {
    let (mut values, mut after) = (Vec::new(), None);
    loop {
        let request = directory_quarantine::Request { search: search.to_owned(), after, limit: None };
        let page = client.call::<DirectoryQuarantine>(&request).await?;
        values.extend(page.values);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    output.show(&values, |values| {
        let named = |object: &NamedObject| {
            let name = object.name.clone().unwrap_or_else(|| object.id.to_string());
            format!("{} {name}", object.id.type_word())
        };
        let rows = values.iter().map(|waiting| {
            [
                waiting.attribute.clone(),
                waiting.value.clone(),
                named(&waiting.waiting),
                waiting.held_by.as_ref().map(named).unwrap_or_default(),
                waiting.since.rfc3339(),
            ]
        });
        table(["ATTRIBUTE", "VALUE", "WAITING", "HELD BY", "SINCE"], rows)
    });
    Ok(())
}

fn shown(user: &user_show::Response) -> String {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut rows = vec![
        ["name".to_owned(), user.upn.to_string()],
        ["oid".to_owned(), user.oid.to_string()],
        ["on-premises name".to_owned(), optional(&user.on_premises_upn)],
        ["display name".to_owned(), optional(&user.display_name)],
        ["mail".to_owned(), optional(&user.mail)],
        ["account".to_owned(), if user.account_enabled { "enabled" } else { "disabled" }.to_owned()],
        ["source anchor".to_owned(), user.source_anchor.as_ref().map(ToString::to_string).unwrap_or_default()],
        ["connector".to_owned(), user.connector.as_ref().map(ToString::to_string).unwrap_or_default()],
    ];
    if let Some(credential) = &user.credential {
        let stage = credential.stage.as_deref().unwrap_or("none stored");
        let reason = credential.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let outdated = if credential.outdated { ", outdated" } else { "" };
        let queued = if credential.fetch_queued { ", a read is queued" } else { "" };
        rows.push(["credential".to_owned(), format!("{}: {stage}{reason}{outdated}{queued}", credential.source)]);
    }
    if !user.proxy_addresses.is_empty() {
        rows.push(["addresses".to_owned(), user.proxy_addresses.join(", ")]);
    }
    for (attribute, held) in &user.quarantined {
        for held in held {
            let text = format!("`{}` is held by {} since {}", held.value, held.held_by, held.since);
            rows.push([format!("{attribute} waits"), text]);
        }
    }
    rows.push(["groups".to_owned(), user.groups.join(", ")]);
    if let Some(deleted) = user.deleted_at {
        rows.push(["deleted".to_owned(), deleted.rfc3339()]);
    }
    table(["", ""], rows)
}
