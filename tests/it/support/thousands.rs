//! Thousands of people of a domain, who all have passwords: in three levels of containers, and in 200 groups, one of which
//! three quarters of them are in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use landbridge::identity::PlainPassword;
use landbridge::ldap::{Connection, ServiceAccount, Trust};

use super::samba::{SYNC_PASSWORD, Samba};

pub const UNITS: [&str; 3] = ["OU=Staff", "OU=Berlin,OU=Staff", "OU=Lab,OU=Berlin,OU=Staff"];
/// Containers whose people are the last ones: [`APART`] in each.
pub const PROJECT: &str = "OU=Project,OU=Staff";
pub const LEAVING: &str = "OU=Leaving,OU=Staff";
pub const APART: usize = 10;
/// Out of the connector's sight, and empty.
pub const OUTSIDE: &str = "OU=Outside";
pub const GROUPS: usize = 200;

const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to the controller, bound as the sync account.
pub async fn connection(samba: &Samba) -> Connection {
    let server = format!("ldaps://{}", samba.address).parse().expect("a url");
    let trust = Trust::new(&[samba.ca_file()]).expect("a certificate");
    let mut connection = Connection::open(&server, &trust, DEADLINE).await.expect("the controller listens");
    let account = ServiceAccount {
        dn: samba.sync_account_name().parse().expect("a name"),
        password: PlainPassword::new(SYNC_PASSWORD.to_owned()).expect("may be typed"),
    };
    connection.bind(&account).await.expect("its password");
    connection
}

/// Fills a domain with people `p0`, `p1` ... and groups `g0`, `g1` ...; everybody's password, by account.
pub fn fill(samba: &Samba, people: usize) -> BTreeMap<String, String> {
    let base = samba.base();
    let mut ldif = String::new();
    for unit in UNITS.iter().skip(1).chain(&[PROJECT, LEAVING, OUTSIDE]) {
        writeln!(ldif, "dn: {unit},{base}\nchangetype: add\nobjectClass: organizationalUnit\n").expect("a string");
    }
    samba.ldif(&ldif);
    let person = |number| (format!("p{number}"), format!("Start-{number}-Pässwörd!"));
    let accounts: Vec<(String, String)> = (0..people).map(person).collect();
    samba.add_people(
        accounts
            .iter()
            .enumerate()
            .map(|(number, (account, password))| (account.as_str(), unit_of(number, people), password.as_str())),
    );
    let mut ldif = String::new();
    for group in 0..GROUPS {
        let head = format!("dn: CN=g{group},OU=Staff,{base}\nchangetype: add\nobjectClass: group\n");
        write!(ldif, "{head}sAMAccountName: g{group}\ndisplayName: g{group}\n").expect("a string");
        for member in members(group, people) {
            writeln!(ldif, "member: CN=p{member},{},{base}", unit_of(member, people)).expect("a string");
        }
        ldif.push('\n');
    }
    samba.ldif(&ldif);
    accounts.into_iter().collect()
}

/// The container of a person.
pub fn unit_of(number: usize, people: usize) -> &'static str {
    match people - number {
        1..=APART => LEAVING,
        rest if rest <= 2 * APART => PROJECT,
        _ => UNITS[number % UNITS.len()],
    }
}

/// Who is in a group: three quarters of all in the first, one in 200 in the others.
pub fn members(group: usize, people: usize) -> Vec<usize> {
    let is_member = |number: &usize| if group == 0 { *number < people / 4 * 3 } else { number % GROUPS == group };
    (0..people).filter(is_member).collect()
}
