//! The hash chain over a node's records: a changed, missing or inserted row shows.

use sha2::{Digest, Sha256};

/// SHA-256 over a record and the hash before it, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHash(String);

impl RecordHash {
    /// What the first record of a node follows.
    pub fn origin() -> Self {
        Self("0".repeat(64))
    }

    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The columns of a record that its hash covers, as stored.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub node: &'a str,
    pub number: i64,
    pub at: i64,
    pub kind: &'a str,
    pub outcome: &'a str,
    pub record: &'a str,
}

impl Link<'_> {
    /// The hash of this record after `previous`. Every field is preceded by its length, so that none runs into another.
    pub fn hash(&self, previous: &RecordHash) -> RecordHash {
        let mut sha = Sha256::new();
        let (number, at) = (self.number.to_string(), self.at.to_string());
        for field in [previous.as_str(), self.node, &number, &at, self.kind, self.outcome, self.record] {
            sha.update((field.len() as u64).to_be_bytes());
            sha.update(field.as_bytes());
        }
        RecordHash(hex::encode(sha.finalize()))
    }
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    #[error("record {node}/{number} is missing")]
    Missing { node: String, number: i64 },
    #[error("record {node}/{number} was changed after it was written")]
    Changed { node: String, number: i64 },
    #[error("the newest record of node {node} is number {found}, but number {expected} was written")]
    Truncated { node: String, expected: i64, found: i64 },
    #[error("the seal over the newest record of node {node} is missing")]
    HeadMissing { node: String },
}
