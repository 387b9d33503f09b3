//! How tries at passwords end, by domain, method and minute: what a canary is judged by, and what a drill compares the
//! backup's rate with. Counted in memory and written down every few seconds: a node that is killed loses those.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::store::StoreDown;
use crate::identity::{AuthenticationMethod, DomainName, NodeId, Timestamp};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// How tries ended. Only those from devices that the user has signed in from before are told apart: from elsewhere anybody
/// could make a method look bad, or good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub admitted: u64,
    /// Tries that did not let the user in, whatever the reason.
    pub refused: u64,
    /// Tries from unknown devices and at names that nobody has: they cost as much and say nothing of the method.
    pub unknown: u64,
}

impl Count {
    /// Tries that say something of the method.
    pub const fn tries(self) -> u64 {
        self.admitted + self.refused
    }

    pub fn refused_per_mille(self) -> u64 {
        (self.refused * 1000).checked_div(self.tries()).unwrap_or(0)
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Admitted,
    Refused,
    Unknown,
}

/// What a row of the tally counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minute {
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    /// Minutes since 1970.
    pub minute: i64,
}

/// The minute of an instant.
pub fn minute_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(MINUTE)
}

/// What this node has counted and not yet written down.
#[derive(Default)]
pub struct Tally(Mutex<HashMap<Minute, Count>>);

impl Tally {
    pub fn note(&self, domain: &DomainName, method: AuthenticationMethod, at: Timestamp, ended: Ended) {
        let key = Minute { domain: domain.clone(), method, minute: minute_of(at) };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        match ended {
            Ended::Admitted => count.admitted += 1,
            Ended::Refused => count.refused += 1,
            Ended::Unknown => count.unknown += 1,
        }
    }

    /// Takes what is to be written down.
    pub fn take(&self) -> HashMap<Minute, Count> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts back what could not be written down.
    pub fn give_back(&self, counts: HashMap<Minute, Count>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (minute, count) in counts {
            let sum = kept.entry(minute).or_default();
            sum.admitted += count.admitted;
            sum.refused += count.refused;
            sum.unknown += count.unknown;
        }
    }
}

/// The busiest minute of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    pub minute_began: Timestamp,
    /// Tries in it, whoever made them.
    pub tries: u64,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePace {
    pub node: NodeId,
    /// Stored hashes that it can check in a minute.
    pub checks_a_minute: u64,
    pub seen_at: Timestamp,
}

/// The tally of all nodes.
#[async_trait]
pub trait Tallies: Send + Sync {
    /// Adds to what this node has written down, and how fast it can check.
    async fn add(&self, counts: HashMap<Minute, Count>, pace: Option<u64>, at: Timestamp) -> Result<(), StoreDown>;

    /// Tries of a domain's people by a method, from the minute of `from` on to the minute of `until`.
    async fn counted(
        &self,
        domain: &DomainName,
        method: AuthenticationMethod,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Count, StoreDown>;

    /// The busiest minute since; of one domain, or of all together.
    async fn peak(&self, domain: Option<&DomainName>, since: Timestamp) -> Result<Option<Peak>, StoreDown>;

    /// The nodes that have been heard of since.
    async fn nodes(&self, since: Timestamp) -> Result<Vec<NodePace>, StoreDown>;

    /// Forgets what is older.
    async fn forget(&self, before: Timestamp) -> Result<(), StoreDown>;
}
