//! Statements over many rows, in a few fixed sizes.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::super::bulk::{chunk_sizes, values_clause};
use super::super::error::StoreError;
use crate::store::Connection;

/// A value of a row to be written.
#[derive(Clone, Debug)]
pub(in crate::store) enum Cell {
    Text(Option<String>),
    Number(Option<i64>),
}

macro_rules! cell {
    ($($from:ty => |$value:ident| $cell:expr),+ $(,)?) => {
        $(impl From<$from> for Cell { fn from($value: $from) -> Self { $cell } })+
    };
}

cell! {
    String => |value| Cell::Text(Some(value)),
    &str => |value| Cell::Text(Some(value.to_owned())),
    Option<String> => |value| Cell::Text(value),
    i64 => |value| Cell::Number(Some(value)),
    Option<i64> => |value| Cell::Number(value),
    bool => |value| Cell::Number(Some(i64::from(value))),
}

type Bound<'q> = Query<'q, Any, AnyArguments>;

fn bind<'q>(query: Bound<'q>, cell: &Cell) -> Bound<'q> {
    match cell {
        Cell::Text(value) => query.bind(value.clone()),
        Cell::Number(value) => query.bind(*value),
    }
}

/// `INSERT INTO {into} VALUES ... {tail}`, as many statements as the fixed sizes need. Returns what the tail returns.
pub(super) async fn insert(
    conn: &mut Connection,
    into: &'static str,
    tail: &'static str,
    rows: &[Vec<Cell>],
    doing: &'static str,
) -> Result<Vec<AnyRow>, StoreError> {
    let Some(columns) = rows.first().map(Vec::len) else { return Ok(Vec::new()) };
    let (mut left, mut returned) = (rows, Vec::new());
    for size in chunk_sizes(rows.len()) {
        let (chunk, rest) = left.split_at(size);
        left = rest;
        let sql = format!("INSERT INTO {into} VALUES {} {tail}", values_clause(size, columns, 1));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for cell in chunk.iter().flatten() {
            query = bind(query, cell);
        }
        returned.extend(query.fetch_all(&mut *conn).await.map_err(StoreError::doing(doing))?);
    }
    Ok(returned)
}

/// Runs `{head} IN (VALUES ...) {tail}` over `keys`, in statements of fixed sizes. The last key is repeated to fill a
/// size: that matches nothing more. Returns what was selected or returned.
pub(in crate::store) async fn where_in(
    conn: &mut Connection,
    head: &str,
    tail: &'static str,
    keys: &[Vec<Cell>],
    doing: &'static str,
) -> Result<Vec<AnyRow>, StoreError> {
    const SIZES: [usize; 4] = [1, 10, 50, 250];
    let mut rows = Vec::new();
    for chunk in keys.chunks(SIZES[3]) {
        let size = SIZES.into_iter().find(|size| *size >= chunk.len()).unwrap_or(SIZES[3]);
        let Some(last) = chunk.last() else { continue };
        let sql = format!("{head} IN (VALUES {}) {tail}", values_clause(size, last.len(), 1));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        let padding = std::iter::repeat_n(last, size - chunk.len());
        for cell in chunk.iter().chain(padding).flatten() {
            query = bind(query, cell);
        }
        rows.extend(query.fetch_all(&mut *conn).await.map_err(StoreError::doing(doing))?);
    }
    Ok(rows)
}

/// Keys of one column.
pub(in crate::store) fn keys(values: impl IntoIterator<Item = impl Into<Cell>>) -> Vec<Vec<Cell>> {
    values.into_iter().map(|value| vec![value.into()]).collect()
}

/// A stored value that this version cannot read.
pub(super) fn unreadable(table: &'static str, column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table, column, reason: reason.to_string() }
}
