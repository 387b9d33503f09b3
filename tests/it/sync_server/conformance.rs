//! The remote tenant is a connector like the one in process: the same suite checks both.

use landbridge::config::DatabaseUrl;
use landbridge::sync::Connector;
use landbridge::sync::attribute::Attributes;
use landbridge::sync::lease::EngineLease as _;

use super::world::{Gateway, Server};
use crate::agents::world::CORP;
use crate::connectors::conformance::{self, Target};
use crate::connectors::tenant::exported;
use crate::support::postgres::Postgres;

struct Peer(Server);

impl Target for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0.tenant
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        exported(CORP, object_type, key, name)
    }

    fn name_attribute(&self) -> &'static str {
        "displayName"
    }

    fn emptied_attribute(&self) -> &'static str {
        "mail"
    }

    fn member_attribute(&self) -> &'static str {
        "member"
    }
}

async fn conforms(store: Option<DatabaseUrl>) {
    let gateway = Gateway::open(store).await;
    let server = gateway.server("one", &[CORP]).await;
    server.lease.renew().await.expect("the lease is free");
    assert!(server.lease.held().is_some());
    conformance::target(&Peer(server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_remote_tenant_conforms_on_sqlite() {
    conforms(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_remote_tenant_conforms_on_postgresql() {
    conforms(Some(DatabaseUrl::Postgres { url: Postgres::start().fresh_database() })).await;
}
