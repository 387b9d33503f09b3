//! A running gateway: builds every room from the settings, spawns its tasks, and stops them in order.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::agents;
use super::alerts;
use super::background::Background;
use super::connector_api;
use super::directories::tenant_options;
use super::engine;
use super::federation_gate::SamlGate;
use super::housekeeping::{Housekeeping, sweep};
use super::installation::{Installation, InstallationError};
use super::instances::StagingInstances;
use super::lease_keeper::LeaseKeeper;
use super::partner_watch;
use super::readiness::StoreReadiness;
use super::registrations::Waiting;
use super::ring_keeper::RingKeeper;
use super::schedule;
use super::sealing::RingSealer;
use super::switching;
use super::upkeep::{FeedReaders, OwnEngine, PresentEpoch, SyncServers};
use super::{metrics, public_listener, saml_key, tls};
use crate::agent_sync::AgentAccounts;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::{
    self, AdminSettings, ConnectorSettings, LeakPolicy, LeakedPasswordSettings, PartnerCanarySettings, Settings,
    SyncServersSettings,
};
use crate::connectors::tenant::TenantConnector;
use crate::credential::{Argon2Cost, ClearText, Hardening, HashingPool, LeakedList, pool::PoolSize};
use crate::dns::Resolver;
use crate::federation::{CanaryAccount, CanaryBrowser, FederatedSignIn, PartnerCertificates, PartnerRenewal, XmlWork};
use crate::identity::{Clock, ConnectorName, EntityId, SystemClock};
use crate::issuer::{Issuer, IssuerSettings, IssuerUrl};
use crate::password_sync::{
    AccountSource, AdSource, Channel, EngineEpoch, LdapSource, LeakCheck, PasswordSync, Sealer, StoredHashes, Wrapping,
};
use crate::saml::request::ServiceProvider;
use crate::saml::response::ResponseChecker;
use crate::saml::{SigningCertificate, XmlSecEngine};
use crate::signin::desk::SignInDesk;
use crate::signin::store::Alerts;
use crate::signin::{self, BarredGroups, HashCheck, SignIn, SignInKey};
use crate::store::credentials::Credentials;
use crate::store::engine::SqlEngine;
use crate::store::federation::FederationStore;
use crate::store::issuer::IssuerStore;
use crate::store::sealed_values::SealedValues;
use crate::store::signin::{SignInTables, SignInTenant};
use crate::store::tenant::TenantStore;
use crate::store::{AuditLog, Database, StoreError};
use crate::web::admin::AdminRoutes;
use crate::web::admin::agents_drain::AgentsDrain;
use crate::web::admin::agents_list::AgentsList;
use crate::web::admin::agents_revoke::AgentsRevoke;
use crate::web::admin::agents_test::AgentsTest;
use crate::web::admin::agents_token::AgentsToken;
use crate::web::admin::alerts_status::AlertsStatus;
use crate::web::admin::alerts_test::AlertsTest;
use crate::web::admin::audit_tail::AuditTail;
use crate::web::admin::audit_verify::AuditVerify;
use crate::web::admin::client_add::ClientAdd;
use crate::web::admin::client_list::ClientList;
use crate::web::admin::directory_quarantine::DirectoryQuarantine;
use crate::web::admin::directory_quota::DirectoryQuota;
use crate::web::admin::domain_add::DomainAdd;
use crate::web::admin::domain_approve::DomainApprove;
use crate::web::admin::domain_cancel::DomainCancel;
use crate::web::admin::domain_changes::DomainChanges;
use crate::web::admin::domain_list::DomainList;
use crate::web::admin::domain_readiness::DomainReadiness;
use crate::web::admin::domain_rollback::DomainRollback;
use crate::web::admin::domain_set_failover::DomainSetFailover;
use crate::web::admin::domain_set_method::DomainSetMethod;
use crate::web::admin::domain_show::DomainShow;
use crate::web::admin::domain_verify::DomainVerify;
use crate::web::admin::domain_withdraw::DomainWithdraw;
use crate::web::admin::failover_drill::FailoverDrill;
use crate::web::admin::failover_force::FailoverForce;
use crate::web::admin::failover_release::FailoverRelease;
use crate::web::admin::failover_set_group::FailoverSetGroup;
use crate::web::admin::failover_status::ShowFailover;
use crate::web::admin::keys_ring::KeysRing;
use crate::web::admin::keys_roll_ring::KeysRollRing;
use crate::web::admin::keys_rotate::KeysRotate;
use crate::web::admin::lockout_report::LockoutReport;
use crate::web::admin::partner_add::PartnerAdd;
use crate::web::admin::partner_list::PartnerList;
use crate::web::admin::partner_refresh::PartnerRefresh;
use crate::web::admin::partners::Partners;
use crate::web::admin::password_sync_leaked::PasswordSyncLeaked;
use crate::web::admin::password_sync_run::PasswordSyncRun;
use crate::web::admin::password_sync_status::{PasswordDesk, PasswordSyncStatus};
use crate::web::admin::ring_desk::RingDesk;
use crate::web::admin::rollout_add::RolloutAdd;
use crate::web::admin::rollout_list::RolloutList;
use crate::web::admin::rollout_remove::RolloutRemove;
use crate::web::admin::sync_anchor_migrate::{MigrationDesk, SyncAnchorMigrate};
use crate::web::admin::tenant::Tenant;
use crate::web::admin::user_add::UserAdd;
use crate::web::admin::user_delete::UserDelete;
use crate::web::admin::user_list::UserList;
use crate::web::admin::user_revoke_sessions::UserRevokeSessions;
use crate::web::admin::user_set_privileged::UserSetPrivileged;
use crate::web::admin::user_show::UserShow;
use crate::web::admin::user_unlock::UserUnlock;
use crate::web::admin::user_wipe_credential::{CredentialDesk, UserWipeCredential};
use crate::web::{self, Services};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the installation cannot be opened")]
    Installation(#[from] InstallationError),
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    #[error("the {what} cannot be set up")]
    Part { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the gateway cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
}

impl StartError {
    pub(super) fn part<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Part { what, source: source.into() }
    }
}

/// A gateway that serves until it is stopped.
pub struct Gateway {
    stop: CancellationToken,
    tasks: TaskTracker,
    _background: Background,
    /// Ends the public listener.
    close: CancellationToken,
    sign_in: SignIn,
    installation: Installation,
    /// The tables of staging instances.
    staging: Vec<Database>,
    audit: AuditLog,
    operations: Vec<&'static str>,
    saml_certificate: SigningCertificate,
}

impl Gateway {
    /// Builds and starts a gateway. Returns once it listens.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        tls::install_provider();
        metrics::recorder();
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let installation = Installation::open(&settings.store).await?;
        let db = installation.gateway.clone();
        let audit = AuditLog::new(db.clone(), settings.gateway.node.clone(), clock.clone());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let background = Background::start().map_err(StartError::part("background threads"))?;

        let tenant = TenantStore::new(db.clone(), clock.clone(), tenant_options(&settings)).audited(audit.clone());
        tenant.initialise(settings.gateway.initial_domain.clone()).await.map_err(StartError::part("initial domain"))?;
        for domain in tenant.unfinished_recalculations().await? {
            tracing::info!(%domain, "calculating the names of a domain's users, which was interrupted");
            tenant.recalculate(&domain).await?;
        }

        let keeper = match settings.sync_servers {
            None => Some(LeaseKeeper::start(&db, &settings, (&tasks, &stop)).await),
            Some(_) => None,
        };
        let epoch: Arc<dyn EngineEpoch> = match &keeper {
            Some(keeper) => keeper.clone(),
            None => Arc::new(PresentEpoch(db.clone())),
        };

        let credentials = Arc::new(Credentials::new(db.clone(), audit.clone()));
        let sealer = sealer(&installation, &settings);
        let tables = Arc::new(SignInTables::new(db.clone(), audit.clone()));
        let hashes = Arc::new(StoredHashes::new(credentials.clone(), tables.clone(), sealer.clone(), clock.clone()));
        hashes.calibrate().await.map_err(StartError::part("stored hashes"))?;
        let registry = agents::registry(&installation, &audit);
        let stored: Arc<dyn HashCheck> = hashes.clone();
        let raised: Arc<dyn Alerts> = tables.clone();
        let (live, broker) = agents::live_check(&settings, &registry, &stored, &raised, &clock)?;
        // Hashes come with the engine, from wherever it runs.
        let directories = if keeper.is_some() { settings.connectors.as_slice() } else { &[] };
        let mut own_channels =
            channels(directories, settings.leaked_passwords.list.as_ref(), &credentials, &sealer, &clock)?;
        if keeper.is_some() && settings.agents_only.iter().any(|connector| connector.password_sync) {
            let salts = installation.secret(SALTS, new_salts).await?;
            for connector in settings.agents_only.iter().filter(|connector| connector.password_sync) {
                let source = AgentAccounts::new(connector, broker.clone(), salts.clone());
                own_channels.push(Channel {
                    connector: connector.name.clone(),
                    source: Arc::new(source.map_err(StartError::part("password channel"))?),
                    store: credentials.clone(),
                    sealer: sealer.clone(),
                    clear_text: ClearText::Refused,
                    clock: clock.clone(),
                    leaks: None,
                });
            }
        }
        let passwords = Arc::new(PasswordSync::new(
            own_channels,
            epoch.clone(),
            Wrapping::new(credentials.clone(), sealer),
            settings.sync.password_interval,
        ));
        let password_channel = {
            let (passwords, stop, scheduled) = (passwords.clone(), stop.clone(), settings.sync.scheduled);
            async move { passwords.run(scheduled, stop).await }
        };
        tasks.spawn_on(password_channel, background.handle());
        let barred = BarredGroups::new(&settings.failover.barred_groups);
        let directory = SignInTenant::new(tenant.clone(), db.clone(), audit.clone(), barred);
        let directory = directory.without(without_live_checks(&settings));
        let directory = Arc::new(directory);
        let sign_in = SignIn::new(signin::Parts {
            directory: directory.clone(),
            store: tables.clone(),
            live,
            hashes,
            clock: clock.clone(),
            settings: sign_in_settings(&settings),
            key: sign_in_key(&installation).await?,
        });
        sign_in.resume().await.map_err(StartError::part("sign-in"))?;

        let issuer = Arc::new(issuer(&settings, &installation, &audit, &clock).await?);
        tasks.spawn(sweep(sign_in.clone(), issuer.clone(), stop.clone()));

        let partners = Arc::new(FederationStore::new(db.clone(), audit.clone()));
        let federation = FederatedSignIn {
            checker: response_checker(issuer.url(), &clock)?,
            partners: partners.clone(),
            key: Arc::new(
                saml_key::open(&installation, host(&settings), clock.now())
                    .await
                    .map_err(StartError::part("SAML signing key"))?,
            ),
            work: XmlWork::new(cores() / 2),
        };
        // Agents serve until the last request is answered.
        let (close, served) = (CancellationToken::new(), CancellationToken::new());
        let synthetic = CanaryBrowser::new(federation.clone(), partner_canaries(&settings)?);
        let own_metadata = federation.metadata();
        let saml_certificate = federation.key.certificate().clone();
        let services = Services {
            sign_in: sign_in.clone(),
            issuer: issuer.clone(),
            federation: Arc::new(SamlGate::new(federation, audit.clone())),
            readiness: Arc::new(StoreReadiness::new(db.clone(), close.clone())),
            organisation: settings.gateway.organisation.clone(),
            networks: public_listener::networks(&settings),
            pace: public_listener::pace(&settings),
        };
        // Before anybody can ask: the record of a start precedes everything that happened after it.
        audit.record(Event::new(EventKind::Started, Outcome::Success, Actor::System("gateway".to_owned()))).await?;
        let registrations = Waiting {
            wanted: engine::registrations(&settings, &tenant, &installation.engine).await?,
            tenant: tenant.clone(),
            audit: audit.clone(),
            epoch: epoch.clone(),
        };
        if !registrations.apply().await? {
            registrations.tell_difference().await?;
            tasks.spawn(registrations.run(stop.clone()));
        }
        public_listener::open(&settings, services, &tasks, close.clone(), served.clone()).await?;

        let own_engine = match &keeper {
            Some(keeper) => {
                let (name, directory) = (engine::tenant_name()?, Arc::new(tenant.clone()));
                let ground = engine::Ground {
                    gateway: &db,
                    engine: &installation.engine,
                    tenant: Arc::new(TenantConnector::new(name, directory.clone(), directory)),
                    agents: Some(broker.clone()),
                    lease: keeper.clone(),
                    audit: &audit,
                    clock: &clock,
                    alerts: tables.clone(),
                };
                let of_engine = engine::EngineSettings::of_gateway(&settings);
                let active = engine::start(of_engine, &ground, &background, (&tasks, &stop))?;
                let staging = StagingInstances::open(&settings, &ground, &active, (&tasks, &stop)).await?;
                Some((active, staging))
            }
            None => None,
        };
        let feed_readers: Arc<dyn FeedReaders> = match keeper {
            Some(_) => Arc::new(OwnEngine {
                spaces: Arc::new(SqlEngine::new(installation.engine.clone())),
                tenant_connector: engine::tenant_name()?,
            }),
            None => Arc::new(SyncServers(registry.clone())),
        };
        let alert_ground = alerts::Ground {
            db: db.clone(),
            alerts: tables.clone(),
            partners: partners.clone(),
            epoch: epoch.clone(),
            clock: clock.clone(),
        };
        let alert_desk = Arc::new(alerts::start(&settings, alert_ground, (&tasks, &stop))?);
        let renewal = Arc::new(PartnerRenewal {
            partners: partners.clone(),
            engine: Arc::new(XmlSecEngine),
            alerts: tables.clone(),
            clock: clock.clone(),
        });
        tasks.spawn(renewal.clone().run(stop.clone()));
        let housekeeping = Housekeeping {
            sign_in: tables.clone(),
            clock: clock.clone(),
            tenant: tenant.clone(),
            audit: audit.clone(),
            epoch,
            feed_readers,
        };
        tasks.spawn_on(housekeeping.run(stop.clone()), background.handle());

        let sign_in_desk = Arc::new(SignInDesk {
            sign_in: sign_in.clone(),
            domains: directory.clone(),
            rollouts: directory.clone(),
            changes: directory.clone(),
            failover_groups: directory.clone(),
            coverage: directory,
            tallies: tables.clone(),
            partner_outages: tables.clone(),
            synthetic: Arc::new(synthetic),
            readiness: tables,
            partners: Arc::new(PartnerCertificates(partners.clone())),
            four_eyes: settings.signin.four_eyes,
        });
        tasks.spawn(switching::run(sign_in_desk.clone(), stop.clone()));
        let pause = settings.failover.partner_interval;
        tasks.spawn(partner_watch::run(sign_in_desk.clone(), pause, stop.clone()));
        let audit_desk = Arc::new(audit.clone());
        let partner_desk = Arc::new(Partners { store: partners, renewal, clock: clock.clone(), own_metadata });
        let password_desk = Arc::new(PasswordDesk {
            channels: passwords,
            overview: credentials.clone(),
            background: background.handle().clone(),
        });
        let dns = Arc::new(Resolver::new(settings.gateway.dns_resolver).map_err(StartError::part("DNS resolver"))?);
        let credential_desk = Arc::new(CredentialDesk { tenant: tenant.clone(), credentials });
        let ring_desk = Arc::new(RingDesk(ring_keeper(&installation, &settings, &audit).await?));
        let tenant_desk =
            Arc::new(Tenant { store: tenant.clone(), quota_warning: settings.directory.quota_warning, dns });
        let routes = AdminRoutes::new(audit.clone())
            .with::<DomainAdd>(&tenant_desk)
            .with::<DomainVerify>(&tenant_desk)
            .with::<DomainWithdraw>(&tenant_desk)
            .with::<DomainList>(&tenant_desk)
            .with::<DomainShow>(&tenant_desk)
            .with::<DirectoryQuota>(&tenant_desk)
            .with::<DirectoryQuarantine>(&tenant_desk)
            .with::<UserList>(&tenant_desk)
            .with::<UserAdd>(&tenant_desk)
            .with::<UserDelete>(&tenant_desk)
            .with::<UserSetPrivileged>(&tenant_desk)
            .with::<UserShow>(&tenant_desk)
            .with::<AuditTail>(&audit_desk)
            .with::<AuditVerify>(&audit_desk)
            .with::<AlertsStatus>(&alert_desk)
            .with::<AlertsTest>(&alert_desk)
            .with::<LockoutReport>(&sign_in_desk)
            .with::<UserUnlock>(&sign_in_desk)
            .with::<UserRevokeSessions>(&sign_in_desk)
            .with::<UserWipeCredential>(&credential_desk)
            .with::<DomainSetMethod>(&sign_in_desk)
            .with::<DomainSetFailover>(&sign_in_desk)
            .with::<DomainReadiness>(&sign_in_desk)
            .with::<DomainChanges>(&sign_in_desk)
            .with::<DomainApprove>(&sign_in_desk)
            .with::<DomainCancel>(&sign_in_desk)
            .with::<DomainRollback>(&sign_in_desk)
            .with::<FailoverDrill>(&sign_in_desk)
            .with::<RolloutAdd>(&sign_in_desk)
            .with::<RolloutRemove>(&sign_in_desk)
            .with::<RolloutList>(&sign_in_desk)
            .with::<ShowFailover>(&sign_in_desk)
            .with::<FailoverForce>(&sign_in_desk)
            .with::<FailoverRelease>(&sign_in_desk)
            .with::<FailoverSetGroup>(&sign_in_desk)
            .with::<ClientAdd>(&issuer)
            .with::<ClientList>(&issuer)
            .with::<KeysRotate>(&issuer)
            .with::<KeysRing>(&ring_desk)
            .with::<KeysRollRing>(&ring_desk)
            .with::<PartnerAdd>(&partner_desk)
            .with::<PartnerList>(&partner_desk)
            .with::<PartnerRefresh>(&partner_desk)
            .with::<PasswordSyncRun>(&password_desk)
            .with::<PasswordSyncStatus>(&password_desk)
            .with::<PasswordSyncLeaked>(&password_desk);
        let (routes, staging) = match own_engine {
            Some((sync, staging)) => {
                let target = engine::tenant_name()?;
                let migration =
                    Arc::new(MigrationDesk { sync: sync.clone(), tenant: Arc::new(tenant.clone()), target });
                let routes = schedule::operations(routes, &sync).with::<SyncAnchorMigrate>(&migration);
                (staging.operations(routes, &sync), staging.into_databases())
            }
            None => (routes, Vec::new()),
        };
        let routes = match &settings.agents {
            Some(section) => {
                let running = (&tasks, &served);
                let besides = match &settings.sync_servers {
                    Some(servers) => {
                        let ground =
                            connector_api::Ground { db, tenant, registry: registry.clone(), audit: audit.clone() };
                        connector_api::router(servers, settings.sync.lease, ground, clock.clone())?
                    }
                    None => Router::new(),
                };
                let door = agents::Door { broker, registry, clock, besides };
                let desk = agents::serve(&settings, section, &installation, door, running).await?;
                let desk = Arc::new(desk);
                routes
                    .with::<AgentsList>(&desk)
                    .with::<AgentsToken>(&desk)
                    .with::<AgentsRevoke>(&desk)
                    .with::<AgentsDrain>(&desk)
                    .with::<AgentsTest>(&desk)
            }
            None => routes,
        };
        let operations = routes.names().to_vec();
        serve_admin(&settings.admin, routes, &tasks, &stop);
        serve_metrics(&settings, &tasks, &stop);

        Ok(Self {
            stop,
            tasks,
            _background: background,
            close,
            sign_in,
            installation,
            staging,
            audit,
            operations,
            saml_certificate,
        })
    }

    /// The names of the admin operations that are served.
    pub fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    /// The certificate of the key that signs SAML requests, for a partner.
    pub fn saml_certificate(&self) -> &SigningCertificate {
        &self.saml_certificate
    }

    /// Lets open requests end, settles what goes on behind the answers, and closes the store.
    pub async fn stop(self) {
        self.close.cancel();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.sign_in.shut_down().await;
        let event = Event::new(EventKind::Stopped, Outcome::Success, Actor::System("gateway".to_owned()));
        if let Err(error) = self.audit.record(event).await {
            tracing::error!(%error, "the stop could not be recorded");
        }
        for instance in self.staging {
            instance.close().await;
        }
        self.installation.gateway.close().await;
        self.installation.engine.close().await;
    }
}

/// Connectors at which nobody signs in: files, databases, and directories that only a sync server reaches.
fn without_live_checks(settings: &Settings) -> Vec<ConnectorName> {
    let systems = settings.systems.iter().map(|system| system.name().clone());
    let elsewhere = settings.sync_servers.iter().flat_map(SyncServersSettings::names);
    let agents_only = settings.agents_only.iter().map(|connector| &connector.name);
    let directories = settings.connectors.iter().map(|connector| &connector.name).chain(agents_only);
    let here = |name: &ConnectorName| directories.clone().any(|directory| directory == name);
    systems.chain(elsewhere.filter(|name| !here(name))).collect()
}

fn host(settings: &Settings) -> &str {
    settings.gateway.public_url.host_str().unwrap_or("landbridge")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Memory that all key derivations of the process together may take.
const DERIVATION_MEMORY_KIB: u64 = 1024 * 1024;

fn sealer(installation: &Installation, settings: &Settings) -> Sealer {
    let cost = Argon2Cost::default();
    let size = PoolSize { cores: cores(), memory_kib: DERIVATION_MEMORY_KIB, each_kib: cost.memory_kib() };
    Sealer {
        tenant: installation.tenant.clone(),
        ring: installation.ring.clone(),
        pool: HashingPool::new(size),
        hardening: match settings.store.hardening {
            config::Hardening::Argon2id => Hardening::Argon2id(cost),
            config::Hardening::Sealed => Hardening::Sealed,
        },
    }
}

/// The secret of the salts by which agents wrap hashes.
const SALTS: &str = "agent-salts";

fn new_salts() -> Zeroizing<Vec<u8>> {
    let mut salts = Zeroizing::new(vec![0; 32]);
    rand::Rng::fill_bytes(&mut rand::rng(), &mut salts);
    salts
}

fn channels(
    connectors: &[ConnectorSettings],
    leaked_passwords: Option<&PathBuf>,
    store: &Arc<Credentials>,
    sealer: &Sealer,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Channel>, StartError> {
    let channel = |settings: &ConnectorSettings| {
        let source: Arc<dyn AccountSource> = match &settings.replication {
            None => {
                let source = LdapSource::new(settings, clock.clone());
                Arc::new(source.map_err(StartError::part("password channel"))?)
            }
            Some(replication) => {
                let source = AdSource::new(settings, replication, clock.clone());
                Arc::new(source.map_err(StartError::part("password channel"))?)
            }
        };
        Ok(Channel {
            connector: settings.name.clone(),
            source,
            store: store.clone(),
            sealer: sealer.clone(),
            clear_text: match settings.passwords.cleartext_allowed {
                true => ClearText::Accepted,
                false => ClearText::Refused,
            },
            clock: clock.clone(),
            leaks: settings
                .leaked_passwords
                .as_ref()
                .or(leaked_passwords)
                .map(|list| Arc::new(LeakCheck::new(LeakedList::new(list.clone())))),
        })
    };
    connectors.iter().map(channel).collect()
}

fn leaked_passwords(settings: &LeakedPasswordSettings) -> signin::LeakedPasswords {
    let refused = settings.policy == LeakPolicy::Refuse;
    let except = if refused { &settings.report_in } else { &settings.refuse_in };
    signin::LeakedPasswords { refused, except: except.iter().cloned().collect() }
}

fn sign_in_settings(settings: &Settings) -> signin::Settings {
    let lockout = &settings.lockout;
    signin::Settings {
        session_life: settings.signin.session_lifetime,
        failover_session_life: settings.signin.failover_session_lifetime,
        refusal_quantum: settings.signin.refusal_floor,
        probe_interval: settings.failover.probe_interval,
        partner_interval: settings.failover.partner_interval,
        good_probes: settings.failover.good_probes,
        lockout: signin::LockoutSettings {
            familiar_limit: lockout.familiar_limit,
            unfamiliar_limit: lockout.unfamiliar_limit,
            window: lockout.window,
            first_lock: lockout.first_lock,
            longest_lock: lockout.longest_lock,
            spray_names: lockout.spray_names,
            spray_window: lockout.spray_window,
            spray_pause: lockout.spray_pause,
            ..signin::LockoutSettings::default()
        },
        leaked: leaked_passwords(&settings.leaked_passwords),
        ..signin::Settings::default()
    }
}

fn partner_canaries(settings: &Settings) -> Result<Vec<(EntityId, CanaryAccount)>, StartError> {
    let canary = |canary: &PartnerCanarySettings| {
        let authorities = match &canary.ca_file {
            None => Vec::new(),
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(StartError::part("certification authorities of a partner"))?,
        };
        Ok((canary.partner.clone(), CanaryAccount { login: canary.account.clone(), authorities }))
    };
    settings.failover.partner_canaries.iter().map(canary).collect()
}

async fn sign_in_key(installation: &Installation) -> Result<SignInKey, StartError> {
    let make = || {
        let mut key = zeroize::Zeroizing::new(vec![0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut key);
        key
    };
    let key = installation.secret("sign-in-key", make).await?;
    let key: [u8; 32] = key.as_slice().try_into().map_err(StartError::part("key of sign-in"))?;
    Ok(SignInKey::new(key))
}

async fn issuer(
    settings: &Settings,
    installation: &Installation,
    audit: &AuditLog,
    clock: &Arc<dyn Clock>,
) -> Result<Issuer, StartError> {
    let text = settings.gateway.public_url.as_str().trim_end_matches('/');
    let url: IssuerUrl = text.parse().map_err(StartError::part("issuer"))?;
    let lifetimes = IssuerSettings {
        access_token_lifetime: settings.tokens.access_token_lifetime,
        id_token_lifetime: settings.tokens.access_token_lifetime,
        refresh_inactivity: settings.tokens.refresh_token_lifetime,
        ..IssuerSettings::new(url)
    };
    let store = Arc::new(IssuerStore::new(installation.gateway.clone(), audit.clone()));
    let sealer = Arc::new(RingSealer { ring: installation.ring.clone(), tenant: installation.tenant.clone() });
    Issuer::open(lifetimes, store, sealer, clock.clone()).await.map_err(StartError::part("issuer"))
}

async fn ring_keeper(
    installation: &Installation,
    settings: &Settings,
    audit: &AuditLog,
) -> Result<Arc<RingKeeper>, StartError> {
    let values = SealedValues::new(installation.gateway.clone(), audit.clone());
    let (file, node) = (settings.store.key_ring.clone(), settings.gateway.node.clone());
    let keeper = RingKeeper::new(installation.clone(), file, node, values);
    keeper.finish_interrupted_roll().await.map_err(StartError::part("key ring"))?;
    Ok(Arc::new(keeper))
}

fn response_checker(url: &IssuerUrl, clock: &Arc<dyn Clock>) -> Result<ResponseChecker, StartError> {
    let address = |path| url.join(path).parse::<url::Url>().map_err(StartError::part("federation"));
    let service = ServiceProvider {
        entity_id: url.join(web::PARTNER_METADATA_PATH).parse().map_err(StartError::part("federation"))?,
        acs_url: address(web::ACS_PATH)?,
    };
    Ok(ResponseChecker {
        service,
        algorithms: Default::default(),
        skew: Default::default(),
        engine: Arc::new(XmlSecEngine),
        clock: clock.clone(),
    })
}

pub(super) fn serve_admin(
    settings: &AdminSettings,
    routes: AdminRoutes,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let (socket, principals) = (settings.socket.clone(), settings.principals.clone());
    let stop = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = routes.serve(&socket, principals, stop).await {
            tracing::error!(%error, socket = %socket.display(), "the admin socket cannot be served");
        }
    });
}

fn serve_metrics(settings: &Settings, tasks: &TaskTracker, stop: &CancellationToken) {
    let Some(address) = settings.gateway.metrics_listen else { return };
    let stop = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = metrics::serve(address, stop).await {
            tracing::error!(%error, %address, "metrics cannot be served");
        }
    });
}
