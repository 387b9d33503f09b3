//! A connection to PostgreSQL or SQLite that reads one state of the data, and only reads.

use std::str::FromStr as _;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Executor as _, Row as _, SqlSafeStr as _, TypeInfo as _};

use crate::config::SourceDatabase;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A column of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The database's word for its type, such as `TIMESTAMPTZ`.
    pub kind: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("the database could not be opened")]
    Open(#[source] sqlx::Error),
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
    #[error("the database did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
}

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A transaction that sees one state of the data.
pub struct Snapshot {
    connection: Connection,
    deadline: Duration,
}

/// One row, as texts.
pub type TextRow = Vec<Option<String>>;

impl Snapshot {
    pub fn open(database: &SourceDatabase, deadline: Duration) -> BoxFuture<'_, Result<Self, SqlError>> {
        let opening = async move {
            let connection = match database {
                SourceDatabase::Sqlite { file } => {
                    let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(deadline);
                    Connection::Sqlite(options.connect().await.map_err(SqlError::Open)?)
                }
                SourceDatabase::Postgres { .. } => {
                    Connection::Postgres(postgres_options(database)?.connect().await.map_err(SqlError::Open)?)
                }
            };
            let mut snapshot = Self { connection, deadline };
            snapshot.begin().await.map_err(SqlError::Statement)?;
            Ok(snapshot)
        };
        async move { tokio::time::timeout(deadline, opening).await.map_err(|_| SqlError::Deadline(deadline))? }.boxed()
    }

    fn begin(&mut self) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        const POSTGRES: &str =
            "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        match &mut self.connection {
            Connection::Sqlite(connection) => connection.execute(sqlx::raw_sql("BEGIN")).map_ok(drop).boxed(),
            Connection::Postgres(connection) => connection.execute(sqlx::raw_sql(POSTGRES)).map_ok(drop).boxed(),
        }
    }

    pub fn engine(&self) -> Engine {
        match self.connection {
            Connection::Sqlite(_) => Engine::Sqlite,
            Connection::Postgres(_) => Engine::Postgres,
        }
    }

    /// The columns that a statement would return.
    pub fn columns(&mut self, sql: String) -> BoxFuture<'_, Result<Vec<Column>, SqlError>> {
        let deadline = self.deadline;
        let sql = AssertSqlSafe(sql).into_sql_str();
        let preparing = match &mut self.connection {
            Connection::Sqlite(connection) => connection.prepare(sql).map_ok(|s| columns_of(&s)).boxed(),
            Connection::Postgres(connection) => connection.prepare(sql).map_ok(|s| columns_of(&s)).boxed(),
        };
        let limited = async move {
            let columns = tokio::time::timeout(deadline, preparing).await.map_err(|_| SqlError::Deadline(deadline))?;
            columns.map_err(SqlError::Statement)
        };
        limited.boxed()
    }

    /// The first row of a statement.
    pub fn first(&mut self, sql: String, parameters: Vec<String>) -> BoxFuture<'_, Result<Option<TextRow>, SqlError>> {
        let mut rows = self.rows(sql, parameters);
        async move { rows.next().await }.boxed()
    }

    /// The rows of a statement, as the database sends them.
    pub fn rows(&mut self, sql: String, parameters: Vec<String>) -> Rows<'_> {
        macro_rules! rows {
            ($connection:ident, $row:ty) => {{
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for parameter in parameters {
                    query = query.bind(parameter);
                }
                let texts = |row: $row| (0..row.len()).map(|index| row.try_get(index)).collect::<Result<TextRow, _>>();
                let rows = query.fetch($connection);
                rows.map(move |row| row.and_then(texts).map_err(SqlError::Statement)).boxed()
            }};
        }
        let rows = match &mut self.connection {
            Connection::Sqlite(connection) => rows!(connection, sqlx::sqlite::SqliteRow),
            Connection::Postgres(connection) => rows!(connection, sqlx::postgres::PgRow),
        };
        Rows { rows, deadline: self.deadline }
    }
}

/// Rows under way.
pub struct Rows<'a> {
    rows: BoxStream<'a, Result<TextRow, SqlError>>,
    /// Of each row.
    deadline: Duration,
}

impl Rows<'_> {
    pub async fn next(&mut self) -> Result<Option<TextRow>, SqlError> {
        let next = tokio::time::timeout(self.deadline, self.rows.try_next()).await;
        next.map_err(|_| SqlError::Deadline(self.deadline))?
    }
}

fn columns_of<S: sqlx::Statement>(statement: &S) -> Vec<Column> {
    let column = |column: &<S::Database as sqlx::Database>::Column| Column {
        name: column.name().to_owned(),
        kind: column.type_info().name().to_ascii_uppercase(),
    };
    statement.columns().iter().map(column).collect()
}

/// TLS with chain and name verified, unless the server is on a socket of this machine.
fn postgres_options(database: &SourceDatabase) -> Result<PgConnectOptions, SqlError> {
    let SourceDatabase::Postgres { url, password, ca_file } = database else {
        return Err(SqlError::Open(sqlx::Error::Configuration("the database is not PostgreSQL".into())));
    };
    let mut options = PgConnectOptions::from_str(url).map_err(SqlError::Open)?.application_name("landbridge");
    if let Some(password) = password {
        options = options.password(password.expose());
    }
    let on_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
    if !on_socket {
        options = options.ssl_mode(PgSslMode::VerifyFull);
        if let Some(file) = ca_file {
            options = options.ssl_root_cert(file);
        }
    }
    Ok(options)
}
