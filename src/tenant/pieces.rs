//! Cuts a batch into pieces that may be applied one after another: changes that touch the same unique value stay
//! together, so that each piece can be judged on its own end state.

use std::collections::HashMap;

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
    for (index, change) in changes.iter().enumerate() {
        for value in values(change, read, now) {
            match first.get(&value) {
                Some(other) => sets.join(*other, index),
                None => {
                    first.insert(value, index);
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

/// The unique values that a change has or wants, and its anchor.
fn values(change: &ExportChange, read: &ReadSet, now: Timestamp) -> Vec<(Option<UniqueKind>, String)> {
    let mut values = vec![(None, change.object.source_anchor.clone())];
    // Ids of new objects play no part in their values.
    let Ok(draft) = draft(change, None, read, now, &mut || Uuid::nil()) else { return values };
    let held = draft.before.as_ref().map(Record::held).unwrap_or_default();
    let wanted = draft.after.wanted();
    values.extend(held.into_iter().chain(wanted).map(|(kind, value)| (Some(kind), value)));
    if let Record::User(user) = &draft.after {
        values.extend(name_of(user, &read.rules).map(|name| (Some(UniqueKind::Upn), name.upn.folded())));
    }
    values
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
