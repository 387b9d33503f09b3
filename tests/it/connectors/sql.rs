//! Databases as sources: conformance on SQLite and PostgreSQL, TLS, and what delta imports may and may not miss.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use landbridge::config::{SourceDatabase, SqlRows, SqlSourceSettings, SqlType, SqlValues};
use landbridge::connectors::sql::SqlSource;
use landbridge::sync::Connector;
use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{ConnectorError, Hidden, ImportMode, ImportPage, ImportRequest, Wanted, Watermark};

use super::conformance::{self, Source, State};
use crate::support::pki::Pki;
use crate::support::postgres::Postgres;
use crate::support::process::temp_dir;

/// Runs statements on a SQLite file.
pub fn sqlite(file: &Path, sql: &str) {
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let sql = sql.to_owned();
    // Called with and without a runtime.
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = options.connect().await.expect("a database");
            connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("a statement");
            sqlx::Connection::close(connection).await.expect("an end");
        });
    };
    std::thread::spawn(run).join().expect("the statement ran");
}

#[expect(clippy::large_enum_variant, reason = "a test has one")]
enum Hand {
    Sqlite { file: PathBuf },
    Postgres { server: Postgres, url: String, pki: Pki },
}

impl Hand {
    fn sqlite(dir: &Path) -> Self {
        Self::Sqlite { file: dir.join("source.db") }
    }

    fn postgres(dir: &Path) -> Self {
        let pki = Pki::new(&dir.join("pki"));
        let server = Postgres::with_tls(&pki);
        let url = server.fresh_database();
        Self::Postgres { server, url, pki }
    }

    fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite { file } => sqlite(file, sql),
            Self::Postgres { server, url, .. } => drop(server.query(url, sql)),
        }
    }

    fn database(&self) -> SourceDatabase {
        match self {
            Self::Sqlite { file } => SourceDatabase::Sqlite { file: file.clone() },
            Self::Postgres { url, pki, .. } => {
                SourceDatabase::Postgres { url: url.clone(), password: None, ca_file: Some(pki.ca_file()) }
            }
        }
    }

    fn source(&self, types: Vec<SqlType>) -> SqlSource {
        let settings = SqlSourceSettings {
            name: "hr".parse().expect("a name"),
            domains: Vec::new(),
            database: self.database(),
            disabled: None,
            attributes: Vec::new(),
            types,
            page_size: 10,
            deadline: Duration::from_secs(20),
        };
        SqlSource::new(settings, Vec::new())
    }
}

fn table_type(name: &str, table: &str) -> SqlType {
    SqlType {
        name: name.to_owned(),
        rows: SqlRows::Table(vec![table.parse().expect("a name")]),
        anchor: vec!["id".parse().expect("a name")],
        references: Vec::new(),
        watermark: Some("changed".parse().expect("a name")),
        overlap: Duration::from_secs(600),
        overlap_number: 0,
        deleted: Some("gone".parse().expect("a test")),
        values: Vec::new(),
    }
}

struct Peer {
    hand: Hand,
    source: SqlSource,
    shown: Mutex<State>,
    /// Grows with every change, as a row version does.
    version: Mutex<i64>,
    _dir: tempfile::TempDir,
}

impl Peer {
    fn new(dir: tempfile::TempDir, hand: Hand) -> Self {
        let changed = match &hand {
            Hand::Sqlite { .. } => "INTEGER",
            Hand::Postgres { .. } => "TIMESTAMPTZ",
        };
        hand.execute(&format!(
            "CREATE TABLE people (id TEXT PRIMARY KEY, cn TEXT, changed {changed}, gone TEXT);
             CREATE TABLE teams (id TEXT PRIMARY KEY, cn TEXT, changed {changed}, gone TEXT);
             CREATE TABLE team_members (team TEXT, person TEXT, PRIMARY KEY (team, person))"
        ));
        let mut teams = table_type("group", "teams");
        let parse = |name: &str| name.parse().expect("a name");
        teams.values.push(SqlValues {
            attribute: "members".to_owned(),
            table: vec![parse("team_members")],
            key: vec![parse("team")],
            column: parse("person"),
            target: Some(landbridge::config::ReferenceTarget::Type("user".to_owned())),
        });
        let source = hand.source(vec![table_type("user", "people"), teams]);
        Self { hand, source, shown: Mutex::default(), version: Mutex::new(0), _dir: dir }
    }
}

#[async_trait::async_trait]
impl Source for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.source
    }

    fn wanted(&self) -> BTreeMap<String, Wanted> {
        wanted(&["members"])
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    async fn show(&self, state: &State) {
        let mut shown = self.shown.lock().expect("lock");
        let now = match &self.hand {
            Hand::Sqlite { .. } => {
                let mut version = self.version.lock().expect("lock");
                *version += 1;
                version.to_string()
            }
            Hand::Postgres { .. } => "now()".to_owned(),
        };
        let mut sql = String::from("BEGIN;");
        let mut put = |table: &str, key: &str, name: &str| {
            write!(
                sql,
                "INSERT INTO {table} VALUES ('{key}', '{name}', {now}, NULL)
                 ON CONFLICT (id) DO UPDATE SET cn = excluded.cn, changed = excluded.changed;"
            )
            .expect("a string");
        };
        for (key, name) in state.people.iter().filter(|(key, name)| shown.people.get(*key) != Some(name)) {
            put("people", key, name);
        }
        let changed: Vec<_> = state.groups.iter().filter(|(key, m)| shown.groups.get(*key) != Some(m)).collect();
        for (key, _) in &changed {
            put("teams", key, key);
        }
        for (key, members) in changed {
            write!(sql, "DELETE FROM team_members WHERE team = '{key}';").expect("a string");
            for member in members {
                write!(sql, "INSERT INTO team_members VALUES ('{key}', '{member}');").expect("a string");
            }
        }
        for key in shown.people.keys().filter(|key| !state.people.contains_key(*key)) {
            write!(sql, "UPDATE people SET gone = 'yes', changed = {now} WHERE id = '{key}';").expect("a string");
        }
        // Who comes back is not gone any more.
        for key in state.people.keys().filter(|key| !shown.people.contains_key(*key)) {
            write!(sql, "UPDATE people SET gone = NULL WHERE id = '{key}';").expect("a string");
        }
        sql.push_str("COMMIT;");
        self.hand.execute(&sql);
        *shown = state.clone();
    }
}

fn wanted(references: &[&str]) -> BTreeMap<String, Wanted> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
    let user = Wanted { attributes: names(&["cn", "data", "tags", "flag", "amount"]), references: BTreeSet::new() };
    let group = Wanted { attributes: names(&["cn"]), references: names(references) };
    BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)])
}

async fn read(source: &SqlSource, mode: ImportMode) -> Result<ImportPage, ConnectorError> {
    let mut stream = source.import(ImportRequest { mode, bases: Vec::new(), wanted: wanted(&["members"]) }).await?;
    let mut all = ImportPage::default();
    while let Some(page) = stream.next_page().await? {
        all.objects.extend(page.objects);
        all.deleted.extend(page.deleted);
        all.refused.extend(page.refused);
        all.watermark = page.watermark.or(all.watermark);
    }
    all.objects.sort_by(|a, b| a.anchor.cmp(&b.anchor));
    Ok(all)
}

fn anchors(page: &ImportPage) -> Vec<&str> {
    page.objects.iter().map(|object| object.anchor.as_str()).collect()
}

async fn delta(source: &SqlSource, since: &Watermark) -> ImportPage {
    read(source, ImportMode::Delta { since: since.clone() }).await.expect("a delta import")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_database_conforms() {
    let dir = temp_dir("sqlite");
    let hand = Hand::sqlite(dir.path());
    conformance::source(&Peer::new(dir, hand)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_conforms() {
    let dir = temp_dir("postgres-source");
    let hand = Hand::postgres(dir.path());
    conformance::source(&Peer::new(dir, hand)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_arrive_as_they_are() {
    let dir = temp_dir("postgres-source");
    let hand = Hand::postgres(dir.path());
    hand.execute(
        "CREATE TABLE people (id INT, part TEXT, cn TEXT, data BYTEA, tags TEXT[], flag BOOL, amount NUMERIC);
         INSERT INTO people VALUES (1, 'a|b', '', '\\x00ff', ARRAY['x', NULL, 'y'], TRUE, 1.50), (2, '', NULL, NULL, NULL, NULL, NULL),
           (NULL, 'c', 'nobody', NULL, NULL, NULL, NULL)",
    );
    let mut people = table_type("user", "people");
    (people.watermark, people.deleted) = (None, None);
    people.anchor = ["id", "part"].map(|name| name.parse().expect("a name")).to_vec();
    let page = read(&hand.source(vec![people.clone()]), ImportMode::Full).await.expect("a full import");
    assert_eq!(anchors(&page), ["user:1|a\\|b"]);
    let values = |name: &str| page.objects[0].attributes[&name.into()].clone();
    assert_eq!(values("cn"), [Value::text("")], "an empty text is a text");
    assert_eq!(values("data"), [Value::binary(b"\x00\xff")]);
    assert_eq!(values("tags"), [Value::text("x"), Value::text("y")]);
    assert_eq!((values("flag"), values("amount")), (vec![Value::text("TRUE")], vec![Value::text("1.50")]));
    assert_eq!(page.refused.iter().map(|entry| &entry.hides).collect::<Vec<_>>(), [&Hidden::Anybody; 2]);

    people.anchor = vec!["id".parse().expect("a name")];
    people.rows =
        SqlRows::Query("SELECT 1 AS id, 'A' AS cn UNION ALL SELECT 1, 'B' -- a comment at the end".to_owned());
    let page = read(&hand.source(vec![people.clone()]), ImportMode::Full).await.expect("a full import");
    assert_eq!((anchors(&page), &page.refused[0].hides), (vec!["user:1"], &Hidden::Object("user:1".to_owned())));

    people.watermark = Some("changed".parse().expect("a name"));
    let error = read(&hand.source(vec![people]), ImportMode::Full).await.expect_err("no such column");
    assert!(
        matches!(&error, ConnectorError::Settings { reason, .. } if reason.contains("there is no column changed")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_a_database_is_verified() {
    let dir = temp_dir("postgres-source");
    let hand = Hand::postgres(dir.path());
    let Hand::Postgres { url, .. } = &hand else { panic!("PostgreSQL") };
    let stranger = Pki::new(&dir.path().join("stranger"));
    for ca_file in [None, Some(stranger.ca_file())] {
        let settings = SqlSourceSettings {
            name: "hr".parse().expect("a name"),
            domains: Vec::new(),
            database: SourceDatabase::Postgres { url: url.clone(), password: None, ca_file },
            disabled: None,
            attributes: Vec::new(),
            types: vec![table_type("user", "people")],
            page_size: 10,
            deadline: Duration::from_secs(20),
        };
        let error = read(&SqlSource::new(settings, Vec::new()), ImportMode::Full).await.expect_err("no trust");
        assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_found_by_the_overlap() {
    let dir = temp_dir("sqlite");
    let hand = Hand::sqlite(dir.path());
    hand.execute(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, cn TEXT, changed TEXT, gone INTEGER);
         INSERT INTO people VALUES (1, 'A', '2026-11-21T10:00:00Z', 0), (2, 'B', '2026-11-21T09:00:00Z', 0)",
    );
    let source = hand.source(vec![table_type("user", "people")]);
    let since = read(&source, ImportMode::Full).await.expect("a full import").watermark.expect("a watermark");
    // Stamped before the watermark, committed after it was read: within the ten minutes, and long before them.
    hand.execute(
        "INSERT INTO people VALUES (3, 'C', '2026-11-21T09:55:00Z', 0), (4, 'D', '2026-11-21T08:00:00Z', 0);
         UPDATE people SET gone = 1, changed = '2026-11-21T10:00:01Z' WHERE id = 1",
    );
    let page = delta(&source, &since).await;
    assert_eq!((anchors(&page), page.deleted.as_slice()), (vec!["user:3"], &["user:1".to_owned()][..]));
    let full = read(&source, ImportMode::Full).await.expect("a full import");
    assert_eq!(anchors(&full), ["user:2", "user:3", "user:4"], "a full import repairs what a delta missed");

    // Data of an older backup.
    hand.execute("DELETE FROM people WHERE changed > '2026-11-21T09:30:00Z'");
    let stale = read(&source, ImportMode::Delta { since }).await.expect_err("older than the watermark");
    assert!(matches!(stale, ConnectorError::StaleWatermark { .. }), "{stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_aborts_the_read() {
    let dir = temp_dir("postgres-source");
    let hand = Hand::postgres(dir.path());
    hand.execute("CREATE TABLE big AS SELECT n AS id, repeat('x', 4000) AS cn FROM generate_series(1, 400) n");
    let mut people = table_type("user", "big");
    (people.watermark, people.deleted) = (None, None);
    people.rows = SqlRows::Query("SELECT big.*, pg_sleep(0.02) AS nap FROM big".to_owned());
    let source = hand.source(vec![people]);
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: wanted(&[]) };
    let mut stream = source.import(request).await.expect("the import begins");
    stream.next_page().await.expect("a first page").expect("more than nothing");
    hand.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'landbridge'");
    let error = loop {
        match stream.next_page().await {
            Ok(Some(page)) => assert!(page.watermark.is_none()),
            Ok(None) => panic!("a read that was cut looks complete"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnectorError::Aborted { .. }), "{error}");
}
