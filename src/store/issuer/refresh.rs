//! Refresh tokens: one transaction reads the token's place in its family, decides, and rotates or revokes.

use sqlx::Row;

use super::codes::issued;
use super::facts::{self, grant_columns, present_columns, present_joins};
use super::grants::revoke_grant;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::Timestamp;
use crate::issuer::opaque::OpaqueHash;
use crate::issuer::refresh::{Decision, Presented, RefreshRefusal, decide};
use crate::issuer::standing::standing;
use crate::issuer::store::{Granted, RefreshRequest};
use crate::store::audit::AuditLog;
use crate::store::{Connection, StoreError};

pub(super) async fn refresh(
    conn: &mut Connection,
    audit: &AuditLog,
    asked: RefreshRequest,
) -> Result<Result<Granted, RefreshRefusal>, StoreError> {
    // INVARIANT: the grant's row is written before its tokens are read, so that uses of one family follow each other.
    let locked = sqlx::query(
        "UPDATE refresh_grant SET uses = uses + 1 \
         WHERE grant_id = (SELECT grant_id FROM refresh_token WHERE token_hash = $1)",
    )
    .bind(asked.token.as_str())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("locking a grant"))?;
    if locked.rows_affected() == 0 {
        return Ok(Err(RefreshRefusal::Unknown));
    }
    let row = sqlx::query(concat!(
        "SELECT t.expires_at AS token_expires_at, t.used_at, \
         (SELECT CAST(COUNT(*) AS BIGINT) FROM refresh_token k \
          WHERE k.predecessor = t.token_hash AND k.used_at IS NOT NULL) AS successors_used, \
         (SELECT CAST(COUNT(*) AS BIGINT) FROM refresh_token k \
          WHERE k.predecessor = t.predecessor AND k.token_hash <> t.token_hash AND k.used_at IS NOT NULL) \
          AS siblings_used, ",
        grant_columns!(),
        ", ",
        present_columns!(),
        " FROM refresh_token t JOIN refresh_grant x ON x.grant_id = t.grant_id",
        present_joins!(),
        "WHERE t.token_hash = $1"
    ))
    .bind(asked.token.as_str())
    .fetch_one(&mut *conn)
    .await
    .map_err(StoreError::doing("reading a refresh token"))?;
    let grant = facts::grant(&row)?;
    let grant_expires_at = Timestamp::from_millis(row.get("grant_expires_at"));
    let presented = Presented {
        expires_at: Timestamp::from_millis(row.get("token_expires_at")),
        used_at: row.get::<Option<i64>, _>("used_at").map(Timestamp::from_millis),
        successor_used: row.get::<i64, _>("successors_used") > 0,
        sibling_used: row.get::<i64, _>("siblings_used") > 0,
        grant_expires_at,
        revoked: row.get::<Option<i64>, _>("revoked_at").is_some(),
        same_client: grant.client == asked.client,
        granted: grant.scope,
        wanted: asked.wanted,
    };
    let stands = standing(&facts::recorded(&row), &facts::present(&row), asked.now);
    let refusal = match decide(&presented, stands, asked.now) {
        Decision::Rotate { scope, repeated } => {
            rotate(conn, &asked, &grant.id.to_string(), grant_expires_at).await?;
            let event = issued(EventKind::TokenRefreshed, &asked.client, &grant).with("repeated", repeated);
            audit.append(conn, event).await?;
            return Ok(Ok(Granted { holder: facts::holder(&row), grant, scope, nonce: None, refreshable: true }));
        }
        Decision::Revoke(refusal) => {
            let (id, actor) = (grant.id.to_string(), Actor::Client(asked.client.clone()));
            revoke_grant(conn, audit, &id, refusal.code(), actor, asked.now).await?;
            refusal
        }
        Decision::Refuse(refusal) => refusal,
    };
    let event = Event::new(EventKind::TokenRefused, Outcome::Refused, Actor::Client(asked.client));
    audit.append(conn, event.about(grant.oid).because(refusal.code()).with("grant", grant.id.to_string())).await?;
    Ok(Err(refusal))
}

async fn rotate(
    conn: &mut Connection,
    asked: &RefreshRequest,
    grant: &str,
    grant_expires_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE refresh_token SET used_at = COALESCE(used_at, $2) WHERE token_hash = $1")
        .bind(asked.token.as_str())
        .bind(asked.now.millis())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("marking a refresh token as used"))?;
    let expires_at = asked.inactivity.min(grant_expires_at);
    add_token(conn, &asked.successor, grant, Some(&asked.token), asked.now, expires_at).await
}

pub(super) async fn add_token(
    conn: &mut Connection,
    token: &OpaqueHash,
    grant: &str,
    predecessor: Option<&OpaqueHash>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO refresh_token (token_hash, grant_id, predecessor, issued_at, expires_at, used_at) \
         VALUES ($1, $2, $3, $4, $5, NULL)",
    )
    .bind(token.as_str())
    .bind(grant)
    .bind(predecessor.map(|hash| hash.as_str().to_owned()))
    .bind(now.millis())
    .bind(expires_at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("keeping a refresh token"))?;
    Ok(())
}
