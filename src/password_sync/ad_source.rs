//! Active Directory for the password channel: account states over LDAP, hashes by replication (MS-DRSR).
//!
//! The first read takes all hashes; a later one takes what has changed since, and says of every other account that its
//! password is unchanged. How far was read is kept in memory, for all controllers of the domain at once: after a start,
//! and once a day, all hashes are read again, which costs a comparison each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drsr::{Account, Client, Controller, Cursor, NtHash, ObjectName, Replicated};
use tokio::sync::mpsc;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::ldap_source::{LdapSource, LdapSourceError};
use super::source::{AccountSource, PasswordValues, Passwords, SourceError, SourcePage};
use super::write_stamp::WriteStamp;
use crate::config::{ConnectorSettings, ReplicationSettings, ReplicationSignIn};
use crate::identity::{Clock, SourceAnchor, Timestamp};
use crate::ldap::ServerUrl;

/// The accounts of one connector whose directory is Active Directory.
pub struct AdSource {
    directory: LdapSource,
    controllers: Vec<Controller>,
    account: Account,
    naming_context: String,
    progress: Mutex<Progress>,
    clock: Arc<dyn Clock>,
}

/// Why settings make no source.
#[derive(Debug, thiserror::Error)]
pub enum AdSourceError {
    #[error(transparent)]
    Directory(#[from] LdapSourceError),
    #[error("hashes by replication need objectGUID as the anchor")]
    Anchor,
}

/// Hashes could not be replicated.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {remedy}", remedy = error.remedy())]
struct ReplicationError {
    #[from]
    error: drsr::Error,
}

/// How far hashes have been read.
#[derive(Default)]
struct Progress {
    /// Up to here everything that was read is stored, too.
    settled: Option<Reached>,
    /// Up to here the last read came.
    reached: Option<Reached>,
}

#[derive(Clone)]
struct Reached {
    cursor: Cursor,
    /// When all hashes were read for the last time.
    whole_at: Timestamp,
}

/// What one replication pass brought.
struct Changes {
    passwords: HashMap<SourceAnchor, Replicated<NtHash>>,
    /// Accounts of which the pass said nothing have no password, instead of an unchanged one.
    is_whole: bool,
    began_at: Timestamp,
}

/// All hashes are read again after this: what a delta can miss, when a controller that lags behind is asked, is repaired.
const WHOLE_AGAIN_AFTER: Duration = Duration::from_secs(86_400);
/// Pages between the LDAP read and here.
const PAGES: usize = 1;
/// The attribute under which hashes are known to the channel.
pub(super) const UNICODE_PWD: &str = "unicodePwd";

impl AdSource {
    pub fn new(
        settings: &ConnectorSettings,
        replication: &ReplicationSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AdSourceError> {
        if !settings.anchor_attribute.eq_ignore_ascii_case("objectGUID") {
            return Err(AdSourceError::Anchor);
        }
        let directory = LdapSource::new(settings, clock.clone())?;
        let mut controllers = Vec::new();
        for server in &settings.servers {
            let server: ServerUrl = server.parse().map_err(LdapSourceError::Server)?;
            let connect_deadline = settings.connect_deadline;
            controllers.push(Controller { connect_deadline, ..Controller::new(server.host()) });
        }
        let password = drsr::Password::new(settings.bind_password.expose().to_owned());
        let account = match replication.sign_in {
            ReplicationSignIn::Ntlm => Account::ntlm(&replication.domain, &replication.account, password),
            ReplicationSignIn::Kerberos => Account::kerberos(&replication.domain, &replication.account, password),
        };
        let naming_context = replication.naming_context.as_str().to_owned();
        Ok(Self { directory, controllers, account, naming_context, progress: Mutex::default(), clock })
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        // Each change is one assignment: what a panicking task left is whole.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the first controller that takes one.
    async fn connect(&self) -> Result<Client, SourceError> {
        let mut last = None;
        for controller in &self.controllers {
            match Client::connect(controller, &self.account).await {
                Ok(client) => return Ok(client),
                Err(error) if error.is_passing() => {
                    tracing::warn!(controller = controller.host, error = %error, "a controller cannot replicate");
                    last = Some(error);
                }
                Err(error) => return Err(replication(error)),
            }
        }
        Err(last.map_or(SourceError::GivenUp, replication))
    }

    /// The passwords of single accounts, whatever was read of them before.
    async fn each(
        &self,
        client: &mut Client,
        guids: Vec<Uuid>,
    ) -> Result<Vec<(SourceAnchor, Replicated<NtHash>)>, SourceError> {
        let mut passwords = Vec::new();
        if guids.is_empty() {
            return Ok(passwords);
        }
        // Windows gives single objects only to those who name a controller's directory agent.
        client.domain_controllers(&dns_name(&self.naming_context)).await.map_err(replication)?;
        for guid in guids {
            let account = client.account(&ObjectName::Guid(guid)).await.map_err(replication)?;
            let Some(account) = account.filter(|account| !account.is_deleted) else { continue };
            let anchor = SourceAnchor::from_binary(&account.guid.to_bytes_le()).ok();
            passwords.extend(anchor.map(|anchor| (anchor, account.password)));
        }
        Ok(passwords)
    }

    /// What changed since the last read that was stored.
    async fn changes(&self) -> Result<Changes, SourceError> {
        let began_at = self.clock.now();
        let fresh = |reached: &Reached| began_at.since(reached.whole_at) < WHOLE_AGAIN_AFTER;
        let settled = self.progress().settled.clone().filter(fresh);
        let is_whole = settled.is_none();
        let start = || Reached { cursor: Cursor::start(&self.naming_context), whole_at: began_at };
        let mut reached = settled.unwrap_or_else(start);
        let mut passwords = HashMap::new();
        let mut client = self.connect().await?;
        let mut touched = Vec::new();
        let mut pass = client.pass(reached.cursor.clone());
        while let Some(page) = pass.next_page().await.map_err(replication)? {
            for change in page.accounts {
                let Ok(anchor) = SourceAnchor::from_binary(&change.guid.to_bytes_le()) else { continue };
                match change.password {
                    Replicated::NotSent if change.password_last_set.stamp().is_some() => touched.push(change.guid),
                    Replicated::NotSent => {}
                    password => drop(passwords.insert(anchor, password)),
                }
            }
            reached.cursor = page.cursor;
        }
        // The time of the password changed and the password did not: so that both are known to belong together.
        if !is_whole {
            passwords.extend(self.each(&mut client, touched).await?);
        }
        client.close().await;
        self.progress().reached = Some(reached);
        Ok(Changes { passwords, is_whole, began_at })
    }
}

fn replication(error: drsr::Error) -> SourceError {
    SourceError::Directory(Box::new(ReplicationError { error }))
}

/// Which write a password comes from.
fn written(password: &Replicated<NtHash>) -> Option<WriteStamp> {
    password.stamp().map(|stamp| WriteStamp {
        version: stamp.version,
        at: stamp.changed_at.unix_seconds(),
        writer: stamp.originating_server,
    })
}

/// The values as the channel takes them: the hash in hexadecimal.
fn values(password: Replicated<NtHash>, anchor: &SourceAnchor) -> Passwords {
    let values = match password {
        Replicated::Set(hash, _) => {
            let mut text = Zeroizing::new(vec![0; 32]);
            hex::encode_to_slice(hash.expose(), &mut text).expect("32 digits for 16 bytes");
            vec![PasswordValues { attribute: UNICODE_PWD.to_owned(), values: vec![text] }]
        }
        Replicated::NotSent | Replicated::Cleared(_) => Vec::new(),
        Replicated::Unreadable(reason, _) => {
            tracing::warn!(account = %anchor, %reason, "a replicated hash cannot be read; what is stored stays");
            return Passwords::Unchanged;
        }
    };
    Passwords::Read(values)
}

/// `DC=corp,DC=example` as `corp.example`.
fn dns_name(naming_context: &str) -> String {
    let parts = naming_context.split(',').filter_map(|part| part.split_once('=')).map(|(_, value)| value.trim());
    parts.collect::<Vec<_>>().join(".")
}

fn guid_of(anchor: &SourceAnchor) -> Option<Uuid> {
    let bytes: [u8; 16] = STANDARD.decode(anchor.as_str()).ok()?.try_into().ok()?;
    Some(Uuid::from_bytes_le(bytes))
}

#[async_trait]
impl AccountSource for AdSource {
    async fn read_all(&self, pages: mpsc::Sender<SourcePage>) -> Result<(), SourceError> {
        let Changes { mut passwords, is_whole, began_at } = self.changes().await?;
        let (sender, mut states) = mpsc::channel::<SourcePage>(PAGES);
        let forward = async {
            while let Some(mut page) = states.recv().await {
                // The hashes are older than the states.
                page.read_at = began_at;
                for account in &mut page.accounts {
                    let password = passwords.remove(&account.anchor);
                    account.written = password.as_ref().and_then(written);
                    account.passwords = match password {
                        Some(password) => values(password, &account.anchor),
                        None if is_whole => Passwords::Read(Vec::new()),
                        None => Passwords::Unchanged,
                    };
                }
                pages.send(page).await.map_err(|_| SourceError::GivenUp)?;
            }
            Ok(())
        };
        let (read, forwarded) = tokio::join!(self.directory.read_all(sender), forward);
        forwarded?;
        read
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        let began_at = self.clock.now();
        let mut client = self.connect().await?;
        let passwords = self.each(&mut client, anchors.iter().filter_map(guid_of).collect()).await?;
        let mut passwords: HashMap<_, _> = passwords.into_iter().collect();
        client.close().await;
        let mut page = self.directory.read(anchors).await?;
        page.read_at = began_at;
        for account in &mut page.accounts {
            // What the replication does not show is not believed to be gone: it may have been made this very moment.
            let password = passwords.remove(&account.anchor);
            account.written = password.as_ref().and_then(written);
            account.passwords = match password {
                Some(password) => values(password, &account.anchor),
                None => Passwords::Unchanged,
            };
        }
        Ok(page)
    }

    async fn stored(&self) {
        let mut progress = self.progress();
        progress.settled = progress.reached.take();
    }
}
