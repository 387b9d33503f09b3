//! The file that holds the key ring: lines of `primary NAME BASE64` and `older NAME BASE64`, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::key_ring::{KEY_BYTES, KeyName, KeyRing, KeyRingError, OpenError};
use super::seal::{AssociatedData, Sealed};

/// Why the file of a ring cannot be used. Positions are told, contents never.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingFileError {
    #[error("could not read the key ring `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("could not write the key ring `{path}`")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the key ring `{path}` is open to others (mode {mode:04o}): run `chmod 600` on it")]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("the key ring `{path}` is not a regular file of at most 64 KiB")]
    NotAFile { path: PathBuf },
    #[error(
        "line {line} of the key ring `{path}` is not `primary NAME KEY` or `older NAME KEY` with a key of 32 bytes"
    )]
    Line { path: PathBuf, line: usize },
    #[error("the key ring `{path}` must have exactly one primary key, on its first line")]
    Primary { path: PathBuf },
    #[error("the keys of the key ring `{path}` do not make a ring")]
    Ring { path: PathBuf, source: KeyRingError },
    #[error("the key `{key}` that another node made cannot be read")]
    Handed { key: KeyName, source: OpenError },
    #[error("what another node made as the key `{0}` is none")]
    NoKey(KeyName),
}

/// Largest file that is read: hundreds of keys.
const MAX_FILE_BYTES: u64 = 64 * 1024;
const MODE: u32 = 0o600;

impl KeyRing {
    /// Makes a ring of one new key and its file, which must not exist yet.
    pub fn create_file<R: CryptoRng + ?Sized>(path: &Path, rng: &mut R) -> Result<Self, KeyRingFileError> {
        let ring = Self::generate(rng).map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?;
        ring.write_new(path)?;
        Ok(ring)
    }

    /// Reads a ring. A file that others may read or write is refused.
    pub fn load(path: &Path) -> Result<Self, KeyRingFileError> {
        let read_error = |source| KeyRingFileError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(KeyRingFileError::NotAFile { path: path.to_owned() });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyRingFileError::TooOpen { path: path.to_owned(), mode });
        }
        // Read into a buffer that does not grow: growing would leave copies of keys behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize + 1));
        std::io::Read::by_ref(&mut file).take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(read_error)?;
        parse(path, &text)
    }

    /// Replaces the file by this ring, at once or not at all.
    pub fn replace_file(&self, path: &Path) -> Result<(), KeyRingFileError> {
        let write_error = |source| KeyRingFileError::Write { path: path.to_owned(), source };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        match std::fs::remove_file(&beside) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(write_error(error)),
        }
        self.write_new(&beside)?;
        std::fs::rename(&beside, path).map_err(write_error)?;
        sync_folder(path).map_err(write_error)
    }

    /// Adds a new primary key, for everybody who shares this ring, and returns its name. The file comes first: nothing is
    /// sealed under a key that a crash could lose.
    pub fn roll<R: CryptoRng + ?Sized>(&self, path: &Path, rng: &mut R) -> Result<KeyName, KeyRingFileError> {
        let rolled =
            self.with_new_primary(rng).map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?;
        self.become_file(path, &rolled)?;
        Ok(self.primary())
    }

    /// Adds a new key that only opens, so that other nodes can have it before anything is sealed with it.
    pub fn add_next<R: CryptoRng + ?Sized>(&self, path: &Path, rng: &mut R) -> Result<KeyName, KeyRingFileError> {
        let (ring, name) =
            self.with_next(rng).map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?;
        self.become_file(path, &ring)?;
        Ok(name)
    }

    /// Takes a key over that another node made, to open.
    pub fn take_over(
        &self,
        path: &Path,
        name: &KeyName,
        sealed: &Sealed,
        bound_to: &AssociatedData,
    ) -> Result<(), KeyRingFileError> {
        let opened =
            self.open(sealed, bound_to).map_err(|source| KeyRingFileError::Handed { key: name.clone(), source })?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        if opened.expose().len() != KEY_BYTES {
            return Err(KeyRingFileError::NoKey(name.clone()));
        }
        secret.copy_from_slice(opened.expose());
        let ring = self.with_older(name.clone(), secret);
        self.become_file(path, &ring.map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?)
    }

    /// Seals with `name` from now on; `false` when the ring lacks it.
    pub fn promote(&self, path: &Path, name: &KeyName) -> Result<bool, KeyRingFileError> {
        let Some(ring) = self.with_primary(name) else { return Ok(false) };
        self.become_file(path, &ring.map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?)?;
        Ok(true)
    }

    /// Forgets a key that only opens.
    pub fn forget(&self, path: &Path, name: &KeyName) -> Result<(), KeyRingFileError> {
        let ring = self.without(name).map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })?;
        self.become_file(path, &ring)
    }

    /// The file comes first, as in [`roll`](Self::roll).
    fn become_file(&self, path: &Path, ring: &Self) -> Result<(), KeyRingFileError> {
        ring.replace_file(path)?;
        self.become_ring(ring);
        Ok(())
    }

    fn write_new(&self, path: &Path) -> Result<(), KeyRingFileError> {
        let write_error = |source| KeyRingFileError::Write { path: path.to_owned(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).map_err(write_error)?;
        file.write_all(self.text().as_bytes()).and_then(|()| file.sync_all()).map_err(write_error)?;
        sync_folder(path).map_err(write_error)
    }

    fn text(&self) -> Zeroizing<String> {
        const HEADER: &str = "# Landbridge key ring. Without it the stored passwords and signing keys do not open:\n\
                              # keep a copy, apart from the copies of the database.\n";
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        text.push_str(HEADER);
        for (position, key) in self.keys().iter().enumerate() {
            let role = if position == 0 { "primary" } else { "older" };
            let encoded = Zeroizing::new(STANDARD.encode(*key.secret));
            for part in [role, " ", key.name.as_str(), " ", &encoded, "\n"] {
                text.push_str(part);
            }
        }
        text
    }
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, KeyRingFileError> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (primary, name, secret) =
            parse_line(line).ok_or(KeyRingFileError::Line { path: path.to_owned(), line: index + 1 })?;
        if primary != keys.is_empty() {
            return Err(KeyRingFileError::Primary { path: path.to_owned() });
        }
        keys.push((name, secret));
    }
    KeyRing::new(keys).map_err(|source| KeyRingFileError::Ring { path: path.to_owned(), source })
}

fn parse_line(line: &str) -> Option<(bool, KeyName, Zeroizing<[u8; KEY_BYTES]>)> {
    let mut words = line.split_ascii_whitespace();
    let primary = match words.next()? {
        "primary" => true,
        "older" => false,
        _ => return None,
    };
    let name = words.next()?.parse().ok()?;
    let bytes = Zeroizing::new(STANDARD.decode(words.next()?).ok()?);
    if words.next().is_some() {
        return None;
    }
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != KEY_BYTES {
        return None;
    }
    secret.copy_from_slice(&bytes);
    Some((primary, name, secret))
}

/// Makes a file's name last: a file that a crash could lose would take every sealed row with it.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
