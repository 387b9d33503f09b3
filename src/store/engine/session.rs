//! The door to `engine.db`: plain, or a scratch transaction that is never committed.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::query::Query;
use sqlx::{Any, Row as _};
use tokio::sync::Mutex;

use super::statement::{Arg, Statement};
use crate::identity::LeaseEpoch;
use crate::store::{Connection, Database, StoreError, Urgency};
use crate::sync::store::{EngineStore, EngineStoreError, StoreResult};

/// The engine's store on `engine.db` or PostgreSQL. Cheap to clone.
#[derive(Clone)]
pub struct SqlEngine {
    db: Database,
    scratch: Option<Arc<Mutex<Connection>>>,
}

impl From<StoreError> for EngineStoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { epoch } => Self::LeaseLost { epoch },
            error => Self::Broken(Box::new(error)),
        }
    }
}

impl SqlEngine {
    pub fn new(db: Database) -> Self {
        Self { db, scratch: None }
    }

    pub(super) async fn rows(&self, doing: &'static str, statement: Statement) -> StoreResult<Vec<AnyRow>> {
        let Statement { sql, args } = statement;
        let query = bound(&sql, args);
        let rows = match &self.scratch {
            None => query.fetch_all(self.db.read()).await,
            Some(scratch) => query.fetch_all(&mut *scratch.lock().await).await,
        };
        Ok(rows.map_err(StoreError::doing(doing))?)
    }

    /// The rows of several statements, one after the other.
    pub(super) async fn all_rows(&self, doing: &'static str, statements: Vec<Statement>) -> StoreResult<Vec<AnyRow>> {
        let mut rows = Vec::new();
        for statement in statements {
            rows.extend(self.rows(doing, statement).await?);
        }
        Ok(rows)
    }

    /// Runs `statements` in one transaction under the lease of `epoch`; returns the rows of the last one.
    pub(super) async fn write(&self, epoch: LeaseEpoch, statements: Vec<Statement>) -> StoreResult<Vec<AnyRow>> {
        match &self.scratch {
            Some(scratch) => run(&mut *scratch.lock().await, epoch, statements).await,
            None => self.db.write(Urgency::Bulk, move |conn| Box::pin(run(conn, epoch, statements))).await,
        }
    }

    pub(super) async fn open_scratch(&self) -> StoreResult<Arc<dyn EngineStore>> {
        let scratch = self.db.scratch("opening a scratch transaction").await?;
        Ok(Arc::new(Self { db: self.db.clone(), scratch: Some(Arc::new(Mutex::new(scratch))) }))
    }
}

async fn run(conn: &mut Connection, epoch: LeaseEpoch, statements: Vec<Statement>) -> StoreResult<Vec<AnyRow>> {
    let doing = "writing the engine's tables";
    let checked = sqlx::query("UPDATE engine_epoch SET epoch = $1 WHERE id = 1 AND epoch <= $1")
        .bind(epoch.number())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("checking the lease"))?;
    if checked.rows_affected() != 1 {
        return Err(EngineStoreError::LeaseLost { epoch: epoch.number() });
    }
    let mut rows = Vec::new();
    for Statement { sql, args } in statements {
        let query = bound(&sql, args);
        if sql.contains(" RETURNING ") {
            rows = query.fetch_all(&mut *conn).await.map_err(StoreError::doing(doing))?;
        } else {
            query.execute(&mut *conn).await.map_err(StoreError::doing(doing))?;
        }
    }
    Ok(rows)
}

fn bound(sql: &str, args: Vec<Arg>) -> Query<'_, Any, sqlx::any::AnyArguments> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
    for arg in args {
        query = match arg {
            Arg::Int(value) => query.bind(value),
            Arg::OptInt(value) => query.bind(value),
            Arg::Text(value) => query.bind(value),
            Arg::OptText(value) => query.bind(value),
        };
    }
    query
}

/// A count that the query has cast to BIGINT as its first column.
pub(super) fn count(rows: &[AnyRow]) -> i64 {
    rows.first().map_or(0, |row| row.get::<Option<i64>, _>(0).unwrap_or(0))
}
