//! Users, groups, contacts and devices as the directory keeps them, deleted ones included.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::export::{CredentialLink, ObjectId, PlainKind};
use super::unique::UniqueKind;
use crate::identity::{ConnectorName, GroupId, SignInName, SourceAnchor, Timestamp, Upn, UserId, fold};

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
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub on_premises_mail: Option<String>,
    /// `None` while the exported one is quarantined.
    pub mail: Option<String>,
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
    pub quarantined: BTreeMap<UniqueKind, Quarantined>,
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
    pub sid: Option<String>,
    pub attributes: Map<String, Value>,
    pub cloud_mastered: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub quarantined: BTreeMap<UniqueKind, Quarantined>,
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
    pub attributes: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub quarantined: BTreeMap<UniqueKind, Quarantined>,
}

/// A value that another object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub value: String,
    /// `oid` of the holder when the value was denied.
    pub held_by: String,
    pub since: Timestamp,
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
    pub fn held(&self) -> BTreeMap<UniqueKind, String> {
        let mut held = BTreeMap::new();
        if self.deleted_at.is_some() {
            return held;
        }
        held.insert(UniqueKind::Upn, self.upn.folded());
        held.extend(self.mail.as_deref().map(|mail| (UniqueKind::Mail, fold_mail(mail))));
        if !self.quarantined.contains_key(&UniqueKind::Sam) {
            held.extend(self.sam.as_deref().and_then(fold_sam).map(|sam| (UniqueKind::Sam, sam)));
        }
        held.extend(self.credential.as_ref().map(|link| (UniqueKind::Credential, credential_value(link))));
        held
    }

    /// The names by which the user signs in.
    pub fn sign_in_names(&self, alternate_login_id: bool) -> Vec<(NameKind, String)> {
        let held = self.held();
        let mut names = Vec::new();
        names.extend(held.get(&UniqueKind::Upn).map(|name| (NameKind::Upn, name.clone())));
        if alternate_login_id {
            let mail = held.get(&UniqueKind::Mail).filter(|mail| mail.parse::<SignInName>().is_ok());
            names.extend(mail.map(|name| (NameKind::Alternate, name.clone())));
        }
        names.extend(held.get(&UniqueKind::Sam).map(|name| (NameKind::Sam, name.clone())));
        names
    }
}

impl PlainRecord {
    pub fn id(&self) -> ObjectId {
        self.kind.id(self.oid)
    }

    pub fn held(&self) -> BTreeMap<UniqueKind, String> {
        let mut held = BTreeMap::new();
        if self.deleted_at.is_none() {
            held.extend(self.mail.as_deref().map(|mail| (UniqueKind::Mail, fold_mail(mail))));
        }
        held
    }
}

impl GroupRecord {
    pub fn id(&self) -> ObjectId {
        ObjectId::Group(self.oid)
    }

    pub fn held(&self) -> BTreeMap<UniqueKind, String> {
        let mut held = BTreeMap::new();
        if self.deleted_at.is_none() {
            held.extend(self.mail.as_deref().map(|mail| (UniqueKind::Mail, fold_mail(mail))));
        }
        held
    }
}
