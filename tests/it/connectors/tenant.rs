//! The tenant directory as a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{LeaseEpoch, NodeId, SettableClock, Timestamp};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::lease::EngineLease;

use super::conformance::{self, Target};
use crate::support::postgres::Postgres;

struct Peer(TenantConnector);

struct Fixed(LeaseEpoch);

impl EngineLease for Fixed {
    fn held(&self) -> Option<LeaseEpoch> {
        Some(self.0)
    }
}

impl Peer {
    async fn open(url: &DatabaseUrl) -> Self {
        let db = Database::open(url, Room::Gateway).await.expect("a fresh store opens");
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let tenant = TenantStore::new(db.clone(), clock, TenantOptions::default());
        tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
        let domain: landbridge::identity::DomainName = "verified.example".parse().expect("a domain");
        tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
        tenant.mark_verified(&domain, NewVerification::Operator, None).await.expect("verified");
        let registered = BTreeMap::from([("corp".parse().expect("a name"), BTreeSet::from([domain]))]);
        tenant.register_connectors(registered).await.expect("a registration");
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&db, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        let name = "tenant".parse().expect("a name");
        let tenant = Arc::new(tenant);
        Self(TenantConnector::new(name, tenant.clone(), tenant, Arc::new(Fixed(held.epoch))))
    }
}

impl Target for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        let mut attributes = Attributes::new();
        let mut put = |name: &str, value: &str| attributes.insert(name.into(), vec![Value::text(value)]);
        put("sourceAnchor", key);
        put("anchorConnector", "corp");
        put("displayName", name);
        put("mail", &format!("{key}@verified.example"));
        if object_type == "user" {
            put("userPrincipalName", &format!("{key}@verified.example"));
            put("upnConnector", "corp");
            put("accountEnabled", "TRUE");
        }
        attributes
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

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_directory_conforms_on_sqlite() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    conformance::target(&Peer::open(&url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_directory_conforms_on_postgresql() {
    let url = DatabaseUrl::Postgres { url: Postgres::start().fresh_database() };
    conformance::target(&Peer::open(&url).await).await;
}
