//! Who is refused, and what a cut wire leaves behind.

use landbridge::identity::LeaseEpoch;
use landbridge::sync::Connector as _;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{ConnectorError, ExportChange, ExportOperation, ExportResult, ReadBack};
use landbridge::sync::lease::EngineLease as _;
use landbridge::sync::space::ObjectId;
use landbridge::sync_server::CallError;
use landbridge::sync_server::protocol::{Done, Export, Exported, FaultCode, LARGEST_REQUEST, TakenLease, path};

use super::bounds::add;
use super::world::{Gateway, Server};
use crate::agents::world::{CORP, LAB};
use crate::support::cutting_proxy::CuttingProxy;

#[track_caller]
fn code<T: std::fmt::Debug>(answer: Result<T, CallError>) -> FaultCode {
    match answer {
        Err(CallError::Told(fault)) => fault.error,
        other => panic!("{other:?}"),
    }
}

fn held(server: &Server) -> LeaseEpoch {
    server.lease.held().expect("the lease is held")
}

async fn export_as(server: &Server, epoch: LeaseEpoch, key: &str) -> Result<Exported, CallError> {
    let export = Export { epoch: epoch.number(), changes: vec![add(CORP, "user", key)] };
    server.link.ask(path::EXPORT, &export).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_writes_and_only_under_its_newest_epoch() {
    let gateway = Gateway::open(None).await;
    let (one, two) = (gateway.server("one", &[CORP]).await, gateway.server("two", &[CORP]).await);
    one.lease.renew().await.expect("the lease is free");
    two.lease.renew().await.expect("it is told that the lease is held");
    assert_eq!(two.lease.held(), None);
    let refused = two.tenant.export(vec![add(CORP, "user", "two")], &two.turn()).await;
    assert!(matches!(refused, Err(ConnectorError::Refused { .. })), "{refused:?}");
    // Not even under the epoch of the server that has it.
    assert_eq!(code(export_as(&two, held(&one), "two").await), FaultCode::LeaseLost);

    let first = held(&one);
    export_as(&one, first, "one").await.expect("written");
    let taken: TakenLease = one.link.ask(path::TAKE_LEASE, &Done {}).await.expect("taken anew");
    assert!(taken.epoch > first.number());
    assert_eq!(code(export_as(&one, first, "late").await), FaultCode::LeaseLost);
    // What was frozen meanwhile believes in its lease, and writes nothing all the same.
    assert_eq!(held(&one), first);
    let late = one.tenant.export(vec![add(CORP, "user", "late")], &one.turn()).await;
    assert!(matches!(late, Err(ConnectorError::Refused { .. })), "{late:?}");
    assert_eq!(one.lease.held(), None, "it has learnt of it");
    one.lease.settle().await.expect("a new epoch");
    assert!(held(&one).number() > taken.epoch);
    assert_eq!(one.read().await.expect("a whole read").len(), 1);
    // Reading needs no lease.
    assert_eq!(two.read().await.expect("a whole read").len(), 1);

    one.gives_the_lease_back().await;
    two.lease.renew().await.expect("the lease is free");
    export_as(&two, held(&two), "two").await.expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_server_is_out_at_once_and_an_agent_was_never_in() {
    let gateway = Gateway::open(None).await;
    let server = gateway.server("one", &[CORP]).await;
    server.lease.renew().await.expect("the lease is free");
    server
        .tenant
        .export((0..3).map(|n| add(CORP, "user", &format!("p{n}"))).collect(), &server.turn())
        .await
        .expect("answers");
    gateway.world.desk.revoke(server.id).await.expect("revoked");
    let epoch = held(&server);
    assert_eq!(code(export_as(&server, epoch, "late").await), FaultCode::NotAdmitted);
    assert_eq!(code(server.link.ask::<_, TakenLease>(path::TAKE_LEASE, &Done {}).await), FaultCode::NotAdmitted);
    let refused = server.read().await.expect_err("refused");
    assert!(refused.contains("revoked"), "{refused}");

    let folder = gateway.world.enrol("agent", CORP).await;
    let identity = crate::agents::world::World::identity(&folder);
    let (link, _renewal) = landbridge::sync_server::link(folder.join("state"), identity, gateway.world.clock.clone());
    assert_eq!(code(link.ask::<_, TakenLease>(path::TAKE_LEASE, &Done {}).await), FaultCode::NotAdmitted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_versions_and_bodies_that_are_too_large_are_told_so() {
    let gateway = Gateway::open(None).await;
    let server = gateway.server("one", &[CORP]).await;
    match server.link.ask::<_, Done>("/connector/v2/hello", &Done {}).await {
        Err(CallError::Told(fault)) => {
            assert_eq!((fault.error, fault.versions.as_slice()), (FaultCode::UnsupportedVersion, [1].as_slice()));
            assert!(fault.reason.contains("version 1"), "{fault:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(code(server.link.ask::<_, Done>("/connector/v1/nothing", &Done {}).await), FaultCode::UnknownPath);
    let blanks = vec![b' '; LARGEST_REQUEST + 1];
    assert_eq!(code(server.link.ask_in::<Exported>(path::EXPORT, blanks).await), FaultCode::TooLarge);
    let many = Export { epoch: 1, changes: (0..501).map(|n| add(CORP, "user", &format!("p{n}"))).collect() };
    assert_eq!(code(server.link.ask::<_, Exported>(path::EXPORT, &many).await), FaultCode::TooLarge);
    let text = br#"{"epoch": "one", "changes": []}"#.to_vec();
    assert_eq!(code(server.link.ask_in::<Exported>(path::EXPORT, text).await), FaultCode::Malformed);
}

fn renamed(anchor: &str, name: &str) -> ExportChange {
    let mut identity = Attributes::new();
    for (attribute, value) in [("sourceAnchor", "p0"), ("anchorConnector", CORP)] {
        identity.insert(attribute.into(), vec![Value::text(value)]);
    }
    let changes = Attributes::from([("displayName".into(), vec![Value::text(name)])]);
    let operation = ExportOperation::Update { anchor: anchor.to_owned(), changes };
    ExportChange { object: ObjectId(1), object_type: "user".to_owned(), identity, operation }
}

/// The wire is cut behind each of the gateway's messages in turn: a read is whole or an error, and an export whose answer
/// was lost is settled by reading back, after which nothing late can change it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_wire_loses_nothing_and_doubles_nothing() {
    let mut gateway = Gateway::open(None).await;
    let port = gateway.world.url.rsplit(':').next().expect("a port").parse().expect("a port");
    let proxy = CuttingProxy::to(port);
    gateway.world.desk.url = format!("https://localhost:{}", proxy.port());
    let server = gateway.server("one", &[CORP, LAB]).await;
    // The gateway's own address would lead past the proxy.
    let through = agent_proto::GatewayNode { name: "proxy".to_owned(), url: gateway.world.desk.url.clone() };
    server.link.set_nodes(vec![through]);
    server.lease.renew().await.expect("the lease is free");
    let results =
        server.tenant.export((0..250).map(|n| add(CORP, "user", &format!("p{n}"))).collect(), &server.turn()).await;
    let results = results.expect("answers");
    let ExportResult::Accepted { anchor: Some(anchor), .. } = &results[0] else { panic!("{:?}", results[0]) };
    let whole = server.read().await.expect("a whole read");
    assert_eq!(whole.len(), 250);

    let (mut reads, mut exports) = ((0, 0), (0, 0));
    for records in 1..40 {
        proxy.cut_behind(records);
        match server.read().await {
            Ok(told) => {
                assert_eq!(told, whole, "a read that ended is whole");
                reads.0 += 1;
            }
            Err(_) => reads.1 += 1,
        }
    }
    assert!(reads.0 > 0 && reads.1 > 2, "{reads:?}");
    for records in 1..16 {
        proxy.cut_behind(0);
        server.lease.renew().await.expect("the lease is free or ours");
        let (before, name) = (held(&server), format!("Name {records}"));
        proxy.cut_behind(records);
        let answered = server.tenant.export(vec![renamed(anchor, &name)], &server.turn()).await;
        proxy.cut_behind(0);
        let question = ReadBack::ByAnchor { object_type: "user".to_owned(), anchor: anchor.clone() };
        let found = server.tenant.read_back(vec![question]).await.expect("answers").remove(0).expect("the person");
        let is_renamed = found.attributes[&"displayName".into()] == [Value::text(name.as_str())];
        match answered {
            Ok(results) => {
                assert!(is_renamed, "{results:?}");
                exports.0 += 1;
            }
            Err(_) if held(&server) == before => assert!(!is_renamed, "it was never sent"),
            Err(_) => {
                exports.1 += 1;
                // Whatever became of it: under the older epoch nothing happens any more.
                let late = Export { epoch: before.number(), changes: vec![renamed(anchor, "too late")] };
                assert_eq!(code(server.link.ask::<_, Exported>(path::EXPORT, &late).await), FaultCode::LeaseLost);
            }
        }
    }
    assert!(exports.0 > 0 && exports.1 > 0, "{exports:?}");
    assert!(proxy.cuts() > 0);
    assert_eq!(server.read().await.expect("a whole read").len(), 250);
}
