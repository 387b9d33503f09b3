//! Whose passwords failed, from where, and whether that looks like an attack or like somebody who forgot.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::identity::{Timestamp, UserId};

/// The wrong tries at one user's password, from one network and kind of place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceTries {
    /// `None` when the network is hidden by a balancer.
    pub network: Option<String>,
    /// From devices on which the user had signed in before.
    pub familiar: bool,
    /// Wrong passwords that were checked.
    pub tries: u64,
    /// Of these, the same as one shortly before.
    pub repeated: u64,
    /// Tries while locked, which nobody checked.
    pub turned_away: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// When the user signed in from there after such tries.
    pub succeeded_at: Option<Timestamp>,
}

/// A user's wrong tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTries {
    pub oid: UserId,
    /// `None` when the user is gone.
    pub upn: Option<String>,
    /// Until when unknown devices, or familiar ones, are locked out.
    pub locked_until: Option<Timestamp>,
    pub places: Vec<PlaceTries>,
}

/// The wrong tries of one network, whoever was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkTries {
    pub network: String,
    /// Users whose names failed from unknown devices there, and did not succeed since.
    pub users: u64,
    /// Names that nobody has.
    pub unknown_names: u64,
    pub tries: u64,
    pub turned_away: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// Since when the network is slowed.
    pub slowed_since: Option<Timestamp>,
}

/// What somebody's wrong tries look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Many different passwords, or many networks, on unknown devices, and no success: an attack on this user.
    Guessing,
    /// Most of them came from a network that tries many names: an attack on many.
    Spray,
    /// The same wrong password again and again: a device or an application holds an old one.
    OldPassword,
    /// A few tries of the user's own devices, or followed by success.
    Forgotten,
    /// Too little to tell.
    Unclear,
}

impl Judgement {
    pub const fn is_attack(self) -> bool {
        match self {
            Self::Guessing | Self::Spray => true,
            Self::OldPassword | Self::Forgotten | Self::Unclear => false,
        }
    }

    pub const fn describe(self) -> &'static str {
        match self {
            Self::Guessing => "attack: guessing",
            Self::Spray => "attack: spray",
            Self::OldPassword => "an old password is kept somewhere",
            Self::Forgotten => "forgotten password",
            Self::Unclear => "unclear",
        }
    }
}

/// Different passwords from unknown devices that no forgetful person tries: beyond what the lock lets through.
const MANY_PASSWORDS: u64 = 10;
/// Networks that nobody visits within the time of a report to forget a password in each.
const MANY_NETWORKS: usize = 4;
/// Tries before a repeated password says something.
const ENOUGH: u64 = 3;

/// Judges a user's tries. `sprayed` are the networks that try many names.
pub fn judge(places: &[PlaceTries], sprayed: &BTreeSet<String>) -> Judgement {
    let weight = |place: &PlaceTries| place.tries + place.turned_away;
    let all: u64 = places.iter().map(weight).sum();
    let is_sprayed = |place: &&PlaceTries| place.network.as_ref().is_some_and(|network| sprayed.contains(network));
    let of_sprays: u64 = places.iter().filter(is_sprayed).map(weight).sum();
    if of_sprays * 2 > all {
        return Judgement::Spray;
    }
    let (tries, repeated): (u64, u64) =
        (places.iter().map(|place| place.tries).sum(), places.iter().map(|place| place.repeated).sum());
    if tries >= ENOUGH && repeated * 2 >= tries {
        return Judgement::OldPassword;
    }
    let hostile = |place: &&PlaceTries| !place.familiar && place.succeeded_at.is_none_or(|at| at < place.last_at);
    let different: u64 =
        places.iter().filter(hostile).map(|place| place.tries.saturating_sub(place.repeated) + place.turned_away).sum();
    let networks: BTreeSet<_> = places.iter().filter(hostile).filter_map(|place| place.network.as_deref()).collect();
    if different >= MANY_PASSWORDS || networks.len() >= MANY_NETWORKS {
        return Judgement::Guessing;
    }
    let own = places.iter().filter(|place| !hostile(place)).map(weight).sum::<u64>();
    if all > 0 && own * 2 >= all { Judgement::Forgotten } else { Judgement::Unclear }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Timestamp = Timestamp::from_secs(1_700_000_000);
    const LATER: Timestamp = Timestamp::from_secs(1_700_000_600);

    fn place(network: &str, familiar: bool, tries: u64, repeated: u64, turned_away: u64) -> PlaceTries {
        PlaceTries {
            network: Some(network.to_owned()),
            familiar,
            tries,
            repeated,
            turned_away,
            first_at: THEN,
            last_at: THEN,
            succeeded_at: None,
        }
    }

    #[test]
    fn an_attack_is_told_from_a_forgotten_password() {
        let sprayed = BTreeSet::from(["203.0.113.0/24".to_owned()]);
        let succeeded = |place| PlaceTries { succeeded_at: Some(LATER), ..place };
        let rows: [(&str, Vec<PlaceTries>, Judgement); 11] = [
            ("the owner's device", vec![place("192.0.2.0/24", true, 3, 0, 2)], Judgement::Forgotten),
            ("a new device, then in", vec![succeeded(place("192.0.2.0/24", false, 3, 1, 12))], Judgement::Forgotten),
            ("guesses and a lock", vec![place("192.0.2.0/24", false, 3, 0, 40)], Judgement::Guessing),
            (
                "from everywhere",
                (1..=4).map(|number| place(&format!("198.51.{number}.0/24"), false, 1, 0, 0)).collect(),
                Judgement::Guessing,
            ),
            ("a phone with last year's", vec![place("192.0.2.0/24", false, 30, 29, 0)], Judgement::OldPassword),
            ("the same on a known device", vec![place("192.0.2.0/24", true, 9, 8, 0)], Judgement::OldPassword),
            ("one of many names", vec![place("203.0.113.0/24", false, 1, 0, 0)], Judgement::Spray),
            (
                "a slip while a spray goes on",
                vec![place("203.0.113.0/24", false, 1, 0, 0), place("192.0.2.0/24", true, 3, 0, 0)],
                Judgement::Forgotten,
            ),
            (
                "guessed while the owner works",
                vec![succeeded(place("192.0.2.0/24", true, 1, 0, 0)), place("198.51.100.0/24", false, 3, 0, 20)],
                Judgement::Guessing,
            ),
            ("two tries of a stranger", vec![place("192.0.2.0/24", false, 2, 0, 0)], Judgement::Unclear),
            ("nothing", vec![], Judgement::Unclear),
        ];
        for (name, places, expected) in rows {
            assert_eq!(judge(&places, &sprayed), expected, "{name}");
        }
    }

    #[test]
    fn a_success_before_the_last_tries_excuses_nobody() {
        let again = PlaceTries { last_at: LATER, succeeded_at: Some(THEN), ..place("192.0.2.0/24", false, 3, 0, 40) };
        assert_eq!(judge(&[again], &BTreeSet::new()), Judgement::Guessing);
    }
}
