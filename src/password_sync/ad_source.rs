//! Active Directory for the password channel: account states over LDAP, hashes by replication (MS-DRSR).
//!
//! The first read takes all hashes; a later one takes what has changed since, and says of every other account that its
//! password is unchanged. How far was read is told for all controllers of the domain at once, and stored by the channel
//! with the last of what it covers. Once a day, and when the database of a controller turns out to be another one than
//! before (it was restored), all hashes are read again, which costs a comparison each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drsr::{Account, AccountChange, Client, Continuity, Controller, Cursor, NtHash, ObjectName, Replicated};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::account_state::file_time;
use super::ldap_source::{LdapSource, LdapSourceError};
use super::replication_error::replication;
use super::source::{AccountSource, PasswordTime, PasswordValues, Passwords, SourceError, SourcePage, SourcePosition};
use super::write_stamp::WriteStamp;
use crate::config::{ConnectorSettings, ReplicationSettings, ReplicationSignIn};
use crate::credential::Quarantine;
use crate::identity::{Clock, SourceAnchor, Timestamp};
use crate::ldap::{ServerUrl, ServerUrlError};

/// The accounts of one connector whose directory is Active Directory.
pub struct AdSource {
    directory: LdapSource,
    controllers: Vec<Controller>,
    account: Account,
    sign_in: ReplicationSignIn,
    naming_context: String,
    /// The domain's DNS name.
    realm: String,
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

/// How far hashes have been read.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    cursor: Cursor,
    /// The controller that was read last, as the settings name it.
    controller: String,
    /// When all hashes were read for the last time.
    whole_at: Timestamp,
}

/// A password as replication shows it.
struct Shown {
    hash: Replicated<NtHash>,
    /// As was told with it.
    set_at: Option<Timestamp>,
}

impl Shown {
    fn of(change: AccountChange) -> Self {
        let set_at = change.password_last_set.value().and_then(|time| file_time(time.ticks()));
        Self { hash: change.password, set_at }
    }
}

/// What one replication pass brought.
struct Changes {
    passwords: HashMap<SourceAnchor, Shown>,
    /// Accounts of which the pass said nothing have no password, instead of an unchanged one.
    is_whole: bool,
    /// The controller's database turned out to be another one than before.
    restored: bool,
    began_at: Timestamp,
    reached: Reached,
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
        if !settings.scope.anchor_attribute.eq_ignore_ascii_case("objectGUID") {
            return Err(AdSourceError::Anchor);
        }
        let directory = LdapSource::new(settings, clock.clone())?;
        let controllers = controllers(settings).map_err(LdapSourceError::Server)?;
        let account = account(settings, replication);
        let naming_context = replication.naming_context.as_str().to_owned();
        let realm = replication.naming_context.domain_components();
        let sign_in = replication.sign_in;
        Ok(Self { directory, controllers, account, sign_in, naming_context, realm, clock })
    }

    /// The passwords of single accounts, whatever was read of them before.
    async fn each(&self, client: &mut Client, guids: Vec<Uuid>) -> Result<Vec<(SourceAnchor, Shown)>, drsr::Error> {
        let mut passwords = Vec::new();
        if guids.is_empty() {
            return Ok(passwords);
        }
        // Windows gives single objects only to those who name a controller's directory agent.
        client.domain_controllers(&self.realm).await?;
        for guid in guids {
            let account = client.account(&ObjectName::Guid(guid)).await?;
            let Some(account) = account.filter(|account| !account.is_deleted) else { continue };
            let anchor = SourceAnchor::from_binary(&account.guid.to_bytes_le()).ok();
            passwords.extend(anchor.map(|anchor| (anchor, Shown::of(account))));
        }
        Ok(passwords)
    }

    /// What changed since an earlier read, from the first controller that tells it to its end.
    async fn changes(&self, since: Option<&SourcePosition>) -> Result<Changes, SourceError> {
        let mut failures = Failures::new(self.sign_in);
        for controller in &self.controllers {
            match self.changes_at(controller, since).await {
                Ok(changes) => return Ok(changes),
                Err(error) => failures.meet(controller, error)?,
            }
        }
        Err(failures.end())
    }

    /// The passwords of single accounts, from the first controller that tells them.
    async fn single(&self, guids: &[Uuid]) -> Result<HashMap<SourceAnchor, Shown>, SourceError> {
        let mut failures = Failures::new(self.sign_in);
        for controller in &self.controllers {
            let asked = async {
                let mut client = Client::connect(controller, &self.account).await?;
                let passwords = self.each(&mut client, guids.to_vec()).await?;
                client.close().await;
                Ok(passwords)
            };
            match asked.await {
                Ok(passwords) => return Ok(passwords.into_iter().collect()),
                Err(error) => failures.meet(controller, error)?,
            }
        }
        Err(failures.end())
    }

    async fn changes_at(
        &self,
        controller: &Controller,
        since: Option<&SourcePosition>,
    ) -> Result<Changes, drsr::Error> {
        let began_at = self.clock.now();
        let mut client = Client::connect(controller, &self.account).await?;
        let known = since.and_then(|since| self.known(since, began_at));
        let restored = known.is_some();
        let delta = match known {
            Some(known) => self.delta(&mut client, controller, known, began_at).await?,
            None => None,
        };
        let changes = match delta {
            Some(changes) => changes,
            None => {
                let cursor = Cursor::start(&self.naming_context);
                let reached = Reached { cursor, controller: controller.host.clone(), whole_at: began_at };
                // A delta that was begun and gave nothing met another database.
                let mut changes = Changes { passwords: HashMap::new(), is_whole: true, restored, began_at, reached };
                let mut pass = client.pass(changes.reached.cursor.clone());
                while let Some(page) = pass.next_page().await? {
                    // The time of a password without the password is of no use here.
                    changes.take(page);
                }
                changes
            }
        };
        client.close().await;
        Ok(changes)
    }

    /// A position of this naming context from which a delta is good; what cannot be read is none.
    fn known(&self, since: &SourcePosition, now: Timestamp) -> Option<Reached> {
        let reached: Reached = match serde_json::from_str(since.as_str()) {
            Ok(reached) => reached,
            Err(error) => {
                tracing::info!(error = %error, "how far hashes were read cannot be told; all are read again");
                return None;
            }
        };
        let is_fresh = now.since(reached.whole_at) < WHOLE_AGAIN_AFTER;
        (is_fresh && reached.cursor.naming_context() == self.naming_context).then_some(reached)
    }

    /// What changed since `known`; `None` when the controller that was read then is another database now: a restored one
    /// may have lost what was read, and says nothing of that.
    async fn delta(
        &self,
        client: &mut Client,
        controller: &Controller,
        known: Reached,
        began_at: Timestamp,
    ) -> Result<Option<Changes>, drsr::Error> {
        let same_controller = known.controller == controller.host;
        let reached = Reached { controller: controller.host.clone(), ..known };
        let mut changes = Changes { passwords: HashMap::new(), is_whole: false, restored: false, began_at, reached };
        let mut touched = Vec::new();
        let mut pass = client.pass(changes.reached.cursor.clone());
        while let Some(page) = pass.next_page().await? {
            if let Continuity::Moved { from, to } = page.continuity
                && same_controller
            {
                let controller = controller.host.as_str();
                tracing::warn!(controller, %from, %to, "the controller's database is another one than before; all hashes are read again");
                return Ok(None);
            }
            touched.extend(changes.take(page));
        }
        // The time of the password changed and the password did not: so that both are known to belong together.
        changes.passwords.extend(self.each(client, touched).await?);
        Ok(Some(changes))
    }
}

impl Changes {
    /// Takes over a page; answers of whom it tells a password without its time, or the reverse.
    fn take(&mut self, page: drsr::Page) -> Vec<Uuid> {
        let mut touched = Vec::new();
        for change in page.accounts {
            let Ok(anchor) = SourceAnchor::from_binary(&change.guid.to_bytes_le()) else { continue };
            match (change.password.stamp(), change.password_last_set.stamp()) {
                (None, None) => {}
                (None, Some(_)) => touched.push(change.guid),
                (Some(_), None) if !self.is_whole => touched.push(change.guid),
                (Some(_), _) => drop(self.passwords.insert(anchor, Shown::of(change))),
            }
        }
        self.reached.cursor = page.cursor;
        touched
    }
}

/// The servers of a connector as controllers that replicate, in the same order.
pub fn controllers(settings: &ConnectorSettings) -> Result<Vec<Controller>, ServerUrlError> {
    let controller = |server: &String| {
        let server: ServerUrl = server.parse()?;
        let connect_deadline = settings.connect_deadline;
        Ok(Controller { connect_deadline, ..Controller::new(server.host()) })
    };
    settings.servers.iter().map(controller).collect()
}

/// As whom a connector replicates.
pub fn account(settings: &ConnectorSettings, replication: &ReplicationSettings) -> Account {
    let password = drsr::Password::new(settings.bind_password.expose().to_owned());
    match replication.sign_in {
        ReplicationSignIn::Ntlm => Account::ntlm(&replication.domain, &replication.account, password),
        ReplicationSignIn::Kerberos => Account::kerberos(&replication.domain, &replication.account, password),
    }
}

/// Controllers that could not be read so far.
struct Failures {
    sign_in: ReplicationSignIn,
    last: Option<drsr::Error>,
}

impl Failures {
    fn new(sign_in: ReplicationSignIn) -> Self {
        Self { sign_in, last: None }
    }

    /// Whether the next controller is asked: what the domain says of the account, all of them say.
    fn meet(&mut self, controller: &Controller, error: drsr::Error) -> Result<(), SourceError> {
        if matches!(error, drsr::Error::LogonFailure { .. } | drsr::Error::AccessDenied { .. }) {
            return Err(replication(error, self.sign_in));
        }
        tracing::warn!(controller = controller.host, error = %error, "a controller cannot replicate");
        self.last = Some(error);
        Ok(())
    }

    fn end(self) -> SourceError {
        self.last.map_or(SourceError::GivenUp, |error| replication(error, self.sign_in))
    }
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
            tracing::warn!(account = %anchor, %reason, "a replicated hash cannot be read");
            return Passwords::Unreadable(fault(reason));
        }
    };
    Passwords::Read(values)
}

/// Why a replicated hash cannot be read.
const UNREADABLE: [&str; 4] = [
    "it is cut off",
    "it does not decrypt: its checksum is wrong",
    "it has another length than a hash",
    "its account has no security identifier to decrypt it with",
];

fn fault(reason: drsr::Unreadable) -> Quarantine {
    let [cut_off, checksum, length, no_relative_id] = UNREADABLE;
    let fault = match reason {
        drsr::Unreadable::Truncated => cut_off,
        drsr::Unreadable::Checksum => checksum,
        drsr::Unreadable::Length => length,
        drsr::Unreadable::NoRelativeId => no_relative_id,
    };
    Quarantine::Malformed { scheme: UNICODE_PWD, fault }
}

/// The same of a reason that was told as a text.
pub fn unreadable_as(text: &str) -> Quarantine {
    let known = UNREADABLE.into_iter().find(|fault| text.ends_with(fault));
    Quarantine::Malformed { scheme: UNICODE_PWD, fault: known.unwrap_or("it cannot be read") }
}

fn guid_of(anchor: &SourceAnchor) -> Option<Uuid> {
    let bytes: [u8; 16] = STANDARD.decode(anchor.as_str()).ok()?.try_into().ok()?;
    Some(Uuid::from_bytes_le(bytes))
}

#[async_trait]
impl AccountSource for AdSource {
    async fn read_all(
        &self,
        since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        // A wrong password is tried once, where the directory says what is wrong with it.
        self.directory.admits().await?;
        let Changes { mut passwords, is_whole, restored, began_at, reached } = self.changes(since).await?;
        let (sender, states) = mpsc::channel::<SourcePage>(PAGES);
        let forward = async {
            // Owned: when nobody takes the pages any more, the read finds nobody to send to and stops.
            let mut states = states;
            while let Some(mut page) = states.recv().await {
                // The hashes are older than the states.
                page.read_at = began_at;
                page.restored = restored;
                for account in &mut page.accounts {
                    let password = passwords.remove(&account.anchor);
                    account.written = password.as_ref().and_then(|shown| written(&shown.hash));
                    if let Some(shown) = &password {
                        account.password_time = PasswordTime::Told(shown.set_at);
                    }
                    account.passwords = match password {
                        Some(shown) => values(shown.hash, &account.anchor),
                        None if is_whole => Passwords::Read(Vec::new()),
                        None => Passwords::Unchanged,
                    };
                }
                pages.send(page).await.map_err(|_| SourceError::GivenUp)?;
            }
            Ok(())
        };
        let (read, forwarded) = tokio::join!(self.directory.read_all(None, sender), forward);
        forwarded?;
        read?;
        let reached = serde_json::to_string(&reached).expect("names, numbers and ids have a JSON form");
        Ok(Some(SourcePosition::new(reached)))
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        self.directory.admits().await?;
        let began_at = self.clock.now();
        let guids: Vec<Uuid> = anchors.iter().filter_map(guid_of).collect();
        let mut passwords = self.single(&guids).await?;
        let mut page = self.directory.read(anchors).await?;
        page.read_at = began_at;
        for account in &mut page.accounts {
            // What the replication does not show is not believed to be gone: it may have been made this very moment.
            let password = passwords.remove(&account.anchor);
            account.written = password.as_ref().and_then(|shown| written(&shown.hash));
            if let Some(shown) = &password {
                account.password_time = PasswordTime::Told(shown.set_at);
            }
            account.passwords = match password {
                Some(shown) => values(shown.hash, &account.anchor),
                None => Passwords::Unchanged,
            };
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_does_not_decrypt_is_no_unchanged_one() {
        let anchor = SourceAnchor::from_text("4f0c9f4e").expect("an anchor");
        let stamp = drsr::Stamp::default();
        for (reason, told) in [
            (drsr::Unreadable::Truncated, "the unicodePwd value is malformed: it is cut off"),
            (
                drsr::Unreadable::Checksum,
                "the unicodePwd value is malformed: it does not decrypt: its checksum is wrong",
            ),
            (drsr::Unreadable::Length, "the unicodePwd value is malformed: it has another length than a hash"),
        ] {
            let shown: Replicated<NtHash> = Replicated::Unreadable(reason, stamp);
            assert!(written(&shown).is_some(), "the write is known all the same");
            match values(shown, &anchor) {
                Passwords::Unreadable(found) => assert_eq!(found.to_string(), told),
                other => panic!("{other:?}"),
            }
        }
    }
}
