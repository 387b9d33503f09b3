//! Whatever happens: random histories of directories, rules, crashes and releases, judged by a small reference.
//!
//! Each history is made of one seed. A failure prints the seed and the steps that are left when those without a part in
//! it are taken out. `MODEL_SEED=n` plays one history, `MODEL_HISTORIES=n` so many, `MODEL_FIRST=n` others.
//! The same histories must notice each fault of [`Fault`] when it is planted.

mod content;
mod dice;
mod directory;
mod history;
mod reference;
mod rules;
mod shrink;
mod stories;
#[expect(dead_code, reason = "shared with the other tests, which use other parts of it")]
mod support;
mod target;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use landbridge::sync::fault::{self, Fault};

use history::History;
use world::{Bench, Threads};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Histories of a usual run, which all go well, and among which planted faults are looked for. They take about six minutes
/// on two cores.
const HISTORIES: u64 = 5_000;
/// Histories that noticed a fault when this was written. They are played first, so that nobody waits for a search.
const NOTICED: &[(Fault, u64)] = &[
    (Fault::SweepAfterAbort, 56),
    (Fault::SeenMarkLost, 0),
    (Fault::ReferrersNotStale, 134),
    (Fault::NoReverseReference, 31),
    (Fault::WatermarkSavedEarly, 275),
    (Fault::RemovalNotExported, 14),
    (Fault::SentUnrecorded, 57),
    (Fault::DoubtTakenAsDone, 34),
    (Fault::DriftAccepted, 3),
];
/// Histories on PostgreSQL.
const ON_POSTGRES: u64 = 200;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[derive(Clone, Copy)]
enum Store {
    Sqlite(Threads),
    Postgres,
}

const QUICK: Store = Store::Sqlite(Threads::One);

/// One thread's runtime and stores.
struct Player {
    runtime: tokio::runtime::Runtime,
    bench: Bench,
    other: Bench,
}

impl Player {
    fn new(store: Store) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bench = || async move {
            match store {
                Store::Postgres => Bench::postgres(support::postgres::Postgres::start().fresh_database()).await,
                Store::Sqlite(threads) => Bench::sqlite(threads).await,
            }
        };
        let (bench, other) = runtime.block_on(async { (bench().await, bench().await) });
        Self { runtime, bench, other }
    }

    /// Half of the histories go through their objects few by few, each few read ahead of those in front.
    fn play(&self, history: &History) -> Result<(), world::Fault> {
        let seed = history.setup.seed;
        fault::hasten((seed % 2 == 1).then(|| usize::try_from(seed % 5).unwrap_or(0) + 1));
        self.runtime.block_on(world::play(history, &self.bench, &self.other))
    }
}

/// Plays the histories of `count` seeds from `first` on all cores until one fails; the smallest seed that failed, with
/// its fault. With `MODEL_ALL` set it plays them all, and tells each that fails.
fn play_all(first: u64, count: u64, store: Store) -> Option<(u64, world::Fault)> {
    let go_on = setting("MODEL_ALL").is_some();
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let faults = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let player = Player::new(store);
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Err(fault) = player.play(&History::of(seed)) {
                        failed.store(!go_on, Ordering::Relaxed);
                        if go_on {
                            println!("{seed}: {}", fault.lines().take(3).collect::<Vec<_>>().join(" | "));
                        }
                        faults.lock().expect("a lock").push((seed, fault));
                    }
                }
            });
        }
    });
    faults.into_inner().expect("a lock").into_iter().min()
}

fn judge(failed: Option<(u64, world::Fault)>, store: Store) {
    let Some((seed, fault)) = failed else { return };
    let player = Player::new(store);
    let (history, fault) = shrink::shrink(History::of(seed), fault, |history| player.play(history).err());
    panic!("{fault}\n\nwhat is left of seed {}:\n{history}", history.setup.seed);
}

#[test]
fn whatever_happens_the_target_is_what_directories_and_rules_say() {
    match setting("MODEL_SEED") {
        Some(seed) => judge(play_all(seed, 1, QUICK), QUICK),
        None => {
            let count = setting("MODEL_HISTORIES").unwrap_or(HISTORIES);
            judge(play_all(setting("MODEL_FIRST").unwrap_or(0), count, QUICK), QUICK);
        }
    }
}

#[test]
fn what_once_went_wrong_goes_well() {
    let player = Player::new(Store::Sqlite(Threads::Usual));
    for story in stories::stories() {
        for history in &story.histories {
            let played = player.play(history);
            assert_eq!(played, Ok(()), "{}:\n{history}", story.name);
        }
    }
}

#[test]
fn the_same_is_true_on_postgresql() {
    let count = setting("MODEL_HISTORIES").map_or(ON_POSTGRES, |count| count.min(ON_POSTGRES));
    judge(play_all(setting("MODEL_FIRST").unwrap_or(0), count, Store::Postgres), Store::Postgres);
}

#[test]
fn each_planted_fault_is_noticed() {
    let one = std::env::var("MODEL_FAULT").ok();
    // Two objects of one directory never want the same metaverse object here; the stories of `tests/it` have such.
    let told_elsewhere = |fault: &Fault| *fault == Fault::StaleBatches;
    let wanted = |fault: &Fault| !told_elsewhere(fault) && one.as_ref().is_none_or(|one| format!("{fault:?}") == *one);
    let faults: Vec<Fault> = Fault::ALL.iter().copied().filter(wanted).collect();
    assert!(!faults.is_empty(), "MODEL_FAULT names no fault");
    let (next, unnoticed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let player = Player::new(QUICK);
                let stories = stories::stories();
                while let Some(planted) = faults.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    fault::plant(Some(*planted));
                    // Stories of many histories take too long.
                    let told = stories.iter().filter_map(|story| match story.histories.as_slice() {
                        [history] => Some((story.name.to_owned(), history.clone())),
                        _ => None,
                    });
                    let known = NOTICED.iter().filter(|(fault, _)| fault == planted).map(|(_, seed)| *seed);
                    let random = known.chain(0..HISTORIES).map(|seed| (format!("history {seed}"), History::of(seed)));
                    let noticed =
                        told.chain(random).find_map(|(name, history)| Some((name, player.play(&history).err()?)));
                    match noticed {
                        Some((name, fault)) => {
                            println!("{planted:?}: {name}: {}", fault.lines().next().unwrap_or_default());
                        }
                        None => unnoticed.lock().expect("a lock").push(*planted),
                    }
                    fault::plant(None);
                }
            });
        }
    });
    let unnoticed = unnoticed.into_inner().expect("a lock");
    assert!(unnoticed.is_empty(), "unnoticed within {HISTORIES} histories: {unnoticed:?}");
}
