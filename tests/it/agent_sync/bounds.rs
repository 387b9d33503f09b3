//! What an agent's own settings allow, and for how long a run may write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landbridge::agent_sync::words::TURN_LASTS;
use landbridge::agent_sync::{AgentAccounts, AgentDirectory};
use landbridge::config::{AgentsOnlySettings, DirectoryScope};
use landbridge::identity::{DistinguishedName, LeaseEpoch, SourceAnchor};
use landbridge::password_sync::AccountSource as _;
use landbridge::sync::Connector as _;
use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{
    ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportRequest, KnownBase, ReadBack,
    SingleRead, SingleRequest, Sought, Wanted,
};
use landbridge::sync::lease::{EngineLease, HeldLease, Turn};
use landbridge::sync::space::ObjectId;

use zeroize::Zeroizing;

use super::world::{IMPORTS, directory, machine, run, scope, settings, writing};
use crate::agents::world::{CORP, Running, World};
use crate::connectors::turn;
use crate::support::holding_proxy::HoldingProxy;
use crate::support::slapd::{SUFFIX, Slapd};

const WRITES: &str = "carries = [\"import\", \"export\"]";
const EXPORTS: &str = "[connector.export]\nattributes = [\"description\"]";

/// An agent that may write descriptions, with an account that the directory lets write.
async fn writer(world: &World, label: &str, slapd: &Slapd) -> Running {
    let folder = writing_machine(world, label, slapd, WRITES, EXPORTS).await;
    world.run(&folder).await
}

async fn writing_machine(world: &World, label: &str, slapd: &Slapd, agent_lines: &str, lines: &str) -> PathBuf {
    let folder = machine(world, label, slapd, agent_lines, lines).await;
    let file = folder.join("agent.toml");
    let text = std::fs::read_to_string(&file).expect("the settings file");
    std::fs::write(&file, text.replace(&slapd.service_dn(), &slapd.admin_dn())).expect("the settings file");
    std::fs::write(folder.join("bind.secret"), slapd.admin_password()).expect("the secret");
    folder
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

/// What a gateway that was taken over gets of a directory with people in two branches, from an agent whose settings let
/// one of them be read, and not all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_beyond_an_agents_own_bases_is_told_or_written_whatever_finds_it() {
    let world = World::open().await;
    let people = world.slapd.people_base();
    let board = format!("ou=board,{people}");
    let hidden_person = format!("uid=hidden,{board}");
    world.slapd.ldapmodify(&format!(
        "dn: {board}\nchangetype: add\nobjectClass: organizationalUnit\nou: board\n\n\
         dn: {hidden_person}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: hidden\ncn: hidden\nsn: hidden\n\
         userPassword: {{SSHA}}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3\n\n"
    ));
    let carries = "carries = [\"import\", \"export\", \"passwords\"]";
    let folder = writing_machine(&world, "one", &world.slapd, carries, EXPORTS).await;
    let file = folder.join("agent.toml");
    let text = std::fs::read_to_string(&file).expect("the settings file");
    let own = format!("bases = [\"{people}\"]\nexcluded = [\"{board}\"]\n");
    std::fs::write(&file, text.replace(&format!("bases = [\"{SUFFIX}\"]\n"), &own)).expect("the settings file");
    let _agent = world.run(&folder).await;
    let groups = format!("ou=groups,{SUFFIX}");
    let name = |dn: &str| dn.parse::<DistinguishedName>().expect("a name");
    let bounded =
        DirectoryScope { bases: vec![name(&people)], excluded: vec![name(&board)], ..writing(&["description"]) };
    let corp = directory(&world, CORP, bounded.clone());
    let anchor_of = |dn: &str| world.slapd.values(dn, "entryUUID").remove(0);
    let visible = world.directory.people[0].dn.clone();
    let (of_board, elsewhere) = (anchor_of(&board), anchor_of(&groups));

    // A base that is "known" by the anchor of a container elsewhere, and an exclusion by that of one that holds nobody.
    let known = |named: &str, anchor: &str| KnownBase { named: name(named), anchor: anchor.to_owned() };
    let own = anchor_of(&people);
    let rows = [
        (vec![known(&people, &elsewhere)], Some("lies outside what the agent's own `bases` and `excluded`")),
        (vec![known(&people, &of_board)], Some("lies outside what the agent's own `bases` and `excluded`")),
        (vec![known(&people, &own), known(&board, &elsewhere)], None),
    ];
    for (bases, expected) in rows {
        let request = ImportRequest { mode: ImportMode::Full, bases, wanted: Default::default() };
        let read = all_objects(&corp, request).await;
        match (read, expected) {
            (Ok(told), None) => {
                assert!(told.contains(&visible), "{told:?}");
                assert!(!told.iter().any(|dn| dn.contains("ou=board")), "{told:?}");
            }
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (read, _) => panic!("{read:?}"),
        }
    }

    // Single objects, by name and by anchor: not even where they are is told.
    let hidden = anchor_of(&hidden_person);
    for sought in [Sought::Anchor(hidden.clone()), Sought::Dn(name(&hidden_person)), Sought::Dn(name(&groups))] {
        let bases = vec![known(&people, &own), known(&board, &elsewhere)];
        let request = SingleRequest { bases, ..SingleRequest::default() };
        match corp.import_one(sought, request).await.expect("an answer") {
            SingleRead::OutOfScope { reason } => assert!(!reason.contains("ou="), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    // Writing and reading back, by anchor.
    let batch = vec![describe(&hidden, "written"), describe(&anchor_of(&visible), "written")];
    let results = corp.export(batch, &turn()).await.expect("answers");
    assert!(matches!(&results[0], ExportResult::Refused { code, .. } if code == "cd-missing-object"), "{results:?}");
    assert!(matches!(results[1], ExportResult::Accepted { .. }), "{results:?}");
    assert_eq!(world.slapd.values(&hidden_person, "description"), [""; 0]);
    assert_eq!(world.slapd.values(&visible, "description"), ["written"]);
    let ask = |anchor: &str| ReadBack::ByAnchor { object_type: "user".to_owned(), anchor: anchor.to_owned() };
    let read = corp.read_back(vec![ask(&hidden), ask(&anchor_of(&visible))]).await.expect("answers");
    assert!(read[0].is_none() && read[1].is_some(), "{read:?}");

    // Accounts, in a whole read and by anchor.
    let settings = AgentsOnlySettings { scope: bounded, ..settings(CORP) };
    let accounts = AgentAccounts::new(&settings, world.broker.clone(), Zeroizing::new(vec![5; 32])).expect("sound");
    let told = super::passwords::all(&accounts).await.expect("a read");
    assert_eq!(told.len(), world.directory.people.len());
    assert!(!told.contains_key(&hidden));
    let asked = [hidden, anchor_of(&visible)].map(SourceAnchor::from_stored);
    let page = accounts.read(&asked).await.expect("an answer");
    let read: Vec<_> = page.accounts.iter().map(|account| account.anchor.clone()).collect();
    assert_eq!(read, asked[1..]);
}

/// The names of everything that an import tells.
async fn all_objects(corp: &AgentDirectory, request: ImportRequest) -> Result<Vec<String>, ConnectorError> {
    let mut stream = corp.import(request).await?;
    let mut told = Vec::new();
    while let Some(page) = stream.next_page().await? {
        told.extend(page.objects.into_iter().filter_map(|object| object.dn).map(|dn| dn.to_string()));
    }
    Ok(told)
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

/// No word of the gateway comes through any more, "give it up" no more than "it has its turn": the agent's own reckoning
/// alone keeps it from writing when its directory answers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_hears_nothing_any_more_writes_nothing_any_more() {
    for held in [false, true] {
        let mut way = None;
        let world = World::open_behind(|port| way.insert(HoldingProxy::to(port)).port()).await;
        let way = way.expect("the way to the gateway");
        let _agent = writer(&world, "one", &world.slapd).await;
        let corp = directory(&world, CORP, writing(&["description"]));
        let person = &world.directory.people[0];
        let anchor = world.slapd.values(&person.dn, "entryUUID").remove(0);
        world.slapd.freeze();
        let unending = turn();
        let interrupted = async {
            // The batch is with the agent, which waits for its directory.
            tokio::time::sleep(Duration::from_secs(2)).await;
            way.hold(held);
            tokio::time::sleep(TURN_LASTS * 2).await;
            world.slapd.thaw();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let written = world.slapd.values(&person.dn, "description");
            way.hold(false);
            written
        };
        let (written, result) = tokio::join!(interrupted, corp.export(vec![describe(&anchor, "written")], &unending));
        if held {
            assert_eq!(written, [""; 0]);
            let error = result.expect_err("nobody knows whether it was written");
            assert!(error.to_string().contains("the engine lease"), "{error}");
        } else {
            assert_eq!(written, ["written"]);
            assert!(matches!(result.expect("answers")[0], ExportResult::Accepted { .. }));
        }
    }
}
