//! The sync engine as the settings describe it.

use std::sync::Arc;

use super::gateway::StartError;
use super::lease_keeper::LeaseKeeper;
use crate::config::{self, ConnectorSettings, DeltaMethod, Settings, SystemSettings};
use crate::connectors::files::FileSource;
use crate::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings, ObjectType};
use crate::connectors::scim::ScimTarget;
use crate::connectors::sql::SqlSource;
use crate::connectors::tenant::TenantConnector;
use crate::identity::{Clock, ConnectorName};
use crate::ldap::{Filter, ServiceAccount, Trust};
use crate::store::engine::{AuditedRuns, SqlActivations, SqlEngine};
use crate::store::tenant::TenantStore;
use crate::store::{AuditLog, Database};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{Connector, DisabledTest};
use crate::sync::guard::GuardSettings;
use crate::sync::run::{Runner, RunnerParts};

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
    let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
    for connector in &settings.connectors {
        connectors.push(Arc::new(LdapConnector::new(ldap_connector(connector)?)));
    }
    for system in &settings.systems {
        connectors.push(match system {
            SystemSettings::File(file) => Arc::new(FileSource::new(file.clone(), disabled(&file.disabled)?)),
            SystemSettings::Sql(sql) => Arc::new(SqlSource::new(sql.clone(), disabled(&sql.disabled)?)),
            SystemSettings::Scim(scim) => Arc::new(ScimTarget::new(scim).map_err(StartError::part("SCIM connector"))?),
        });
    }
    let place = |name: &ConnectorName| settings.order.iter().position(|other| other == name);
    connectors.sort_by_key(|connector| place(connector.name()));
    let name = TENANT.parse().map_err(StartError::part("tenant connector"))?;
    let tenant = Arc::new(ground.tenant.clone());
    connectors.push(Arc::new(TenantConnector::new(name, tenant.clone(), tenant, ground.keeper.clone())));
    Ok(Runner::new(RunnerParts {
        store: Arc::new(SqlEngine::new(ground.engine.clone())),
        lease: ground.keeper.clone(),
        activations: Arc::new(SqlActivations::new(ground.gateway.clone(), ground.clock.clone())),
        connectors,
        guard: GuardSettings::default(),
        clock: ground.clock.clone(),
        events: Arc::new(AuditedRuns::new(ground.audit.clone())),
    }))
}

/// How long one question of an import may take.
const IMPORT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

fn ldap_connector(settings: &ConnectorSettings) -> Result<LdapConnectorSettings, StartError> {
    const WHAT: &str = "LDAP connector";
    let servers = settings
        .servers
        .iter()
        .map(|server| server.parse())
        .collect::<Result<_, _>>()
        .map_err(StartError::part(WHAT))?;
    let filter = |text: &Option<String>, class: &str| -> Result<Filter, StartError> {
        let class = Filter::equal("objectClass", class);
        match text {
            Some(text) => Ok(Filter::and([class, Filter::parse(text).map_err(StartError::part(WHAT))?])),
            None => Ok(class),
        }
    };
    let object_type = |name: &str, filter| ObjectType {
        name: name.to_owned(),
        filter,
        attributes: settings.attributes.clone(),
        references: Vec::new(),
        binary: Vec::new(),
    };
    let base = settings.bases.first().ok_or_else(|| StartError::part(WHAT)("the connector has no base"))?;
    let binary = ["objectGUID", "mS-DS-ConsistencyGuid", "objectSid"];
    Ok(LdapConnectorSettings {
        name: settings.name.clone(),
        servers,
        trust: Trust::new(settings.ca_file.as_slice()).map_err(StartError::part(WHAT))?,
        account: ServiceAccount { dn: settings.bind_dn.clone(), password: settings.bind_password.clone() },
        deadline: IMPORT_DEADLINE,
        page_size: settings.page_size,
        root: LdapConnectorSettings::root_of(base),
        include: settings.bases.clone(),
        exclude: settings.excluded.clone(),
        anchor: settings.anchor_attribute.clone(),
        anchor_is_binary: binary.iter().any(|name| name.eq_ignore_ascii_case(&settings.anchor_attribute)),
        container_filter: Filter::or([
            LdapConnectorSettings::usual_containers(),
            Filter::equal("objectClass", &settings.classes.container),
        ]),
        delta: match settings.delta {
            DeltaMethod::Auto => DeltaChoice::Auto,
            DeltaMethod::ContentSync => DeltaChoice::ContentSync,
            DeltaMethod::Changelog => DeltaChoice::Changelog,
            DeltaMethod::Timestamp => DeltaChoice::Timestamp,
            DeltaMethod::Off => DeltaChoice::Off,
        },
        types: vec![
            object_type("user", filter(&settings.user_filter, &settings.classes.user)?),
            object_type("group", filter(&settings.group_filter, &settings.classes.group)?),
        ],
        disabled_when: vec![disabled_test(&settings.disabled)?],
    })
}

fn disabled(test: &Option<config::DisabledTest>) -> Result<Vec<DisabledTest>, StartError> {
    test.iter().map(disabled_test).collect()
}

fn disabled_test(test: &config::DisabledTest) -> Result<DisabledTest, StartError> {
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
