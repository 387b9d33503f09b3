//! Active Directory, by Samba: import beside another client of the same server, and the hash pass in its parts.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drsr::{Account, Client, Controller, Cursor, Password};
use landbridge::ldap::{Filter, Scope, Search};
use serde_json::Value;

use crate::limits;
use crate::load::cpu_time;
use crate::relay::Relay;
use crate::support::gateway::Gateway;
use crate::support::samba::{CORP, SYNC_ACCOUNT, SYNC_PASSWORD, Samba};
use crate::support::thousands::{self, GROUPS, unit_of};
use crate::table::{Budget, Row, Table};

const RIGHTS: [&str; 3] = ["get-changes", "get-changes-all", "deleted-objects"];
/// The port of replication, so that a relay can stand before it.
const REPLICATION: u16 = 49_200;
/// As the connector asks.
const PAGE_SIZE: u32 = 500;
/// Passes through the relay, of which the best counts.
const PASSES: usize = 3;
/// Rows that are wrapped while the rate is measured, at most.
const WRAPPED: u64 = 2_000;
/// Between two looks at the wrapping.
const LOOK: Duration = Duration::from_secs(1);

pub async fn rows(table: &mut Table, users: usize) {
    let samba = Samba::start_with(CORP, &RIGHTS, &format!("rpc server port:drsuapi = {REPLICATION}"));
    thousands::fill(&samba, users);
    read_and_decrypt(table, &samba, users).await;
    let mut gateway = Gateway::builder().samba("corp", &samba).hardening("sealed").start();
    gateway.cli(&["domain", "add", CORP.realm]);
    gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    import(table, &samba, &gateway, users);
    delta_import(table, &samba, &gateway, users).await;
    chain_to_sealed(table, &samba, &gateway, users);
    wrapping(table, &mut gateway, users);
}

/// The whole naming context, as the channel reads it the first time: beside the time in which a client would have received
/// the same replies and done nothing with them, and beside another client of the protocol.
async fn read_and_decrypt(table: &mut Table, samba: &Samba, users: usize) {
    let account = Account::ntlm(CORP.netbios, SYNC_ACCOUNT, Password::new(SYNC_PASSWORD.to_owned()));
    let mut best: Option<(Duration, Duration)> = None;
    for _ in 0..PASSES {
        let relay = Relay::to((samba.address, REPLICATION).into());
        let controller = Controller {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            replication_port: Some(relay.port()),
            ..Controller::new(format!("{}.{}", CORP.host, CORP.realm))
        };
        let started = Instant::now();
        let mut client = Client::connect(&controller, &account).await.expect("the account has its rights");
        let mut pass = client.pass(Cursor::start(samba.base()));
        let mut hashes = 0;
        while let Some(page) = pass.next_page().await.expect("a page") {
            hashes += page.accounts.iter().filter(|account| account.password.value().is_some()).count();
        }
        client.close().await;
        let whole = started.elapsed();
        // Those of every domain are above.
        assert!(hashes > users, "{hashes} hashes of {users} users");
        let waited = relay.waited();
        if best.is_none_or(|(least, _)| whole < least) {
            best = Some((whole, waited));
        }
    }
    let (whole, waited) = best.expect("several passes");
    let rate = |time: Duration| users as f64 / time.as_secs_f64();
    let path = "AD: hash pass, read and decrypt (limit: the same replies received)";
    table.add(Row::ratio(path, rate(whole), "users/s", rate(waited), Budget::AtLeast(0.9)));
    if samba.has_impacket() {
        let started = Instant::now();
        assert!(samba.hashes_by_impacket().len() > users);
        let path = "AD: hash pass, by impacket";
        table.add(Row::figure(path, rate(started.elapsed()), "users/s", Budget::None));
    } else {
        eprintln!("         impacket is not there: scripts/impacket brings it");
    }
}

/// The steps of a run that must complete.
fn run(gateway: &Gateway, profile: &str) -> Vec<Value> {
    let answer = gateway.cli(&["sync", "run", "--profile", profile]);
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
    answer["steps"].as_array().expect("steps").clone()
}

/// Seconds and count of the import of the domain.
fn of_import(steps: &[Value], kind: &str, counter: &str) -> (f64, f64) {
    let step = steps.iter().find(|step| step["kind"] == kind && step["connector"] == "corp");
    let step = step.unwrap_or_else(|| panic!("no {kind}: {steps:#?}"));
    let at = |name: &str| step[name].as_f64().expect("milliseconds");
    (((at("ended_at") - at("started_at")) / 1e3).max(0.001), step["counters"][counter].as_f64().expect("a number"))
}

fn import(table: &mut Table, samba: &Samba, gateway: &Gateway, users: usize) {
    let classes = "(|(objectClass=user)(objectClass=group)(objectClass=organizationalUnit))";
    let base = format!("OU=Staff,{}", samba.base());
    let objects = (users + GROUPS) as f64;
    let by_ldapsearch = |_| {
        let seconds = ldapsearch(samba, &base, &format!("pr={PAGE_SIZE}/noprompt"), classes);
        objects / seconds
    };
    let limit = (0..2).map(by_ldapsearch).fold(0.0, f64::max);
    let steps = run(gateway, "full");
    let (seconds, read) = of_import(&steps, "full-import", "read");
    assert!(read >= objects, "{read} of {objects}");
    let path = "AD: import (limit: ldapsearch in pages)";
    table.add(Row::ratio(path, read / seconds, "objects/s", limit, Budget::AtLeast(0.7)));
}

/// A quarter of all people change. What DirSync tells of them is read by `ldapsearch` too, from the same cookie; the gateway
/// reads besides what they are now.
async fn delta_import(table: &mut Table, samba: &Samba, gateway: &Gateway, users: usize) {
    let cookie = cookie(samba).await;
    let changed = users / 4;
    let base = samba.base();
    let change = |number: usize| {
        let head = format!("dn: CN=p{number},{},{base}\nchangetype: modify\n", unit_of(number, users));
        format!("{head}replace: displayName\ndisplayName: Changed {number}\n-\n\n")
    };
    samba.ldif(&(0..changed).map(change).collect::<String>());
    let control = format!("!dirSync=0/0/{}", STANDARD.encode(cookie));
    let limit = changed as f64 / ldapsearch(samba, &base, &control, "(objectClass=user)");
    let steps = run(gateway, "delta");
    let (seconds, updated) = of_import(&steps, "delta-import", "updated");
    assert_eq!(updated, changed as f64, "all of them arrive");
    let path = "AD: delta import by DirSync (limit: ldapsearch, DirSync alone)";
    table.add(Row::ratio(path, updated / seconds, "objects/s", limit, Budget::None));
}

/// Seconds that `ldapsearch` takes to read all attributes of what it finds under a control.
fn ldapsearch(samba: &Samba, base: &str, control: &str, filter: &str) -> f64 {
    let mut command = Command::new("ldapsearch");
    command.env("LDAPTLS_CACERT", samba.ca_file()).env("LDAPTLS_REQCERT", "demand");
    command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &format!("ldaps://{}", samba.address), "-b", base]);
    command.args(["-D", &samba.sync_account_name(), "-w", SYNC_PASSWORD, "-E", control, filter]);
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("ldap-utils");
    assert!(status.success(), "ldapsearch: {status}");
    started.elapsed().as_secs_f64()
}

/// Where the domain stands now.
async fn cookie(samba: &Samba) -> Vec<u8> {
    let mut connection = thousands::connection(samba).await;
    let search = Search {
        base: samba.base().parse().expect("a name"),
        scope: Scope::Subtree,
        filter: Filter::equal("objectClass", "user"),
        attributes: vec!["sAMAccountName".to_owned()],
    };
    let mut all = connection.dir_sync(&search, &[]).await.expect("DirSync");
    while all.next().await.expect("an entry").is_some() {}
    all.end().expect("the last entry was told").cookie
}

/// All hashes are read in both passes; in one of them all are new.
fn chain_to_sealed(table: &mut Table, samba: &Samba, gateway: &Gateway, users: usize) {
    let pass = || {
        let (before, started) = (cpu_time(gateway.pid()), Instant::now());
        let passes = gateway.cli(&["password-sync", "run", "--full"]);
        assert!(passes[0]["error"].is_null(), "{passes:#}");
        let cpu = cpu_time(gateway.pid()) - before;
        let stored = passes[0]["report"]["stored"].as_f64().expect("a number");
        (stored, cpu.as_secs_f64(), started.elapsed().as_secs_f64())
    };
    pass();
    let (stored, calm, _) = pass();
    assert_eq!(stored, 0.0, "nothing changed");
    let changes: Vec<(String, String)> =
        (0..users).map(|number| (format!("p{number}"), format!("Anew-{number}-Pässwörd!"))).collect();
    samba.set_hashes(changes.iter().map(|(account, password)| (account.as_str(), password.as_str())));
    let (stored, busy, seconds) = pass();
    assert_eq!(stored, users as f64, "all of them changed");
    let rate = stored / (busy - calm).max(0.01);
    table.add(Row::figure("AD: hash pass, chain to sealed, per core", rate, "users/s", Budget::AtLeast(2_000.0)));
    let path = "AD: hash pass, everybody anew, by the clock";
    table.add(Row::figure(path, stored / seconds, "users/s", Budget::None));
}

/// What was sealed is wrapped in Argon2id while nobody signs in.
fn wrapping(table: &mut Table, gateway: &mut Gateway, users: usize) {
    let (limit, _) = limits::argon2id();
    gateway.reconfigure(|settings| settings.replace("hardening = \"sealed\"", "hardening = \"argon2id\""));
    let wrapped = || {
        let status = gateway.cli(&["password-sync", "status"]);
        (status["wrapping"]["wrapped"].as_u64().expect("a number"), Instant::now())
    };
    let until = |enough: u64| loop {
        let (count, at) = wrapped();
        if count >= enough {
            return (count, at);
        }
        std::thread::sleep(LOOK);
    };
    let (first, from) = until(1);
    let (last, to) = until(WRAPPED.min(users as u64 / 10 * 9).max(first + 1));
    let rate = (last - first) as f64 / to.duration_since(from).as_secs_f64();
    let path = "AD: wrapping in Argon2id (limit: Argon2id on all cores)";
    table.add(Row::ratio(path, rate, "users/s", limit, Budget::AtLeast(0.9)));
}
