//! Users, groups, contacts and devices as the directory keeps them, deleted ones included.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::addresses::Addresses;
use super::export::{CredentialLink, ObjectId, PlainKind};
use super::nickname::MailNickname;
use super::unique::UniqueKind;
use crate::identity::{ConnectorName, GroupId, ProxyAddress, SignInName, SourceAnchor, Timestamp, Upn, UserId, fold};

/// A user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRecord {
    pub oid: UserId,
    /// `None` for cloud-mastered users.
    pub source_anchor: Option<SourceAnchor>,
    pub anchor_connector: Option<ConnectorName>,
    /// The effective name, by which the user signs in.
    pub upn: Upn,
    pub on_premises_upn: Option<String>,
    pub upn_connector: Option<ConnectorName>,
    /// The local part of the name in the initial domain that stands in when the exported one cannot be given.
    pub nickname: Option<MailNickname>,
    /// The nickname at the time when the exported name was last another one: a later nickname renames nobody.
    pub named_by: Option<MailNickname>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub on_premises_mail: Option<String>,
    /// `None` while the exported one is quarantined.
    pub mail: Option<String>,
    /// Of the exported ones (see [`Addresses`]) those that the user has.
    pub addresses: Vec<ProxyAddress>,
    /// `netbios\name` as exported.
    pub sam: Option<String>,
    pub attributes: Map<String, Value>,
    pub account_enabled: bool,
    pub cloud_mastered: bool,
    /// Nothing takes it over from the cloud.
    pub privileged: bool,
    /// Moves on disable and delete; whatever carries another one has ended (design D23).
    pub security_stamp: String,
    pub credential: Option<CredentialLink>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub quarantined: Quarantine,
}

/// A group. Members are rows of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRecord {
    pub oid: GroupId,
    pub source_anchor: Option<SourceAnchor>,
    pub anchor_connector: Option<ConnectorName>,
    pub display_name: Option<String>,
    pub on_premises_mail: Option<String>,
    pub mail: Option<String>,
    pub addresses: Vec<ProxyAddress>,
    pub sid: Option<String>,
    pub attributes: Map<String, Value>,
    pub cloud_mastered: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub quarantined: Quarantine,
}

/// A contact or a device.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainRecord {
    pub kind: PlainKind,
    pub oid: Uuid,
    pub source_anchor: SourceAnchor,
    pub anchor_connector: ConnectorName,
    pub display_name: Option<String>,
    pub on_premises_mail: Option<String>,
    /// `None` while the exported one is quarantined.
    pub mail: Option<String>,
    pub addresses: Vec<ProxyAddress>,
    pub attributes: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub quarantined: Quarantine,
}

/// Values of an object that others hold, in folded form.
pub type Quarantine = BTreeMap<(UniqueKind, String), Quarantined>;

/// Why an object goes without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// `oid` of the holder when the value was denied.
    pub held_by: String,
    pub since: Timestamp,
}

/// Unique values, in folded form.
pub type Values = BTreeSet<(UniqueKind, String)>;

/// The addresses that an object wants: of `mail` and of `proxyAddresses` what can be read as one.
fn wanted_addresses(mail: Option<&str>, attributes: &Map<String, Value>) -> Values {
    let exported = Addresses::of(mail, attributes);
    held_addresses(exported.mail, &exported.listed)
}

fn held_addresses(mail: Option<&str>, addresses: &[ProxyAddress]) -> Values {
    let listed = addresses.iter().map(|address| address.folded().to_owned());
    mail.map(fold_mail).into_iter().chain(listed).map(|value| (UniqueKind::Address, value)).collect()
}

/// A name by which a user may be found at sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    Upn,
    Alternate,
    Sam,
}

impl NameKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upn => "upn",
            Self::Alternate => "alternate",
            Self::Sam => "sam",
        }
    }
}

/// The form of a mail address by which it is compared.
pub fn fold_mail(mail: &str) -> String {
    match mail.parse::<SignInName>() {
        Ok(name @ SignInName::Address { .. }) => name.folded(),
        Ok(SignInName::DownLevel { .. }) | Err(_) => fold(mail),
    }
}

/// The form of a down-level name by which it is compared; `None` when it is none.
pub fn fold_sam(sam: &str) -> Option<String> {
    match sam.parse::<SignInName>() {
        Ok(name @ SignInName::DownLevel { .. }) => Some(name.folded()),
        Ok(SignInName::Address { .. }) | Err(_) => None,
    }
}

/// Connector and anchor as one value; no connector's name has a `/`.
pub fn credential_value(link: &CredentialLink) -> String {
    format!("{}/{}", link.source.connector, link.source.anchor)
}

impl UserRecord {
    pub fn id(&self) -> ObjectId {
        ObjectId::User(self.oid)
    }

    /// What stand-ins are derived from.
    pub fn seed(&self) -> String {
        self.source_anchor.as_ref().map_or_else(|| self.oid.to_string(), ToString::to_string)
    }

    /// The unique values that the user holds.
    pub fn held(&self) -> Values {
        if self.deleted_at.is_some() {
            return Values::new();
        }
        let mut held = held_addresses(self.mail.as_deref(), &self.addresses);
        held.insert((UniqueKind::Upn, self.upn.folded()));
        held.extend(self.held_sam().map(|sam| (UniqueKind::Sam, sam)));
        held.extend(self.credential.as_ref().map(|link| (UniqueKind::Credential, credential_value(link))));
        held
    }

    /// The unique values that the user wants, besides a name.
    pub fn wanted(&self) -> Values {
        let mut wanted = wanted_addresses(self.on_premises_mail.as_deref(), &self.attributes);
        wanted.extend(self.sam.as_deref().and_then(fold_sam).map(|sam| (UniqueKind::Sam, sam)));
        wanted.extend(self.credential.as_ref().map(|link| (UniqueKind::Credential, credential_value(link))));
        wanted
    }

    fn held_sam(&self) -> Option<String> {
        let waits = self.quarantined.keys().any(|(kind, _)| *kind == UniqueKind::Sam);
        if waits { None } else { self.sam.as_deref().and_then(fold_sam) }
    }

    /// The first part of the down-level name by which the user signs in, folded.
    pub fn netbios(&self) -> Option<String> {
        let name = self.held_sam().filter(|_| self.deleted_at.is_none())?;
        name.split_once('\\').map(|(netbios, _)| netbios.to_owned())
    }

    /// The names by which the user signs in.
    pub fn sign_in_names(&self, alternate_login_id: bool) -> Vec<(NameKind, String)> {
        let mut names = Vec::new();
        if self.deleted_at.is_some() {
            return names;
        }
        names.push((NameKind::Upn, self.upn.folded()));
        if alternate_login_id {
            let mail = self.mail.as_deref().map(fold_mail).filter(|mail| mail.parse::<SignInName>().is_ok());
            names.extend(mail.map(|name| (NameKind::Alternate, name)));
        }
        names.extend(self.held_sam().map(|name| (NameKind::Sam, name)));
        names
    }
}

impl PlainRecord {
    pub fn id(&self) -> ObjectId {
        self.kind.id(self.oid)
    }

    pub fn held(&self) -> Values {
        if self.deleted_at.is_some() { Values::new() } else { held_addresses(self.mail.as_deref(), &self.addresses) }
    }

    /// The unique values that it wants.
    pub fn wanted(&self) -> Values {
        wanted_addresses(self.on_premises_mail.as_deref(), &self.attributes)
    }
}

impl GroupRecord {
    pub fn id(&self) -> ObjectId {
        ObjectId::Group(self.oid)
    }

    pub fn held(&self) -> Values {
        if self.deleted_at.is_some() { Values::new() } else { held_addresses(self.mail.as_deref(), &self.addresses) }
    }

    /// The unique values that it wants.
    pub fn wanted(&self) -> Values {
        wanted_addresses(self.on_premises_mail.as_deref(), &self.attributes)
    }
}
