//! Passwords that are known from leaks: the published list of their NT hashes, looked into without being read.
//!
//! The file is text, a line for each hash, in ascending order: 32 hexadecimal digits, a colon, and how often the password
//! was met. It has tens of gigabytes, so that a hash is searched for by halves, and a few kilobytes are read of it. It may be
//! replaced at any time: whoever opened it reads on in the former one.
//!
//! Where a search ends says what was searched for. No error names a place in the file for that reason, and nothing here is
//! logged; [`verify`] reads the file from end to end and tells the place of what is wrong with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::scheme::NtHash;
use crate::identity::causes;

/// A list that lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakedList {
    path: PathBuf,
}

/// Which of the files that had the list's name one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    length: u64,
    modified: Option<SystemTime>,
}

/// The list as it was when it was opened.
pub struct OpenList<R = File> {
    file: R,
    length: u64,
    shown: PathBuf,
}

/// How often a password was met in leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeakClass {
    Once,
    BelowTen,
    BelowHundred,
    BelowThousand,
    Thousands,
}

#[derive(Debug, thiserror::Error)]
pub enum LeakedListError {
    #[error("the list of leaked passwords {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the list of leaked passwords {} is not in order of its hashes", .0.display())]
    Unsorted(PathBuf),
    #[error("the list of leaked passwords {} has a line that is not 32 hexadecimal digits, a colon and a number", .0.display())]
    Malformed(PathBuf),
    #[error("the list of leaked passwords {} is empty", .0.display())]
    Empty(PathBuf),
}

impl LeakedListError {
    /// What failed, and what an operator can do about it.
    pub fn told(&self) -> String {
        format!("{}; {}", causes(self), self.remedy())
    }

    /// What an operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "correct its path in the settings, and let this process read it",
            Self::Unsorted(_) => "take the form that is ordered by hash, not by prevalence",
            Self::Malformed(_) | Self::Empty(_) => {
                "fetch it again, in the form NTLM ordered by hash; `landbridge password-sync check-list FILE` tells the line"
            }
        }
    }
}

/// Digits of a hash, and the longest line: a colon, a count of 20 digits, carriage return and line feed.
const DIGITS: usize = 32;
const LINE: u64 = DIGITS as u64 + 1 + 20 + 2;
/// What is read at once where the search ends.
const WINDOW: u64 = 4096;

type Hash = Zeroizing<[u8; 16]>;

impl LeakClass {
    const ALL: [Self; 5] = [Self::Once, Self::BelowTen, Self::BelowHundred, Self::BelowThousand, Self::Thousands];

    /// `None` for a hash that was met nowhere, as lists have them that are filled up.
    fn of(count: u64) -> Option<Self> {
        match count {
            0 => None,
            1 => Some(Self::Once),
            2..10 => Some(Self::BelowTen),
            10..100 => Some(Self::BelowHundred),
            100..1000 => Some(Self::BelowThousand),
            1000.. => Some(Self::Thousands),
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Once => "1",
            Self::BelowTen => "2-9",
            Self::BelowHundred => "10-99",
            Self::BelowThousand => "100-999",
            Self::Thousands => "1000+",
        }
    }

    /// The class by its code; `None` for any other text.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }
}

impl LeakedList {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Opens the file that has the name now.
    pub fn open(&self) -> Result<OpenList, LeakedListError> {
        let unreadable = |source| LeakedListError::Unreadable { path: self.path.clone(), source };
        // Whoever opens a pipe waits for its other end.
        if !std::fs::metadata(&self.path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is no regular file")));
        }
        let file = File::open(&self.path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        OpenList::new(file, length, &self.path)
    }

    /// Reads the whole file; tells the first line that is wrong, or how many there are.
    pub fn verify(&self) -> Result<u64, (u64, LeakedListError)> {
        let unreadable = |source| LeakedListError::Unreadable { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(|source| (0, unreadable(source)))?;
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let (mut text, mut number, mut last) = (Vec::new(), 0, None);
        loop {
            text.clear();
            // Of a file without lines no more is read than of one with them.
            let read = lines.by_ref().take(LINE + 1).read_until(b'\n', &mut text);
            match read.map_err(|source| (number, unreadable(source)))? {
                0 if number == 0 => return Err((0, LeakedListError::Empty(self.path.clone()))),
                0 => return Ok(number),
                _ => number += 1,
            }
            let (hash, _) = parse(&text).ok_or_else(|| (number, LeakedListError::Malformed(self.path.clone())))?;
            if last.is_some_and(|last: Hash| *last >= *hash) {
                return Err((number, LeakedListError::Unsorted(self.path.clone())));
            }
            last = Some(hash);
        }
    }
}

impl OpenList {
    pub fn edition(&self) -> Edition {
        let modified = self.file.metadata().and_then(|about| about.modified()).ok();
        Edition { length: self.length, modified }
    }
}

impl<R: Read + Seek> OpenList<R> {
    fn new(file: R, length: u64, shown: &Path) -> Result<Self, LeakedListError> {
        if length == 0 {
            return Err(LeakedListError::Empty(shown.to_owned()));
        }
        let mut list = Self { file, length, shown: shown.to_owned() };
        // A file in another order, or of another kind, is mostly told by its ends.
        let first = list.lines(0, 1)?.pop();
        let last = list.lines(length.saturating_sub(LINE), length)?.pop();
        match first.zip(last) {
            Some((first, last)) if *first.hash <= *last.hash => Ok(list),
            Some(_) => Err(list.unsorted()),
            None => Err(list.malformed()),
        }
    }

    /// How often the password of this hash was met; `None` for one that is not listed.
    pub fn find(&mut self, sought: &NtHash) -> Result<Option<LeakClass>, LeakedListError> {
        let mut wanted = Hash::default();
        wanted.copy_from_slice(sought.expose());
        // The line begins within [low, high), if there is one. What was met before and behind it bounds what may stand there.
        let (mut low, mut high) = (0, self.length);
        let (mut before, mut behind): (Option<Hash>, Option<Hash>) = (None, None);
        while high - low > WINDOW {
            let middle = low + (high - low) / 2;
            let mut met = self.lines(middle, middle + LINE)?.into_iter();
            let line = met.next().ok_or_else(|| self.malformed())?;
            if before.as_ref().is_some_and(|before| **before >= *line.hash)
                || behind.as_ref().is_some_and(|behind| **behind <= *line.hash)
            {
                return Err(self.unsorted());
            }
            if *line.hash < *wanted {
                (low, before) = (line.end, Some(line.hash));
            } else {
                (high, behind) = (line.end, None);
            }
        }
        let (mut last, mut found) = (before, None);
        for line in self.lines(low, high)? {
            if last.is_some_and(|last| *last >= *line.hash) {
                return Err(self.unsorted());
            }
            if *line.hash == *wanted {
                found = LeakClass::of(line.count);
            }
            last = Some(line.hash);
        }
        Ok(found)
    }

    /// The lines that begin within `from..to`, in the order of the file.
    fn lines(&mut self, from: u64, to: u64) -> Result<Vec<Line>, LeakedListError> {
        // From the octet before, which tells whether a line begins at `from`, to the longest end of the last line.
        let start = from.saturating_sub(1);
        let room = to.min(self.length).saturating_add(LINE).min(self.length) - start;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
        let read =
            self.file.seek(SeekFrom::Start(start)).and_then(|_| (&mut self.file).take(room).read_to_end(&mut bytes));
        read.map_err(|source| LeakedListError::Unreadable { path: self.shown.clone(), source })?;
        let mut at = 0;
        if from > 0 {
            match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => at = end + 1,
                // Beyond the last line, or within one that is none.
                None if start + room == self.length && room <= LINE + 1 => return Ok(Vec::new()),
                None => return Err(self.malformed()),
            }
        }
        let mut lines = Vec::new();
        while start + at as u64 != self.length && start + (at as u64) < to {
            let rest = &bytes[at..];
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            let (hash, count) = parse(&rest[..end]).ok_or_else(|| self.malformed())?;
            at += end;
            lines.push(Line { hash, count, end: start + at as u64 });
        }
        Ok(lines)
    }

    fn unsorted(&self) -> LeakedListError {
        LeakedListError::Unsorted(self.shown.clone())
    }

    fn malformed(&self) -> LeakedListError {
        LeakedListError::Malformed(self.shown.clone())
    }
}

struct Line {
    hash: Hash,
    count: u64,
    /// Where the next one begins.
    end: u64,
}

/// A line with its end, if it has one.
fn parse(line: &[u8]) -> Option<(Hash, u64)> {
    let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let (digits, count) = line.split_at_checked(DIGITS)?;
    let count = std::str::from_utf8(count.strip_prefix(b":")?).ok()?;
    let mut hash = Hash::default();
    hex::decode_to_slice(digits, hash.as_mut_slice()).ok()?;
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    Some((hash, count.parse().ok().filter(|_| is_number)?))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn hash(number: u128) -> NtHash {
        NtHash::new(number.to_be_bytes())
    }

    fn text(entries: &[(u128, u64)], end: &str, last: bool) -> Vec<u8> {
        let lines: Vec<_> = entries.iter().map(|(hash, count)| format!("{hash:032X}:{count}")).collect();
        let text = lines.join(end) + if last { end } else { "" };
        text.into_bytes()
    }

    fn open(text: &[u8]) -> Result<OpenList<Cursor<Vec<u8>>>, LeakedListError> {
        OpenList::new(Cursor::new(text.to_vec()), text.len() as u64, Path::new("list.txt"))
    }

    /// Hashes spread over the whole range, and a hash next to each of them that is not listed.
    fn entries(count: u128) -> Vec<(u128, u64)> {
        let step = u128::MAX / (count + 1);
        (1..=count).map(|number| (number * step, u64::try_from(number % 3000).unwrap_or(1) + 1)).collect()
    }

    #[test]
    fn every_line_is_found_and_nothing_between_them() {
        for count in [1, 2, 3, 111, 117, 118, 119, 400] {
            for (end, last) in [("\n", true), ("\n", false), ("\r\n", true), ("\r\n", false)] {
                let entries = entries(count);
                let mut list = open(&text(&entries, end, last)).expect("a list");
                for (number, count) in &entries {
                    assert_eq!(list.find(&hash(*number)).expect("in order"), LeakClass::of(*count));
                    for beside in [number - 1, number + 1] {
                        assert_eq!(list.find(&hash(beside)).expect("in order"), None);
                    }
                }
                for outside in [0, u128::MAX] {
                    assert_eq!(list.find(&hash(outside)).expect("in order"), None);
                }
            }
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is installed");
        assert!(made.success());
        for path in [pipe, folder.path().to_owned(), PathBuf::from("/dev/null"), folder.path().join("none")] {
            assert!(matches!(LeakedList::new(path).open(), Err(LeakedListError::Unreadable { .. })));
        }
    }

    #[test]
    fn counts_have_classes_and_a_count_of_nothing_is_no_leak() {
        let classes =
            [(1, "1"), (2, "2-9"), (9, "2-9"), (10, "10-99"), (100, "100-999"), (1000, "1000+"), (u64::MAX, "1000+")];
        for (count, code) in classes {
            let class = LeakClass::of(count).expect("a leak");
            assert_eq!((class.code(), LeakClass::from_code(code)), (code, Some(class)), "{count}");
        }
        let mut list = open(&text(&[(5, 0), (6, 1)], "\n", true)).expect("a list");
        assert_eq!(list.find(&hash(5)).expect("in order"), None);
        assert_eq!(LeakClass::from_code("many"), None);
    }

    #[test]
    fn other_files_are_refused_with_their_reason() {
        assert!(matches!(open(b""), Err(LeakedListError::Empty(_))));
        let lower = text(&[(0xabc, 3)], "\n", true).to_ascii_lowercase();
        assert!(open(&lower).expect("a list").find(&hash(0xabc)).expect("in order").is_some());
        let bad: [&[u8]; 7] = [
            b"\n",
            b"<html>\n",
            b"0123456789abcdef0123456789abcdef\n",
            b"0123456789abcdef0123456789abcdef:\n",
            b"0123456789abcdef0123456789abcdef:+1\n",
            b"0123456789abcdef0123456789abcdeg:1\n",
            b"0123456789abcdef0123456789abcdef01234567:1\n",
        ];
        for bad in bad {
            assert!(matches!(open(bad), Err(LeakedListError::Malformed(_))), "{}", String::from_utf8_lossy(bad));
        }
        let mut backwards = entries(300);
        backwards.reverse();
        assert!(matches!(open(&text(&backwards, "\n", true)), Err(LeakedListError::Unsorted(_))));
        // Two blocks in the wrong order, and a line that lies: whoever searches there meets them.
        let mut swapped = entries(3000);
        swapped[1..2999].rotate_left(1400);
        let mut list = open(&text(&swapped, "\n", true)).expect("its ends are in order");
        let met = entries(3000)
            .iter()
            .any(|(number, _)| matches!(list.find(&hash(*number)), Err(LeakedListError::Unsorted(_))));
        assert!(met);
    }

    #[test]
    fn a_whole_file_is_verified_line_by_line_and_the_first_bad_line_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        let list = LeakedList::new(path.clone());
        assert!(matches!(list.verify(), Err((0, LeakedListError::Unreadable { .. }))));
        let good = text(&entries(500), "\r\n", true);
        std::fs::write(&path, &good).expect("a file");
        assert_eq!(list.verify().expect("a list"), 500);
        let mut open = list.open().expect("a list");
        let mut swapped = entries(500);
        swapped.swap(7, 8);
        for (bad, line) in
            [(text(&swapped, "\n", true), 9), ([&good[..], b"x"].concat(), 501), (vec![b'a'; 1 << 20], 1)]
        {
            std::fs::remove_file(&path).expect("ours");
            std::fs::write(&path, bad).expect("a file");
            assert_eq!(list.verify().expect_err("it is none").0, line);
        }
        // Whoever opened the former file reads on in it.
        assert!(entries(500).iter().all(|(number, _)| open.find(&hash(*number)).expect("in order").is_some()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn any_list_is_searched_right(
            entries in prop::collection::btree_map(any::<u128>(), 1u64..5000, 1..300),
            others in prop::collection::vec(any::<u128>(), 0..50),
            crlf in any::<bool>(),
            last in any::<bool>(),
        ) {
            let listed: Vec<_> = entries.iter().map(|(hash, count)| (*hash, *count)).collect();
            let mut list = open(&text(&listed, if crlf { "\r\n" } else { "\n" }, last)).expect("a list");
            for sought in entries.keys().chain(&others) {
                let expected = entries.get(sought).and_then(|count| LeakClass::of(*count));
                prop_assert_eq!(list.find(&hash(*sought)).expect("in order"), expected);
            }
        }

        #[test]
        fn a_damaged_list_is_searched_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), sought in any::<u128>()) {
            let mut bytes = text(&entries(300), "\n", true);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            if let Ok(mut list) = open(&bytes) {
                let _ = list.find(&hash(sought));
            }
        }

        #[test]
        fn bytes_of_any_kind_are_no_list_or_a_harmless_one(bytes in prop::collection::vec(any::<u8>(), 0..9000), sought in any::<u128>()) {
            if let Ok(mut list) = open(&bytes) {
                let _ = list.find(&hash(sought));
            }
        }
    }
}
