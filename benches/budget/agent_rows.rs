//! Pass-through by agents, beside the same sign-ins asked of the directory by the gateway itself, and beside what the directory
//! answers without either; and how long people wait when all agents are gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::browser::{Outcome, Visitor};
use crate::landscape::{Landscape, Store};
use crate::limits::{self, Pair};
use crate::load::{Load, closed, cpu_time, deal, memory_mib};
use crate::overlap_rows::FEW;
use crate::sign_in_rows::{CLIENT, SIGN_INS, VISITORS, few, sign_ins, wrapped};
use crate::support::agent::Agent;
use crate::support::directory::{ALPHA, BETA, Person};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::process::Signal;
use crate::support::wait::wait_until;
use crate::table::{Budget, Row, Table};

const AGENTS: usize = 3;
/// How often all agents are killed.
const OUTAGES: usize = 7;
/// Sign-ins that are tried one after the other in each outage, until one gets in.
const TRIES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn rows(table: &mut Table, landscape: &Landscape) {
    let people = landscape.beta();
    let count = landscape.times(SIGN_INS);
    let raw = raw(landscape, &people, count).await;
    let direct = gateway(landscape, "", "");
    let direct = measured(&direct, &people, count).await;

    let port = free_port();
    let section = format!("[agents]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n");
    let gateway = gateway(landscape, "reach = \"agents\"", &section);
    let mut agents: Vec<Agent> = (0..AGENTS).map(|_| Agent::enrol(&gateway, "corp", &landscape.slapd)).collect();
    agents.iter_mut().for_each(|agent| agent.connect(&gateway));
    healed(&gateway);
    let before: Duration = agents.iter().map(|agent| cpu_time(agent.pid())).sum();
    let load = measured(&gateway, &people, count).await;
    let by_agents: Duration = agents.iter().map(|agent| cpu_time(agent.pid())).sum::<Duration>() - before;
    // The hundred that warm up cost the agents as much.
    let agents_ms = by_agents.as_secs_f64() * 1e3 / (load.count + WARM_UP) as f64;
    table.add(Row::ratio("PTA by agents against raw search + bind", load.rate(), "/s", raw.rate(), Budget::None));
    table.add(Row::ratio("PTA by agents against the direct path", load.rate(), "/s", direct.rate(), Budget::None));
    table.add(Row::figure("PTA by agents, per core of the gateway", load.rate_per_core(), "/s", Budget::None));
    table.add(Row::figure("PTA directly, per core of the gateway", direct.rate_per_core(), "/s", Budget::None));
    table.add(Row::figure("PTA by agents: gateway's processor time", load.gateway_ms(), "ms", Budget::None));
    table.add(Row::figure("PTA by agents: agents' processor time", agents_ms, "ms", Budget::None));
    table.add(Row::figure("PTA by agents, p99", load.percentile_ms(99), "ms", Budget::None));
    table.add(Row::figure("PTA directly, p99", direct.percentile_ms(99), "ms", Budget::None));
    let largest = agents.iter().map(|agent| memory_mib(agent.pid(), "VmHWM")).fold(0.0, f64::max);
    table.add(Row::figure("agent: most memory held under this load", largest, "MiB", Budget::AtMost(30.0)));
    let resident = memory_mib(gateway.pid(), "VmRSS");
    table.add(Row::figure("gateway: memory held after this load", resident, "MiB", Budget::None));
    outages(table, &gateway, &mut agents, &people).await;
    agents.iter_mut().for_each(|agent| agent.end(Signal::Kill));
    held(table, "sealed", 200.0, &gateway, &people, count).await;

    drop(gateway);
    // Nobody has ever reached this one's directory for it.
    let lines = format!("reach = \"agents\"\n{FEW}");
    let gateway = landscape.gateway_with(Store::Sqlite, "argon2id", &lines, &section);
    gateway.cli(&["sync", "run"]);
    gateway.cli(&["password-sync", "run"]);
    wrapped(&gateway);
    behind_hashes(&gateway, ALPHA);
    held(table, "Argon2id", 60.0, &gateway, &few(landscape), ARGON2ID_SIGN_INS).await;
}

const ARGON2ID_SIGN_INS: usize = 400;

/// What the backup holds while no agent is there.
async fn held(table: &mut Table, hardening: &str, least: f64, gateway: &Gateway, people: &[Person], count: usize) {
    let load = measured(gateway, people, count).await;
    let path = format!("all agents gone: sign-ins by the backup, {hardening}");
    table.add(Row::figure(&path, load.rate(), "/s", Budget::AtLeast(least)));
    table.add(Row::figure(format!("{path}, p99"), load.percentile_ms(99), "ms", Budget::None));
}

const WARM_UP: usize = 100;

/// A gateway whose pass-through people have their hashes behind them.
fn gateway(landscape: &Landscape, connector: &str, section: &str) -> Gateway {
    let gateway = landscape.gateway_with(Store::Sqlite, "sealed", connector, section);
    gateway.cli(&["sync", "run"]);
    gateway.cli(&["password-sync", "run"]);
    behind_hashes(&gateway, BETA);
    gateway
}

/// Pass-through for a domain, with hashes as its backup.
fn behind_hashes(gateway: &Gateway, domain: &str) {
    gateway.cli(&["domain", "set-method", domain, "pta", "--force"]);
    gateway.cli(&["domain", "set-failover", domain, "--backup", "phs", "--mode", "automatic"]);
}

async fn measured(gateway: &Gateway, people: &[Person], count: usize) -> Load {
    sign_ins(gateway, VISITORS, people, WARM_UP).await;
    sign_ins(gateway, VISITORS, people, count).await
}

/// The same questions without a gateway.
async fn raw(landscape: &Landscape, people: &[Person], count: usize) -> Load {
    let accounts = limits::accounts(&landscape.slapd, &people[..SIGN_INS.min(people.len())]).await;
    let mut pairs = Vec::new();
    for _ in 0..VISITORS {
        pairs.push(Arc::new(Mutex::new(Pair::open(&landscape.slapd).await)));
    }
    let jobs: Vec<_> = accounts.iter().cycle().take(count).cloned().collect();
    closed(std::process::id(), deal(pairs, jobs), |pair, account| async move {
        pair.lock().await.check(&account).await;
    })
    .await
}

/// All agents are killed at once, again and again: how long until somebody gets in by their hash.
async fn outages(table: &mut Table, gateway: &Gateway, agents: &mut [Agent], people: &[Person]) {
    let visitor = Visitor::new(gateway, 200);
    let (mut waits, mut told) = (Vec::new(), 0_u32);
    for round in 0..OUTAGES {
        let mut waiting = Vec::new();
        for person in people.iter().cycle().skip(round * TRIES).take(TRIES) {
            waiting.push(visitor.to_password(CLIENT, &person.upn, &person.password).await);
        }
        agents.iter_mut().for_each(|agent| agent.end(Signal::Kill));
        let (started, mut first) = (Instant::now(), None);
        for at in waiting {
            match visitor.enter(at).await {
                Outcome::SignedIn { .. } => {
                    first = Some(started.elapsed());
                    break;
                }
                Outcome::TryAgain => told += 1,
            }
        }
        waits.push(first.expect("somebody gets in through the backup").as_secs_f64());
        agents.iter_mut().for_each(|agent| agent.connect(gateway));
        healed(gateway);
    }
    waits.sort_by(f64::total_cmp);
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    table.add(Row::figure("all agents gone to first success: least", at(0), "s", Budget::None));
    table.add(Row::figure("all agents gone to first success: median", at(50), "s", Budget::AtMost(1.0)));
    table.add(Row::figure("all agents gone to first success: most", at(100), "s", Budget::AtMost(1.0)));
    let told = f64::from(told) / OUTAGES as f64;
    table.add(Row::figure("all agents gone: told to try again before it", told, "", Budget::None));
}

/// Waits until sign-ins are let through to agents.
fn healed(gateway: &Gateway) {
    wait_until("the breaker to close", PATIENCE, || {
        let status = gateway.cli(&["failover", "status"]);
        let connectors = status["connectors"].as_array().expect("connectors").clone();
        connectors.iter().all(|connector| connector["open_since"].is_null()).then_some(())
    });
}
