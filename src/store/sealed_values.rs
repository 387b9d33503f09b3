//! What stands in the gateway's database under keys of the ring, but for credentials, which have a way of their own.

use sqlx::Row;

use super::audit::AuditLog;
use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::lease;
use super::writer::Urgency;
use crate::audit::Event;
use crate::credential::KeyName;
use crate::identity::NodeId;

/// Where a sealed value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value of the installation, by its name.
    Value(String),
    /// A signing key, by its id.
    SigningKey(String),
}

/// A sealed value, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub place: Place,
    pub sealed: String,
}

/// The sealed values of one database.
#[derive(Clone, Debug)]
pub struct SealedValues {
    db: Database,
    audit: AuditLog,
}

/// A node that has written nothing for thirty days is no part of the installation any more.
const RETIRED_AFTER_MS: i64 = 30 * 86_400_000;

impl SealedValues {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }

    /// All of them. Values that are not sealed are among them; their text is not that of a seal.
    pub async fn all(&self) -> Result<Vec<Placed>, StoreError> {
        let doing = || StoreError::doing("reading sealed values");
        let mut all = Vec::new();
        for row in sqlx::query("SELECT name, value FROM store_value ORDER BY name")
            .fetch_all(self.db.read())
            .await
            .map_err(doing())?
        {
            all.push(Placed { place: Place::Value(row.get("name")), sealed: row.get("value") });
        }
        for row in sqlx::query("SELECT kid, sealed_key FROM signing_key ORDER BY kid")
            .fetch_all(self.db.read())
            .await
            .map_err(doing())?
        {
            all.push(Placed { place: Place::SigningKey(row.get("kid")), sealed: row.get("sealed_key") });
        }
        Ok(all)
    }

    /// Replaces seals that are still as they were read, with `event` in the same transaction.
    pub async fn replace(&self, changes: Vec<(Placed, String)>, event: Event) -> Result<(), StoreError> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    for (was, new) in changes {
                        replace(conn, was, new).await?;
                    }
                    audit.append(conn, event).await?;
                    Ok(())
                })
            })
            .await
    }

    /// How many rows name `key`: credentials by their seal or their source's stamp, and the values above.
    pub async fn rows_under(&self, key: &KeyName) -> Result<u64, StoreError> {
        let prefix = format!("{key}:");
        let row = sqlx::query(
            "SELECT (SELECT CAST(COUNT(*) AS BIGINT) FROM credential \
             WHERE substr(sealed, 1, $1) = $2 OR substr(source_stamp, 1, $1) = $2) \
             + (SELECT CAST(COUNT(*) AS BIGINT) FROM signing_key WHERE substr(sealed_key, 1, $1) = $2) \
             + (SELECT CAST(COUNT(*) AS BIGINT) FROM store_value WHERE substr(value, 1, $1) = $2) AS rows_under",
        )
        // The type of substr's length is INTEGER on PostgreSQL.
        .bind(i32::try_from(prefix.len()).unwrap_or(i32::MAX))
        .bind(prefix)
        .fetch_one(self.db.read())
        .await
        .map_err(StoreError::doing("counting the rows under a key"))?;
        Ok(row.get::<i64, _>("rows_under").cast_unsigned())
    }

    /// Nodes besides this one that use the store: not those that stopped in order, nor those that wrote nothing for long.
    pub async fn other_nodes(&self, own: &NodeId) -> Result<Vec<String>, StoreError> {
        const DOING: &str = "listing the nodes of the store";
        let mut conn = self.db.reader(DOING).await?;
        let since = lease::database_time(&mut conn).await?.saturating_sub(RETIRED_AFTER_MS);
        let rows = sqlx::query(
            "SELECT h.node FROM audit_head h JOIN audit a ON a.node = h.node AND a.number = h.number \
             WHERE h.node <> $1 AND a.kind <> 'stopped' AND a.at >= $2 ORDER BY h.node",
        )
        .bind(own.as_str())
        .bind(since)
        .fetch_all(&mut *conn)
        .await
        .map_err(StoreError::doing(DOING))?;
        Ok(rows.iter().map(|row| row.get("node")).collect())
    }
}

async fn replace(conn: &mut Connection, was: Placed, new: String) -> Result<(), StoreError> {
    let (sql, key) = match was.place {
        Place::Value(name) => ("UPDATE store_value SET value = $3 WHERE name = $1 AND value = $2", name),
        Place::SigningKey(kid) => ("UPDATE signing_key SET sealed_key = $3 WHERE kid = $1 AND sealed_key = $2", kid),
    };
    sqlx::query(sql)
        .bind(key)
        .bind(was.sealed)
        .bind(new)
        .execute(conn)
        .await
        .map_err(StoreError::doing("sealing a value anew"))?;
    Ok(())
}
