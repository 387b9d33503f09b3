//! What ends for good: objects whose soft delete is old enough (design D22), and changes that everybody has read.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row;

use super::super::audit::AuditLog;
use super::super::connection::Connection;
use super::super::error::StoreError;
use super::super::lease;
use super::super::writer::Urgency;
use super::feed::Feed;
use super::links;
use super::sql::{Cell, keys, where_in};
use super::store::TenantStore;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::LeaseEpoch;
use crate::tenant::ChangeOperation;

/// How long a deleted object can be restored, with its `oid`.
const RESTORABLE: Duration = Duration::from_secs(30 * 86_400);
/// How long the change feed is kept: longer than what it tells of deleted objects could be asked for.
const FEED_KEPT: Duration = Duration::from_secs(35 * 86_400);
/// Objects, and rows of the feed, that go in one transaction: bulk writes yield to sign-ins (design D3).
const PURGED_AT_ONCE: i64 = 100;
const TRIMMED_AT_ONCE: i64 = 1000;

/// What refers to a user by `oid` alone.
const OF_USER: [&str; 8] = [
    "DELETE FROM quarantined_value WHERE oid",
    "DELETE FROM upn_history WHERE oid",
    "DELETE FROM sign_in_name WHERE oid",
    "DELETE FROM unique_value WHERE owner",
    "DELETE FROM familiar_device WHERE oid",
    "DELETE FROM lockout WHERE in_flight = 0 AND subject",
    "DELETE FROM wrong_password WHERE subject",
    "DELETE FROM credential_source WHERE oid",
];
/// What is kept by credential source, of sources that are no user's any more: a deleted user's link ended with the delete.
/// Which rows are old enough, and what removes them if they still are nobody's.
const OF_SOURCE: [(&str, &str); 3] = [
    (
        "SELECT connector, anchor FROM credential x WHERE stage = 'wiped' AND confirmed_at < $1",
        "DELETE FROM credential WHERE stage = 'wiped' AND NOT EXISTS (SELECT 1 FROM credential_source s \
         WHERE s.connector = credential.connector AND s.anchor = credential.anchor) AND (connector, anchor)",
    ),
    (
        "SELECT connector, anchor FROM directory_state x WHERE observed_at < $1",
        "DELETE FROM directory_state WHERE NOT EXISTS (SELECT 1 FROM credential_source s \
         WHERE s.connector = directory_state.connector AND s.anchor = directory_state.anchor) AND (connector, anchor)",
    ),
    (
        "SELECT connector, anchor FROM account_refusal x WHERE at < $1",
        "DELETE FROM account_refusal WHERE NOT EXISTS (SELECT 1 FROM credential_source s \
         WHERE s.connector = account_refusal.connector AND s.anchor = account_refusal.anchor) AND (connector, anchor)",
    ),
];
const OF_PLAIN: [&str; 3] = [
    "DELETE FROM quarantined_value WHERE oid",
    "DELETE FROM unique_value WHERE owner",
    "DELETE FROM tenant_plain WHERE oid",
];
const OF_GROUP: [&str; 4] = [
    "DELETE FROM quarantined_value WHERE oid",
    "DELETE FROM unique_value WHERE owner",
    "DELETE FROM membership WHERE group_oid",
    "DELETE FROM membership_waiting WHERE group_oid",
];

impl TenantStore {
    /// Removes what can no longer be restored, by the database's time. Returns how many objects went.
    pub async fn purge_deleted(&self, epoch: LeaseEpoch, audit: &AuditLog) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let (audit, now) = (audit.clone(), self.now());
            let gone = self
                .db
                .write(Urgency::Bulk, move |conn| {
                    Box::pin(async move {
                        lease::check_epoch(conn, epoch).await?;
                        let mut feed = Feed::lock(conn, now).await?;
                        let gone = purge_some(conn, &mut feed, &audit).await?;
                        feed.close(conn).await?;
                        Ok::<_, StoreError>(gone)
                    })
                })
                .await?;
            if gone == 0 {
                return Ok(purged);
            }
            purged += gone;
        }
    }

    /// Removes what is kept of credential sources that are nobody's, once it is as old as a delete that cannot be undone.
    /// Returns how many sources went from a table.
    pub async fn forget_sources(&self, epoch: LeaseEpoch) -> Result<u64, StoreError> {
        let mut conn = self.db.reader("reading the database's clock").await?;
        let before = lease::database_time(&mut conn).await?.saturating_sub(millis(RESTORABLE));
        drop(conn);
        let mut forgotten = 0;
        for (old, remove) in OF_SOURCE {
            loop {
                // Looked for outside the writer, and looked at again within.
                let sql = format!(
                    "{old} AND NOT EXISTS (SELECT 1 FROM credential_source s WHERE s.connector = x.connector \
                     AND s.anchor = x.anchor) LIMIT $2"
                );
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                    .bind(before)
                    .bind(PURGED_AT_ONCE)
                    .fetch_all(self.db.read())
                    .await
                    .map_err(StoreError::doing("looking for credential sources that are nobody's"))?;
                if rows.is_empty() {
                    break;
                }
                forgotten += rows.len() as u64;
                let sources: Vec<Vec<Cell>> = rows
                    .iter()
                    .map(|row| vec![row.get::<String, _>("connector").into(), row.get::<String, _>("anchor").into()])
                    .collect();
                let removed: Result<(), StoreError> = self
                    .db
                    .write(Urgency::Bulk, move |conn| {
                        Box::pin(async move {
                            lease::check_epoch(conn, epoch).await?;
                            where_in(conn, remove, "", &sources, "removing what was kept of a source").await?;
                            Ok(())
                        })
                    })
                    .await;
                removed?;
            }
        }
        Ok(forgotten)
    }

    /// Drops the changes before number `read`, once they are old enough by the database's time: that one is what a reader is
    /// known by when it comes again. Returns how many went.
    pub async fn trim_feed(&self, epoch: LeaseEpoch, read: i64) -> Result<u64, StoreError> {
        let mut trimmed = 0;
        loop {
            let gone = self
                .db
                .write(Urgency::Bulk, move |conn| {
                    Box::pin(async move {
                        lease::check_epoch(conn, epoch).await?;
                        let before = lease::database_time(conn).await?.saturating_sub(millis(FEED_KEPT));
                        let done = sqlx::query(
                            "DELETE FROM change_feed WHERE number IN (SELECT number FROM change_feed \
                             WHERE number < $1 AND at < $2 ORDER BY number LIMIT $3)",
                        )
                        .bind(read)
                        .bind(before)
                        .bind(TRIMMED_AT_ONCE)
                        .execute(conn)
                        .await
                        .map_err(StoreError::doing("trimming the change feed"))?;
                        Ok::<_, StoreError>(done.rows_affected())
                    })
                })
                .await?;
            if gone == 0 {
                return Ok(trimmed);
            }
            trimmed += gone;
        }
    }
}

async fn purge_some(conn: &mut Connection, feed: &mut Feed, audit: &AuditLog) -> Result<u64, StoreError> {
    let before = lease::database_time(conn).await?.saturating_sub(millis(RESTORABLE));
    let users = old_enough(conn, "SELECT oid, source_anchor FROM tenant_user", before).await?;
    let groups = old_enough(conn, "SELECT oid, source_anchor FROM tenant_group", before).await?;
    let plains = old_enough(conn, "SELECT oid, source_anchor FROM tenant_plain", before).await?;
    if users.is_empty() && groups.is_empty() && plains.is_empty() {
        return Ok(0);
    }
    for kind in ["contact", "device"] {
        leave_groups(conn, feed, kind, &plains).await?;
    }
    let plain_oids = keys(plains.keys().cloned());
    for sql in OF_PLAIN {
        where_in(conn, sql, "", &plain_oids, "purging contacts and devices").await?;
    }
    leave_groups(conn, feed, "user", &users).await?;
    leave_groups(conn, feed, "group", &groups).await?;
    let oids = keys(users.keys().cloned());
    for sql in OF_USER {
        where_in(conn, sql, "", &oids, "removing what a purged user had").await?;
    }
    where_in(conn, "DELETE FROM tenant_user WHERE oid", "", &oids, "purging users").await?;
    let group_oids = keys(groups.keys().cloned());
    for sql in OF_GROUP {
        where_in(conn, sql, "", &group_oids, "removing what a purged group had").await?;
    }
    where_in(conn, "DELETE FROM tenant_group WHERE oid", "", &group_oids, "purging groups").await?;
    let list = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    let event = Event::new(EventKind::DirectoryPurged, Outcome::Success, Actor::System("housekeeping".to_owned()))
        .because("deleted-30-days-ago")
        .with("users", list(&users))
        .with("groups", list(&groups))
        .with("contacts_and_devices", list(&plains));
    audit.append(conn, event).await?;
    Ok((users.len() + groups.len() + plains.len()) as u64)
}

/// Source anchors by `oid`.
type Objects = BTreeMap<String, Option<String>>;

async fn old_enough(conn: &mut Connection, select: &'static str, before: i64) -> Result<Objects, StoreError> {
    let sql = format!("{select} WHERE deleted_at < $1 ORDER BY deleted_at, oid LIMIT $2");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(before)
        .bind(PURGED_AT_ONCE)
        .fetch_all(conn)
        .await
        .map_err(StoreError::doing("looking for deleted objects to purge"))?;
    Ok(rows.iter().map(|row| (row.get("oid"), row.get("source_anchor"))).collect())
}

/// Takes the objects out of their groups. The feed names them by anchor: their `oid` can no longer be looked up.
async fn leave_groups(conn: &mut Connection, feed: &mut Feed, kind: &str, objects: &Objects) -> Result<(), StoreError> {
    let members: Vec<Vec<Cell>> = objects.keys().map(|oid| vec![kind.into(), oid.clone().into()]).collect();
    let head = "DELETE FROM membership WHERE (member_kind, member_oid)";
    let rows = where_in(conn, head, "RETURNING group_oid, member_oid", &members, "ending memberships").await?;
    let mut counts = BTreeMap::new();
    for row in &rows {
        let (group, member): (String, String) = (row.get("group_oid"), row.get("member_oid"));
        if let Some(Some(anchor)) = objects.get(&member) {
            feed.note("member", group.clone(), Some(format!("anchor:{anchor}")), ChangeOperation::Delete);
        }
        *counts.entry(group).or_insert(0) -= 1;
    }
    links::add_to_counts(conn, counts).await
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
