//! A gateway whose people sign in at slapd, with their hashes synchronised as the backup.

use std::time::Duration;

use serde_json::Value;

use crate::support::directory::{ALPHA, Directory, People, Person};
use crate::support::gateway::Gateway;
use crate::support::slapd::{self, Slapd};
use crate::support::visitor::{Outcome, Visitor};
use crate::support::wait::wait_until;

/// Short intervals, so that an outage is seen to end soon; limits that the load of one test does not reach.
const SECTIONS: &str = "[failover]\nbarred_groups = [\"vault keepers\"]\ngood_probes = 2\nprobe_interval = \"300ms\"\n\
                        [lockout]\nfamiliar_limit = 1000\nunfamiliar_limit = 1000\n";
pub const DOMAIN: &str = ALPHA;
/// How long a bind may take, as the connector's default says.
pub const BIND_DEADLINE: Duration = Duration::from_secs(2);

pub struct Site {
    pub slapd: Slapd,
    pub gateway: Gateway,
    pub visitor: Visitor,
    pub people: Vec<Person>,
}

/// Generated people whose names are all in one domain.
pub fn people(count: usize) -> Directory {
    let mut directory = People { people: count, groups: 1, ..People::default() }.generate();
    for person in &mut directory.people {
        person.upn = format!("{}@{ALPHA}", person.uid);
    }
    directory
}

/// A directory that never locks, with `directory`'s people.
pub fn slapd(directory: &Directory) -> slapd::Builder {
    Slapd::builder().directory(directory).lockout_after(0)
}

impl Site {
    pub fn open(slapd: Slapd, directory: Directory, mode: &str) -> Self {
        let policy = format!("password_policy = \"cn=default,ou=policies,{}\"", slapd::SUFFIX);
        let gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA], &policy).section(SECTIONS).start();
        gateway.cli(&["domain", "add", ALPHA]);
        gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);
        gateway.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);
        gateway.cli(&["domain", "set-failover", ALPHA, "--backup", "phs", "--mode", mode]);
        let visitor = Visitor::register(&gateway);
        Self { slapd, gateway, visitor, people: directory.people }
    }

    pub async fn right(&self, person: &Person) -> Outcome {
        self.visitor.sign_in(&person.upn, &person.password).await
    }

    /// Whether slapd itself signs `person` in now.
    pub async fn is_served_by_slapd(&self, person: &Person) -> bool {
        let signed = self.right(person).await.signed();
        !self.visitor.tokens(&signed).await.by_backup()
    }

    /// The newest record of a kind.
    #[track_caller]
    pub fn last(&self, kind: &str) -> Value {
        let records = self.gateway.audit(1000);
        let found = records.into_iter().rev().find(|record| record["kind"] == kind);
        found.unwrap_or_else(|| panic!("no record of the kind {kind}"))
    }

    /// Why the newest sign-in ended as it did.
    #[track_caller]
    pub fn last_reason(&self) -> String {
        self.last("sign-in")["reason"].as_str().unwrap_or_default().to_owned()
    }

    pub fn breaker_is_open(&self) -> bool {
        let status = self.gateway.cli(&["failover", "status"]);
        let connectors = status["connectors"].as_array().expect("connectors");
        connectors.iter().any(|connector| !connector["open_since"].is_null())
    }

    pub fn alerts(&self) -> Vec<Value> {
        self.gateway.cli(&["failover", "status"])["alerts"].as_array().expect("alerts").clone()
    }

    pub fn wait_until_slapd_serves_again(&self) {
        wait_until("the breaker to close", Duration::from_secs(20), || (!self.breaker_is_open()).then_some(()));
    }

    /// Signs `person` in until the outage is confirmed and the backup answers.
    pub async fn confirm_outage_by(&self, person: &Person) {
        for _ in 0..5 {
            match self.right(person).await {
                Outcome::Signed(signed) => {
                    assert!(self.visitor.tokens(&signed).await.by_backup());
                    return;
                }
                Outcome::TryAgain => {}
                other => panic!("a right password is answered with {other:?}"),
            }
        }
        panic!("the outage is not confirmed");
    }
}
