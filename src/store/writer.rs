//! The way writes take into a database.
//!
//! PostgreSQL: a transaction per work on a pool. SQLite: one thread owns the only writing connection, takes what waits,
//! runs each work in a savepoint and commits them together, so that one disk flush serves many sign-ins.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::AnyPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::checkpoint::Checkpoints;
use super::connection::{Connection, Kind};
use super::error::StoreError;
use super::sqlite::SqliteConnection;

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
    Queue(Queue),
}

#[derive(Clone)]
pub(super) struct Queue {
    urgent: mpsc::Sender<Work>,
    bulk: mpsc::Sender<Work>,
    /// Asks the thread to end once what waits is done.
    closing: CancellationToken,
    closed: CancellationToken,
}

/// A work whose result type is erased: it ends in a call that answers its caller.
pub(super) type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Done> + Send>;

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
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        match self {
            Self::Pool(pool) => run_alone(pool, work).await,
            Self::Queue(queue) => {
                let (answer, answered) = oneshot::channel();
                let queue = match urgency {
                    Urgency::Waited => &queue.urgent,
                    Urgency::Bulk => &queue.bulk,
                };
                queue.send(erase(work, answer)).await.map_err(|_| StoreError::Stopped)?;
                answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Pool(pool) => pool.close().await,
            Self::Queue(queue) => {
                queue.closing.cancel();
                queue.closed.cancelled().await;
            }
        }
    }
}

async fn run_alone<T, E, F>(pool: &AnyPool, work: F) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    let begun = pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
    let mut conn = Connection(Kind::Transaction(begun));
    let worked = AssertUnwindSafe(work(&mut conn)).catch_unwind().await;
    if matches!(worked, Ok(Ok(_))) {
        // PostgreSQL answers the COMMIT of a failed transaction with a rollback and no error: a work that passed over
        // an error would be told that what it wrote is kept.
        sqlx::raw_sql("SELECT 1").execute(&mut conn).await.map_err(StoreError::doing("committing"))?;
    }
    match (worked, conn.0) {
        (Ok(Ok(value)), Kind::Transaction(transaction)) => {
            transaction.commit().await.map_err(StoreError::doing("committing"))?;
            Ok(value)
        }
        // Dropping the transaction rolls back.
        (Ok(Err(error)), _) => Err(error),
        (Ok(Ok(_)), Kind::Embedded(_) | Kind::Pooled(_)) | (Err(_), _) => Err(StoreError::Panicked.into()),
    }
}

fn erase<T, E, F>(work: F, answer: oneshot::Sender<Result<T, E>>) -> Work
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
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

/// Starts the thread that owns the writing connection. It ends when it is asked to, or when every handle is gone.
pub(super) fn queued(connection: SqliteConnection, checkpoints: Checkpoints) -> Result<Writer, StoreError> {
    let (urgent, urgent_works) = mpsc::channel(QUEUE);
    let (bulk, bulk_works) = mpsc::channel(QUEUE);
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let thread = {
        let (closing, closed) = (closing.clone(), closed.clone().drop_guard());
        move || {
            // Works wait for their own statements alone, and those are done when they are asked for.
            futures::executor::block_on(serve(connection, checkpoints, urgent_works, bulk_works, closing));
            drop(closed);
        }
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(thread)
        .map_err(|error| StoreError::doing("starting the writing thread")(error.into()))?;
    Ok(Writer::Queue(Queue { urgent, bulk, closing, closed }))
}

async fn serve(
    connection: SqliteConnection,
    mut checkpoints: Checkpoints,
    mut urgent: mpsc::Receiver<Work>,
    mut bulk: mpsc::Receiver<Work>,
    closing: CancellationToken,
) {
    let mut conn = Connection(Kind::Embedded(connection));
    loop {
        let (first, urgency) = tokio::select! {
            biased;
            work = urgent.recv() => match work {
                Some(work) => (work, Urgency::Waited),
                // Nobody can ask any more; what waits is still done.
                None => match bulk.try_recv() {
                    Ok(work) => (work, Urgency::Bulk),
                    Err(_) => return,
                },
            },
            Some(work) = bulk.recv() => (work, Urgency::Bulk),
            () = closing.cancelled(), if !urgent.is_closed() => {
                urgent.close();
                bulk.close();
                continue;
            }
        };
        // Bulk works commit one by one, so that an urgent one never waits for more than the one that runs.
        let more = match urgency {
            Urgency::Waited => Some(&mut urgent),
            Urgency::Bulk => None,
        };
        match commit_group(&mut conn, first, more).await {
            Ok(works) => checkpoints.committed(urgency, works),
            Err(error) => tracing::error!(error = %error, "the database writer could not commit"),
        }
    }
}

async fn commit_group(
    conn: &mut Connection,
    first: Work,
    more: Option<&mut mpsc::Receiver<Work>>,
) -> Result<usize, StoreError> {
    match more {
        Some(more) => commit_together(conn, first, more).await,
        None => commit_alone(conn, first).await,
    }
}

/// Without a savepoint: while one is open, SQLite keeps a copy of each page that the work changes, and walks through all of
/// them at the end of each statement.
async fn commit_alone(conn: &mut Connection, work: Work) -> Result<usize, StoreError> {
    control(conn, "BEGIN IMMEDIATE")?;
    match work(conn).await {
        Done::Keep(answer) => {
            let committed = control(conn, "COMMIT");
            if committed.is_err() {
                // SQLite may have rolled back already; whichever, nothing of the work stays.
                let _ = control(conn, "ROLLBACK");
            }
            answer(if committed.is_err() { Err(StoreError::Stopped) } else { Ok(()) });
            committed.map(|()| 1)
        }
        Done::Undo => {
            let _ = control(conn, "ROLLBACK");
            Ok(0)
        }
    }
}

/// Runs what waits, each work in a savepoint of its own, and commits all of them at once.
async fn commit_together(
    conn: &mut Connection,
    first: Work,
    more: &mut mpsc::Receiver<Work>,
) -> Result<usize, StoreError> {
    control(conn, "BEGIN IMMEDIATE")?;
    let opened = Instant::now();
    let mut kept = Vec::new();
    let mut next = Some(first);
    let mut broken = None;
    while let Some(work) = next.take() {
        match run_in_savepoint(conn, work).await {
            Ok(Some(answer)) => kept.push(answer),
            Ok(None) => {}
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
        if kept.len() < GROUP && opened.elapsed() < GROUP_TIME {
            next = more.try_recv().ok();
        }
    }
    let committed = match broken {
        None => control(conn, "COMMIT"),
        Some(error) => Err(error),
    };
    if committed.is_err() {
        // SQLite may have rolled back already; whichever, nothing of the group stays.
        let _ = control(conn, "ROLLBACK");
    }
    let (failed, works) = (committed.is_err(), kept.len());
    for answer in kept {
        answer(if failed { Err(StoreError::Stopped) } else { Ok(()) });
    }
    committed.map(|()| works)
}

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

async fn run_in_savepoint(conn: &mut Connection, work: Work) -> Result<Option<Answer>, StoreError> {
    control(conn, "SAVEPOINT work")?;
    let done = work(conn).await;
    let answer = match done {
        Done::Keep(answer) => Some(answer),
        Done::Undo => {
            control(conn, "ROLLBACK TO work")?;
            None
        }
    };
    match control(conn, "RELEASE work") {
        Ok(()) => Ok(answer),
        Err(error) => {
            if let Some(answer) = answer {
                answer(Err(StoreError::Stopped));
            }
            Err(error)
        }
    }
}

fn control(conn: &Connection, sql: &'static str) -> Result<(), StoreError> {
    match &conn.0 {
        Kind::Embedded(connection) => connection.control(sql).map_err(StoreError::doing("controlling a transaction")),
        Kind::Pooled(_) | Kind::Transaction(_) => Err(StoreError::Stopped),
    }
}
