use std::sync::Arc;

use sqlx::Row;

use super::*;

#[derive(Debug, thiserror::Error)]
enum TestError {
    #[error("store")]
    Store(#[from] StoreError),
    #[error("refused")]
    Refused,
}

async fn open() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let db = Database::open(&url, Room::Gateway).await.expect("a new database opens");
    (dir, db)
}

async fn put(db: &Database, name: &str, value: Option<i64>, fail: bool) -> Result<(), TestError> {
    put_when(Urgency::Waited, db, name, value, fail).await
}

async fn put_when(
    urgency: Urgency,
    db: &Database,
    name: &str,
    value: Option<i64>,
    fail: bool,
) -> Result<(), TestError> {
    let name = name.to_owned();
    db.write(urgency, move |conn| {
        Box::pin(async move {
            sqlx::query("INSERT INTO alert (name, subject, detail, raised_at, last_at, occurrences, cleared_at) VALUES ($1, '', '', 0, 0, 1, $2)")
                .bind(name)
                .bind(value)
                .execute(conn)
                .await
                .map_err(StoreError::doing("adding a row"))?;
            if fail { Err(TestError::Refused) } else { Ok(()) }
        })
    })
    .await
}

#[tokio::test]
async fn a_refused_work_leaves_nothing_and_does_not_disturb_its_group() {
    let (_dir, db) = open().await;
    let db = Arc::new(db);
    let (a, b, c) =
        tokio::join!(put(&db, "a", None, false), put(&db, "b", Some(7), true), put(&db, "c", Some(8), false));
    assert!(a.is_ok() && c.is_ok());
    assert!(matches!(b, Err(TestError::Refused)));
    let rows =
        sqlx::query("SELECT name, cleared_at FROM alert ORDER BY name").fetch_all(db.read()).await.expect("rows");
    let seen: Vec<(String, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(seen, [("a".to_owned(), None), ("c".to_owned(), Some(8))]);
}

#[tokio::test]
async fn a_refused_work_in_bulk_leaves_nothing_and_the_next_one_is_kept() {
    let (_dir, db) = open().await;
    let put = |name, fail| put_when(Urgency::Bulk, &db, name, None, fail);
    let (a, b, c) = tokio::join!(put("a", false), put("b", true), put("c", false));
    assert!(a.is_ok() && c.is_ok());
    assert!(matches!(b, Err(TestError::Refused)));
    assert!(matches!(put("a", false).await, Err(TestError::Store(error)) if error.is_duplicate()));
    put("d", false).await.expect("the writer goes on");
    let rows = sqlx::query("SELECT name FROM alert ORDER BY name").fetch_all(db.read()).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["a", "c", "d"]);
}

#[tokio::test]
async fn a_duplicate_is_told_apart_from_other_failures() {
    let (_dir, db) = open().await;
    put(&db, "a", None, false).await.expect("first");
    match put(&db, "a", None, false).await {
        Err(TestError::Store(error)) => assert!(error.is_duplicate()),
        other => panic!("{other:?}"),
    }
    put(&db, "b", None, false).await.expect("the writer goes on");
}

#[tokio::test]
async fn a_panic_in_a_work_is_an_error_and_the_writer_goes_on() {
    let (_dir, db) = open().await;
    let result: Result<(), TestError> = db.write(Urgency::Bulk, |_| Box::pin(async { panic!("on purpose") })).await;
    assert!(matches!(result, Err(TestError::Store(StoreError::Panicked))));
    put(&db, "a", None, false).await.expect("the writer goes on");
}

#[tokio::test]
async fn acknowledged_gateway_commits_are_flushed_and_the_tables_migrate_once() {
    let (dir, db) = open().await;
    put(&db, "a", None, false).await.expect("a row");
    for (pragma, expected) in [("PRAGMA synchronous", 2_i64), ("PRAGMA foreign_keys", 1)] {
        let doing = || StoreError::doing("reading a pragma");
        let writing = db.write(Urgency::Waited, move |conn| {
            Box::pin(async move { sqlx::query(pragma).fetch_one(conn).await.map_err(doing()) })
        });
        let writer: sqlx::any::AnyRow = writing.await.expect("a pragma");
        let reader = sqlx::query(pragma).fetch_one(db.read()).await.expect("a pragma");
        let lookups = sqlx::query(pragma).fetch_one(db.lookups()).await.expect("a pragma");
        for row in [writer, reader, lookups] {
            assert_eq!(row.get::<i64, _>(0), expected, "{pragma}");
        }
    }
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(db.read()).await.expect("a pragma").get(0);
    assert_eq!(mode, "wal");
    db.close().await;
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let again = Database::open(&url, Room::Gateway).await.expect("it opens again");
    let row = sqlx::query("SELECT COUNT(*) FROM alert").fetch_one(again.read()).await.expect("count");
    assert_eq!(row.get::<i64, _>(0), 1);
}

/// Each connection keeps pages of its own, which the next write makes void.
#[tokio::test]
async fn reads_one_after_another_need_one_connection_and_many_at_once_no_more_than_there_may_be() {
    const ALERTS: &str = "SELECT COUNT(*) FROM alert";
    let (_dir, db) = open().await;
    for name in ["a", "b", "c", "d"] {
        put(&db, name, None, false).await.expect("a row");
        sqlx::query(ALERTS).fetch_one(db.read()).await.expect("a count");
        sqlx::query(ALERTS).fetch_optional(db.lookups()).await.expect("a count");
    }
    assert_eq!(db.read().idle(), 1);
    let long =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT COUNT(*) FROM n";
    let reads = (0..40).map(|_| sqlx::query(long).fetch_one(db.read()));
    for row in futures::future::try_join_all(reads).await.expect("every one is answered") {
        assert_eq!(row.get::<i64, _>(0), 50_000);
    }
    assert!((1..=8).contains(&db.read().idle()), "{} connections", db.read().idle());
    db.close().await;
    let refused = sqlx::query(ALERTS).fetch_one(db.read()).await;
    assert!(matches!(refused, Err(sqlx::Error::PoolClosed)), "a closed database answers");
}

async fn synchronous(db: &Database, urgency: Urgency) -> i64 {
    let read = db.write(urgency, |conn| {
        Box::pin(async move {
            let row = sqlx::query("PRAGMA synchronous").fetch_one(conn).await;
            Ok::<i64, StoreError>(row.map_err(StoreError::doing("reading a pragma"))?.get(0))
        })
    });
    read.await.expect("a pragma")
}

#[tokio::test]
async fn parts_alone_do_not_wait_for_the_disk() {
    let (_dir, db) = open().await;
    let (full, normal) = (2, 1);
    for urgency in [Urgency::Waited, Urgency::Bulk] {
        assert_eq!(synchronous(&db, Urgency::Part).await, normal);
        assert_eq!(synchronous(&db, urgency).await, full, "{urgency:?}");
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let engine = Database::open(&url, Room::Engine).await.expect("a new database opens");
    for urgency in [Urgency::Part, Urgency::Bulk, Urgency::Waited] {
        assert_eq!(synchronous(&engine, urgency).await, normal, "{urgency:?}");
    }
}

#[tokio::test]
async fn a_writer_is_watched_until_it_is_gone() {
    let (_dir, db) = open().await;
    let watch = db.writer_watch().expect("an embedded database has a writer of its own");
    let before = watch.works.load(std::sync::atomic::Ordering::Relaxed);
    put_when(Urgency::Part, &db, "a", None, false).await.expect("a part");
    put_when(Urgency::Bulk, &db, "b", None, false).await.expect("a work in bulk");
    put(&db, "c", None, false).await.expect("an urgent work");
    assert_eq!(watch.works.load(std::sync::atomic::Ordering::Relaxed), before + 2);
    assert!(watch.shrink().await.is_some() && !watch.is_gone());
    put(&db, "d", None, false).await.expect("the writer goes on");
    drop(db);
    assert!(watch.is_gone());
    assert!(watch.shrink().await.is_none());
}

#[tokio::test]
async fn what_waits_is_written_before_the_close() {
    let (dir, db) = open().await;
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let puts = names.iter().map(|name| put(&db, name, None, false));
    let (written, ()) = tokio::join!(futures::future::join_all(puts), async {
        tokio::task::yield_now().await;
        db.close().await;
    });
    let acknowledged = written.iter().filter(|put| put.is_ok()).count();
    assert!(acknowledged > 0, "{written:?}");
    assert!(put(&db, "late", None, false).await.is_err());
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let again = Database::open(&url, Room::Gateway).await.expect("it opens again");
    let row = sqlx::query("SELECT COUNT(*) FROM alert").fetch_one(again.read()).await.expect("count");
    assert_eq!(usize::try_from(row.get::<i64, _>(0)), Ok(acknowledged));
}

#[test]
fn a_store_url_never_shows_its_password() {
    let url: DatabaseUrl = "postgres://gw:secret@db.example/landbridge".parse().expect("a url");
    assert_eq!(url.to_string(), "postgres://db.example/landbridge");
    assert_eq!("mysql://x/y".parse::<DatabaseUrl>(), Err(DatabaseUrlError));
    assert_eq!("sqlite:".parse::<DatabaseUrl>(), Err(DatabaseUrlError));
}

#[tokio::test]
async fn the_files_are_closed_to_others_whatever_the_folder_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("an open folder");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let db = Database::open(&url, Room::Gateway).await.expect("a new database opens");
    put(&db, "a", None, false).await.expect("a row");
    for entry in std::fs::read_dir(dir.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
    }
}

async fn three_records() -> (tempfile::TempDir, Database, audit::AuditLog) {
    use crate::audit::{Actor, Event, EventKind, Outcome};
    use crate::identity::{SettableClock, Timestamp};
    let (dir, db) = open().await;
    let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1)));
    let log = audit::AuditLog::new(db.clone(), "node1".parse().expect("a node"), clock);
    for _ in 0..3 {
        log.record(Event::new(EventKind::Started, Outcome::Success, Actor::Anonymous)).await.expect("recorded");
    }
    assert_eq!(log.verify().await.expect("verified"), (3, Vec::new()));
    (dir, db, log)
}

async fn run(db: &Database, sql: &'static str) {
    let done: Result<(), StoreError> = db
        .write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                sqlx::raw_sql(sql).execute(conn).await.map(|_| ()).map_err(StoreError::doing("changing a row"))
            })
        })
        .await;
    done.expect(sql);
}

#[tokio::test]
async fn audit_records_taken_from_the_beginning_are_missed() {
    let (_dir, db, log) = three_records().await;
    run(&db, "DELETE FROM audit WHERE number < 3").await;
    let (_, breaks) = log.verify().await.expect("verified");
    assert_eq!(breaks, [crate::audit::ChainBreak::Missing { node: "node1".to_owned(), number: 1 }]);
}

#[tokio::test]
async fn a_node_whose_audit_head_was_taken_does_not_pass() {
    let (_dir, db, log) = three_records().await;
    run(&db, "DELETE FROM audit_head; DELETE FROM audit WHERE number = 2").await;
    let (_, breaks) = log.verify().await.expect("verified");
    assert_eq!(breaks, [crate::audit::ChainBreak::HeadMissing { node: "node1".to_owned() }]);
}
