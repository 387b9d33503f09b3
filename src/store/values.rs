//! Single values of the gateway: the tenant's id, the key ring's canary, sealed secrets of the installation.

use sqlx::Row;

use super::database::Database;
use super::error::StoreError;
use super::writer::Urgency;

/// Named values, each written once.
#[derive(Clone, Debug)]
pub struct StoreValues {
    db: Database,
}

impl StoreValues {
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    pub async fn read(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM store_value WHERE name = $1")
            .bind(name)
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading a value of the installation"))?;
        Ok(row.map(|row| row.get("value")))
    }

    /// Stores `value` unless another start or node was first; returns what is stored.
    pub async fn read_or_store(&self, name: &'static str, value: String) -> Result<String, StoreError> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let row = sqlx::query(
                        "INSERT INTO store_value (name, value) VALUES ($1, $2) \
                         ON CONFLICT (name) DO UPDATE SET value = store_value.value RETURNING value",
                    )
                    .bind(name)
                    .bind(value)
                    .fetch_one(conn)
                    .await
                    .map_err(StoreError::doing("storing a value of the installation"))?;
                    Ok(row.get("value"))
                })
            })
            .await
    }
}
