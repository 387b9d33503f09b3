//! Statements as values: built by pure functions, run later in one transaction.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::bulk::{chunk_sizes, list_clause, values_clause};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    Int(i64),
    OptInt(Option<i64>),
    Text(String),
    OptText(Option<String>),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::OptInt(value)
    }
}

impl From<Option<String>> for Arg {
    fn from(value: Option<String>) -> Self {
        Self::OptText(value)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    pub args: Vec<Arg>,
}

impl Statement {
    pub fn new(sql: impl Into<String>, args: Vec<Arg>) -> Self {
        Self { sql: sql.into(), args }
    }

    /// As a query of the driver that knows both databases.
    pub(super) fn query(self) -> Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for arg in self.args {
            query = match arg {
                Arg::Int(value) => query.bind(value),
                Arg::OptInt(value) => query.bind(value),
                Arg::Text(value) => query.bind(value),
                Arg::OptText(value) => query.bind(value),
            };
        }
        query
    }
}

pub type RowArgs = Vec<Arg>;

/// `INSERT INTO <into> VALUES (...), (...) <suffix>` in statements of the fixed sizes.
pub fn insert(into: &str, rows: Vec<RowArgs>, suffix: &str) -> Vec<Statement> {
    chunks(rows)
        .map(|chunk| {
            let columns = chunk.first().map_or(0, Vec::len);
            let sql = format!("INSERT INTO {into} VALUES {} {suffix}", values_clause(chunk.len(), columns, 1));
            Statement::new(sql, chunk.into_iter().flatten().collect())
        })
        .collect()
}

/// Updates `set` columns of the rows whose `key` columns match; each row lists keys first.
pub fn update(table: &str, key: &[&str], set: &[&str], rows: Vec<RowArgs>) -> Vec<Statement> {
    let columns: Vec<&str> = key.iter().chain(set).copied().collect();
    let assign = set.iter().map(|c| format!("{c} = v.{c}")).collect::<Vec<_>>().join(", ");
    let matching = key.iter().map(|c| format!("{table}.{c} = v.{c}")).collect::<Vec<_>>().join(" AND ");
    chunks(rows)
        .map(|chunk| {
            let sql = format!(
                "WITH v({}) AS (VALUES {}) UPDATE {table} SET {assign} FROM v WHERE {matching}",
                columns.join(", "),
                values_clause(chunk.len(), columns.len(), 1)
            );
            Statement::new(sql, chunk.into_iter().flatten().collect())
        })
        .collect()
}

/// `sql` with `{}` replaced by a list of placeholders behind `fixed` arguments; the last value pads a list to its size.
pub fn in_list(sql: &str, fixed: &[Arg], values: Vec<Arg>) -> Vec<Statement> {
    in_rows(sql, fixed, values.into_iter().map(|value| vec![value]).collect())
}

/// The same for rows: `(a, b) IN (VALUES {})`. Rows of one value are written as a plain list.
pub fn in_rows(sql: &str, fixed: &[Arg], mut rows: Vec<RowArgs>) -> Vec<Statement> {
    const SIZES: [usize; 3] = [1, 10, 100];
    let mut statements = Vec::new();
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(SIZES[2]));
        let size = SIZES.into_iter().find(|size| *size >= rows.len()).unwrap_or(SIZES[2]);
        if let Some(last) = rows.last().cloned() {
            rows.resize(size, last);
        }
        let columns = rows.first().map_or(1, Vec::len);
        let first = fixed.len() + 1;
        let list = if columns == 1 { list_clause(size, first) } else { values_clause(size, columns, first) };
        let mut args = fixed.to_vec();
        args.extend(rows.into_iter().flatten());
        statements.push(Statement::new(sql.replace("{}", &list), args));
        rows = rest;
    }
    statements
}

fn chunks(rows: Vec<RowArgs>) -> impl Iterator<Item = Vec<RowArgs>> {
    let mut sizes = chunk_sizes(rows.len()).collect::<Vec<_>>().into_iter();
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || Some(rows.by_ref().take(sizes.next()?).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_padded_to_the_fixed_sizes() {
        let values: Vec<Arg> = (0..12).map(Arg::Int).collect();
        let statements = in_list("SELECT 1 WHERE c = $1 AND id IN ({})", &[Arg::Int(7)], values);
        assert_eq!(statements.len(), 1);
        assert_eq!(statements[0].args.len(), 101);
        assert_eq!(statements[0].args[100], Arg::Int(11));
        assert!(statements[0].sql.contains("IN ($2,$3,"), "{}", statements[0].sql);
    }

    #[test]
    fn updates_name_their_columns_once() {
        let statements = update("t", &["id"], &["a", "b"], vec![vec![Arg::Int(1), Arg::Int(2), Arg::Int(3)]]);
        assert_eq!(
            statements[0].sql,
            "WITH v(id, a, b) AS (VALUES ($1,$2,$3)) UPDATE t SET a = v.a, b = v.b FROM v WHERE t.id = v.id"
        );
    }
}
