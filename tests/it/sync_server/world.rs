//! A gateway's agents' door with the connector API behind it, and sync servers enrolled at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landbridge::agents::process;
use landbridge::config::DatabaseUrl;
use landbridge::identity::{AgentId, ConnectorName, LeaseEpoch};
use landbridge::store::sync_servers::SyncServerLeases;
use landbridge::sync::connector::{Connector, ImportMode, ImportPage, ImportRequest, ImportedObject};
use landbridge::sync::lease::{EngineLease as _, Turn};
use landbridge::sync_server::api::{self, ConnectorApi};
use landbridge::sync_server::protocol::Welcome;
use landbridge::sync_server::{GatewayLink, RemoteLease, RemoteTenant, greet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::agents::world::{CORP, Ground, LAB, World};
use crate::connectors::tenant::furnished;

/// Long enough for tests that renew nothing.
pub const LEASE: Duration = Duration::from_secs(600);

pub struct Gateway {
    pub world: World,
}

/// A sync server without an engine.
pub struct Server {
    pub id: AgentId,
    pub link: GatewayLink,
    pub lease: Arc<RemoteLease>,
    pub tenant: RemoteTenant,
    pub welcome: Welcome,
    _renewal: AbortOnDropHandle<()>,
}

impl Gateway {
    pub async fn open(store: Option<DatabaseUrl>) -> Self {
        // The tenant is furnished before the door opens, on the runtime that waits for it.
        let world = World::open_with(store, |ground: &Ground| {
            let furnishing = async {
                let tenant = furnished(&ground.db, &[CORP, LAB]).await;
                let domains = vec!["verified.example".parse().expect("a domain")];
                let connectors: BTreeMap<_, _> =
                    [CORP, LAB].map(|name| (name.parse().expect("a name"), domains.clone())).into();
                api::router(Arc::new(ConnectorApi {
                    registry: ground.registry.clone(),
                    directory: Arc::new(tenant),
                    leases: Arc::new(SyncServerLeases { db: ground.db.clone(), length: LEASE }),
                    recorder: Arc::new(ground.audit.clone()),
                    clock: ground.clock.clone(),
                    name: "tenant".parse().expect("a name"),
                    connectors,
                }))
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(furnishing))
        })
        .await;
        Self { world }
    }

    /// A machine that is enrolled for these connectors; it has greeted and asked for nothing else.
    pub async fn server(&self, label: &str, connectors: &[&str]) -> Server {
        let names: Vec<ConnectorName> = connectors.iter().map(|name| name.parse().expect("a name")).collect();
        let hour = Duration::from_secs(3600);
        let issued = self.world.desk.issue_sync_token(names.iter().cloned().collect(), hour, "ada").await;
        let token = issued.expect("a token").token.parse().expect("a token");
        let state = self.world.dir.path().join(label);
        let clock = self.world.clock.clone();
        let identity = process::enrol_sync_server(&state, &names, &token, &*clock).await.expect("enrolled");
        let id = identity.id();
        let (link, renewal) = landbridge::sync_server::link(state, identity, clock);
        let welcome = greet(&link).await.expect("welcome");
        let lease = RemoteLease::new(link.clone());
        let name = "tenant".parse().expect("a name");
        let tenant = RemoteTenant::new(name, welcome.tenant.clone(), link.clone(), lease.clone());
        let _renewal = AbortOnDropHandle::new(tokio::spawn(renewal));
        Server { id, link, lease, tenant, welcome, _renewal }
    }
}

impl Server {
    /// The turn of a run that begins now; without the lease, one that writes nothing.
    pub fn turn(&self) -> Turn {
        Turn::unending(self.lease.held().unwrap_or(LeaseEpoch::from_number(0)))
    }

    /// As at the end of its process.
    pub async fn gives_the_lease_back(&self) {
        let stop = CancellationToken::new();
        stop.cancel();
        self.lease.run(stop).await;
    }

    /// Everything that a full import tells, by anchor; an error of the read as its text.
    pub async fn read(&self) -> Result<BTreeMap<String, ImportedObject>, String> {
        let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: BTreeMap::new() };
        let mut stream = self.tenant.import(request).await.map_err(|error| error.to_string())?;
        let mut told = BTreeMap::new();
        while let Some(ImportPage { objects, .. }) = stream.next_page().await.map_err(|error| error.to_string())? {
            told.extend(objects.into_iter().map(|object| (object.anchor.clone(), object)));
        }
        Ok(told)
    }
}
