//! The precedence of rollouts, as their page states it.

use std::collections::BTreeSet;

use super::*;
use AuthenticationMethod::{Federated, Phs, Pta};

fn group(number: u128) -> GroupId {
    GroupId::from_uuid(uuid::Uuid::from_u128(number))
}

fn user(number: u128) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(number))
}

fn rollout(scope: Scope, method: AuthenticationMethod) -> Rollout {
    Rollout {
        id: RolloutId::random(),
        domain: "example.org".parse().expect("a domain"),
        scope,
        method,
        partner: (method == Federated).then(|| "https://idp.example".parse().expect("an entity id")),
        by: "ada".to_owned(),
        at: Timestamp::from_secs(1),
    }
}

fn of_group(number: u128, precedence: u32, drawn: u32, method: AuthenticationMethod) -> Rollout {
    rollout(Scope::Group { group: group(number), precedence, drawn: Lot(drawn) }, method)
}

fn share(percent: u8, method: AuthenticationMethod) -> Rollout {
    rollout(Scope::Share { percent: percent.try_into().expect("a share") }, method)
}

fn method_of(rollouts: &[Rollout], oid: UserId, groups: &[u128]) -> AuthenticationMethod {
    let groups: BTreeSet<GroupId> = groups.iter().map(|number| group(*number)).collect();
    choose(Ground { method: Federated, partner: None, rollouts }, Standing::User { oid, groups: &groups }).method
}

#[test]
fn a_group_comes_before_the_share_and_the_share_before_the_domain() {
    let everybody = share(100, Phs);
    let rollouts = [everybody.clone(), of_group(1, 10, 0, Pta)];
    assert_eq!(method_of(&rollouts, user(1), &[1]), Pta);
    assert_eq!(method_of(&rollouts, user(1), &[2]), Phs);
    assert_eq!(method_of(&rollouts[1..], user(1), &[2]), Federated);
    // A group that stays with the domain's method is held back from the share.
    assert_eq!(method_of(&[everybody, of_group(1, 10, 0, Federated)], user(1), &[1]), Federated);
}

#[test]
fn of_several_groups_the_lowest_number_counts_whatever_the_order_of_the_rows() {
    let (first, second) = (of_group(1, 10, 0, Pta), of_group(2, 20, 0, Phs));
    for rollouts in [[first.clone(), second.clone()], [second, first]] {
        assert_eq!(method_of(&rollouts, user(1), &[1, 2]), Pta);
        assert_eq!(method_of(&rollouts, user(1), &[2]), Phs);
    }
}

#[test]
fn a_share_that_grows_keeps_whom_it_had_and_is_about_as_large_as_it_says() {
    let people: Vec<UserId> = (0..5_000).map(user).collect();
    let moved = |percent| -> BTreeSet<UserId> {
        let rollouts = [share(percent, Phs)];
        people.iter().copied().filter(|oid| method_of(&rollouts, *oid, &[]) == Phs).collect()
    };
    let mut before = BTreeSet::new();
    for percent in 1..=100 {
        let now = moved(percent);
        assert!(now.is_superset(&before), "{percent} % moved somebody back");
        let expected = usize::from(percent) * people.len() / 100;
        assert!(now.len().abs_diff(expected) < 200, "{percent} % moved {} of {}", now.len(), people.len());
        before = now;
    }
    assert_eq!(before.len(), people.len());
}

#[test]
fn names_that_nobody_has_draw_each_road_as_often_as_people_walk_it() {
    let key = SignInKey::new([3; 32]);
    let rollouts = [of_group(1, 10, 2_000, Pta), of_group(2, 20, 1_000, Federated), share(50, Phs)];
    let ground = Ground { method: Federated, partner: None, rollouts: &rollouts };
    let mut counted = [0u32; 4];
    for number in 0..4_000 {
        let name: SignInName = format!("nobody-{number}@example.org").parse().expect("a name");
        let draw = Draw::of(&name, &key);
        assert_eq!(draw, Draw::of(&name, &key), "the same each time");
        let choice = choose(ground, Standing::Nobody(draw));
        counted[match choice.because {
            Because::Group(id) if id == rollouts[0].id => 0,
            Because::Group(_) => 1,
            Because::Share(_) => 2,
            Because::Domain => 3,
        }] += 1;
    }
    for (counted, expected) in counted.into_iter().zip([800, 400, 1_400, 1_400]) {
        assert!(counted.abs_diff(expected) < 150, "{counted} rather than {expected}");
    }
}

#[test]
fn shares_of_groups_are_told_in_ten_thousandths() {
    assert_eq!(Lot::share(0, 0), Lot(0));
    assert_eq!(Lot::share(1, 3), Lot(3_333));
    assert_eq!(Lot::share(7, 7), Lot(10_000));
}
