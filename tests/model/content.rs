//! What a source directory holds, what happens in it, and the log by which it tells its changes.

use std::collections::{BTreeMap, BTreeSet};

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Container,
    User,
    Group,
    /// A row of the personnel database.
    Person,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::User => "user",
            Self::Group => "group",
            Self::Person => "person",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Container => 'o',
            Self::User => 'u',
            Self::Group => 'g',
            Self::Person => 'p',
        }
    }

    /// The RDN of the entry that is called by number `name`.
    fn rdn(self, name: u8) -> String {
        match self {
            Self::Container => format!("ou=o{name}"),
            Self::User => format!("uid=n{name}"),
            Self::Group => format!("cn=g{name}"),
            Self::Person => format!("p{name}"),
        }
    }
}

/// How a directory names the targets of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A reference follows its target when that is renamed, and goes with it. Nothing of this marks its owner as changed.
    Following,
    /// The same, and an owner whose reference went is marked as changed.
    FollowingAloud,
    /// A reference is a text that means whoever has the name.
    Text,
    /// The anchor of a row, which may not exist.
    Anchor,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    Entry(String),
    Text(String),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub anchor: String,
    pub kind: Kind,
    pub rdn: String,
    pub parent: Option<String>,
    pub attributes: BTreeMap<&'static str, BTreeSet<String>>,
    pub references: BTreeMap<&'static str, BTreeSet<Named>>,
}

/// What happens in a directory. Numbers name entries; what cannot be done is passed over, so that steps can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add {
        kind: Kind,
        entry: u8,
        name: u8,
        into: u8,
    },
    Remove {
        kind: Kind,
        entry: u8,
    },
    /// Renames and moves.
    Move {
        kind: Kind,
        entry: u8,
        name: u8,
        into: u8,
    },
    Set {
        kind: Kind,
        entry: u8,
        attribute: &'static str,
        value: Option<&'static str>,
    },
    /// For attributes of several values.
    Give {
        kind: Kind,
        entry: u8,
        attribute: &'static str,
        value: &'static str,
    },
    Refer {
        kind: Kind,
        entry: u8,
        attribute: &'static str,
        to: Target,
    },
    Unrefer {
        kind: Kind,
        entry: u8,
        attribute: &'static str,
        to: Target,
    },
    /// The container, and all below it, is not read any more.
    Untick {
        container: u8,
    },
    Tick {
        container: u8,
    },
    BackUp,
    /// The directory is as it was at its last backup.
    Restore,
}

/// Whom a reference names: an entry by its number or, where names are texts, by name and container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    pub number: u8,
    pub container: u8,
}

/// The data of a directory.
#[derive(Clone, Debug, Default)]
struct Data {
    entries: BTreeMap<String, Entry>,
    clock: u64,
    changed: BTreeMap<String, u64>,
    gone: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub struct Content {
    name: &'static str,
    naming: Naming,
    data: Data,
    backup: Option<Data>,
    /// Moves when the data were restored.
    pub incarnation: u64,
    /// Moves when other containers are read.
    pub settings: u64,
    unticked: BTreeSet<String>,
}

const ROOT: &str = "root";

impl Content {
    pub fn tree(name: &'static str, naming: Naming) -> Self {
        let mut content = Self::flat(name, naming);
        content.put(Entry {
            anchor: content.anchor_of(ROOT),
            kind: Kind::Container,
            rdn: format!("dc={name}"),
            parent: None,
            attributes: BTreeMap::new(),
            references: BTreeMap::new(),
        });
        content
    }

    pub fn flat(name: &'static str, naming: Naming) -> Self {
        Self {
            name,
            naming,
            data: Data::default(),
            backup: None,
            incarnation: 1,
            settings: 1,
            unticked: BTreeSet::new(),
        }
    }

    fn anchor_of(&self, local: &str) -> String {
        format!("{}-{local}", self.name)
    }

    pub fn anchor(&self, kind: Kind, number: u8) -> String {
        self.anchor_of(&format!("{}{number}", kind.letter()))
    }

    pub fn clock(&self) -> u64 {
        self.data.clock
    }

    pub fn entry(&self, anchor: &str) -> Option<&Entry> {
        self.data.entries.get(anchor)
    }

    pub fn anchors(&self) -> impl Iterator<Item = &String> {
        self.data.entries.keys()
    }

    pub fn is_tree(&self) -> bool {
        self.naming != Naming::Anchor
    }

    /// Anchors that changed or went after `since`, with the time of their last change, in its order.
    pub fn changes(&self, since: u64) -> Vec<(u64, String)> {
        let both = self.data.changed.iter().chain(&self.data.gone);
        let mut later: Vec<_> = both.filter(|(_, at)| **at > since).map(|(anchor, at)| (*at, anchor.clone())).collect();
        later.sort();
        later
    }

    pub fn depth(&self, anchor: &str) -> usize {
        self.ancestry(anchor).len()
    }

    /// The entry and what it lies in, from the bottom up.
    fn ancestry(&self, anchor: &str) -> Vec<&Entry> {
        let (mut line, mut next) = (Vec::new(), self.entry(anchor));
        while let Some(entry) = next {
            line.push(entry);
            next = entry.parent.as_ref().and_then(|parent| self.entry(parent));
        }
        line
    }

    pub fn dn(&self, anchor: &str) -> String {
        self.ancestry(anchor).iter().map(|entry| entry.rdn.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Whether the entry is there and read.
    pub fn shows(&self, anchor: &str) -> bool {
        let line = self.ancestry(anchor);
        !line.is_empty() && line.iter().all(|entry| !self.unticked.contains(&entry.anchor))
    }

    /// Entries that are read of a kind.
    pub fn shown(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.data.entries.values().filter(move |entry| entry.kind == kind && self.shows(&entry.anchor))
    }

    /// Everything below a container, itself included.
    pub fn below(&self, anchor: &str) -> Vec<String> {
        let inside = |entry: &&Entry| self.ancestry(&entry.anchor).iter().any(|above| above.anchor == anchor);
        self.data.entries.values().filter(inside).map(|entry| entry.anchor.clone()).collect()
    }

    /// The entry that a reference means, if it is read.
    pub fn referent(&self, named: &Named) -> Option<&Entry> {
        let anchor = match named {
            Named::Entry(anchor) => anchor.clone(),
            Named::Text(dn) => self.data.entries.keys().find(|anchor| self.dn(anchor) == *dn)?.clone(),
        };
        self.entry(&anchor).filter(|entry| self.shows(&entry.anchor))
    }

    fn touch(&mut self, anchor: &str) {
        self.data.clock += 1;
        self.data.changed.insert(anchor.to_owned(), self.data.clock);
        self.data.gone.remove(anchor);
    }

    fn put(&mut self, entry: Entry) {
        let anchor = entry.anchor.clone();
        self.data.entries.insert(anchor.clone(), entry);
        self.touch(&anchor);
    }

    fn drop_entry(&mut self, anchor: &str) {
        self.data.entries.remove(anchor);
        self.data.changed.remove(anchor);
        self.data.clock += 1;
        self.data.gone.insert(anchor.to_owned(), self.data.clock);
        let named = Named::Entry(anchor.to_owned());
        if !matches!(self.naming, Naming::Following | Naming::FollowingAloud) {
            return;
        }
        let mut owners = Vec::new();
        for entry in self.data.entries.values_mut() {
            let mut had = false;
            entry.references.values_mut().for_each(|named_by| had |= named_by.remove(&named));
            if had {
                owners.push(entry.anchor.clone());
            }
        }
        if self.naming == Naming::FollowingAloud {
            owners.iter().for_each(|owner| self.touch(owner));
        }
    }

    /// The container of a number, or the root.
    fn container(&self, number: u8) -> String {
        let anchor = self.anchor(Kind::Container, number);
        if self.data.entries.contains_key(&anchor) { anchor } else { self.anchor_of(ROOT) }
    }

    fn is_free(&self, parent: Option<&String>, rdn: &str, for_anchor: &str) -> bool {
        !self
            .data
            .entries
            .values()
            .any(|entry| entry.parent.as_ref() == parent && entry.rdn == rdn && entry.anchor != for_anchor)
    }

    fn named(&self, to: Target) -> Option<Named> {
        let anchor = self.anchor(to.kind, to.number);
        match self.naming {
            Naming::Anchor => Some(Named::Entry(anchor)),
            Naming::Following | Naming::FollowingAloud => self.entry(&anchor).map(|_| Named::Entry(anchor)),
            Naming::Text => {
                Some(Named::Text(format!("{},{}", to.kind.rdn(to.number), self.dn(&self.container(to.container)))))
            }
        }
    }

    fn edit(&mut self, kind: Kind, number: u8, edit: impl FnOnce(&mut Entry) -> bool) {
        let anchor = self.anchor(kind, number);
        let changed = self.data.entries.get_mut(&anchor).is_some_and(edit);
        if changed {
            self.touch(&anchor);
        }
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Add { kind, entry, name, into } => self.add(kind, entry, name, into),
            Change::Remove { kind, entry } => {
                let anchor = self.anchor(kind, entry);
                let mut below = self.below(&anchor);
                below.sort_by_key(|anchor| std::cmp::Reverse(self.depth(anchor)));
                below.iter().for_each(|anchor| self.drop_entry(anchor));
            }
            Change::Move { kind, entry, name, into } => self.relocate(kind, entry, name, into),
            Change::Set { kind, entry, attribute, value } => self.edit(kind, entry, |entry| {
                let values = value.map(|value| BTreeSet::from([value.to_owned()]));
                if entry.attributes.get(attribute) == values.as_ref() {
                    return false;
                }
                match values {
                    Some(values) => entry.attributes.insert(attribute, values),
                    None => entry.attributes.remove(attribute),
                };
                true
            }),
            Change::Give { kind, entry, attribute, value } => {
                self.edit(kind, entry, |entry| entry.attributes.entry(attribute).or_default().insert(value.to_owned()))
            }
            Change::Refer { kind, entry, attribute, to } => {
                let Some(named) = self.named(to) else { return };
                self.edit(kind, entry, |entry| entry.references.entry(attribute).or_default().insert(named));
            }
            Change::Unrefer { kind, entry, attribute, to } => {
                let Some(named) = self.named(to) else { return };
                self.edit(kind, entry, |entry| {
                    entry.references.get_mut(attribute).is_some_and(|held| held.remove(&named))
                });
            }
            Change::Untick { container } => {
                self.settings += u64::from(self.unticked.insert(self.anchor(Kind::Container, container)));
            }
            Change::Tick { container } => {
                let anchor = self.anchor(Kind::Container, container);
                self.settings += u64::from(self.unticked.remove(&anchor));
            }
            Change::BackUp => self.backup = Some(self.data.clone()),
            Change::Restore => {
                if let Some(backup) = self.backup.clone() {
                    self.data = backup;
                    self.incarnation += 1;
                }
            }
        }
    }

    fn add(&mut self, kind: Kind, number: u8, name: u8, into: u8) {
        let anchor = self.anchor(kind, number);
        let parent = self.is_tree().then(|| self.container(into));
        let rdn = if self.is_tree() { kind.rdn(name) } else { anchor.clone() };
        let below_itself = parent.as_ref() == Some(&anchor);
        if self.data.entries.contains_key(&anchor) || below_itself || !self.is_free(parent.as_ref(), &rdn, &anchor) {
            return;
        }
        let mut attributes = BTreeMap::new();
        let mut set = |name, value: String| {
            attributes.insert(name, BTreeSet::from([value]));
        };
        match kind {
            Kind::Container => {}
            Kind::User => {
                set("entryUUID", anchor.clone());
                set("cn", format!("Name {name}"));
                set("mail", format!("{}{number}@example.org", self.name));
                // The personnel database knows the people of the first directory.
                set("employeeNumber", format!("{}{number}", if self.name == "corp" { "E" } else { "L" }));
            }
            Kind::Group => {
                set("entryUUID", anchor.clone());
                set("cn", format!("Group {name}"));
            }
            Kind::Person => set("employeeNumber", format!("E{number}")),
        }
        self.put(Entry { anchor, kind, rdn, parent, attributes, references: BTreeMap::new() });
    }

    fn relocate(&mut self, kind: Kind, number: u8, name: u8, into: u8) {
        if !self.is_tree() {
            return;
        }
        let (anchor, parent, rdn) = (self.anchor(kind, number), self.container(into), kind.rdn(name));
        let below_itself = self.below(&anchor).contains(&parent);
        if below_itself || !self.is_free(Some(&parent), &rdn, &anchor) {
            return;
        }
        self.edit(kind, number, |entry| {
            let moved = entry.parent.as_ref() != Some(&parent) || entry.rdn != rdn;
            entry.parent = Some(parent);
            entry.rdn = rdn;
            moved
        });
    }
}
