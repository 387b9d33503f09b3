use super::{holds, synchronisation};
use crate::identity::ConnectorName;
use crate::store::statement::Statement;
use crate::store::{Database, DatabaseUrl, Room};
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
