//! What statements run on: a connection to either database, and the doors for reading.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Either, Execute, Executor, SqlStr, Transaction};
use tokio::sync::Semaphore;

use super::database::{ACQUIRE, Engine};
use super::error::StoreError;
use super::rows::Rows;
use super::sqlite::SqliteConnection;
use super::statement::{Statement, written_for};

/// A connection of the store.
pub struct Connection(pub(super) Kind);

pub(super) enum Kind {
    /// To the embedded database: statements run on the calling thread and block it.
    Embedded(SqliteConnection),
    /// Of a pool, outside any transaction.
    Pooled(PoolConnection<Any>),
    /// Of a pool, in a transaction that ends with it.
    Transaction(Transaction<'static, Any>),
}

impl Connection {
    pub(super) fn engine(&self) -> Engine {
        let name = match &self.0 {
            Kind::Embedded(_) => return Engine::Sqlite,
            Kind::Pooled(connection) => connection.backend_name(),
            Kind::Transaction(transaction) => transaction.backend_name(),
        };
        if name == "PostgreSQL" { Engine::Postgres } else { Engine::Sqlite }
    }

    /// Carries out a list of statements and returns their rows: those that return any select the same columns.
    pub(super) async fn rows(&mut self, doing: &'static str, statements: Vec<Statement>) -> Result<Rows, StoreError> {
        let statements = written_for(self.engine(), statements);
        if let Kind::Embedded(connection) = &self.0 {
            return connection.fetch(&statements).map_err(StoreError::doing(doing));
        }
        let mut rows = Rows::default();
        for statement in statements {
            let answer = statement.query().fetch_all(&mut *self).await.map_err(StoreError::doing(doing))?;
            rows.extend_from(&answer).map_err(StoreError::doing(doing))?;
        }
        Ok(rows)
    }

    /// Carries out `statements` if `guard` returns a row; the rows of the last one that returns any.
    pub(super) async fn guarded(
        &mut self,
        doing: &'static str,
        guard: Statement,
        statements: Vec<Statement>,
    ) -> Result<Option<Rows>, StoreError> {
        if self.rows(doing, vec![guard]).await?.is_empty() {
            return Ok(None);
        }
        let mut last = Rows::default();
        for statement in statements {
            let rows = self.rows(doing, vec![statement]).await?;
            if !rows.is_empty() {
                last = rows;
            }
        }
        Ok(Some(last))
    }
}

/// A connection that goes back to where it came from.
pub(super) struct Lent {
    connection: Option<Connection>,
    home: Option<Arc<EmbeddedReaders>>,
}

impl Lent {
    /// The rows of a list of statements. On the embedded database they run on a thread that may block.
    pub(super) async fn fetch(mut self, doing: &'static str, statements: Vec<Statement>) -> Result<Rows, StoreError> {
        if matches!(self.0, Kind::Embedded(_)) {
            let read = move || futures::executor::block_on(self.rows(doing, statements));
            return tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Panicked)?;
        }
        self.rows(doing, statements).await
    }
}

impl std::ops::Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken away when it is dropped")
    }
}

impl std::ops::DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is taken away when it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(Connection(Kind::Embedded(connection))), Some(home)) = (self.connection.take(), &self.home) {
            home.idle().push(connection);
        }
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &mut self.0 {
            Kind::Embedded(connection) => streamed(answer(connection, query)),
            Kind::Pooled(connection) => (&mut **connection).fetch_many(query),
            Kind::Transaction(transaction) => (&mut **transaction).fetch_many(query),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &mut self.0 {
            Kind::Embedded(connection) => Box::pin(std::future::ready(first(answer(connection, query)))),
            Kind::Pooled(connection) => (&mut **connection).fetch_optional(query),
            Kind::Transaction(transaction) => (&mut **transaction).fetch_optional(query),
        }
    }

    fn prepare_with<'e>(
        self,
        _sql: SqlStr,
        _parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        unprepared()
    }
}

/// A door for reading, seeing what is committed.
#[derive(Clone)]
pub struct Readers(Door);

#[derive(Clone)]
enum Door {
    Server(AnyPool),
    Embedded(Arc<EmbeddedReaders>, Thread),
}

/// Where statements to the embedded database run, which block.
#[derive(Clone)]
enum Thread {
    /// On the calling one: they must be short.
    Own,
    /// On one that may block, as many at once as there are permits.
    Other(Arc<Semaphore>),
}

/// Connections to the embedded database. The one that was used last is used next: what each keeps of the file is void
/// with the next write, and the fewer read, the less memory is filled again and again.
struct EmbeddedReaders {
    path: PathBuf,
    pragmas: String,
    /// As many as were ever in use at once.
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    pub(super) fn server(pool: AnyPool) -> Self {
        Self(Door::Server(pool))
    }

    /// Two doors to the same connections: one for statements that read much, `at_once` of them, and one for short ones,
    /// which run on the calling thread.
    pub(super) fn embedded(path: PathBuf, pragmas: String, at_once: usize) -> (Self, Self) {
        let readers = Arc::new(EmbeddedReaders { path, pragmas, idle: Mutex::default() });
        let other = Thread::Other(Arc::new(Semaphore::new(at_once)));
        (Self(Door::Embedded(readers.clone(), other)), Self(Door::Embedded(readers, Thread::Own)))
    }

    /// A connection for lists of statements. On the embedded database these run on the calling thread and block it:
    /// for threads in the background, and short lists.
    pub(super) async fn lend(&self, doing: &'static str) -> Result<Lent, StoreError> {
        match &self.0 {
            Door::Server(pool) => {
                let connection = Connection(Kind::Pooled(pool.acquire().await.map_err(StoreError::doing(doing))?));
                Ok(Lent { connection: Some(connection), home: None })
            }
            Door::Embedded(readers, _) => {
                let connection = Connection(Kind::Embedded(readers.open().map_err(StoreError::doing(doing))?));
                Ok(Lent { connection: Some(connection), home: Some(readers.clone()) })
            }
        }
    }

    /// A connection in a transaction that nobody will commit; it ends with the connection.
    pub(super) async fn scratch(&self, doing: &'static str) -> Result<Connection, StoreError> {
        match &self.0 {
            Door::Server(pool) => {
                Ok(Connection(Kind::Transaction(pool.begin().await.map_err(StoreError::doing(doing))?)))
            }
            Door::Embedded(readers, _) => {
                let open = || {
                    let connection = SqliteConnection::open(&readers.path, &readers.pragmas)?;
                    connection.control("BEGIN")?;
                    Ok(connection)
                };
                Ok(Connection(Kind::Embedded(open().map_err(StoreError::doing(doing))?)))
            }
        }
    }

    /// Closes connections to the embedded database that nobody uses; they are opened again when they are wanted.
    pub(super) fn release(&self) {
        if let Door::Embedded(readers, _) = &self.0 {
            readers.idle().clear();
        }
    }

    /// How many connections to the embedded database nobody uses.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        match &self.0 {
            Door::Embedded(readers, _) => readers.idle().len(),
            Door::Server(_) => 0,
        }
    }

    pub(super) async fn close(&self) {
        match &self.0 {
            Door::Embedded(_, thread) => {
                if let Thread::Other(permits) = thread {
                    permits.close();
                }
                self.release();
            }
            Door::Server(pool) => pool.close().await,
        }
    }
}

impl EmbeddedReaders {
    fn answer(&self, question: Question) -> Answered {
        let mut connection = self.open()?;
        let answered = question.put_to(&mut connection);
        self.idle().push(connection);
        answered
    }

    async fn answer_on(self: Arc<Self>, thread: Thread, question: Question) -> Answered {
        match thread {
            Thread::Own => self.answer(question),
            Thread::Other(permits) => {
                let waited = tokio::time::timeout(ACQUIRE, permits.acquire_owned()).await;
                let permit = waited.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
                let answer = move || {
                    let _permit = permit;
                    self.answer(question)
                };
                tokio::task::spawn_blocking(answer).await.map_err(|_| sqlx::Error::WorkerCrashed)?
            }
        }
    }

    fn open(&self) -> Result<SqliteConnection, sqlx::Error> {
        let idle = self.idle().pop();
        idle.map_or_else(|| SqliteConnection::open(&self.path, &self.pragmas), Ok)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> Executor<'c> for &'c Readers {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &self.0 {
            Door::Server(pool) => pool.fetch_many(query),
            Door::Embedded(readers, thread) => {
                let question = Question::of(query);
                let answered = async { readers.clone().answer_on(thread.clone(), question?).await };
                stream::once(answered).flat_map(streamed).boxed()
            }
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &self.0 {
            Door::Server(pool) => pool.fetch_optional(query),
            Door::Embedded(readers, thread) => {
                let question = Question::of(query);
                Box::pin(async { first(readers.clone().answer_on(thread.clone(), question?).await) })
            }
        }
    }

    fn prepare_with<'e>(
        self,
        _sql: SqlStr,
        _parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        unprepared()
    }
}

type Answered = Result<super::sqlite::Answer, sqlx::Error>;

/// A statement with its arguments.
struct Question {
    sql: SqlStr,
    arguments: Option<AnyArguments>,
}

impl Question {
    fn of<'q>(mut query: impl Execute<'q, Any>) -> Result<Self, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        Ok(Self { sql: query.sql(), arguments })
    }

    fn put_to(self, connection: &mut SqliteConnection) -> Answered {
        connection.run(self.sql.as_str(), self.arguments)
    }
}

fn answer<'q>(connection: &mut SqliteConnection, query: impl Execute<'q, Any>) -> Answered {
    Question::of(query)?.put_to(connection)
}

fn streamed<'e>(answered: Answered) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>> {
    match answered {
        Ok(answer) => stream::iter(answer.into_iter().map(Ok)).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

fn first(answered: Answered) -> Result<Option<AnyRow>, sqlx::Error> {
    answered.map(|answer| answer.into_iter().find_map(Either::right))
}

/// Statements are prepared when they first run.
fn unprepared<'e>() -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>> {
    Box::pin(std::future::ready(Err(sqlx::Error::Protocol("statements are prepared when they run".to_owned()))))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}
