//! Activated rules (design D6): files are the source, the store holds the immutable version that every run uses.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rule::{RuleFileError, RuleSet, RuleSource, parse};
use crate::identity::{Clock, Timestamp};

/// Largest rule file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A version of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    pub number: i64,
    pub digest: String,
    pub sources: Vec<RuleSource>,
    pub at: Timestamp,
    pub by: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("the rule files have {} faults", .0.len())]
    Faults(Vec<RuleFileError>),
    #[error("{file} cannot be read")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file} is larger than a rule file may be")]
    TooLarge { file: String },
    #[error("no rules are activated: `rules activate` does it")]
    None,
    #[error("the activation could not be stored or read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where activated versions are kept.
#[async_trait::async_trait]
pub trait Activations: Send + Sync {
    async fn current(&self) -> Result<Option<Activation>, ActivationError>;
    /// Stores the next version; it is never changed again.
    async fn store(&self, sources: Vec<RuleSource>, digest: &str, by: &str) -> Result<Activation, ActivationError>;
}

/// The rule files of a folder as they are, for an engine that exports nothing: every run takes them anew. The number of a
/// version is made from what the files say, so that other files are another version.
pub struct FolderRules {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
}

impl FolderRules {
    pub fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { folder, clock }
    }
}

#[async_trait::async_trait]
impl Activations for FolderRules {
    async fn current(&self) -> Result<Option<Activation>, ActivationError> {
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || read_folder(&folder)).await;
        let sources = read.map_err(|error| ActivationError::Broken(Box::new(error)))??;
        let digest = digest(&sources);
        let number = i64::from_str_radix(&digest[..NUMBERED], 16).map_err(|e| ActivationError::Broken(Box::new(e)))?;
        let by = format!("the files of {}", self.folder.display());
        Ok(Some(Activation { number, digest, sources, at: self.clock.now(), by }))
    }

    async fn store(&self, _: Vec<RuleSource>, _: &str, _: &str) -> Result<Activation, ActivationError> {
        Err(ActivationError::Broken("rules that are taken from their files are not activated".into()))
    }
}

/// Hexadecimal digits of a digest that make a number: it stays exact in JSON.
const NUMBERED: usize = 13;

/// Reads the `*.toml` files of the rules folder, in name order.
pub fn read_folder(folder: &Path) -> Result<Vec<RuleSource>, ActivationError> {
    let unreadable = |path: &Path| {
        let file = path.display().to_string();
        move |source| ActivationError::Unreadable { file, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|path| read_file(path)).collect()
}

/// Reads one rule file.
pub fn read_file(path: &Path) -> Result<RuleSource, ActivationError> {
    let unreadable = |source| ActivationError::Unreadable { file: path.display().to_string(), source };
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(ActivationError::TooLarge { file });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(RuleSource { file, text })
}

pub fn digest(sources: &[RuleSource]) -> String {
    let mut sha = Sha256::new();
    for source in sources {
        for part in [&source.file, &source.text] {
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part.as_bytes());
        }
    }
    hex::encode(sha.finalize())
}

/// Validates `sources` as a whole and makes them the version that all runs use. The same rules again change nothing.
pub async fn activate(
    store: &dyn Activations,
    sources: Vec<RuleSource>,
    by: &str,
) -> Result<Activation, ActivationError> {
    parse(&sources).map_err(ActivationError::Faults)?;
    let digest = digest(&sources);
    match store.current().await? {
        Some(current) if current.digest == digest => Ok(current),
        _ => store.store(sources, &digest, by).await,
    }
}

/// The rules of the activated version, read from their text only when it is another than before.
#[derive(Default)]
pub struct ActivatedRules(Mutex<Option<(Vec<RuleSource>, RuleSet)>>);

impl ActivatedRules {
    pub async fn current(&self, store: &dyn Activations) -> Result<(Activation, RuleSet), ActivationError> {
        let activation = store.current().await?.ok_or(ActivationError::None)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rules)) = known.as_ref().filter(|(sources, _)| *sources == activation.sources) {
            return Ok((activation, rules.clone()));
        }
        let rules = parse(&activation.sources).map_err(ActivationError::Faults)?;
        *known = Some((activation.sources.clone(), rules.clone()));
        Ok((activation, rules))
    }
}

/// Files that differ from the activated version: changed, new or gone.
pub fn differing(activation: &Activation, files: &[RuleSource]) -> Vec<String> {
    let text_of = |sources: &[RuleSource], file: &str| sources.iter().find(|s| s.file == file).map(|s| s.text.clone());
    let mut names: Vec<&str> = activation.sources.iter().chain(files).map(|source| source.file.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| text_of(&activation.sources, name) != text_of(files, name))
        .map(str::to_owned)
        .collect()
}
