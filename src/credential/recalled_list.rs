//! A list of leaked passwords that is asked for the same hashes again and again: what it said is kept, so that the disk is read
//! for each hash once.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::leaked_list::{Edition, LeakClass, LeakedList, LeakedListError, OpenList};
use super::scheme::NtHash;

pub struct RecalledList {
    list: LeakedList,
    kept: Mutex<Kept>,
}

/// The list as it was when it was opened.
pub struct Recalling<'l> {
    list: OpenList<File>,
    kept: MutexGuard<'l, Kept>,
}

/// What one edition of the list said, by a digest of the hash whose key is this process's.
#[derive(Default)]
struct Kept {
    edition: Option<Edition>,
    digests: RandomState,
    found: HashMap<u64, Option<LeakClass>>,
}

/// Answers that are kept: some eight megabytes. Hashes beyond are looked up each time.
const MOST_KEPT: usize = 200_000;

impl RecalledList {
    pub fn new(list: LeakedList) -> Self {
        Self { list, kept: Mutex::default() }
    }

    /// Opens the file that has the name now. One at a time.
    pub fn open(&self) -> Result<Recalling<'_>, LeakedListError> {
        let list = self.list.open()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.edition != Some(list.edition()) {
            *kept = Kept { edition: Some(list.edition()), ..Kept::default() };
        }
        Ok(Recalling { list, kept })
    }
}

impl Recalling<'_> {
    /// How often the password of this hash was met; `None` for one that is not listed.
    pub fn find(&mut self, hash: &NtHash) -> Result<Option<LeakClass>, LeakedListError> {
        let digest = self.kept.digests.hash_one(hash.expose());
        if let Some(found) = self.kept.found.get(&digest) {
            return Ok(*found);
        }
        let found = self.list.find(hash)?;
        if self.kept.found.len() < MOST_KEPT {
            self.kept.found.insert(digest, found);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_looked_up_once_in_each_edition_of_the_list() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ntlm.txt");
        let recalled = RecalledList::new(LeakedList::new(file.clone()));
        assert!(matches!(recalled.open().map(drop), Err(LeakedListError::Unreadable { .. })));
        let hashes = [NtHash::new([1; 16]), NtHash::new([2; 16])];
        let look = || {
            let mut list = recalled.open().expect("a list");
            hashes.each_ref().map(|hash| list.find(hash).expect("in order"))
        };
        let line = |byte: &str, count: u64| format!("{}:{count}\n", byte.repeat(16));
        std::fs::write(&file, line("01", 7)).expect("a file");
        assert_eq!(look(), [Some(LeakClass::BelowTen), None]);
        // The list is not asked again: its answers are.
        let mut kept = recalled.kept.lock().expect("no panic before");
        assert_eq!(kept.found.len(), 2);
        kept.found.values_mut().for_each(|found| *found = Some(LeakClass::Once));
        drop(kept);
        assert_eq!(look(), [Some(LeakClass::Once); 2]);
        std::fs::write(&file, line("01", 1000) + &line("02", 10)).expect("a file");
        assert_eq!(look(), [Some(LeakClass::Thousands), Some(LeakClass::BelowHundred)]);
    }
}
