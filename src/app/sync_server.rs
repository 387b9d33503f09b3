//! A running sync server: the engine with a store and an admin socket of its own, and the tenant directory elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::background::Background;
use super::engine::{self, EngineSettings, Ground};
use super::gateway::StartError;
use super::installation::Installation;
use super::operations;
use super::{metrics, schedule, tls};
use crate::agents::process::Identity;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::SyncServerSettings;
use crate::identity::{Clock, DomainName, SystemClock, causes};
use crate::store::AuditLog;
use crate::store::signin::SignInTables;
use crate::sync_server::protocol::Welcome;
use crate::sync_server::{self, RemoteLease, RemoteTenant};
use crate::web::admin::AdminRoutes;
use crate::web::admin::audit_tail::AuditTail;
use crate::web::admin::audit_verify::AuditVerify;

/// A sync server that runs until it is stopped.
pub struct SyncServer {
    stop: CancellationToken,
    tasks: TaskTracker,
    _background: Background,
    installation: Installation,
    audit: AuditLog,
}

impl SyncServer {
    /// Builds and starts a sync server, once the gateway has answered; `None` when `stop` came first.
    pub async fn start(settings: SyncServerSettings, stop: CancellationToken) -> Result<Option<Self>, StartError> {
        tls::install_provider();
        metrics::recorder();
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let identity = Identity::load(&settings.state).map_err(StartError::part("identity of the sync server"))?;
        let installation = Installation::open(&settings.store).await?;
        let db = installation.gateway.clone();
        let audit = AuditLog::new(db.clone(), settings.node.clone(), clock.clone());
        let (tasks, background) = (TaskTracker::new(), Background::start());
        let background = background.map_err(StartError::part("background threads"))?;

        let (link, renewal) = sync_server::link(settings.state.clone(), identity, clock.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(renewal));
        let Some(welcome) = sync_server::first_welcome(&link, &stop).await else {
            close(&installation).await;
            return Ok(None);
        };
        check(&settings, &welcome)?;
        tasks.spawn(sync_server::keep_greeting(link.clone(), settings.state.clone(), stop.clone()));
        let lease = RemoteLease::new(link.clone());
        if let Err(error) = lease.renew().await {
            tracing::warn!(error = causes(&error), "the engine lease could not be taken yet");
        }
        tasks.spawn({
            let (lease, stop) = (lease.clone(), stop.clone());
            async move { lease.run(stop).await }
        });

        let tenant = RemoteTenant::new(engine::tenant_name()?, welcome.tenant, link, lease.clone());
        let ground = Ground {
            gateway: &db,
            engine: &installation.engine,
            tenant: Arc::new(tenant),
            agents: None,
            lease,
            audit: &audit,
            clock: &clock,
            alerts: Arc::new(SignInTables::new(db.clone(), audit.clone())),
        };
        // Before anybody can ask: the record of a start precedes everything that happened after it.
        audit.record(event(EventKind::Started).about(welcome.server)).await?;
        let desk = engine::start(EngineSettings::of_sync_server(&settings), &ground, &background, (&tasks, &stop))?;
        let audit_desk = Arc::new(audit.clone());
        let routes = AdminRoutes::new(audit.clone()).with::<AuditTail>(&audit_desk).with::<AuditVerify>(&audit_desk);
        operations::serve(&settings.admin, schedule::operations(routes, &desk), &tasks, &stop);
        Ok(Some(Self { stop, tasks, _background: background, installation, audit }))
    }

    /// Lets what runs come to its next safe point, gives the lease back, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.audit.record(event(EventKind::Stopped)).await {
            tracing::error!(%error, "the stop could not be recorded");
        }
        close(&self.installation).await;
    }
}

async fn close(installation: &Installation) {
    installation.gateway.close().await;
    installation.engine.close().await;
}

fn event(kind: EventKind) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("sync-server".to_owned()))
}

/// Whether the gateway lets this server bring what its settings name.
fn check(settings: &SyncServerSettings, welcome: &Welcome) -> Result<(), StartError> {
    for (connector, domains) in settings.domains().filter(|(_, domains)| !domains.is_empty()) {
        let Some(there) = welcome.connectors.get(connector) else {
            let refused = format!(
                "the gateway takes nothing from connector {connector} of this server: name it in [sync_servers] of the \
                 gateway's settings, and enrol this server for it"
            );
            return Err(StartError::part("connectors")(refused));
        };
        let (here, there): (BTreeSet<&DomainName>, BTreeSet<&DomainName>) =
            (domains.iter().collect(), there.iter().collect());
        if here != there {
            let spoken: Vec<&str> = there.into_iter().map(DomainName::as_str).collect();
            tracing::warn!(
                %connector,
                "the gateway lets the connector speak for {}, whatever the settings here say",
                spoken.join(", ")
            );
        }
    }
    Ok(())
}
