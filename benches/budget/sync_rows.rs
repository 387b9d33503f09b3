//! Sync and the hash pass, without other load.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::landscape::Landscape;
use crate::limits::Limits;
use crate::load::{CpuNotes, CpuRecord, cpu_time, memory_mib, store_seconds};
use crate::store_limit;
use crate::support::directory::line;
use crate::support::gateway::Gateway;
use crate::support::passwords::ssha;
use crate::table::{Budget, Growth, Row, Table};

/// The set for which budgets are given in seconds; they shrink and grow with the set.
const BUDGETED_USERS: f64 = 100_000.0;
/// The largest set has budgets of its own.
const MOST_USERS: f64 = 1_000_000.0;
/// Fewer deletions than the guard holds back.
const DELETED: usize = 400;

/// The steps of a run by kind, and its time from call to answer.
struct Run {
    steps: Vec<Value>,
    wall: f64,
    gateway: Duration,
    cpu: CpuNotes,
    /// Seconds at the store's doors for reads and for writes.
    store: [f64; 2],
}

impl Run {
    fn of(gateway: &Gateway, profile: &str) -> Self {
        let store = || ["read", "write"].map(|door| store_seconds(gateway, door));
        let at_doors = store();
        let (before, started) = (cpu_time(gateway.pid()), Instant::now());
        let record = CpuRecord::start(gateway.pid());
        let answer = gateway.cli(&["sync", "run", "--profile", profile]);
        let wall = started.elapsed().as_secs_f64();
        let cpu = record.stop();
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        let steps = answer["steps"].as_array().expect("steps").clone();
        let gateway = cpu_time(gateway.pid()) - before;
        let [read, write] = store();
        Self { steps, wall, gateway, cpu, store: [read - at_doors[0], write - at_doors[1]] }
    }

    /// Rows that tell where the run went: each step's time, processor time and share of both.
    fn shares(&self, table: &mut Table, run: &str) {
        let total = self.gateway.as_secs_f64().max(0.01);
        for step in &self.steps {
            let kind = step["kind"].as_str().expect("a kind");
            let at = |name: &str| step[name].as_f64().expect("milliseconds");
            let (from, to) = (at("started_at"), at("ended_at"));
            let cpu = self.cpu.between(from, to);
            let share = 100.0 * cpu / total;
            let path = format!("{run}: {kind}, {:.2} s, {share:.0} % of the processor time", (to - from) / 1e3);
            table.add(Row::figure(path, cpu, "s", Budget::None));
        }
        let [read, write] = self.store;
        let share = 100.0 * (read + write) / self.wall;
        let path = format!("{run}: store, {read:.2} s in reads, {write:.2} s in writes, {share:.0} % of the time");
        table.add(Row::figure(path, read + write, "s", Budget::None));
    }

    fn seconds(&self, kind: &str) -> f64 {
        let at = |step: &Value, name: &str| step[name].as_f64().expect("milliseconds");
        let steps = self.steps.iter().filter(|step| step["kind"] == kind);
        steps.map(|step| (at(step, "ended_at") - at(step, "started_at")) / 1e3).sum::<f64>().max(0.001)
    }

    fn count(&self, kind: &str, counter: &str) -> f64 {
        self.step(kind)["counters"][counter].as_f64().expect("a number")
    }

    /// Objects that the imports, full or by delta, found changed.
    fn updated(&self) -> i64 {
        self.steps.iter().filter_map(|step| step["counters"]["updated"].as_i64()).sum()
    }

    fn step(&self, kind: &str) -> &Value {
        self.steps
            .iter()
            .find(|step| step["kind"] == kind)
            .unwrap_or_else(|| panic!("no step {kind}: {:?}", self.steps))
    }
}

/// A budget that the design gives for 100,000 users and for a million: between them it grows evenly, below it stays.
fn between(users: usize, usual: f64, largest: f64) -> f64 {
    let above = (users as f64 - BUDGETED_USERS).max(0.0) / (MOST_USERS - BUDGETED_USERS);
    usual + above * (largest - usual)
}

/// From an empty store to a directory in which nothing changes, and the hash pass.
pub fn rows(table: &mut Table, landscape: &Landscape, gateway: &Gateway, limits: &Limits, store: &str) {
    let scale = landscape.users as f64 / BUDGETED_USERS;
    let objects = landscape.objects() as f64;
    let run = Run::of(gateway, "cycle");
    let rate = run.count("full-import", "read") / run.seconds("full-import");
    table.add(
        Row::ratio(format!("{store}: import"), rate, "objects/s", limits.paged, Budget::AtLeast(0.7))
            .grows(Growth::Linear),
    );
    let imported = run.count("full-import", "read");
    let (search, insert) = (imported / limits.paged, store_limit::import_alone(gateway, store));
    let path = format!("{store}: import against paged search, then SQL alone ({insert:.2} s)");
    table.add(Row::ratio(path, rate, "objects/s", imported / (search + insert), Budget::None));
    let (rate, least) = (objects / run.seconds("delta-sync"), if store == "SQLite" { 6_000.0 } else { 4_000.0 });
    let path = format!("{store}: synchronise, initial");
    table.add(Row::figure(path, rate, "objects/s", Budget::AtLeast(least)).grows(Growth::Linear));
    let told = |what: &str, kind: &str| {
        let rate = objects / run.seconds(kind);
        Row::figure(format!("{store}: {what}, initial"), rate, "objects/s", Budget::None).grows(Growth::Linear)
    };
    table.add(told("export", "export"));
    table.add(told("confirm", "confirm"));
    let links = run.count("export", "links");
    assert!(links >= landscape.memberships as f64 * 0.9, "memberships arrive: {links} of {}", landscape.memberships);
    let most = between(landscape.users, 120.0 * scale.min(1.0), 1_800.0);
    let path = format!("{store}: initial cycle");
    table.add(Row::figure(path, run.wall, "s", Budget::AtMost(most)).grows(Growth::Linear));
    run.shares(table, &format!("{store}: initial cycle"));
    let cpu = run.gateway.as_secs_f64();
    table.add(Row::figure(format!("{store}: initial cycle, gateway's processor time"), cpu, "s", Budget::None));
    let peak = memory_mib(gateway.pid(), "VmHWM");
    let most = between(landscape.users, 1024.0, 2048.0);
    let path = format!("{store}: peak RSS of serve");
    table.add(Row::figure(path, peak, "MiB", Budget::AtMost(most)).grows(Growth::Bounded));

    let started = Instant::now();
    gateway.cli(&["password-sync", "run"]);
    let read = started.elapsed().as_secs_f64();
    table.add(Row::figure(format!("{store}: first hash pass after the initial cycle"), read, "s", Budget::None));
    let run = Run::of(gateway, "delta");
    assert_eq!(run.updated(), 0, "{:?}", run.steps);
    let most = between(landscape.users, 1.0, 2.0);
    table.add(Row::figure(format!("{store}: delta cycle without changes"), run.wall, "s", Budget::AtMost(most)));
    run.shares(table, &format!("{store}: delta cycle without changes"));
    let run = Run::of(gateway, "cycle");
    assert_eq!((run.updated(), run.count("export", "adds")), (0, 0.0), "{:?}", run.steps);
    let path = format!("{store}: cycle that reads all and finds nothing");
    table.add(Row::figure(&path, run.wall, "s", Budget::None).grows(Growth::Linear));
    run.shares(table, &path);
    let run = Run::of(gateway, "full");
    let full = run.seconds("full-sync");
    let path = format!("{store}: full sync that finds nothing");
    table.add(Row::figure(path, full, "s", Budget::AtMost(15.0 * scale)).grows(Growth::Linear));

    let one = change(landscape, store);
    let run = Run::of(gateway, "delta");
    let path = format!("{store}: delta cycle with {one} added, {one} deleted, {} modified", 5 * one);
    let most = 15.0 * one as f64 / (BUDGETED_USERS / 100.0);
    table.add(Row::figure(path, run.wall, "s", Budget::AtMost(most)));
    run.shares(table, &format!("{store}: delta cycle with changes"));

    hash_pass(table, landscape, gateway, store);
}

/// A pass in which nothing changed, and one in which some passwords did: the difference is what those cost.
fn hash_pass(table: &mut Table, landscape: &Landscape, gateway: &Gateway, store: &str) {
    let pass = || {
        let before = cpu_time(gateway.pid());
        let passes = gateway.cli(&["password-sync", "run"]);
        let stored = passes[0]["report"]["stored"].as_f64().expect("a number");
        (stored, (cpu_time(gateway.pid()) - before).as_secs_f64())
    };
    pass();
    let (stored, calm) = pass();
    assert_eq!(stored, 0.0, "nothing changed");
    let rate = landscape.users as f64 / calm;
    table.add(Row::figure(format!("{store}: hash pass that finds nothing, per core"), rate, "users/s", Budget::None));
    // Of people who sign in nowhere: the directory wants a password that an administrator set to be changed.
    let changed = landscape.users / 5;
    let salt = if store == "SQLite" { b"salt one" } else { b"salt two" };
    let mut ldif = String::new();
    for person in (3 * changed..4 * changed).map(|index| landscape.person(index)) {
        let value = ssha(&person.password, salt);
        ldif += &line("dn", &person.dn);
        ldif += &format!("changetype: modify\nreplace: userPassword\nuserPassword: {value}\n\n");
    }
    landscape.slapd.ldapmodify(&ldif);
    let (stored, busy) = pass();
    assert_eq!(stored, changed as f64, "all of them changed");
    let rate = stored / (busy - calm).max(0.01);
    let path = format!("{store}: hash pass, chain to sealed, per core");
    table.add(Row::figure(path, rate, "users/s", Budget::AtLeast(2_000.0)));
}

/// Changes the directory: so many people are added, as many deleted, five times as many modified. One in a hundred, unless
/// the guard would hold that. Each store's run changes other people, so that the directory stays as large as it was.
fn change(landscape: &Landscape, store: &str) -> usize {
    let one = DELETED.min(landscape.users / 100);
    // From the end, where no row signs anybody in.
    let round = usize::from(store != "SQLite");
    let last = landscape.users - round * 6 * one;
    let mut ldif = String::new();
    for (index, person) in (last - 6 * one..last).map(|index| landscape.person(index)).enumerate() {
        let head = line("dn", &person.dn);
        if index < one {
            ldif += &format!("{head}changetype: delete\n\n");
            let added = person.ldif("").replace(&person.uid, &format!("q{}", &person.uid[1..]));
            ldif += &added.replacen("objectClass", "changetype: add\nobjectClass", 1);
        } else {
            ldif += &format!("{head}changetype: modify\nreplace: sn\nsn: Changed{round}\n\n");
        }
    }
    landscape.slapd.ldapmodify(&ldif);
    one
}

/// After so long the budget is to be kept.
const REST: Duration = Duration::from_secs(300);

/// What `serve` holds after sync, hash pass and sign-ins, in the same process.
pub fn memory(table: &mut Table, landscape: &Landscape, gateway: &Gateway) {
    std::thread::sleep(REST);
    let held = memory_mib(gateway.pid(), "VmRSS");
    let budget = if landscape.users as f64 > BUDGETED_USERS { Budget::None } else { Budget::AtMost(150.0) };
    table.add(Row::figure("RSS of serve after all of these", held, "MiB", budget).grows(Growth::Bounded));
}
