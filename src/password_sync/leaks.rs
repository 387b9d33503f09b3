//! Hashes of a pass, looked up in the list of leaked passwords while they are in memory anyway.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::source::{PasswordValues, Passwords, is_nt_hash};
use crate::credential::{LeakClass, LeakedList, LeakedListError, NtHash, parse_nt_hash};
use crate::identity::{Timestamp, causes};

/// What the list says of an account's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// Nobody looked: there is no list, or it could not be read, or the hash was not shown.
    NotLookedFor,
    NotListed,
    Listed(LeakClass),
}

/// The list of a channel, and when all that is shown was last looked for.
#[derive(Debug)]
pub struct LeakCheck {
    list: LeakedList,
    swept: Mutex<Option<Timestamp>>,
}

/// Which of the hashes that are shown are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looking {
    AtAll,
    AtNew,
}

/// Where directories show all hashes in every pass, those that did not change are looked for again so often.
const AGAIN_AFTER: Duration = Duration::from_secs(86_400);

impl LeakCheck {
    pub fn new(list: LeakedList) -> Self {
        Self { list, swept: Mutex::new(None) }
    }

    /// What a pass looks at. A directory that tells what changed (`tells_changes`) shows nothing else without reason.
    pub(super) fn looking(&self, everything: bool, tells_changes: bool, now: Timestamp) -> Looking {
        let swept = *self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept.is_none_or(|swept| now.since(swept) >= AGAIN_AFTER);
        if everything || tells_changes || is_due { Looking::AtAll } else { Looking::AtNew }
    }

    /// A pass that looked at all came to its end.
    pub(super) fn swept(&self, at: Timestamp) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// What the list says of each; it is opened anew, so that one that was replaced is met at the next page.
    pub(super) async fn look(self: &Arc<Self>, hashes: Vec<NtHash>) -> Result<Vec<Leak>, String> {
        let check = Arc::clone(self);
        // The disk is waited for.
        let looked = tokio::task::spawn_blocking(move || -> Result<Vec<Leak>, LeakedListError> {
            let mut list = check.list.open()?;
            let one = |hash| Ok(list.find(&hash)?.map_or(Leak::NotListed, Leak::Listed));
            hashes.into_iter().map(one).collect()
        });
        match looked.await {
            Ok(Ok(leaks)) => Ok(leaks),
            Ok(Err(error)) => Err(format!("{}; {}", causes(&error), error.remedy())),
            Err(error) => Err(format!("looking into the list of leaked passwords ended abnormally: {error}")),
        }
    }
}

/// The NT hash among the values that are shown.
pub(super) fn nt_hash(passwords: &Passwords) -> Option<NtHash> {
    let Passwords::Read(passwords) = passwords else { return None };
    let of_nt = passwords.iter().filter(|PasswordValues { attribute, .. }| is_nt_hash(attribute));
    of_nt.flat_map(|password| password.values.first()).find_map(|value| parse_nt_hash(value).ok())
}
