//! A history: how the world is set up and what happens in it, all of it made of one seed.

use std::fmt;

use landbridge::sync::guard::GuardSettings;
use landbridge::sync::run::Profile;

use super::content::{Change, Kind, Naming, Target as To};
use super::dice::Dice;
use super::directory::{self, Break, Deltas};
use super::rules;
use super::target::{self, Confirms, Drift};

/// Steps of a history.
pub const LENGTH: usize = 50;

/// The three sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The directory that the personnel database knows.
    Corp,
    Lab,
    Hr,
}

pub const PLACES: [Place; 3] = [Place::Corp, Place::Lab, Place::Hr];

#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// In the order of [`PLACES`].
    pub sources: [directory::Manner; 3],
    pub target: target::Manner,
    pub limit: i64,
    pub emptied_limit: i64,
}

impl Setup {
    /// Limits that no population moves.
    pub fn guard(&self) -> GuardSettings {
        GuardSettings {
            count: self.limit,
            percent: 0,
            at_least: self.limit,
            emptied_percent: 0,
            emptied_at_least: self.emptied_limit,
            members_percent: 0,
            group_percent: 0,
            group_above: i64::MAX,
        }
    }
}

/// What goes wrong, or on, during one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hiccup {
    Source(Place, Break),
    Target(target::Break),
    /// The engine ends at its n-th transaction, before or after it is committed.
    Crash {
        transaction: u16,
        committed: bool,
    },
    /// Somebody changes a directory while it is read.
    Meanwhile(Place, u8, Change),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Happen(Place, Change),
    Run(Profile, Option<Hiccup>),
    Preview,
    /// An administrator releases one of the holds.
    Release(u8),
    Hours(u8),
    /// A decision of the rules is turned round.
    Rules(u8),
    /// Others change the target.
    Drift(Drift),
    /// The target begins, or ceases, to refuse changes of a person.
    Refuse(u8),
}

#[derive(Clone, Debug)]
pub struct History {
    pub setup: Setup,
    pub steps: Vec<Step>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}", self.setup)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:3}  {step:?}")?;
        }
        Ok(())
    }
}

impl History {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let setup = setup(seed, &mut dice);
        let mut steps = Vec::new();
        // Something to begin with.
        while steps.len() < LENGTH / 5 {
            let place = dice.pick(&PLACES);
            steps.push(Step::Happen(place, add(place, &mut dice)));
        }
        while steps.len() < LENGTH {
            steps.push(step(&mut dice));
        }
        Self { setup, steps }
    }
}

fn setup(seed: u64, dice: &mut Dice) -> Setup {
    let mut source = |flat: bool| {
        let trees = [Naming::Following, Naming::FollowingAloud, Naming::Text, Naming::Text];
        let deltas = [Deltas::Complete, Deltas::Complete, Deltas::Complete, Deltas::WithoutDeletes, Deltas::None];
        directory::Manner {
            naming: if flat { Naming::Anchor } else { dice.pick(&trees) },
            deltas: dice.pick(&deltas),
            page: dice.pick(&[1, 2, 4, 8, 50]),
            order: dice.next(),
            containers_first: dice.one_in(2),
        }
    };
    Setup {
        seed,
        sources: [source(false), source(false), source(true)],
        target: target::Manner {
            confirms: dice.pick(&[Confirms::ByFullReads, Confirms::ByChanges, Confirms::LinkByLink]),
            page: dice.pick(&[1, 3, 8, 50]),
            batch: dice.pick(&[1, 2, 3, 50]),
        },
        limit: i64::from(1 + dice.below(5)),
        emptied_limit: i64::from(1 + dice.below(6)),
    }
}

fn step(dice: &mut Dice) -> Step {
    match dice.below(100) {
        0..56 => {
            let place = dice.pick(&PLACES);
            Step::Happen(place, change(place, dice))
        }
        56..82 => {
            let profiles = [Profile::Delta, Profile::Delta, Profile::Delta, Profile::Cycle, Profile::Full];
            let profile = if dice.one_in(10) { Profile::Staging } else { dice.pick(&profiles) };
            Step::Run(profile, dice.one_in(3).then(|| hiccup(dice)))
        }
        82..84 => Step::Preview,
        84..90 => Step::Release(dice.below(4)),
        90..92 => Step::Hours(1 + dice.below(30)),
        92..95 => Step::Rules(dice.below(rules::COUNT)),
        95..98 => Step::Drift(match dice.below(6) {
            0 => Drift::Delete(dice.below(20)),
            1 => Drift::Rename(dice.below(20)),
            2 => Drift::Unlink(dice.below(20)),
            3 => Drift::Link(dice.below(20), dice.below(20)),
            _ => Drift::Appear(dice.below(USERS)),
        }),
        _ => Step::Refuse(dice.below(USERS)),
    }
}

fn hiccup(dice: &mut Dice) -> Hiccup {
    let place = dice.pick(&PLACES);
    match dice.below(9) {
        0 => Hiccup::Source(place, Break::Unreachable),
        1 | 2 => Hiccup::Source(place, Break::Abort(dice.below(4))),
        3 => Hiccup::Source(place, Break::Empty),
        4 => Hiccup::Target(target::Break::Export { batch: dice.below(3), carried_out: dice.below(4) }),
        5 => Hiccup::Target(target::Break::Confirm { pages: dice.below(3) }),
        6 => loop {
            // Data and settings do not change in the middle of a read: the watermark would not fit it.
            let change = change(place, dice);
            if !matches!(change, Change::Restore | Change::Tick { .. } | Change::Untick { .. }) {
                break Hiccup::Meanwhile(place, 1 + dice.below(3), change);
            }
        },
        _ => Hiccup::Crash { transaction: 1 + u16::from(dice.below(40)), committed: dice.one_in(2) },
    }
}

const USERS: u8 = 6;
const GROUPS: u8 = 3;
const CONTAINERS: u8 = 4;
/// Containers by number; the last is none, so that the root is meant.
const INTO: u8 = CONTAINERS + 1;

fn kind(place: Place, dice: &mut Dice) -> (Kind, u8) {
    match place {
        Place::Hr => (Kind::Person, dice.below(USERS)),
        Place::Corp | Place::Lab => match dice.below(6) {
            0..3 => (Kind::User, dice.below(USERS)),
            3 | 4 => (Kind::Group, dice.below(GROUPS)),
            _ => (Kind::Container, dice.below(CONTAINERS)),
        },
    }
}

fn add(place: Place, dice: &mut Dice) -> Change {
    let (kind, entry) = kind(place, dice);
    Change::Add { kind, entry, name: entry + dice.below(2), into: dice.below(INTO) }
}

fn change(place: Place, dice: &mut Dice) -> Change {
    let (kind, entry) = kind(place, dice);
    match dice.below(20) {
        0..4 => Change::Add { kind, entry, name: dice.below(USERS), into: dice.below(INTO) },
        4 | 5 => Change::Remove { kind, entry },
        6..9 => Change::Move { kind, entry, name: dice.below(USERS), into: dice.below(INTO) },
        9..13 => set(place, dice),
        13..17 => refer(place, false, dice),
        17 => refer(place, true, dice),
        18 => match dice.below(3) {
            0 => Change::Untick { container: dice.below(CONTAINERS) },
            _ => Change::Tick { container: dice.below(CONTAINERS) },
        },
        _ => match dice.below(3) {
            0 => Change::Restore,
            _ => Change::BackUp,
        },
    }
}

fn set(place: Place, dice: &mut Dice) -> Change {
    const NONE: Option<&str> = None;
    let (kind, attribute, values): (Kind, &'static str, &[Option<&'static str>]) = match place {
        Place::Hr => match dice.below(5) {
            0 => (Kind::Person, "title", &[NONE, Some("Counsel"), Some("Poet")]),
            1 => (Kind::Person, "department", &[NONE, Some("sales"), Some("secret")]),
            2 => (Kind::Person, "mobile", &[NONE, Some("+1"), Some("+2")]),
            3 => (Kind::Person, "status", &[NONE, NONE, Some("left")]),
            _ => (Kind::Person, "telephoneNumber", &[NONE, Some("1"), Some("2")]),
        },
        Place::Corp | Place::Lab => match dice.below(10) {
            0 => (Kind::User, "title", &[NONE, Some("Countess"), Some("Poet")]),
            1 => (Kind::User, "department", &[NONE, Some("sales"), Some("secret"), Some("law")]),
            2 => (Kind::User, "mobile", &[NONE, Some("+3"), Some("+4")]),
            3 => (Kind::User, "employeeType", &[NONE, Some("robot")]),
            4 => (Kind::User, "telephoneNumber", &[NONE, Some("2"), Some("3")]),
            5 => (Kind::User, "nsAccountLock", &[NONE, Some("TRUE")]),
            6 => (Kind::User, "mail", &[NONE, Some("one@example.org"), Some("two@example.org")]),
            7 => (Kind::User, "cn", &[NONE, Some("Ada"), Some("Eve")]),
            8 => (Kind::Group, "cn", &[Some("All"), Some("Staff")]),
            _ => (Kind::Group, "description", &[NONE, Some("hidden")]),
        },
    };
    let entry = dice.below(if kind == Kind::Group { GROUPS } else { USERS });
    let value = dice.pick(values);
    match value {
        Some(value) if attribute == "telephoneNumber" && dice.one_in(2) => {
            Change::Give { kind, entry, attribute, value }
        }
        value => Change::Set { kind, entry, attribute, value },
    }
}

fn refer(place: Place, back: bool, dice: &mut Dice) -> Change {
    let someone = |dice: &mut Dice| To { kind: Kind::User, number: dice.below(USERS), container: dice.below(INTO) };
    let (kind, entry, attribute, to) = match place {
        Place::Hr => {
            let to = To { kind: Kind::Person, number: dice.below(USERS), container: 0 };
            (Kind::Person, dice.below(USERS), "manager", to)
        }
        Place::Corp | Place::Lab if dice.one_in(3) => (Kind::User, dice.below(USERS), "manager", someone(dice)),
        Place::Corp | Place::Lab => {
            let group = To { kind: Kind::Group, number: dice.below(GROUPS), container: dice.below(INTO) };
            let to = if dice.one_in(4) { group } else { someone(dice) };
            (Kind::Group, dice.below(GROUPS), "member", to)
        }
    };
    if back { Change::Unrefer { kind, entry, attribute, to } } else { Change::Refer { kind, entry, attribute, to } }
}
