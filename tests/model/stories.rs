//! Short histories that once went wrong.

use landbridge::sync::run::Profile;

use super::content::{Change, Kind, Naming, Target as To};
use super::directory::{self, Deltas};
use super::history::{Hiccup, History, Place, Setup, Step};
use super::target::{self, Break, Confirms, Drift};

/// What it is about, and the histories that show it.
pub struct Story {
    pub name: &'static str,
    pub histories: Vec<History>,
}

/// Enough for every transaction of a run in a small world.
const TRANSACTIONS: u16 = 60;

fn setup() -> Setup {
    let source =
        |naming| directory::Manner { naming, deltas: Deltas::Complete, page: 5, order: 1, containers_first: true };
    Setup {
        seed: 0,
        sources: [source(Naming::Text), source(Naming::Following), source(Naming::Anchor)],
        target: target::Manner { confirms: Confirms::ByChanges, page: 5, batch: 50 },
        limit: 5,
        emptied_limit: 5,
    }
}

fn add(kind: Kind, entry: u8, into: u8) -> Step {
    Step::Happen(Place::Corp, Change::Add { kind, entry, name: entry, into })
}

fn user(entry: u8) -> Step {
    add(Kind::User, entry, ROOT)
}

fn remove(entry: u8) -> Step {
    Step::Happen(Place::Corp, Change::Remove { kind: Kind::User, entry })
}

fn title(entry: u8, value: Option<&'static str>) -> Step {
    Step::Happen(Place::Corp, Change::Set { kind: Kind::User, entry, attribute: "title", value })
}

fn enter(container: u8, into: u8) -> Step {
    let kind = Kind::Container;
    Step::Happen(Place::Corp, Change::Move { kind, entry: container, name: container, into })
}

/// No container has this number.
const ROOT: u8 = 9;
const RUN: Step = Step::Run(Profile::Delta, None);

fn breaking(how: Break) -> Step {
    Step::Run(Profile::Delta, Some(Hiccup::Target(how)))
}

/// The same steps with the engine ended at each transaction of one run, before or after it is committed.
fn at_each_transaction(setup: &Setup, steps: impl Fn(Step) -> Vec<Step>) -> Vec<History> {
    let crashes = (1..TRANSACTIONS).flat_map(|n| [(n, false), (n, true)]);
    crashes
        .map(|(transaction, committed)| {
            let run = Step::Run(Profile::Delta, Some(Hiccup::Crash { transaction, committed }));
            History { setup: setup.clone(), steps: steps(run) }
        })
        .collect()
}

pub fn stories() -> Vec<Story> {
    let one = |name, steps| Story { name, histories: vec![History { setup: setup(), steps }] };
    let strict = || Setup { limit: 1, ..setup() };
    let to = To { kind: Kind::User, number: 0, container: ROOT };
    let member = Step::Happen(Place::Corp, Change::Refer { kind: Kind::Group, entry: 0, attribute: "member", to });
    let group = add(Kind::Group, 0, ROOT);
    let person = Step::Happen(Place::Hr, Change::Add { kind: Kind::Person, entry: 0, name: 0, into: ROOT });
    let status = Change::Set { kind: Kind::Person, entry: 0, attribute: "status", value: Some("left") };
    let left = Step::Happen(Place::Hr, status);
    let status = Change::Set { kind: Kind::Person, entry: 0, attribute: "status", value: None };
    let back = Step::Happen(Place::Hr, status);
    let of_itself = |place| {
        let kind = if place == Place::Hr { Kind::Person } else { Kind::User };
        let to = To { kind, number: 0, container: ROOT };
        Step::Happen(place, Change::Refer { kind, entry: 0, attribute: "manager", to })
    };
    vec![
        one(
            "a group that others deleted at the target comes back with its members",
            vec![group, user(0), member, RUN, Step::Drift(Drift::Delete(0)), RUN, RUN],
        ),
        one(
            "a user that others deleted at the target comes back into its groups",
            vec![group, user(0), member, RUN, Step::Drift(Drift::Delete(1)), RUN, RUN],
        ),
        one(
            "an account that others made while the engine's add is refused becomes the user's",
            vec![user(5), Step::Refuse(5), Step::Drift(Drift::Appear(5)), RUN, Step::Refuse(5), RUN],
        ),
        one(
            "a member who comes back, and is made at the target only then, is in the group",
            vec![person, left, user(0), group, member, RUN, back, RUN],
        ),
        one(
            "an account that others made stays theirs when its person, who left, is adopted and leaves at once",
            vec![person, left, RUN, Step::Drift(Drift::Appear(0)), RUN, user(0), RUN],
        ),
        one(
            "nor is it there that a new engine, which reads the sources in another order, takes it away",
            vec![person, left, RUN, user(0), Step::Drift(Drift::Appear(0))],
        ),
        one(
            "who is adopted and leaves at once comes into no group",
            vec![person, left, user(0), Step::Drift(Drift::Appear(0)), group, member],
        ),
        one(
            "nor are links taken away that others made of an account of theirs",
            vec![person, left, user(0), user(1), RUN, Step::Drift(Drift::Appear(0)), Step::Drift(Drift::Link(1, 0))],
        ),
        one(
            "a link that others made to an account of theirs is known, whichever of the two is told first",
            vec![user(0), RUN, Step::Drift(Drift::Appear(5)), Step::Drift(Drift::Link(0, 1))],
        ),
        one(
            "a change that was refused and is not wanted any more is no problem",
            vec![user(0), RUN, Step::Refuse(0), title(0, Some("Poet")), RUN, title(0, None), RUN],
        ),
        one(
            "links whose answer was lost and that are done are no problem",
            vec![
                group,
                add(Kind::Group, 1, ROOT),
                RUN,
                Step::Drift(Drift::Link(0, 1)),
                RUN,
                breaking(Break::Export { batch: 0, carried_out: 1 }),
                RUN,
            ],
        ),
        one(
            "managers go with the flow that told them, though its rule stays",
            vec![person, user(0), of_itself(Place::Hr), RUN, Step::Rules(5)],
        ),
        one(
            "managers leave the target with the flow that told it, though its rule stays",
            vec![user(0), of_itself(Place::Corp), RUN, Step::Rules(10), RUN, Step::Rules(10)],
        ),
        one(
            "a container that left its own in the same page stays when that leaves the scope",
            vec![
                add(Kind::Container, 0, ROOT),
                add(Kind::Container, 1, 0),
                add(Kind::Container, 2, ROOT),
                add(Kind::User, 0, 1),
                Step::Happen(Place::Corp, Change::Untick { container: 2 }),
                RUN,
                enter(1, ROOT),
                enter(0, 2),
                RUN,
            ],
        ),
        Story {
            name: "a delete whose answer was lost counts for the guard",
            histories: vec![History {
                setup: strict(),
                steps: vec![
                    user(0),
                    user(1),
                    RUN,
                    remove(0),
                    breaking(Break::Export { batch: 0, carried_out: 1 }),
                    remove(1),
                    RUN,
                ],
            }],
        },
        Story {
            name: "a release is used once, wherever the engine ends",
            histories: at_each_transaction(&strict(), |crash| {
                let gone = [remove(0), remove(1), RUN, Step::Release(0)];
                let back = [RUN, user(0), user(1), RUN, remove(0), remove(1), RUN];
                [user(0), user(1), RUN].into_iter().chain(gone).chain([crash]).chain(back).collect()
            }),
        },
        Story {
            name: "other rules find what a first synchronisation did before it was cut short",
            histories: at_each_transaction(&setup(), |crash| {
                vec![user(0), user(1), title(0, Some("Poet")), crash, Step::Rules(7)]
            }),
        },
    ]
}
