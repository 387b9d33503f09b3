//! Grants: the trait's door, revocation, groups and the purge.

use async_trait::async_trait;
use sqlx::Row;

use super::facts::{grant_columns, present_columns, present_joins};
use super::{IssuerStore, codes, facts, parsed, refresh};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{ClientId, GroupId, Timestamp, UserId};
use crate::issuer::StoreDown;
use crate::issuer::grant::{Grant, GrantId, Holder};
use crate::issuer::redemption::CodeRefusal;
use crate::issuer::refresh::RefreshRefusal;
use crate::issuer::standing::{Ended, standing};
use crate::issuer::store::{Granted, Grants, NewCode, Redemption, RefreshRequest, Revocable};
use crate::store::audit::AuditLog;
use crate::store::{Connection, StoreError, Urgency};

/// Grants dropped per transaction of the purge (bulk writes yield to sign-ins, design D3).
const PURGE_BATCH: i64 = 200;

#[async_trait]
impl Grants for IssuerStore {
    async fn issue_code(&self, code: NewCode) -> Result<Result<(), Ended>, StoreDown> {
        let audit = self.audit.clone();
        let work =
            self.db.write(Urgency::Waited, move |conn| Box::pin(async move { codes::issue(conn, &audit, code).await }));
        Ok(work.await?)
    }

    async fn redeem_code(&self, redemption: Redemption) -> Result<Result<Granted, CodeRefusal>, StoreDown> {
        let audit = self.audit.clone();
        let work = self
            .db
            .write(Urgency::Waited, move |conn| Box::pin(async move { codes::redeem(conn, &audit, redemption).await }));
        Ok(work.await?)
    }

    async fn refresh(&self, request: RefreshRequest) -> Result<Result<Granted, RefreshRefusal>, StoreDown> {
        let audit = self.audit.clone();
        let work = self
            .db
            .write(Urgency::Waited, move |conn| Box::pin(async move { refresh::refresh(conn, &audit, request).await }));
        Ok(work.await?)
    }

    async fn live_grant(&self, id: GrantId, now: Timestamp) -> Result<Option<(Grant, Holder)>, StoreDown> {
        let row = sqlx::query(concat!(
            "SELECT ",
            grant_columns!(),
            ", ",
            present_columns!(),
            " FROM refresh_grant x",
            present_joins!(),
            "WHERE x.grant_id = $1 AND x.revoked_at IS NULL AND x.expires_at > $2"
        ))
        .bind(id.to_string())
        .bind(now.millis())
        .fetch_optional(self.db.lookups())
        .await
        .map_err(StoreError::doing("reading a grant"))?;
        let Some(row) = row else { return Ok(None) };
        if standing(&facts::recorded(&row), &facts::present(&row), now).is_err() {
            return Ok(None);
        }
        Ok(Some((facts::grant(&row)?, facts::holder(&row))))
    }

    async fn revoke(&self, what: Revocable, client: ClientId, now: Timestamp) -> Result<(), StoreDown> {
        let audit = self.audit.clone();
        let work = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let (sql, key) = match &what {
                    Revocable::RefreshToken(hash) => (
                        "SELECT g.grant_id FROM refresh_grant g JOIN refresh_token t ON t.grant_id = g.grant_id \
                         WHERE t.token_hash = $1 AND g.client_id = $2",
                        hash.as_str().to_owned(),
                    ),
                    Revocable::Grant(id) => {
                        ("SELECT grant_id FROM refresh_grant WHERE grant_id = $1 AND client_id = $2", id.to_string())
                    }
                };
                let found = sqlx::query(sql)
                    .bind(key)
                    .bind(client.as_str())
                    .fetch_optional(&mut *conn)
                    .await
                    .map_err(StoreError::doing("reading a grant to be revoked"))?;
                match found {
                    Some(row) => {
                        let grant: String = row.get("grant_id");
                        revoke_grant(conn, &audit, &grant, "asked-by-client", Actor::Client(client), now).await
                    }
                    None => Ok(()),
                }
            })
        });
        Ok(work.await?)
    }

    async fn groups(&self, oid: UserId, limit: i64) -> Result<Vec<GroupId>, StoreDown> {
        // UNION drops what was seen, so that groups which contain each other end the walk.
        let rows = sqlx::query(
            "WITH RECURSIVE within (oid) AS ( \
               SELECT m.group_oid FROM membership m WHERE m.member_kind = 'user' AND m.member_oid = $1 \
               UNION \
               SELECT m.group_oid FROM membership m JOIN within w ON m.member_kind = 'group' AND m.member_oid = w.oid \
             ) SELECT g.oid AS oid FROM tenant_group g JOIN within w ON w.oid = g.oid \
             WHERE g.deleted_at IS NULL ORDER BY g.oid LIMIT $2",
        )
        .bind(oid.to_string())
        .bind(limit)
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading a user's groups"))?;
        let groups = rows.iter().map(|row| parsed("tenant_group", "oid", row.get("oid")));
        Ok(groups.collect::<Result<_, _>>()?)
    }

    async fn purge(&self, before: Timestamp) -> Result<u64, StoreDown> {
        let mut purged = 0;
        loop {
            let rows = self
                .db
                .write(Urgency::Bulk, move |conn| Box::pin(async move { purge_batch(conn, before).await }))
                .await?;
            purged += rows;
            if rows == 0 {
                return Ok(purged);
            }
        }
    }
}

/// Ends a grant and all its refresh tokens, once; the first reason stays.
pub(super) async fn revoke_grant(
    conn: &mut Connection,
    audit: &AuditLog,
    grant: &str,
    reason: &'static str,
    actor: Actor,
    now: Timestamp,
) -> Result<(), StoreError> {
    let revoked = sqlx::query(
        "UPDATE refresh_grant SET revoked_at = $2, revoke_reason = $3 WHERE grant_id = $1 AND revoked_at IS NULL \
         RETURNING oid",
    )
    .bind(grant)
    .bind(now.millis())
    .bind(reason)
    .fetch_optional(&mut *conn)
    .await
    .map_err(StoreError::doing("revoking a grant"))?;
    if let Some(row) = revoked {
        let oid: String = row.get("oid");
        let event = Event::new(EventKind::GrantRevoked, Outcome::Success, actor);
        audit.append(conn, event.about(oid).because(reason).with("grant", grant)).await?;
    }
    Ok(())
}

async fn purge_batch(conn: &mut Connection, before: Timestamp) -> Result<u64, StoreError> {
    let mut purged = 0;
    for sql in [
        // A code is kept as long as its grant: shown once more, it still revokes it.
        "DELETE FROM authorization_code WHERE code_hash IN \
         (SELECT a.code_hash FROM authorization_code a LEFT JOIN refresh_grant g ON g.grant_id = a.grant_id \
          WHERE a.expires_at < $1 AND (g.grant_id IS NULL OR g.expires_at < $1) LIMIT $2)",
        "DELETE FROM refresh_token WHERE grant_id IN \
         (SELECT grant_id FROM refresh_grant WHERE expires_at < $1 ORDER BY grant_id LIMIT $2)",
        "DELETE FROM refresh_grant WHERE grant_id IN \
         (SELECT grant_id FROM refresh_grant WHERE expires_at < $1 ORDER BY grant_id LIMIT $2)",
    ] {
        let done = sqlx::query(sql)
            .bind(before.millis())
            .bind(PURGE_BATCH)
            .execute(&mut *conn)
            .await
            .map_err(StoreError::doing("dropping expired grants"))?;
        purged += done.rows_affected();
    }
    Ok(purged)
}
