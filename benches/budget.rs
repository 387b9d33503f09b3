//! Measures the product against its performance budget, on real servers on loopback, and prints a table.
//!
//! `cargo bench --bench budget -- [--users N,...]`. Each row puts a figure beside the physical limit that was measured in
//! the same run: hosts differ, ratios hardly do. "Per core" is by the processor time of the gateway's process, so that
//! neither the load generator nor anything else on the machine counts. `docs/benchmarks.md` says how to read it.

#[path = "budget/ad_rows.rs"]
mod ad_rows;
#[path = "budget/agent_rows.rs"]
mod agent_rows;
#[path = "budget/browser.rs"]
mod browser;
#[path = "budget/engine_rows.rs"]
mod engine_rows;
#[path = "budget/landscape.rs"]
mod landscape;
#[path = "budget/limits.rs"]
mod limits;
#[path = "budget/load.rs"]
mod load;
#[path = "budget/lsc.rs"]
mod lsc;
#[path = "budget/overlap_rows.rs"]
mod overlap_rows;
#[path = "budget/relay.rs"]
mod relay;
#[path = "budget/sign_in_rows.rs"]
mod sign_in_rows;
#[path = "budget/slope.rs"]
mod slope;
#[path = "budget/store_limit.rs"]
mod store_limit;
#[path = "budget/sync_rows.rs"]
mod sync_rows;
#[path = "budget/table.rs"]
mod table;
#[path = "budget/token_rows.rs"]
mod token_rows;

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, reason = "the servers of the tests; a benchmark needs some of them")]
mod support;

use std::time::Instant;

use landscape::{Landscape, Store};
use slope::Measured;
use table::Table;

/// Users of the directory unless `--users` says otherwise; the budget's own set has 100,000.
const DEFAULT_USERS: usize = 10_000;
const USERS: std::ops::RangeInclusive<usize> = 1_000..=1_000_000;
/// Groups of rows.
const ROWS: [&str; 7] = ["sync", "sign-in", "overlap", "postgres", "agents", "engines", "ad"];
/// Those that are measured unless `--rows` says otherwise; the others compare with other products, or want another directory.
const USUAL: usize = 5;

fn main() {
    let Some((sizes, rows)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: scripts/bench [--users N,...] [--rows ROWS,...]");
        eprintln!("N: 1000 to 1000000; ROWS: {}", ROWS.join(", "));
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut measured: Vec<Measured> = Vec::new();
    for users in sizes {
        let size = runtime.block_on(measure(users, &rows));
        println!("\n{users} users, {} cores\n\n{}", limits::cores(), size.table);
        measured.push(size);
    }
    let slopes = slope::rows(&measured);
    if !slopes.0.is_empty() {
        println!("\nWhat an additional object takes; limit: one of the smaller directory\n\n{slopes}");
    }
}

/// The numbers of users, from the least to the most, and the groups of rows to measure.
fn arguments(mut arguments: impl Iterator<Item = String>) -> Option<(Vec<usize>, Vec<String>)> {
    let (mut sizes, mut rows) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--users" => {
                for size in arguments.next()?.split(',') {
                    sizes.push(size.parse().ok().filter(|users| USERS.contains(users))?);
                }
            }
            "--rows" => rows.extend(arguments.next()?.split(',').map(str::to_owned)),
            // cargo bench adds it.
            "--bench" => {}
            _ => return None,
        }
    }
    if sizes.is_empty() {
        sizes.push(DEFAULT_USERS);
    }
    if rows.is_empty() {
        rows.extend(ROWS[..USUAL].iter().map(|row| (*row).to_owned()));
    }
    sizes.sort_unstable();
    sizes.dedup();
    rows.iter().all(|row| ROWS.contains(&row.as_str())).then_some((sizes, rows))
}

async fn measure(users: usize, rows: &[String]) -> Measured {
    let wanted = |row: &str| rows.iter().any(|wanted| wanted == row);
    let started = Instant::now();
    let step = |text: &str| eprintln!("[{:4} s] {text}", started.elapsed().as_secs());
    let mut table = Table::default();
    if wanted("ad") {
        step(&format!("an Active Directory of {users} users"));
        ad_rows::rows(&mut table, users).await;
    }
    if rows.iter().all(|row| row == "ad") {
        return Measured { objects: users, table };
    }
    step(&format!("a directory of {users} users"));
    let mut landscape = Landscape::start(users);
    step("what the machine can do: signatures, Argon2id, paged search");
    let limits = limits::measure(&landscape).await;

    if wanted("sync") || wanted("sign-in") {
        step("sync into SQLite");
        let gateway = landscape.gateway(Store::Sqlite, "sealed", "");
        if wanted("sync") {
            sync_rows::rows(&mut table, &landscape, &gateway, &limits, "SQLite");
        } else {
            gateway.cli(&["sync", "run"]);
            gateway.cli(&["password-sync", "run"]);
        }
        if wanted("sign-in") {
            step("sign-in by password hash, sealed");
            sign_in_rows::sealed(&mut table, &landscape, &gateway).await;
            step("sign-in by pass-through");
            sign_in_rows::pass_through(&mut table, &landscape, &gateway).await;
            step("tokens and metadata");
            token_rows::refresh(&mut table, &landscape, &gateway, &limits).await;
            token_rows::metadata(&mut table, &landscape, &gateway).await;
            step("failover");
            sign_in_rows::failover(&mut table, &mut landscape, &gateway).await;
        }
        sync_rows::memory(&mut table, &landscape, &gateway);
    }
    if wanted("overlap") {
        step("sign-in by password hash, Argon2id");
        let mut gateway = landscape.gateway(Store::Sqlite, "argon2id", overlap_rows::FEW);
        sign_in_rows::argon2id(&mut table, &landscape, &gateway, &limits).await;
        step("sign-in by password hash while the initial sync runs");
        overlap_rows::sign_in_during_sync(&mut table, &landscape, &mut gateway).await;
    }
    if wanted("postgres") {
        step("sync into PostgreSQL");
        let gateway = landscape.gateway(Store::Postgres, "sealed", "");
        sync_rows::rows(&mut table, &landscape, &gateway, &limits, "PostgreSQL");
    }
    if wanted("agents") {
        step("sign-in through agents");
        agent_rows::rows(&mut table, &landscape).await;
    }
    if wanted("engines") {
        step("the same people into another directory");
        engine_rows::rows(&mut table, &landscape).await;
    }
    step("done");
    Measured { objects: landscape.objects(), table }
}
