//! Where wrong passwords come from: what slows a network that tries many names, and what reports are made of.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{SignInTables, down, unreadable};
use crate::identity::{Timestamp, UserId};
use crate::signin::lockout::SprayLimits;
use crate::signin::lockout_report::{NetworkTries, PlaceTries, UserTries};
use crate::signin::store::{StoreDown, WrongTries};
use crate::store::{Connection, StoreError};

/// A try at a password that did not succeed.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    pub subject: &'a str,
    /// Empty when a balancer hides it.
    pub network: &'a str,
    pub familiar: bool,
    pub at: Timestamp,
}

/// Names that failed from unknown devices of the network `$1` after `$2`, and did not succeed since.
const IN_VAIN: &str = "network = $1 AND last_at > $2 AND familiar = 0 AND tries > 0 \
     AND (succeeded_at IS NULL OR succeeded_at < last_at)";

/// How long a try from an unknown device of `network` has to wait; `None`: not at all. Of a network that tries many
/// names in vain, on whichever nodes, one try passes in each pause.
pub(super) async fn slow_down(
    conn: &mut Connection,
    network: &str,
    limits: &SprayLimits,
    at: Timestamp,
) -> Result<Option<Duration>, StoreError> {
    let doing = || StoreError::doing("looking for a password spray");
    let (now, since) = (at.millis(), at.millis().saturating_sub(limits.window_ms));
    let counted = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) AS names FROM (SELECT subject FROM wrong_try WHERE {IN_VAIN} LIMIT $3) found"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(counted))
        .bind(network)
        .bind(since)
        .bind(i64::from(limits.names))
        .fetch_one(&mut *conn)
        .await
        .map_err(doing())?;
    if row.get::<i64, _>("names") < i64::from(limits.names) {
        return Ok(None);
    }
    let passed = sqlx::query(
        "INSERT INTO slowed_network (network, since, next_at) VALUES ($1, $2, $3) \
         ON CONFLICT (network) DO UPDATE SET next_at = $3, \
         since = CASE WHEN slowed_network.next_at <= $4 THEN $2 ELSE slowed_network.since END \
         WHERE slowed_network.next_at <= $2 RETURNING since",
    )
    .bind(network)
    .bind(now)
    .bind(now.saturating_add(limits.pause_ms))
    .bind(since)
    .fetch_optional(&mut *conn)
    .await
    .map_err(doing())?;
    if passed.is_some() {
        return Ok(None);
    }
    let row = sqlx::query("SELECT next_at FROM slowed_network WHERE network = $1")
        .bind(network)
        .fetch_optional(conn)
        .await
        .map_err(doing())?;
    let next_at = row.map_or(now, |row| row.get::<i64, _>("next_at"));
    Ok(Some(Duration::from_millis(next_at.saturating_sub(now).max(1).unsigned_abs())))
}

/// Notes a wrong password.
pub(super) async fn failed(conn: &mut Connection, from: Failure<'_>, is_new: bool) -> Result<(), StoreError> {
    note(conn, from, [1, i64::from(!is_new), 0]).await
}

/// Notes a try that nobody checked.
pub(super) async fn turned_away(conn: &mut Connection, from: Failure<'_>) -> Result<(), StoreError> {
    note(conn, from, [0, 0, 1]).await
}

async fn note(conn: &mut Connection, from: Failure<'_>, counts: [i64; 3]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO wrong_try (subject, network, familiar, tries, repeated, turned_away, first_at, last_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (subject, network, familiar) DO UPDATE SET \
         tries = wrong_try.tries + $4, repeated = wrong_try.repeated + $5, \
         turned_away = wrong_try.turned_away + $6, last_at = $7",
    )
    .bind(from.subject)
    .bind(from.network)
    .bind(i64::from(from.familiar))
    .bind(counts[0])
    .bind(counts[1])
    .bind(counts[2])
    .bind(from.at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("noting a wrong try"))?;
    Ok(())
}

/// Notes that whoever failed from there is in by now.
pub(super) async fn succeeded(conn: &mut Connection, from: Failure<'_>) -> Result<(), StoreError> {
    sqlx::query("UPDATE wrong_try SET succeeded_at = $3 WHERE subject = $1 AND network = $2")
        .bind(from.subject)
        .bind(from.network)
        .bind(from.at.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("noting a success after wrong tries"))?;
    Ok(())
}

/// Forgets what is older than `evidence`.
pub(super) async fn sweep(conn: &mut Connection, evidence: Timestamp) -> Result<(), StoreError> {
    for sql in ["DELETE FROM wrong_try WHERE last_at <= $1", "DELETE FROM slowed_network WHERE next_at <= $1"] {
        sqlx::query(sql)
            .bind(evidence.millis())
            .execute(&mut *conn)
            .await
            .map_err(StoreError::doing("forgetting old tries"))?;
    }
    Ok(())
}

#[async_trait]
impl WrongTries for SignInTables {
    async fn wrong_tries(
        &self,
        since: Timestamp,
        only: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<UserTries>, StoreDown> {
        // Known users first: a subject that is no user has no row of its own.
        let rows = sqlx::query(
            "SELECT w.subject, w.network, w.familiar, w.tries, w.repeated, w.turned_away, w.first_at, w.last_at, \
             w.succeeded_at, u.upn, (SELECT CAST(MAX(l.locked_until) AS BIGINT) FROM lockout l \
              WHERE l.subject = w.subject) AS locked_until, t.weight \
             FROM (SELECT subject, CAST(SUM(tries + turned_away) AS BIGINT) AS weight FROM wrong_try \
              WHERE last_at >= $1 AND subject NOT LIKE 'unknown:%' AND ($3 = '' OR subject = $3) \
              GROUP BY subject ORDER BY weight DESC, subject LIMIT $2) t \
             JOIN wrong_try w ON w.subject = t.subject AND w.last_at >= $1 \
             LEFT JOIN tenant_user u ON u.oid = w.subject \
             ORDER BY t.weight DESC, w.subject, w.last_at DESC, w.network, w.familiar",
        )
        .bind(since.millis())
        .bind(i64::from(limit))
        .bind(only.map(|oid| oid.to_string()).unwrap_or_default())
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading wrong tries"))
        .map_err(down)?;
        let mut users: Vec<UserTries> = Vec::new();
        for row in &rows {
            let subject: String = row.get("subject");
            let oid: UserId = subject.parse().map_err(|e| down(unreadable("wrong_try", "subject", e)))?;
            let place = place(row);
            match users.last_mut().filter(|user| user.oid == oid) {
                Some(user) => user.places.push(place),
                None => users.push(UserTries {
                    oid,
                    upn: row.get("upn"),
                    locked_until: time(row, "locked_until").filter(|until| until.millis() > 0),
                    places: vec![place],
                }),
            }
        }
        Ok(users)
    }

    async fn networks(&self, since: Timestamp, limit: u32) -> Result<Vec<NetworkTries>, StoreDown> {
        let rows = sqlx::query(
            "SELECT w.network, CAST(SUM(CASE WHEN w.familiar = 0 AND w.subject NOT LIKE 'unknown:%' \
              AND (w.succeeded_at IS NULL OR w.succeeded_at < w.last_at) THEN 1 ELSE 0 END) AS BIGINT) AS users, \
             CAST(SUM(CASE WHEN w.subject LIKE 'unknown:%' THEN 1 ELSE 0 END) AS BIGINT) AS unknown_names, \
             CAST(SUM(w.tries) AS BIGINT) AS tries, CAST(SUM(w.turned_away) AS BIGINT) AS turned_away, \
             CAST(SUM(CASE WHEN w.subject LIKE 'unknown:%' THEN 1 WHEN w.familiar = 0 \
              AND (w.succeeded_at IS NULL OR w.succeeded_at < w.last_at) THEN 1 ELSE 0 END) AS BIGINT) AS names, \
             MIN(w.first_at) AS first_at, MAX(w.last_at) AS last_at, \
             (SELECT s.since FROM slowed_network s WHERE s.network = w.network AND s.next_at >= $1) AS slowed_since \
             FROM wrong_try w WHERE w.last_at >= $1 AND w.network <> '' GROUP BY w.network \
             ORDER BY names DESC, w.network LIMIT $2",
        )
        .bind(since.millis())
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the networks of wrong tries"))
        .map_err(down)?;
        let network = |row: &AnyRow| NetworkTries {
            network: row.get("network"),
            users: count(row, "users"),
            unknown_names: count(row, "unknown_names"),
            tries: count(row, "tries"),
            turned_away: count(row, "turned_away"),
            first_at: Timestamp::from_millis(row.get("first_at")),
            last_at: Timestamp::from_millis(row.get("last_at")),
            slowed_since: time(row, "slowed_since"),
        };
        Ok(rows.iter().map(network).collect())
    }

    async fn was_slowed(&self, network: &str, since: Timestamp) -> Result<bool, StoreDown> {
        let row = sqlx::query("SELECT 1 FROM slowed_network WHERE network = $1 AND next_at > $2")
            .bind(network.to_owned())
            .bind(since.millis())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("looking for a slowed network"))
            .map_err(down)?;
        Ok(row.is_some())
    }
}

fn place(row: &AnyRow) -> PlaceTries {
    let network: String = row.get("network");
    PlaceTries {
        network: Some(network).filter(|network| !network.is_empty()),
        familiar: row.get::<i64, _>("familiar") == 1,
        tries: count(row, "tries"),
        repeated: count(row, "repeated"),
        turned_away: count(row, "turned_away"),
        first_at: Timestamp::from_millis(row.get("first_at")),
        last_at: Timestamp::from_millis(row.get("last_at")),
        succeeded_at: time(row, "succeeded_at"),
    }
}

fn count(row: &AnyRow, column: &str) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}

fn time(row: &AnyRow, column: &str) -> Option<Timestamp> {
    row.get::<Option<i64>, _>(column).map(Timestamp::from_millis)
}
