//! What of the directory a batch is judged on, read before it.

use std::collections::HashMap;

use super::domain::DomainRules;
use super::export::ObjectId;
use super::matching::Record;
use super::record::{GroupRecord, PlainRecord, UserRecord};
use super::soft_match::MatchPolicy;
use super::unique::{Holders, UniqueKind};
use crate::identity::{GroupId, SourceAnchor, Timestamp, UserId};

#[derive(Clone, Debug)]
pub struct ReadSet {
    pub rules: DomainRules,
    pub policy: MatchPolicy,
    /// Objects that may still be added.
    pub room: i64,
    users: HashMap<UserId, UserRecord>,
    groups: HashMap<GroupId, GroupRecord>,
    plains: HashMap<ObjectId, PlainRecord>,
    anchors: HashMap<SourceAnchor, ObjectId>,
    holders: HashMap<UniqueKind, Holders>,
    claimants: HashMap<(UniqueKind, String), Claimants>,
    nobody: Holders,
}

/// Who waits for a value, the longest wait first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimants {
    pub first: Vec<(Timestamp, ObjectId)>,
    /// How many were looked for.
    pub asked: usize,
    /// There are no others.
    pub all: bool,
}

/// What has to be read before the batch can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Values whose holders are unknown.
    pub holders: Vec<(UniqueKind, String)>,
    /// Values that become free, and how many of their claimants, with their records, are to be known: all at once may be
    /// thousands.
    pub claimants: Vec<(UniqueKind, String, usize)>,
    /// Objects whose records are unknown.
    pub records: Vec<ObjectId>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.claimants.is_empty() && self.records.is_empty()
    }
}

impl ReadSet {
    pub fn new(rules: DomainRules) -> Self {
        Self {
            rules,
            policy: MatchPolicy::default(),
            room: i64::MAX,
            users: HashMap::new(),
            groups: HashMap::new(),
            plains: HashMap::new(),
            anchors: HashMap::new(),
            holders: HashMap::new(),
            claimants: HashMap::new(),
            nobody: Holders::default(),
        }
    }

    pub fn add_user(&mut self, user: UserRecord) {
        self.anchors.extend(user.source_anchor.clone().map(|anchor| (anchor, user.id())));
        self.users.insert(user.oid, user);
    }

    pub fn add_group(&mut self, group: GroupRecord) {
        self.anchors.extend(group.source_anchor.clone().map(|anchor| (anchor, group.id())));
        self.groups.insert(group.oid, group);
    }

    pub fn add_plain(&mut self, plain: PlainRecord) {
        self.anchors.insert(plain.source_anchor.clone(), plain.id());
        self.plains.insert(plain.id(), plain);
    }

    pub fn set_holder(&mut self, kind: UniqueKind, value: String, holder: Option<ObjectId>) {
        self.holders.entry(kind).or_default().set(value, holder);
    }

    /// The quarantined claimants of a value; their records must be added too.
    pub fn set_claimants(&mut self, kind: UniqueKind, value: String, claimants: Claimants) {
        self.claimants.insert((kind, value), claimants);
    }

    pub fn record(&self, oid: ObjectId) -> Option<Record> {
        match oid {
            ObjectId::User(oid) => self.users.get(&oid).map(|user| Record::User(Box::new(user.clone()))),
            ObjectId::Group(oid) => self.groups.get(&oid).map(|group| Record::Group(Box::new(group.clone()))),
            ObjectId::Contact(_) | ObjectId::Device(_) => {
                self.plains.get(&oid).map(|plain| Record::Plain(Box::new(plain.clone())))
            }
        }
    }

    pub fn by_anchor(&self, anchor: &SourceAnchor) -> Option<Record> {
        self.anchors.get(anchor).and_then(|oid| self.record(*oid))
    }

    pub fn holders(&self, kind: UniqueKind) -> &Holders {
        self.holders.get(&kind).unwrap_or(&self.nobody)
    }

    pub fn claimants(&self, kind: UniqueKind, value: &str) -> Option<&Claimants> {
        self.claimants.get(&(kind, value.to_owned()))
    }
}
