//! `serve` is killed at random moments while people sign in and a sync runs; whatever it had answered is still true. So
//! it is after a power cut: on a disk that forgets whatever was not synced.

mod convergence;
mod frozen;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use serde_json::Value;

use crate::support::directory::{ALPHA, BETA, People, Person, line};
use crate::support::gateway::{Gateway, Operator};
use crate::support::power_loss::{Disk, Syncs};
use crate::support::slapd::{self, Slapd};
use crate::support::visitor::{Outcome, Signed, Tokens, Visitor};
use crate::support::wait::wait_until_async;

/// Kills in a usual run; [`KILLS_SETTING`] asks for another number.
const KILLS: usize = 12;
/// The same for power cuts.
const CUTS: usize = 6;
const KILLS_SETTING: &str = "LANDBRIDGE_TEST_KILLS";
/// The moments of the kills.
const SEED: u64 = 20;
/// The latest moment of a kill, unless a run takes longer here.
const LATEST_KILL: Duration = Duration::from_millis(2500);
const PEOPLE: usize = 60;
/// People changed in the directory in each round, so that every sync has something to carry.
const CHANGED: usize = 20;
/// People who sign in at once, over and over.
const VISITORS: usize = 4;

/// What was answered to the outside, and must be found again.
#[derive(Default)]
struct Answered {
    sessions: Vec<(Signed, Tokens)>,
    /// Records by number, as `audit tail` told them.
    audit: BTreeMap<i64, Value>,
    runs: usize,
}

type Log = Arc<Mutex<Answered>>;

struct Round {
    stop: Arc<AtomicBool>,
    visitors: tokio::task::JoinSet<()>,
    operators: Vec<std::thread::JoinHandle<()>>,
}

impl Round {
    fn start(people: &[Person], visitor: &Visitor, operator: &Operator, log: &Log, round: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut visitors = tokio::task::JoinSet::new();
        for index in 0..VISITORS {
            let own: Vec<_> = people.iter().skip(index).step_by(VISITORS).cloned().collect();
            visitors.spawn(sign_in_over_and_over(own, round, visitor.clone(), log.clone(), stop.clone()));
        }
        let work: [fn(&Operator, &Log); 2] = [synchronise, read_audit];
        let operators = work.map(|work| {
            let (operator, log, stop) = (operator.clone(), log.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work(&operator, &log);
                }
            })
        });
        Self { stop, visitors, operators: operators.into() }
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.visitors.join_next().await {
            ended.expect("a visitor does not panic");
        }
        for operator in self.operators {
            operator.join().expect("an operator does not panic");
        }
    }
}

async fn sign_in_over_and_over(people: Vec<Person>, round: usize, visitor: Visitor, log: Log, stop: Arc<AtomicBool>) {
    for person in people.iter().cycle().skip(round) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // The gateway may be gone, or say that it has no answer; only what it did answer counts.
        let Ok(Outcome::Signed(signed)) = visitor.try_sign_in(&person.upn, &person.password).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if let Ok(Some(tokens)) = visitor.try_tokens(&signed).await {
            log.lock().expect("the log").sessions.push((signed, tokens));
        }
    }
}

fn synchronise(operator: &Operator, log: &Log) {
    let ran = operator.run(&["sync", "run", "--profile", "full"]);
    if ran.as_ref().is_some_and(|answer| answer["run"]["outcome"] == "held") {
        release_what_is_held(operator);
    }
    let passed = operator.run(&["password-sync", "run"]).is_some();
    if ran.is_some() && passed {
        log.lock().expect("the log").runs += 1;
    }
}

/// Lets pass what the guard holds; a gateway that is gone, or a hold that was replaced, is left to the next try.
fn release_what_is_held(operator: &Operator) {
    let held = operator.run(&["guard", "show"]);
    for hold in held.iter().flat_map(|held| held.as_array().expect("holds")) {
        let text = |key: &str| hold[key].as_str().expect("a text");
        operator.run(&["guard", "release", text("target"), "--digest", text("digest")]);
    }
}

fn read_audit(operator: &Operator, log: &Log) {
    if let Some(records) = operator.run(&["audit", "tail", "--lines", "100"]) {
        let records = records.as_array().expect("a list").iter().map(|record| (number(record), record.clone()));
        log.lock().expect("the log").audit.extend(records);
    }
}

fn number(record: &Value) -> i64 {
    record["number"].as_i64().unwrap_or_else(|| panic!("a record without a number: {record}"))
}

/// Finds everything again, and forgets it.
async fn find_again(gateway: &Gateway, visitor: &Visitor, log: &Log) -> (usize, usize) {
    let answered = std::mem::take(&mut *log.lock().expect("the log"));
    let records = gateway.audit(1000);
    let kept: BTreeMap<i64, &Value> = records.iter().map(|record| (number(record), record)).collect();
    let numbers: Vec<i64> = kept.keys().copied().collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "audit numbers have no gap: {numbers:?}");
    for (number, told) in &answered.audit {
        if *number >= numbers[0] {
            assert_eq!(kept.get(number), Some(&told), "the record {number} is what it was");
        }
    }
    let (sessions, told) = (answered.sessions.len(), answered.audit.len());
    for (index, (mut signed, tokens)) in answered.sessions.into_iter().enumerate() {
        let recorded = records.iter().any(|record| record["detail"]["sid"] == tokens.sid.as_str());
        assert!(recorded, "the sign-in of session {} is in the audit log", tokens.sid);
        assert!(visitor.userinfo_answers(&tokens.access).await, "the access token of {} is good", tokens.sid);
        // A third of each is enough: both write, and take their time.
        if index % 3 == 0 {
            assert!(visitor.is_still_signed_in(&mut signed).await, "session {} lives", tokens.sid);
        } else if index % 3 == 1 {
            let fresh = visitor.refresh(&tokens.refresh).await.expect("an answer");
            assert_eq!(fresh.map(|tokens| tokens.sid), Some(tokens.sid), "the refresh token is good");
        }
    }
    let verified = gateway.cli(&["audit", "verify"]);
    assert_eq!(verified["breaks"], serde_json::json!([]));
    (sessions, told)
}

/// Kills later than this would miss a run like this one, as fast as the machine is now.
fn latest_kill(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    tokio::task::block_in_place(run);
    begun.elapsed().max(LATEST_KILL)
}

/// The last step that had ended in the newest run, when that did not come to its end; empty when none had.
fn cut_short_after(gateway: &Gateway) -> Option<String> {
    let status = gateway.cli(&["sync", "status", "--runs", "1"]);
    let newest = &status["runs"][0];
    let text = |step: &Value, key: &str| step[key].as_str().expect("a text").to_owned();
    let last = newest["steps"].as_array().and_then(|steps| steps.last());
    let told = || last.map(|step| format!("{} {}", text(step, "kind"), text(step, "connector"))).unwrap_or_default();
    (newest["run"]["outcome"] == "running").then(told)
}

/// Gives some people another name at the directory.
fn rename_people(slapd: &Slapd, people: &[Person], round: usize) {
    let changes: String = (0..CHANGED)
        .map(|index| &people[(round * CHANGED + index) % people.len()])
        .map(|person| {
            line("dn", &person.dn)
                + "changetype: modify\nreplace: givenName\n"
                + &line("givenName", &format!("Round {round}"))
                + "\n"
        })
        .collect();
    slapd.ldapmodify(&changes);
}

/// A directory with people, and a gateway that has synchronised them: one domain signs in at the directory, the other by
/// hashes.
struct Site {
    people: Vec<Person>,
    slapd: Slapd,
    gateway: Gateway,
    visitor: Visitor,
}

impl Site {
    fn open() -> Self {
        let mut directory = People { people: PEOPLE, groups: 10, ..People::default() }.generate();
        for (index, person) in directory.people.iter_mut().enumerate() {
            person.upn = format!("{}@{}", person.uid, if index.is_multiple_of(2) { ALPHA } else { BETA });
        }
        let slapd = Slapd::builder().directory(&directory).lockout_after(0).start();
        let policy = format!("password_policy = \"cn=default,ou=policies,{}\"", slapd::SUFFIX);
        let gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], &policy).start();
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);
        gateway.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);
        gateway.cli(&["domain", "set-method", BETA, "phs", "--force"]);
        let visitor = Visitor::register(&gateway);
        Self { people: directory.people, slapd, gateway, visitor }
    }

    /// Kills `serve` `kills` times under work; `down` is what happens before it starts again. Finds everything again, and
    /// returns how many runs of the engine were found cut short.
    async fn kill_under_work(&mut self, kills: usize, mut down: impl FnMut()) -> usize {
        let (operator, log) = (self.gateway.operator(), Log::default());
        let mut rng = StdRng::seed_from_u64(SEED);
        let (mut sessions, mut told, mut runs, mut cut_short) = (0, 0, 0, 0);
        let (mut slowest, latest) =
            (Duration::ZERO, latest_kill(|| drop(operator.run(&["sync", "run", "--profile", "full"]))));
        for round in 0..kills {
            tokio::task::block_in_place(|| rename_people(&self.slapd, &self.people, round));
            let working = Round::start(&self.people, &self.visitor, &operator, &log, round);
            // Every other kill comes after an answer, however slow the machine is.
            if round.is_multiple_of(2) {
                wait_until_async("a sign-in to be answered", Duration::from_secs(30), async || {
                    (!log.lock().expect("the log").sessions.is_empty()).then_some(())
                })
                .await;
            }
            tokio::time::sleep(rng.random_range(Duration::ZERO..latest)).await;
            self.gateway.kill();
            working.stop().await;
            down();
            let starting = Instant::now();
            self.gateway.start_again();
            slowest = slowest.max(starting.elapsed());
            runs += log.lock().expect("the log").runs;
            cut_short += usize::from(cut_short_after(&self.gateway).is_some());
            let found = find_again(&self.gateway, &self.visitor, &log).await;
            (sessions, told) = (sessions + found.0, told + found.1);
        }
        println!(
            "{kills} kills (seed {SEED}): {sessions} sessions and {told} audit records were answered and found again; \
             {cut_short} kills met a sync run, {runs} runs had ended before; the slowest start took {} ms",
            slowest.as_millis()
        );
        assert!(sessions > 0 && told > 0, "the gateway answered between the kills");
        cut_short
    }

    /// Synchronises again: nothing is left to do, and everybody has the name of the last round that changed it.
    fn converges(&self, rounds: usize) {
        let gateway = &self.gateway;
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);
        let preview = gateway.cli(&["sync", "preview"]);
        for target in preview["targets"].as_array().expect("targets") {
            assert_eq!(target["changes"], serde_json::json!([]), "nothing is left to export: {preview}");
        }
        for index in 0..PEOPLE {
            let person = &self.people[index];
            let changed = |round: &usize| (0..CHANGED).any(|changed| (round * CHANGED + changed) % PEOPLE == index);
            let Some(round) = (0..rounds).rev().find(changed) else { continue };
            let user = gateway.cli(&["user", "show", &person.upn]);
            assert!(user.to_string().contains(&format!("Round {round}\"")), "{} has the last name: {user}", person.upn);
        }
    }
}

fn kills(usual: usize) -> usize {
    std::env::var(KILLS_SETTING).map_or(usual, |number| number.parse().expect("a number of kills"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_before_a_kill_is_true_after_the_restart() {
    let (mut site, kills) = (Site::open(), kills(KILLS));
    let cut_short = site.kill_under_work(kills, || {}).await;
    assert!(cut_short > 0, "some kill met a sync run");
    site.converges(kills);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_before_a_power_cut_is_true_after_it() {
    let (mut site, cuts) = (Site::open(), kills(CUTS));
    site.gateway.stop();
    let disk = Disk::under(&mut site.gateway, Syncs::Kept);
    site.gateway.start_again();
    let mut lost = 0;
    // A power cut may take the note that a run had begun with it.
    site.kill_under_work(cuts, || lost += disk.cut_power()).await;
    println!("{lost} database files had lost something at a power cut");
    assert!(lost > 0, "the disk does forget: the engine's database does not sync each commit");
    site.converges(cuts);
}

/// The control of the test above: what is not synced is found missing.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_ignores_syncs_what_was_answered_is_lost() {
    let mut site = Site::open();
    site.gateway.stop();
    let disk = Disk::under(&mut site.gateway, Syncs::Ignored);
    site.gateway.start_again();
    let person = site.people.iter().find(|person| person.upn.ends_with(BETA)).expect("one of BETA");
    let mut signed = site.visitor.sign_in(&person.upn, &person.password).await.signed();
    let tokens = site.visitor.tokens(&signed).await;
    assert!(site.visitor.userinfo_answers(&tokens.access).await);
    site.gateway.kill();
    assert!(disk.cut_power() > 0);
    site.gateway.start_again();
    assert!(!site.visitor.userinfo_answers(&tokens.access).await, "the grant is lost");
    assert!(!site.visitor.is_still_signed_in(&mut signed).await, "the session is lost");
    let recorded = site.gateway.audit(1000).iter().any(|record| record["detail"]["sid"] == tokens.sid.as_str());
    assert!(!recorded, "the audit record is lost");
}
