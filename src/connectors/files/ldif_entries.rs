//! Entries of LDIF files as objects. Change records name entries by DN and tell differences, so that they are laid over
//! what the complete file and earlier changes show; only entries that changes touch are held in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::folder::{FileState, OpenFile, check_size};
use super::ldif::{Modification, Operation, Reader, Record, Values};
use super::pages::Sink;
use super::{ReadError, Reading, SetPlan};
use crate::config::LdifSet;
use crate::identity::{DistinguishedName, fold};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::{Hidden, ImportedObject, Reference};

/// An entry as the files show it.
#[derive(Clone, Debug)]
struct Entry {
    dn: DistinguishedName,
    attributes: BTreeMap<Attribute, Vec<Vec<u8>>>,
}

/// A change with its place in a file.
struct Change {
    place: String,
    record: Record,
    /// Told by this import, not by an earlier one.
    new: bool,
}

pub fn read(reading: &Reading<'_>, set: &LdifSet, plan: &SetPlan, sink: &mut Sink) -> Result<(), ReadError> {
    if !reading.full && plan.new.is_empty() {
        return Ok(());
    }
    check_size(&plan.complete, plan.told.iter().chain(&plan.new))?;
    let mut changes = Vec::new();
    for (files, new) in [(&plan.told, false), (&plan.new, true)] {
        for file in files {
            read_changes(reading, file, new, &mut changes, sink)?;
        }
    }
    if !reading.full && !changes.iter().any(|change| change.new) {
        return Ok(());
    }
    let touched = Touched::by(&changes);
    let mut ground = Ground { set, entries: BTreeMap::new() };
    read_complete(reading, set, plan, &touched, &mut ground, sink)?;
    let mut affected = BTreeSet::new();
    for change in changes {
        let concerned = match ground.apply(change.record) {
            Ok(concerned) => concerned,
            Err(Unapplied { reason, hides }) => {
                if change.new {
                    sink.refused(change.place, reason, hides)?;
                }
                continue;
            }
        };
        if change.new {
            affected.extend(concerned);
        }
    }
    if reading.full {
        for entry in ground.entries.values() {
            tell(reading, set, entry, sink)?;
        }
        return Ok(());
    }
    let mut there = HashSet::new();
    for entry in ground.entries.values() {
        if let Some(anchor) = anchor_of(set, entry)
            && affected.contains(&anchor)
        {
            tell(reading, set, entry, sink)?;
            there.insert(anchor);
        }
    }
    for anchor in affected.into_iter().filter(|anchor| !there.contains(anchor)) {
        sink.deleted(anchor)?;
    }
    Ok(())
}

/// Which entries of the complete file changes may need.
struct Touched {
    named: BTreeSet<String>,
    subtrees: Vec<DistinguishedName>,
}

impl Touched {
    fn by(changes: &[Change]) -> Self {
        let mut touched = Self { named: BTreeSet::new(), subtrees: Vec::new() };
        for change in changes {
            let Ok(dn) = dn_of(&change.record).parse::<DistinguishedName>() else { continue };
            touched.named.insert(dn.folded());
            if matches!(change.record, Record::Rename { .. }) {
                touched.subtrees.push(dn);
            }
        }
        touched
    }

    fn has(&self, dn: &DistinguishedName) -> bool {
        self.named.contains(&dn.folded()) || self.subtrees.iter().any(|base| dn.is_within(base))
    }
}

fn dn_of(record: &Record) -> &str {
    match record {
        Record::Entry { dn, .. }
        | Record::Add { dn, .. }
        | Record::Delete { dn }
        | Record::Modify { dn, .. }
        | Record::Rename { dn, .. } => dn,
    }
}

fn read_changes(
    reading: &Reading<'_>,
    file: &FileState,
    new: bool,
    changes: &mut Vec<Change>,
    sink: &mut Sink,
) -> Result<(), ReadError> {
    each_record(reading, file, |place, record| {
        match record {
            Ok(Record::Entry { .. }) if new => sink.refused_change(place, "the record has no changetype")?,
            // What an earlier import refused, it told.
            Ok(Record::Entry { .. }) => {}
            Ok(record) => changes.push(Change { place, record, new }),
            Err(reason) if new => sink.refused_change(place, reason)?,
            Err(_) => {}
        }
        Ok(())
    })
}

fn read_complete(
    reading: &Reading<'_>,
    set: &LdifSet,
    plan: &SetPlan,
    touched: &Touched,
    ground: &mut Ground<'_>,
    sink: &mut Sink,
) -> Result<(), ReadError> {
    let mut seen = HashSet::new();
    each_record(reading, &plan.complete, |place, record| {
        let told = |sink: &mut Sink, reason: String| match reading.full {
            true => sink.refused(place.clone(), reason, Hidden::Anybody),
            // The full import told it.
            false => Ok(()),
        };
        let entry = match record {
            Ok(Record::Entry { dn, attributes } | Record::Add { dn, attributes }) => Entry::new(&dn, attributes),
            Ok(_) => Err("a complete file holds entries, and no changes".to_owned()),
            Err(reason) => Err(reason),
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(reason) => return told(sink, reason),
        };
        if let Some(anchor) = anchor_of(set, &entry).filter(|_| type_of(set, &entry).is_some())
            && reading.full
            && !seen.insert(anchor.clone())
        {
            return sink.refused(place, "another entry has the same anchor", Hidden::Object(anchor));
        }
        if touched.has(&entry.dn) {
            ground.entries.insert(entry.dn.folded(), entry);
        } else if reading.full {
            tell(reading, set, &entry, sink)?;
        }
        Ok(())
    })
}

/// Calls `take` with the place and the record or the reason why it is none.
fn each_record(
    reading: &Reading<'_>,
    file: &FileState,
    mut take: impl FnMut(String, Result<Record, String>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let settings = reading.settings;
    let (open, body) = OpenFile::open(&settings.folder, file, settings.end_marker.as_deref())?;
    let mut records = Reader::new(body);
    while let Some(located) = records.next_record().map_err(|error| open.failed(error))? {
        let place = format!("{}:{}", open.name(), located.line);
        take(place, located.record.map_err(|error| error.to_string()))?;
    }
    open.unchanged()?;
    Ok(())
}

impl Entry {
    fn new(dn: &str, attributes: Vec<Values>) -> Result<Self, String> {
        let dn = parse(dn)?;
        let mut entry = Self { dn, attributes: BTreeMap::new() };
        for (name, values) in attributes {
            entry.attributes.entry(attribute(&name)).or_default().extend(values);
        }
        Ok(entry)
    }

    fn texts<'a>(&'a self, name: &Attribute) -> impl Iterator<Item = &'a str> {
        self.attributes.get(name).into_iter().flatten().filter_map(|value| std::str::from_utf8(value).ok())
    }
}

fn parse(dn: &str) -> Result<DistinguishedName, String> {
    dn.parse().map_err(|error| format!("`{dn}` is no distinguished name: {error}"))
}

/// `;binary` is about the transfer, not about the attribute (RFC 4522).
fn attribute(name: &str) -> Attribute {
    Attribute::new(name.strip_suffix(";binary").unwrap_or(name))
}

fn type_of(set: &LdifSet, entry: &Entry) -> Option<&'static str> {
    const CONTAINERS: [&str; 5] = ["organization", "domain", "dcobject", "container", "organizationalunit"];
    let classes: BTreeSet<String> = entry.texts(&"objectClass".into()).map(fold).collect();
    if classes.contains(&fold(&set.classes.user)) {
        Some("user")
    } else if classes.contains(&fold(&set.classes.group)) {
        Some("group")
    } else if classes.contains(&fold(&set.classes.container)) || CONTAINERS.iter().any(|class| classes.contains(*class))
    {
        Some("container")
    } else {
        None
    }
}

fn anchor_of(set: &LdifSet, entry: &Entry) -> Option<String> {
    if set.anchor.eq_ignore_ascii_case("dn") {
        return Some(entry.dn.folded());
    }
    let value = entry.attributes.get(&attribute(&set.anchor))?.first()?;
    Some(self::value(value).as_text().to_owned())
}

/// Text where the bytes are text.
fn value(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| Value::binary(bytes), Value::text)
}

/// Sends an entry as an object; entries of no known class are none.
fn tell(reading: &Reading<'_>, set: &LdifSet, entry: &Entry, sink: &mut Sink) -> Result<(), ReadError> {
    let Some(object_type) = type_of(set, entry) else { return Ok(()) };
    let Some(anchor) = anchor_of(set, entry) else {
        if object_type == "container" {
            // Those below find their place by name.
            return Ok(());
        }
        return sink.refused(entry.dn.to_string(), format!("it has no {}", set.anchor), Hidden::Anybody);
    };
    let mut attributes = Attributes::new();
    for (name, values) in &entry.attributes {
        if reading.keep.attribute(object_type, name) && !values.is_empty() {
            attributes.insert(name.clone(), values.iter().map(|bytes| value(bytes)).collect());
        }
    }
    // A value that is no DN refers to nothing.
    let targets =
        |name: &Attribute| entry.texts(name).filter_map(|text| text.parse().ok()).map(Reference::Dn).collect();
    let references = reading.keep.references(object_type).map(|name| (name.clone(), targets(name))).collect();
    sink.object(ImportedObject {
        anchor,
        dn: Some(entry.dn.clone()),
        object_type: object_type.to_owned(),
        container: object_type == "container",
        attributes,
        references,
    })
}

/// Why a change could not be carried out, and whom it may have been about.
struct Unapplied {
    reason: String,
    hides: Hidden,
}

impl Unapplied {
    /// No file shows the entry: the change made nobody.
    fn unknown(dn: &str) -> Self {
        Self { reason: format!("no file shows an entry {dn}"), hides: Hidden::Nobody }
    }
}

impl From<String> for Unapplied {
    fn from(reason: String) -> Self {
        Self { reason, hides: Hidden::Anybody }
    }
}

/// The entries that changes touch, by folded DN.
struct Ground<'a> {
    set: &'a LdifSet,
    entries: BTreeMap<String, Entry>,
}

impl Ground<'_> {
    /// Carries out a change; returns the anchors of the entries it concerns, before and after.
    fn apply(&mut self, record: Record) -> Result<Vec<String>, Unapplied> {
        match record {
            Record::Entry { dn, attributes } | Record::Add { dn, attributes } => {
                let entry = Entry::new(&dn, attributes)?;
                let before = self.entries.get(&entry.dn.folded()).and_then(|entry| anchor_of(self.set, entry));
                let after = anchor_of(self.set, &entry);
                self.entries.insert(entry.dn.folded(), entry);
                Ok(before.into_iter().chain(after).collect())
            }
            Record::Delete { dn } => {
                let entry = self.entries.remove(&parse(&dn)?.folded()).ok_or_else(|| Unapplied::unknown(&dn))?;
                Ok(anchor_of(self.set, &entry).into_iter().collect())
            }
            Record::Modify { dn, changes } => {
                let set = self.set;
                let entry = self.entries.get_mut(&parse(&dn)?.folded()).ok_or_else(|| Unapplied::unknown(&dn))?;
                let before = anchor_of(set, entry);
                changes.into_iter().for_each(|change| modify(entry, change));
                Ok(before.into_iter().chain(anchor_of(set, entry)).collect())
            }
            Record::Rename { dn, new_rdn, delete_old, new_superior } => {
                self.rename(&dn, &new_rdn, delete_old, new_superior.as_deref())
            }
        }
    }

    fn rename(
        &mut self,
        dn: &str,
        new_rdn: &str,
        delete_old: bool,
        new_superior: Option<&str>,
    ) -> Result<Vec<String>, Unapplied> {
        let old = parse(dn)?;
        if !self.entries.contains_key(&old.folded()) {
            return Err(Unapplied::unknown(dn));
        }
        let parent = match new_superior {
            Some(superior) => parse(superior)?,
            None => old.parent().ok_or_else(|| "the root has no name".to_owned())?,
        };
        let new = below(new_rdn, &parent)?;
        let moved: Vec<String> =
            self.entries.iter().filter(|(_, entry)| entry.dn.is_within(&old)).map(|(key, _)| key.clone()).collect();
        let mut entries: Vec<Entry> = moved.iter().filter_map(|key| self.entries.remove(key)).collect();
        let mut concerned = Vec::new();
        for entry in &mut entries {
            concerned.extend(anchor_of(self.set, entry));
            if entry.dn == old {
                rename_values(entry, &old, new_rdn, delete_old);
            }
            entry.dn = moved_dn(&entry.dn, &old, &new)?;
            concerned.extend(anchor_of(self.set, entry));
        }
        self.entries.extend(entries.into_iter().map(|entry| (entry.dn.folded(), entry)));
        Ok(concerned)
    }
}

fn below(rdn: &str, parent: &DistinguishedName) -> Result<DistinguishedName, String> {
    if parent.is_root() { parse(rdn) } else { parse(&format!("{rdn},{parent}")) }
}

/// The name that `dn`, which is `old` or lies below it, has when `old` becomes `new`.
fn moved_dn(
    dn: &DistinguishedName,
    old: &DistinguishedName,
    new: &DistinguishedName,
) -> Result<DistinguishedName, String> {
    if dn == old {
        return Ok(new.clone());
    }
    match (dn.rdn(), dn.parent()) {
        (Some(rdn), Some(parent)) => below(rdn, &moved_dn(&parent, old, new)?),
        _ => Err(format!("{dn} does not lie below {old}")),
    }
}

/// The value of the new RDN is there, that of the old one is gone when asked for. Of RDNs with several values the first
/// counts.
fn rename_values(entry: &mut Entry, old: &DistinguishedName, new_rdn: &str, delete_old: bool) {
    let pair = |rdn: &str| {
        let (name, value) = rdn.split_once('=')?;
        Some((attribute(name.trim()), value.trim().replace('\\', "").into_bytes()))
    };
    if delete_old && let Some((name, value)) = old.rdn().and_then(pair) {
        remove(entry, &name, &[value]);
    }
    if let Some((name, value)) = pair(new_rdn) {
        let values = entry.attributes.entry(name).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
}

fn modify(entry: &mut Entry, change: Modification) {
    let name = attribute(&change.attribute);
    match change.operation {
        Operation::Add => {
            let held = entry.attributes.entry(name).or_default();
            let mut known: HashSet<Vec<u8>> = held.iter().cloned().collect();
            held.extend(change.values.into_iter().filter(|value| known.insert(value.clone())));
        }
        Operation::Delete if change.values.is_empty() => {
            entry.attributes.remove(&name);
        }
        Operation::Delete => remove(entry, &name, &change.values),
        Operation::Replace => {
            entry.attributes.insert(name, change.values);
        }
    }
}

/// Values are compared without regard to case, as most attributes are.
fn remove(entry: &mut Entry, name: &Attribute, removed: &[Vec<u8>]) {
    let folded =
        |bytes: &[u8]| std::str::from_utf8(bytes).map_or_else(|_| bytes.to_vec(), |text| fold(text).into_bytes());
    let removed: HashSet<Vec<u8>> = removed.iter().map(|value| folded(value)).collect();
    if let Some(values) = entry.attributes.get_mut(name) {
        values.retain(|held| !removed.contains(&folded(held)));
    }
}
