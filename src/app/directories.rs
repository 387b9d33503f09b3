//! LDAP connectors and the tenant directory as the settings describe them.

use std::time::Duration;

use super::engine::disabled_test;
use super::gateway::StartError;
use crate::config::{
    AdoptedObjects, ConnectorSettings, DeltaMethod, Dialect, LdapTargetSettings, Settings, WritableAttributes,
};
use crate::connectors::ldap::{DeltaChoice, LdapConnectorSettings, Writable};
use crate::connectors::ldap_target::{self, TargetType};
use crate::ldap::{Filter, ServerUrl, ServiceAccount, Trust};
use crate::store::tenant::TenantOptions;
use crate::sync::connector::Adopted;
use crate::tenant::soft_match::MatchPolicy;

const WHAT: &str = "LDAP connector";

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

fn is_binary(name: &str) -> bool {
    BINARY.iter().any(|binary| binary.eq_ignore_ascii_case(name))
}

fn writable(settings: &WritableAttributes) -> Writable {
    let usual = BINARY.into_iter().map(str::to_owned);
    Writable { attributes: settings.attributes.clone(), binary: settings.binary.iter().cloned().chain(usual).collect() }
}

fn servers(list: &[String]) -> Result<Vec<ServerUrl>, StartError> {
    list.iter().map(|server| server.parse()).collect::<Result<_, _>>().map_err(StartError::part(WHAT))
}

/// Entries of an object class, as far as a filter admits them.
fn entries(filter: &Option<String>, class: &str) -> Result<Filter, StartError> {
    let class = Filter::equal("objectClass", class);
    match filter {
        Some(text) => Ok(Filter::and([class, Filter::parse(text).map_err(StartError::part(WHAT))?])),
        None => Ok(class),
    }
}

fn choice(method: DeltaMethod) -> DeltaChoice {
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

pub(super) fn ldap_connector(settings: &ConnectorSettings) -> Result<LdapConnectorSettings, StartError> {
    let users = entries(&settings.user_filter, &settings.classes.user)?;
    let groups = entries(&settings.group_filter, &settings.classes.group)?;
    let (kind, mut types) = match settings.dialect {
        Dialect::Openldap | Dialect::Ds389 => ("ldap", LdapConnectorSettings::types(users, groups)),
        Dialect::ActiveDirectory => ("ad", LdapConnectorSettings::types_of_active_directory(&users, &groups)),
    };
    for object_type in &mut types {
        object_type.attributes.clone_from(&settings.attributes);
        object_type.binary = BINARY.into_iter().map(str::to_owned).collect();
    }
    let base = settings.bases.first().ok_or_else(|| StartError::part(WHAT)("the connector has no base"))?;
    Ok(LdapConnectorSettings {
        name: settings.name.clone(),
        kind: kind.to_owned(),
        servers: servers(&settings.servers)?,
        trust: Trust::new(settings.ca_file.as_slice()).map_err(StartError::part(WHAT))?,
        account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
        deadline: IMPORT_DEADLINE,
        page_size: settings.page_size,
        root: LdapConnectorSettings::root_of(base),
        include: settings.bases.clone(),
        exclude: settings.excluded.clone(),
        anchor: settings.anchor_attribute.clone(),
        anchor_is_binary: is_binary(&settings.anchor_attribute),
        container_filter: Filter::or([
            LdapConnectorSettings::usual_containers(),
            Filter::equal("objectClass", &settings.classes.container),
        ]),
        delta: choice(settings.delta),
        types,
        disabled_when: vec![disabled_test(&settings.disabled)?],
        writeback: settings.export.as_ref().map(writable),
    })
}

pub(super) fn ldap_target(settings: &LdapTargetSettings) -> Result<ldap_target::LdapTargetSettings, StartError> {
    let object_type = |name: &str, filter: &Option<String>, classes: &[String], references: &[String]| {
        let class = classes.first().ok_or_else(|| StartError::part(WHAT)("an object type has no object class"))?;
        Ok::<_, StartError>(TargetType {
            name: name.to_owned(),
            classes: classes.to_vec(),
            filter: entries(filter, class)?,
            references: references.to_vec(),
            is_group: name == "group",
        })
    };
    Ok(ldap_target::LdapTargetSettings {
        name: settings.name.clone(),
        servers: servers(&settings.servers)?,
        trust: Trust::new(settings.ca_file.as_slice()).map_err(StartError::part(WHAT))?,
        account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
        deadline: settings.deadline,
        page_size: settings.page_size,
        bases: settings.bases.clone(),
        anchor: settings.anchor_attribute.clone(),
        anchor_is_binary: is_binary(&settings.anchor_attribute),
        types: vec![
            object_type("user", &settings.user_filter, &settings.user_classes, &settings.user_references)?,
            object_type("group", &settings.group_filter, &settings.group_classes, &settings.group_references)?,
        ],
        writable: writable(&settings.writable),
        delta: choice(settings.delta),
        placeholder_member: settings.placeholder_member.clone(),
        adopted: match settings.adopted {
            AdoptedObjects::Keep => Adopted::Kept { mark: None },
            AdoptedObjects::Delete => Adopted::Deleted,
        },
    })
}

pub(super) fn tenant_options(settings: &Settings) -> TenantOptions {
    TenantOptions {
        matching: MatchPolicy { soft: settings.matching.soft_match, hard: settings.matching.hard_match },
        object_quota: settings.directory.object_quota.into(),
        ..TenantOptions::default()
    }
}
