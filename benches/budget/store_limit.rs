//! What the store's database needs by itself for the rows of an import: without a network, a directory or a program that
//! makes them.

use std::time::Instant;

use rusqlite::Connection;

use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;

/// The connector of the landscape.
const SOURCE: &str = "corp";
const TABLES: [&str; 2] = ["space_object", "space_link"];

/// Seconds for copying the source's objects and links, with all their indices, into empty tables of the same shape.
pub fn import_alone(gateway: &Gateway, store: &str) -> f64 {
    if store == "SQLite" { on_sqlite(gateway) } else { on_postgres(gateway) }
}

/// One statement a table, from the schema `from` to the schema `to`.
fn copies(from: &str, to: &str) -> String {
    format!(
        "INSERT INTO {to}.space_object SELECT * FROM {from}.space_object WHERE connector = '{SOURCE}' ORDER BY id; \
         INSERT INTO {to}.space_link SELECT * FROM {from}.space_link WHERE owner IN \
         (SELECT id FROM {from}.space_object WHERE connector = '{SOURCE}') ORDER BY owner, attribute, target;"
    )
}

fn on_sqlite(gateway: &Gateway) -> f64 {
    let file = gateway.folder().join("data").join("limit.db");
    let limit = Connection::open(&file).expect("a file");
    // As the engine's file is opened.
    limit
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536")
        .expect("pragmas");
    let engine = gateway.folder().join("data").join("engine.db");
    limit.execute("ATTACH ?1 AS engine", [engine.display().to_string()]).expect("the engine's file");
    for table in TABLES {
        let sql = "SELECT sql FROM engine.sqlite_master WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY type DESC";
        let mut statement = limit.prepare(sql).expect("a query");
        let made: Vec<String> =
            statement.query_map([table], |row| row.get(0)).expect("rows").map(|sql| sql.expect("a text")).collect();
        assert!(made.len() > 2, "{table} and its indices: {made:?}");
        made.iter().for_each(|sql| limit.execute_batch(sql).expect("a table or an index"));
    }
    let started = Instant::now();
    limit.execute_batch(&format!("BEGIN; {} COMMIT", copies("engine", "main"))).expect("the copies");
    let seconds = started.elapsed().as_secs_f64();
    drop(limit);
    std::fs::remove_file(file).expect("the file");
    seconds
}

fn on_postgres(gateway: &Gateway) -> f64 {
    let settings = std::fs::read_to_string(gateway.settings_file()).expect("the settings");
    let url = settings.lines().find_map(|line| line.strip_prefix("url = \"postgres")).expect("the store's address");
    let url = url.trim_end_matches('"');
    let query = |sql: &str| Postgres::start().query(url, sql);
    let tables = TABLES.map(|table| format!("CREATE TABLE bare.{table} (LIKE public.{table} INCLUDING ALL);"));
    query(&format!("CREATE SCHEMA bare; {}", tables.concat()));
    let started = Instant::now();
    query(&copies("public", "bare"));
    let seconds = started.elapsed().as_secs_f64();
    query("DROP SCHEMA bare CASCADE");
    seconds
}
