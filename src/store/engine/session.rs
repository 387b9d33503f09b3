//! The door to `engine.db`: plain, or a scratch transaction that is never committed.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::identity::LeaseEpoch;
#[cfg(feature = "planted-faults")]
use crate::store::connection::Lent;
use crate::store::rows::Rows;
use crate::store::statement::Statement;
use crate::store::{Connection, Database, StoreError};
use crate::sync::fault;
use crate::sync::store::{EngineStore, EngineStoreError, StoreResult};

/// The engine's store on `engine.db` or PostgreSQL. Cheap to clone.
#[derive(Clone)]
pub struct SqlEngine {
    db: Database,
    door: Door,
}

/// What statements run on.
#[derive(Clone)]
enum Door {
    Database,
    /// A transaction that is never committed.
    Scratch(Arc<Mutex<Connection>>),
    /// One connection to the embedded database, on whichever thread asks.
    #[cfg(feature = "planted-faults")]
    Here(Arc<Mutex<Lent>>),
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
        Self { db, door: Door::Database }
    }

    /// The same without the threads that keep a run out of the way of others: a test of many small runs mostly waits for
    /// those. For the embedded database.
    #[cfg(feature = "planted-faults")]
    pub async fn on_one_thread(db: Database) -> StoreResult<Self> {
        let connection = db.reader("opening a connection").await?;
        Ok(Self { db, door: Door::Here(Arc::new(Mutex::new(connection))) })
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
        Ok(match &self.door {
            Door::Database => self.db.fetch(doing, statements).await?,
            Door::Scratch(scratch) => scratch.lock().await.rows(doing, statements).await?,
            #[cfg(feature = "planted-faults")]
            Door::Here(connection) => connection.lock().await.rows(doing, statements).await?,
        })
    }

    /// Runs `statements` in one transaction under the lease of `epoch`; returns the rows of the last one.
    pub(super) async fn write(&self, epoch: LeaseEpoch, statements: Vec<Statement>) -> StoreResult<Rows> {
        let doing = "writing the engine's tables";
        let guard = Statement::new(
            "UPDATE engine_epoch SET epoch = $1 WHERE id = 1 AND epoch <= $1 RETURNING epoch",
            vec![epoch.number().into()],
        );
        if let Door::Scratch(scratch) = &self.door {
            let written = scratch.lock().await.guarded(doing, guard, statements).await?;
            return written.ok_or(EngineStoreError::LeaseLost { epoch: epoch.number() });
        }
        fault::transaction(false)?;
        let written = self.commit(doing, guard, statements).await?;
        fault::transaction(true)?;
        written.ok_or(EngineStoreError::LeaseLost { epoch: epoch.number() })
    }

    async fn commit(
        &self,
        doing: &'static str,
        guard: Statement,
        statements: Vec<Statement>,
    ) -> Result<Option<Rows>, StoreError> {
        #[cfg(feature = "planted-faults")]
        if let Door::Here(connection) = &self.door {
            let mut connection = connection.lock().await;
            let control = |sql: &'static str| vec![Statement::new(sql, Vec::new())];
            connection.rows(doing, control("BEGIN IMMEDIATE")).await?;
            let written = connection.guarded(doing, guard, statements).await;
            connection.rows(doing, control(if written.is_ok() { "COMMIT" } else { "ROLLBACK" })).await?;
            return written;
        }
        self.db.write_list(doing, guard, statements).await
    }

    pub(super) async fn open_scratch(&self) -> StoreResult<Arc<dyn EngineStore>> {
        let scratch = self.db.scratch("opening a scratch transaction").await?;
        Ok(Arc::new(Self { db: self.db.clone(), door: Door::Scratch(Arc::new(Mutex::new(scratch))) }))
    }
}

/// A count that the query has cast to BIGINT as its first column.
pub(super) fn count(rows: &Rows) -> i64 {
    rows.first().and_then(|row| row.get::<Option<i64>, _>(0)).unwrap_or(0)
}
