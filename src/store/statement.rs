//! Statements as values: built by pure functions, run later in one transaction.

use std::iter::Peekable;
use std::vec::IntoIter;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::bulk::{chunk_sizes, list_clause, values_clause};
use super::database::Engine;

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

/// A statement, or as many as its rows need: of which database depends how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    pub args: Vec<Arg>,
    rows: Option<Listed>,
}

/// Rows that go in the place of each `{}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    form: Form,
    rows: Vec<RowArgs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Each counts once.
    Rows,
    /// Keys that are looked up: one that stands there twice is found once.
    Keys,
}

/// Rows per statement on PostgreSQL, which takes them as one array per column: the text of the statement stays the same.
const ROWS_AT_ONCE: usize = 1_000;
/// Bytes of text in them, unless one row has more: what is sent is held once more here, and by the server.
const TEXT_AT_ONCE: usize = 4 << 20;

impl Statement {
    pub fn new(sql: impl Into<String>, args: Vec<Arg>) -> Self {
        Self { sql: sql.into(), args, rows: None }
    }

    /// None for no rows.
    fn over(sql: String, args: &[Arg], form: Form, rows: Vec<RowArgs>) -> Vec<Self> {
        let statement = |rows| Self { sql, args: args.to_vec(), rows: Some(Listed { form, rows }) };
        if rows.is_empty() { Vec::new() } else { vec![statement(rows)] }
    }

    /// As statements of `engine` that carry their rows as arguments.
    pub(super) fn written_for(self, engine: Engine) -> Vec<Self> {
        let Self { sql, args, rows: Some(Listed { form, rows }) } = self else { return vec![self] };
        let mut rows = rows.into_iter().peekable();
        let mut statements = Vec::new();
        while rows.len() > 0 {
            let mut args = args.clone();
            let source = match engine {
                Engine::Postgres => arrays(&fitting(&mut rows), &mut args),
                Engine::Sqlite => {
                    let size = match form {
                        Form::Rows => chunk_sizes(rows.len()).next().unwrap_or(1),
                        Form::Keys => KEYS[2],
                    };
                    values(form, rows.by_ref().take(size).collect(), &mut args)
                }
            };
            statements.push(Self::new(sql.replace("{}", &source), args));
        }
        statements
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

/// `statements` as [`Statement::written_for`] writes them.
pub(super) fn written_for(engine: Engine, statements: Vec<Statement>) -> Vec<Statement> {
    match statements.iter().all(|statement| statement.rows.is_none()) {
        true => statements,
        false => statements.into_iter().flat_map(|statement| statement.written_for(engine)).collect(),
    }
}

/// How many keys a statement of SQLite looks up; the last one pads a list to its size.
const KEYS: [usize; 3] = [1, 10, 100];

/// `VALUES ($1,$2),($3,$4)`, and the values behind `args`.
fn values(form: Form, mut rows: Vec<RowArgs>, args: &mut Vec<Arg>) -> String {
    if form == Form::Keys
        && let Some(last) = rows.last().cloned()
    {
        let size = KEYS.into_iter().find(|size| *size >= rows.len()).unwrap_or(rows.len());
        rows.resize(size, last);
    }
    let (columns, first) = (rows.first().map_or(0, Vec::len), args.len() + 1);
    let source = match (form, columns) {
        (Form::Keys, 1) => list_clause(rows.len(), first),
        _ => format!("VALUES {}", values_clause(rows.len(), columns, first)),
    };
    args.extend(rows.into_iter().flatten());
    source
}

/// The next rows that one statement of PostgreSQL carries: one at least, where there are any.
fn fitting(rows: &mut Peekable<IntoIter<RowArgs>>) -> Vec<RowArgs> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while let Some(row) =
        rows.next_if(|row| taken.is_empty() || (taken.len() < ROWS_AT_ONCE && bytes + text_length(row) <= TEXT_AT_ONCE))
    {
        bytes += text_length(&row);
        taken.push(row);
    }
    taken
}

fn text_length(row: &RowArgs) -> usize {
    let length = |arg: &Arg| match arg {
        Arg::Text(text) | Arg::OptText(Some(text)) => text.len(),
        Arg::Int(_) | Arg::OptInt(_) | Arg::OptText(None) => 0,
    };
    row.iter().map(length).sum()
}

/// `SELECT * FROM UNNEST(...)` over one array per column, as texts behind `args`.
fn arrays(rows: &[RowArgs], args: &mut Vec<Arg>) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let arrays: Vec<String> = (0..columns)
        .map(|column| {
            let values = rows.iter().filter_map(|row| row.get(column));
            let number = values.clone().all(|value| matches!(value, Arg::Int(_) | Arg::OptInt(_)));
            args.push(Arg::Text(array(values)));
            format!("CAST(${} AS {}[])", args.len(), if number { "BIGINT" } else { "TEXT" })
        })
        .collect();
    format!("SELECT * FROM UNNEST({})", arrays.join(", "))
}

/// An array as PostgreSQL reads it (its documentation, "Array Input and Output Syntax").
fn array<'a>(values: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = String::from("{");
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(',');
        }
        match value {
            Arg::Int(value) | Arg::OptInt(Some(value)) => text.push_str(&value.to_string()),
            Arg::Text(value) | Arg::OptText(Some(value)) => {
                text.push('"');
                for part in value.split_inclusive(['"', '\\']) {
                    let plain = part.trim_end_matches(['"', '\\']);
                    text.push_str(plain);
                    if plain.len() < part.len() {
                        text.push('\\');
                        text.push_str(&part[plain.len()..]);
                    }
                }
                text.push('"');
            }
            Arg::OptInt(None) | Arg::OptText(None) => text.push_str("NULL"),
        }
    }
    text.push('}');
    text
}

pub type RowArgs = Vec<Arg>;

/// `INSERT INTO <into> <rows> <suffix>`.
pub fn insert(into: &str, rows: Vec<RowArgs>, suffix: &str) -> Vec<Statement> {
    Statement::over(format!("INSERT INTO {into} {{}} {suffix}"), &[], Form::Rows, rows)
}

/// Updates `set` columns of the rows whose `key` columns match; each row lists keys first.
pub fn update(table: &str, key: &[&str], set: &[&str], rows: Vec<RowArgs>) -> Vec<Statement> {
    let columns: Vec<&str> = key.iter().chain(set).copied().collect();
    let assign = set.iter().map(|c| format!("{c} = v.{c}")).collect::<Vec<_>>().join(", ");
    let matching = key.iter().map(|c| format!("{table}.{c} = v.{c}")).collect::<Vec<_>>().join(" AND ");
    let columns = columns.join(", ");
    let sql = format!("WITH v({columns}) AS ({{}}) UPDATE {table} SET {assign} FROM v WHERE {matching}");
    Statement::over(sql, &[], Form::Rows, rows)
}

/// `sql` with each `{}` replaced by a list of values, which stand behind `fixed` arguments: `a IN ({})`.
pub fn in_list(sql: &str, fixed: &[Arg], values: Vec<Arg>) -> Vec<Statement> {
    in_rows(sql, fixed, values.into_iter().map(|value| vec![value]).collect())
}

/// The same for rows: `(a, b) IN ({})`.
pub fn in_rows(sql: &str, fixed: &[Arg], rows: Vec<RowArgs>) -> Vec<Statement> {
    Statement::over(sql.to_owned(), fixed, Form::Keys, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(values: impl IntoIterator<Item = i64>) -> Vec<Arg> {
        values.into_iter().map(Arg::Int).collect()
    }

    fn written(statements: Vec<Statement>, engine: Engine) -> Vec<(String, Vec<Arg>)> {
        let written = statements.into_iter().flat_map(|statement| statement.written_for(engine));
        written.map(|statement| (statement.sql, statement.args)).collect()
    }

    #[test]
    fn lists_are_padded_to_the_fixed_sizes() {
        let list = in_list("SELECT 1 WHERE c = $1 AND id IN ({})", &number([7]), number(0..12));
        let written = written(list, Engine::Sqlite);
        let [(sql, args)] = written.as_slice() else { panic!("one statement: {written:?}") };
        assert_eq!((args.len(), &args[100]), (101, &Arg::Int(11)));
        assert!(sql.contains("IN ($2,$3,"), "{sql}");
    }

    #[test]
    fn rows_are_written_in_the_fixed_sizes_each_once() {
        let rows = (0..125).map(|n| number([n, n])).collect();
        let written = written(insert("t (a, b)", rows, "ON CONFLICT DO NOTHING"), Engine::Sqlite);
        assert_eq!(written.iter().map(|(_, args)| args.len() / 2).collect::<Vec<_>>(), [100, 20, 4, 1]);
        assert_eq!(written[3].0, "INSERT INTO t (a, b) VALUES ($1,$2) ON CONFLICT DO NOTHING");
        let all: Vec<Arg> = written.into_iter().flat_map(|(_, args)| args).collect();
        assert_eq!(all, (0..125).flat_map(|n| number([n, n])).collect::<Vec<_>>());
    }

    #[test]
    fn updates_name_their_columns_once() {
        let rows = || vec![number([1, 2, 3])];
        let update = |engine| written(update("t", &["id"], &["a", "b"], rows()), engine).remove(0).0;
        assert_eq!(
            update(Engine::Sqlite),
            "WITH v(id, a, b) AS (VALUES ($1,$2,$3)) UPDATE t SET a = v.a, b = v.b FROM v WHERE t.id = v.id"
        );
        assert_eq!(
            update(Engine::Postgres),
            "WITH v(id, a, b) AS (SELECT * FROM UNNEST(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), \
             CAST($3 AS BIGINT[]))) UPDATE t SET a = v.a, b = v.b FROM v WHERE t.id = v.id"
        );
    }

    #[test]
    fn arrays_hold_what_was_asked_whatever_it_looks_like() {
        let rows = vec![
            vec![1.into(), Arg::Text(r#"a,"b"\{NULL}"#.to_owned()), Arg::OptInt(None)],
            vec![(-2).into(), Arg::OptText(None), Arg::OptInt(Some(3))],
            vec![3.into(), "".into(), Arg::OptInt(None)],
        ];
        let written =
            written(in_rows("DELETE FROM t WHERE x = $1 AND (a, b, c) IN ({})", &["k".into()], rows), Engine::Postgres);
        let sql = "DELETE FROM t WHERE x = $1 AND (a, b, c) IN (SELECT * FROM UNNEST(CAST($2 AS BIGINT[]), \
                   CAST($3 AS TEXT[]), CAST($4 AS BIGINT[])))";
        let args = vec!["k".into(), "{1,-2,3}".into(), r#"{"a,\"b\"\\{NULL}",NULL,""}"#.into(), "{NULL,3,NULL}".into()];
        assert_eq!(written, [(sql.to_owned(), args)]);
    }

    #[test]
    fn what_is_sent_at_once_is_bounded_by_rows_and_by_text() {
        let sent = |rows: Vec<RowArgs>| written(insert("t (a, b)", rows, ""), Engine::Postgres);
        let small = sent((0..2_500).map(|n| vec![n.into(), "x".into()]).collect());
        assert_eq!(small.len(), 3);
        assert_eq!(small.iter().map(|(_, args)| commas(&args[0])).collect::<Vec<_>>(), [999, 999, 499]);
        let photo = "x".repeat(TEXT_AT_ONCE / 2);
        let sizes = [1, 1, 3, 1, 1];
        let large = sent(sizes.iter().map(|size| vec![(*size).into(), photo.repeat(*size as usize).into()]).collect());
        assert_eq!(
            large.iter().map(|(_, args)| args[0].clone()).collect::<Vec<_>>(),
            ["{1,1}", "{3}", "{1,1}"].map(Arg::from)
        );
    }

    fn commas(array: &Arg) -> usize {
        let Arg::Text(text) = array else { panic!("an array is a text: {array:?}") };
        text.matches(',').count()
    }

    #[test]
    fn nothing_is_asked_about_no_rows() {
        assert!(in_list("SELECT 1 WHERE id IN ({})", &[], Vec::new()).is_empty());
    }
}
