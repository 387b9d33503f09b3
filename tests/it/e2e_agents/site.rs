//! A gateway whose people sign in at slapd through agents, with their hashes synchronised as the backup.

use std::time::Duration;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::directory::{ALPHA, Directory, People, Person};
use crate::support::gateway::Gateway;
use crate::support::lan::Lan;
use crate::support::ports::free_port;
use crate::support::slapd::{self, Slapd};
use crate::support::visitor::{Outcome, Visitor};
use crate::support::wait::wait_until;
use crate::support::wire::Wire;

/// Short intervals, so that an outage is seen to end soon.
const HASTY: &str = "good_probes = 2\nprobe_interval = \"300ms\"";
/// As the product has them: what answers for some seconds only is not back.
pub const USUAL: &str = "good_probes = 3\nprobe_interval = \"2s\"";
/// Limits that the load of one test does not reach.
const SECTIONS: &str = "[lockout]\nfamiliar_limit = 1000\nunfamiliar_limit = 1000\n";
/// Deadlines that a machine keeps which builds and tests at the same time.
const PATIENT: &str = "bind_deadline = \"5s\"\nconnect_deadline = \"3s\"";
pub const CONNECTOR: &str = "corp";

pub struct Site {
    pub agents: Vec<Agent>,
    /// Between the agents and the gateway, unless they have machines of their own.
    pub wire: Wire,
    pub gateway: Gateway,
    pub slapd: Slapd,
    pub visitor: Visitor,
    pub people: Vec<Person>,
    /// What joins the agents' machines, if they have machines of their own.
    _lan: Option<Lan>,
}

/// Generated people whose names are all in one domain.
fn people(count: usize) -> Directory {
    let mut directory = People { people: count, groups: 1, ..People::default() }.generate();
    for person in &mut directory.people {
        person.upn = format!("{}@{ALPHA}", person.uid);
    }
    directory
}

impl Site {
    /// `agents` machines, enrolled and connected.
    pub fn open(count: usize, agents: usize, backup: &str) -> Self {
        Self::with(count, agents, backup, HASTY)
    }

    /// The same with these lines about failover.
    pub fn with(count: usize, agents: usize, backup: &str, failover: &str) -> Self {
        Self::joined_by(None, count, agents, backup, failover)
    }

    /// Each agent on a machine of its own, which reaches gateway and directory over a network.
    pub fn apart(count: usize, agents: usize, backup: &str) -> Self {
        Self::joined_by(Some(Lan::new()), count, agents, backup, HASTY)
    }

    fn joined_by(lan: Option<Lan>, count: usize, agents: usize, backup: &str, failover: &str) -> Self {
        let directory = people(count);
        let slapd = Slapd::builder().directory(&directory).lockout_after(0);
        let slapd = lan.iter().fold(slapd, |slapd, lan| slapd.at(&lan.address())).start();
        let lines =
            format!("reach = \"agents\"\n{PATIENT}\npassword_policy = \"cn=default,ou=policies,{}\"", slapd::SUFFIX);
        let port = free_port();
        let wire = Wire::to(port);
        let (listen, url) = match &lan {
            Some(lan) => (lan.address(), format!("https://{}:{port}", lan.address())),
            None => ("127.0.0.1".to_owned(), format!("https://localhost:{}", wire.port())),
        };
        let section = format!(
            "[agents]\nlisten = \"{listen}:{port}\"\nurl = \"{url}\"\nacknowledgement = \"1s\"\n\
             [failover]\n{failover}\n{SECTIONS}"
        );
        let gateway =
            Gateway::builder().slapd(CONNECTOR, &slapd, &[ALPHA], &lines).section(&section).hardening("sealed").start();
        gateway.cli(&["domain", "add", ALPHA]);
        gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);
        let mut machines: Vec<_> = (0..agents)
            .map(|_| match &lan {
                Some(lan) => Agent::enrol_on(lan.machine(), &gateway, CONNECTOR, &slapd),
                None => Agent::enrol(&gateway, CONNECTOR, &slapd),
            })
            .collect();
        for agent in &mut machines {
            agent.connect(&gateway);
        }
        gateway.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);
        gateway.cli(&["domain", "set-failover", ALPHA, "--backup", backup, "--mode", "automatic"]);
        let visitor = Visitor::register(&gateway);
        let site = Self { agents: machines, wire, gateway, slapd, visitor, people: directory.people, _lan: lan };
        // Until its first agent came, the connector was out of reach.
        site.wait_until_agents_serve_again();
        site
    }

    /// Signs `person` in, or tells why not.
    pub async fn signs_in(&self, person: &Person) {
        match self.visitor.sign_in(&person.upn, &person.password).await {
            Outcome::Signed(_) => {}
            other => tokio::task::block_in_place(|| {
                let logs: String = self.agents.iter().map(Agent::log).collect();
                panic!("{other:?}\n{}\n{}\n{logs}", self.last("sign-in"), self.gateway.log());
            }),
        }
    }

    /// The newest record of a kind.
    #[track_caller]
    pub fn last(&self, kind: &str) -> Value {
        let records = self.gateway.audit(1000);
        let found = records.into_iter().rev().find(|record| record["kind"] == kind);
        found.unwrap_or_else(|| panic!("no record of the kind {kind}"))
    }

    pub fn breaker_is_open(&self) -> bool {
        let status = self.gateway.cli(&["failover", "status"]);
        let connectors = status["connectors"].as_array().expect("connectors");
        connectors.iter().any(|connector| !connector["open_since"].is_null())
    }

    pub fn wait_until_agents_serve_again(&self) {
        wait_until("the breaker to close", Duration::from_secs(30), || (!self.breaker_is_open()).then_some(()));
    }
}
