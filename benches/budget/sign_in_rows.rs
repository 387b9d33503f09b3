//! Sign-in, from the posted password to the redirect, all writes durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::browser::{AtPassword, Outcome, Visitor};
use crate::landscape::Landscape;
use crate::limits::{self, Limits, Pair};
use crate::load::{Load, closed, deal};
use crate::support::directory::{BETA, Person};
use crate::support::gateway::Gateway;
use crate::support::wait::wait_until;
use crate::table::{Budget, Row, Table};

pub const CLIENT: &str = "ES256";
/// Visitors at once; each has a connection and does one thing after the other.
pub const VISITORS: u8 = 16;
pub const SIGN_INS: usize = 1_500;

/// Lets these people sign in, everybody up to the password beforehand; only the password is measured.
pub async fn sign_ins(gateway: &Gateway, visitors: u8, people: &[Person], count: usize) -> Load {
    let visitors = Visitor::several(gateway, visitors);
    let people: Vec<Person> = people.iter().cycle().take(count).cloned().collect();
    let mut walking = JoinSet::new();
    for (visitor, people) in deal(visitors, people) {
        walking.spawn(async move {
            let mut waiting = Vec::with_capacity(people.len());
            for person in people {
                waiting.push(visitor.to_password(CLIENT, &person.upn, &person.password).await);
            }
            (visitor, waiting)
        });
    }
    let waiting = walking.join_all().await;
    closed(gateway.pid(), waiting, |visitor: Visitor, at: AtPassword| async move {
        let outcome = visitor.enter(at).await;
        assert!(matches!(outcome, Outcome::SignedIn { .. }), "{outcome:?}");
    })
    .await
}

/// Checks against the sealed chain alone.
pub async fn sealed(table: &mut Table, landscape: &Landscape, gateway: &Gateway) {
    let people = landscape.alpha();
    sign_ins(gateway, VISITORS, &people[..100], 100).await;
    let load = sign_ins(gateway, VISITORS, &people, landscape.times(SIGN_INS)).await;
    let rate = load.rate_per_core();
    table.add(Row::figure("PHS sign-in, sealed, per core", rate, "/s", Budget::AtLeast(1_000.0)));
    table.add(Row::figure("PHS sign-in, sealed", load.rate(), "/s", Budget::None));
    table.add(Row::figure("PHS sign-in, sealed, p99", load.percentile_ms(99), "ms", Budget::None));
}

/// Wrapped in Argon2id: the rate of the hash itself is the limit.
pub async fn argon2id(table: &mut Table, landscape: &Landscape, gateway: &Gateway, limits: &Limits) {
    gateway.cli(&["sync", "run"]);
    gateway.cli(&["password-sync", "run"]);
    wrapped(gateway);
    let people = few(landscape);
    sign_ins(gateway, VISITORS, &people, people.len()).await;
    let load = sign_ins(gateway, VISITORS, &people, 400).await;
    let (rate, limit) = (load.rate(), limits.argon2id);
    table.add(Row::ratio("PHS sign-in, Argon2id, all cores", rate, "/s", limit, Budget::AtLeast(0.9)));
    let (rate, limit) = (load.rate_per_core(), limits.argon2id_per_core);
    table.add(Row::ratio("PHS sign-in, Argon2id, per core", rate, "/s", limit, Budget::AtLeast(0.9)));
}

/// Waits until all hashes are.
pub fn wrapped(gateway: &Gateway) {
    wait_until("all hashes to be wrapped", Duration::from_secs(120), || {
        let status = gateway.cli(&["password-sync", "status"]);
        (status["wrapping"]["sealed"] == 0 && status["wrapping"]["wrapped"] != 0).then_some(())
    });
}

/// Those who match [`crate::overlap_rows::FEW`].
pub fn few(landscape: &Landscape) -> Vec<Person> {
    landscape.alpha().into_iter().filter(|person| person.uid.starts_with("p00")).take(90).collect()
}

/// The directory answers; the same questions without a gateway are the limit.
pub async fn pass_through(table: &mut Table, landscape: &Landscape, gateway: &Gateway) {
    gateway.cli(&["domain", "set-method", BETA, "pta"]);
    let people = landscape.beta();
    let accounts = limits::accounts(&landscape.slapd, &people[..SIGN_INS.min(people.len())]).await;
    let mut pairs = Vec::new();
    for _ in 0..VISITORS {
        pairs.push(Arc::new(Mutex::new(Pair::open(&landscape.slapd).await)));
    }
    let jobs: Vec<_> = accounts.iter().cycle().take(landscape.times(SIGN_INS)).cloned().collect();
    let raw = closed(gateway.pid(), deal(pairs.clone(), jobs), |pair, account| async move {
        pair.lock().await.check(&account).await;
    })
    .await;
    sign_ins(gateway, VISITORS, &people[..100], 100).await;
    let load = sign_ins(gateway, VISITORS, &people, landscape.times(SIGN_INS)).await;
    let cpu = load.gateway_ms();
    table.add(Row::figure("PTA sign-in: gateway's processor time", cpu, "ms", Budget::AtMost(0.5)));
    table.add(Row::ratio("PTA sign-in against raw search + bind", load.rate(), "/s", raw.rate(), Budget::AtLeast(0.8)));

    let people: Vec<Person> = people.iter().take(200).cloned().collect();
    let accounts = &accounts[..200];
    let pair = pairs.swap_remove(0);
    let mut raw = Vec::new();
    for account in accounts {
        let due = tokio::time::Instant::now() + EVERY;
        let begun = Instant::now();
        pair.lock().await.check(account).await;
        raw.push(begun.elapsed());
        tokio::time::sleep_until(due).await;
    }
    raw.sort();
    let mine = paced(gateway, &people).await;
    for percent in [50, 99] {
        let at = |latencies: &[Duration]| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e3;
        let (added, budget) = (at(&mine) - at(&raw), if percent == 99 { Budget::AtMost(5.0) } else { Budget::None });
        table.add(Row::figure(format!("PTA sign-in at 50/s: p{percent} added"), added, "ms", budget));
    }
}

/// 50 a second.
const EVERY: Duration = Duration::from_millis(20);

/// Passwords posted at a fixed rate; latencies, sorted.
async fn paced(gateway: &Gateway, people: &[Person]) -> Vec<Duration> {
    let visitors = Visitor::several(gateway, VISITORS);
    let mut waiting = Vec::new();
    for (person, visitor) in people.iter().zip(visitors.iter().cycle()) {
        let at = visitor.to_password(CLIENT, &person.upn, &person.password).await;
        waiting.push((visitor.clone(), at));
    }
    let mut posting = JoinSet::new();
    let start = tokio::time::Instant::now();
    for (index, (visitor, at)) in waiting.into_iter().enumerate() {
        tokio::time::sleep_until(start + EVERY * u32::try_from(index).expect("few")).await;
        posting.spawn(async move {
            let begun = Instant::now();
            let outcome = visitor.enter(at).await;
            assert!(matches!(outcome, Outcome::SignedIn { .. }), "{outcome:?}");
            begun.elapsed()
        });
    }
    let mut latencies = posting.join_all().await;
    latencies.sort();
    latencies
}

/// The directory dies under the pass-through domain; its people go on by their hashes.
pub async fn failover(table: &mut Table, landscape: &mut Landscape, gateway: &Gateway) {
    gateway.cli(&["domain", "set-failover", BETA, "--backup", "phs", "--mode", "automatic"]);
    let (people, hashed) = (landscape.beta(), landscape.alpha());
    let before = paced(gateway, &hashed[..200]).await;
    let visitor = Visitor::new(gateway, 200);
    let mut waiting = Vec::new();
    for person in people.iter().take(20) {
        waiting.push(visitor.to_password(CLIENT, &person.upn, &person.password).await);
    }
    landscape.slapd.stop();
    let started = Instant::now();
    let mut told = 0;
    for at in waiting {
        match visitor.enter(at).await {
            Outcome::SignedIn { .. } => break,
            Outcome::TryAgain => told += 1,
        }
        assert!(told < 20, "nobody got in through the backup");
    }
    let first = started.elapsed().as_secs_f64();
    table.add(Row::figure("failover: death of the directory to first success", first, "s", Budget::AtMost(1.0)));
    table.add(Row::figure("failover: sign-ins told to try again before it", f64::from(told), "", Budget::None));
    let after = paced(gateway, &people[20..220]).await;
    let p99 = |latencies: &[Duration]| latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3;
    let added = p99(&after) - p99(&before);
    table.add(Row::figure("failover: breaker open, p99 added at 50/s", added, "ms", Budget::AtMost(5.0)));
    landscape.slapd.start();
}
