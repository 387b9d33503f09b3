//! A directory in a fresh store, and changes in the words of the domain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landbridge::identity::{
    ConnectorName, CredentialSource, LeaseEpoch, NodeId, SettableClock, SourceAnchor, Timestamp,
};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{AuditLog, Database, DatabaseUrl, Room, lease};
use landbridge::tenant::{
    Accepted, Action, CredentialLink, Edit, ErrorCode, ExportChange, ExportResult, GroupPatch, ObjectId, ObjectKey,
    TenantExport, UserPatch,
};

use crate::support::postgres::Postgres;

pub const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

type Kept = Box<dyn std::any::Any>;

/// A tenant with the initial domain `tenant.example`, whose connector `corp` may speak for `verified.example`
/// (verified) and `later.example` (pending).
pub struct Tenant {
    pub store: TenantStore,
    pub db: Database,
    pub epoch: LeaseEpoch,
    _kept: Kept,
}

pub async fn on_sqlite() -> Tenant {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    on(url, Box::new(dir)).await
}

pub async fn on_postgres() -> Tenant {
    let url = Postgres::start().fresh_database().parse().expect("a url of the store");
    on(url, Box::new(())).await
}

async fn on(url: DatabaseUrl, kept: Kept) -> Tenant {
    let db = Database::open(&url, Room::Gateway).await.expect("a fresh store opens");
    let clock = Arc::new(SettableClock::at(NOW));
    let store =
        TenantStore::new(db.clone(), clock, TenantOptions { alternate_login_id: true, ..TenantOptions::default() });
    store.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
    let node: NodeId = "node-1".parse().expect("a node");
    let lease = lease::acquire(&db, &node, Duration::from_secs(60)).await.expect("a database").expect("a free lease");
    let tenant = Tenant { store, db, epoch: lease.epoch, _kept: kept };
    for name in ["verified.example", "later.example"] {
        let name = name.parse().expect("a domain");
        tenant.store.add_domain(name, "challenge".to_owned()).await.expect("a new domain");
    }
    let verified = "verified.example".parse().expect("a domain");
    tenant.store.mark_verified(&verified, NewVerification::Operator, None).await.expect("a known domain");
    let domains = ["verified.example", "later.example"].map(|name| name.parse().expect("a domain"));
    tenant
        .store
        .register_connectors(BTreeMap::from([(connector("corp"), BTreeSet::from(domains))]))
        .await
        .expect("a registration");
    tenant
}

impl Tenant {
    /// The same directory under other options, with an audit log.
    pub fn with(self, options: TenantOptions) -> Self {
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(self.db.clone(), "node-1".parse().expect("a node"), clock.clone());
        Self { store: TenantStore::new(self.db.clone(), clock, options).audited(audit), ..self }
    }

    pub async fn export(&self, changes: impl IntoIterator<Item = ExportChange>) -> Vec<ExportResult> {
        self.store.apply_batch(self.epoch, changes.into_iter().collect()).await.expect("a batch is applied")
    }

    /// Exports what must be accepted.
    pub async fn accepted(&self, changes: impl IntoIterator<Item = ExportChange>) -> Vec<Accepted> {
        let results = self.export(changes).await;
        results.into_iter().map(|result| result.expect("the change is accepted")).collect()
    }

    pub async fn refused(&self, change: ExportChange) -> ErrorCode {
        let mut results = self.export([change]).await;
        results.remove(0).expect_err("the change is refused").code
    }

    /// Effective names in the order of the source anchors.
    pub async fn upns(&self) -> Vec<String> {
        let sql = "SELECT upn FROM tenant_user WHERE deleted_at IS NULL ORDER BY source_anchor";
        self.texts(sql).await
    }

    pub async fn texts(&self, sql: &'static str) -> Vec<String> {
        use sqlx::Row;
        let rows = sqlx::query(sql).fetch_all(self.db.read()).await.expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        use sqlx::Row;
        sqlx::query(sql).fetch_one(self.db.read()).await.expect("a row").get(0)
    }

    /// For rows that belong to other parts of the product.
    pub async fn execute(&self, sql: &'static str) {
        self.db
            .write(landbridge::store::Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query(sql)
                        .execute(conn)
                        .await
                        .map_err(landbridge::store::StoreError::doing("a test's row"))?;
                    Ok::<_, landbridge::store::StoreError>(())
                })
            })
            .await
            .expect("a row is written");
    }
}

pub fn connector(name: &str) -> ConnectorName {
    name.parse().expect("a connector's name")
}

fn set(value: &str) -> Edit<String> {
    Edit::Set(value.to_owned())
}

/// An enabled user of connector `corp`, eligible for password sync, known there by the same anchor.
pub fn user(anchor: &str, upn: &str) -> ExportChange {
    let credential = CredentialLink {
        source: CredentialSource { connector: connector("corp"), anchor: SourceAnchor::from_stored(anchor.to_owned()) },
        eligible: true,
    };
    let patch = UserPatch {
        on_premises_upn: set(upn),
        upn_connector: Edit::Set(connector("corp")),
        display_name: set("Ada Byron"),
        account_enabled: Edit::Set(true),
        credential_source: Edit::Set(credential),
        ..UserPatch::default()
    };
    change(anchor, Action::PutUser(Box::new(patch)))
}

pub fn group(anchor: &str, members: &[&str]) -> ExportChange {
    let patch = GroupPatch {
        display_name: set(anchor),
        members_added: members.iter().map(|member| (*member).to_owned()).collect(),
        ..GroupPatch::default()
    };
    change(anchor, Action::PutGroup(Box::new(patch)))
}

pub fn update(anchor: &str, oid: ObjectId, edit: impl FnOnce(&mut UserPatch)) -> ExportChange {
    let mut patch = UserPatch::default();
    edit(&mut patch);
    let mut change = change(anchor, Action::PutUser(Box::new(patch)));
    change.object.oid = Some(oid);
    change
}

pub fn rename(anchor: &str, oid: ObjectId, upn: &str) -> ExportChange {
    update(anchor, oid, |patch| patch.on_premises_upn = set(upn))
}

pub fn delete(anchor: &str) -> ExportChange {
    change(anchor, Action::DeleteUser)
}

pub fn change(anchor: &str, action: Action) -> ExportChange {
    ExportChange {
        object: ObjectKey { oid: None, source_anchor: anchor.to_owned() },
        anchor_connector: connector("corp"),
        handed_to: None,
        action,
    }
}

pub trait With: Sized {
    fn with(self, edit: impl FnOnce(&mut UserPatch)) -> Self;
}

impl With for ExportChange {
    fn with(mut self, edit: impl FnOnce(&mut UserPatch)) -> Self {
        if let Action::PutUser(patch) = &mut self.action {
            edit(patch);
        }
        self
    }
}

/// Runs one story on each engine.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::store_tenant::people::on_sqlite().await).await })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(crate::store_tenant::people::on_postgres().await).await })+
        }
    };
}
pub(crate) use on_both_engines;
