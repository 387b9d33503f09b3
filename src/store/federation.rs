//! Federation partners on SQL.

use sqlx::Row;

use super::audit::AuditLog;
use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::rows::Rows;
use super::statement::Statement;
use super::tenant::bump_settings;
use super::writer::Urgency;
use crate::audit::Event;
use crate::federation::partner::StoredPartner;
use crate::federation::{Partner, PartnerStore, PartnerStoreError};
use crate::identity::{DomainName, EntityId, Timestamp};

/// The partners of the tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FederationStore {
    db: Database,
    audit: AuditLog,
}

impl FederationStore {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }

    /// One statement, in a transaction of its own. Returns what it returns.
    async fn change(
        &self,
        urgency: Urgency,
        doing: &'static str,
        statement: Statement,
    ) -> Result<Rows, PartnerStoreError> {
        let changed =
            self.db.write(urgency, move |conn| Box::pin(async move { conn.rows(doing, vec![statement]).await }));
        changed.await.map_err(|error: StoreError| unavailable(error))
    }
}

/// What the transaction that saves a partner can end in.
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("domain `{domain}` is taken by `{by}`")]
    Taken { domain: DomainName, by: EntityId },
}

#[async_trait::async_trait]
impl PartnerStore for FederationStore {
    async fn save(&self, partner: &Partner, now: Timestamp) -> Result<(), PartnerStoreError> {
        let settings = serde_json::to_string(&partner.to_stored()).map_err(unavailable)?;
        let partner = partner.clone();
        let saved: Result<(), SaveError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    // Holds the row, so that of two nodes that save at once the second sees what the first one saved.
                    bump_settings(conn).await?;
                    for other in all(&mut *conn).await?.iter().filter(|other| other.entity_id() != partner.entity_id()) {
                        if let Some(domain) = partner.domains().iter().find(|domain| other.domains().contains(domain)) {
                            return Err(SaveError::Taken { domain: domain.clone(), by: other.entity_id().clone() });
                        }
                    }
                    sqlx::query(
                        "INSERT INTO federation_partner (entity_id, settings, updated_at) VALUES ($1, $2, $3) \
                         ON CONFLICT (entity_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at, \
                         looked_at = 0, failed_looks = 0",
                    )
                    .bind(partner.entity_id().as_str())
                    .bind(settings)
                    .bind(now.millis())
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("saving a federation partner"))?;
                    Ok(())
                })
            })
            .await;
        saved.map_err(|error| match error {
            SaveError::Taken { domain, by } => PartnerStoreError::DomainTaken { domain, by },
            SaveError::Store(error) => unavailable(error),
        })
    }

    async fn renew(
        &self,
        former: &Partner,
        renewed: &Partner,
        now: Timestamp,
        event: Event,
    ) -> Result<bool, PartnerStoreError> {
        let (audit, former, renewed) = (self.audit.clone(), former.clone(), renewed.clone());
        let settings = serde_json::to_string(&renewed.to_stored()).map_err(unavailable)?;
        let done: Result<bool, StoreError> = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    bump_settings(conn).await?;
                    let present = all(&mut *conn).await?;
                    if !present.contains(&former) || renewed.entity_id() != former.entity_id() {
                        return Ok(false);
                    }
                    sqlx::query("UPDATE federation_partner SET settings = $2, updated_at = $3 WHERE entity_id = $1")
                        .bind(renewed.entity_id().as_str())
                        .bind(settings)
                        .bind(now.millis())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("renewing a federation partner"))?;
                    audit.append(conn, event).await?;
                    Ok(true)
                })
            })
            .await;
        done.map_err(unavailable)
    }

    async fn claim_look(
        &self,
        entity_id: &EntityId,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, PartnerStoreError> {
        let sql =
            "UPDATE federation_partner SET looked_at = $3 WHERE entity_id = $1 AND looked_at <= $2 RETURNING entity_id";
        let args = vec![entity_id.as_str().into(), before.millis().into(), now.millis().into()];
        let looked =
            self.change(Urgency::Bulk, "taking a look at a federation partner", Statement::new(sql, args)).await?;
        Ok(looked.first().is_some())
    }

    async fn count_look(&self, entity_id: &EntityId, failed: bool) -> Result<u32, PartnerStoreError> {
        let sql = "UPDATE federation_partner SET failed_looks = CASE WHEN $2 = 1 THEN failed_looks + 1 ELSE 0 END \
                   WHERE entity_id = $1 RETURNING failed_looks";
        let args = vec![entity_id.as_str().into(), i64::from(failed).into()];
        let counted =
            self.change(Urgency::Bulk, "counting looks at a federation partner", Statement::new(sql, args)).await?;
        let count = counted.first().map_or(0, |row| row.get::<i64, _>("failed_looks"));
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn partner(&self, entity_id: &EntityId) -> Result<Option<Partner>, PartnerStoreError> {
        let row = sqlx::query("SELECT entity_id, settings FROM federation_partner WHERE entity_id = $1")
            .bind(entity_id.as_str())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading a federation partner"))
            .map_err(unavailable)?;
        row.as_ref().map(read_partner).transpose().map_err(unavailable)
    }

    async fn partner_of(&self, domain: &DomainName) -> Result<Option<Partner>, PartnerStoreError> {
        Ok(self.partners().await?.into_iter().find(|partner| partner.domains().contains(domain)))
    }

    async fn partners(&self) -> Result<Vec<Partner>, PartnerStoreError> {
        let mut conn = self.db.reader("reading federation partners").await.map_err(unavailable)?;
        all(&mut conn).await.map_err(unavailable)
    }

    async fn remove(&self, entity_id: &EntityId) -> Result<bool, PartnerStoreError> {
        let sql = "DELETE FROM federation_partner WHERE entity_id = $1 RETURNING entity_id";
        let args = vec![entity_id.as_str().into()];
        let removed = self.change(Urgency::Waited, "removing a federation partner", Statement::new(sql, args)).await?;
        Ok(removed.first().is_some())
    }
}

/// A tenant has few partners, so that looking for a domain may read them all.
async fn all(conn: &mut Connection) -> Result<Vec<Partner>, StoreError> {
    let rows = sqlx::query("SELECT entity_id, settings FROM federation_partner ORDER BY entity_id")
        .fetch_all(conn)
        .await
        .map_err(StoreError::doing("reading federation partners"))?;
    rows.iter().map(read_partner).collect()
}

fn read_partner(row: &sqlx::any::AnyRow) -> Result<Partner, StoreError> {
    let entity_id: EntityId =
        row.get::<String, _>("entity_id").parse().map_err(|error| unreadable("entity_id", error))?;
    let stored: StoredPartner =
        serde_json::from_str(row.get("settings")).map_err(|error| unreadable("settings", error))?;
    Partner::from_stored(entity_id, stored).map_err(|error| unreadable("settings", error))
}

fn unreadable(column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table: "federation_partner", column, reason: reason.to_string() }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> PartnerStoreError {
    PartnerStoreError::Unavailable(Box::new(error))
}
