//! Which objects an import has met.

use crate::sync::space::ObjectId;

/// A bitmap over object ids.
#[derive(Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    pub fn insert(&mut self, id: ObjectId) {
        let (word, bit) = Self::position(id);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    pub fn contains(&self, id: ObjectId) -> bool {
        let (word, bit) = Self::position(id);
        self.0.get(word).is_some_and(|bits| bits & (1 << bit) != 0)
    }

    fn position(id: ObjectId) -> (usize, u32) {
        let id = id.0.unsigned_abs();
        ((id / 64) as usize, (id % 64) as u32)
    }
}
