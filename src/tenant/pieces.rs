//! Cuts a batch into pieces that may be applied one after another: who lets a unique value go stays together with who
//! wants it, so that each piece can be judged on its own end state. A value that many share and nobody lets go of, as when
//! thousands are exported with one address, joins nobody: the first gets it in any order of pieces.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::export::{Action, ExportChange};
use super::matching::{Record, draft, name_of};
use super::read_set::ReadSet;
use super::unique::UniqueKind;
use crate::identity::Timestamp;

/// The pieces, as indices into `changes`: users before groups, at most `size` changes each unless more belong together.
pub fn pieces(changes: &[ExportChange], read: &ReadSet, now: Timestamp, size: usize) -> Vec<Vec<usize>> {
    let mut sets = DisjointSets::new(changes.len());
    let mut first: HashMap<(Option<UniqueKind>, String), usize> = HashMap::new();
    let values: Vec<Touches> = changes.iter().map(|change| touches(change, read, now)).collect();
    let left: HashSet<&Value> = values.iter().flat_map(|touches| &touches.left).collect();
    for (index, touches) in values.iter().enumerate() {
        for value in touches.left.iter().chain(touches.wanted.iter().filter(|value| left.contains(value))) {
            match first.get(value) {
                Some(other) => sets.join(*other, index),
                None => {
                    first.insert(value.clone(), index);
                }
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut place: HashMap<usize, usize> = HashMap::new();
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|index| matches!(changes[*index].action, Action::PutGroup(_) | Action::DeleteGroup));
    for index in order {
        let slot = *place.entry(sets.root(index)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[slot].push(index);
    }
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    for group in groups {
        match pieces.last_mut() {
            Some(piece) if piece.len() + group.len() <= size => piece.extend(group),
            Some(_) | None => pieces.push(group),
        }
    }
    pieces
}

/// A unique value, or an anchor.
type Value = (Option<UniqueKind>, String);

/// What a change means to others.
#[derive(Default)]
struct Touches {
    /// What its object has and wants no longer; its anchor, which two changes of a batch may not share.
    left: Vec<Value>,
    wanted: Vec<Value>,
}

fn touches(change: &ExportChange, read: &ReadSet, now: Timestamp) -> Touches {
    let mut touches = Touches { left: vec![(None, change.object.source_anchor.clone())], wanted: Vec::new() };
    // Ids of new objects play no part in their values.
    let Ok(draft) = draft(change, None, read, now, &mut || Uuid::nil()) else { return touches };
    let held = draft.before.as_ref().map(Record::held).unwrap_or_default();
    let mut wanted = draft.after.wanted();
    if let Record::User(user) = &draft.after
        && user.deleted_at.is_none()
    {
        wanted.extend(name_of(user, &read.rules).map(|name| (UniqueKind::Upn, name.upn.folded())));
    }
    let of_kind = |(kind, value): &(UniqueKind, String)| (Some(*kind), value.clone());
    touches.left.extend(held.difference(&wanted).map(of_kind));
    touches.wanted.extend(wanted.iter().map(of_kind));
    touches
}

/// Union-find with path halving.
struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}
