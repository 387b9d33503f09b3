//! What the machine and the directory can do by themselves: the limits beside the product's figures.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use landbridge::identity::{DistinguishedName, PlainPassword};
use landbridge::ldap::{Connection, Filter, Scope, Search, ServiceAccount, Trust};

use crate::landscape::Landscape;
use crate::load::cpu_time;
use crate::support::directory::Person;
use crate::support::slapd::{SUFFIX, Slapd};

/// How long each is tried.
const SPAN: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(60);
/// As the connector asks.
const PAGE_SIZE: u32 = 500;
/// What the shipped rules read, with what the connector needs for itself.
const ATTRIBUTES: [&str; 9] =
    ["entryUUID", "objectClass", "mail", "cn", "givenName", "sn", "uid", "member", "pwdAccountLockedTime"];

#[derive(Debug)]
pub struct Limits {
    /// Argon2id of the default cost, per second of all cores together.
    pub argon2id: f64,
    /// The same per second of processor time.
    pub argon2id_per_core: f64,
    pub rs256_per_core: f64,
    pub es256_per_core: f64,
    /// People and groups that slapd yields per second in pages.
    pub paged: f64,
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub async fn measure(landscape: &Landscape) -> Limits {
    let (argon2id, argon2id_per_core) = argon2id();
    let random = SystemRandom::new();
    let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let mut signature = vec![0; rsa.public_modulus_len()];
    let message = [7; 900];
    let rs256_per_core =
        on_one_core(|| rsa.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature).expect("a signature"));
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let es256_per_core = on_one_core(|| {
        ec.sign(&random, &message).expect("a signature");
    });
    Limits { argon2id, argon2id_per_core, rs256_per_core, es256_per_core, paged: paged(landscape).await }
}

/// Argon2id of the default cost, on all cores: per second, and per second of processor time.
pub fn argon2id() -> (f64, f64) {
    on_all_cores(|| {
        let params = argon2::Params::new(19_456, 2, 1, Some(32)).expect("valid parameters");
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon2.hash_password_into(b"Secret-p00000!", b"sixteen bytes ..", &mut [0; 32]).expect("valid lengths");
    })
}

/// Per second, and per second of processor time.
fn on_all_cores(act: impl Fn() + Sync) -> (f64, f64) {
    let (before, started) = (cpu_time(std::process::id()), Instant::now());
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(|| count_until(started + SPAN, &act))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let cpu = cpu_time(std::process::id()) - before;
    (done as f64 / started.elapsed().as_secs_f64(), done as f64 / cpu.as_secs_f64())
}

fn on_one_core(mut act: impl FnMut()) -> f64 {
    let (before, end) = (cpu_time(std::process::id()), Instant::now() + SPAN);
    let mut done = 0;
    while Instant::now() < end {
        act();
        done += 1;
    }
    f64::from(done) / (cpu_time(std::process::id()) - before).as_secs_f64()
}

fn count_until(end: Instant, act: impl Fn()) -> usize {
    let mut done = 0;
    while Instant::now() < end {
        act();
        done += 1;
    }
    done
}

/// A connection of the service account.
pub async fn connect(slapd: &Slapd, bound: bool) -> Connection {
    let trust = Trust::new(&[slapd.ca_file()]).expect("the directory's CA");
    let url = slapd.ldaps_url().parse().expect("an address");
    let mut connection = Connection::open(&url, &trust, DEADLINE).await.expect("a connection");
    connection.set_deadline(DEADLINE);
    if bound {
        let account = ServiceAccount {
            dn: slapd.service_dn().parse().expect("a name"),
            password: PlainPassword::new(slapd.service_password().to_owned()).expect("may be typed"),
        };
        connection.bind(&account).await.expect("the service account");
    }
    connection
}

fn root() -> DistinguishedName {
    SUFFIX.parse().expect("a name")
}

/// Entries per second; the better of two readings, and a program in C as a second opinion.
async fn paged(landscape: &Landscape) -> f64 {
    let mut best: f64 = 0.0;
    for _ in 0..2 {
        let mut connection = connect(&landscape.slapd, true).await;
        let (started, mut entries) = (Instant::now(), 0);
        for class in ["inetOrgPerson", "groupOfNames"] {
            let search = Search {
                base: root(),
                scope: Scope::Subtree,
                filter: Filter::equal("objectClass", class),
                attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
            };
            let mut pages = connection.search_paged(search, PAGE_SIZE);
            while let Some(page) = pages.next_page().await.expect("a page") {
                entries += page.entries.len();
            }
        }
        best = best.max(entries as f64 / started.elapsed().as_secs_f64());
    }
    let slapd = &landscape.slapd;
    let mut command = tokio::process::Command::new("ldapsearch");
    command.env("LDAPTLS_CACERT", slapd.ca_file()).env("LDAPTLS_REQCERT", "demand");
    command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &slapd.ldaps_url().replace("localhost", "127.0.0.1")]);
    command.args(["-D", &slapd.service_dn(), "-w", slapd.service_password(), "-b", SUFFIX]);
    command.args([
        "-E",
        &format!("pr={PAGE_SIZE}/noprompt"),
        "(|(objectClass=inetOrgPerson)(objectClass=groupOfNames))",
    ]);
    let started = Instant::now();
    let status = command.args(ATTRIBUTES).stdout(std::process::Stdio::null()).status().await.expect("ldap-utils");
    assert!(status.success(), "ldapsearch: {status}");
    best.max(landscape.objects() as f64 / started.elapsed().as_secs_f64())
}

/// Where an entry is found by its anchor, and the password that opens it.
#[derive(Clone)]
pub struct Account {
    anchor: String,
    dn: DistinguishedName,
    password: PlainPassword,
}

/// The accounts of these people, by one search each.
pub async fn accounts(slapd: &Slapd, people: &[Person]) -> Vec<Account> {
    let mut connection = connect(slapd, true).await;
    let mut accounts = Vec::with_capacity(people.len());
    for person in people {
        let dn: DistinguishedName = person.dn.parse().expect("a name");
        let entry = connection.read(&dn, vec!["entryUUID".to_owned()]).await.expect("a read").expect("an entry");
        let anchor = entry.text("entryuuid").expect("slapd sets it").to_owned();
        let password = PlainPassword::new(person.password.clone()).expect("may be typed");
        accounts.push(Account { anchor, dn, password });
    }
    accounts
}

/// Two kept connections: one to search on, one to bind on.
pub struct Pair {
    search: Connection,
    bind: Connection,
}

impl Pair {
    pub async fn open(slapd: &Slapd) -> Self {
        Self { search: connect(slapd, true).await, bind: connect(slapd, false).await }
    }

    /// What a live check asks the directory: the entry by its anchor, then whether the password opens it.
    pub async fn check(&mut self, account: &Account) {
        let attributes = ["entryUUID", "pwdAccountLockedTime", "pwdChangedTime", "pwdPolicySubentry", "pwdReset"];
        let search = Search {
            base: root(),
            scope: Scope::Subtree,
            filter: Filter::equal("entryUUID", &account.anchor),
            attributes: attributes.map(str::to_owned).to_vec(),
        };
        assert_eq!(self.search.search(search).await.expect("an answer").len(), 1);
        assert_eq!(self.bind.simple_bind(&account.dn, &account.password).await.expect("an answer").code, 0);
    }
}
