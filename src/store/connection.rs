//! What statements run on: a connection to either database, and the door for short reads.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Either, Execute, Executor, SqlStr, Transaction};

use super::database::Engine;
use super::sqlite::SqliteConnection;

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
}

impl From<PoolConnection<Any>> for Connection {
    fn from(connection: PoolConnection<Any>) -> Self {
        Self(Kind::Pooled(connection))
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
            Kind::Embedded(connection) => first(answer(connection, query)),
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

/// The door for statements that find few rows by a key, seeing what is committed. On the embedded database they run on
/// the calling thread: they must be short.
#[derive(Clone)]
pub struct Lookups(Door);

#[derive(Clone)]
enum Door {
    Server(AnyPool),
    Embedded(Arc<EmbeddedReaders>),
}

struct EmbeddedReaders {
    path: PathBuf,
    pragmas: String,
    /// As many as were ever in use at once: at most the threads that look something up.
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Lookups {
    pub(super) fn server(pool: AnyPool) -> Self {
        Self(Door::Server(pool))
    }

    pub(super) fn embedded(path: PathBuf, pragmas: String) -> Self {
        Self(Door::Embedded(Arc::new(EmbeddedReaders { path, pragmas, idle: Mutex::default() })))
    }

    /// Closes what is idle.
    pub(super) fn close(&self) {
        match &self.0 {
            Door::Embedded(readers) => readers.idle().clear(),
            // Whoever made the pool closes it.
            Door::Server(_) => {}
        }
    }
}

impl EmbeddedReaders {
    fn answer<'q>(&self, query: impl Execute<'q, Any>) -> Answered {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::open(&self.path, &self.pragmas)?,
        };
        let answered = answer(&mut connection, query);
        self.idle().push(connection);
        answered
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'c> Executor<'c> for &'c Lookups {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &self.0 {
            Door::Server(pool) => pool.fetch_many(query),
            Door::Embedded(readers) => streamed(readers.answer(query)),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match &self.0 {
            Door::Server(pool) => pool.fetch_optional(query),
            Door::Embedded(readers) => first(readers.answer(query)),
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

fn answer<'q>(connection: &mut SqliteConnection, mut query: impl Execute<'q, Any>) -> Answered {
    let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
    connection.run(query.sql().as_str(), arguments)
}

fn streamed<'e>(answered: Answered) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>> {
    match answered {
        Ok(answer) => stream::iter(answer.into_iter().map(Ok)).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

fn first<'e>(answered: Answered) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>> {
    let row = answered.map(|answer| answer.into_iter().find_map(Either::right));
    Box::pin(std::future::ready(row))
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

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}
