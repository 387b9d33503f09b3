//! A running gateway whose people come from files or databases and go on to a SCIM service, seen and steered by the
//! command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::cutting_proxy::CuttingProxy;
use crate::support::gateway::{Builder, Gateway};
use crate::support::pki::Pki;
use crate::support::postgres::Postgres;
use crate::support::process::temp_dir;
use crate::support::scim::Scim;

pub(super) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/connectors/examples").join(name)
}

/// A gateway with the vouched domain `alpha.example` and the rules activated.
pub(super) fn start(builder: Builder) -> Gateway {
    let gateway = builder.start();
    gateway.cli(&["domain", "add", "alpha.example"]);
    gateway.cli(&["domain", "verify", "alpha.example", "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    gateway
}

/// Runs a cycle that must complete; returns its steps.
#[track_caller]
pub(super) fn run(gateway: &Gateway) -> Vec<Value> {
    let answer = gateway.cli(&["sync", "run"]);
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
    answer["steps"].as_array().expect("steps").clone()
}

/// Runs a cycle of which a step must fail; returns its steps.
#[track_caller]
fn run_fails(gateway: &Gateway) -> Vec<Value> {
    gateway.cli_refused(&["sync", "run"]);
    let status = gateway.cli(&["sync", "status"]);
    let runs = status["runs"].as_array().expect("runs");
    let last = runs.iter().max_by_key(|run| run["run"]["number"].as_i64()).expect("a run");
    assert_eq!(last["run"]["outcome"], "failed", "{last:#}");
    last["steps"].as_array().expect("steps").clone()
}

/// Names by source anchor.
fn users(gateway: &Gateway) -> BTreeMap<String, String> {
    let listed = gateway.cli(&["user", "list"]);
    let text = |user: &Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
    listed
        .as_array()
        .expect("users")
        .iter()
        .map(|user| (text(user, "source_anchor"), text(user, "display_name")))
        .collect()
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(anchor, name)| ((*anchor).to_owned(), (*name).to_owned())).collect()
}

fn groups_of(gateway: &Gateway, anchor: &str) -> Vec<String> {
    let listed = gateway.cli(&["user", "list"]);
    let user = listed.as_array().expect("users").iter().find(|user| user["source_anchor"] == anchor).cloned();
    let oid = user.expect("the user")["oid"].as_str().expect("an oid").to_owned();
    let shown = gateway.cli(&["user", "show", &oid]);
    shown["groups"].as_array().expect("groups").iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// What an export counted, of one target.
pub(super) fn exported(steps: &[Value], target: &str) -> i64 {
    let of = steps.iter().filter(|step| step["kind"] == "export" && step["connector"] == target);
    of.flat_map(|step| step["counters"].as_object().expect("counters").values()).filter_map(Value::as_i64).sum()
}

pub(super) struct Drop {
    dir: tempfile::TempDir,
}

impl Drop {
    pub(super) fn new() -> Self {
        Self { dir: temp_dir("drop") }
    }

    pub(super) fn put(&self, name: &str, content: &str) {
        let hidden = self.dir.path().join(".incoming");
        std::fs::write(&hidden, content).expect("a file");
        std::fs::rename(hidden, self.dir.path().join(name)).expect("a file");
    }

    pub(super) fn settings(&self) -> String {
        format!(
            "[[connectors]]\nkind = \"file\"\nname = \"hr\"\nformat = \"csv\"\nfolder = \"{}\"\nsettle = \"50ms\"\n\
             domains = [\"alpha.example\"]\ndisabled = \"status=left\"\n\
             [[connectors.sets]]\ncomplete = \"people*.csv\"\ntype = \"user\"\nanchor = \"id\"\n\
             [[connectors.sets]]\ncomplete = \"groups*.csv\"\ntype = \"group\"\nanchor = \"id\"\nmulti_valued = [\"members\"]\n\
             references = [\"members:user\"]\n",
            self.dir.path().display()
        )
    }
}

const PEOPLE: &str = "id,name,mail,status\n1,Ada,ada@alpha.example,active\n2,Bob,bob@alpha.example,left\n\
                      3,Eve,eve@alpha.example,active\n";

#[test]
fn people_follow_their_files() {
    let folder = Drop::new();
    folder.put("people-1.csv", PEOPLE);
    // The group comes before its members in the order of types, and names one who comes later still.
    folder.put("groups-1.csv", "id,name,members\ng1,Team,1|3|4\n");
    let gateway = start(Gateway::builder().section(&folder.settings()).rules(&example("300-file.toml")));
    run(&gateway);
    assert_eq!(users(&gateway), names(&[("1", "Ada"), ("2", "Bob"), ("3", "Eve")]));
    let listed = gateway.cli(&["user", "list"]);
    let bob = listed.as_array().expect("users").iter().find(|user| user["source_anchor"] == "2").cloned().expect("Bob");
    assert_eq!(bob["account_enabled"], false, "{bob:#}");
    assert_eq!(groups_of(&gateway, "1"), ["Team"]);
    let steps = run(&gateway);
    assert_eq!(exported(&steps, "tenant"), 0, "a second run stages nothing: {steps:#?}");

    folder.put("people-2.csv", &format!("{}4,Dan,dan@alpha.example,active\n", PEOPLE.replace("Ada", "Ada L")));
    run(&gateway);
    assert_eq!(users(&gateway), names(&[("1", "Ada L"), ("2", "Bob"), ("3", "Eve"), ("4", "Dan")]));
    assert_eq!(groups_of(&gateway, "4"), ["Team"], "a member that came later than its group");

    // A malformed line stops nobody else, and nobody is deleted for it; without it, who is missing is gone.
    let broken = "id,name,mail,status\n1,Ada,ada@alpha.example\n3,Eva,eve@alpha.example,active\n4,Dan,dan@alpha.example,active\n";
    folder.put("people-3.csv", broken);
    let steps = run(&gateway);
    assert_eq!(users(&gateway), names(&[("1", "Ada L"), ("2", "Bob"), ("3", "Eva"), ("4", "Dan")]));
    let import = steps.iter().find(|step| step["kind"] == "full-import").expect("an import");
    assert!(import["detail"].as_str().expect("a detail").contains("people-3.csv:2"), "{import:#}");
    folder.put("people-4.csv", "id,name,mail,status\n1,Ada,ada@alpha.example,active\n3,Eva,eve@alpha.example,active\n4,Dan,dan@alpha.example,active\n");
    run(&gateway);
    assert_eq!(users(&gateway), names(&[("1", "Ada"), ("3", "Eva"), ("4", "Dan")]));

    // A file that cannot be read aborts the import, and nothing is concluded from it.
    folder.put("people-5.csv", "name,mail\n");
    let steps = run_fails(&gateway);
    let import = steps.iter().find(|step| step["kind"] == "full-import").expect("an import");
    assert!(import["detail"].as_str().expect("a detail").contains("there is no column id"), "{import:#}");
    assert_eq!(users(&gateway).len(), 3);
}

const TABLES: [&str; 3] = [
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, mail TEXT, active TEXT)",
    "CREATE TABLE teams (id TEXT PRIMARY KEY, name TEXT)",
    "CREATE TABLE team_members (team TEXT, person INTEGER)",
];
const ROWS: [&str; 3] = [
    "INSERT INTO people VALUES (1, 'Ada', 'ada@alpha.example', 'yes'), (2, 'Bob', 'bob@alpha.example', 'yes')",
    "INSERT INTO teams VALUES ('g1', 'Team')",
    "INSERT INTO team_members VALUES ('g1', 1), ('g1', 2)",
];

fn sql_settings(database: &str) -> String {
    format!(
        "[[connectors]]\nkind = \"sql\"\nname = \"hr\"\n{database}\ndomains = [\"alpha.example\"]\ndisabled = \"active=no\"\n\
         [[connectors.types]]\ntype = \"user\"\ntable = \"people\"\nanchor = [\"id\"]\n\
         [[connectors.types]]\ntype = \"group\"\ntable = \"teams\"\nanchor = [\"id\"]\n\
         [[connectors.types.values]]\nattribute = \"members\"\ntable = \"team_members\"\nkey = [\"team\"]\ncolumn = \"person\"\n\
         target = \"user\"\n"
    )
}

/// The same story on either database; `execute` runs a statement in it.
fn people_follow_their_tables(gateway: &Gateway, execute: &dyn Fn(&str)) {
    run(gateway);
    assert_eq!(users(gateway), names(&[("1", "Ada"), ("2", "Bob")]));
    assert_eq!((groups_of(gateway, "1"), groups_of(gateway, "2")), (vec!["Team".to_owned()], vec!["Team".to_owned()]));
    let steps = run(gateway);
    assert_eq!(exported(&steps, "tenant"), 0, "a second run stages nothing: {steps:#?}");
    execute("UPDATE people SET name = 'Ada L', active = 'no' WHERE id = 1");
    execute("INSERT INTO people VALUES (3, 'Eve', 'eve@alpha.example', 'yes')");
    execute("DELETE FROM team_members WHERE person = 1");
    execute("INSERT INTO team_members VALUES ('g1', 3)");
    run(gateway);
    assert_eq!(users(gateway), names(&[("1", "Ada L"), ("2", "Bob"), ("3", "Eve")]));
    assert_eq!((groups_of(gateway, "1"), groups_of(gateway, "3")), (Vec::new(), vec!["Team".to_owned()]));
    execute("DELETE FROM people WHERE id = 2");
    run(gateway);
    assert_eq!(users(gateway), names(&[("1", "Ada L"), ("3", "Eve")]));
}

#[test]
fn people_follow_their_sqlite_tables() {
    let dir = temp_dir("sqlite");
    let file = dir.path().join("hr.db");
    let execute = |sql: &str| super::sql::sqlite(&file, sql);
    TABLES.iter().chain(&ROWS).for_each(|sql| execute(sql));
    let settings = sql_settings(&format!("url = \"sqlite:{}\"", file.display()));
    let gateway = start(Gateway::builder().section(&settings).rules(&example("302-sql.toml")));
    people_follow_their_tables(&gateway, &execute);
}

#[test]
fn people_follow_their_postgresql_tables() {
    let dir = temp_dir("postgres-source");
    let pki = Pki::new(&dir.path().join("pki"));
    let postgres = Postgres::with_tls(&pki);
    let url = postgres.fresh_database();
    let execute = |sql: &str| drop(postgres.query(&url, sql));
    TABLES.iter().chain(&ROWS).for_each(|sql| execute(sql));
    let secret = dir.path().join("hr.url");
    std::fs::write(&secret, &url).expect("a secret file");
    crate::support::process::make_private(&secret);
    let database = format!("url_file = \"{}\"\nca_file = \"{}\"", secret.display(), pki.ca_file().display());
    let gateway = start(Gateway::builder().section(&sql_settings(&database)).rules(&example("302-sql.toml")));
    people_follow_their_tables(&gateway, &execute);
}

#[test]
fn a_database_that_breaks_off_changes_its_schema_or_goes_back_in_time_deletes_nobody() {
    let dir = temp_dir("postgres-source");
    let pki = Pki::new(&dir.path().join("pki"));
    let postgres = Postgres::with_tls(&pki);
    let url = postgres.fresh_database();
    let execute = |sql: &str| drop(postgres.query(&url, sql));
    TABLES.iter().chain(&ROWS).for_each(|sql| execute(sql));
    let port: u16 = url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).expect("a port");
    let proxy = CuttingProxy::to(port);
    let secret = dir.path().join("hr.url");
    std::fs::write(&secret, url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()))).expect("a secret file");
    crate::support::process::make_private(&secret);
    let database = format!("url_file = \"{}\"\nca_file = \"{}\"", secret.display(), pki.ca_file().display());
    let gateway = start(Gateway::builder().section(&sql_settings(&database)).rules(&example("302-sql.toml")));
    run(&gateway);
    let both = |ada: &str| names(&[("1", ada), ("2", "Bob")]);
    let (mut told, mut cut) = ("Ada".to_owned(), 0);
    for records in 1.. {
        let name = format!("Ada {records}");
        execute(&format!("UPDATE people SET name = '{name}' WHERE id = 1"));
        proxy.cut_behind(records);
        let cuts = proxy.cuts();
        let whole = gateway.operator().run(&["sync", "run"]).is_some();
        proxy.cut_behind(0);
        if whole {
            told = name;
        }
        assert_eq!(users(&gateway), both(&told), "cut behind {records}");
        assert_eq!(groups_of(&gateway, "2"), ["Team"], "cut behind {records}");
        if proxy.cuts() == cuts {
            assert!(whole, "nothing was cut");
            break;
        }
        cut += 1;
    }
    assert!(cut > 5, "{cut} cuts");

    execute("ALTER TABLE people ADD COLUMN badge TEXT");
    run(&gateway);
    assert_eq!(users(&gateway), both(&told), "a column more changes nothing");
    execute("ALTER TABLE people RENAME COLUMN id TO number");
    run_fails(&gateway);
    assert_eq!(users(&gateway), both(&told), "a key that is gone deletes nobody");
    execute("ALTER TABLE people RENAME COLUMN number TO id");
    execute("CREATE TABLE backup AS SELECT * FROM people");
    execute("INSERT INTO people VALUES (3, 'Eve', 'eve@alpha.example', 'yes')");
    execute("UPDATE people SET name = 'Lost' WHERE id = 1");
    run(&gateway);
    assert_eq!(users(&gateway), names(&[("1", "Lost"), ("2", "Bob"), ("3", "Eve")]));
    execute("DELETE FROM people");
    execute("INSERT INTO people SELECT * FROM backup");
    run(&gateway);
    assert_eq!(users(&gateway), both(&told), "as the backup has it: who came later is gone with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_groups_go_on_to_a_scim_service() {
    let (folder, scim) = (Drop::new(), Scim::start());
    folder.put("people-1.csv", PEOPLE);
    folder.put("groups-1.csv", "id,name,members\ng1,Team,1|2\n");
    let builder = Gateway::builder().section(&folder.settings()).section(&scim.settings("app"));
    let gateway = start(builder.rules(&example("300-file.toml")).rules(&example("400-scim.toml")));
    run(&gateway);
    let by_key = |resources: Vec<Value>| -> BTreeMap<String, Value> {
        let key = |resource: &Value| resource["externalId"].as_str().unwrap_or_default().to_owned();
        resources.into_iter().map(|resource| (key(&resource), resource)).collect()
    };
    let people = by_key(scim.resources("Users").await);
    assert_eq!(people.len(), 3, "{people:#?}");
    assert_eq!(people["1"]["userName"], "ada@alpha.example");
    assert_eq!(people["1"]["emails"][0]["value"], "ada@alpha.example");
    assert_eq!((&people["1"]["active"], &people["2"]["active"]), (&Value::Bool(true), &Value::Bool(false)));
    let members = |group: &Value| -> Vec<String> {
        let ids = group["members"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> = ids.iter().map(|m| m["value"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    };
    let ids = |people: &BTreeMap<String, Value>, keys: &[&str]| -> Vec<String> {
        let mut ids: Vec<String> =
            keys.iter().map(|key| people[*key]["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    };
    let groups = by_key(scim.resources("Groups").await);
    assert_eq!(members(&groups["g1"]), ids(&people, &["1", "2"]));
    let steps = run(&gateway);
    assert_eq!(exported(&steps, "app"), 0, "a second run stages nothing: {steps:#?}");

    // The service asks to slow down, and is waited for; it loses an answer, and nothing is made twice.
    folder.put(
        "people-2.csv",
        &format!(
            "{}4,Dan,dan@alpha.example,active\n",
            PEOPLE.replace("Ada", "Ada L").replace("3,Eve,eve@alpha.example,active\n", "")
        ),
    );
    folder.put("groups-2.csv", "id,name,members\ng1,Team,2|4\n");
    scim.tell("throttle 2");
    run(&gateway);
    let people = by_key(scim.resources("Users").await);
    assert_eq!(people.keys().collect::<Vec<_>>(), ["1", "2", "4"]);
    assert_eq!(people["1"]["displayName"], "Ada L");
    let groups = by_key(scim.resources("Groups").await);
    assert_eq!(members(&groups["g1"]), ids(&people, &["2", "4"]));

    folder.put("people-3.csv", &format!("{PEOPLE}4,Dan,dan@alpha.example,active\n5,Fay,fay@alpha.example,active\n"));
    scim.tell("lose 1");
    run_fails(&gateway);
    run(&gateway);
    let listed = scim.resources("Users").await;
    assert_eq!(listed.len(), 5, "nobody is there twice: {listed:#?}");
    let people = by_key(listed);
    assert_eq!(people["1"]["displayName"], "Ada");
    let steps = run(&gateway);
    assert_eq!(exported(&steps, "app"), 0, "{steps:#?}");

    // A person with a name that somebody else has there is refused alone.
    let taken =
        format!("{PEOPLE}4,Dan,dan@alpha.example,active\n5,Fay,fay@alpha.example,active\n").replace("3,Eve", "3,Eva");
    folder.put("people-4.csv", &taken);
    run(&gateway);
    assert_eq!(by_key(scim.resources("Users").await)["3"]["displayName"], "Eva");
}
