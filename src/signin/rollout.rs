//! Staged rollout: some people of a domain sign in by another method, ahead of the domain or held back behind it.
//!
//! One pure function, [`choose`], says which method a name walks. From first to last:
//!
//! 1. a group that the user is in, directly or by nesting; of several, the one with the lowest precedence number;
//! 2. the domain's share, if the user's lot lies within it;
//! 3. the domain's own method.
//!
//! Numbers are unique within a domain, a group has one rollout in it, and a domain has one share: there are no ties. The
//! choice is made when the name is known and never again for that sign-in: no verdict takes part in it, so that what one
//! method refuses is asked of no other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::directory::Realm;
use super::fault::{Fault, planted};
use super::settings::SignInKey;
use crate::identity::{
    AuthenticationMethod, DomainName, EntityId, GroupId, Percent, RolloutId, SignInName, Timestamp, UserId,
};

/// A method for some people of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub id: RolloutId,
    pub domain: DomainName,
    #[serde(flatten)]
    pub scope: Scope,
    pub method: AuthenticationMethod,
    /// Who answers, where the method is federation.
    pub partner: Option<EntityId>,
    pub by: String,
    pub at: Timestamp,
}

/// Whom a rollout concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "scope")]
pub enum Scope {
    /// The domain's users in a group, nested groups included.
    Group {
        group: GroupId,
        /// Of several groups of a user the lowest number counts.
        precedence: u32,
        /// Of ten thousand names that nobody has, how many walk this road: as many as of the domain's users did when the
        /// rollout was added.
        drawn: Lot,
    },
    /// A share of the domain's users, drawn by their `oid`.
    Share { percent: Percent },
}

/// A number below ten thousand that stays with whoever drew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lot(u32);

/// How many lots there are.
const LOTS: u32 = 10_000;

impl Lot {
    /// A user's lot in every share: a hash of the `oid`, which never changes. A share that grows keeps whom it had.
    pub fn of(oid: UserId) -> Self {
        Self::from_digest(&Sha256::digest([b"landbridge.rollout-share", oid.uuid().as_bytes().as_slice()].concat()))
    }

    /// `part` of `whole`, in ten thousandths.
    pub fn share(part: u64, whole: u64) -> Self {
        let lots = part.saturating_mul(u64::from(LOTS)).checked_div(whole).unwrap_or(0);
        Self(u32::try_from(lots).unwrap_or(LOTS).min(LOTS))
    }

    pub const fn number(self) -> u32 {
        self.0
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self::from_number(digest.iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn from_number(number: u64) -> Self {
        Self(u32::try_from(number % u64::from(LOTS)).unwrap_or(0))
    }

    fn within(self, percent: Percent) -> bool {
        self.0 < u32::from(percent.get()) * (LOTS / 100)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    User {
        oid: UserId,
        /// The groups that the user is in, directly or by nesting.
        groups: &'a BTreeSet<GroupId>,
    },
    /// Nobody has the name: it draws a road, the same each time, as often as people have it.
    Nobody(Draw),
}

/// What a name that nobody has draws, apart for groups and for the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    pub groups: Lot,
    pub share: Lot,
}

impl Draw {
    /// Keyed, so that nobody can tell from a name alone which road it has to walk.
    pub fn of(name: &SignInName, key: &SignInKey) -> Self {
        let lot = |purpose| {
            let mac = key.mac(purpose, &[name.folded().as_bytes()]);
            // Sixteen hexadecimal digits are 64 bits.
            let number = mac.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
            Lot::from_number(number)
        };
        Self { groups: lot("rollout-groups"), share: lot("rollout-share") }
    }
}

/// How somebody signs in, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub method: AuthenticationMethod,
    /// Who answers, where the method is federation.
    pub partner: Option<EntityId>,
    pub because: Because,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "rollout")]
pub enum Because {
    Domain,
    Group(RolloutId),
    Share(RolloutId),
}

/// What a choice is made of.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    pub method: AuthenticationMethod,
    pub partner: Option<&'a EntityId>,
    pub rollouts: &'a [Rollout],
}

/// The method that a name walks. Total, and a function of nothing else.
pub fn choose(ground: Ground<'_>, standing: Standing<'_>) -> Choice {
    let rollout = of_groups(ground.rollouts, standing).or_else(|| of_share(ground.rollouts, standing));
    match rollout {
        Some(rollout) => Choice {
            method: rollout.method,
            partner: rollout.partner.clone(),
            because: match rollout.scope {
                Scope::Group { .. } => Because::Group(rollout.id),
                Scope::Share { .. } => Because::Share(rollout.id),
            },
        },
        None => Choice { method: ground.method, partner: ground.partner.cloned(), because: Because::Domain },
    }
}

fn of_groups<'a>(rollouts: &'a [Rollout], standing: Standing<'_>) -> Option<&'a Rollout> {
    let mut groups: Vec<(u32, GroupId, Lot, &Rollout)> = rollouts
        .iter()
        .filter_map(|rollout| match rollout.scope {
            Scope::Group { group, precedence, drawn } => Some((precedence, group, drawn, rollout)),
            Scope::Share { .. } => None,
        })
        .collect();
    groups.sort_by_key(|(precedence, ..)| *precedence);
    if planted(Fault::HighestPrecedenceWins) {
        groups.reverse();
    }
    match standing {
        Standing::User { groups: mine, .. } => {
            groups.into_iter().find(|(_, group, ..)| mine.contains(group)).map(|(.., rollout)| rollout)
        }
        Standing::Nobody(draw) => {
            let mut upper = 0;
            let within = |(.., drawn, _): &(u32, GroupId, Lot, &Rollout)| {
                upper += drawn.0;
                draw.groups.0 < upper
            };
            groups.into_iter().find(within).map(|(.., rollout)| rollout)
        }
    }
}

fn of_share<'a>(rollouts: &'a [Rollout], standing: Standing<'_>) -> Option<&'a Rollout> {
    rollouts.iter().find(|rollout| match (rollout.scope, standing) {
        (Scope::Group { .. }, _) => false,
        (Scope::Share { percent }, Standing::User { oid, .. }) => {
            let lot = Lot::of(oid);
            // Planted: the lot depends on the share, so that raising it draws anew.
            let lot = if planted(Fault::ShareDrawnAnew) { Lot((lot.0 * u32::from(percent.get())) % LOTS) } else { lot };
            lot.within(percent)
        }
        (Scope::Share { percent }, Standing::Nobody(draw)) => draw.share.within(percent),
    })
}

impl Realm {
    /// What choices for the realm's people are made of.
    pub fn ground(&self) -> Ground<'_> {
        Ground { method: self.method, partner: self.partner.as_ref(), rollouts: &self.rollouts }
    }

    /// The realm as somebody meets it for whom `choice` was made.
    pub fn under(mut self, choice: Choice) -> Self {
        self.method = choice.method;
        self.partner = choice.partner;
        self
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
