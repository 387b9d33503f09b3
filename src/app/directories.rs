//! LDAP targets and the tenant directory as the settings describe them.

use super::gateway::StartError;
use crate::config::{AdoptedObjects, LdapTargetSettings, Settings};
use crate::connectors::ldap::configured::{choice, entries, is_binary, servers, writable};
use crate::connectors::ldap_target::{self, TargetType};
use crate::ldap::{ServiceAccount, Trust};
use crate::store::tenant::TenantOptions;
use crate::sync::connector::Adopted;
use crate::tenant::soft_match::MatchPolicy;

const WHAT: &str = "LDAP connector";

pub(super) fn ldap_target(settings: &LdapTargetSettings) -> Result<ldap_target::LdapTargetSettings, StartError> {
    let object_type = |name: &str, filter: &Option<String>, classes: &[String], references: &[String]| {
        let class = classes.first().ok_or_else(|| StartError::part(WHAT)("an object type has no object class"))?;
        Ok::<_, StartError>(TargetType {
            name: name.to_owned(),
            classes: classes.to_vec(),
            filter: entries(filter, class).map_err(StartError::part(WHAT))?,
            references: references.to_vec(),
            is_group: name == "group",
        })
    };
    Ok(ldap_target::LdapTargetSettings {
        name: settings.name.clone(),
        servers: servers(&settings.servers).map_err(StartError::part(WHAT))?,
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
            AdoptedObjects::Keep => Adopted::Kept { mark: settings.mark_attribute.as_deref().map(Into::into) },
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
