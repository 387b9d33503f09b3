//! Sessions, and all that may have ended them, in one query.

use async_trait::async_trait;
use sqlx::Row;

use super::{SignInTables, down, unreadable};
use crate::audit::Event;
use crate::identity::{AttemptId, ClientId, SessionId, Timestamp, UserId};
use crate::signin::Session;
use crate::signin::session::{CredentialNow, Liveness, NewSession};
use crate::signin::store::{SessionKey, Sessions, StoreDown};
use crate::store::tenant::sql::{keys, where_in};
use crate::store::{Connection, StoreError, Urgency};

/// Sessions that are removed in one transaction.
const PURGED_AT_ONCE: i64 = 200;

impl SignInTables {
    /// Removes sessions that expired before `before` and on which no grant rests. Returns how many went.
    pub async fn purge_sessions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            // Looked for outside the writer; whoever has expired stays so.
            let rows = sqlx::query(
                "SELECT sid FROM session WHERE expires_at <= $1 \
                 AND NOT EXISTS (SELECT 1 FROM refresh_grant g WHERE g.sid = session.sid) LIMIT $2",
            )
            .bind(before.millis())
            .bind(PURGED_AT_ONCE)
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("looking for expired sessions"))?;
            if rows.is_empty() {
                return Ok(purged);
            }
            purged += rows.len() as u64;
            let sids = keys(rows.iter().map(|row| row.get::<String, _>("sid")));
            let removed: Result<(), StoreError> = self
                .db
                .write(Urgency::Bulk, move |conn| {
                    Box::pin(async move {
                        for sql in ["DELETE FROM session_client WHERE sid", "DELETE FROM session WHERE sid"] {
                            where_in(conn, sql, "", &sids, "removing expired sessions").await?;
                        }
                        Ok(())
                    })
                })
                .await;
            removed?;
        }
    }
}

#[async_trait]
impl Sessions for SignInTables {
    async fn session(&self, key: SessionKey) -> Result<Option<Liveness>, StoreDown> {
        const SELECT: &str = "SELECT s.sid, s.oid, s.domain, s.method, s.authority, s.failover, s.attempt, s.amr, \
             s.auth_time, s.expires_at, s.ended_at, s.credential_version, s.security_stamp, s.password_set, \
             u.security_stamp AS stamp_now, u.deleted_at, u.account_enabled, d.state AS directory_state, \
             c.version AS version_now, c.stage, c.password_set AS password_set_now \
             FROM session s JOIN tenant_user u ON u.oid = s.oid LEFT JOIN credential_source cs ON cs.oid = s.oid \
             LEFT JOIN directory_state d ON d.connector = cs.connector AND d.anchor = cs.anchor \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor";
        let (column, value) = match key {
            SessionKey::CookieHash(hash) => ("s.cookie_hash", hash),
            SessionKey::Sid(sid) => ("s.sid", sid.to_string()),
        };
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE {column} = $1")))
            .bind(value)
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading a session"))
            .map_err(down)?;
        row.map(|row| read(&row)).transpose().map_err(down)
    }

    async fn used_by(&self, sid: SessionId, client: ClientId, at: Timestamp) -> Result<(), StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| Box::pin(async move { note_client(conn, sid, &client, at).await }))
            .await
            .map_err(down)
    }

    async fn end(&self, sid: SessionId, reason: &'static str, event: Event, at: Timestamp) -> Result<bool, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE session SET ended_at = $2, end_reason = $3 WHERE sid = $1 AND ended_at IS NULL",
                    )
                    .bind(sid.to_string())
                    .bind(at.millis())
                    .bind(reason)
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("ending a session"))?;
                    let ended = done.rows_affected() > 0;
                    if ended {
                        audit.append(conn, event).await?;
                    }
                    Ok(ended)
                })
            })
            .await
            .map_err(down)
    }

    async fn revoke(&self, oid: UserId, at: Timestamp) -> Result<u64, StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    // Before the sessions: one that is being opened compares with the stamp that was read before.
                    move_stamp(conn, oid).await?;
                    let ended = sqlx::query(
                        "UPDATE session SET ended_at = $2, end_reason = 'revoked' \
                         WHERE oid = $1 AND ended_at IS NULL AND expires_at > $2",
                    )
                    .bind(oid.to_string())
                    .bind(at.millis())
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("revoking a user's sessions"))?;
                    Ok(ended.rows_affected())
                })
            })
            .await
            .map_err(down)
    }
}

pub(super) async fn open(conn: &mut Connection, new: NewSession, at: Timestamp) -> Result<(), StoreError> {
    let session = new.session;
    if let Some(former) = &new.replaces {
        expire(conn, former, at).await?;
    }
    let amr = serde_json::to_string(&session.amr).map_err(|e| unreadable("session", "amr", e))?;
    sqlx::query(
        "INSERT INTO session (sid, cookie_hash, oid, domain, security_stamp, credential_version, password_set, method, \
         authority, failover, attempt, amr, auth_time, expires_at, ended_at, end_reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, NULL, NULL)",
    )
    .bind(session.sid.to_string())
    .bind(new.cookie_hash)
    .bind(session.oid.to_string())
    .bind(session.domain.to_string())
    .bind(new.security_stamp)
    .bind(session.credential_version)
    .bind(new.password_set.map(Timestamp::millis))
    .bind(session.method.as_str())
    .bind(session.authority)
    .bind(i64::from(session.failover))
    .bind(session.attempt.to_string())
    .bind(amr)
    .bind(session.auth_time.millis())
    .bind(session.expires_at.millis())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("opening a session"))?;
    note_client(conn, session.sid, &new.client, session.auth_time).await
}

/// Makes a cookie worthless whose place in the browser another one takes. What applications were granted by its session
/// stays: nobody signed out of them.
async fn expire(conn: &mut Connection, cookie_hash: &str, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE session SET expires_at = $2 WHERE cookie_hash = $1 AND ended_at IS NULL AND expires_at > $2")
        .bind(cookie_hash)
        .bind(at.millis())
        .execute(conn)
        .await
        .map_err(StoreError::doing("ending the session that another one replaces"))?;
    Ok(())
}

/// Ends what an attempt was granted.
pub(super) async fn end_attempt(conn: &mut Connection, attempt: AttemptId, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE session SET ended_at = $2, end_reason = 'late-refusal' WHERE attempt = $1 AND ended_at IS NULL",
    )
    .bind(attempt.to_string())
    .bind(at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("ending the session of a refused attempt"))?;
    Ok(())
}

/// A moved security stamp ends every session, code and grant of the user (design D23).
pub(super) async fn move_stamp(conn: &mut Connection, oid: UserId) -> Result<(), StoreError> {
    sqlx::query("UPDATE tenant_user SET security_stamp = $2 WHERE oid = $1")
        .bind(oid.to_string())
        .bind(AttemptId::random().to_string())
        .execute(conn)
        .await
        .map_err(StoreError::doing("moving a user's security stamp"))?;
    Ok(())
}

async fn note_client(
    conn: &mut Connection,
    sid: SessionId,
    client: &ClientId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO session_client (sid, client_id, first_at, last_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (sid, client_id) DO UPDATE SET last_at = $3",
    )
    .bind(sid.to_string())
    .bind(client.as_str())
    .bind(at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("recording a session's client"))?;
    Ok(())
}

fn read(row: &sqlx::any::AnyRow) -> Result<Liveness, StoreError> {
    fn column<T: std::str::FromStr<Err: std::fmt::Display>>(
        row: &sqlx::any::AnyRow,
        name: &'static str,
    ) -> Result<T, StoreError> {
        let text: String = row.get(name);
        text.parse().map_err(|e| unreadable("session", name, e))
    }
    let instant = |name: &str| row.get::<Option<i64>, _>(name).map(Timestamp::from_millis);
    let amr: String = row.get("amr");
    let state: Option<String> = row.get("directory_state");
    let session = Session {
        sid: column(row, "sid")?,
        oid: column(row, "oid")?,
        domain: column(row, "domain")?,
        method: column(row, "method")?,
        authority: row.get("authority"),
        failover: row.get::<i64, _>("failover") != 0,
        attempt: column(row, "attempt")?,
        amr: serde_json::from_str(&amr).map_err(|e| unreadable("session", "amr", e))?,
        auth_time: Timestamp::from_millis(row.get("auth_time")),
        expires_at: Timestamp::from_millis(row.get("expires_at")),
        credential_version: row.get("credential_version"),
    };
    let credential = row.get::<Option<i64>, _>("version_now").map(|version| CredentialNow {
        version,
        wiped: row.get::<Option<String>, _>("stage").as_deref() == Some("wiped"),
        password_set: instant("password_set_now"),
    });
    Ok(Liveness {
        session,
        ended: row.get::<Option<i64>, _>("ended_at").is_some(),
        stamp_then: row.get("security_stamp"),
        stamp_now: row.get("stamp_now"),
        user_deleted: row.get::<Option<i64>, _>("deleted_at").is_some(),
        account_enabled: row.get::<i64, _>("account_enabled") != 0,
        directory_state: state
            .map(|state| serde_json::from_str(&state).map_err(|e| unreadable("directory_state", "state", e)))
            .transpose()?,
        password_set: instant("password_set"),
        credential,
    })
}
