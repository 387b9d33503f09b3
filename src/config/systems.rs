//! `[[connectors]]` of every kind: which section type reads a table, and what the kinds have in common.

use crate::identity::{ConnectorName, DomainName};

use super::connector::{ConnectorSettings, DisabledTest};
use super::files::FileSourceSettings;
use super::ldap_target::LdapTargetSettings;
use super::reader::Table;
use super::scim::ScimTargetSettings;
use super::scope::AgentsOnlySettings;
use super::sql::SqlSourceSettings;
use super::words::setting_words;

setting_words! {
    /// What kind of system a connector is for.
    SystemKind {
        /// A directory with passwords: source of people, of hashes and of live checks.
        Ldap = "ldap",
        /// CSV or LDIF files in a folder.
        File = "file",
        /// Tables of a database.
        Sql = "sql",
        /// A service that takes users and groups by SCIM 2.0.
        Scim = "scim",
        /// A directory whose entries the rules write.
        LdapTarget = "ldap-target",
    } "ldap, file, sql, scim, ldap-target"
}

/// A connected system that is no directory.
#[derive(Clone, Debug)]
pub enum SystemSettings {
    File(FileSourceSettings),
    Sql(SqlSourceSettings),
    Scim(ScimTargetSettings),
    LdapTarget(LdapTargetSettings),
}

impl SystemSettings {
    pub fn name(&self) -> &ConnectorName {
        match self {
            Self::File(file) => &file.name,
            Self::Sql(sql) => &sql.name,
            Self::Scim(scim) => &scim.name,
            Self::LdapTarget(directory) => &directory.name,
        }
    }

    /// The domains it may speak for (design D9); a target speaks for none.
    pub fn domains(&self) -> &[DomainName] {
        match self {
            Self::File(file) => &file.domains,
            Self::Sql(sql) => &sql.domains,
            Self::Scim(_) | Self::LdapTarget(_) => &[],
        }
    }
}

/// The connectors of a settings file.
#[derive(Clone, Debug, Default)]
pub(super) struct Connectors {
    pub directories: Vec<ConnectorSettings>,
    pub agents_only: Vec<AgentsOnlySettings>,
    pub systems: Vec<SystemSettings>,
    pub order: Vec<ConnectorName>,
}

impl Connectors {
    /// Reads every table of `[[connectors]]`; names are unique across kinds.
    pub fn read(root: &Table<'_>) -> Self {
        let mut connectors = Self::default();
        for table in root.tables("connectors") {
            let kind = match table.has("kind") {
                true => table.parsed("kind", "write ldap, file, sql, scim or ldap-target"),
                false => Some(SystemKind::Ldap),
            };
            let name = match kind {
                None => None,
                Some(SystemKind::Ldap) if AgentsOnlySettings::is_meant(&table) => AgentsOnlySettings::read(table)
                    .map(|settings| keep(&mut connectors.agents_only, settings).name.clone()),
                Some(SystemKind::Ldap) => ConnectorSettings::read(table)
                    .map(|settings| keep(&mut connectors.directories, settings).name.clone()),
                Some(SystemKind::File) => connectors.system(FileSourceSettings::read(table).map(SystemSettings::File)),
                Some(SystemKind::Sql) => connectors.system(SqlSourceSettings::read(table).map(SystemSettings::Sql)),
                Some(SystemKind::Scim) => connectors.system(ScimTargetSettings::read(table).map(SystemSettings::Scim)),
                Some(SystemKind::LdapTarget) => {
                    connectors.system(LdapTargetSettings::read(table).map(SystemSettings::LdapTarget))
                }
            };
            let Some(name) = name else { continue };
            if name.as_str() == "tenant" {
                root.complain("connectors", "tenant is the name of the tenant directory itself", "give another name");
            }
            if connectors.order.contains(&name) {
                root.complain("connectors", format!("two connectors have the name {name}"), "give each its own name");
            }
            connectors.order.push(name);
        }
        connectors
    }

    fn system(&mut self, settings: Option<SystemSettings>) -> Option<ConnectorName> {
        settings.map(|settings| keep(&mut self.systems, settings).name().clone())
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) -> &T {
    list.push(item);
    &list[list.len() - 1]
}

/// The `domains` of a source; at least one is required.
pub(super) fn source_domains(table: &Table<'_>) -> Vec<DomainName> {
    let domains = table.list("domains", "give domain names");
    if domains.is_empty() {
        table.complain("domains", "the connector may speak for no domain", "list the domains of its users");
    }
    domains
}

/// The `disabled` test of a source without a default for it; absent: nobody is disabled here.
pub(super) fn source_disabled(table: &Table<'_>) -> Option<DisabledTest> {
    table.parsed("disabled", "write COLUMN=VALUE or COLUMN&BIT")
}

/// A column whose values refer to other objects: `COLUMN:TYPE`, or `COLUMN:*` when the values tell the type themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceColumn {
    pub column: String,
    pub target: ReferenceTarget,
}

/// The object type of a reference's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceTarget {
    Type(String),
    /// Values are `TYPE:ANCHOR`.
    InValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference column is `COLUMN:TYPE` or `COLUMN:*`")]
pub struct NotAReference;

impl std::str::FromStr for ReferenceColumn {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (column, target) = text.rsplit_once(':').ok_or(NotAReference)?;
        if column.is_empty() || target.is_empty() {
            return Err(NotAReference);
        }
        let target = match target {
            "*" => ReferenceTarget::InValue,
            object_type => ReferenceTarget::Type(object_type.to_owned()),
        };
        Ok(Self { column: column.to_owned(), target })
    }
}
