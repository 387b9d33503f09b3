//! The engine lease (design D3): one node at a time synchronises. Its times are the database's.

use std::time::Duration;

use sqlx::Row;

use super::connection::Connection;
use super::database::{Database, Engine};
use super::error::StoreError;
use super::stopwatch::Stopwatch;
use super::writer::Urgency;
use crate::identity::{LeaseEpoch, NodeId};

/// The lease as its holder has it.
#[derive(Clone, Debug)]
pub struct Lease {
    pub epoch: LeaseEpoch,
    holder: NodeId,
    duration: Duration,
    /// Before the renewal was asked for, so that it never looks fresher than it is.
    renewed: Stopwatch,
}

impl Lease {
    /// Whether the last renewal is recent enough to send anything to another system. INVARIANT: nothing is exported
    /// when more than half of the lease has passed.
    pub fn is_fresh(&self) -> bool {
        self.renewed.elapsed() < self.duration / 2
    }
}

/// Takes the lease when nobody has it, when it has run out, or when `holder` had it before it restarted.
/// `None`: another node has it.
pub async fn acquire(db: &Database, holder: &NodeId, duration: Duration) -> Result<Option<Lease>, StoreError> {
    let renewed = Stopwatch::start();
    let name = holder.as_str().to_owned();
    let length = millis(duration);
    let epoch = db
        .write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                let now = database_time(conn).await?;
                let row = sqlx::query(
                    "UPDATE engine_lease SET holder = $1, epoch = epoch + 1, renewed_at = $2, expires_at = $3 \
                     WHERE id = 1 AND (holder IS NULL OR expires_at <= $4 OR holder = $5) RETURNING epoch",
                )
                .bind(name.clone())
                .bind(now)
                .bind(now.saturating_add(length))
                .bind(now)
                .bind(name)
                .fetch_optional(conn)
                .await
                .map_err(StoreError::doing("acquiring the engine lease"))?;
                Ok::<_, StoreError>(row.map(|row| row.get::<i64, _>("epoch")))
            })
        })
        .await?;
    Ok(epoch.map(|epoch| Lease { epoch: LeaseEpoch::from_number(epoch), holder: holder.clone(), duration, renewed }))
}

/// Prolongs the lease. [`StoreError::LeaseLost`] when another node has it by now.
pub async fn renew(db: &Database, lease: &mut Lease) -> Result<(), StoreError> {
    let renewed = Stopwatch::start();
    if !prolong(db, &lease.holder, lease.epoch, lease.duration).await? {
        return Err(StoreError::LeaseLost { epoch: lease.epoch.number() });
    }
    lease.renewed = renewed;
    Ok(())
}

/// Prolongs the lease of `holder`; `false`: it does not hold it under this epoch.
pub async fn prolong(
    db: &Database,
    holder: &NodeId,
    epoch: LeaseEpoch,
    duration: Duration,
) -> Result<bool, StoreError> {
    let (name, epoch, length) = (holder.as_str().to_owned(), epoch.number(), millis(duration));
    db.write(Urgency::Waited, move |conn| {
        Box::pin(async move {
            let now = database_time(conn).await?;
            let updated = sqlx::query(
                "UPDATE engine_lease SET renewed_at = $1, expires_at = $2 WHERE id = 1 AND epoch = $3 AND holder = $4",
            )
            .bind(now)
            .bind(now.saturating_add(length))
            .bind(epoch)
            .bind(name)
            .execute(conn)
            .await
            .map_err(StoreError::doing("renewing the engine lease"))?;
            Ok(updated.rows_affected() == 1)
        })
    })
    .await
}

/// Whether `holder` holds the lease under this epoch, and it has not run out.
pub async fn is_held(db: &Database, holder: &NodeId, epoch: LeaseEpoch) -> Result<bool, StoreError> {
    let mut conn = db.reader("reading the engine lease").await?;
    let now = database_time(&mut conn).await?;
    let row = sqlx::query(
        "SELECT COUNT(*) AS held FROM engine_lease WHERE id = 1 AND epoch = $1 AND holder = $2 AND expires_at > $3",
    )
    .bind(epoch.number())
    .bind(holder.as_str())
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .map_err(StoreError::doing("reading the engine lease"))?;
    Ok(row.get::<i64, _>("held") == 1)
}

/// The epoch of whoever had the lease last.
pub async fn present_epoch(db: &Database) -> Result<LeaseEpoch, StoreError> {
    let row = sqlx::query("SELECT epoch FROM engine_lease WHERE id = 1")
        .fetch_one(db.read())
        .await
        .map_err(StoreError::doing("reading the engine lease"))?;
    Ok(LeaseEpoch::from_number(row.get("epoch")))
}

/// Gives the lease back. A lease that was lost already is nobody's concern any more.
pub async fn release(db: &Database, lease: Lease) -> Result<(), StoreError> {
    give_back(db, &lease.holder, lease.epoch).await
}

/// Ends the lease of `holder` under this epoch, if it is so.
pub async fn give_back(db: &Database, holder: &NodeId, epoch: LeaseEpoch) -> Result<(), StoreError> {
    let holder = holder.as_str().to_owned();
    db.write(Urgency::Waited, move |conn| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE engine_lease SET holder = NULL, expires_at = 0 WHERE id = 1 AND epoch = $1 AND holder = $2",
            )
            .bind(epoch.number())
            .bind(holder)
            .execute(conn)
            .await
            .map_err(StoreError::doing("releasing the engine lease"))?;
            Ok(())
        })
    })
    .await
}

/// Within a transaction: the lease is still that of `epoch`, and stays so until the transaction ends.
pub async fn check_epoch(conn: &mut Connection, epoch: LeaseEpoch) -> Result<(), StoreError> {
    // SQLite's one writer holds the file; PostgreSQL must hold the row, or the lease could change hands before we commit.
    let sql = match conn.engine() {
        Engine::Postgres => "SELECT epoch FROM engine_lease WHERE id = 1 FOR SHARE",
        Engine::Sqlite => "SELECT epoch FROM engine_lease WHERE id = 1",
    };
    let row = sqlx::query(sql).fetch_one(conn).await.map_err(StoreError::doing("checking the engine lease"))?;
    if row.get::<i64, _>("epoch") == epoch.number() {
        Ok(())
    } else {
        Err(StoreError::LeaseLost { epoch: epoch.number() })
    }
}

/// Milliseconds since 1970 by the database's clock.
pub(super) async fn database_time(conn: &mut Connection) -> Result<i64, StoreError> {
    let sql = match conn.engine() {
        Engine::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now",
        Engine::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS BIGINT) AS now",
    };
    let row = sqlx::query(sql).fetch_one(conn).await.map_err(StoreError::doing("reading the database's clock"))?;
    Ok(row.get("now"))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
