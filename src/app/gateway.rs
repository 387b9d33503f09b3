//! A running gateway: builds every room from the settings, spawns its tasks, and stops them in order.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent_watch::{AgentWatch, Watched};
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
use super::operations::{self, Desks};
use super::partner_watch;
use super::passwords;
use super::readiness::StoreReadiness;
use super::registrations::Waiting;
use super::ring_keeper::RingKeeper;
use super::schedule;
use super::sign_in;
use super::switching;
use super::upkeep::{FeedReaders, OwnEngine, PresentEpoch, SyncServers};
use super::{metrics, public_listener, saml_key, tls};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::Settings;
use crate::connectors::tenant::TenantConnector;
use crate::dns::Resolver;
use crate::federation::{CanaryBrowser, FederatedSignIn, PartnerCertificates, PartnerRenewal, XmlWork};
use crate::identity::{Clock, SystemClock};
use crate::password_sync::{EngineEpoch, PasswordSync, StoredHashes, Wrapping};
use crate::saml::{SigningCertificate, XmlSecEngine};
use crate::signin::desk::{Looks, SignInDesk};
use crate::signin::shared_time::SharedTime;
use crate::signin::store::Alerts;
use crate::signin::{self, BarredGroups, HashCheck, SignIn};
use crate::store::credentials::Credentials;
use crate::store::engine::SqlEngine;
use crate::store::federation::FederationStore;
use crate::store::ring_keys::RingKeys;
use crate::store::sealed_values::SealedValues;
use crate::store::signin::{DatabaseTime, SignInTables, SignInTenant};
use crate::store::tenant::TenantStore;
use crate::store::{AuditLog, Database, StoreError};
use crate::web::Services;
use crate::web::admin::AdminRoutes;
use crate::web::admin::agents_drain::AgentsDrain;
use crate::web::admin::agents_list::AgentsList;
use crate::web::admin::agents_revoke::AgentsRevoke;
use crate::web::admin::agents_test::AgentsTest;
use crate::web::admin::agents_token::AgentsToken;
use crate::web::admin::partners::Partners;
use crate::web::admin::password_sync_status::PasswordDesk;
use crate::web::admin::ring_desk::RingDesk;
use crate::web::admin::sync_anchor_migrate::{MigrationDesk, SyncAnchorMigrate};
use crate::web::admin::tenant::Tenant;
use crate::web::admin::user_wipe_credential::CredentialDesk;

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
        let sealer = passwords::sealer(&installation, &settings);
        let tables = Arc::new(SignInTables::new(db.clone(), audit.clone()));
        let hashes = Arc::new(StoredHashes::new(credentials.clone(), tables.clone(), sealer.clone(), clock.clone()));
        hashes.calibrate().await.map_err(StartError::part("stored hashes"))?;
        let registry = agents::registry(&installation, &audit);
        let stored: Arc<dyn HashCheck> = hashes.clone();
        let raised: Arc<dyn Alerts> = tables.clone();
        let (live, broker) = agents::live_check(&settings, &registry, &stored, &raised, &clock)?;
        // Hashes come with the engine, from wherever it runs.
        let mut own_channels = Vec::new();
        if keeper.is_some() {
            let ground = passwords::Ground { store: &credentials, sealer: &sealer, clock: &clock };
            own_channels = passwords::channels(&settings, &ground)?;
            own_channels.extend(passwords::agent_channels(&settings, &ground, &installation, &broker).await?);
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
        let shared_time: Arc<dyn SharedTime> = Arc::new(DatabaseTime::new(db.clone(), clock.clone()));
        let directory = SignInTenant::new(tenant.clone(), db.clone(), audit.clone(), barred, shared_time.clone());
        let directory = directory.without(sign_in::without_live_checks(&settings));
        let directory = Arc::new(directory);
        let sign_in = SignIn::new(signin::Parts {
            directory: directory.clone(),
            store: tables.clone(),
            live,
            hashes,
            clock: clock.clone(),
            settings: sign_in::settings(&settings),
            key: sign_in::key(&installation).await?,
        });
        sign_in.resume().await.map_err(StartError::part("sign-in"))?;

        let issuer = Arc::new(sign_in::issuer(&settings, &installation, &audit, &clock).await?);
        tasks.spawn(sweep(sign_in.clone(), issuer.clone(), stop.clone()));

        let partners = Arc::new(FederationStore::new(db.clone(), audit.clone()));
        let federation = FederatedSignIn {
            checker: sign_in::response_checker(issuer.url(), &clock)?,
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
        let synthetic = CanaryBrowser::new(federation.clone(), sign_in::partner_canaries(&settings)?);
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
        let watched = settings.agents_only.iter().map(Watched::of).collect();
        let agent_watch = AgentWatch {
            broker: broker.clone(),
            alerts: tables.clone(),
            epoch: epoch.clone(),
            clock: clock.clone(),
            connectors: watched,
        };
        tasks.spawn(agent_watch.run(stop.clone()));
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
            looks: Looks::default(),
            time: shared_time,
            readiness: tables,
            partners: Arc::new(PartnerCertificates(partners.clone())),
            four_eyes: settings.signin.four_eyes,
        });
        tasks.spawn(switching::run(sign_in_desk.clone(), stop.clone()));
        let pause = settings.failover.partner_interval;
        tasks.spawn(partner_watch::run(sign_in_desk.clone(), pause, stop.clone()));
        let partner_desk = Arc::new(Partners { store: partners, renewal, clock: clock.clone(), own_metadata });
        let password_desk = Arc::new(PasswordDesk {
            channels: passwords,
            overview: credentials.clone(),
            background: background.handle().clone(),
        });
        let dns = Arc::new(Resolver::new(settings.gateway.dns_resolver).map_err(StartError::part("DNS resolver"))?);
        let credential_desk = Arc::new(CredentialDesk { tenant: tenant.clone(), credentials });
        let ring_keeper = ring_keeper(&installation, &settings, &audit).await?;
        tasks.spawn(ring_keeper.clone().run(stop.clone()));
        let ring_desk = Arc::new(RingDesk(ring_keeper));
        let tenant_desk =
            Arc::new(Tenant { store: tenant.clone(), quota_warning: settings.directory.quota_warning, dns });
        let desks = Desks {
            tenant: tenant_desk,
            audit: Arc::new(audit.clone()),
            alerts: alert_desk,
            sign_in: sign_in_desk,
            credentials: credential_desk,
            issuer,
            ring: ring_desk,
            partners: partner_desk,
            passwords: password_desk,
        };
        let routes = desks.operations(AdminRoutes::new(audit.clone()));
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
        operations::serve(&settings.admin, routes, &tasks, &stop);
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

fn host(settings: &Settings) -> &str {
    settings.gateway.public_url.host_str().unwrap_or("landbridge")
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn ring_keeper(
    installation: &Installation,
    settings: &Settings,
    audit: &AuditLog,
) -> Result<Arc<RingKeeper>, StartError> {
    let values = SealedValues::new(installation.gateway.clone(), audit.clone());
    let (file, node) = (settings.store.key_ring.clone(), settings.gateway.node.clone());
    let keys = RingKeys::new(installation.gateway.clone(), audit.clone());
    let keeper = RingKeeper::new(installation.clone(), file, node, values, keys);
    keeper.finish_interrupted_roll().await.map_err(StartError::part("key ring"))?;
    Ok(Arc::new(keeper))
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
