//! A gateway whose people sign in at slapd, or at Active Directory, through agents, with their hashes synchronised as the backup.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::{self, Agent};
use crate::support::directory::{ALPHA, Directory, People, Person};
use crate::support::gateway::{self, Gateway};
use crate::support::lan::Lan;
use crate::support::ports::free_port;
use crate::support::samba::{CORP, Samba};
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
    pub premises: Premises,
    pub visitor: Visitor,
    pub people: Vec<Account>,
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

/// Accounts of the domain, by their numbers.
const ACCOUNTS: &str = "user";
const LOGS_EACH_BIND: &str = "log level = 1 auth_audit:3";

/// Somebody who signs in.
#[derive(Clone)]
pub struct Account {
    /// The directory's name of the entry.
    pub dn: String,
    /// `uid` or `sAMAccountName`.
    pub uid: String,
    pub upn: String,
    pub password: String,
}

impl Account {
    fn of_domain(samba: &Samba, number: usize) -> Self {
        let uid = format!("{ACCOUNTS}{number}");
        Self {
            dn: format!("CN={uid},OU=Staff,{}", samba.base()),
            upn: format!("{uid}@{}", samba.forest.realm),
            password: format!("Start-{number}-Pässwörd!"),
            uid,
        }
    }
}

impl From<Person> for Account {
    fn from(person: Person) -> Self {
        let Person { dn, uid, upn, password, .. } = person;
        Self { dn, uid, upn, password }
    }
}

/// The directory beside the agents.
pub enum Premises {
    Slapd(Box<Slapd>),
    ActiveDirectory(Samba),
}

impl Premises {
    /// How often the password of `person` was checked there.
    pub fn bind_count_of(&self, person: &Account) -> usize {
        match self {
            Self::Slapd(slapd) => slapd.bind_count_of(&person.dn),
            Self::ActiveDirectory(samba) => samba.bind_count_of(&person.uid),
        }
    }

    fn write_settings(&self, dir: &Path) {
        match self {
            Self::Slapd(slapd) => drop(agent::settings(dir, CONNECTOR, slapd)),
            Self::ActiveDirectory(samba) => agent::settings_beside_samba(dir, CONNECTOR, samba, ""),
        }
    }
}

/// What is to be set up around a directory.
struct Plan<'a> {
    domain: &'a str,
    backup: &'a str,
    /// Lines of the settings.
    failover: &'a str,
    agents: usize,
}

impl Plan<'_> {
    fn carry_out(self, lan: Option<Lan>, gateway: gateway::Builder, premises: Premises, people: Vec<Account>) -> Site {
        let Self { domain, backup, failover, agents } = self;
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
        let gateway = gateway.section(&section).hardening("sealed").start();
        gateway.cli(&["domain", "add", domain]);
        gateway.cli(&["domain", "verify", domain, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);
        let machine = |_| lan.as_ref().map(Lan::machine);
        let enrol = |machine| Agent::enrol_at(machine, &gateway, CONNECTOR, |dir| premises.write_settings(dir));
        let mut machines: Vec<_> = (0..agents).map(machine).map(enrol).collect();
        for agent in &mut machines {
            agent.connect(&gateway);
        }
        gateway.cli(&["domain", "set-method", domain, "pta", "--force"]);
        gateway.cli(&["domain", "set-failover", domain, "--backup", backup, "--mode", "automatic"]);
        let visitor = Visitor::register(&gateway);
        let site = Site { agents: machines, wire, gateway, premises, visitor, people, _lan: lan };
        // Until its first agent came, the connector was out of reach.
        site.wait_until_agents_serve_again();
        site
    }
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

    /// The same beside a domain controller of Active Directory.
    pub fn apart_in_active_directory(count: usize, agents: usize, backup: &str) -> Self {
        let lan = Lan::new();
        let address = lan.address().parse().expect("an address");
        let samba =
            Samba::start_at(address, CORP, &["get-changes", "get-changes-all", "deleted-objects"], LOGS_EACH_BIND);
        let people: Vec<_> = (0..count).map(|number| Account::of_domain(&samba, number)).collect();
        samba.add_users(ACCOUNTS, &people.iter().map(|person| person.password.clone()).collect::<Vec<_>>());
        let lines = "reach = \"agents\"\nconnect_deadline = \"3s\"";
        let gateway = Gateway::builder().samba(CONNECTOR, &samba).connector_lines(lines);
        let plan = Plan { domain: CORP.realm, backup, failover: HASTY, agents };
        plan.carry_out(Some(lan), gateway, Premises::ActiveDirectory(samba), people)
    }

    fn joined_by(lan: Option<Lan>, count: usize, agents: usize, backup: &str, failover: &str) -> Self {
        let directory = people(count);
        let slapd = Slapd::builder().directory(&directory).lockout_after(0);
        let slapd = lan.iter().fold(slapd, |slapd, lan| slapd.at(&lan.address())).start();
        let lines =
            format!("reach = \"agents\"\n{PATIENT}\npassword_policy = \"cn=default,ou=policies,{}\"", slapd::SUFFIX);
        let gateway = Gateway::builder().slapd(CONNECTOR, &slapd, &[ALPHA], &lines);
        let people = directory.people.into_iter().map(Account::from).collect();
        let plan = Plan { domain: ALPHA, backup, failover, agents };
        plan.carry_out(lan, gateway, Premises::Slapd(Box::new(slapd)), people)
    }

    /// Signs `person` in, or tells why not.
    pub async fn signs_in(&self, person: &Account) {
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
