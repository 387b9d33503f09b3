//! The sync engine as the settings describe it.

use std::path::PathBuf;
use std::sync::Arc;

use super::directories::{ldap_connector, ldap_target};
use super::gateway::StartError;
use super::lease_keeper::LeaseKeeper;
use super::schedule;
use crate::config::{self, Settings, SystemSettings};
use crate::connectors::files::FileSource;
use crate::connectors::ldap::LdapConnector;
use crate::connectors::ldap_target::LdapTarget;
use crate::connectors::scim::ScimTarget;
use crate::connectors::sql::SqlSource;
use crate::connectors::tenant::TenantConnector;
use crate::identity::{Clock, ConnectorName, causes};
use crate::store::engine::{AuditedRuns, SqlActivations, SqlEngine};
use crate::store::tenant::{Registrations, TenantStore};
use crate::store::{AuditLog, Database};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{Connector, DisabledTest};
use crate::sync::guard::GuardSettings;
use crate::sync::run::{Runner, RunnerParts};
use crate::sync::store::KnownConnectors as _;
use crate::web::admin::sync_desk::ProposedConnectors;

/// What the engine is built on.
pub struct Ground<'a> {
    pub gateway: &'a Database,
    pub engine: &'a Database,
    pub tenant: &'a TenantStore,
    pub keeper: &'a Arc<LeaseKeeper>,
    pub audit: &'a AuditLog,
    pub clock: &'a Arc<dyn Clock>,
}

/// The name of the connector to the tenant directory.
pub const TENANT: &str = "tenant";

/// The engine with a connector per directory and one to the tenant.
pub fn runner(settings: &Settings, ground: &Ground<'_>) -> Result<Runner, StartError> {
    let mut connectors = connectors(settings)?;
    let name = TENANT.parse().map_err(StartError::part("tenant connector"))?;
    let tenant = Arc::new(ground.tenant.clone());
    connectors.push(Arc::new(TenantConnector::new(name, tenant.clone(), tenant)));
    let mut runner = Runner::new(RunnerParts {
        store: Arc::new(SqlEngine::new(ground.engine.clone())),
        lease: ground.keeper.clone(),
        activations: Arc::new(SqlActivations::new(ground.gateway.clone(), ground.clock.clone())),
        connectors,
        guard: GuardSettings::default(),
        clock: ground.clock.clone(),
        events: Arc::new(AuditedRuns::new(ground.audit.clone())),
    });
    schedule::equip(&mut runner, &settings.sync)?;
    Ok(runner)
}

/// What a preview of changed settings tries.
pub fn proposed(settings: &Settings, runner: &Runner) -> Result<Arc<dyn ProposedConnectors>, StartError> {
    let tenant = runner.connectors.iter().find(|connector| connector.name().as_str() == TENANT).cloned();
    let tenant = tenant.ok_or_else(|| StartError::part("tenant connector")("there is none"))?;
    Ok(Arc::new(SettingsFile { file: settings.file.clone(), tenant }))
}

/// The settings file as it is now.
struct SettingsFile {
    file: PathBuf,
    /// The connector to the tenant directory, which no settings change.
    tenant: Arc<dyn Connector>,
}

impl ProposedConnectors for SettingsFile {
    fn connectors(&self) -> Result<Vec<Arc<dyn Connector>>, String> {
        let settings = config::load(&self.file).map_err(|problems| problems.to_string())?;
        let mut connectors = connectors(&settings).map_err(|error| causes(&error))?;
        connectors.push(self.tenant.clone());
        Ok(connectors)
    }
}

/// The connectors of the settings, in their order.
fn connectors(settings: &Settings) -> Result<Vec<Arc<dyn Connector>>, StartError> {
    let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
    for connector in &settings.connectors {
        connectors.push(Arc::new(LdapConnector::new(ldap_connector(connector)?)));
    }
    for system in &settings.systems {
        connectors.push(match system {
            SystemSettings::File(file) => Arc::new(FileSource::new(file.clone(), disabled(&file.disabled)?)),
            SystemSettings::Sql(sql) => Arc::new(SqlSource::new(sql.clone(), disabled(&sql.disabled)?)),
            SystemSettings::LdapTarget(directory) => Arc::new(LdapTarget::new(ldap_target(directory)?)),
            SystemSettings::Scim(scim) => {
                let target = ScimTarget::new(scim).map_err(StartError::part("SCIM connector"))?;
                Arc::new(target)
            }
        });
    }
    let place = |name: &ConnectorName| settings.order.iter().position(|other| other == name);
    connectors.sort_by_key(|connector| place(connector.name()));
    Ok(connectors)
}

/// The domains that each connector may speak for, as the settings say. One that is missing there keeps its own for as long as
/// its space is kept: nobody's name changes because a connector is out of the settings for a while.
pub async fn registrations(
    settings: &Settings,
    tenant: &TenantStore,
    engine: &Database,
) -> Result<Registrations, StartError> {
    let directories = settings.connectors.iter().map(|connector| (&connector.name, connector.domains.as_slice()));
    let sources = settings.systems.iter().map(|system| (system.name(), system.domains()));
    let mut registered: Registrations = directories
        .chain(sources.filter(|(_, domains)| !domains.is_empty()))
        .map(|(name, domains)| (name.clone(), domains.iter().cloned().collect()))
        .collect();
    let known = SqlEngine::new(engine.clone()).known_connectors().await.map_err(StartError::part("connectors"))?;
    for (connector, domains) in tenant.registered_connectors().await? {
        let missing = !settings.order.contains(&connector) && known.iter().any(|(name, _)| *name == connector);
        if missing {
            tracing::warn!(%connector, "a connector is not in the settings any more; it keeps what it contributes");
            registered.insert(connector, domains);
        }
    }
    Ok(registered)
}

fn disabled(test: &Option<config::DisabledTest>) -> Result<Vec<DisabledTest>, StartError> {
    test.iter().map(disabled_test).collect()
}

pub(super) fn disabled_test(test: &config::DisabledTest) -> Result<DisabledTest, StartError> {
    Ok(match test {
        config::DisabledTest::Equals { attribute, value } => {
            DisabledTest::Equals { attribute: Attribute::new(attribute), value: value.clone() }
        }
        config::DisabledTest::BitSet { attribute, bit } => DisabledTest::BitSet {
            attribute: Attribute::new(attribute),
            bit: i64::try_from(*bit).map_err(StartError::part("disabled test"))?,
        },
    })
}
