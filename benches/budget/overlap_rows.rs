//! Sign-in while the initial sync runs in the same process.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::browser::{Outcome, Visitor};
use crate::landscape::Landscape;
use crate::sign_in_rows::few;
use crate::support::directory::Person;
use crate::support::gateway::Gateway;
use crate::table::{Budget, Row, Table};

/// The people who are there before: their settings' line, which [`sign_in_during_sync`] takes out again.
pub const FEW: &str = "user_filter = \"(|(uid=p000*)(uid=p001*))\"\ngroup_filter = \"(cn=none)\"";
/// 20 sign-ins a second: half of a core under Argon2id.
const EVERY: Duration = Duration::from_millis(50);
const CALM: Duration = Duration::from_secs(15);
const PROBES: usize = 8;

/// The same load twice: without sync, and from the start of the initial sync of everybody else to its end.
pub async fn sign_in_during_sync(table: &mut Table, landscape: &Landscape, gateway: &mut Gateway) {
    gateway.stop();
    let settings = std::fs::read_to_string(gateway.settings_file()).expect("settings");
    std::fs::write(gateway.settings_file(), settings.replace(FEW, "")).expect("settings");
    gateway.start_again();
    let people = few(landscape);
    let end = Instant::now() + CALM;
    let calm = sign_in_while(gateway, &people, || Instant::now() < end).await;
    let (sync, busy) = {
        let gateway = &*gateway;
        std::thread::scope(|scope| {
            let sync = scope.spawn(|| {
                let started = Instant::now();
                let answer = gateway.cli(&["sync", "run"]);
                assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
                started.elapsed().as_secs_f64()
            });
            let handle = tokio::runtime::Handle::current();
            let busy = tokio::task::block_in_place(|| {
                handle.block_on(sign_in_while(gateway, &people, || !sync.is_finished()))
            });
            (sync.join().expect("the sync ends"), busy)
        })
    };
    let at = |latencies: &[Duration], percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e3;
    for (percent, budget) in [(50, Budget::None), (99, Budget::AtMost(2.0))] {
        let path = format!("PHS p{percent} during the initial sync ({} sign-ins), against without", busy.len());
        table.add(Row::ratio(path, at(&busy, percent), "ms", at(&calm, percent), budget));
    }
    table.add(Row::figure("initial cycle under 20 sign-ins a second", sync, "s", Budget::None));
}

/// Whole sign-ins at a fixed rate, whatever the former took; the latencies of the password, sorted.
async fn sign_in_while(gateway: &Gateway, people: &[Person], go_on: impl Fn() -> bool) -> Vec<Duration> {
    let visitors = Visitor::several(gateway, 100);
    let (mut running, mut index) = (JoinSet::new(), 0);
    let start = tokio::time::Instant::now();
    while go_on() || index < PROBES {
        let (person, visitor) = (people[index % people.len()].clone(), visitors[index % visitors.len()].clone());
        running.spawn(async move {
            let at = visitor.to_password("ES256", &person.upn, &person.password).await;
            let begun = Instant::now();
            let outcome = visitor.enter(at).await;
            assert!(matches!(outcome, Outcome::SignedIn { .. }), "{outcome:?}");
            begun.elapsed()
        });
        index += 1;
        tokio::time::sleep_until(start + EVERY * u32::try_from(index).expect("few")).await;
    }
    let mut latencies = running.join_all().await;
    latencies.sort();
    latencies
}
