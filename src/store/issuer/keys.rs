//! Signing keys, sealed, and the secret of pairwise subjects.

use async_trait::async_trait;
use sqlx::Row;

use super::{IssuerStore, from_json, to_json};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::Timestamp;
use crate::issuer::StoreDown;
use crate::issuer::store::{SigningKeys, StoredKey};
use crate::store::{AuditLog, Connection, StoreError, Urgency};

/// The name of the value that holds the secret of pairwise subjects.
pub const PAIRWISE_SUBJECTS: &str = "pairwise_subjects";

#[async_trait]
impl SigningKeys for IssuerStore {
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreDown> {
        let rows = sqlx::query(
            "SELECT public_jwk, sealed_key, created_at, active_from, retired_at FROM signing_key \
             ORDER BY active_from, kid",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the signing keys"))?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(StoredKey {
                jwk: from_json("signing_key", "public_jwk", row.get("public_jwk"))?,
                sealed_key: row.get("sealed_key"),
                created_at: Timestamp::from_millis(row.get("created_at")),
                active_from: Timestamp::from_millis(row.get("active_from")),
                retired_at: row.get::<Option<i64>, _>("retired_at").map(Timestamp::from_millis),
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, StoreError>>()?)
    }

    async fn add_key(&self, key: StoredKey) -> Result<(), StoreDown> {
        let audit = self.audit.clone();
        Ok(self.db.write(Urgency::Waited, move |conn| Box::pin(async move { add(conn, &audit, key).await })).await?)
    }

    async fn add_first_key(&self, key: StoredKey) -> Result<(), StoreDown> {
        let audit = self.audit.clone();
        let added = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let doing = || StoreError::doing("looking for a signing key");
                // Nodes take turns at this row, so that the second one sees the key of the first.
                sqlx::query("UPDATE counter SET value = value WHERE name = 'settings'")
                    .execute(&mut *conn)
                    .await
                    .map_err(doing())?;
                let present = sqlx::query("SELECT 1 FROM signing_key WHERE algorithm = $1 AND retired_at IS NULL")
                    .bind(key.jwk.alg.as_str())
                    .fetch_optional(&mut *conn)
                    .await
                    .map_err(doing())?;
                match present {
                    Some(_) => Ok(()),
                    None => add(conn, &audit, key).await,
                }
            })
        });
        Ok(added.await?)
    }

    async fn pairwise_secret(&self, new: String) -> Result<String, StoreDown> {
        let kept = self.db.write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let doing = || StoreError::doing("keeping the secret of pairwise subjects");
                sqlx::query("INSERT INTO store_value (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(PAIRWISE_SUBJECTS)
                    .bind(new)
                    .execute(&mut *conn)
                    .await
                    .map_err(doing())?;
                let row = sqlx::query("SELECT value FROM store_value WHERE name = $1")
                    .bind(PAIRWISE_SUBJECTS)
                    .fetch_one(conn)
                    .await
                    .map_err(doing())?;
                Ok::<String, StoreError>(row.get("value"))
            })
        });
        Ok(kept.await?)
    }
}

async fn add(conn: &mut Connection, audit: &AuditLog, key: StoredKey) -> Result<(), StoreError> {
    let public_jwk = to_json("signing_key", "public_jwk", &key.jwk)?;
    let algorithm = key.jwk.alg.as_str();
    sqlx::query("UPDATE signing_key SET retired_at = $1 WHERE algorithm = $2 AND retired_at IS NULL")
        .bind(key.active_from.millis())
        .bind(algorithm)
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("retiring signing keys"))?;
    sqlx::query(
        "INSERT INTO signing_key (kid, algorithm, public_jwk, sealed_key, created_at, active_from, retired_at) \
         VALUES ($1, $2, $3, $4, $5, $6, NULL)",
    )
    .bind(key.jwk.kid.as_str())
    .bind(algorithm)
    .bind(public_jwk)
    .bind(key.sealed_key)
    .bind(key.created_at.millis())
    .bind(key.active_from.millis())
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("adding a signing key"))?;
    let event = Event::new(EventKind::SigningKeyRotated, Outcome::Success, Actor::System("issuer".to_owned()))
        .about(&key.jwk.kid)
        .with("algorithm", algorithm)
        .with("active_from", key.active_from.rfc3339());
    audit.append(conn, event).await?;
    Ok(())
}
