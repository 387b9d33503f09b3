//! The embedded migration list. Migrations only add; code runs before and after each one.

use sqlx::Row;

use super::connection::Connection;
use super::database::{Engine, Room};
use super::error::StoreError;

struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($room:literal: $($number:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("migrations/", $room, "/", $name, ".sql")),
        }),*]
    };
}

const GATEWAY: &[Migration] = migrations!("gateway":
    1 "0001_ground",
    2 "0002_tenant",
    3 "0003_credentials",
    4 "0004_signin",
    5 "0005_issuer",
    6 "0006_audit",
    7 "0007_housekeeping",
    8 "0008_agents",
    9 "0009_sync_suspension",
    10 "0010_matching",
    11 "0011_plain_objects",
    12 "0012_wrong_tries",
    13 "0013_sync_servers",
    14 "0014_feed_witness",
    15 "0015_password_writes",
    16 "0016_rollouts",
    17 "0017_method_changes",
    18 "0018_alert_notices",
    19 "0019_partner_looks",
    20 "0020_leaked_passwords",
    21 "0021_addresses",
    22 "0022_partner_outages",
    23 "0023_partner_outages_hold",
    24 "0024_ring_keys",
    25 "0025_netbios",
);

const ENGINE: &[Migration] = migrations!("engine":
    1 "0001_ground",
    2 "0002_space",
    3 "0003_delta_import",
    4 "0004_link_indexes",
    5 "0005_run_history",
    6 "0006_known_connectors",
    7 "0007_group_and_time_edges",
    8 "0008_ends_of_links",
    9 "0009_found_objects",
    10 "0010_due_first",
);

/// Brings the tables of `room` to this version, each migration in a transaction of its own.
pub(super) async fn run(conn: &mut Connection, room: Room) -> Result<(), StoreError> {
    let list = match room {
        Room::Gateway => GATEWAY,
        Room::Engine => ENGINE,
    };
    let ledger = match room {
        Room::Gateway => "gateway_migration",
        Room::Engine => "engine_migration",
    };
    let create = format!("CREATE TABLE IF NOT EXISTS {ledger} (number BIGINT PRIMARY KEY, name TEXT NOT NULL)");
    execute(conn, create).await?;
    let newest = format!("SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM {ledger}");
    let found: i64 = sqlx::query(sqlx::AssertSqlSafe(newest))
        .fetch_one(&mut *conn)
        .await
        .map_err(StoreError::doing("reading the migration ledger"))?
        .get("number");
    let known = list.last().map_or(0, |migration| migration.number);
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    let embedded = conn.engine() == Engine::Sqlite;
    for migration in list.iter().filter(|migration| migration.number > found) {
        execute(conn, "BEGIN".to_owned()).await?;
        for statement in statements(migration.sql) {
            execute(conn, if embedded { by_key(statement) } else { statement }).await?;
        }
        let note = format!("INSERT INTO {ledger} (number, name) VALUES ({}, '{}')", migration.number, migration.name);
        execute(conn, note).await?;
        execute(conn, "COMMIT".to_owned()).await?;
    }
    Ok(())
}

/// Statements end with `;` at the end of a line; the files hold no other use of that.
fn statements(sql: &str) -> impl Iterator<Item = String> + '_ {
    sql.split(";\n").map(strip_comments).filter(|statement| !statement.is_empty())
}

/// SQLite keeps a table by a hidden number unless it is told that the key is one, or to go by the key: without that,
/// each row costs a second tree. It changes nothing else.
fn by_key(statement: String) -> String {
    if !statement.starts_with("CREATE TABLE") {
        return statement;
    }
    let statement = statement.replace(" BIGINT PRIMARY KEY", " INTEGER PRIMARY KEY");
    if statement.contains("\n    PRIMARY KEY (") { format!("{statement} WITHOUT ROWID") } else { statement }
}

fn strip_comments(statement: &str) -> String {
    let lines = statement.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n").trim().trim_end_matches(';').to_owned()
}

async fn execute(conn: &mut Connection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await.map_err(StoreError::doing("migrating the tables"))?;
    Ok(())
}
