//! A database: where it is, how it is opened, and the two doors into it (`read` and `write`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};

use crate::config::DatabaseUrl;

use super::checkpoint::{self, Checkpoints};
use super::connection::{Connection, Kind, Lent, Readers};
use super::error::StoreError;
use super::migrate;
use super::rest;
use super::rows::Rows;
use super::sqlite::SqliteConnection;
use super::statement::{Statement, written_for};
use super::statistics::Statistics;
use super::writer::{self, Urgency, Writer};

/// Which of the two embedded files (design D3). PostgreSQL holds the tables of both in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Tenant directory, credentials, sessions, grants, lockout, audit: what was acknowledged survives power loss.
    Gateway,
    /// Connector spaces, metaverse, runs: rebuildable from the directories.
    Engine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Connections that read at the same time.
const READERS: u32 = 8;
/// Connections that write at the same time on PostgreSQL; SQLite has one writer.
const POSTGRES_WRITERS: u32 = 16;
/// How long PostgreSQL waits for the next statement of a write before it ends the transaction. Statements of a write follow one
/// another at once; a node that stands still among them (frozen, or cut off) keeps its locks no longer than this, which is
/// less than the engine lease lasts by default, so that whoever takes over finds none.
const WRITER_SILENT: &str = "8s";
/// The same for previews, which think between their statements.
const READER_SILENT: &str = "60s";
/// What PostgreSQL is told of this client's statements, which ask for few rows by a key, or for the next page in the order
/// of an index: that a page from the middle costs no more than the next one (it is in memory, or on a disk that does not
/// turn), without which it sorts all that is left of a queue for each page of it; and that neither workers beside it nor
/// compiling it ever pays.
const PLANNING: &str = "SET random_page_cost = 1.1; SET max_parallel_workers_per_gather = 0; SET jit = off";
/// KiB of pages that a connection of SQLite keeps between statements: one that looks up what a sign-in needs, one that reads
/// for the engine, and the one that writes, which a first import leads all over its indices. Given back by [`rest`].
const LOOKUP_CACHE: u32 = 2_000;
const ENGINE_CACHE: u32 = 16_000;
const WRITER_CACHE: u32 = 64_000;
/// How long a statement may wait for a connection before it is an error.
pub(super) const ACQUIRE: Duration = Duration::from_secs(10);

/// One database with its reader pool and its writer. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    engine: Engine,
    readers: Readers,
    lookups: Readers,
    writer: Writer,
    statements: Arc<AtomicU64>,
    /// Of PostgreSQL, kept with the engine's tables.
    _statistics: Option<Statistics>,
}

impl Database {
    /// Opens (and creates, for SQLite) the database of `room` and brings its tables to this version.
    pub async fn open(url: &DatabaseUrl, room: Room) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match url {
            DatabaseUrl::Sqlite { directory } => {
                let file = match room {
                    Room::Gateway => "gateway.db",
                    Room::Engine => "engine.db",
                };
                Self::open_sqlite(directory.join(file), room).await
            }
            DatabaseUrl::Postgres { url } => Self::open_postgres(url, room).await,
        }
    }

    /// Opens (and creates) the engine's tables of the staging instance `name`: a file beside the others, or a schema of its
    /// own in the same database. The name is made of small letters, digits and `_`.
    pub async fn open_staging(url: &DatabaseUrl, name: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        match url {
            DatabaseUrl::Sqlite { directory } => {
                Self::open_sqlite(directory.join(format!("engine-{name}.db")), Room::Engine).await
            }
            DatabaseUrl::Postgres { url } => {
                let schema = format!("staging_{name}");
                make_schema(url, &schema).await?;
                let mut own = parsed(url)?;
                own.query_pairs_mut().append_pair("options", &format!("-c search_path={schema}"));
                Self::open_postgres(own.as_str(), Room::Engine).await
            }
        }
    }

    async fn open_sqlite(path: std::path::PathBuf, room: Room) -> Result<Self, StoreError> {
        let synchronous = match room {
            Room::Gateway => "FULL",
            Room::Engine => "NORMAL",
        };
        make_private(&path).map_err(|error| StoreError::doing("making the database file")(error.into()))?;
        let cache = match room {
            Room::Gateway => LOOKUP_CACHE,
            Room::Engine => ENGINE_CACHE,
        };
        let pragmas = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON; \
             PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 2000; \
             PRAGMA cache_size = -{cache}"
        );
        let open = SqliteConnection::open(&path, &pragmas);
        let open = open.map_err(StoreError::doing("opening the database file for writing"))?;
        let mut conn = Connection(Kind::Embedded(open));
        migrate::run(&mut conn, room).await?;
        for own in [checkpoint::WRITERS_OWN.to_owned(), format!("PRAGMA cache_size = -{WRITER_CACHE}")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(own))
                .execute(&mut conn)
                .await
                .map_err(StoreError::doing("opening the database file for writing"))?;
        }
        let Kind::Embedded(open) = conn.0 else { return Err(StoreError::Stopped) };
        let checkpoints = Checkpoints::start(&path, &pragmas)?;
        let (readers, lookups) = Readers::embedded(path, pragmas, READERS as usize);
        let writer = writer::queued(open, checkpoints, room == Room::Gateway)?;
        if let Some(watch) = writer.watch() {
            rest::keep(watch, (room == Room::Engine).then(|| readers.clone()));
        }
        Ok(Self { engine: Engine::Sqlite, readers, lookups, writer, statements: Arc::default(), _statistics: None })
    }

    async fn open_postgres(url: &str, room: Room) -> Result<Self, StoreError> {
        let url = keeping_statements(url)?;
        let pool = |size: u32, silent: &'static str| {
            let options = connect_options(&url);
            async move {
                let pool = AnyPoolOptions::new()
                    .max_connections(size)
                    .acquire_timeout(ACQUIRE)
                    .after_connect(move |conn, _| {
                        let limit = format!("SET idle_in_transaction_session_timeout = '{silent}'; {PLANNING}");
                        Box::pin(async move {
                            sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(conn).await?;
                            Ok(())
                        })
                    })
                    .connect_with(options?);
                pool.await.map_err(StoreError::doing("connecting to PostgreSQL"))
            }
        };
        let writers = pool(POSTGRES_WRITERS, WRITER_SILENT).await?;
        let conn = writers.acquire().await.map_err(StoreError::doing("connecting to PostgreSQL"))?;
        let mut conn = Connection(Kind::Pooled(conn));
        // Two nodes that start at once must not migrate at once.
        let lock = |sql: &'static str| sqlx::raw_sql(sql);
        lock("SELECT pg_advisory_lock(7216551)")
            .execute(&mut conn)
            .await
            .map_err(StoreError::doing("waiting for another node's migration"))?;
        let migrated = migrate::run(&mut conn, room).await;
        if migrated.is_err() {
            // The failed transaction must end before the lock can be given back; its own error is what counts.
            let _ = lock("ROLLBACK").execute(&mut conn).await;
        }
        lock("SELECT pg_advisory_unlock(7216551)")
            .execute(&mut conn)
            .await
            .map_err(StoreError::doing("ending the migration"))?;
        migrated?;
        drop(conn);
        let pooled = pool(READERS, READER_SILENT).await?;
        let readers = Readers::server(pooled.clone());
        // One keeper for both rooms: they share the database.
        let statistics = (room == Room::Engine).then(|| Statistics::keep(pooled));
        Ok(Self {
            engine: Engine::Postgres,
            lookups: readers.clone(),
            readers,
            writer: Writer::Pool(writers),
            statements: Arc::default(),
            _statistics: statistics,
        })
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The door for reading: statements outside any transaction, seeing what is committed.
    pub fn read(&self) -> &Readers {
        &self.readers
    }

    /// The door for statements that find few rows by a key, as every sign-in asks them. On SQLite they run on the calling
    /// thread; whatever reads more goes through [`Self::read`].
    pub fn lookups(&self) -> &Readers {
        &self.lookups
    }

    /// A connection for reading, for functions that read within a write too.
    pub(super) async fn reader(&self, doing: &'static str) -> Result<Lent, StoreError> {
        self.lookups.lend(doing).await
    }

    /// A transaction that nobody will commit.
    pub(super) async fn scratch(&self, doing: &'static str) -> Result<Connection, StoreError> {
        self.lookups.scratch(doing).await
    }

    /// The rows of a list of statements, which select the same columns, seeing what is committed.
    pub(super) async fn fetch(&self, doing: &'static str, statements: Vec<Statement>) -> Result<Rows, StoreError> {
        self.count(&statements);
        let statements = written_for(self.engine, statements);
        timed("read", async { self.reader(doing).await?.fetch(doing, statements).await }).await
    }

    /// Carries out a list of statements in one transaction, if `guard` returns a row in it; `None`: it does not. Returns
    /// the rows of the last statement that returns any.
    pub(super) async fn write_list(
        &self,
        doing: &'static str,
        guard: Statement,
        statements: Vec<Statement>,
    ) -> Result<Option<Rows>, StoreError> {
        self.count(&statements);
        let statements = written_for(self.engine, statements);
        self.write(Urgency::Bulk, move |conn| Box::pin(conn.guarded(doing, guard, statements))).await
    }

    #[cfg(test)]
    pub(super) fn writer_watch(&self) -> Option<writer::BulkWatch> {
        self.writer.watch()
    }

    /// Statements of lists that were carried out since the start.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    fn count(&self, statements: &[Statement]) {
        self.statements.fetch_add(statements.len() as u64, Ordering::Relaxed);
    }

    /// The door for writing: runs `work` in a transaction and answers after the commit is durable (but for [`Urgency::Part`],
    /// and for `engine.db`, which can be made again).
    ///
    /// An `Err` of `work` rolls back what it wrote and is returned as it is. On SQLite, urgent works that wait
    /// together share one commit (group commit), each in a savepoint of its own; [`Urgency::Bulk`] waits while anything
    /// urgent does, and each of its works has a commit of its own.
    /// `work` must not wait for anything but its own statements.
    pub async fn write<T, E, F>(&self, urgency: Urgency, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        timed("write", self.writer.run(urgency, work)).await
    }

    /// Closes the connections after the queued writes are done.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({:?})", self.engine)
    }
}

/// Adds the time from the call at a door to its answer to the metric: the doors for writes, and for lists of reads.
async fn timed<T>(door: &'static str, work: impl Future<Output = T>) -> T {
    let called = Instant::now();
    let done = work.await;
    let taken = u64::try_from(called.elapsed().as_micros()).unwrap_or(u64::MAX);
    metrics::counter!("landbridge_store_microseconds_total", "door" => door).increment(taken);
    done
}

/// Makes the file, if there is none, readable by the gateway's user alone: SQLite would leave that to the umask. Its
/// journals take the mode of the file.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| ())
}

async fn make_schema(url: &str, name: &str) -> Result<(), StoreError> {
    use sqlx::Connection as _;
    let doing = || StoreError::doing("making the schema of a staging instance");
    let mut conn = sqlx::AnyConnection::connect_with(&connect_options(url)?).await.map_err(doing())?;
    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut conn).await.map_err(doing())?;
    conn.close().await.map_err(doing())
}

/// The address with how many statements a connection keeps prepared, unless whoever wrote it says so: a cycle has about 300
/// (lists of four sizes among them), and each that is not kept is parsed anew.
fn keeping_statements(url: &str) -> Result<String, StoreError> {
    const OPTION: &str = "statement-cache-capacity";
    let mut own = parsed(url)?;
    if !own.query_pairs().any(|(name, _)| name == OPTION) {
        own.query_pairs_mut().append_pair(OPTION, "500");
    }
    Ok(own.into())
}

fn parsed(url: &str) -> Result<url::Url, StoreError> {
    url::Url::parse(url)
        .map_err(|error| StoreError::doing("reading the store url")(sqlx::Error::Configuration(error.into())))
}

fn connect_options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    url.parse().map_err(StoreError::doing("reading the store url"))
}
