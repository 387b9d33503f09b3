//! The engine lease in `gateway.db`. Time is the database's own, so that nodes need not agree on theirs.

use std::time::Duration;

use sqlx::Row as _;

use crate::identity::NodeId;
use crate::store::{Database, Engine, StoreError, Urgency};
use crate::sync::lease::{Epoch, LeaseError, Leases};

#[derive(Clone, Debug)]
pub struct SqlLeases {
    db: Database,
}

impl From<StoreError> for LeaseError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { epoch } => Self::Lost { epoch },
            error => Self::Broken(Box::new(error)),
        }
    }
}

impl SqlLeases {
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Milliseconds since the epoch, by the database.
    fn now(&self) -> &'static str {
        match self.db.engine() {
            Engine::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS BIGINT)",
            Engine::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }
}

#[async_trait::async_trait]
impl Leases for SqlLeases {
    async fn acquire(&self, node: &NodeId, length: Duration) -> Result<Epoch, LeaseError> {
        let now = self.now();
        // A node's own lease of before a restart is taken over at once: its former process is gone.
        let sql = format!(
            "UPDATE engine_lease SET holder = $1, epoch = epoch + 1, renewed_at = {now}, expires_at = {now} + $2 \
             WHERE id = 1 AND (holder IS NULL OR holder = $1 OR expires_at < {now}) RETURNING epoch"
        );
        let (holder, length) = (node.as_str().to_owned(), length.as_millis() as i64);
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                        .bind(holder)
                        .bind(length)
                        .fetch_optional(&mut *conn)
                        .await
                        .map_err(StoreError::doing("taking the engine lease"))?;
                    match row {
                        Some(row) => Ok(Epoch(row.get(0))),
                        None => {
                            let row = sqlx::query("SELECT holder FROM engine_lease WHERE id = 1")
                                .fetch_one(conn)
                                .await
                                .map_err(StoreError::doing("reading the engine lease"))?;
                            Err(LeaseError::Held { holder: row.get::<Option<String>, _>(0).unwrap_or_default() })
                        }
                    }
                })
            })
            .await
    }

    async fn renew(&self, epoch: Epoch, length: Duration) -> Result<(), LeaseError> {
        let now = self.now();
        let sql =
            format!("UPDATE engine_lease SET renewed_at = {now}, expires_at = {now} + $2 WHERE id = 1 AND epoch = $1");
        self.update(epoch, sql, Some(length)).await
    }

    async fn release(&self, epoch: Epoch) -> Result<(), LeaseError> {
        let sql = "UPDATE engine_lease SET holder = NULL, expires_at = 0 WHERE id = 1 AND epoch = $1".to_owned();
        self.update(epoch, sql, None).await
    }
}

impl SqlLeases {
    async fn update(&self, epoch: Epoch, sql: String, length: Option<Duration>) -> Result<(), LeaseError> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(epoch.0);
                    if let Some(length) = length {
                        query = query.bind(length.as_millis() as i64);
                    }
                    let done = query.execute(conn).await.map_err(StoreError::doing("renewing the engine lease"))?;
                    if done.rows_affected() == 1 { Ok(()) } else { Err(LeaseError::Lost { epoch: epoch.0 }) }
                })
            })
            .await
    }
}
