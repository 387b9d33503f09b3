//! What the settings of a connector name.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{ConnectorSettings, Dialect, DisabledTest, LdapTargetSettings};
use crate::identity::ConnectorName;
use crate::ldap::{Filter, ServiceAccount};

/// Nobody signs in meanwhile: a slow server is no fault of what is named.
const PATIENCE: Duration = Duration::from_secs(20);

/// A name, and the key of the settings that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub key: &'static str,
    pub name: String,
}

/// Entries that are added with these object classes.
#[derive(Clone, Debug)]
pub struct Written {
    /// The word of the rule files, such as `user`.
    pub object_type: &'static str,
    pub key: &'static str,
    pub classes: Vec<String>,
    /// Attributes that the connector gives them by itself.
    pub by_itself: Vec<String>,
}

/// A directory that is looked at, and what its settings name.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: ConnectorName,
    pub(super) dialect: Dialect,
    pub(super) servers: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) account: ServiceAccount,
    pub(super) deadline: Duration,
    pub(super) anchor: String,
    pub(super) classes: Vec<Named>,
    pub(super) attributes: Vec<Named>,
    /// What a test for disabled accounts reads.
    pub(super) disabled: Option<String>,
    pub(super) writable: Vec<Named>,
    pub(super) written: Vec<Written>,
}

fn named(key: &'static str, names: &[String]) -> impl Iterator<Item = Named> {
    names.iter().map(move |name| Named { key, name: name.clone() })
}

/// What filters of the settings name. One that cannot be read is told when the connector is made.
fn filtered(filters: [(&'static str, &Option<String>); 2]) -> (Vec<Named>, Vec<Named>) {
    let (mut attributes, mut classes) = (Vec::new(), Vec::new());
    for (key, text) in filters {
        let Some(Ok(filter)) = text.as_deref().map(Filter::parse) else { continue };
        let names = filter.names();
        attributes.extend(names.attributes.into_iter().map(|name| Named { key, name }));
        classes.extend(names.object_classes.into_iter().map(|name| Named { key, name }));
    }
    (attributes, classes)
}

impl From<&ConnectorSettings> for Subject {
    fn from(settings: &ConnectorSettings) -> Self {
        let filters = [("user_filter", &settings.scope.user_filter), ("group_filter", &settings.scope.group_filter)];
        let (mut attributes, mut classes) = filtered(filters);
        attributes.extend(named("attributes", &settings.scope.attributes));
        if settings.replication.is_none() {
            attributes.extend(named("password_attributes", &settings.passwords.attributes));
        }
        let usual = [
            ("user_class", &settings.scope.classes.user),
            ("group_class", &settings.scope.classes.group),
            ("container_class", &settings.scope.classes.container),
        ];
        classes.extend(usual.map(|(key, name)| Named { key, name: name.clone() }));
        let writable =
            settings.scope.export.as_ref().map(|export| named("export.attributes", &export.attributes).collect());
        Self {
            name: settings.name.clone(),
            dialect: settings.scope.dialect,
            servers: settings.servers.clone(),
            ca_file: settings.ca_file.clone(),
            account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
            deadline: settings.connect_deadline.max(PATIENCE),
            anchor: settings.scope.anchor_attribute.clone(),
            classes,
            attributes,
            disabled: Some(match &settings.scope.disabled {
                DisabledTest::Equals { attribute, .. } | DisabledTest::BitSet { attribute, .. } => attribute.clone(),
            }),
            writable: writable.unwrap_or_default(),
            written: Vec::new(),
        }
    }
}

impl From<&LdapTargetSettings> for Subject {
    fn from(settings: &LdapTargetSettings) -> Self {
        let filters = [("user_filter", &settings.user_filter), ("group_filter", &settings.group_filter)];
        let (mut attributes, mut classes) = filtered(filters);
        attributes.extend(named("user_references", &settings.user_references));
        attributes.extend(named("group_references", &settings.group_references));
        classes.extend(named("user_classes", &settings.user_classes));
        classes.extend(named("group_classes", &settings.group_classes));
        let placeholder = settings.placeholder_member.iter().flat_map(|_| settings.group_references.iter().take(1));
        Self {
            name: settings.name.clone(),
            dialect: settings.dialect,
            servers: settings.servers.clone(),
            ca_file: settings.ca_file.clone(),
            account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
            deadline: settings.deadline,
            anchor: settings.anchor_attribute.clone(),
            classes,
            attributes,
            disabled: None,
            writable: named("attributes", &settings.writable.attributes).collect(),
            written: vec![
                Written {
                    object_type: "user",
                    key: "user_classes",
                    classes: settings.user_classes.clone(),
                    by_itself: vec!["objectClass".to_owned()],
                },
                Written {
                    object_type: "group",
                    key: "group_classes",
                    classes: settings.group_classes.clone(),
                    by_itself: placeholder.cloned().chain(["objectClass".to_owned()]).collect(),
                },
            ],
        }
    }
}
