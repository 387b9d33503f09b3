//! Generated people and nested groups, as LDIF for slapd. The same options give the same entries.
//!
//! Among the first people are the awkward ones that every sync has to cope with; see [`People`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest;

use super::passwords::{Scheme, nt_hash};

pub const ALPHA: &str = "alpha.example";
pub const BETA: &str = "beta.example";
/// A suffix that cannot be verified in any tenant.
pub const NON_ROUTABLE: &str = "corp.local";

/// The container that holds 30 % of the people.
pub const BIG_CONTAINER: &str = "berlin";
const CONTAINERS: [&str; 10] = ["berlin", "lyon", "oslo", "berlin", "oslo", "lyon", "berlin", "oslo", "lyon", "oslo"];

const GIVEN_NAMES: [&str; 12] =
    ["Zoë", "Jörg", "Łucja", "Ada", "François", "Ngọc", "Ødger", "Αλέξης", "Мария", "さくら", "Iñaki", "Grace"];
const SURNAMES: [&str; 11] =
    ["Müller", "Størk", "Dvořák", "Lovelace", "Gonçalves", "Nguyễn", "O'Brien", "Παππάς", "Иванова", "佐藤", "Hopper"];

/// The one whose userPrincipalName is that of [`DUPLICATED_UPN`].
pub const DUPLICATE_UPN: usize = 5;
pub const DUPLICATED_UPN: usize = 4;
/// The one without employeeNumber.
pub const MISSING_ANCHOR: usize = 6;
/// The one whose DN has a comma and letters outside ASCII.
pub const AWKWARD_DN: usize = 7;

/// What to generate. `employeeNumber` is the anchor attribute to choose; `mail` and `userPrincipalName` are equal.
#[derive(Clone, Debug)]
pub struct People {
    pub people: usize,
    /// At most one per person, since none is empty. Group `n` is a member of group `(n - 1) / 3`: 50 groups nest four levels deep.
    pub groups: usize,
    pub suffix: String,
    /// Every how many people a `userPassword` uses another scheme than `{SSHA}`.
    pub other_scheme_every: usize,
}

impl Default for People {
    fn default() -> Self {
        Self { people: 1_000, groups: 50, suffix: super::slapd::SUFFIX.to_owned(), other_scheme_every: 100 }
    }
}

#[derive(Clone, Debug)]
pub struct Person {
    pub uid: String,
    pub dn: String,
    pub given_name: String,
    pub surname: String,
    /// Value of both `mail` and `userPrincipalName`.
    pub upn: String,
    pub employee_number: Option<String>,
    pub container: &'static str,
    pub password: String,
    pub scheme: Scheme,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub cn: String,
    pub dn: String,
    /// Indices into [`Directory::groups`].
    pub member_groups: Vec<usize>,
    /// Indices into [`Directory::people`].
    pub member_people: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub suffix: String,
    pub people: Vec<Person>,
    pub groups: Vec<Group>,
}

/// `count` people and 50 groups with the defaults of [`People`].
pub fn people(count: usize) -> Directory {
    People { people: count, ..People::default() }.generate()
}

impl People {
    pub fn generate(&self) -> Directory {
        let people: Vec<Person> = (0..self.people).map(|index| self.person(index)).collect();
        let count = self.groups.min(self.people);
        let groups = (0..count)
            .map(|index| Group {
                cn: format!("group{index:02}"),
                dn: format!("cn=group{index:02},ou=groups,{}", self.suffix),
                member_groups: (index * 3 + 1..=index * 3 + 3).filter(|child| *child < count).collect(),
                member_people: (index..self.people).step_by(count).collect(),
            })
            .collect();
        Directory { suffix: self.suffix.clone(), people, groups }
    }

    /// The person of this index by itself, for sets that no memory should hold.
    pub fn person(&self, index: usize) -> Person {
        let uid = uid(index);
        let given_name = GIVEN_NAMES[index % GIVEN_NAMES.len()].to_owned();
        let surname = SURNAMES[index % SURNAMES.len()].to_owned();
        let container = CONTAINERS[index % CONTAINERS.len()];
        Person {
            dn: self.dn(index),
            upn: upn(if index == DUPLICATE_UPN { DUPLICATED_UPN } else { index }),
            employee_number: (index != MISSING_ANCHOR).then(|| format!("E{index:06}")),
            password: format!("Secret-{uid}!"),
            scheme: self.scheme(index),
            uid,
            given_name,
            surname,
            container,
        }
    }

    /// Where [`Self::person`] stands.
    pub fn dn(&self, index: usize) -> String {
        let rdn = if index == AWKWARD_DN {
            let (given_name, surname) = (GIVEN_NAMES[index % GIVEN_NAMES.len()], SURNAMES[index % SURNAMES.len()]);
            format!("cn={given_name}\\, {surname}")
        } else {
            format!("uid={}", uid(index))
        };
        format!("{rdn},ou={},ou=people,{}", CONTAINERS[index % CONTAINERS.len()], self.suffix)
    }

    fn scheme(&self, index: usize) -> Scheme {
        const OTHERS: [Scheme; 4] = [Scheme::Ssha512, Scheme::Pbkdf2Sha512, Scheme::Argon2, Scheme::CryptSha512];
        if index % self.other_scheme_every == self.other_scheme_every - 1 {
            OTHERS[index / self.other_scheme_every % OTHERS.len()]
        } else {
            Scheme::Ssha
        }
    }
}

fn uid(index: usize) -> String {
    format!("p{index:05}")
}

fn upn(index: usize) -> String {
    let domain = match index {
        _ if index % 100 == 3 => NON_ROUTABLE,
        _ if index.is_multiple_of(2) => ALPHA,
        _ => BETA,
    };
    format!("{}@{domain}", uid(index))
}

impl Person {
    /// The value of `cn` and `displayName`.
    pub fn display_name(&self) -> String {
        format!("{} {}", self.given_name, self.surname)
    }

    /// The entry as LDIF, with `extra` lines before its end.
    pub fn ldif(&self, extra: &str) -> String {
        let salt: [u8; 16] = sha2::Sha256::digest(&self.uid)[..16].try_into().expect("16 of 32 bytes");
        let mut entry = line("dn", &self.dn);
        entry += "objectClass: inetOrgPerson\nobjectClass: testPerson\nobjectClass: sambaSamAccount\n";
        entry += &line("uid", &self.uid);
        entry += &line("cn", &self.display_name());
        if self.dn.starts_with("cn=") {
            entry += &line("cn", &format!("{}, {}", self.given_name, self.surname));
        }
        entry += &line("displayName", &self.display_name());
        entry += &line("givenName", &self.given_name);
        entry += &line("sn", &self.surname);
        entry += &line("mail", &self.upn);
        entry += &line("userPrincipalName", &self.upn);
        if let Some(number) = &self.employee_number {
            entry += &line("employeeNumber", number);
        }
        entry += &line("userPassword", &self.scheme.hash(&self.password, &salt));
        entry += &line("sambaNTPassword", &nt_hash(&self.password));
        entry += &line("sambaSID", &format!("S-1-5-21-1-2-3-{}", &self.uid[1..]));
        entry + extra + "\n"
    }
}

impl Directory {
    /// Containers, people and groups, in an order that slapadd and ldapadd accept.
    pub fn ldif(&self) -> String {
        let mut text = String::new();
        for container in ["berlin", "lyon", "oslo"] {
            text += &line("dn", &format!("ou={container},ou=people,{}", self.suffix));
            text += &format!("objectClass: organizationalUnit\nou: {container}\n\n");
        }
        for person in &self.people {
            text += &person.ldif("");
        }
        for group in &self.groups {
            text += &line("dn", &group.dn);
            text += &format!("objectClass: groupOfNames\ncn: {}\n", group.cn);
            for dn in self.member_dns(group) {
                text += &line("member", dn);
            }
            text += "\n";
        }
        text
    }

    pub fn member_dns<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a str> {
        let groups = group.member_groups.iter().map(|index| self.groups[*index].dn.as_str());
        groups.chain(group.member_people.iter().map(|index| self.people[*index].dn.as_str()))
    }

    /// How many people stand in a container.
    pub fn count_in(&self, container: &str) -> usize {
        self.people.iter().filter(|person| person.container == container).count()
    }
}

/// One attribute as an LDIF line, in base64 when the value is not safe as it stands (RFC 2849).
pub fn line(attribute: &str, value: &str) -> String {
    let safe = value.is_ascii() && !value.contains(['\n', '\r', '\0']) && !value.starts_with([' ', ':', '<']);
    if safe && !value.ends_with(' ') {
        format!("{attribute}: {value}\n")
    } else {
        format!("{attribute}:: {}\n", STANDARD.encode(value))
    }
}
