//! Writers of sync and of sign-in on PostgreSQL take locks in one order: whoever waits for a row of the other holds nothing that
//! the other still needs.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::{Actor, Event, EventKind, Outcome};
use landbridge::credential::Quarantine;
use landbridge::identity::{AccountState, AttemptId, SettableClock, SourceAnchor};
use landbridge::password_sync::SourceVersion;
use landbridge::password_sync::store::{AccountChange, CredentialChange, PassStore as _, StateChange};
use landbridge::signin::LockoutSettings;
use landbridge::signin::lockout::{Limits, Settlement};
use landbridge::signin::realm::Managed;
use landbridge::signin::store::{Attempts as _, Late, Learned};
use landbridge::store::credentials::Credentials;
use landbridge::store::signin::SignInTables;
use landbridge::store::tenant::TenantOptions;
use landbridge::store::{AuditLog, StoreError, Urgency};
use landbridge::tenant::ObjectId;
use tokio::sync::oneshot;

use super::people::*;
use crate::support::wait::wait_until_async;

const PATIENCE: Duration = Duration::from_secs(30);
/// Appending a record begins with it; `node-1` is this test's node.
const RECORD: &str = "UPDATE audit_head SET number = number WHERE node = 'node-1'";

fn audit(tenant: &Tenant) -> AuditLog {
    AuditLog::new(tenant.db.clone(), "node-1".parse().expect("a node"), Arc::new(SettableClock::at(NOW)))
}

fn event(kind: EventKind) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("a test".to_owned()))
}

/// Two people with sessions and stored passwords.
async fn furnished() -> (Tenant, Vec<ObjectId>) {
    let tenant = on_postgres().await.with(TenantOptions::default());
    let people = [user("a1", "one@verified.example"), user("a2", "two@verified.example")];
    let oids = tenant.accepted(people).await.into_iter().map(|accepted| accepted.oid).collect();
    tenant
        .execute(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', 'a1', 'sealed', 'c', 's', 't', 1, 0, 0), \
             ('corp', 'a2', 'sealed', 'c', 's', 't', 1, 0, 0)",
        )
        .await;
    tenant
        .execute(
            "INSERT INTO session (sid, cookie_hash, oid, domain, security_stamp, method, authority, failover, attempt, \
             amr, auth_time, expires_at) SELECT source_anchor, source_anchor, oid, 'verified.example', security_stamp, \
             'phs', 'x', 0, source_anchor, '[]', 0, 4102444800000 FROM tenant_user",
        )
        .await;
    audit(&tenant).record(event(EventKind::Started)).await.expect("the first record of the node");
    (tenant, oids)
}

/// Runs `writer` while another transaction has done `first`, and lets that do `then` once the writer waits for it.
async fn beside<T>(tenant: &Tenant, first: &'static str, then: &'static str, writer: impl Future<Output = T>) -> T {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, goes_on) = oneshot::channel();
    let other = tenant.db.write(Urgency::Waited, move |conn| {
        Box::pin(async move {
            sqlx::raw_sql(first).execute(&mut *conn).await.map_err(StoreError::doing("locking rows"))?;
            begun.send(()).expect("the test waits");
            goes_on.await.expect("the test goes on");
            sqlx::raw_sql(then).execute(&mut *conn).await.map_err(StoreError::doing("locking more rows"))?;
            Ok::<_, StoreError>(())
        })
    });
    let writer = async {
        has_begun.await.expect("it begins");
        writer.await
    };
    let watch = async {
        wait_until_async("the writer to wait for the other", PATIENCE, async || {
            let waiting = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (tenant.number(waiting).await > 0).then_some(())
        })
        .await;
        go_on.send(()).expect("the other waits");
    };
    let (other, written, ()) = tokio::join!(other, writer, watch);
    other.expect("the other one is not given up");
    written
}

fn ended(anchor: &str) -> AccountChange {
    let state = AccountState { enabled: false, ..AccountState::unrestricted() };
    AccountChange {
        state: Some(StateChange {
            state,
            version: SourceVersion::new("1".to_owned()),
            as_of: NOW,
            ends_sessions: true,
        }),
        ..AccountChange::of(SourceAnchor::from_stored(anchor.to_owned()), NOW)
    }
}

fn quarantined(anchor: &str) -> AccountChange {
    let stamp = format!("k1:{}", "A".repeat(43)).parse().expect("a stamp");
    let credential = CredentialChange::Quarantine { reason: Quarantine::TooLong, stamp };
    AccountChange { state: None, credential: Some(credential), ..ended(anchor) }
}

async fn pass(tenant: &Tenant, changes: [AccountChange; 2]) {
    let credentials = Credentials::new(tenant.db.clone(), audit(tenant));
    credentials.apply(tenant.epoch, &connector("corp"), NOW, changes.into()).await.expect("the pass writes");
}

#[tokio::test]
async fn an_export_that_deletes_waits_for_a_sign_out_without_its_record() {
    let (tenant, _) = furnished().await;
    let sign_out = "UPDATE session SET ended_at = 1 WHERE sid = 'a1'";
    beside(&tenant, sign_out, RECORD, tenant.accepted([delete("a1")])).await;
    assert_eq!(tenant.texts("SELECT stage FROM credential ORDER BY anchor").await, ["wiped", "sealed"]);
}

#[tokio::test]
async fn a_pass_that_ends_accounts_waits_for_a_late_refusal_without_its_records() {
    let (tenant, _) = furnished().await;
    let late = "UPDATE tenant_user SET security_stamp = 'late' WHERE source_anchor = 'a2'";
    beside(&tenant, late, RECORD, pass(&tenant, [ended("a1"), ended("a2")])).await;
    let told = "SELECT CAST(COUNT(*) AS BIGINT) FROM audit WHERE kind = 'account-state-changed'";
    assert_eq!(tenant.number(told).await, 2);
}

#[tokio::test]
async fn a_pass_that_quarantines_waits_for_the_mark_of_a_sign_in_without_its_records() {
    let (tenant, _) = furnished().await;
    let mark = "UPDATE credential SET outdated_at = 1, outdated_by = 'live' WHERE anchor = 'a2'";
    beside(&tenant, mark, RECORD, pass(&tenant, [quarantined("a1"), quarantined("a2")])).await;
    let told = "SELECT CAST(COUNT(*) AS BIGINT) FROM audit WHERE kind = 'credential-quarantined'";
    assert_eq!(tenant.number(told).await, 2);
}

#[tokio::test]
async fn a_pass_waits_for_an_export_before_it_locks_credential_sources() {
    let (tenant, _) = furnished().await;
    let export = "UPDATE counter SET value = value WHERE name = 'change_feed'; \
                  UPDATE tenant_user SET updated_at = updated_at WHERE source_anchor = 'a1'";
    let then = "UPDATE credential_source SET eligible = eligible WHERE anchor = 'a1'";
    let change = AccountChange { state: ended("a1").state, ..quarantined("a1") };
    beside(&tenant, export, then, pass(&tenant, [change, quarantined("a2")])).await;
    assert_eq!(tenant.texts("SELECT stage FROM credential ORDER BY anchor").await, ["quarantined", "quarantined"]);
}

#[tokio::test]
async fn a_late_refusal_locks_the_user_before_the_sessions_as_an_export_does() {
    let (tenant, oids) = furnished().await;
    let ObjectId::User(oid) = oids[0] else { panic!("a user has a user's oid") };
    let attempt = AttemptId::random();
    let of_attempt = format!("UPDATE session SET attempt = '{attempt}' WHERE sid = 'a1'").leak();
    tenant.execute(of_attempt).await;
    let late = Late {
        attempt,
        at: NOW,
        settlement: Settlement::Return,
        limits: Limits::new(&LockoutSettings::default(), None, Managed::Phs),
        learned: Learned::Nothing,
        revoke: Some(oid),
        event: event(EventKind::LateVerdict),
    };
    let export = "UPDATE tenant_user SET updated_at = updated_at WHERE source_anchor = 'a1'";
    let then = "UPDATE session SET expires_at = expires_at WHERE sid = 'a1'";
    let sign_in = SignInTables::new(tenant.db.clone(), audit(&tenant));
    beside(&tenant, export, then, sign_in.late(late)).await.expect("the late refusal is written");
    assert_eq!(tenant.texts("SELECT end_reason FROM session WHERE sid = 'a1'").await, ["late-refusal"]);
}
