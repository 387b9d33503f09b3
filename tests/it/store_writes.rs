//! What a write to the store promises, on both databases.

use std::collections::BTreeMap;
use std::time::Duration;

use landbridge::identity::{ConnectorName, LeaseEpoch};
use landbridge::store::engine::SqlEngine;
use landbridge::store::{Database, DatabaseUrl, Room, StoreError, Urgency};
use landbridge::sync::space::ObjectId;
use landbridge::sync::store::{KeptGroup, Synchronisation as _};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use sqlx::Row as _;

use crate::support::postgres::Postgres;
use crate::support::wait::wait_until_async;

async fn on_every_database(room: Room, test: impl AsyncFn(Database)) {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
    let urls = [DatabaseUrl::Sqlite { directory: dir.path().to_owned() }, postgres.parse().expect("a database url")];
    for url in urls {
        let db = Database::open(&url, room).await.expect("the database opens");
        test(db.clone()).await;
        db.close().await;
    }
}

async fn put(conn: &mut landbridge::store::Connection, name: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO store_value (name, value) VALUES ($1, '')")
        .bind(name)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(StoreError::doing("adding a row"))
}

#[tokio::test]
async fn what_is_acknowledged_is_kept_even_where_a_work_passes_over_an_error() {
    on_every_database(Room::Gateway, async |db| {
        let done: Result<(), StoreError> = db
            .write(Urgency::Waited, |conn| {
                Box::pin(async move {
                    put(conn, "first").await?;
                    // PostgreSQL ends the transaction here and would answer COMMIT with a rollback.
                    assert!(put(conn, "first").await.is_err());
                    Ok(())
                })
            })
            .await;
        let rows = sqlx::query("SELECT name FROM store_value WHERE name = 'first'").fetch_all(db.read()).await;
        let kept = rows.expect("rows").iter().any(|row| row.get::<String, _>(0) == "first");
        assert_eq!(done.is_ok(), kept, "{db:?}: {done:?}");
        let after: Result<(), StoreError> =
            db.write(Urgency::Waited, |conn| Box::pin(async move { put(conn, "second").await })).await;
        after.expect("the writer goes on");
    })
    .await;
}

/// Lists of rows are written differently for each database; these are more than one statement of either takes.
#[tokio::test]
async fn a_list_of_texts_comes_back_as_it_was_whatever_they_look_like() {
    const TEXTS: usize = 1_234;
    let of_signs = proptest::string::string_regex(r#"[\x01-\x1f"'\\{},;$ a-cNULä€😀]{0,9}"#).expect("a pattern");
    let mut runner = TestRunner::deterministic();
    let random = proptest::collection::vec(of_signs, TEXTS).new_tree(&mut runner).expect("texts").current();
    let hostile =
        ["", "NULL", "null", "{}", r#"{"a",b}"#, r"\", r"\\", "\"", r#"\""#, "a,b", " blank ", "\r\n\t", "$1", "';--"];
    let texts: Vec<String> = hostile.into_iter().map(ToOwned::to_owned).chain(random).collect();
    let connector: ConnectorName = "corp".parse().expect("a name");
    on_every_database(Room::Engine, async |db| {
        let engine = SqlEngine::new(db);
        let kept = texts.iter().enumerate().map(|(number, text)| KeptGroup {
            connector: connector.clone(),
            named: format!("{number} {text}"),
            anchor: text.clone(),
            group: ObjectId(number as i64),
        });
        engine.follow_groups(LeaseEpoch::from_number(1), kept.collect(), &[]).await.expect("written");
        let read: BTreeMap<String, String> = engine.kept_groups(&connector).await.expect("rows").into_iter().collect();
        let expected = texts.iter().enumerate().map(|(number, text)| (format!("{number} {text}"), text.clone()));
        assert_eq!(read, expected.collect());
    })
    .await;
}

#[tokio::test]
async fn postgresql_learns_within_seconds_how_full_a_table_has_become() {
    let server = tokio::task::spawn_blocking(Postgres::start).await.expect("a server");
    let url = server.fresh_database();
    let db = Database::open(&url.parse().expect("a database url"), Room::Engine).await.expect("the database opens");
    let filled: Result<(), StoreError> = db
        .write(Urgency::Bulk, |conn| {
            Box::pin(async move {
                sqlx::raw_sql("INSERT INTO mv_key (key, mv) SELECT 'key' || n, n FROM generate_series(1, 2000) AS n")
                    .execute(conn)
                    .await
                    .map(|_| ())
                    .map_err(StoreError::doing("filling a table"))
            })
        })
        .await;
    filled.expect("filled");
    // Not the server's own analysis, which has a column of its own.
    let analyses = |table: &str| -> u32 {
        let sql = format!("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = '{table}'");
        server.query(&url, &sql).parse().expect("a number")
    };
    let analysed = async |table: &str| {
        wait_until_async("the table to be analysed", Duration::from_secs(30), async || {
            (analyses(table) > 0).then_some(())
        })
        .await;
    };
    analysed("mv_key").await;
    // An emptied one is left alone: no plan for no rows is good where what was deleted still lies about.
    let before = analyses("mv_key");
    server.query(&url, "DELETE FROM mv_key");
    server.query(&url, "INSERT INTO join_wait (key, object) SELECT 'key' || n, n FROM generate_series(1, 2000) AS n");
    analysed("join_wait").await;
    assert_eq!(analyses("mv_key"), before);
    db.close().await;
}

#[tokio::test]
async fn a_node_that_stands_still_in_the_middle_of_a_write_holds_up_nobody_for_long() {
    let server = tokio::task::spawn_blocking(Postgres::start).await.expect("a server");
    let url = server.fresh_database().parse().expect("a database url");
    let frozen = Database::open(&url, Room::Gateway).await.expect("the database opens");
    let other = Database::open(&url, Room::Gateway).await.expect("the database opens");
    let (written, row_is_locked) = tokio::sync::oneshot::channel();
    let (thaw, thawed) = tokio::sync::oneshot::channel::<()>();
    let standing = tokio::spawn({
        let frozen = frozen.clone();
        async move {
            let work = frozen.write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    put(conn, "one").await?;
                    written.send(()).expect("the test waits");
                    thawed.await.expect("the test thaws it");
                    put(conn, "two").await
                })
            });
            work.await
        }
    });
    row_is_locked.await.expect("written");
    let write = other.write::<(), StoreError, _>(Urgency::Bulk, |conn| Box::pin(async move { put(conn, "one").await }));
    tokio::time::timeout(Duration::from_secs(60), write).await.expect("the lock was given up").expect("written");
    thaw.send(()).expect("it stands still");
    standing.await.expect("a task").expect_err("what it had begun is undone");
    let rows = sqlx::query("SELECT name FROM store_value WHERE name IN ('one', 'two')").fetch_all(other.read()).await;
    assert_eq!(rows.expect("rows").len(), 1, "the other's alone");
    let after = frozen
        .write::<(), StoreError, _>(Urgency::Bulk, |conn| Box::pin(async move { put(conn, "three").await }))
        .await;
    after.expect("the thawed node goes on");
    frozen.close().await;
    other.close().await;
}
