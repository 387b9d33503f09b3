use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::identity::UserId;
use uuid::Uuid;

fn person(number: u128) -> ObjectId {
    ObjectId::User(UserId::from_uuid(Uuid::from_u128(number)))
}

/// Who has what, and who waits for what since when.
#[derive(Clone, Debug, Default)]
struct World {
    has: BTreeMap<u128, String>,
    waits: BTreeMap<u128, i64>,
    /// Who may only keep what it has.
    tolerated: BTreeSet<u128>,
}

impl World {
    fn with(rows: &[(u128, &str)]) -> Self {
        Self { has: rows.iter().map(|(who, value)| (*who, (*value).to_owned())).collect(), ..Self::default() }
    }

    fn judge(&self, desires: &[(u128, Option<&str>)]) -> Vec<Award> {
        let wishes: Vec<Wish> = desires
            .iter()
            .map(|(who, desired)| Wish {
                who: person(*who),
                desired: desired.map(str::to_owned),
                right: if self.tolerated.contains(who) { Right::Lent } else { Right::Full },
                present: self.has.get(who).cloned(),
                stand_ins: vec![format!("{who}-a"), format!("{who}-b")],
                waiting_since: self.waits.get(who).map(|at| Timestamp::from_millis(*at)),
            })
            .collect();
        let mut holders = Holders::default();
        loop {
            match award(&wishes, &holders) {
                Ok(awards) => return awards,
                Err(unknown) => {
                    for value in unknown {
                        assert!(!holders.knows(&value), "a known value is not asked for again");
                        let holder = self.has.iter().find(|(_, held)| **held == value).map(|(who, _)| person(*who));
                        holders.set(value, holder);
                    }
                }
            }
        }
    }
}

fn values(awards: &[Award]) -> Vec<Option<&str>> {
    awards.iter().map(|award| award.value.as_deref()).collect()
}

#[test]
fn two_that_swap_are_both_served() {
    let awards = World::with(&[(1, "x"), (2, "y")]).judge(&[(1, Some("y")), (2, Some("x"))]);
    assert_eq!(values(&awards), [Some("y"), Some("x")]);
    assert!(awards.iter().all(|award| award.denied_by.is_none()));
}

#[test]
fn a_chain_rotates() {
    let world = World::with(&[(1, "a"), (2, "b"), (3, "c")]);
    let awards = world.judge(&[(1, Some("b")), (2, Some("c")), (3, Some("d"))]);
    assert_eq!(values(&awards), [Some("b"), Some("c"), Some("d")]);
}

#[test]
fn a_value_held_outside_the_batch_is_denied_and_its_holder_named() {
    let awards = World::with(&[(9, "x")]).judge(&[(1, Some("x"))]);
    assert_eq!(awards, [Award { value: Some("1-a".to_owned()), denied_by: Some(person(9)) }]);
}

#[test]
fn of_two_newcomers_the_first_is_served() {
    let awards = World::default().judge(&[(1, Some("x")), (2, Some("x"))]);
    assert_eq!(values(&awards), [Some("x"), Some("2-a")]);
    assert_eq!(awards[1].denied_by, Some(person(1)));
}

#[test]
fn the_longest_wait_is_served_before_a_newcomer() {
    let mut world = World::with(&[(1, "x"), (3, "3-a")]);
    world.waits.insert(3, 7);
    let awards = world.judge(&[(1, None), (2, Some("x")), (3, Some("x"))]);
    assert_eq!(values(&awards), [None, Some("2-a"), Some("x")]);
}

#[test]
fn a_holder_that_still_wants_its_value_keeps_it() {
    let mut world = World::with(&[(2, "x")]);
    world.waits.insert(1, 1);
    assert_eq!(values(&world.judge(&[(1, Some("x")), (2, Some("x"))])), [Some("1-a"), Some("x")]);
}

#[test]
fn who_has_no_full_right_keeps_a_value_until_somebody_with_one_wants_it() {
    let mut world = World::with(&[(2, "x")]);
    world.tolerated.insert(2);
    assert_eq!(values(&world.judge(&[(2, Some("x"))])), [Some("x")]);
    let awards = world.judge(&[(2, Some("x")), (1, Some("x"))]);
    assert_eq!(values(&awards), [Some("2-a"), Some("x")]);
    assert_eq!(awards[0].denied_by, Some(person(1)));
}

#[test]
fn a_stand_in_stays_while_the_wait_lasts_and_the_next_is_taken_when_it_is_anothers() {
    let world = World::with(&[(1, "1-b"), (2, "2-a"), (9, "x"), (7, "3-a")]);
    let awards = world.judge(&[(1, Some("x")), (3, Some("x"))]);
    assert_eq!(values(&awards), [Some("1-b"), Some("3-b")]);
}

proptest! {
    #[test]
    fn no_value_ever_has_two_holders(
        held in prop::collection::btree_map(0_u128..12, 0_usize..8, 0..8),
        desires in prop::collection::btree_map(0_u128..12, prop::option::of(0_usize..8), 1..12),
        waits in prop::collection::btree_map(0_u128..12, 0_i64..5, 0..4),
        tolerated in prop::collection::btree_set(0_u128..12, 0..4),
    ) {
        let pool = ["a", "b", "c", "d", "1-a", "2-a", "3-b", "4-a"];
        let mut world = World { waits, tolerated, ..World::default() };
        for (who, value) in held {
            if !world.has.values().any(|present| present == pool[value]) {
                world.has.insert(who, pool[value].to_owned());
            }
        }
        let desires: Vec<(u128, Option<&str>)> =
            desires.into_iter().map(|(who, value)| (who, value.map(|value| pool[value]))).collect();
        let awards = world.judge(&desires);
        let mut after = world.has.clone();
        for ((who, _), award) in desires.iter().zip(&awards) {
            match &award.value {
                Some(value) => after.insert(*who, value.clone()),
                None => after.remove(who),
            };
        }
        let mut seen = std::collections::BTreeSet::new();
        for value in after.values() {
            prop_assert!(seen.insert(value.clone()), "{value} twice in {after:?}");
        }
        for ((who, desired), award) in desires.iter().zip(&awards) {
            let Some(desired) = desired else { continue };
            if award.value.as_deref() == Some(*desired) {
                prop_assert_eq!(award.denied_by, None);
            } else {
                // Whoever is denied is denied by somebody who has the value when the batch has ended.
                let holder = after.iter().find(|(_, value)| value == desired).map(|(who, _)| person(*who));
                prop_assert_eq!(award.denied_by, holder, "{}", who);
                prop_assert!(holder.is_some());
            }
        }
    }
}
