//! What the settings say of LDAP directories, for commands that look at them without a running gateway.

use std::path::Path;

use super::engine::{EngineSettings, connectors};
use super::gateway::StartError;
use crate::config::{self, Problems, SystemSettings};
use crate::connectors::ldap::Declaration;
use crate::identity::ConnectorName;
use crate::schema_check::Subject;
use crate::sync::connector::Capabilities;

/// The settings of a gateway or of a sync server, as far as they speak of connected systems.
pub struct DirectorySettings(EngineSettings);

impl DirectorySettings {
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Ok(Self(match config::is_of_sync_server(path)? {
            true => EngineSettings::of_sync_server(&config::load_sync_server(path)?),
            false => EngineSettings::of_gateway(&config::load(path)?),
        }))
    }

    /// What rules are bound to.
    pub fn capabilities(&self) -> Result<Vec<(ConnectorName, Capabilities)>, StartError> {
        let connectors = connectors(&self.0, None)?;
        let mut capabilities: Vec<_> =
            connectors.iter().map(|connector| (connector.name().clone(), connector.capabilities())).collect();
        for connector in &self.0.agents_only {
            let declaration = Declaration::of(&connector.scope).map_err(StartError::part("LDAP connector"))?;
            capabilities.push((connector.name.clone(), declaration.capabilities()));
        }
        Ok(capabilities)
    }

    /// Directories that agents alone reach: nobody can look at them from here.
    pub fn agents_only(&self) -> impl Iterator<Item = &ConnectorName> {
        self.0.agents_only.iter().map(|connector| &connector.name)
    }

    /// Every LDAP directory that is read or written from here.
    pub fn subjects(&self) -> Vec<Subject> {
        let targets = self.0.systems.iter().filter_map(|system| match system {
            SystemSettings::LdapTarget(target) => Some(Subject::from(target)),
            SystemSettings::File(_) | SystemSettings::Sql(_) | SystemSettings::Scim(_) => None,
        });
        self.0.connectors.iter().map(Subject::from).chain(targets).collect()
    }
}
