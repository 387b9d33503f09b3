//! A gateway before a domain with as many people as wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use landbridge::credential::pool::PoolSize;
use landbridge::credential::{Hardening, HashingPool, KeyRing};
use landbridge::identity::{
    Answer, ConnectorName, CredentialSource, PlainPassword, SourceAnchor, SystemClock, Verdict,
};
use landbridge::password_sync::{Sealer, StoredHashes};
use landbridge::signin::authority::{Admission, HashCheck as _};
use landbridge::store::audit::AuditLog;
use landbridge::store::credentials::Credentials;
use landbridge::store::values::StoreValues;
use landbridge::store::{Database, Room};
use serde_json::Value;

use super::site::RIGHTS;
use crate::support::gateway::Gateway;
use crate::support::passwords::nt_hash;
use crate::support::samba::{CORP, Samba};
use crate::support::store::NoAlerts;
use crate::support::thousands;

const NODE: &str = "node1";

pub struct Estate {
    pub samba: Samba,
    pub gateway: Gateway,
    pub base: String,
    pub people: usize,
    /// Everybody's password, by account.
    pub passwords: BTreeMap<String, String>,
    started: Instant,
}

impl Estate {
    /// Everything is there, and nothing was imported.
    pub fn open(people: usize) -> Self {
        let started = Instant::now();
        let samba = Samba::start(CORP, &RIGHTS);
        let base = samba.base();
        let passwords = thousands::fill(&samba, people);
        let gateway = Gateway::builder().samba("corp", &samba).hardening("sealed").start();
        gateway.cli(&["domain", "add", CORP.realm]);
        gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        let estate = Self { samba, gateway, base, people, passwords, started };
        estate.step("the domain stands");
        estate
    }

    /// Says how long everything took so far; seen with `--nocapture`.
    pub fn step(&self, what: &str) {
        eprintln!("[{:4} s] {what}", self.started.elapsed().as_secs());
    }

    /// A cycle that must complete; its steps.
    #[track_caller]
    pub fn run(&self, profile: &str) -> Vec<Value> {
        let answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        self.step(profile);
        answer["steps"].as_array().expect("steps").clone()
    }

    /// A pass of the password channel that must come to its end; its counts.
    #[track_caller]
    pub fn pass(&self) -> Value {
        let passes = self.gateway.cli(&["password-sync", "run"]);
        assert!(passes[0]["error"].is_null(), "{passes:#}");
        self.step("hashes");
        passes[0]["report"].clone()
    }

    /// `oid` and display name of everybody who is there, by the name before the `@`.
    pub fn users(&self) -> BTreeMap<String, (String, String)> {
        let listed = self.gateway.cli(&["user", "list", "--domain", CORP.realm]);
        let text = |user: &Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
        let users = listed.as_array().expect("users").iter();
        users
            .map(|user| {
                let upn = text(user, "upn");
                let name = upn.split('@').next().unwrap_or_default();
                (name.to_owned(), (text(user, "oid"), text(user, "display_name")))
            })
            .filter(|(name, _)| name.starts_with('p'))
            .collect()
    }

    pub fn user(&self, name: &str) -> Value {
        self.gateway.cli(&["user", "show", &format!("{name}@{}", CORP.realm)])
    }

    pub fn groups_of(&self, name: &str) -> BTreeSet<String> {
        let shown = self.user(name);
        let groups = shown["groups"].as_array().expect("groups").iter();
        groups.filter_map(|group| group.as_str().map(str::to_owned)).collect()
    }

    /// What the gateway knows of the object with this name, relative to the domain.
    pub fn object(&self, name: &str) -> Value {
        self.gateway.cli(&["sync", "object", &format!("corp:{name},{}", self.base)])
    }

    /// Another client of the same protocol reads the hashes of [`Self::passwords`].
    #[track_caller]
    pub fn directory_has_them(&self) {
        let read = self.samba.hashes_by_impacket();
        for (account, password) in &self.passwords {
            let hash = nt_hash(password).to_lowercase();
            assert_eq!(read.get(account), Some(&hash), "{account}");
        }
        self.step("the same hashes by another client");
    }

    /// Whose stored hash is that of the password given, of all in `passwords`: checked by the product over the gateway's
    /// own store and keys.
    pub async fn verified(&self, passwords: &BTreeMap<String, String>) -> BTreeSet<String> {
        let url = format!("sqlite:{}", self.gateway.folder().join("data").display());
        let db = Database::open(&url.parse().expect("a url"), Room::Gateway).await.expect("it opens");
        let tenant = StoreValues::new(db.clone()).read("tenant").await.expect("a store").expect("a tenant");
        let clock = Arc::new(SystemClock);
        let audit = AuditLog::new(db.clone(), NODE.parse().expect("an id"), clock.clone());
        let sealer = Sealer {
            tenant,
            ring: Arc::new(KeyRing::load(&self.gateway.folder().join("key-ring")).expect("a key ring")),
            pool: HashingPool::new(PoolSize { cores: 2, memory_kib: 1 << 20, each_kib: 19_456 }),
            hardening: Hardening::Sealed,
        };
        let hashes = &StoredHashes::new(Arc::new(Credentials::new(db, audit)), Arc::new(NoAlerts), sealer, clock);
        let guids = self.samba.guids();
        let connector: ConnectorName = "corp".parse().expect("a name");
        let check = async |(account, typed): (&String, &String)| {
            let guid: uuid::Uuid = guids[account].parse().expect("a GUID");
            let anchor = SourceAnchor::from_binary(&guid.to_bytes_le()).expect("an anchor");
            let source = CredentialSource { connector: connector.clone(), anchor };
            let password = PlainPassword::new(typed.clone()).expect("may be typed");
            let admission = Admission { familiar: true, network: None, patience: Duration::from_secs(60) };
            match hashes.check(Some(&source), &password, admission).await.answer {
                Answer::Verdict(Verdict::Verified) => Some(account.clone()),
                Answer::Verdict(Verdict::Refused(_)) => None,
                Answer::Unavailable(reason) => panic!("{account}: {reason:?}"),
            }
        };
        let verified = stream::iter(passwords).map(check).buffer_unordered(4).filter_map(async |account| account);
        let verified = verified.collect().await;
        self.step("stored hashes checked");
        verified
    }

    /// Everybody's stored hash is that of the present password.
    pub async fn all_are_stored(&self) {
        let verified = self.verified(&self.passwords).await;
        let missing: Vec<&String> = self.passwords.keys().filter(|account| !verified.contains(*account)).collect();
        assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), self.passwords.len());
    }
}

/// What the exports of a cycle sent.
pub fn sent(steps: &[Value]) -> i64 {
    let exports = steps.iter().filter(|step| step["kind"] == "export");
    exports.flat_map(|step| step["counters"].as_object().expect("counters").values()).filter_map(Value::as_i64).sum()
}

/// A count of the export of a cycle.
pub fn exported(steps: &[Value], counter: &str) -> i64 {
    let exports = steps.iter().filter(|step| step["kind"] == "export");
    exports.filter_map(|step| step["counters"][counter].as_i64()).sum()
}
