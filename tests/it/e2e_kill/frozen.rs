//! The holder of the engine lease is frozen in the middle of a run for longer than its lease lasts, another node takes over, and
//! the first goes on: it writes nothing.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

use super::convergence::{Site, directory};
use super::{SEED, rename_people};
use crate::support::postgres::Postgres;
use crate::support::slapd::{SUFFIX, Slapd};
use crate::support::wait::wait_until;

/// Short, and long enough for a loaded machine to renew it in time.
const LEASE: Duration = Duration::from_secs(10);
/// Freezes, of one node and the other in turn.
const FREEZES: usize = 4;
/// How long a frozen node that goes on is watched after it knows that its lease is gone.
const WATCHED: Duration = Duration::from_secs(1);
/// The latest moment of a freeze within a run.
const LATEST: u64 = 1200;

/// Everything that the engine writes to the database, by table.
fn written(postgres: &Postgres, url: &str) -> Vec<String> {
    const TABLES: [&str; 18] = [
        "space_object",
        "space_link",
        "mv_object",
        "mv_link",
        "mv_key",
        "pending_export",
        "object_problem",
        "watermark",
        "guard_hold",
        "guard_ledger",
        "sync_run",
        "sync_step",
        "tenant_user",
        "tenant_group",
        "membership",
        "credential_source",
        "change_feed",
        "credential",
    ];
    TABLES
        .iter()
        .map(|table| {
            let rows = format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t");
            format!("{table} {}", postgres.query(url, &rows))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_of_the_lease_that_was_frozen_while_another_took_over_writes_nothing() {
    let directory = directory();
    let slapd = Slapd::builder().directory(&directory).lockout_after(0).start();
    let postgres = Postgres::start();
    let url = postgres.fresh_database();
    let lease = format!("lease = \"{}s\"", LEASE.as_secs());
    let site = Site::open(&slapd, Some(&url), &lease);
    let beside = site.gateway.beside("node2");
    let mut nodes = [&site.gateway, &beside];
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut cut_short = 0;
    for round in 0..FREEZES {
        let [holder, other] = nodes;
        tokio::task::block_in_place(|| rename_people(&slapd, &directory.people, round));
        let operator = holder.operator();
        let run = std::thread::spawn(move || operator.run(&["sync", "run", "--profile", "full"]));
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..LATEST))).await;
        holder.freeze();
        tokio::time::sleep(2 * LEASE).await;
        let taken = other.cli(&["sync", "run", "--profile", "full"]);
        assert_eq!(taken["run"]["outcome"], "completed", "round {round}: {taken:#}");
        let at_pages = || site.pages.entries(SUFFIX, "*", &["entryCSN"]);
        let (before, at_service) = (written(postgres, &url), site.scim.resources("Users").await);
        let entries = at_pages();
        holder.thaw();
        wait_until("the holder to know that its lease is gone", Duration::from_secs(20), || {
            (holder.cli(&["sync", "status"])["schedule"]["engine_here"] == false).then_some(())
        });
        tokio::time::sleep(WATCHED).await;
        let told = run.join().expect("the operator does not panic");
        // A run that had ended before the freeze is told as it was.
        cut_short += usize::from(told.is_none());
        assert_eq!(written(postgres, &url), before, "round {round}: the database is what it was");
        assert_eq!(site.scim.resources("Users").await, at_service, "round {round}: so is the service");
        assert_eq!(at_pages(), entries, "round {round}: and the directory");
        let renamed = at_service.iter().filter(|user| user.to_string().contains(&format!("\"Round {round}\""))).count();
        assert_eq!(renamed, super::CHANGED, "round {round}: the other has done the work");
        nodes = [other, holder];
    }
    println!("{FREEZES} freezes (seed {SEED}), {cut_short} of them in a run");
    assert!(cut_short > 0, "some freeze met a run");
}
