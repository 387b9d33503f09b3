//! The scratch paper of one batch: what was read, and what the passes made of it.
//!
//! The passes change the workspace only; [`Workspace::into_batch`] tells what differs from what was read. Nothing
//! differs when nothing changed, so a repeated synchronisation commits nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::change_set::SyncBatch;
use super::join_key::JoinKey;
use super::metaverse::{MvId, MvObject};
use super::problem::Problem;
use super::rule::RuleSet;
use super::space::{ObjectId, PendingExport, SpaceObject};
use super::trace::Trace;

/// A row as it was read and as it is now.
#[derive(Clone, Debug)]
struct Tracked<T> {
    before: Option<T>,
    now: Option<T>,
}

impl<T: Clone> Tracked<T> {
    fn read(row: T) -> Self {
        Self { before: Some(row.clone()), now: Some(row) }
    }
}

/// Ids reserved for this batch.
#[derive(Clone, Debug)]
pub struct IdBlock {
    next: i64,
    end: i64,
}

impl IdBlock {
    pub fn new(first: i64, count: i64) -> Self {
        Self { next: first, end: first + count }
    }

    pub fn left(&self) -> i64 {
        self.end - self.next
    }

    /// The next id; `None` when the block is used up.
    pub fn take(&mut self) -> Option<i64> {
        let id = self.next;
        (id < self.end).then(|| {
            self.next += 1;
            id
        })
    }
}

#[derive(Clone, Debug)]
pub struct Workspace {
    objects: BTreeMap<ObjectId, Tracked<SpaceObject>>,
    metaverse: BTreeMap<MvId, Tracked<MvObject>>,
    members: BTreeMap<MvId, BTreeSet<ObjectId>>,
    staged: BTreeMap<ObjectId, Tracked<PendingExport>>,
    waits: BTreeMap<ObjectId, Tracked<BTreeSet<JoinKey>>>,
    problems: BTreeMap<ObjectId, Tracked<BTreeSet<Problem>>>,
    /// Ids for what the passes create. The block is sized for the batch beforehand.
    pub ids: IdBlock,
    /// Keys by which objects were asked for, found or not.
    pub asked: HashSet<JoinKey>,
    /// Who listens to the passes.
    pub trace: Trace,
}

impl Workspace {
    pub fn new(ids: IdBlock) -> Self {
        Self {
            objects: BTreeMap::new(),
            metaverse: BTreeMap::new(),
            members: BTreeMap::new(),
            staged: BTreeMap::new(),
            waits: BTreeMap::new(),
            problems: BTreeMap::new(),
            ids,
            asked: HashSet::new(),
            trace: Trace::default(),
        }
    }

    pub fn read_objects(&mut self, objects: impl IntoIterator<Item = SpaceObject>) {
        for object in objects {
            if self.objects.contains_key(&object.id) {
                continue;
            }
            if let Some(mv) = object.mv {
                self.members.entry(mv).or_default().insert(object.id);
            }
            self.objects.insert(object.id, Tracked::read(object));
        }
    }

    pub fn read_metaverse(&mut self, objects: impl IntoIterator<Item = MvObject>) {
        for object in objects {
            self.metaverse.entry(object.id).or_insert_with(|| Tracked::read(object));
        }
    }

    pub fn read_staged(&mut self, exports: impl IntoIterator<Item = PendingExport>) {
        for export in exports {
            self.staged.entry(export.object).or_insert_with(|| Tracked::read(export));
        }
    }

    pub fn read_waits(&mut self, waits: impl IntoIterator<Item = (ObjectId, JoinKey)>) {
        let mut read: BTreeMap<ObjectId, BTreeSet<JoinKey>> = BTreeMap::new();
        for (object, key) in waits {
            read.entry(object).or_default().insert(key);
        }
        for (object, keys) in read {
            self.waits.entry(object).or_insert_with(|| Tracked::read(keys));
        }
    }

    pub fn read_problems(&mut self, problems: impl IntoIterator<Item = (ObjectId, Problem)>) {
        let mut read: BTreeMap<ObjectId, BTreeSet<Problem>> = BTreeMap::new();
        for (object, problem) in problems {
            read.entry(object).or_default().insert(problem);
        }
        for (object, set) in read {
            self.problems.entry(object).or_insert_with(|| Tracked::read(set));
        }
    }

    pub fn knows_mv(&self, id: MvId) -> bool {
        self.metaverse.contains_key(&id)
    }

    pub fn object(&self, id: ObjectId) -> Option<&SpaceObject> {
        self.objects.get(&id)?.now.as_ref()
    }

    pub fn object_mut(&mut self, id: ObjectId) -> Option<&mut SpaceObject> {
        self.objects.get_mut(&id)?.now.as_mut()
    }

    pub fn mv(&self, id: MvId) -> Option<&MvObject> {
        self.metaverse.get(&id)?.now.as_ref()
    }

    pub fn mv_mut(&mut self, id: MvId) -> Option<&mut MvObject> {
        self.metaverse.get_mut(&id)?.now.as_mut()
    }

    pub fn staged(&self, id: ObjectId) -> Option<&PendingExport> {
        self.staged.get(&id)?.now.as_ref()
    }

    pub fn object_ids(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.objects.keys().copied()
    }

    pub fn mv_ids(&self) -> impl Iterator<Item = MvId> + '_ {
        self.metaverse.keys().copied()
    }

    /// Objects linked to a metaverse object, in id order.
    pub fn members(&self, mv: MvId) -> Vec<ObjectId> {
        self.members.get(&mv).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    pub fn insert_object(&mut self, object: SpaceObject) {
        if let Some(mv) = object.mv {
            self.members.entry(mv).or_default().insert(object.id);
        }
        self.objects.insert(object.id, Tracked { before: None, now: Some(object) });
    }

    pub fn insert_mv(&mut self, object: MvObject) {
        self.metaverse.insert(object.id, Tracked { before: None, now: Some(object) });
    }

    pub fn remove_object(&mut self, id: ObjectId) {
        self.unlink(id);
        if let Some(tracked) = self.objects.get_mut(&id) {
            tracked.now = None;
        }
        self.unstage(id);
        self.set_waits(id, BTreeSet::new());
        self.set_problems(id, BTreeSet::new());
    }

    pub fn remove_mv(&mut self, id: MvId) {
        if let Some(tracked) = self.metaverse.get_mut(&id) {
            tracked.now = None;
        }
    }

    pub fn link(&mut self, object: ObjectId, mv: MvId, rule: &str) {
        if let Some(object) = self.object_mut(object) {
            object.mv = Some(mv);
            object.joined_by = Some(rule.to_owned());
        }
        self.members.entry(mv).or_default().insert(object);
    }

    /// Ends the link of an object; returns the metaverse object it was linked to.
    pub fn unlink(&mut self, id: ObjectId) -> Option<MvId> {
        let object = self.object_mut(id)?;
        let mv = object.mv.take()?;
        object.joined_by = None;
        if let Some(members) = self.members.get_mut(&mv) {
            members.remove(&id);
        }
        Some(mv)
    }

    /// Ends the link of a source object; what was to be written back to it is no longer wanted.
    pub fn withdraw(&mut self, id: ObjectId) {
        self.unlink(id);
        self.unstage(id);
    }

    pub fn stage(&mut self, export: PendingExport) {
        match self.staged.get_mut(&export.object) {
            Some(tracked) => tracked.now = Some(export),
            None => {
                self.staged.insert(export.object, Tracked { before: None, now: Some(export) });
            }
        }
    }

    pub fn unstage(&mut self, id: ObjectId) {
        if let Some(tracked) = self.staged.get_mut(&id) {
            tracked.now = None;
        }
    }

    pub fn set_waits(&mut self, id: ObjectId, keys: BTreeSet<JoinKey>) {
        set(&mut self.waits, id, keys);
    }

    /// Replaces the problems that synchronise finds; those of import and export stay.
    pub fn set_problems(&mut self, id: ObjectId, problems: BTreeSet<Problem>) {
        let kept = self.problems.get(&id).and_then(|tracked| tracked.now.clone()).unwrap_or_default();
        let kept = kept.into_iter().filter(|problem| !problem.code.is_of_synchronise());
        set(&mut self.problems, id, kept.chain(problems).collect());
    }

    pub fn add_problem(&mut self, id: ObjectId, problem: Problem) {
        let mut now = self.problems.get(&id).and_then(|tracked| tracked.now.clone()).unwrap_or_default();
        now.insert(problem);
        set(&mut self.problems, id, now);
    }

    /// What differs from what was read.
    pub fn into_batch(self, rules: &RuleSet) -> SyncBatch {
        let mut batch = SyncBatch::default();
        for (id, Tracked { before, now }) in self.objects {
            let target = |object: &SpaceObject| rules.capabilities(&object.connector).is_some_and(|c| c.exports);
            let moved = match (&before, &now) {
                (Some(before), Some(now)) => before.mv != now.mv || before.applied != now.applied,
                _ => true,
            };
            if let Some(object) = now.as_ref().or(before.as_ref())
                && moved
            {
                if target(object) {
                    let mvs = [&before, &now].into_iter().flatten().filter_map(|object| object.mv);
                    batch.moved_targets.extend(mvs);
                    batch.moved_target_objects.push(id);
                } else {
                    batch.moved_sources.push(id);
                }
            }
            match (before, now) {
                (None, Some(now)) => batch.inserted.push(now),
                (Some(before), Some(now)) if before != now => batch.updated.push(now),
                (Some(_), None) => batch.removed.push(id),
                _ => {}
            }
        }
        for (id, Tracked { before, now }) in self.metaverse {
            let keys = |object: &Option<MvObject>| object.as_ref().map(|o| rules.metaverse_keys(o)).unwrap_or_default();
            let (old, new) = (keys(&before), keys(&now));
            batch.keys_removed.extend(old.difference(&new).map(|key| (key.clone(), id)));
            batch.keys_added.extend(new.difference(&old).map(|key| (key.clone(), id)));
            match (before, now) {
                (before, Some(now)) if before.as_ref() != Some(&now) => batch.mv_written.push(now),
                (Some(_), None) => batch.mv_removed.push(id),
                _ => {}
            }
        }
        for (id, Tracked { before, now }) in self.staged {
            match (before, now) {
                (before, Some(now)) if before.as_ref() != Some(&now) => batch.staged.push(now),
                (Some(_), None) => batch.unstaged.push(id),
                _ => {}
            }
        }
        for (id, Tracked { before, now }) in self.waits {
            let (old, new) = (before.unwrap_or_default(), now.unwrap_or_default());
            batch.waits_removed.extend(old.difference(&new).map(|key| (id, key.clone())));
            batch.waits_added.extend(new.difference(&old).map(|key| (id, key.clone())));
        }
        for (id, Tracked { before, now }) in self.problems {
            let (old, new) = (before.unwrap_or_default(), now.unwrap_or_default());
            if old != new {
                batch.problems_of.push(id);
                batch.problems.extend(new.into_iter().map(|problem| (id, problem)));
            }
        }
        batch
    }
}

fn set<T: Clone + Default>(map: &mut BTreeMap<ObjectId, Tracked<T>>, id: ObjectId, value: T) {
    map.entry(id).or_insert_with(|| Tracked { before: None, now: None }).now = Some(value);
}
