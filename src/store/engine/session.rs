//! The door to `engine.db`: plain, or a scratch transaction that is never committed.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::identity::LeaseEpoch;
use crate::store::rows::Rows;
use crate::store::statement::Statement;
use crate::store::{Connection, Database, StoreError};
use crate::sync::fault;
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

    /// Statements that were carried out since the start.
    pub fn statements(&self) -> u64 {
        self.db.statements()
    }

    pub(super) async fn rows(&self, doing: &'static str, statement: Statement) -> StoreResult<Rows> {
        self.all_rows(doing, vec![statement]).await
    }

    /// The rows of several statements, which select the same columns.
    pub(super) async fn all_rows(&self, doing: &'static str, statements: Vec<Statement>) -> StoreResult<Rows> {
        if statements.is_empty() {
            return Ok(Rows::default());
        }
        Ok(match &self.scratch {
            None => self.db.fetch(doing, statements).await?,
            Some(scratch) => scratch.lock().await.rows(doing, statements).await?,
        })
    }

    /// Runs `statements` in one transaction under the lease of `epoch`; returns the rows of the last one.
    pub(super) async fn write(&self, epoch: LeaseEpoch, statements: Vec<Statement>) -> StoreResult<Rows> {
        let doing = "writing the engine's tables";
        let guard = Statement::new(
            "UPDATE engine_epoch SET epoch = $1 WHERE id = 1 AND epoch <= $1 RETURNING epoch",
            vec![epoch.number().into()],
        );
        let written = match &self.scratch {
            None => {
                fault::transaction(false)?;
                let written = self.db.write_list(doing, guard, statements).await?;
                fault::transaction(true)?;
                written
            }
            Some(scratch) => scratch.lock().await.guarded(doing, guard, statements).await?,
        };
        written.ok_or(EngineStoreError::LeaseLost { epoch: epoch.number() })
    }

    pub(super) async fn open_scratch(&self) -> StoreResult<Arc<dyn EngineStore>> {
        let scratch = self.db.scratch("opening a scratch transaction").await?;
        Ok(Arc::new(Self { db: self.db.clone(), scratch: Some(Arc::new(Mutex::new(scratch))) }))
    }
}

/// A count that the query has cast to BIGINT as its first column.
pub(super) fn count(rows: &Rows) -> i64 {
    rows.first().and_then(|row| row.get::<Option<i64>, _>(0)).unwrap_or(0)
}
