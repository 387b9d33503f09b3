//! The directory dies, or freezes, under load, and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::site::{BIND_DEADLINE, Site, people, slapd};
use crate::support::process::cpu_seconds;
use crate::support::visitor::{Outcome, Visitor};
use crate::support::wait::{wait_until, wait_until_async};

/// Sign-ins that begin in a second. Each is two requests to a gateway built without optimisation, then a code redeemed.
const RATE: u64 = 50;
/// One in so many tries a wrong password.
const WRONG_EVERY: usize = 5;
/// People who know their password, and people whose password somebody guesses at.
const KNOWING: usize = 90;
const GUESSED: usize = 10;
/// Sign-ins under way at once; where the machine is slower than [`RATE`], no more are begun. All come from one network,
/// for which the gateway keeps a bounded part of the places in the queue for key derivations.
const AT_ONCE: usize = 60;
/// How long the directory answers under the whole load before it is taken away.
const AT_FULL_RATE: Duration = Duration::from_secs(3);
/// The two loads would slow each other down.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Between the directory's last answer and the backup's first, beyond the bind's own deadline. The product's budget is one
/// second; a machine that builds and tests at the same time gets more.
const SWITCH_DEADLINE: Duration = Duration::from_secs(5);

struct Visit {
    begun: Instant,
    ended: Instant,
    wrong: bool,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    ByDirectory,
    ByBackup,
    Refused,
    TryAgain,
    Odd,
}

/// People who come at a steady rate until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    visits: Arc<Mutex<Vec<Visit>>>,
    /// Ends all visits when a test fails.
    ticker: AbortOnDropHandle<()>,
}

impl Load {
    fn start(site: &Site) -> Self {
        let (stop, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let people: Vec<_> = site.people.iter().map(|person| (person.upn.clone(), person.password.clone())).collect();
        let (visitor, halt, log) = (site.visitor.clone(), stop.clone(), visits.clone());
        let ticker = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let (mut tasks, mut begun) = (tokio::task::JoinSet::new(), 0_usize);
            while !halt.load(Ordering::Relaxed) {
                ticks.tick().await;
                while tasks.try_join_next().is_some() {}
                if tasks.len() >= AT_ONCE {
                    continue;
                }
                let wrong = begun.is_multiple_of(WRONG_EVERY);
                let (name, password) = if wrong {
                    (people[KNOWING + begun / WRONG_EVERY % GUESSED].0.clone(), format!("guess-{begun}"))
                } else {
                    people[begun % KNOWING].clone()
                };
                begun += 1;
                tasks.spawn(visit(visitor.clone(), log.clone(), name, password, wrong));
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("a visit does not panic");
            }
        }));
        Self { stop, visits, ticker }
    }

    fn count(&self, seen: Seen, since: Instant) -> usize {
        let visits = self.visits.lock().expect("visits");
        visits.iter().filter(|visit| visit.seen == seen && visit.begun >= since).count()
    }

    async fn stop(self) -> Vec<Visit> {
        self.stop.store(true, Ordering::Relaxed);
        self.ticker.await.expect("the ticker does not panic");
        std::mem::take(&mut self.visits.lock().expect("visits"))
    }
}

async fn visit(visitor: Visitor, log: Arc<Mutex<Vec<Visit>>>, name: String, password: String, wrong: bool) {
    let begun = Instant::now();
    let outcome = visitor.sign_in_hinted(&name, &password).await;
    let ended = Instant::now();
    let seen = match &outcome {
        Outcome::Signed(signed) => {
            let by_backup = visitor.tokens(signed).await.by_backup();
            if by_backup { Seen::ByBackup } else { Seen::ByDirectory }
        }
        Outcome::Refused { .. } => Seen::Refused,
        Outcome::TryAgain => Seen::TryAgain,
        Outcome::MustChange => Seen::Odd,
        Outcome::Odd { status, page } => {
            println!("{name} was answered with {status}: {page}");
            Seen::Odd
        }
    };
    log.lock().expect("visits").push(Visit { begun, ended, wrong, seen });
}

/// Takes the directory away under load and gives it back.
async fn through_an_outage(mut site: Site, what: &str, cut: fn(&mut Site), back: fn(&mut Site), deadline: Duration) {
    let _alone = ONE_AT_A_TIME.lock().await;
    assert!(site.is_served_by_slapd(&site.people[0]).await);
    let load = Load::start(&site);
    let (warm, spent) = (Instant::now(), (cpu_seconds(site.gateway.pid()), cpu_seconds(std::process::id())));
    wait_until_async("sign-ins by the directory", Duration::from_secs(60), async || {
        (load.count(Seen::ByDirectory, warm) >= RATE as usize).then_some(())
    })
    .await;

    // From the first answers on, the load is what it is meant to be.
    let loaded = Instant::now();
    tokio::time::sleep(AT_FULL_RATE).await;
    let gone = Instant::now();
    tokio::task::block_in_place(|| cut(&mut site));
    wait_until_async("the backup to answer", Duration::from_secs(60), async || {
        (load.count(Seen::ByBackup, gone) > 0).then_some(())
    })
    .await;
    let settled = Instant::now();
    let alert = tokio::task::block_in_place(|| wait_until("the alert", Duration::from_secs(5), || site.alerts().pop()));
    assert_eq!((&alert["name"], &alert["subject"]), (&"authority-down".into(), &"corp".into()));
    wait_until_async("more sign-ins by the backup", Duration::from_secs(120), async || {
        (load.count(Seen::ByBackup, settled) >= 2 * RATE as usize).then_some(())
    })
    .await;
    let still = tokio::task::block_in_place(|| site.alerts());
    assert_eq!(still.len(), 1, "one alert, not one per user: {still:?}");
    assert_eq!(still[0]["raised_at"], alert["raised_at"], "no flapping");

    let returned = Instant::now();
    tokio::task::block_in_place(|| {
        back(&mut site);
        site.wait_until_slapd_serves_again();
    });
    let closed = Instant::now();
    tokio::task::block_in_place(|| {
        wait_until("the alert to be cleared", Duration::from_secs(5), || site.alerts().is_empty().then_some(()));
        assert_eq!(site.last("failover-ended")["reason"], "probes-succeed");
    });
    wait_until_async("the directory to answer again", Duration::from_secs(60), async || {
        (load.count(Seen::ByDirectory, closed) >= RATE as usize).then_some(())
    })
    .await;
    let visits = load.stop().await;

    let first = visits.iter().filter(|visit| visit.seen == Seen::ByBackup).map(|visit| visit.ended).min();
    let switch = first.expect("the backup answered") - gone;
    let right = |seen: Seen| visits.iter().filter(|visit| !visit.wrong && visit.seen == seen).count();
    let outage = visits.iter().filter(|visit| !visit.wrong && visit.begun >= settled && visit.ended <= returned);
    let (within, signed) = outage.fold((0_usize, 0_usize), |(all, signed), visit| {
        (all + 1, signed + usize::from(matches!(visit.seen, Seen::ByBackup)))
    });
    let waits = visits.iter().filter(|visit| !visit.wrong && visit.begun >= gone && visit.begun <= returned);
    let longest = waits.map(|visit| visit.ended - visit.begun).max().unwrap_or_default();
    let seconds = warm.elapsed().as_secs_f64();
    let ended_in = |from: Instant, to: Instant| {
        let ended = visits.iter().filter(|visit| from <= visit.ended && visit.ended < to).count();
        ended as f64 / (to - from).as_secs_f64()
    };
    println!(
        "{what}: {:.0} sign-ins a second ended before the cut, {:.0} while the backup answered, of {RATE} begun",
        ended_in(loaded, gone),
        ended_in(settled, returned),
    );
    let each = |now: f64, before: f64| (now - before) * 1000.0 / visits.len() as f64;
    println!(
        "{what}: each sign-in took the gateway {:.1} ms of a processor, and this test with what else it runs {:.1} ms",
        each(cpu_seconds(site.gateway.pid()), spent.0),
        each(cpu_seconds(std::process::id()), spent.1),
    );
    println!(
        "{what}: {} sign-ins in {seconds:.1} s ({:.0} a second of {RATE} wished); the backup's first success {} ms after \
         the cut, of which the bind's deadline takes up to {} ms; while it answered, {signed} of {within} right \
         passwords signed in; nobody waited longer than {} ms; the directory took over {} ms after its return; right passwords: {} by the directory, {} by \
         the backup, {} told to try again",
        visits.len(),
        visits.len() as f64 / seconds,
        switch.as_millis(),
        deadline.as_millis(),
        longest.as_millis(),
        (closed - returned).as_millis(),
        right(Seen::ByDirectory),
        right(Seen::ByBackup),
        right(Seen::TryAgain),
    );
    assert!(switch < deadline + SWITCH_DEADLINE, "{switch:?}");
    assert_eq!(right(Seen::Refused) + right(Seen::Odd), 0, "a right password is never answered with a refusal");
    assert_eq!(signed, within, "once the outage is confirmed, every right password signs in");
    for visit in visits.iter().filter(|visit| visit.wrong) {
        assert!(
            matches!(visit.seen, Seen::Refused | Seen::TryAgain),
            "a wrong password is answered with {:?}",
            visit.seen
        );
    }
    assert!(visits.iter().any(|visit| visit.wrong && visit.begun >= settled && visit.seen == Seen::Refused));
    tokio::task::block_in_place(|| {
        assert!(!site.breaker_is_open() && site.alerts().is_empty(), "no flapping");
        assert_eq!(site.gateway.cli(&["audit", "verify"])["breaks"], serde_json::json!([]));
    });
    assert!(site.is_served_by_slapd(&site.people[0]).await);
    let record = tokio::task::block_in_place(|| site.last("sign-in"));
    assert_eq!(record["detail"]["failover"], false);
    assert!(record["detail"]["server"].as_str().is_some_and(|server| server.contains("localhost")), "{record}");
}

fn site() -> Site {
    let directory = people(KNOWING + GUESSED);
    Site::open(slapd(&directory).start(), directory, "automatic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_killed_under_load_is_stood_in_for_and_takes_over_again() {
    through_an_outage(site(), "killed", |site| site.slapd.stop(), |site| site.slapd.start(), Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_frozen_under_load_is_stood_in_for_and_takes_over_again() {
    through_an_outage(site(), "frozen", |site| site.slapd.freeze(), |site| site.slapd.thaw(), BIND_DEADLINE).await;
}
