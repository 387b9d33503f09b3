//! Run profiles, the scheduler, and what holds runs back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use landbridge::calendar::WeeklyWindow;
use landbridge::identity::{Clock as _, LeaseEpoch, SettableClock, Timestamp};
use landbridge::store::engine::{SqlEngine, SqlSuspensions};
use landbridge::store::{Database, DatabaseUrl, Room};
use landbridge::sync::lease::{Cancellation, EngineLease};
use landbridge::sync::maintenance::{HeldBack, MaintenanceWindow, Suspension, Suspensions};
use landbridge::sync::profile::{Profile, ProfileFault, RunProfile, Step, StepKind};
use landbridge::sync::run::{RunOutcome, RunRequest, Runner, StepRecord};
use landbridge::sync::scheduler::{
    Admission, Ended, LastCycle, Order, Refusal, Scheduler, SchedulerHandle, SchedulerSettings,
};
use landbridge::sync::store::{Exports as _, Runs as _};
use tokio::sync::oneshot;

use super::scripted::{Directory, Target};
use super::world::{World, stores};
use super::{FURNISHED, dn, furnish, members, set};
use crate::support::wait::wait_until_async;

/// 2026-11-21 was a Saturday.
const SATURDAY_NOON: &str = "2026-11-21T12:00:00Z";

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn step(kind: StepKind, connector: Option<&str>) -> Step {
    Step { kind, connector: connector.map(|name| name.parse().expect("a name")) }
}

fn kinds(steps: &[StepRecord]) -> Vec<String> {
    steps.iter().map(|step| format!("{} {}", step.kind, step.connector).trim_end().to_owned()).collect()
}

/// What changes between two cycles: an add, an update, a delete, a group.
fn change(world: &World) {
    let directory = &world.directory;
    directory.user("new", &dn("new"), &[("mail", "new@example.org"), ("cn", "new"), ("uid", "new")]);
    directory.change("ada", |o| set(o, "mail", &["ada2@example.org"]));
    directory.remove("eve");
    directory.change("staff", |o| members(o, &["bob", "new"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_ones_own_takes_its_steps_in_their_order() {
    let world = World::on_sqlite().await;
    furnish(&world);
    let connectors = &world.runner.connectors;
    let own = |steps| RunProfile::own("own", steps, connectors);
    let steps = vec![
        step(StepKind::FullImport, Some("corp")),
        step(StepKind::FullSync, None),
        step(StepKind::Export, Some("tenant")),
        step(StepKind::DeltaImport, None),
        step(StepKind::DeltaSync, None),
        step(StepKind::Confirm, None),
    ];
    let (run, steps) = world.runner.run(own(steps).expect("a profile"), Arc::new(|_| {})).await.expect("the run ends");
    assert_eq!((run.profile.as_str(), run.outcome), ("own", RunOutcome::Completed));
    let expected = [
        "confirm tenant",
        "full-import corp",
        "full-sync",
        "export tenant",
        "full-import corp",
        "delta-sync",
        "confirm tenant",
    ];
    assert_eq!(kinds(&steps), expected, "a target is read before anything else, a source without deltas in full");
    assert_eq!(world.target.print(), FURNISHED);

    let (_, shipped) = world.run_steps(Profile::Delta).await;
    assert_eq!(kinds(&shipped), ["full-import corp", "delta-sync", "export tenant", "confirm tenant"]);
    assert_eq!(RunProfile::shipped("initial"), RunProfile::shipped("full"));

    let connector = || "nobody".parse().expect("a name");
    let refused = [
        (own(vec![]), ProfileFault::NoSteps { profile: "own".into() }),
        (own(vec![step(StepKind::DeltaSync, Some("corp"))]), ProfileFault::SynchronisesOne { profile: "own".into() }),
        (
            own(vec![step(StepKind::Export, Some("nobody"))]),
            ProfileFault::NoConnector { profile: "own".into(), connector: connector() },
        ),
        (
            own(vec![step(StepKind::FullImport, Some("tenant"))]),
            ProfileFault::NotASource { profile: "own".into(), connector: "tenant".parse().expect("a name") },
        ),
        (
            own(vec![step(StepKind::Confirm, Some("corp"))]),
            ProfileFault::NotATarget { profile: "own".into(), connector: "corp".parse().expect("a name") },
        ),
        (
            RunProfile::own("delta", vec![Step::of_all(StepKind::Export)], connectors),
            ProfileFault::Shipped { profile: "delta".into() },
        ),
    ];
    for (profile, fault) in refused {
        assert_eq!(profile, Err(fault));
    }
}

/// A lease that cancels a run when it is asked for the n-th time: once between two batches.
struct CancellingLease {
    asked: AtomicUsize,
    at: usize,
    cancellation: Cancellation,
}

impl EngineLease for CancellingLease {
    fn held(&self) -> Option<LeaseEpoch> {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.cancellation.ask("tester");
        }
        Some(LeaseEpoch::from_number(1))
    }
}

/// A world with a cycle behind it and changes before it.
async fn changed_world(url: DatabaseUrl, dir: Option<tempfile::TempDir>) -> World {
    let world = World::open(url, dir).await.unguarded();
    world.directory.state.lock().expect("lock").page = 2;
    furnish(&world);
    world.run(Profile::Cycle).await;
    change(&world);
    world.target.take_changes();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cancelled_at_any_point_leaves_a_state_from_which_the_next_converges() {
    for (kind, ..) in stores().await {
        for profile in [Profile::Cycle, Profile::Full] {
            let fresh = async || {
                let (_, url, dir) =
                    stores().await.into_iter().find(|(name, ..)| *name == kind).expect("the same stores every time");
                changed_world(url, dir).await
            };
            let undisturbed = fresh().await;
            undisturbed.run(profile).await;
            let (expected, changes) = (undisturbed.dump().await, undisturbed.target.take_changes());
            assert!(changes > 3, "{kind}: there is something to export");
            // A database on PostgreSQL takes its time to make.
            let step = if kind == "sqlite" { 1 } else { 5 };
            let mut points = 0;
            for at in (1..).step_by(step) {
                let mut world = fresh().await;
                let cancellation = Cancellation::default();
                let lease = CancellingLease { asked: AtomicUsize::new(0), at, cancellation: cancellation.clone() };
                world.runner.lease = Arc::new(lease);
                let request = RunRequest {
                    profile: profile.into(),
                    by: "tester".to_owned(),
                    anyway: false,
                    cancellation,
                    progress: Arc::new(|_| {}),
                };
                let (run, steps) = world.runner.carry_out(request).await.expect("a cancelled run is no failed one");
                if run.outcome == RunOutcome::Completed {
                    break;
                }
                points += 1;
                let told = (run.outcome, run.detail.as_deref());
                assert_eq!(told, (RunOutcome::Cancelled, Some("by tester")), "{kind} {at}");
                let kept = world.engine.last_runs(1).await.expect("runs");
                assert_eq!(kept, [(run, steps)], "{kind} {at}: it is remembered as it was told");
                world.runner.lease = world.lease.clone();
                assert_eq!(world.run(profile).await, RunOutcome::Completed, "{kind} {at}");
                assert_eq!(world.target.take_changes(), changes, "{kind} {at}: nothing is sent twice, nothing lost");
                assert_eq!(world.target.print(), undisturbed.target.print(), "{kind} {at}");
                assert_eq!(world.dump().await, expected, "{kind} {at}");
            }
            assert!(points * step >= 10, "{kind}: {points} points");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_remembered_for_their_time_and_the_newest_always() {
    for (store, url, dir) in stores().await {
        let mut world = World::open(url, dir).await;
        let clock = Arc::new(SettableClock::at(time(SATURDAY_NOON)));
        world.runner.clock = clock.clone();
        world.runner.retention = Duration::from_secs(3600);
        furnish(&world);
        for _ in 0..4 {
            world.run(Profile::Cycle).await;
            clock.advance(Duration::from_secs(1500));
        }
        let numbers = async || {
            let runs = world.engine.last_runs(10).await.expect("runs");
            runs.into_iter().map(|(run, steps)| (run.number, steps.len())).collect::<Vec<_>>()
        };
        // They began 1500, 3000, and 4500 seconds before the last one.
        assert_eq!(numbers().await, [(4, 4), (3, 4), (2, 4)], "{store}");
        clock.advance(Duration::from_secs(7200));
        world.run(Profile::Cycle).await;
        assert_eq!(numbers().await, [(5, 4)], "{store}");
        let one = world.engine.one_run(5).await.expect("a read").expect("a run");
        assert_eq!((one.0.by.as_str(), one.1.len()), ("schedule", 4), "{store}");
        assert_eq!(world.engine.one_run(1).await.expect("a read"), None, "{store}");
    }
}

/// A scheduler over a world.
struct Schedule {
    directory: Arc<Directory>,
    target: Arc<Target>,
    engine: SqlEngine,
    runner: Arc<Runner>,
    clock: Arc<SettableClock>,
    gateway: Database,
    handle: SchedulerHandle,
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// An interval that no test lives to see.
const NEVER: Duration = Duration::from_secs(3600);

type Task = (SchedulerHandle, tokio::sync::watch::Sender<bool>, tokio::task::JoinHandle<()>);

fn spawn(runner: &Arc<Runner>, gateway: &Database, interval: Duration) -> Task {
    let settings = SchedulerSettings { interval, enabled: true, profile: Profile::Delta.into() };
    let suspensions = Arc::new(SqlSuspensions::new(gateway.clone()));
    let (scheduler, handle) = Scheduler::new(runner.clone(), suspensions, settings);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    (handle, stop, tokio::spawn(scheduler.run(stopped)))
}

impl Schedule {
    async fn start(interval: Duration, equip: impl FnOnce(&mut Runner)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let mut world = World::open(url.clone(), None).await;
        let gateway = Database::open(&url, Room::Gateway).await.expect("the gateway's tables open");
        let clock = Arc::new(SettableClock::at(time(SATURDAY_NOON)));
        world.runner.clock = clock.clone();
        furnish(&world);
        equip(&mut world.runner);
        let (directory, target, engine) = (world.directory, world.target, world.engine);
        let runner = Arc::new(world.runner);
        let (handle, stop, task) = spawn(&runner, &gateway, interval);
        Self { directory, target, engine, runner, clock, gateway, handle, stop, task, _dir: dir }
    }

    async fn order(&self, profile: Profile) -> (Admission, oneshot::Receiver<Ended>) {
        self.handle.order(order(profile, false)).await.expect("admitted")
    }

    async fn run(&self, profile: Profile, anyway: bool) -> Result<(RunOutcome, Vec<StepRecord>), Refusal> {
        let (_, end) = self.handle.order(order(profile, anyway)).await?;
        let (run, steps) = end.await.expect("the scheduler answers").expect("the run ends");
        Ok((run.outcome, steps))
    }

    /// Until a run is at work.
    async fn at_work(&self) {
        wait_until_async("the run to begin", Duration::from_secs(10), async || {
            self.handle.activity().running?.progress.map(drop)
        })
        .await;
    }

    async fn until(&self, last: LastCycle) {
        wait_until_async("the schedule to come there", Duration::from_secs(20), async || {
            (self.handle.activity().last == last).then_some(())
        })
        .await;
    }

    async fn stop(&mut self) {
        self.stop.send_replace(true);
        (&mut self.task).await.expect("the scheduler ends in order");
    }

    async fn restart(&mut self, interval: Duration) {
        self.stop().await;
        (self.handle, self.stop, self.task) = spawn(&self.runner, &self.gateway, interval);
    }
}

fn order(profile: Profile, anyway: bool) -> Order {
    Order { profile: profile.into(), by: "tester".to_owned(), anyway }
}

fn suspension(at: Timestamp, until: Option<Timestamp>) -> Suspension {
    Suspension { since: at, until, reason: Some("audit".to_owned()), by: "ada".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_during_a_run_queues_one_more_and_a_second_one_joins_it() {
    let mut schedule = Schedule::start(NEVER, |_| {}).await;
    let gate = schedule.directory.hold_imports();
    let (first, end) = schedule.order(Profile::Cycle).await;
    assert_eq!(first, Admission::Begun);
    schedule.at_work().await;
    let (second, second_end) = schedule.order(Profile::Cycle).await;
    let (third, third_end) = schedule.order(Profile::Cycle).await;
    assert_eq!((second, third), (Admission::Queued { behind: Some(1) }, Admission::Queued { behind: Some(1) }));
    assert_eq!(schedule.handle.activity().waiting, ["cycle"]);
    drop(gate);
    let number = async |end: oneshot::Receiver<Ended>| end.await.expect("an answer").expect("the run ends").0.number;
    assert_eq!((number(end).await, number(second_end).await, number(third_end).await), (1, 2, 2));
    assert_eq!(schedule.target.print(), FURNISHED);
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_and_what_waits_behind_it_begins() {
    let mut schedule = Schedule::start(NEVER, |_| {}).await;
    assert_eq!(schedule.handle.cancel("tester").await.expect("an answer"), None, "nothing is under way");
    let gate = schedule.directory.hold_imports();
    let (_, first) = schedule.order(Profile::Cycle).await;
    schedule.at_work().await;
    let (_, second) = schedule.order(Profile::Full).await;
    let running = schedule.handle.cancel("tester").await.expect("an answer").expect("a run");
    assert_eq!(running.cancelled_by.as_deref(), Some("tester"));
    drop(gate);
    let (run, _) = first.await.expect("an answer").expect("the run ends");
    assert_eq!((run.outcome, run.detail.as_deref()), (RunOutcome::Cancelled, Some("by tester")));
    let (run, _) = second.await.expect("an answer").expect("the run ends");
    assert_eq!((run.profile.as_str(), run.outcome), ("full", RunOutcome::Completed));
    assert_eq!(schedule.target.print(), FURNISHED);
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cancels_the_run_under_way_and_refuses_what_waits() {
    let mut schedule = Schedule::start(NEVER, |_| {}).await;
    let gate = schedule.directory.hold_imports();
    let (_, first) = schedule.order(Profile::Cycle).await;
    schedule.at_work().await;
    let (_, waits) = schedule.order(Profile::Full).await;
    let handle = schedule.handle.clone();
    schedule.stop.send_replace(true);
    drop(gate);
    let (run, _) = first.await.expect("an answer").expect("the run ends");
    assert_eq!(run.outcome, RunOutcome::Cancelled);
    schedule.stop().await;
    assert!(waits.await.is_err(), "it was not begun");
    assert!(matches!(handle.order(order(Profile::Delta, false)).await, Err(Refusal::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_holds_on_all_nodes_and_across_restarts_until_it_ends() {
    let tick = Duration::from_millis(20);
    let mut schedule = Schedule::start(tick, |_| {}).await;
    schedule.until(LastCycle::Ended(RunOutcome::Completed)).await;
    // Said on another node: over the same database, by another hand.
    let elsewhere = SqlSuspensions::new(schedule.gateway.clone());
    let now = schedule.clock.now();
    elsewhere.suspend(suspension(now, Some(now + Duration::from_secs(600)))).await.expect("suspended");
    schedule.until(LastCycle::Suspended).await;
    schedule.directory.change("ada", |o| set(o, "mail", &["a2@example.org"]));
    let refused = schedule.run(Profile::Cycle, false).await;
    assert!(matches!(&refused, Err(Refusal::Suspended(s)) if s.reason.as_deref() == Some("audit")), "{refused:?}");
    schedule.restart(tick).await;
    schedule.until(LastCycle::Suspended).await;
    assert_eq!(schedule.target.print(), FURNISHED, "a restart changes nothing");
    assert_eq!(schedule.run(Profile::Cycle, true).await.expect("anyway").0, RunOutcome::Completed);
    assert!(schedule.target.print().contains("a2@example.org"));

    schedule.directory.change("ada", |o| set(o, "mail", &["a3@example.org"]));
    schedule.clock.advance(Duration::from_secs(600));
    wait_until_async("the suspension to end by itself", Duration::from_secs(20), async || {
        schedule.target.print().contains("a3@example.org").then_some(())
    })
    .await;

    let now = schedule.clock.now();
    elsewhere.suspend(suspension(now, None)).await.expect("suspended");
    schedule.clock.advance(Duration::from_secs(60));
    elsewhere.suspend(suspension(schedule.clock.now(), None)).await.expect("suspended again");
    schedule.until(LastCycle::Suspended).await;
    let ended = elsewhere.resume().await.expect("resumed").expect("one that ends");
    assert_eq!(ended.since, now, "one that goes on keeps its begin");
    assert_eq!(elsewhere.resume().await.expect("nothing to resume"), None);
    schedule.until(LastCycle::Ended(RunOutcome::Completed)).await;
    schedule.stop().await;
}

fn saturday_afternoons(holds: HeldBack) -> MaintenanceWindow {
    let when = WeeklyWindow {
        days: ["sat".parse().expect("a day")].into(),
        from: "12:00".parse().expect("a time"),
        to: "18:00".parse().expect("a time"),
        zone: "UTC".parse().expect("a zone"),
    };
    MaintenanceWindow { name: "freeze".to_owned(), holds, when }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_for_exports_lets_everything_be_staged_and_nothing_leave() {
    let mut schedule =
        Schedule::start(NEVER, |runner| runner.windows = vec![saturday_afternoons(HeldBack::Exports)]).await;
    let (outcome, steps) = schedule.run(Profile::Cycle, false).await.expect("admitted");
    assert_eq!(outcome, RunOutcome::Completed);
    let export = steps.iter().find(|step| step.kind == "export").expect("an export");
    let detail = "maintenance window freeze until 2026-11-21T18:00:00.000Z";
    assert_eq!((export.outcome, export.detail.as_deref()), (RunOutcome::Deferred, Some(detail)));
    assert_eq!(schedule.target.print(), "");
    let tenant = "tenant".parse().expect("a name");
    let pending = schedule.engine.pending(
        &tenant,
        landbridge::sync::space::ExportKind::ALL,
        landbridge::sync::space::ObjectId(0),
        10,
    );
    assert_eq!(pending.await.expect("pending exports").len(), 4);
    schedule.clock.set(time("2026-11-21T18:00:00Z"));
    schedule.run(Profile::Delta, false).await.expect("admitted");
    assert_eq!(schedule.target.print(), FURNISHED);
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_for_cycles_lets_no_run_begin_but_those_that_are_meant() {
    let mut schedule = Schedule::start(Duration::from_millis(20), |runner| {
        runner.windows = vec![saturday_afternoons(HeldBack::Cycles), saturday_afternoons(HeldBack::Exports)];
    })
    .await;
    schedule.until(LastCycle::InWindow("freeze".to_owned())).await;
    assert!(matches!(schedule.run(Profile::Delta, false).await, Err(Refusal::Window(_))));
    assert_eq!(schedule.engine.last_runs(1).await.expect("runs"), []);
    schedule.run(Profile::Delta, true).await.expect("admitted anyway");
    assert_eq!(schedule.target.print(), FURNISHED);
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_staging_mode_everything_is_staged_and_nothing_exported_whatever_the_profile() {
    let mut schedule = Schedule::start(NEVER, |runner| runner.staging = true).await;
    for profile in Profile::ALL {
        let (outcome, steps) = schedule.run(profile, true).await.expect("admitted");
        assert_eq!(outcome, RunOutcome::Completed, "{profile:?}");
        let exports: Vec<_> = steps.iter().filter(|step| step.kind == "export").map(|step| step.outcome).collect();
        assert!(exports.iter().all(|outcome| *outcome == RunOutcome::Deferred), "{profile:?}");
    }
    assert_eq!(schedule.target.take_changes(), 0);
    schedule.stop().await;
}
