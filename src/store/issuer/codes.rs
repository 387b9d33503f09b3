//! Authorization codes: kept for a session that stands, traded once.

use sqlx::Row;

use super::facts::{present_columns, present_joins};
use super::grants::revoke_grant;
use super::{facts, from_json, parsed, to_json};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{ClientId, SessionId, Timestamp, UserId};
use crate::issuer::AuthorizationRequest;
use crate::issuer::grant::{AuthenticationContext, Grant};
use crate::issuer::redemption::{self, CodeRefusal};
use crate::issuer::standing::{Ended, session_standing, standing};
use crate::issuer::store::{Granted, NewCode, Redemption};
use crate::store::audit::AuditLog;
use crate::store::{Connection, StoreError};

const TABLE: &str = "authorization_code";

pub(super) async fn issue(
    conn: &mut Connection,
    audit: &AuditLog,
    code: NewCode,
) -> Result<Result<(), Ended>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT x.security_stamp, x.credential_version, ",
        present_columns!(),
        " FROM session x",
        present_joins!(),
        "WHERE x.sid = $1 AND x.oid = $2"
    ))
    .bind(code.sid.to_string())
    .bind(code.oid.to_string())
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("reading a session for a code"))?;
    let event = |outcome| {
        Event::new(EventKind::CodeIssued, outcome, Actor::User(code.oid))
            .about(&code.request.client)
            .with("sid", code.sid.to_string())
    };
    let recorded = row.as_ref().map(facts::recorded);
    let judged = match (&row, &recorded) {
        (Some(row), Some(recorded)) => session_standing(recorded, &facts::present(row), code.now),
        _ => Err(Ended::Session),
    };
    let recorded = match (judged, recorded) {
        (Ok(()), Some(recorded)) => recorded,
        (judged, _) => {
            let ended = judged.err().unwrap_or(Ended::Session);
            audit.append(conn, event(Outcome::Refused).because(ended.code())).await?;
            return Ok(Err(ended));
        }
    };
    sqlx::query(
        "INSERT INTO authorization_code (code_hash, sid, oid, client_id, request, context, security_stamp, \
         credential_version, issued_at, expires_at, redemptions, grant_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, NULL)",
    )
    .bind(code.hash.as_str())
    .bind(code.sid.to_string())
    .bind(code.oid.to_string())
    .bind(code.request.client.as_str())
    .bind(to_json(TABLE, "request", &code.request)?)
    .bind(to_json(TABLE, "context", &code.context)?)
    .bind(recorded.security_stamp)
    .bind(recorded.credential_version)
    .bind(code.now.millis())
    .bind(code.expires_at.millis())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("keeping a code"))?;
    sqlx::query(
        "INSERT INTO session_client (sid, client_id, first_at, last_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (sid, client_id) DO UPDATE SET last_at = excluded.last_at",
    )
    .bind(code.sid.to_string())
    .bind(code.request.client.as_str())
    .bind(code.now.millis())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("noting a client with its session"))?;
    audit.append(conn, event(Outcome::Success)).await?;
    Ok(Ok(()))
}

pub(super) async fn redeem(
    conn: &mut Connection,
    audit: &AuditLog,
    asked: Redemption,
) -> Result<Result<Granted, CodeRefusal>, StoreError> {
    // Counts first: the row is locked from here on, so that of two redemptions at once the second sees the first.
    let counted = sqlx::query(
        "UPDATE authorization_code SET redemptions = redemptions + 1 WHERE code_hash = $1 AND client_id = $2 \
         RETURNING redemptions",
    )
    .bind(asked.code.as_str())
    .bind(asked.client.as_str())
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("counting a code's redemption"))?;
    let Some(counted) = counted else { return burn(conn, audit, asked).await.map(Err) };
    let row = sqlx::query(concat!(
        "SELECT x.sid, x.oid, x.request, x.context, x.security_stamp, x.credential_version, x.expires_at, x.grant_id, ",
        present_columns!(),
        " FROM authorization_code x",
        present_joins!(),
        "WHERE x.code_hash = $1"
    ))
    .bind(asked.code.as_str())
    .fetch_one(&mut *conn)
    .await
    .map_err(StoreError::doing("reading a code"))?;
    let sid: SessionId = parsed(TABLE, "sid", row.get("sid"))?;
    let oid: UserId = parsed(TABLE, "oid", row.get("oid"))?;
    let request: AuthorizationRequest = from_json(TABLE, "request", row.get("request"))?;
    let expires_at = Timestamp::from_millis(row.get("expires_at"));
    let recorded = facts::recorded(&row);
    let judged = redemption::judge(&request, counted.get("redemptions"), expires_at, &asked.proof, asked.now)
        .and_then(|()| standing(&recorded, &facts::present(&row), asked.now).map_err(CodeRefusal::Ended));
    if let Err(refusal) = judged {
        let given: Option<String> = row.get("grant_id");
        if let (CodeRefusal::Reused, Some(grant)) = (refusal, given) {
            revoke_grant(conn, audit, &grant, refusal.code(), Actor::Client(asked.client.clone()), asked.now).await?;
        }
        let event = Event::new(EventKind::TokenRefused, Outcome::Refused, Actor::Client(asked.client));
        audit.append(conn, event.about(oid).because(refusal.code())).await?;
        return Ok(Err(refusal));
    }
    let context: AuthenticationContext = from_json(TABLE, "context", row.get("context"))?;
    let scope = request.scope;
    let grant = Grant { id: asked.grant, client: asked.client, oid, sid, scope, context };
    let expires_at = asked.lifetimes.grant_expiry(scope, grant.context.failover);
    add_grant(conn, &grant, &recorded, asked.now, expires_at).await?;
    sqlx::query("UPDATE authorization_code SET grant_id = $2 WHERE code_hash = $1")
        .bind(asked.code.as_str())
        .bind(grant.id.to_string())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("noting a code's grant"))?;
    let refreshable = scope.offline_access();
    if refreshable {
        super::refresh::add_token(
            conn,
            &asked.refresh_token,
            &grant.id.to_string(),
            None,
            asked.now,
            asked.lifetimes.inactivity.min(expires_at),
        )
        .await?;
    }
    audit.append(conn, issued(EventKind::TokenIssued, &grant.client, &grant)).await?;
    Ok(Ok(Granted { grant, holder: facts::holder(&row), scope, nonce: request.nonce, refreshable }))
}

/// Makes a code worthless that a client shows to which it was not given, with all that it gave.
async fn burn(conn: &mut Connection, audit: &AuditLog, shown: Redemption) -> Result<CodeRefusal, StoreError> {
    let found = sqlx::query(
        "UPDATE authorization_code SET redemptions = redemptions + 1 WHERE code_hash = $1 RETURNING oid, grant_id",
    )
    .bind(shown.code.as_str())
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("burning a code"))?;
    let Some(row) = found else { return Ok(CodeRefusal::Unknown) };
    let oid: UserId = parsed(TABLE, "oid", row.get("oid"))?;
    let refusal = CodeRefusal::OtherClient;
    if let Some(grant) = row.get::<Option<String>, _>("grant_id") {
        revoke_grant(conn, audit, &grant, refusal.code(), Actor::Client(shown.client.clone()), shown.now).await?;
    }
    let event = Event::new(EventKind::TokenRefused, Outcome::Refused, Actor::Client(shown.client));
    audit.append(conn, event.about(oid).because(refusal.code())).await?;
    Ok(refusal)
}

/// The record of tokens that were given.
pub(super) fn issued(kind: EventKind, client: &ClientId, grant: &Grant) -> Event {
    Event::new(kind, Outcome::Success, Actor::Client(client.clone()))
        .about(grant.oid)
        .with("sid", grant.sid.to_string())
        .with("grant", grant.id.to_string())
        .with("failover", grant.context.failover)
}

async fn add_grant(
    conn: &mut Connection,
    grant: &Grant,
    recorded: &crate::issuer::standing::Recorded,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO refresh_grant (grant_id, sid, oid, client_id, scope, context, security_stamp, \
         credential_version, created_at, expires_at, uses, revoked_at, revoke_reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, NULL, NULL)",
    )
    .bind(grant.id.to_string())
    .bind(grant.sid.to_string())
    .bind(grant.oid.to_string())
    .bind(grant.client.as_str())
    .bind(grant.scope.to_string())
    .bind(to_json("refresh_grant", "context", &grant.context)?)
    .bind(recorded.security_stamp.as_str())
    .bind(recorded.credential_version)
    .bind(now.millis())
    .bind(expires_at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("keeping a grant"))?;
    Ok(())
}
