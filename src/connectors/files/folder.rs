//! The drop folder: which files are there, which of them are written to their end, and whether one changed while it
//! was read.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::FileNames;

/// How far from its end a file's last line is looked for.
const TAIL: u64 = 64 * 1024;
/// Bytes of change files whose records are held in memory at a time, to be laid over a complete file.
const LARGEST_CHANGES: u64 = 256 * 1024 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file in one state: another size or time is another state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileState {
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
}

/// A file that cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the folder {} cannot be read", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    #[error("the file {0} cannot be read")]
    File(String, #[source] io::Error),
    #[error("the file {0} is still being written")]
    Unfinished(String),
    #[error("the file {0} changed while it was read")]
    Changed(String),
    #[error("the file {0} is not UTF-8: it begins with the mark of UTF-16")]
    Utf16(String),
    #[error("no file matches {0}")]
    None(String),
    #[error(
        "the change files behind {complete} are larger than {} MiB together: put in a newer complete file",
        LARGEST_CHANGES >> 20
    )]
    TooManyChanges { complete: String },
    #[error("the file {name}: {reason}")]
    Form { name: String, reason: String },
}

/// Refuses changes that would not fit into memory, before the first of them is read.
pub fn check_size<'f>(complete: &FileState, changes: impl Iterator<Item = &'f FileState>) -> Result<(), FileError> {
    let size: u64 = changes.map(|state| state.size).sum();
    if size <= LARGEST_CHANGES { Ok(()) } else { Err(FileError::TooManyChanges { complete: complete.name.clone() }) }
}

/// The files of a folder, and those of them that are written to their end.
pub struct Listing {
    folder: PathBuf,
    files: BTreeSet<FileState>,
    settled: BTreeSet<FileState>,
}

impl Listing {
    /// Lists the folder, waits for `settle` when it holds states that are not in `known`, and lists it again.
    pub async fn read(
        folder: &Path,
        settle: Duration,
        end_marker: Option<&str>,
        known: &BTreeSet<FileState>,
    ) -> Result<Self, FileError> {
        let mut before = list(folder)?;
        let files = if settle.is_zero() || before.is_subset(known) {
            before.clone()
        } else {
            tokio::time::sleep(settle).await;
            list(folder)?
        };
        before.retain(|state| files.contains(state));
        let mut settled = before;
        if let Some(marker) = end_marker {
            settled.retain(|state| {
                // A file that cannot be looked into is not finished; reading it tells why.
                known.contains(state) || body(&folder.join(&state.name), Some(marker)).is_ok_and(|end| end.is_some())
            });
        }
        Ok(Self { folder: folder.to_owned(), files, settled })
    }

    pub fn settled(&self) -> &BTreeSet<FileState> {
        &self.settled
    }

    /// The last complete file in the order of names; `Err` while it is being written.
    pub fn complete(&self, names: &FileNames) -> Result<FileState, FileError> {
        let newest = self
            .newest(names)
            .ok_or_else(|| FileError::None(self.folder.join(names.complete.to_string()).display().to_string()))?;
        match self.settled.contains(newest) {
            true => Ok(newest.clone()),
            false => Err(FileError::Unfinished(newest.name.clone())),
        }
    }

    /// The last complete file, written to its end or not.
    pub fn newest(&self, names: &FileNames) -> Option<&FileState> {
        self.files.iter().rev().find(|state| names.complete.matches(&state.name))
    }

    /// The last complete file that is written to its end.
    pub fn settled_complete(&self, names: &FileNames) -> Option<FileState> {
        self.settled.iter().rev().find(|state| names.complete.matches(&state.name)).cloned()
    }

    /// Files of changes that came after `complete`, in the order of their names; `Err` while one of them is being written.
    pub fn all_changes(&self, names: &FileNames, complete: &FileState) -> Result<Vec<FileState>, FileError> {
        let unfinished = self.later(names, complete).find(|state| !self.settled.contains(*state));
        match unfinished {
            Some(state) => Err(FileError::Unfinished(state.name.clone())),
            None => Ok(self.later(names, complete).cloned().collect()),
        }
    }

    /// The same, up to the first that is being written.
    pub fn changes(&self, names: &FileNames, complete: &FileState) -> Vec<FileState> {
        self.later(names, complete).take_while(|state| self.settled.contains(*state)).cloned().collect()
    }

    fn later<'l>(&'l self, names: &'l FileNames, complete: &FileState) -> impl Iterator<Item = &'l FileState> {
        let since = complete.modified;
        let pattern = names.changes.iter();
        pattern.flat_map(move |pattern| {
            self.files.iter().filter(move |state| pattern.matches(&state.name) && state.modified >= since)
        })
    }
}

fn list(folder: &Path) -> Result<BTreeSet<FileState>, FileError> {
    let refuse = |error| FileError::Folder(folder.to_owned(), error);
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        // A name that is not UTF-8 matches no pattern.
        let Ok(name) = entry.file_name().into_string() else { continue };
        match std::fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(state(name.clone(), &metadata).map_err(|error| FileError::File(name, error))?);
            }
            Ok(_) => {}
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::File(name, error)),
        }
    }
    Ok(files)
}

fn state(name: String, metadata: &std::fs::Metadata) -> io::Result<FileState> {
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
    Ok(FileState { name, size: metadata.len(), modified })
}

/// Where the body of a file ends: before the line of the marker, or at its end. `None` when the marker is not there.
fn body(path: &Path, end_marker: Option<&str>) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let Some(marker) = end_marker else { return Ok(Some(size)) };
    let from = size.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    while matches!(tail.last(), Some(b'\n' | b'\r' | b' ' | b'\t')) {
        tail.pop();
    }
    let start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((tail[start..] == *marker.as_bytes()).then_some(from + start as u64))
}

/// A file that is being read.
pub struct OpenFile {
    path: PathBuf,
    state: FileState,
}

/// What is in a file.
pub type Body = BufReader<io::Take<File>>;

impl OpenFile {
    /// Opens a file in the state in which it was listed, behind a byte order mark and before the end marker.
    pub fn open(folder: &Path, listed: &FileState, end_marker: Option<&str>) -> Result<(Self, Body), FileError> {
        let path = folder.join(&listed.name);
        let refuse = |error| FileError::File(listed.name.clone(), error);
        let end = body(&path, end_marker).map_err(refuse)?;
        let end = end.ok_or_else(|| FileError::Unfinished(listed.name.clone()))?;
        let file = File::open(&path).map_err(refuse)?;
        let mut reader = BufReader::with_capacity(256 * 1024, file.take(end));
        let first = reader.fill_buf().map_err(refuse)?;
        if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
            return Err(FileError::Utf16(listed.name.clone()));
        }
        if first.starts_with(BOM) {
            reader.consume(BOM.len());
        }
        let open = Self { path, state: listed.clone() };
        open.unchanged()?;
        Ok((open, reader))
    }

    pub fn name(&self) -> &str {
        &self.state.name
    }

    pub fn failed(&self, error: io::Error) -> FileError {
        FileError::File(self.state.name.clone(), error)
    }

    /// What is wrong with the file as a whole.
    pub fn form(&self, reason: impl Into<String>) -> FileError {
        FileError::Form { name: self.state.name.clone(), reason: reason.into() }
    }

    /// To be asked after the last line: whoever wrote meanwhile made what was read worthless.
    pub fn unchanged(&self) -> Result<(), FileError> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.failed(error))?;
        let now = state(self.state.name.clone(), &metadata).map_err(|error| self.failed(error))?;
        if now == self.state { Ok(()) } else { Err(FileError::Changed(self.state.name.clone())) }
    }
}
