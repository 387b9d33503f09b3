//! What a certificate does not name can be neither seen nor changed.

use landbridge::sync::Connector as _;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{ExportChange, ExportOperation, ExportResult, ReadBack};
use landbridge::sync::space::ObjectId;

use super::world::{Gateway, Server};
use crate::agents::world::{CORP, LAB};
use crate::connectors::tenant::exported;

pub fn add(connector: &str, object_type: &str, key: &str) -> ExportChange {
    changed(object_type, ExportOperation::Add { attributes: exported(connector, object_type, key, key) })
}

fn changed(object_type: &str, operation: ExportOperation) -> ExportChange {
    ExportChange { object: ObjectId(1), object_type: object_type.to_owned(), identity: Attributes::new(), operation }
}

#[track_caller]
fn anchor(result: &ExportResult) -> String {
    match result {
        ExportResult::Accepted { anchor, .. } => anchor.clone().expect("an oid"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(result: &ExportResult) -> &str {
    match result {
        ExportResult::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

async fn export(server: &Server, changes: Vec<ExportChange>) -> Vec<ExportResult> {
    server.tenant.export(changes, &server.turn()).await.expect("answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_changes_what_its_connectors_contribute_and_nothing_else() {
    let gateway = Gateway::open(None).await;
    let lab = gateway.server("lab", &[LAB]).await;
    assert_eq!(lab.welcome.connectors.len(), 1);
    lab.lease.renew().await.expect("the lease is free");
    let theirs = export(&lab, vec![add(LAB, "user", "theirs"), add(LAB, "group", "their-group")]).await;
    let (theirs, their_group) = (anchor(&theirs[0]), anchor(&theirs[1]));
    let member = |connector: &str, group: &str, key: &str| ExportChange {
        identity: exported(connector, "group", key, key),
        ..changed(
            "group",
            ExportOperation::Links {
                anchor: group.to_owned(),
                attribute: "member".into(),
                add: vec![landbridge::sync::connector::LinkTarget {
                    object_type: "user".to_owned(),
                    anchor: String::new(),
                    key: "theirs".to_owned(),
                }],
                remove: Vec::new(),
            },
        )
    };
    anchor(&export(&lab, vec![member(LAB, &their_group, "their-group")]).await[0]);
    lab.gives_the_lease_back().await;

    let corp = gateway.server("corp", &[CORP]).await;
    corp.lease.renew().await.expect("the lease is free");
    let mut foreign_upn = add(CORP, "user", "one");
    let mut foreign_password = add(CORP, "user", "two");
    for (change, name, value) in
        [(&mut foreign_upn, "upnConnector", LAB), (&mut foreign_password, "credentialConnector", LAB)]
    {
        let ExportOperation::Add { attributes } = &mut change.operation else { unreachable!() };
        attributes.insert(name.into(), vec![Value::text(value)]);
        if name == "credentialConnector" {
            attributes.insert("credentialAnchor".into(), vec![Value::text("x")]);
        }
    }
    let stolen = ExportChange {
        identity: exported(CORP, "user", "theirs", "theirs"),
        ..changed("user", ExportOperation::Delete { anchor: theirs.clone() })
    };
    let claimed = ExportChange {
        identity: exported(LAB, "user", "theirs", "theirs"),
        ..changed("user", ExportOperation::Delete { anchor: theirs.clone() })
    };
    let batch = vec![
        add(LAB, "user", "new"),
        foreign_upn,
        foreign_password,
        claimed,
        member(CORP, &their_group, "their-group"),
        add(CORP, "user", "theirs"),
        add(CORP, "user", "ours"),
    ];
    let results = export(&corp, batch).await;
    for result in &results[..6] {
        assert_eq!(refused(result), "ObjectOwnedElsewhere", "{results:?}");
    }
    let ours = anchor(&results[6]);
    let handed = ExportChange {
        identity: exported(CORP, "user", "ours", "ours"),
        ..changed(
            "user",
            ExportOperation::Update {
                anchor: ours.clone(),
                changes: [("anchorConnector".into(), vec![Value::text(LAB)])].into(),
            },
        )
    };
    for foreign in [stolen, handed] {
        let results = export(&corp, vec![foreign]).await;
        assert_eq!(refused(&results[0]), "ObjectOwnedElsewhere", "{results:?}");
    }

    let told = corp.read().await.expect("a whole read");
    assert_eq!(told.keys().collect::<Vec<_>>(), [&ours]);
    let asked = |anchor: &String| ReadBack::ByAnchor { object_type: "user".to_owned(), anchor: anchor.clone() };
    let by_key = ReadBack::ByAddKey { object_type: "user".to_owned(), value: "theirs".to_owned() };
    let answers = corp.tenant.read_back(vec![asked(&theirs), asked(&ours), by_key]).await.expect("answers");
    let answers: Vec<Option<String>> = answers.into_iter().map(|found| found.map(|object| object.anchor)).collect();
    assert_eq!(answers, [None, Some(ours), None]);
}
