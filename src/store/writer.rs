//! The way writes take into a database.
//!
//! PostgreSQL: a transaction per work on a pool. SQLite: one task owns the only writing connection, takes what waits,
//! runs each work in a savepoint and commits them together, so that one disk flush serves many sign-ins.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer: a sign-in, a token, an admin command.
    Waited,
    /// Sync and password sync: runs only while nothing urgent waits.
    Bulk,
}

/// Waiting works per queue; beyond it callers wait for a place.
const QUEUE: usize = 1024;
/// Works that share one commit.
const GROUP: usize = 128;
/// A group is closed after this time even if more works wait (design D3).
const GROUP_TIME: Duration = Duration::from_millis(20);

#[derive(Clone)]
pub(super) enum Writer {
    Pool(AnyPool),
    Queue { urgent: mpsc::Sender<Work>, bulk: mpsc::Sender<Work>, pool: AnyPool },
}

/// A work whose result type is erased: it ends in a call that answers its caller.
pub(super) type Work = Box<dyn for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Done> + Send>;

pub(super) enum Done {
    /// To be committed; the call answers once the commit's fate is known.
    Keep(Box<dyn FnOnce(Result<(), StoreError>) + Send>),
    /// To be rolled back; the caller has the error already.
    Undo,
}

impl Writer {
    pub(super) async fn run<T, E, F>(&self, urgency: Urgency, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        match self {
            Self::Pool(pool) => run_alone(pool, work).await,
            Self::Queue { urgent, bulk, .. } => {
                let (answer, answered) = oneshot::channel();
                let queue = match urgency {
                    Urgency::Waited => urgent,
                    Urgency::Bulk => bulk,
                };
                queue.send(erase(work, answer)).await.map_err(|_| StoreError::Stopped)?;
                answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Pool(pool) | Self::Queue { pool, .. } => pool.close().await,
        }
    }
}

async fn run_alone<T, E, F>(pool: &AnyPool, work: F) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let mut tx = pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
    match AssertUnwindSafe(work(&mut tx)).catch_unwind().await {
        Ok(Ok(value)) => {
            // PostgreSQL answers the COMMIT of a failed transaction with a rollback and no error: a work that passed over
            // an error would be told that what it wrote is kept.
            sqlx::raw_sql("SELECT 1").execute(&mut *tx).await.map_err(StoreError::doing("committing"))?;
            tx.commit().await.map_err(StoreError::doing("committing"))?;
            Ok(value)
        }
        Ok(Err(error)) => {
            // Dropping the transaction would roll back too; its failure changes nothing for the caller.
            let _ = tx.rollback().await;
            Err(error)
        }
        Err(_) => Err(StoreError::Panicked.into()),
    }
}

fn erase<T, E, F>(work: F, answer: oneshot::Sender<Result<T, E>>) -> Work
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
{
    Box::new(move |conn| {
        Box::pin(async move {
            let result = AssertUnwindSafe(work(conn)).catch_unwind().await;
            // A caller that has gone away does not undo its write; sending to it may fail.
            match result.unwrap_or_else(|_| Err(StoreError::Panicked.into())) {
                Ok(value) => Done::Keep(Box::new(move |committed: Result<(), StoreError>| {
                    let _ = answer.send(committed.map(|()| value).map_err(E::from));
                })),
                Err(error) => {
                    let _ = answer.send(Err(error));
                    Done::Undo
                }
            }
        })
    })
}

/// Starts the task that owns the writing connection. It ends when every handle is gone.
pub(super) fn queued(pool: AnyPool) -> Writer {
    let (urgent, urgent_works) = mpsc::channel(QUEUE);
    let (bulk, bulk_works) = mpsc::channel(QUEUE);
    tokio::spawn(serve(pool.clone(), urgent_works, bulk_works));
    Writer::Queue { urgent, bulk, pool }
}

async fn serve(pool: AnyPool, mut urgent: mpsc::Receiver<Work>, mut bulk: mpsc::Receiver<Work>) {
    loop {
        let (first, urgency) = tokio::select! {
            biased;
            Some(work) = urgent.recv() => (work, Urgency::Waited),
            Some(work) = bulk.recv() => (work, Urgency::Bulk),
            else => return,
        };
        // Bulk works commit one by one, so that an urgent one never waits for more than the one that runs.
        let more = match urgency {
            Urgency::Waited => Some(&mut urgent),
            Urgency::Bulk => None,
        };
        if let Err(error) = commit_group(&pool, first, more).await {
            tracing::error!(error = %error, "the database writer could not commit");
        }
    }
}

async fn commit_group(
    pool: &AnyPool,
    first: Work,
    mut more: Option<&mut mpsc::Receiver<Work>>,
) -> Result<(), StoreError> {
    let mut conn = pool.acquire().await.map_err(StoreError::doing("acquiring the writing connection"))?;
    control(&mut conn, "BEGIN IMMEDIATE").await?;
    let opened = Instant::now();
    let mut kept = Vec::new();
    let mut next = Some(first);
    let mut broken = None;
    while let Some(work) = next.take() {
        match run_in_savepoint(&mut conn, work).await {
            Ok(Some(answer)) => kept.push(answer),
            Ok(None) => {}
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
        if kept.len() < GROUP && opened.elapsed() < GROUP_TIME {
            next = more.as_mut().and_then(|queue| queue.try_recv().ok());
        }
    }
    let committed = match broken {
        None => control(&mut conn, "COMMIT").await,
        Some(error) => Err(error),
    };
    if committed.is_err() {
        // SQLite may have rolled back already; whichever, nothing of the group stays.
        let _ = control(&mut conn, "ROLLBACK").await;
        if conn.ping().await.is_err() {
            // A connection that does not answer is not returned to the pool.
            let _ = conn.close().await;
        }
    }
    let failed = committed.is_err();
    for answer in kept {
        answer(if failed { Err(StoreError::Stopped) } else { Ok(()) });
    }
    committed
}

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

async fn run_in_savepoint(conn: &mut AnyConnection, work: Work) -> Result<Option<Answer>, StoreError> {
    control(conn, "SAVEPOINT work").await?;
    let done = work(conn).await;
    let answer = match done {
        Done::Keep(answer) => Some(answer),
        Done::Undo => {
            control(conn, "ROLLBACK TO work").await?;
            None
        }
    };
    match control(conn, "RELEASE work").await {
        Ok(()) => Ok(answer),
        Err(error) => {
            if let Some(answer) = answer {
                answer(Err(StoreError::Stopped));
            }
            Err(error)
        }
    }
}

async fn control(conn: &mut AnyConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(conn).await.map_err(StoreError::doing("controlling a transaction"))?;
    Ok(())
}
