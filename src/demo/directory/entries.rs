//! What the demonstration directory holds.

use std::collections::BTreeMap;

use base64::Engine as _;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::identity::{DistinguishedName, PlainPassword};

/// One entry: attribute names in their usual spelling, values as bytes.
#[derive(Clone, Debug)]
pub struct Entry {
    pub dn: DistinguishedName,
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or(&[], |(_, values)| values)
    }
}

/// A person of the demonstration.
#[derive(Clone, Debug)]
pub struct Person {
    pub uid: String,
    pub given_name: String,
    pub surname: String,
    pub mail: String,
    pub password: PlainPassword,
    /// Disabled in the directory, by the attribute that OpenLDAP's administrators use for it.
    pub disabled: bool,
}

/// All entries, in a fixed order.
#[derive(Clone, Debug)]
pub struct Entries {
    base: DistinguishedName,
    service: DistinguishedName,
    list: Vec<Entry>,
}

impl Entries {
    /// A tree below `base` with `people`, the given groups (name, member uids), and a service account.
    pub fn new(
        base: &DistinguishedName,
        people: &[Person],
        groups: &[(&str, Vec<&str>)],
        service_password: &PlainPassword,
    ) -> anyhow::Result<Self> {
        let (people_ou, groups_ou) = (base.child("ou", "people")?, base.child("ou", "groups")?);
        let service = base.child("cn", "gateway")?;
        let mut list = vec![
            entry(base.clone(), &[("objectClass", "organization"), ("o", "demonstration")]),
            entry(people_ou.clone(), &[("objectClass", "organizationalUnit"), ("ou", "people")]),
            entry(groups_ou.clone(), &[("objectClass", "organizationalUnit"), ("ou", "groups")]),
            entry(
                service.clone(),
                &[
                    ("objectClass", "person"),
                    ("cn", "gateway"),
                    ("sn", "gateway"),
                    ("userPassword", &ssha(service_password)),
                ],
            ),
        ];
        for person in people {
            let dn = people_ou.child("uid", &person.uid)?;
            let name = format!("{} {}", person.given_name, person.surname);
            let password = ssha(&person.password);
            let mut one = entry(
                dn,
                &[
                    ("objectClass", "inetOrgPerson"),
                    ("uid", &person.uid),
                    ("cn", &name),
                    ("displayName", &name),
                    ("givenName", &person.given_name),
                    ("sn", &person.surname),
                    ("mail", &person.mail),
                    ("userPassword", &password),
                ],
            );
            if person.disabled {
                one.attributes.insert("pwdAccountLockedTime".to_owned(), vec![b"000001010000Z".to_vec()]);
            }
            list.push(one);
        }
        for (name, members) in groups {
            let mut group = entry(groups_ou.child("cn", name)?, &[("objectClass", "groupOfNames"), ("cn", name)]);
            let mut values = Vec::new();
            for uid in members {
                values.push(people_ou.child("uid", uid)?.as_str().as_bytes().to_vec());
            }
            group.attributes.insert("member".to_owned(), values);
            list.push(group);
        }
        Ok(Self { base: base.clone(), service, list })
    }

    pub fn base(&self) -> &DistinguishedName {
        &self.base
    }

    /// The account that may read everything.
    pub fn service(&self) -> &DistinguishedName {
        &self.service
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter()
    }

    /// Whether `password` is the one of the entry `dn`. Entries without a password never match.
    pub fn verify(&self, dn: &DistinguishedName, password: &str) -> bool {
        let Some(entry) = self.list.iter().find(|entry| entry.dn == *dn) else { return false };
        let locked = !entry.values("pwdAccountLockedTime").is_empty();
        !locked && entry.values("userPassword").iter().any(|value| ssha_matches(value, password))
    }
}

fn entry(dn: DistinguishedName, attributes: &[(&str, &str)]) -> Entry {
    let mut map: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    // Stable over restarts, as a real directory's ids are.
    let uuid = Uuid::from_bytes(name_hash(&dn));
    map.insert("entryUUID".to_owned(), vec![uuid.to_string().into_bytes()]);
    for (name, value) in attributes {
        map.entry((*name).to_owned()).or_default().push(value.as_bytes().to_vec());
    }
    Entry { dn, attributes: map }
}

fn name_hash(dn: &DistinguishedName) -> [u8; 16] {
    let digest = Sha1::digest(dn.folded().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 5 and the RFC 9562 variant.
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

/// `{SSHA}`: the scheme that most OpenLDAP servers still hold.
fn ssha(password: &PlainPassword) -> String {
    let salt: [u8; 8] = rand::random();
    let digest = Sha1::new_with_prefix(password.expose().as_bytes()).chain_update(salt).finalize();
    let bytes: Vec<u8> = digest.iter().copied().chain(salt).collect();
    format!("{{SSHA}}{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn ssha_matches(value: &[u8], password: &str) -> bool {
    let decoded = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.strip_prefix("{SSHA}"))
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let Some((digest, salt)) = decoded.as_deref().and_then(|bytes| bytes.split_at_checked(20)) else { return false };
    let computed = Sha1::new_with_prefix(password.as_bytes()).chain_update(salt).finalize();
    computed.as_slice().ct_eq(digest).into()
}
