//! LDAP directories as the settings describe them.

use std::time::Duration;

use super::declaration::Declaration;
use super::settings::{DeltaChoice, LdapConnectorSettings};
use super::writable::Writable;
use crate::config::{self, ConnectorSettings, DeltaMethod, Dialect, DirectoryScope, WritableAttributes};
use crate::ldap::{Filter, FilterError, ServerUrl, ServerUrlError, ServiceAccount, Trust, TrustError};
use crate::sync::attribute::Attribute;
use crate::sync::connector::DisabledTest;

/// Why settings make no connector to a directory.
#[derive(Debug, thiserror::Error)]
pub enum UnfitSettings {
    #[error("the address of a server is refused")]
    Server(#[from] ServerUrlError),
    #[error("the certificate authorities are refused")]
    Trust(#[from] TrustError),
    #[error("a filter is refused")]
    Filter(#[from] FilterError),
    #[error("the connector has no base")]
    NoBase,
    #[error("the bit of the disabled test is refused")]
    DisabledBit(#[from] std::num::TryFromIntError),
}

/// How long one question of an import may take.
const IMPORT_DEADLINE: Duration = Duration::from_secs(60);

/// Attributes of Active Directory and of RFC 4523 and RFC 2798 whose values are bytes.
const BINARY: [&str; 13] = [
    "objectGUID",
    "objectSid",
    "sIDHistory",
    "mS-DS-ConsistencyGuid",
    "msExchMasterAccountSid",
    "msExchMailboxGuid",
    "msRTCSIP-OriginatorSid",
    "mS-DS-CreatorSID",
    "userCertificate",
    "userSMIMECertificate",
    "thumbnailPhoto",
    "jpegPhoto",
    "photo",
];

pub fn is_binary(name: &str) -> bool {
    BINARY.iter().any(|binary| binary.eq_ignore_ascii_case(name))
}

pub fn writable(settings: &WritableAttributes) -> Writable {
    let usual = BINARY.into_iter().map(str::to_owned);
    Writable { attributes: settings.attributes.clone(), binary: settings.binary.iter().cloned().chain(usual).collect() }
}

pub fn servers(list: &[String]) -> Result<Vec<ServerUrl>, UnfitSettings> {
    Ok(list.iter().map(|server| server.parse()).collect::<Result<_, _>>()?)
}

/// Entries of an object class, as far as a filter admits them.
pub fn entries(filter: &Option<String>, class: &str) -> Result<Filter, UnfitSettings> {
    let class = Filter::equal("objectClass", class);
    match filter {
        Some(text) => Ok(Filter::and([class, Filter::parse(text)?])),
        None => Ok(class),
    }
}

pub fn choice(method: DeltaMethod) -> DeltaChoice {
    match method {
        DeltaMethod::Auto => DeltaChoice::Auto,
        DeltaMethod::ContentSync => DeltaChoice::ContentSync,
        DeltaMethod::Changelog => DeltaChoice::Changelog,
        DeltaMethod::AccessLog => DeltaChoice::AccessLog,
        DeltaMethod::Timestamp => DeltaChoice::Timestamp,
        DeltaMethod::DirSync => DeltaChoice::DirSync,
        DeltaMethod::Usn => DeltaChoice::Usn,
        DeltaMethod::Off => DeltaChoice::Off,
    }
}

pub fn disabled_test(test: &config::DisabledTest) -> Result<DisabledTest, UnfitSettings> {
    Ok(match test {
        config::DisabledTest::Equals { attribute, value } => {
            DisabledTest::Equals { attribute: Attribute::new(attribute), value: value.clone() }
        }
        config::DisabledTest::BitSet { attribute, bit } => {
            DisabledTest::BitSet { attribute: Attribute::new(attribute), bit: i64::try_from(*bit)? }
        }
    })
}

fn kind(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Openldap | Dialect::Ds389 => "ldap",
        Dialect::ActiveDirectory => "ad",
    }
}

impl Declaration {
    /// Of a directory of which no more than this is known.
    pub fn of(scope: &DirectoryScope) -> Result<Self, UnfitSettings> {
        // What an agent would refuse is refused before anybody is asked.
        entries(&scope.user_filter, &scope.classes.user)?;
        entries(&scope.group_filter, &scope.classes.group)?;
        let base = scope.bases.first().ok_or(UnfitSettings::NoBase)?;
        Ok(Self {
            kind: kind(scope.dialect).to_owned(),
            root: LdapConnectorSettings::root_of(base),
            delta: choice(scope.delta),
            writes_back: scope.export.is_some(),
            disabled_when: vec![disabled_test(&scope.disabled)?],
        })
    }
}

impl LdapConnectorSettings {
    /// Of a source.
    pub fn of(settings: &ConnectorSettings) -> Result<Self, UnfitSettings> {
        let users = entries(&settings.scope.user_filter, &settings.scope.classes.user)?;
        let groups = entries(&settings.scope.group_filter, &settings.scope.classes.group)?;
        let mut types = match settings.scope.dialect {
            Dialect::Openldap | Dialect::Ds389 => Self::types(users, groups),
            Dialect::ActiveDirectory => Self::types_of_active_directory(&users, &groups),
        };
        for object_type in &mut types {
            object_type.attributes.clone_from(&settings.scope.attributes);
            object_type.binary = BINARY.into_iter().map(str::to_owned).collect();
        }
        let base = settings.scope.bases.first().ok_or(UnfitSettings::NoBase)?;
        Ok(Self {
            name: settings.name.clone(),
            kind: kind(settings.scope.dialect).to_owned(),
            servers: servers(&settings.servers)?,
            trust: Trust::new(settings.ca_file.as_slice())?,
            account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
            deadline: IMPORT_DEADLINE,
            page_size: settings.scope.page_size,
            root: Self::root_of(base),
            include: settings.scope.bases.clone(),
            exclude: settings.scope.excluded.clone(),
            anchor: settings.scope.anchor_attribute.clone(),
            anchor_is_binary: is_binary(&settings.scope.anchor_attribute),
            container_filter: Filter::or([
                Self::usual_containers(),
                Filter::equal("objectClass", &settings.scope.classes.container),
            ]),
            delta: choice(settings.scope.delta),
            types,
            disabled_when: vec![disabled_test(&settings.scope.disabled)?],
            writeback: settings.scope.export.as_ref().map(writable),
            bounds: settings.bounds.clone(),
        })
    }
}
