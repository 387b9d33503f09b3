//! What an agent's own settings allow, and for how long a run may write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landbridge::config::DirectoryScope;
use landbridge::identity::LeaseEpoch;
use landbridge::sync::Connector as _;
use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{
    ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportRequest, ReadBack, SingleRead,
    SingleRequest, Sought, Wanted,
};
use landbridge::sync::lease::{EngineLease, HeldLease, Turn};
use landbridge::sync::space::ObjectId;

use super::world::{IMPORTS, directory, machine, run, scope, writing};
use crate::agents::world::{CORP, Running, World};
use crate::connectors::turn;
use crate::support::slapd::Slapd;

const WRITES: &str = "carries = [\"import\", \"export\"]";

/// An agent that may write descriptions, with an account that the directory lets write.
async fn writer(world: &World, label: &str, slapd: &Slapd) -> Running {
    let folder = machine(world, label, slapd, WRITES, "[connector.export]\nattributes = [\"description\"]").await;
    let file = folder.join("agent.toml");
    let text = std::fs::read_to_string(&file).expect("the settings file");
    std::fs::write(&file, text.replace(&slapd.service_dn(), &slapd.admin_dn())).expect("the settings file");
    std::fs::write(folder.join("bind.secret"), slapd.admin_password()).expect("the secret");
    world.run(&folder).await
}

fn describe(anchor: &str, text: &str) -> ExportChange {
    let changes = Attributes::from([("description".into(), vec![Value::text(text)])]);
    let operation = ExportOperation::Update { anchor: anchor.to_owned(), changes };
    ExportChange { object: ObjectId(1), object_type: "user".to_owned(), identity: Attributes::new(), operation }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_are_written_and_read_back_through_an_agent() {
    let world = World::open().await;
    let _agent = writer(&world, "one", &world.slapd).await;
    let corp = directory(&world, CORP, writing(&["description"]));
    let person = &world.directory.people[0];
    let anchor = world.slapd.values(&person.dn, "entryUUID").remove(0);
    for _ in 0..2 {
        let batch = vec![describe(&anchor, "written by an agent"), describe("nobody", "x")];
        let results = corp.export(batch, &turn()).await.expect("answers");
        assert!(matches!(results[0], ExportResult::Accepted { .. }), "{results:?}");
        assert!(matches!(&results[1], ExportResult::Refused { code, .. } if code == "cd-missing-object"));
    }
    assert_eq!(world.slapd.values(&person.dn, "description"), ["written by an agent"]);
    let ask = |anchor: &str| ReadBack::ByAnchor { object_type: "user".to_owned(), anchor: anchor.to_owned() };
    let read = corp.read_back(vec![ask("nobody"), ask(&anchor)]).await.expect("answers");
    assert!(read[0].is_none());
    let object = read[1].as_ref().expect("it is there");
    assert_eq!(object.attributes[&"description".into()], [Value::text("written by an agent")]);

    let sought = Sought::Dn(person.dn.parse().expect("a name"));
    match corp.import_one(sought, SingleRequest::default()).await.expect("an answer") {
        SingleRead::Found(page) => assert_eq!(page.objects[0].anchor, anchor),
        other => panic!("{other:?}"),
    }
    let nobody = Sought::Anchor("00000000-0000-4000-8000-000000000000".to_owned());
    let read = corp.import_one(nobody, SingleRequest::default()).await.expect("an answer");
    assert!(matches!(read, SingleRead::Absent), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_settings_bound_what_is_read_and_written() {
    let world = World::open().await;
    let (_, _agent) = run(&world, "one", &world.slapd, IMPORTS).await;
    let import = async |scope: DirectoryScope| {
        let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: Default::default() };
        directory(&world, CORP, scope).import(request).await.map(drop)
    };
    import(scope()).await.expect("within bounds");
    let elsewhere = DirectoryScope { bases: vec!["dc=elsewhere,dc=example".parse().expect("a name")], ..scope() };
    let error = import(elsewhere).await.expect_err("out of bounds");
    assert!(matches!(error, ConnectorError::Settings { .. }), "{error}");
    assert!(error.to_string().contains("do not reach up to dc=elsewhere,dc=example"), "{error}");

    for scope in [
        DirectoryScope { attributes: vec!["userPassword;x-raw".to_owned()], ..scope() },
        DirectoryScope { anchor_attribute: "sambaNTPassword".to_owned(), ..scope() },
        DirectoryScope { user_filter: Some("(&(objectClass=person)(userPASSWORD>=a))".to_owned()), ..scope() },
    ] {
        let error = import(scope).await.expect_err("a secret");
        assert!(error.to_string().contains("holds passwords or hashes"), "{error}");
    }
    let secret = Wanted { attributes: [Attribute::new("userPassword")].into(), ..Wanted::default() };
    let wanted: BTreeMap<_, _> = [("user".to_owned(), secret)].into();
    let request = SingleRequest { wanted: wanted.clone(), ..SingleRequest::default() };
    let person = Sought::Dn(world.directory.people[0].dn.parse().expect("a name"));
    let error = directory(&world, CORP, scope()).import_one(person, request).await.expect_err("a secret");
    assert!(error.to_string().contains("holds passwords or hashes"), "{error}");
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted };
    let error = directory(&world, CORP, scope()).import(request).await.map(drop).expect_err("a secret");
    assert!(error.to_string().contains("holds passwords or hashes"), "{error}");

    let write = async |scope: DirectoryScope| {
        directory(&world, CORP, scope).export(vec![describe("a", "b")], &turn()).await.map(drop)
    };
    let error = write(writing(&["description"])).await.expect_err("nobody writes");
    assert!(error.to_string().contains("do not say `export` under `carries`"), "{error}");
    let _writer = writer(&world, "two", &world.slapd).await;
    write(writing(&["description"])).await.expect("within bounds");
    let error = write(writing(&["description", "title"])).await.expect_err("out of bounds");
    assert!(matches!(error, ConnectorError::Settings { .. }), "{error}");
    assert!(error.to_string().contains("do not let title be written"), "{error}");
}

struct Revocable(AtomicBool);

impl EngineLease for Revocable {
    fn held(&self) -> Option<LeaseEpoch> {
        self.0.load(Ordering::SeqCst).then_some(LeaseEpoch::from_number(7))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_writes_no_more_once_the_run_has_lost_its_turn() {
    let world = World::open().await;
    let _agent = writer(&world, "one", &world.slapd).await;
    let corp = directory(&world, CORP, writing(&["description"]));
    let person = &world.directory.people[0];
    let anchor = world.slapd.values(&person.dn, "entryUUID").remove(0);
    let lease = Arc::new(Revocable(AtomicBool::new(true)));
    let turn = Turn::of(&HeldLease::begin(lease.clone()).expect("held"));
    world.slapd.freeze();
    let (result, ()) = tokio::join!(corp.export(vec![describe(&anchor, "too late")], &turn), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        lease.0.store(false, Ordering::SeqCst);
    });
    let error = result.expect_err("the turn is over");
    assert!(matches!(error, ConnectorError::Refused { .. }), "{error}");
    // The agent hears of it before the directory answers again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.slapd.thaw();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.slapd.values(&person.dn, "description"), [""; 0]);
}
