//! Who gets a value that only one object may have, judged on the end state of a batch (design section 4).

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::identity::Timestamp;

use super::addresses::PROXY_ADDRESSES;
use super::export::ObjectId;

/// A kind of value that is unique over users, groups, contacts and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UniqueKind {
    Upn,
    /// Of `mail` and of `proxyAddresses`: whoever has an address in one of them has it. An object has several.
    Address,
    Sam,
    /// Connector and anchor of a credential source. Never quarantined: the second claimant is refused.
    Credential,
}

impl UniqueKind {
    pub const ALL: [Self; 4] = [Self::Upn, Self::Address, Self::Sam, Self::Credential];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upn => "upn",
            // As it was called while `mail` was the only attribute of that kind.
            Self::Address => "mail",
            Self::Sam => "sam",
            Self::Credential => "credential",
        }
    }

    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The attribute's name in messages; of an address, the one that lists all of them.
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Upn => "userPrincipalName",
            Self::Address => PROXY_ADDRESSES,
            Self::Sam => "sAMAccountName",
            Self::Credential => "credentialSource",
        }
    }
}

/// By what right an object wants a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Full,
    /// Its connectors may not speak for the value's domain, and it has the value already or names somebody else by it: its own
    /// until somebody wants it who may.
    Lent,
}

/// A value that an object of the batch wants to have when the batch has ended, or lets go. An object may have several wishes,
/// each for another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub who: ObjectId,
    /// In folded form. `None` lets go of what it has.
    pub desired: Option<String>,
    pub right: Right,
    /// What it has now.
    pub present: Option<String>,
    /// What it takes when the desired value is another's, in order of preference.
    pub stand_ins: Vec<String>,
    /// Since when it waits for `desired`. The longest wait is served first, then the order of the wishes.
    pub waiting_since: Option<Timestamp>,
}

/// What an object gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Award {
    pub value: Option<String>,
    /// Who has the desired value instead.
    pub denied_by: Option<ObjectId>,
}

/// Present holders of values; a value that was never looked up is unknown, which is not the same as free.
#[derive(Clone, Debug, Default)]
pub struct Holders(HashMap<String, Option<ObjectId>>);

impl Holders {
    pub fn set(&mut self, value: String, holder: Option<ObjectId>) {
        self.0.insert(value, holder);
    }

    pub fn knows(&self, value: &str) -> bool {
        self.0.contains_key(value)
    }

    /// Who holds a value that was looked up; `None` for one that was not.
    pub fn holder(&self, value: &str) -> Option<Option<ObjectId>> {
        self.0.get(value).copied()
    }

    fn of(&self, value: &str) -> Option<ObjectId> {
        self.0.get(value).copied().flatten()
    }
}

/// Awards the values of one kind to the wishes, in their order; or names the values whose holders must be known first.
///
/// A full right comes first. Of equal rights, a holder that still wants its value keeps it. A holder outside the wishes keeps
/// what it has. Values that are free, or let go by somebody in the wishes, go to the longest wait. Whoever is denied takes a stand-in, its present one if
/// it has one. INVARIANT: no value is awarded twice, and none that somebody outside the wishes holds.
pub fn award(wishes: &[Wish], holders: &Holders) -> Result<Vec<Award>, Vec<String>> {
    ask(wishes.iter().filter_map(|wish| wish.desired.as_ref()), holders)?;
    let mut taken = desired_values(wishes, holders);
    let mut awards = vec![Award::default(); wishes.len()];
    let mut denied = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let Some(desired) = &wish.desired else { continue };
        match taken.get(desired.as_str()) {
            Some(winner) if *winner == wish.who => awards[index].value = Some(desired.clone()),
            winner => {
                awards[index].denied_by = winner.copied().or_else(|| holders.of(desired));
                denied.push(index);
            }
        }
    }
    let members: HashSet<ObjectId> = wishes.iter().map(|wish| wish.who).collect();
    ask(denied.iter().flat_map(|index| &wishes[*index].stand_ins), holders)?;
    for index in &denied {
        let wish = &wishes[*index];
        let kept = wish.present.as_ref().filter(|present| wish.stand_ins.contains(present));
        if let Some(present) = kept.filter(|present| !taken.contains_key(present.as_str())) {
            taken.insert(present, wish.who);
            awards[*index].value = Some(present.clone());
        }
    }
    for index in denied {
        if awards[index].value.is_some() {
            continue;
        }
        let wish = &wishes[index];
        let free = |value: &&String| {
            !taken.contains_key(value.as_str()) && holders.of(value).is_none_or(|holder| members.contains(&holder))
        };
        if let Some(stand_in) = wish.stand_ins.iter().find(free) {
            taken.insert(stand_in, wish.who);
            awards[index].value = Some(stand_in.clone());
        }
    }
    Ok(awards)
}

/// The values that were never looked up, as an error.
fn ask<'a>(values: impl Iterator<Item = &'a String>, holders: &Holders) -> Result<(), Vec<String>> {
    let unknown: BTreeSet<&String> = values.filter(|value| !holders.knows(value)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown.into_iter().cloned().collect()) }
}

/// The desired values that somebody in the wishes gets.
fn desired_values<'a>(wishes: &'a [Wish], holders: &Holders) -> HashMap<&'a str, ObjectId> {
    let desires: HashMap<ObjectId, Option<&str>> =
        wishes.iter().map(|wish| (wish.who, wish.desired.as_deref())).collect();
    let mut best: HashMap<&str, (Right, bool, Timestamp, usize, ObjectId)> = HashMap::new();
    for (index, wish) in wishes.iter().enumerate() {
        let Some(desired) = wish.desired.as_deref() else { continue };
        let holder = holders.of(desired);
        if holder.is_some_and(|holder| !desires.contains_key(&holder)) {
            continue;
        }
        let newcomer = holder != Some(wish.who);
        let since = wish.waiting_since.unwrap_or(Timestamp::from_millis(i64::MAX));
        let rank = (wish.right, newcomer, since, index, wish.who);
        best.entry(desired).and_modify(|present| *present = rank.min(*present)).or_insert(rank);
    }
    best.into_iter().map(|(value, (.., who))| (value, who)).collect()
}

#[cfg(test)]
#[path = "unique_tests.rs"]
mod tests;
