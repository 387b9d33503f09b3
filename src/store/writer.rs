//! The way writes take into a database.
//!
//! PostgreSQL: a transaction per work on a pool. SQLite: one thread owns the only writing connection, takes what waits,
//! runs each work in a savepoint and commits them together, so that one disk flush serves many sign-ins.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// A part of something in bulk. It may be lost in a power failure, with all that was written after it, until a later work
    /// of another urgency is answered: whoever writes in parts ends with one of these before he tells anybody.
    Part,
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
    bulk: mpsc::Sender<BulkWork>,
    /// Bulk works that were asked for.
    bulk_works: Arc<AtomicU64>,
    /// Asks the thread to end once what waits is done.
    closing: CancellationToken,
    closed: CancellationToken,
}

/// A work whose result type is erased: it ends in a call that answers its caller.
pub(super) type Work = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Done> + Send>;

/// A work, and whether its commit is to be on disk before it is answered.
type BulkWork = (Work, bool);

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
            Self::Pool(pool) => run_alone(pool, urgency, work).await,
            Self::Queue(queue) => {
                let (answer, answered) = oneshot::channel();
                let work = erase(work, answer);
                let asked = match urgency {
                    Urgency::Waited => queue.urgent.send(work).await.is_ok(),
                    Urgency::Bulk | Urgency::Part => {
                        queue.bulk_works.fetch_add(1, Ordering::Relaxed);
                        queue.bulk.send((work, urgency == Urgency::Bulk)).await.is_ok()
                    }
                };
                if !asked {
                    return Err(StoreError::Stopped.into());
                }
                answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
            }
        }
    }

    /// What bulk works are watched by; PostgreSQL looks after its memory itself.
    pub(super) fn watch(&self) -> Option<BulkWatch> {
        match self {
            Self::Pool(_) => None,
            Self::Queue(queue) => Some(BulkWatch { works: queue.bulk_works.clone(), queue: queue.bulk.downgrade() }),
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

/// Looks at a writer without keeping it.
pub(super) struct BulkWatch {
    /// How many bulk works were asked for.
    pub works: Arc<AtomicU64>,
    queue: mpsc::WeakSender<BulkWork>,
}

impl BulkWatch {
    /// Has the writing connection give back the pages that it keeps; `None`: the writer is gone.
    pub(super) async fn shrink(&self) -> Option<()> {
        let work: Work = Box::new(|conn| {
            Box::pin(async move {
                if let Err(error) = control(conn, "PRAGMA shrink_memory") {
                    tracing::debug!(%error, "the writing connection keeps its pages");
                }
                Done::Keep(Box::new(|_| ()))
            })
        });
        self.queue.upgrade()?.send((work, false)).await.ok()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.queue.strong_count() == 0
    }
}

async fn run_alone<T, E, F>(pool: &AnyPool, urgency: Urgency, work: F) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>>,
{
    let begun = pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
    let mut conn = Connection(Kind::Transaction(begun));
    if urgency == Urgency::Part {
        let later = sqlx::raw_sql("SET LOCAL synchronous_commit = off").execute(&mut conn).await;
        later.map_err(StoreError::doing("beginning a transaction"))?;
    }
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
/// `durable`: what is answered survives a power failure.
pub(super) fn queued(
    connection: SqliteConnection,
    checkpoints: Checkpoints,
    durable: bool,
) -> Result<Writer, StoreError> {
    let (urgent, urgent_works) = mpsc::channel(QUEUE);
    let (bulk, bulk_works) = mpsc::channel(QUEUE);
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let thread = {
        let (closing, closed) = (closing.clone(), closed.clone().drop_guard());
        move || {
            // Works wait for their own statements alone, and those are done when they are asked for.
            let conn = Flushing { conn: Connection(Kind::Embedded(connection)), durable, flushes: durable };
            futures::executor::block_on(serve(conn, checkpoints, urgent_works, bulk_works, closing));
            drop(closed);
        }
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(thread)
        .map_err(|error| StoreError::doing("starting the writing thread")(error.into()))?;
    Ok(Writer::Queue(Queue { urgent, bulk, bulk_works: Arc::default(), closing, closed }))
}

/// The writing connection, and whether its commits wait for the disk.
struct Flushing {
    conn: Connection,
    /// Whether they ever do.
    durable: bool,
    flushes: bool,
}

impl Flushing {
    /// Has commits from now on wait for the disk, or not. The journal is one file, written in the order of commits: one that
    /// waits takes with it all before it.
    fn set(&mut self, flushes: bool) -> Result<&mut Connection, StoreError> {
        if self.durable && self.flushes != flushes {
            control(&self.conn, if flushes { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
            self.flushes = flushes;
        }
        Ok(&mut self.conn)
    }
}

async fn serve(
    mut conn: Flushing,
    mut checkpoints: Checkpoints,
    mut urgent: mpsc::Receiver<Work>,
    mut bulk: mpsc::Receiver<BulkWork>,
    closing: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            work = urgent.recv() => match work {
                Some(work) => Next::Urgent(work),
                // Nobody can ask any more; what waits is still done.
                None => match bulk.try_recv() {
                    Ok(work) => Next::Bulk(work),
                    Err(_) => return,
                },
            },
            Some(work) = bulk.recv() => Next::Bulk(work),
            () = closing.cancelled(), if !urgent.is_closed() => {
                urgent.close();
                bulk.close();
                continue;
            }
        };
        // Bulk works commit one by one, so that an urgent one never waits for more than the one that runs.
        let (committed, urgency) = match next {
            Next::Urgent(work) => (commit_together(&mut conn, work, &mut urgent).await, Urgency::Waited),
            Next::Bulk(work) => (commit_alone(&mut conn, work).await, Urgency::Bulk),
        };
        match committed {
            Ok(works) => checkpoints.committed(urgency, works),
            Err(error) => tracing::error!(error = %error, "the database writer could not commit"),
        }
    }
}

enum Next {
    Urgent(Work),
    Bulk(BulkWork),
}

/// Without a savepoint: while one is open, SQLite keeps a copy of each page that the work changes, and walks through all of
/// them at the end of each statement.
async fn commit_alone(conn: &mut Flushing, (work, flushes): BulkWork) -> Result<usize, StoreError> {
    let conn = conn.set(flushes)?;
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
    conn: &mut Flushing,
    first: Work,
    more: &mut mpsc::Receiver<Work>,
) -> Result<usize, StoreError> {
    let conn = conn.set(true)?;
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
