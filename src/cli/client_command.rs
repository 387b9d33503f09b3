//! `landbridge client add|list`, `landbridge keys rotate|ring|roll-ring|retire-ring`.

use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::identity::ClientId;
use crate::issuer::{Algorithm, NewClient};
use crate::web::admin::client_add::ClientAdd;
use crate::web::admin::client_list::{self, ClientList};
use crate::web::admin::keys_retire_ring::{self, KeysRetireRing};
use crate::web::admin::keys_ring::{self, KeysRing};
use crate::web::admin::keys_roll_ring::{self, KeysRollRing};
use crate::web::admin::keys_rotate::{self, KeysRotate};
use crate::web::admin::ring_desk::RingStatus;

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Register an application; prints its secret, once.
    Add {
        client_id: ClientId,
        /// What people see.
        #[arg(long)]
        name: Option<String>,
        /// An address that answers go to, matched exactly; may be given several times.
        #[arg(long = "redirect-uri", required = true)]
        redirect_uris: Vec<String>,
        /// An address for after signing out, matched exactly; may be given several times.
        #[arg(long = "logout-uri")]
        logout_uris: Vec<String>,
        /// An application that can keep no secret; it must use PKCE.
        #[arg(long)]
        public: bool,
        /// Give the application subjects of its own instead of the `oid`; cannot be changed later.
        #[arg(long)]
        pairwise: bool,
        /// How its ID tokens are signed: RS256 or ES256.
        #[arg(long, default_value = "RS256")]
        algorithm: Algorithm,
    },
    /// List the registered applications.
    List,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Announce a new signing key; it signs once applications have had time to fetch it.
    Rotate {
        /// RS256 or ES256.
        #[arg(long, default_value = "RS256")]
        algorithm: Algorithm,
    },
    /// Show the keys of the key ring by name, and how many rows still need the older ones.
    Ring,
    /// Add a key to the key ring of every node and seal everything anew under it. Back the files up again afterwards.
    RollRing {
        /// Hand the key to no other node, since the former one may be known; refused while another node runs.
        #[arg(long)]
        alone: bool,
    },
    /// Forget a key of the ring on every node, once nothing is sealed with it any more.
    RetireRing { key: String },
}

pub(super) async fn run(client: &Client, command: &ClientCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        ClientCommand::Add { client_id, name, redirect_uris, logout_uris, public, pairwise, algorithm } => {
            let request = NewClient {
                client_id: client_id.clone(),
                name: name.clone().unwrap_or_else(|| client_id.to_string()),
                public: *public,
                redirect_uris: redirect_uris.clone(),
                logout_uris: logout_uris.clone(),
                pairwise: *pairwise,
                algorithm: *algorithm,
            };
            let answer = client.call::<ClientAdd>(&request).await?;
            output.show(&answer, |answer| {
                let secret = match &answer.client_secret {
                    Some(secret) => format!("secret {secret} (not shown again)"),
                    None => "public: no secret, PKCE required".to_owned(),
                };
                format!("client {}\n{secret}\nmetadata {}", answer.client_id, answer.metadata)
            });
        }
        ClientCommand::List => {
            let clients = client.call::<ClientList>(&client_list::Request {}).await?;
            output.show(&clients, |clients| {
                let rows = clients.iter().map(|client| {
                    let kind = if client.public { "public" } else { "confidential" };
                    [client.client_id.clone(), client.name.clone(), kind.to_owned(), client.redirect_uris.join(" ")]
                });
                table(["CLIENT", "NAME", "KIND", "REDIRECT URIS"], rows)
            });
        }
    }
    Ok(())
}

pub(super) async fn keys(client: &Client, command: &KeysCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        KeysCommand::Rotate { algorithm } => {
            let answer = client.call::<KeysRotate>(&keys_rotate::Request { algorithm: *algorithm }).await?;
            output.show(&answer, |answer| format!("key {} signs from {}", answer.kid, answer.signs_from));
        }
        KeysCommand::Ring => output.show(&client.call::<KeysRing>(&keys_ring::Request {}).await?, ring),
        KeysCommand::RetireRing { key } => {
            let request = keys_retire_ring::Request { key: key.clone() };
            output.show(&client.call::<KeysRetireRing>(&request).await?, ring);
        }
        KeysCommand::RollRing { alone } => {
            let request = keys_roll_ring::Request { alone: *alone };
            output.show(&client.call::<KeysRollRing>(&request).await?, ring);
        }
    }
    Ok(())
}

fn ring(status: &RingStatus) -> String {
    let mut text = format!("{} seals", status.primary);
    if let Some(next) = &status.next {
        let lacking = match next.lacking.is_empty() {
            true => "every node has it: keys roll-ring lets them seal with it".to_owned(),
            false => format!("{} lack it: keys roll-ring goes on once they have it", next.lacking.join(", ")),
        };
        text.push_str(&format!("\n{} is on its way; {lacking}", next.key));
    }
    for older in &status.older {
        let need = match older.rows {
            0 => format!("no row names it: keys retire-ring {} lets every node forget it", older.key),
            rows => format!("{rows} rows still name it"),
        };
        text.push_str(&format!("\n{} opens; {need}", older.key));
    }
    text
}
