//! The directory that all rows share, and gateways in front of it. A fixed seed: the same count gives the same entries.

use std::fmt::Write as _;

use crate::support::directory::{ALPHA, BETA, DUPLICATE_UPN, Directory, People, Person, line};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::slapd::{SUFFIX, Slapd};

pub struct Landscape {
    pub users: usize,
    pub groups: usize,
    pub memberships: usize,
    pub slapd: Slapd,
    pub directory: Directory,
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

impl Landscape {
    pub fn start(users: usize) -> Self {
        let people = People { people: users, groups: 0, other_scheme_every: usize::MAX, ..People::default() };
        let directory = people.generate();
        let groups = users / 10;
        let mut ldif = String::new();
        for container in ["berlin", "lyon", "oslo"] {
            ldif += &line("dn", &format!("ou={container},ou=people,{SUFFIX}"));
            ldif += &format!("objectClass: organizationalUnit\nou: {container}\n\n");
        }
        for (index, person) in directory.people.iter().enumerate() {
            ldif += &person.ldif(&further(&directory, index));
        }
        let mut memberships = 0;
        for group in 0..groups {
            write!(ldif, "dn: cn=group{group:05},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: group{group:05}\n")
                .expect("text");
            // The first group has half of all people; the others are spread over everybody.
            let members = if group == 0 { users / 2 } else { MEMBERS.min(users) };
            for member in 0..members {
                let index = if group == 0 { member } else { (group * 7 + member * (users / MEMBERS)) % users };
                ldif += &line("member", &directory.people[index].dn);
            }
            memberships += members;
            ldif += "\n";
        }
        let slapd = Slapd::builder().ldif(&ldif).start();
        Self { users, groups, memberships, slapd, directory }
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
        let builder = match store {
            Store::Sqlite => Gateway::builder().store("sqlite:data"),
            Store::Postgres => Gateway::builder().store(&Postgres::start().fresh_database()),
        };
        let gateway = builder.hardening(hardening).slapd("corp", &self.slapd, &[ALPHA, BETA], connector).start();
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
        let ordinary = self.directory.people.iter().take(self.users / 2).skip(2 * DUPLICATE_UPN);
        ordinary.filter(|person| person.upn.ends_with(&format!("@{domain}"))).cloned().collect()
    }
}

fn further(directory: &Directory, index: usize) -> String {
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
        text += &line("manager", &directory.people[index / 10].dn);
    }
    text
}
