//! The suspension of the engine in `gateway.db`: a row that every node reads before a run begins.

use sqlx::Row as _;

use crate::identity::Timestamp;
use crate::store::{Connection, Database, StoreError, Urgency};
use crate::sync::maintenance::{Suspension, Suspensions};
use crate::sync::store::StoreResult;

#[derive(Clone, Debug)]
pub struct SqlSuspensions {
    db: Database,
}

impl SqlSuspensions {
    pub fn new(db: Database) -> Self {
        Self { db }
    }
}

const READ: &str = "SELECT since, until, reason, suspended_by FROM sync_suspension WHERE id = 1";

fn suspension(row: &sqlx::any::AnyRow) -> Suspension {
    Suspension {
        since: Timestamp::from_millis(row.get("since")),
        until: row.get::<Option<i64>, _>("until").map(Timestamp::from_millis),
        reason: row.get("reason"),
        by: row.get("suspended_by"),
    }
}

async fn remove(conn: &mut Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM sync_suspension WHERE id = 1";
    sqlx::query(sql).execute(conn).await.map_err(StoreError::doing("ending the suspension of the engine"))?;
    Ok(())
}

#[async_trait::async_trait]
impl Suspensions for SqlSuspensions {
    async fn suspension(&self) -> StoreResult<Option<Suspension>> {
        let row = sqlx::query(READ)
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading the suspension of the engine"))?;
        Ok(row.as_ref().map(suspension))
    }

    async fn suspend(&self, new: Suspension) -> StoreResult<()> {
        let doing = "suspending the engine";
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let row = sqlx::query(READ).fetch_optional(&mut *conn).await.map_err(StoreError::doing(doing))?;
                    let present = row.as_ref().map(suspension).filter(|present| present.in_force(new.since));
                    let since = present.map_or(new.since, |present| present.since);
                    remove(conn).await?;
                    sqlx::query(
                        "INSERT INTO sync_suspension (id, since, until, reason, suspended_by) VALUES (1, $1, $2, $3, $4)",
                    )
                    .bind(since.millis())
                    .bind(new.until.map(Timestamp::millis))
                    .bind(new.reason)
                    .bind(new.by)
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing(doing))?;
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        Ok(())
    }

    async fn resume(&self) -> StoreResult<Option<Suspension>> {
        let ended = self
            .db
            .write(Urgency::Waited, |conn| {
                Box::pin(async move {
                    let doing = "ending the suspension of the engine";
                    let row = sqlx::query(READ).fetch_optional(&mut *conn).await.map_err(StoreError::doing(doing))?;
                    remove(conn).await?;
                    Ok::<_, StoreError>(row.as_ref().map(suspension))
                })
            })
            .await?;
        Ok(ended)
    }
}
