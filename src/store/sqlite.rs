//! A connection to an SQLite file whose statements run on the thread that asks.
//!
//! The driver of `sqlx` hands each statement to a thread of the connection's own and gets each row back by message; a
//! sign-in is some thirty short statements, and the changes of thread cost more than the statements. This one speaks
//! the driver's types, so that a statement is written once for both databases.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use sqlx::Either;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyTypeInfo, AnyTypeInfoKind, AnyValue};
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx_core::any::{AnyColumn, AnyValueKind};
use sqlx_core::ext::ustr::UStr;

use super::rows::{CellValue, Rows};
use super::statement::{Arg, Statement};

/// Statements that a connection keeps prepared.
const PREPARED: usize = 200;

/// What a statement yields: its rows, then what it changed.
pub(super) type Answer = Vec<Either<AnyQueryResult, AnyRow>>;

/// A connection. Its statements block.
pub(super) struct SqliteConnection {
    connection: rusqlite::Connection,
    /// By the text that the caller wrote.
    known: HashMap<Box<str>, Arc<Known>>,
}

/// A statement as this file knows it.
struct Known {
    /// With `?n` for `$n`: SQLite looks the latter up by name and counts in order of appearance.
    sql: String,
    columns: Vec<AnyColumn>,
    names: Arc<sqlx_core::HashMap<UStr, usize>>,
}

impl SqliteConnection {
    pub(super) fn open(path: &Path, pragmas: &str) -> Result<Self, sqlx::Error> {
        let connection = rusqlite::Connection::open(path).map_err(Refused::error)?;
        connection.execute_batch(pragmas).map_err(Refused::error)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Ok(Self { connection, known: HashMap::new() })
    }

    /// Runs one statement; without arguments any number of them, whose rows nobody sees.
    pub(super) fn run(&mut self, sql: &str, arguments: Option<AnyArguments>) -> Result<Answer, sqlx::Error> {
        let answer = match arguments {
            Some(arguments) => self.run_prepared(sql, &arguments.values.0),
            None => self.connection.execute_batch(sql).map(|()| Answer::new()),
        };
        let mut answer = answer.map_err(Refused::error)?;
        let rows_affected = self.connection.changes();
        answer.push(Either::Left(AnyQueryResult { rows_affected, last_insert_id: None }));
        Ok(answer)
    }

    /// The rows of a list of statements: those that return any select the same columns.
    pub(super) fn fetch(&self, statements: &[Statement]) -> Result<Rows, sqlx::Error> {
        let mut rows = Rows::default();
        for statement in statements {
            self.fetch_one(statement, &mut rows).map_err(Refused::error)?;
        }
        Ok(rows)
    }

    fn fetch_one(&self, statement: &Statement, rows: &mut Rows) -> rusqlite::Result<()> {
        let mut prepared = self.connection.prepare_cached(&numbered(&statement.sql))?;
        for (index, arg) in statement.args.iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, arg)?;
        }
        let columns = prepared.column_count();
        if columns > 0 && rows.columns().is_empty() {
            *rows = Rows::of(prepared.column_names());
        }
        let mut answer = prepared.raw_query();
        while let Some(row) = answer.next()? {
            for column in 0..columns {
                rows.push(match row.get_ref(column)? {
                    ValueRef::Null => CellValue::Null,
                    ValueRef::Integer(value) => CellValue::Int(value),
                    ValueRef::Text(text) => CellValue::Text(
                        std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(column, error))?,
                    ),
                    other @ (ValueRef::Real(_) | ValueRef::Blob(_)) => {
                        let name = rows.columns().get(column).map(ToString::to_string).unwrap_or_default();
                        return Err(rusqlite::Error::InvalidColumnType(column, name, other.data_type()));
                    }
                });
            }
        }
        Ok(())
    }

    /// Begins, ends or divides a transaction.
    pub(super) fn control(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        let run = || self.connection.prepare_cached(sql)?.raw_execute();
        run().map(|_| ()).map_err(Refused::error)
    }

    fn run_prepared(&mut self, sql: &str, arguments: &[AnyValueKind]) -> rusqlite::Result<Answer> {
        let known = self.known(sql)?;
        let mut statement = self.connection.prepare_cached(&known.sql)?;
        for (index, argument) in arguments.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, Bound(argument))?;
        }
        let mut rows = statement.raw_query();
        let mut answer = Answer::new();
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(known.columns.len());
            for column in 0..known.columns.len() {
                values.push(AnyValue { kind: value(column, row.get_ref(column)?)? });
            }
            let row = AnyRow { column_names: known.names.clone(), columns: known.columns.clone(), values };
            answer.push(Either::Right(row));
        }
        Ok(answer)
    }

    fn known(&mut self, sql: &str) -> rusqlite::Result<Arc<Known>> {
        if let Some(known) = self.known.get(sql) {
            return Ok(known.clone());
        }
        let numbered = numbered(sql);
        let statement = self.connection.prepare_cached(&numbered)?;
        let columns: Vec<_> = statement
            .column_names()
            .into_iter()
            .enumerate()
            .map(|(ordinal, name)| AnyColumn {
                ordinal,
                name: UStr::new(name),
                type_info: AnyTypeInfo { kind: AnyTypeInfoKind::Null },
            })
            .collect();
        drop(statement);
        let names = columns.iter().map(|column| (column.name.clone(), column.ordinal)).collect();
        let known = Arc::new(Known { sql: numbered, columns, names: Arc::new(names) });
        // Statements are of a few fixed sizes; should a caller forget that, memory stays bounded.
        if self.known.len() >= 4 * PREPARED {
            self.known.clear();
        }
        self.known.insert(sql.into(), known.clone());
        Ok(known)
    }
}

/// `sql` with `?n` for `$n`. No statement has a `$` elsewhere.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

impl ToSql for Arg {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) | Self::OptInt(Some(value)) => ValueRef::Integer(*value),
            Self::Text(value) | Self::OptText(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::OptInt(None) | Self::OptText(None) => ValueRef::Null,
        }))
    }
}

/// An argument as SQLite takes it.
struct Bound<'a>(&'a AnyValueKind);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self.0 {
            AnyValueKind::Null(_) => ValueRef::Null,
            AnyValueKind::Bool(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::SmallInt(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::Integer(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::BigInt(value) => ValueRef::Integer(*value),
            AnyValueKind::Real(value) => ValueRef::Real(f64::from(*value)),
            AnyValueKind::Double(value) => ValueRef::Real(*value),
            AnyValueKind::Text(text) => ValueRef::Text(text.as_bytes()),
            AnyValueKind::TextSlice(text) => ValueRef::Text(text.as_bytes()),
            AnyValueKind::Blob(bytes) => ValueRef::Blob(bytes),
            other => {
                let unknown = format!("SQLite takes no argument like {other:?}");
                return Err(rusqlite::Error::ToSqlConversionFailure(unknown.into()));
            }
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

fn value(column: usize, value: ValueRef<'_>) -> rusqlite::Result<AnyValueKind> {
    Ok(match value {
        ValueRef::Null => AnyValueKind::Null(AnyTypeInfoKind::Null),
        ValueRef::Integer(value) => AnyValueKind::BigInt(value),
        ValueRef::Real(value) => AnyValueKind::Double(value),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(column, error))?;
            AnyValueKind::Text(Arc::new(text.to_owned()))
        }
        ValueRef::Blob(bytes) => AnyValueKind::Blob(Arc::new(bytes.to_vec())),
    })
}

/// An error of SQLite in the words of `sqlx`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Refused(rusqlite::Error);

impl Refused {
    fn error(error: rusqlite::Error) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Self(error)))
    }
}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        match &self.0 {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message,
            _ => "SQLite refused",
        }
    }

    fn kind(&self) -> ErrorKind {
        use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
        match self.0.sqlite_error().map(|error| error.extended_code) {
            Some(SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE) => ErrorKind::UniqueViolation,
            _ => ErrorKind::Other,
        }
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    fn arguments(values: Vec<AnyValueKind>) -> Option<AnyArguments> {
        let mut arguments = AnyArguments::default();
        arguments.values.0 = values;
        Some(arguments)
    }

    fn text(text: &str) -> AnyValueKind {
        AnyValueKind::Text(Arc::new(text.to_owned()))
    }

    fn opened() -> (tempfile::TempDir, SqliteConnection) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection =
            SqliteConnection::open(&folder.path().join("a.db"), "PRAGMA journal_mode = WAL").expect("a file");
        connection.run("CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT); SELECT 1", None).expect("a table");
        (folder, connection)
    }

    #[test]
    fn arguments_go_where_their_numbers_say() {
        let (_folder, mut connection) = opened();
        let insert = "INSERT INTO t (n, k) VALUES ($2, $1) RETURNING k, n, NULL AS none, n + $2 AS twice";
        let answer = connection.run(insert, arguments(vec![text("ä $"), AnyValueKind::BigInt(7)])).expect("a row");
        let [Either::Right(row), Either::Left(done)] = answer.as_slice() else { panic!("a row and an end") };
        assert_eq!((row.get::<String, _>("k"), row.get::<i64, _>("n"), row.get::<i64, _>(3)), ("ä $".into(), 7, 14));
        assert_eq!(row.get::<Option<String>, _>("none"), None);
        assert_eq!(done.rows_affected(), 1);
        let update = "UPDATE t SET n = $1 WHERE k = $2";
        let null = AnyValueKind::Null(AnyTypeInfoKind::BigInt);
        let answer = connection.run(update, arguments(vec![null, text("nobody")])).expect("an update");
        assert!(matches!(answer.as_slice(), [Either::Left(done)] if done.rows_affected() == 0));
    }

    #[test]
    fn a_duplicate_is_told_apart() {
        let (_folder, mut connection) = opened();
        let mut insert = || connection.run("INSERT INTO t (k) VALUES ($1)", arguments(vec![text("a")]));
        insert().expect("the first");
        let Err(sqlx::Error::Database(error)) = insert() else { panic!("the second is refused") };
        assert!(error.is_unique_violation(), "{error}");
    }
}
