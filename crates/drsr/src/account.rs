//! What replication says of an account.

use uuid::Uuid;

use crate::attribute::{AccountAttribute, AttributeIds};
use crate::calls::replica::{PropertyStamp, ReplicatedObject};
use crate::decryption::SessionKey;
use crate::ndr;
use crate::password::NtHash;
use crate::security_id::SecurityId;
use crate::time::FileTime;

/// An object as one page brings it: in a delta only what has changed.
///
/// Deltas repeat: an attribute whose stamp is known is no change.
#[derive(Debug)]
pub struct AccountChange {
    pub guid: Uuid,
    pub sid: Option<SecurityId>,
    /// Its distinguished name.
    pub name: String,
    pub is_deleted: bool,
    pub password: Replicated<NtHash>,
    /// Zero: the password has to be changed at the next sign-in.
    pub password_last_set: Replicated<FileTime>,
    /// The bits of userAccountControl (MS-ADTS 2.2.16).
    pub account_control: Replicated<u32>,
    /// Since when the account is locked out; zero: it is not.
    pub lockout_time: Replicated<FileTime>,
    /// Zero and [`FileTime::NEVER`]: never.
    pub account_expires: Replicated<FileTime>,
    /// One bit for each hour of the week in UTC, from Sunday, lowest bit first (MS-SAMR 2.2.6.5).
    pub logon_hours: Replicated<[u8; 21]>,
    pub sam_account_name: Replicated<String>,
    pub user_principal_name: Replicated<String>,
    /// mS-DS-ConsistencyGuid, mostly 16 bytes.
    pub consistency_guid: Replicated<Vec<u8>>,
}

/// What a page says of one attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Replicated<T> {
    /// Nothing: it has not changed, or the object never had it.
    #[default]
    NotSent,
    /// It has no value any more.
    Cleared(Stamp),
    Set(T, Stamp),
    /// It has a value which cannot be read.
    Unreadable(Unreadable, Stamp),
}

impl<T> Replicated<T> {
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value, _) => Some(value),
            Self::NotSent | Self::Cleared(_) | Self::Unreadable(..) => None,
        }
    }

    pub fn stamp(&self) -> Option<&Stamp> {
        match self {
            Self::NotSent => None,
            Self::Cleared(stamp) | Self::Set(_, stamp) | Self::Unreadable(_, stamp) => Some(stamp),
        }
    }
}

/// Which write of an attribute a value comes from, the same on every controller. The greater stamp is the later write:
/// compared by version, time and writer (MS-DRSR 5.11, AttributeStamp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub version: u32,
    /// To the second.
    pub changed_at: FileTime,
    /// The invocation id of the controller that took the write.
    pub originating_server: Uuid,
    pub originating_usn: i64,
}

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the value is shorter than its salt and checksum")]
    Truncated,
    #[error("the value's checksum is wrong")]
    Checksum,
    #[error("the value has a length that its attribute does not have")]
    Length,
    #[error("the object has no security identifier to open its hash with")]
    NoRelativeId,
}

impl AccountChange {
    /// `None` for objects that are no accounts: those which carry none of an account's attributes and are not deleted.
    pub(crate) fn new(object: &ReplicatedObject<'_>, ids: &AttributeIds, key: &SessionKey) -> Option<Self> {
        let mut change = Self {
            guid: object.name.guid,
            sid: object.name.sid.clone(),
            name: object.name.text(),
            is_deleted: false,
            password: Replicated::NotSent,
            password_last_set: Replicated::NotSent,
            account_control: Replicated::NotSent,
            lockout_time: Replicated::NotSent,
            account_expires: Replicated::NotSent,
            logon_hours: Replicated::NotSent,
            sam_account_name: Replicated::NotSent,
            user_principal_name: Replicated::NotSent,
            consistency_guid: Replicated::NotSent,
        };
        // The identifier in the object's name may be missing; it has to be known before the hash is opened.
        if change.sid.is_none() {
            let sid = object
                .attributes
                .iter()
                .find(|attribute| ids.attribute(attribute.id) == Some(AccountAttribute::ObjectSid));
            change.sid = sid.and_then(|attribute| SecurityId::from_bytes(attribute.values.first()?).ok());
        }
        let mut is_account = false;
        for (index, attribute) in object.attributes.iter().enumerate() {
            let Some(known) = ids.attribute(attribute.id) else { continue };
            let value = attribute.values.first().copied();
            let stamp = object.stamps.get(index).map(Stamp::from).unwrap_or_default();
            is_account |= !matches!(known, AccountAttribute::ObjectGuid | AccountAttribute::ConsistencyGuid);
            change.take(known, value, stamp, key);
        }
        is_account.then_some(change)
    }

    fn take(&mut self, attribute: AccountAttribute, value: Option<&[u8]>, stamp: Stamp, key: &SessionKey) {
        match attribute {
            AccountAttribute::UnicodePwd => {
                let relative_id = self.sid.as_ref().and_then(SecurityId::relative_id).filter(|id| *id != 0);
                self.password = replicated(value, stamp, |value| {
                    key.open_hash(value, relative_id.ok_or(Unreadable::NoRelativeId)?)
                });
            }
            AccountAttribute::PwdLastSet => self.password_last_set = replicated(value, stamp, file_time),
            AccountAttribute::UserAccountControl => {
                self.account_control = replicated(value, stamp, |value| Ok(u32::from_le_bytes(exactly(value)?)));
            }
            AccountAttribute::LockoutTime => self.lockout_time = replicated(value, stamp, file_time),
            AccountAttribute::AccountExpires => self.account_expires = replicated(value, stamp, file_time),
            AccountAttribute::LogonHours => self.logon_hours = replicated(value, stamp, exactly),
            AccountAttribute::SamAccountName => {
                self.sam_account_name = replicated(value, stamp, |value| Ok(ndr::text(value)))
            }
            AccountAttribute::UserPrincipalName => {
                self.user_principal_name = replicated(value, stamp, |value| Ok(ndr::text(value)));
            }
            AccountAttribute::ConsistencyGuid => {
                self.consistency_guid = replicated(value, stamp, |value| Ok(value.to_vec()))
            }
            AccountAttribute::IsDeleted => {
                self.is_deleted = value.is_some_and(|value| value.iter().any(|byte| *byte != 0))
            }
            AccountAttribute::ObjectSid | AccountAttribute::ObjectGuid => {}
        }
    }
}

fn replicated<T>(
    value: Option<&[u8]>,
    stamp: Stamp,
    read: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
) -> Replicated<T> {
    match value.map(read) {
        None => Replicated::Cleared(stamp),
        Some(Ok(value)) => Replicated::Set(value, stamp),
        Some(Err(reason)) => Replicated::Unreadable(reason, stamp),
    }
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], Unreadable> {
    value.try_into().map_err(|_| Unreadable::Length)
}

fn file_time(value: &[u8]) -> Result<FileTime, Unreadable> {
    Ok(FileTime::from_ticks(i64::from_le_bytes(exactly(value)?)))
}

impl From<&PropertyStamp> for Stamp {
    fn from(stamp: &PropertyStamp) -> Self {
        Self {
            version: stamp.version,
            changed_at: FileTime::from_seconds(stamp.changed_at),
            originating_server: stamp.originating_server,
            originating_usn: stamp.originating_usn,
        }
    }
}

/// The stamp of a value that came without one: earlier than any other.
impl Default for Stamp {
    fn default() -> Self {
        Self { version: 0, changed_at: FileTime::ZERO, originating_server: Uuid::nil(), originating_usn: 0 }
    }
}
