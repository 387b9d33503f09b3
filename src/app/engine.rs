//! The sync engine as the settings describe it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::background::Background;
use super::directories::ldap_target;
use super::gateway::StartError;
use super::schedule::{self, SuspensionWatch};
use crate::agent_sync::AgentDirectory;
use crate::agents::broker::Broker;
use crate::config::{
    self, AgentsOnlySettings, ConnectorSettings, Problems, Settings, SyncServerSettings, SyncSettings, SystemSettings,
};
use crate::connectors::files::FileSource;
use crate::connectors::ldap::configured::disabled_test;
use crate::connectors::ldap::{LdapConnector, LdapConnectorSettings};
use crate::connectors::ldap_target::LdapTarget;
use crate::connectors::scim::ScimTarget;
use crate::connectors::sql::SqlSource;
use crate::identity::{Clock, ConnectorName, causes};
use crate::signin::store::Alerts;
use crate::store::engine::{AuditedRuns, SqlActivations, SqlEngine};
use crate::store::tenant::{Registrations, TenantStore};
use crate::store::{AuditLog, Database};
use crate::sync::activation::Activations;
use crate::sync::connector::{Connector, DisabledTest};
use crate::sync::guard::GuardSettings;
use crate::sync::lease::EngineLease;
use crate::sync::run::{RunEvents, Runner, RunnerParts};
use crate::sync::store::KnownConnectors as _;
use crate::web::admin::sync_desk::{ProposedConnectors, SyncDesk};

/// What the engine is built on.
pub struct Ground<'a> {
    /// Where activated rules and suspensions are.
    pub gateway: &'a Database,
    pub engine: &'a Database,
    /// The tenant directory, here or elsewhere.
    pub tenant: Arc<dyn Connector>,
    /// Who reaches the directories that agents alone reach; nobody in a sync server.
    pub agents: Option<Broker>,
    pub lease: Arc<dyn EngineLease>,
    pub audit: &'a AuditLog,
    pub clock: &'a Arc<dyn Clock>,
    pub alerts: Arc<dyn Alerts>,
}

/// What the settings say of the engine.
pub struct EngineSettings {
    pub(super) connectors: Vec<ConnectorSettings>,
    pub(super) agents_only: Vec<AgentsOnlySettings>,
    pub(super) systems: Vec<SystemSettings>,
    order: Vec<ConnectorName>,
    sync: SyncSettings,
    file: SettingsFile,
}

/// Where they are read from.
#[derive(Clone)]
enum SettingsFile {
    Gateway(PathBuf),
    SyncServer(PathBuf),
}

impl SettingsFile {
    fn read(&self) -> Result<EngineSettings, Problems> {
        match self {
            Self::Gateway(path) => config::load(path).map(|settings| EngineSettings::of_gateway(&settings)),
            Self::SyncServer(path) => {
                config::load_sync_server(path).map(|settings| EngineSettings::of_sync_server(&settings))
            }
        }
    }
}

impl EngineSettings {
    pub fn of_gateway(settings: &Settings) -> Self {
        Self {
            connectors: settings.connectors.clone(),
            agents_only: settings.agents_only.clone(),
            systems: settings.systems.clone(),
            order: settings.order.clone(),
            sync: settings.sync.clone(),
            file: SettingsFile::Gateway(settings.file.clone()),
        }
    }

    pub fn of_sync_server(settings: &SyncServerSettings) -> Self {
        Self {
            connectors: settings.connectors.clone(),
            agents_only: Vec::new(),
            systems: settings.systems.clone(),
            order: settings.order.clone(),
            sync: settings.sync.clone(),
            file: SettingsFile::SyncServer(settings.file.clone()),
        }
    }

    /// What a preview of changed settings tries.
    pub fn proposed(&self, ground: &Ground<'_>) -> Arc<dyn ProposedConnectors> {
        Arc::new(Proposed { file: self.file.clone(), tenant: ground.tenant.clone(), agents: ground.agents.clone() })
    }
}

/// The name of the connector to the tenant directory.
pub const TENANT: &str = "tenant";

pub fn tenant_name() -> Result<ConnectorName, StartError> {
    TENANT.parse().map_err(StartError::part("tenant connector"))
}

/// Starts the engine: its schedule and the watch over it. Yields what its administration works on.
pub fn start(
    settings: EngineSettings,
    ground: &Ground<'_>,
    background: &Background,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Arc<SyncDesk>, StartError> {
    let engine = Engine {
        db: ground.engine,
        activations: Arc::new(SqlActivations::new(ground.gateway.clone(), ground.clock.clone())),
        guard: GuardSettings::default(),
        events: Arc::new(AuditedRuns::new(ground.audit.clone())),
    };
    let runner = Arc::new(runner(&settings, ground, engine)?);
    let (scheduler, handle, suspensions) = schedule::scheduler(&runner, &settings.sync, ground.gateway)?;
    tasks.spawn_on(schedule::run(scheduler, stop.clone()), background.handle());
    let watch = SuspensionWatch {
        runner: runner.clone(),
        suspensions: suspensions.clone(),
        alerts: ground.alerts.clone(),
        patience: settings.sync.suspension_alert,
    };
    tasks.spawn_on(watch.run(stop.clone()), background.handle());
    Ok(Arc::new(SyncDesk {
        proposed: settings.proposed(ground),
        runner,
        scheduler: handle,
        suspensions,
        rules: settings.sync.rules,
        background: background.handle().clone(),
    }))
}

/// What one engine has of its own.
pub struct Engine<'a> {
    pub db: &'a Database,
    pub activations: Arc<dyn Activations>,
    pub guard: GuardSettings,
    pub events: Arc<dyn RunEvents>,
}

/// An engine with a connector per directory and one to the tenant.
pub fn runner(settings: &EngineSettings, ground: &Ground<'_>, engine: Engine<'_>) -> Result<Runner, StartError> {
    let mut connectors = connectors(settings, ground.agents.as_ref())?;
    connectors.push(ground.tenant.clone());
    let mut runner = Runner::new(RunnerParts {
        store: Arc::new(SqlEngine::new(engine.db.clone())),
        lease: ground.lease.clone(),
        activations: engine.activations,
        connectors,
        guard: engine.guard,
        clock: ground.clock.clone(),
        events: engine.events,
    });
    schedule::equip(&mut runner, &settings.sync)?;
    Ok(runner)
}

/// The settings file as it is now.
struct Proposed {
    file: SettingsFile,
    /// The connector to the tenant directory, which no settings change.
    tenant: Arc<dyn Connector>,
    agents: Option<Broker>,
}

impl ProposedConnectors for Proposed {
    fn connectors(&self) -> Result<Vec<Arc<dyn Connector>>, String> {
        let settings = self.file.read().map_err(|problems| problems.to_string())?;
        let mut connectors = connectors(&settings, self.agents.as_ref()).map_err(|error| causes(&error))?;
        connectors.push(self.tenant.clone());
        Ok(connectors)
    }
}

/// The connectors of the settings, in their order; those that agents alone reach, as far as there are `agents`.
pub(super) fn connectors(
    settings: &EngineSettings,
    agents: Option<&Broker>,
) -> Result<Vec<Arc<dyn Connector>>, StartError> {
    const WHAT: &str = "LDAP connector";
    let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
    for connector in &settings.connectors {
        let settings = LdapConnectorSettings::of(connector).map_err(StartError::part(WHAT))?;
        connectors.push(Arc::new(LdapConnector::new(settings)));
    }
    for (connector, agents) in settings.agents_only.iter().filter_map(|connector| Some((connector, agents?))) {
        let directory = AgentDirectory::new(connector, agents.clone()).map_err(StartError::part(WHAT))?;
        connectors.push(Arc::new(directory));
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
    let behind = settings.agents_only.iter().map(|connector| (&connector.name, connector.domains.as_slice()));
    let sources = settings.systems.iter().map(|system| (system.name(), system.domains()));
    let mut registered: Registrations = directories
        .chain(behind)
        .chain(sources.filter(|(_, domains)| !domains.is_empty()))
        .map(|(name, domains)| (name.clone(), domains.iter().cloned().collect()))
        .collect();
    for connector in settings.sync_servers.iter().flat_map(|section| &section.connectors) {
        registered.entry(connector.name.clone()).or_default().extend(connector.domains.iter().cloned());
    }
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
    test.iter().map(disabled_test).collect::<Result<_, _>>().map_err(StartError::part("disabled test"))
}
