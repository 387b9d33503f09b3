//! A cycle in which nothing happened.

use landbridge::sync::run::{Profile, RunOutcome};
use landbridge::sync::store::EngineStore as _;

use super::peers;
use super::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_in_which_nothing_happened_reads_and_writes_nothing() {
    for (server, peer, choice) in peers() {
        let site = Site::open(peer, choice).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        let before = site.engine.dump().await.expect("a dump");
        let steps = site.delta(server).await;
        let import = steps.iter().find(|step| step.kind == "delta-import").expect("an import");
        // At most the two containers of the settings, to see where they are.
        let (read, unchanged) = (import.counters["read"], import.counters["unchanged"]);
        assert!(read == unchanged && read <= 2, "{server}: {steps:#?}");
        assert_eq!(import.counters.values().sum::<i64>(), read + unchanged, "{server}: {steps:#?}");
        let synchronised: i64 =
            steps.iter().filter(|step| step.kind == "delta-sync").flat_map(|step| step.counters.values()).sum();
        assert_eq!(synchronised, 0, "{server}: {steps:#?}");
        assert_eq!(site.engine.dump().await.expect("a dump"), before, "{server}");
    }
}
