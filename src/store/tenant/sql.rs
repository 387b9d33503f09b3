//! Statements over many rows.

use super::super::error::StoreError;
use super::super::rows::Rows;
pub(in crate::store) use super::super::statement::Arg as Cell;
use super::super::statement::{self, in_rows};
use crate::store::Connection;

/// `INSERT INTO {into} VALUES ... {tail}`. Returns what the tail returns.
pub(super) async fn insert(
    conn: &mut Connection,
    into: &'static str,
    tail: &'static str,
    rows: Vec<Vec<Cell>>,
    doing: &'static str,
) -> Result<Rows, StoreError> {
    conn.rows(doing, statement::insert(into, rows, tail)).await
}

/// Runs `{head} IN (...) {tail}` over `keys`. Returns what was selected or returned.
pub(in crate::store) async fn where_in(
    conn: &mut Connection,
    head: &str,
    tail: &'static str,
    keys: &[Vec<Cell>],
    doing: &'static str,
) -> Result<Rows, StoreError> {
    conn.rows(doing, in_rows(&format!("{head} IN ({{}}) {tail}"), &[], keys.to_vec())).await
}

/// Keys of one column.
pub(in crate::store) fn keys(values: impl IntoIterator<Item = impl Into<Cell>>) -> Vec<Vec<Cell>> {
    values.into_iter().map(|value| vec![value.into()]).collect()
}

/// A stored value that this version cannot read.
pub(super) fn unreadable(table: &'static str, column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table, column, reason: reason.to_string() }
}
