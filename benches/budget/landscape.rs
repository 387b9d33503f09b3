//! The directory that all rows share, and gateways in front of it. A fixed seed: the same count gives the same entries.

use std::io::{self, Write};
use std::time::Duration;

use crate::support::directory::{ALPHA, BETA, DUPLICATE_UPN, People, Person, line};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::postgres::Postgres;
use crate::support::slapd::{SUFFIX, Slapd};

pub struct Landscape {
    pub users: usize,
    pub groups: usize,
    pub memberships: usize,
    pub slapd: Slapd,
    people: People,
}

#[derive(Clone, Copy, Debug)]
pub enum Store {
    Sqlite,
    Postgres,
}

/// Attributes that bring a person to 40 populated ones; the rules read few of them, as in real directories.
const FURTHER: [&str; 26] = [
    "title",
    "departmentNumber",
    "employeeType",
    "telephoneNumber",
    "mobile",
    "pager",
    "homePhone",
    "facsimileTelephoneNumber",
    "street",
    "postOfficeBox",
    "postalCode",
    "postalAddress",
    "homePostalAddress",
    "physicalDeliveryOfficeName",
    "ou",
    "o",
    "st",
    "l",
    "roomNumber",
    "initials",
    "businessCategory",
    "carLicense",
    "preferredLanguage",
    "labeledURI",
    "destinationIndicator",
    "description",
];
/// Members of an ordinary group.
const MEMBERS: usize = 95;
/// People who may sign in; no row wants more of them.
const VISITING: usize = 20_000;
/// What slapd may map for a database of a million people, who take some 10 GiB.
const ROOM: &str = "maxsize 68719476736";
/// A million people are more than a directory holds that nobody has set up for them.
const QUOTA: &str = "[directory]\nobject_quota = 10000000";
/// What the largest set may take at most for one run.
const LONGEST_COMMAND: Duration = Duration::from_secs(7_200);

impl Landscape {
    pub fn start(users: usize) -> Self {
        let people = People { people: users, groups: 0, other_scheme_every: usize::MAX, ..People::default() };
        let groups = users / 10;
        let memberships = (0..groups).map(|group| members(users, group)).sum();
        let slapd = Slapd::builder().conf(ROOM).entries({
            let people = people.clone();
            move |ldif| entries(&people, groups, ldif)
        });
        Self { users, groups, memberships, slapd: slapd.start(), people }
    }

    /// The person of this index, below [`Self::users`].
    pub fn person(&self, index: usize) -> Person {
        self.people.person(index)
    }

    /// The entry of this person, as LDIF.
    pub fn entry(&self, index: usize) -> String {
        entry(&self.people, index)
    }

    /// How often something is done that is done `full` times on 10,000 users or more: a small set is for a quick look.
    pub fn times(&self, full: usize) -> usize {
        (full * self.users.min(10_000) / 10_000).max(20)
    }

    /// Objects of the import: people and groups.
    pub fn objects(&self) -> usize {
        self.users + self.groups
    }

    /// A gateway with its domains verified and its rules active, before the first import. The hash pass and the engine
    /// run when told.
    pub fn gateway(&self, store: Store, hardening: &str, connector: &str) -> Gateway {
        self.gateway_with(store, hardening, connector, "")
    }

    /// The same with further sections of its settings.
    pub fn gateway_with(&self, store: Store, hardening: &str, connector: &str, sections: &str) -> Gateway {
        let builder = match store {
            Store::Sqlite => Gateway::builder().store("sqlite:data"),
            Store::Postgres => Gateway::builder().store(&Postgres::start().fresh_database()),
        };
        let metrics = format!("metrics_listen = \"127.0.0.1:{}\"", free_port());
        let builder = builder.hardening(hardening).gateway_line(&metrics).section(QUOTA).section(sections);
        let mut gateway = builder.slapd("corp", &self.slapd, &[ALPHA, BETA], connector).start();
        gateway.patience(LONGEST_COMMAND);
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        for algorithm in ["ES256", "RS256"] {
            let redirect = crate::browser::REDIRECT;
            gateway.cli(&[
                "client",
                "add",
                algorithm,
                "--public",
                "--redirect-uri",
                redirect,
                "--algorithm",
                algorithm,
            ]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway
    }

    /// People who sign in by password hash.
    pub fn alpha(&self) -> Vec<Person> {
        self.of(ALPHA)
    }

    /// People who sign in by pass-through, once their domain does.
    pub fn beta(&self) -> Vec<Person> {
        self.of(BETA)
    }

    fn of(&self, domain: &str) -> Vec<Person> {
        // The other half is changed by the sync rows.
        let ordinary = (2 * DUPLICATE_UPN..VISITING.min(self.users / 2)).map(|index| self.person(index));
        ordinary.filter(|person| person.upn.ends_with(&format!("@{domain}"))).collect()
    }
}

/// Containers, people and groups, written one by one.
fn entries(people: &People, groups: usize, ldif: &mut dyn Write) -> io::Result<()> {
    let users = people.people;
    for container in ["berlin", "lyon", "oslo"] {
        ldif.write_all(line("dn", &format!("ou={container},ou=people,{SUFFIX}")).as_bytes())?;
        write!(ldif, "objectClass: organizationalUnit\nou: {container}\n\n")?;
    }
    for index in 0..users {
        ldif.write_all(entry(people, index).as_bytes())?;
    }
    for group in 0..groups {
        write!(ldif, "dn: cn=group{group:05},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: group{group:05}\n")?;
        for member in 0..members(users, group) {
            // The members of ordinary groups are spread over everybody.
            let index = if group == 0 { member } else { (group * 7 + member * (users / MEMBERS)) % users };
            ldif.write_all(line("member", &people.dn(index)).as_bytes())?;
        }
        ldif.write_all(b"\n")?;
    }
    Ok(())
}

fn entry(people: &People, index: usize) -> String {
    people.person(index).ldif(&further(people, index))
}

/// How many members a group has: the first one half of all people.
fn members(users: usize, group: usize) -> usize {
    if group == 0 { users / 2 } else { MEMBERS.min(users) }
}

fn further(people: &People, index: usize) -> String {
    let mut text = String::new();
    for attribute in FURTHER {
        let value = match attribute {
            "preferredLanguage" => "de".to_owned(),
            "labeledURI" => format!("https://people.example/{index}"),
            "destinationIndicator" => "DE".to_owned(),
            _ if attribute.contains("hone") || ["mobile", "pager"].contains(&attribute) => format!("+49 30 {index:07}"),
            _ => format!("{attribute} {}", index % 997),
        };
        text += &line(attribute, &value);
    }
    if index.is_multiple_of(5) {
        text += &line("manager", &people.dn(index / 10));
    }
    text
}
