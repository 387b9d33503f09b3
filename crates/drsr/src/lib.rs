//! Reads password hashes and account states from Active Directory by replication (MS-DRSR), as a domain controller would:
//! for a gateway that signs people in with the password they have in the directory, also while the directory is down.
//!
//! ```no_run
//! # async fn example(secret: String) -> Result<(), drsr::Error> {
//! use drsr::{Account, Client, Controller, Cursor, Password};
//!
//! let controller = Controller::new("dc1.corp.example");
//! let account = Account::ntlm("CORP", "svc-sync", Password::new(secret));
//! let mut client = Client::connect(&controller, &account).await?;
//! let mut pass = client.pass(Cursor::start("DC=corp,DC=example"));
//! while let Some(page) = pass.next_page().await? {
//!     for change in &page.accounts {
//!         println!("{}: {:?}", change.name, change.password);
//!     }
//!     // Once the page is worked off, `page.cursor` is where a later pass goes on.
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows nothing of what is done with the hashes. It speaks DCE/RPC over TCP (C706, MS-RPCE) with the security
//! context of the `sspi` crate, asks the endpoint mapper, binds, and reads one naming context page by page or one object at
//! a time. It never asks for compressed replies, follows no address that a server names, and takes from a server's bytes
//! nothing on trust: lengths are checked against what has arrived, and every sealed fragment is verified before it is read.
//!
//! The account needs two rights on the head of the naming context, *Replicating Directory Changes* and *Replicating
//! Directory Changes All*; with them it can read every password hash of the domain. Hashes are erased when dropped and
//! never printed. **The `sspi` crate traces its keys at level `trace`: leave that target at `info` or above.**

mod account;
mod attribute;
mod calls;
mod client;
mod controller;
mod cursor;
mod decryption;
mod error;
#[cfg(test)]
mod hostile;
mod ndr;
mod password;
mod prefix_table;
mod rpc;
mod security_id;
mod time;

pub use account::{AccountChange, Replicated, Stamp, Unreadable};
pub use attribute::AccountAttribute;
pub use calls::crack_names::{CrackedName, NameFormat};
pub use calls::domain_controllers::DomainController;
pub use client::{Client, ObjectName, Page, Pass};
pub use controller::{Account, Controller, SignIn};
pub use cursor::{Continuity, Cursor, CursorError};
pub use error::{Error, MalformedReply, Port, ReplicationRight};
pub use password::{NtHash, Password};
pub use prefix_table::{AttributeId, ObjectIdentifier, ObjectIdentifierError, PrefixTable, UnknownPrefix};
pub use rpc::is_present_password;
pub use security_id::{SecurityId, SecurityIdError};
pub use time::FileTime;
