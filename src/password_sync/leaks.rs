//! Hashes of a pass, looked up in the list of leaked passwords while they are in memory anyway: by the gateway, or where the
//! directory is read and from where no hash leaves that could be looked up here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::source::{Leak, Looked};
use crate::credential::{LeakedList, LeakedListError, NtHash};
use crate::identity::Timestamp;

/// Who looks for the leaked passwords of a channel, and when all that is shown was last looked for here.
#[derive(Debug)]
pub struct LeakCheck {
    place: Place,
    swept: Mutex<Option<Timestamp>>,
}

#[derive(Debug)]
enum Place {
    Here(LeakedList),
    /// Whoever reads the directory; whether the settings expect that.
    There {
        expected: bool,
    },
}

/// Which of the hashes that are shown are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looking {
    AtAll,
    AtNew,
}

/// Where directories show all hashes in every pass, those that did not change are looked for again so often.
const AGAIN_AFTER: Duration = Duration::from_secs(86_400);
const NO_LIST_THERE: &str =
    "the agent that read the accounts has no list of leaked passwords; name one as leaked_passwords in its settings";

impl LeakCheck {
    pub fn here(list: LeakedList) -> Self {
        Self { place: Place::Here(list), swept: Mutex::new(None) }
    }

    /// By whoever reads the directory. `expected`: where nobody looks, that is an error.
    pub fn there(expected: bool) -> Self {
        Self { place: Place::There { expected }, swept: Mutex::new(None) }
    }

    /// What a pass looks at. A directory that tells what changed (`tells_changes`) shows nothing else without reason, and what
    /// was found elsewhere costs nothing to look at.
    pub(super) fn looking(&self, everything: bool, tells_changes: bool, now: Timestamp) -> Looking {
        let swept = *self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept.is_none_or(|swept| now.since(swept) >= AGAIN_AFTER);
        let is_there = matches!(self.place, Place::There { .. });
        if everything || tells_changes || is_due || is_there { Looking::AtAll } else { Looking::AtNew }
    }

    /// A pass that looked at all came to its end.
    pub(super) fn swept(&self, at: Timestamp) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Why the accounts of a page were not looked for where they were read, if they were to be.
    pub(super) fn missed(&self, looked: Looked) -> Option<String> {
        match (looked, &self.place) {
            (Looked::Failed(reason), _) => Some(reason),
            (Looked::No, Place::There { expected: true }) => Some(NO_LIST_THERE.to_owned()),
            (Looked::No | Looked::Yes, _) => None,
        }
    }

    /// What the gateway's list says of each; it is opened anew, so that one that was replaced is met at the next page.
    pub(super) async fn look(self: &Arc<Self>, hashes: Vec<NtHash>) -> Result<Vec<Leak>, String> {
        let check = Arc::clone(self);
        // The disk is waited for.
        let looked = tokio::task::spawn_blocking(move || -> Result<Vec<Leak>, LeakedListError> {
            let Place::Here(list) = &check.place else { return Ok(vec![Leak::NotLookedFor; hashes.len()]) };
            let mut list = list.open()?;
            let one = |hash| Ok(list.find(&hash)?.map_or(Leak::NotListed, Leak::Listed));
            hashes.into_iter().map(one).collect()
        });
        match looked.await {
            Ok(Ok(leaks)) => Ok(leaks),
            Ok(Err(error)) => Err(error.told()),
            Err(error) => Err(format!("looking into the list of leaked passwords ended abnormally: {error}")),
        }
    }
}
