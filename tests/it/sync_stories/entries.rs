//! What happens in a directory, as text: records of `name: value` lines, separated by empty lines.
//!
//! A record is an entry as it is from now on. Its first lines say what it is: `dn`, `type` (the word of the rule files),
//! and `guid`, a short label that stands for its immutable id. With `change: modify` it names only the attributes that
//! change, one without a value is removed; `change: move` with `to` renames, with all below it; `change: delete` removes.
//! What lies below a container `OU=Outside` is not read.
//! `repeat: 1-20` makes twenty records, in which `%n` is the number.
//!
//! Ids and security identifiers are written readably (`guid: ada`, `objectSid: S-1-5-21-1-1001`) and are bytes in the
//! directory. In Active Directory an entry has a security identifier, whether a record names one or not.

use std::collections::BTreeMap;

use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{ImportedObject, Reference};

use super::scripted::Directory;

/// Attributes whose values are names of other entries.
const REFERENCES: [&str; 3] = ["member", "manager", "managedBy"];
const SIDS: [&str; 3] = ["objectSid", "msExchMasterAccountSid", "msRTCSIP-OriginatorSid"];
const GUIDS: [&str; 2] = ["objectGUID", "mS-DS-ConsistencyGuid"];

/// Carries out all records of `text`.
pub fn happen(directory: &Directory, kind: &str, text: &str) {
    for record in text.split("\n\n").map(str::trim).filter(|record| !record.is_empty()) {
        for record in repeated(record) {
            carry_out(directory, kind, &Record::read(&record));
        }
    }
}

fn repeated(record: &str) -> Vec<String> {
    let line = record.lines().find(|line| line.starts_with("repeat:"));
    let Some(line) = line else { return vec![record.to_owned()] };
    let (first, last) = line["repeat:".len()..].trim().split_once('-').expect("repeat: FIRST-LAST");
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let rest: Vec<&str> = record.lines().filter(|other| *other != line).collect();
    (number(first)..=number(last)).map(|n| rest.join("\n").replace("%n", &n.to_string())).collect()
}

#[derive(Default)]
struct Record {
    dn: String,
    object_type: String,
    guid: String,
    change: String,
    to: String,
    lines: Vec<(String, String)>,
}

impl Record {
    fn read(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no `name: value`: {line}"));
            let value = value.trim().to_owned();
            match name {
                "dn" => record.dn = value,
                "type" => record.object_type = value,
                "guid" => record.guid = value,
                "change" => record.change = value,
                "to" => record.to = value,
                _ => record.lines.push((name.to_owned(), value)),
            }
        }
        assert!(!record.dn.is_empty(), "a record begins with `dn`: {text}");
        record
    }

    /// The attributes and references that its lines name; those without a value are there and empty.
    fn named(&self) -> (Attributes, BTreeMap<Attribute, Vec<Reference>>) {
        let (mut attributes, mut references) = (Attributes::new(), BTreeMap::new());
        for (name, value) in &self.lines {
            if REFERENCES.contains(&name.as_str()) {
                let all: &mut Vec<Reference> = references.entry(name.as_str().into()).or_default();
                all.extend((!value.is_empty()).then(|| Reference::Dn(value.parse().expect("a dn"))));
            } else {
                let all: &mut Vec<Value> = attributes.entry(name.as_str().into()).or_default();
                all.extend((!value.is_empty()).then(|| stored(name, value)));
            }
        }
        (attributes, references)
    }
}

fn carry_out(directory: &Directory, kind: &str, record: &Record) {
    let anchor = || directory.anchor_of(&record.dn).unwrap_or_else(|| panic!("nobody is called {}", record.dn));
    let (attributes, references) = record.named();
    match record.change.as_str() {
        "delete" => directory.delete(&anchor()),
        "move" => directory.rename(&anchor(), &record.to),
        "modify" => directory.change(&anchor(), |entry| {
            landbridge::sync::space::apply(&mut entry.attributes, &attributes);
            entry.references.extend(references);
        }),
        "" => {
            assert!(!record.guid.is_empty() && !record.object_type.is_empty(), "{}: `type` and `guid`", record.dn);
            let mut entry = ImportedObject {
                anchor: record.guid.clone(),
                dn: Some(record.dn.parse().expect("a dn")),
                object_type: record.object_type.clone(),
                container: record.object_type == "container",
                attributes,
                references,
            };
            let id = match kind {
                "ad" => ("objectGUID", stored("objectGUID", &record.guid)),
                _ => ("entryUUID", Value::text(record.guid.clone())),
            };
            entry.attributes.entry(id.0.into()).or_insert_with(|| vec![id.1]);
            if kind == "ad" && !entry.container && record.object_type != "contact" {
                let number: u32 =
                    record.guid.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
                let own = || vec![stored("objectSid", &format!("S-1-5-21-7-{number}"))];
                entry.attributes.entry("objectSid".into()).or_insert_with(own);
            }
            entry.attributes.retain(|_, values| !values.is_empty());
            // A directory tells a group's members, also that it has none.
            if record.object_type == "group" {
                entry.references.entry("member".into()).or_default();
            }
            directory.put(entry);
        }
        other => panic!("{}: there is no change `{other}`", record.dn),
    }
}

/// A value as the directory holds it.
fn stored(name: &str, text: &str) -> Value {
    match name {
        _ if GUIDS.contains(&name) => {
            let mut bytes = text.as_bytes().to_vec();
            assert!(bytes.len() <= 16, "{text}: at most 16 characters");
            bytes.resize(16, 0);
            Value::binary(&bytes)
        }
        _ if SIDS.contains(&name) => Value::binary(&sid(text)),
        "userCertificate" => Value::binary(text.as_bytes()),
        _ => Value::text(text),
    }
}

/// MS-DTYP section 2.4.2.
fn sid(text: &str) -> Vec<u8> {
    let parts: Vec<u64> = text.split('-').skip(1).map(|part| part.parse().expect("S-1-AUTHORITY-NUMBERS")).collect();
    let [revision, authority, numbers @ ..] = parts.as_slice() else { panic!("no SID: {text}") };
    let mut bytes = vec![u8::try_from(*revision).expect("1"), u8::try_from(numbers.len()).expect("few")];
    bytes.extend_from_slice(&authority.to_be_bytes()[2..]);
    for number in numbers {
        bytes.extend_from_slice(&u32::try_from(*number).expect("32 bits").to_le_bytes());
    }
    bytes
}

/// The label of an id that [`stored`] made, in base64 or as it is.
pub fn label(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    let label: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != 0).collect();
    let padded = bytes.len() == 16 && bytes[label.len()..].iter().all(|byte| *byte == 0);
    match String::from_utf8(label) {
        Ok(label) if padded && !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic()) => label,
        _ => text.to_owned(),
    }
}
