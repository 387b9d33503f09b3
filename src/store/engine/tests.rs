use super::{holds, links, synchronisation};
use crate::identity::ConnectorName;
use crate::store::statement::{Arg, Statement, written_for};
use crate::store::{Database, DatabaseUrl, Engine, Room};
use crate::sync::Attribute;
use crate::sync::change_set::LinkBatch;
use crate::sync::space::{LinkKey, LinkState, ObjectId, SpaceLink};
use crate::sync::store::Which;

/// A directory in which nothing changes is not read for that.
#[tokio::test]
async fn what_each_cycle_asks_is_answered_from_indices_over_what_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let db = Database::open(&url, Room::Engine).await.expect("a new database opens");
    let connector: ConnectorName = "corp".parse().expect("a name");
    let one = || connector.as_str().into();
    let asked = [
        (synchronisation::walked(Which::Due), vec![one(), 0.into(), 1000.into()], "INDEX space_object_due"),
        (holds::ending_memberships(), vec![one()], "INDEX space_link_staged"),
    ];
    for (sql, args, expected) in asked {
        let plan = db.fetch("explaining", vec![Statement::new(format!("EXPLAIN QUERY PLAN {sql}"), args)]);
        let plan = plan.await.expect("a plan");
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert!(steps[0].contains(expected), "{sql}: {steps:?}");
        assert!(!steps.iter().any(|step| step.contains("space_object_walk")), "{sql}: {steps:?}");
    }
}

/// PostgreSQL refuses a statement that writes a row twice.
#[test]
fn a_link_that_two_attributes_flow_to_is_written_once() {
    let key =
        |attribute: &str| LinkKey { owner: ObjectId(1), attribute: Attribute::new(attribute), target: ObjectId(2) };
    let written = |attribute, state| SpaceLink { key: key(attribute), state };
    let batch = LinkBatch {
        target_written: vec![
            written("members", LinkState::StagedDelete),
            written("managers", LinkState::StagedAdd),
            written("Members", LinkState::StagedAdd),
        ],
        ..LinkBatch::default()
    };
    let statements = links::link_statements(&batch);
    let statements: Vec<Statement> = written_for(Engine::Postgres, statements);
    let [insert] = statements.as_slice() else { panic!("one statement: {statements:#?}") };
    let args = ["{1,1}", r#"{"managers","members"}"#, "{2,2}", r#"{"staged-add","staged-add"}"#, "{0,0}"];
    assert_eq!(insert.args, args.map(Arg::from));
}
