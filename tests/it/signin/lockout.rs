//! Smart lockout, with guesses that come all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landbridge::identity::{AccountState, DirectoryLockout, FailoverMode, PlainPassword, SignInName};
use landbridge::signin::lockout::Subject;
use landbridge::signin::lockout_report::Judgement;
use landbridge::signin::store::Attempts;
use landbridge::signin::{Notice, SignInError, SignInKey, Step};
use tokio::sync::Semaphore;

use super::administration::desk;
use super::scripted::{Bind, Mood};
use super::world::*;

on_both_engines! {
    two_hundred_guesses_at_once_reach_the_directory_as_often_as_the_limit_allows,
    a_stranger_locks_strangers_out_and_not_the_owner,
    the_same_wrong_password_counts_once_under_hash_sync,
    each_further_lock_lasts_longer,
    unknown_names_lock_like_known_ones,
    many_names_from_one_network_are_slowed_and_nobody_else_is,
    guesses_and_the_owner_at_once_wait_for_each_other_and_block_nobody,
    a_report_tells_an_attack_from_a_forgotten_password,
}

async fn two_hundred_guesses_at_once_reach_the_directory_as_often_as_the_limit_allows(world: World) {
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    let gate = Arc::new(Semaphore::new(0));
    *world.directory.gate.lock().expect("the gate") = Some(gate.clone());
    let handle = world.asked("ada").await;
    let world = Arc::new(world);
    let guesses: Vec<_> = (0..200)
        .map(|number| {
            let (world, handle) = (Arc::clone(&world), handle.clone());
            tokio::spawn(async move { world.type_password(&handle, &format!("guess {number}"), &stranger()).await })
        })
        .collect();
    eventually("196 guesses were turned away", async || world.records("sign-in").await.len() == 196).await;
    assert_eq!(world.directory.checked(), 4, "no more than the limit is in flight");
    gate.add_permits(1000);
    for guess in guesses {
        assert_eq!(guess.await.expect("a guess ends").notice(), Some(Notice::Refused));
    }
    assert_eq!(world.directory.checked(), 4);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused), "locked for strangers");
    assert_eq!(world.directory.checked(), 4, "while the window is full no bind is sent");
}

async fn a_stranger_locks_strangers_out_and_not_the_owner(world: World) {
    world.person("ada").await;
    world.sign_in_from("ada", "ada-password", &device("laptop")).await.session();
    for number in 0..8 {
        world.sign_in("ada", &format!("guess {number}")).await;
    }
    assert_eq!(world.last_reason().await, "lockout");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    world.sign_in_from("ada", "ada-password", &device("laptop")).await.session();
    assert_eq!(world.sign_in_from("ada", "ada-password", &device("other")).await.notice(), Some(Notice::Refused));
    // The owner's own mistakes have a limit of their own.
    for number in 0..6 {
        let mistake = world.sign_in_from("ada", &format!("slip {number}"), &device("laptop")).await;
        assert_eq!(mistake.notice(), Some(Notice::Refused));
        assert_eq!(world.last_reason().await, "wrong-password");
    }
    assert_eq!(world.sign_in_from("ada", "ada-password", &device("laptop")).await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "lockout");
}

async fn the_same_wrong_password_counts_once_under_hash_sync(world: World) {
    world.person("ada").await;
    for _ in 0..20 {
        assert_eq!(world.sign_in("ada", "last year's").await.notice(), Some(Notice::Refused));
        assert_eq!(world.last_reason().await, "wrong-password");
    }
    world.right("ada").await.session();
    // Under pass-through it counts each time, as the directory counts it.
    world.pta(FailoverMode::Automatic).await;
    for _ in 0..4 {
        world.sign_in("ada", "last year's").await;
        assert_eq!(world.last_reason().await, "wrong-password");
    }
    world.sign_in("ada", "last year's").await;
    assert_eq!(world.last_reason().await, "lockout");
}

async fn each_further_lock_lasts_longer(world: World) {
    world.person("ada").await;
    let mut number = 0;
    let mut fail = async || {
        number += 1;
        world.sign_in("ada", &format!("guess {number}")).await;
        world.last_reason().await
    };
    for _ in 0..4 {
        assert_eq!(fail().await, "wrong-password");
    }
    for lock in [60, 120, 240, 480] {
        assert_eq!(fail().await, "lockout");
        world.clock.advance(Duration::from_secs(lock - 1));
        assert_eq!(fail().await, "lockout", "{lock} s");
        world.clock.advance(Duration::from_secs(1));
        // One more try after the lock; its failure locks for longer.
        assert_eq!(fail().await, "wrong-password", "{lock} s");
    }
    world.clock.advance(Duration::from_secs(960));
    world.right("ada").await.session();
    for _ in 0..4 {
        assert_eq!(fail().await, "wrong-password");
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(fail().await, "wrong-password", "a success makes the next lock a first one");
}

async fn unknown_names_lock_like_known_ones(world: World) {
    let reasons = async |name: &str| {
        let mut reasons = Vec::new();
        for number in 0..6 {
            let refused = world.sign_in(name, &format!("guess {number}")).await;
            assert_eq!(refused.notice(), Some(Notice::Refused));
            reasons.push(world.last_reason().await == "lockout");
        }
        reasons
    };
    world.person("ada").await;
    let (known, unknown) = (reasons("ada").await, reasons("ghost").await);
    assert_eq!(known, [false, false, false, false, true, true]);
    assert_eq!(known, unknown);
    assert_eq!(reasons("GHOST").await, [true; 6], "however it is written");
    // The name itself is not in the counters.
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM lockout WHERE subject LIKE '%ghost%'").await, 0);
}

async fn guesses_and_the_owner_at_once_wait_for_each_other_and_block_nobody(world: World) {
    world.person("ada").await;
    let laptop = in_network(1, device("laptop"));
    world.sign_in_from("ada", "ada-password", &laptop).await.session();
    let world = Arc::new(world);
    let tries: Vec<_> = (0..120)
        .map(|number| {
            let (world, laptop) = (Arc::clone(&world), laptop.clone());
            tokio::spawn(async move {
                let outcome = match number % 4 {
                    0 => world.sign_in_from("ada", "ada-password", &laptop).await,
                    1 => world.sign_in_from("ada", "a slip", &laptop).await,
                    _ => {
                        let abroad = in_network(2, stranger());
                        world.sign_in_from("ada", &format!("guess {number}"), &abroad).await
                    }
                };
                assert!(!matches!(outcome, Outcome::Error(_)), "{outcome:?}");
            })
        })
        .collect();
    for tried in tries {
        tried.await.expect("a try ends");
    }
    assert_eq!(world.number("SELECT CAST(SUM(in_flight) AS BIGINT) FROM lockout").await, 0);
}

async fn many_names_from_one_network_are_slowed_and_nobody_else_is(world: World) {
    for name in ["ada", "bob", "eve"] {
        world.person(name).await;
    }
    let (office, home) = (in_network(1, stranger()), in_network(2, stranger()));
    let laptop = in_network(1, device("laptop"));
    world.sign_in_from("ada", "ada-password", &laptop).await.session();
    // People who forget and remember are not counted, nor are mistakes on their own devices.
    for _ in 0..3 {
        world.sign_in_from("bob", "a slip", &office).await;
        world.sign_in_from("bob", "bob-password", &office).await.session();
        world.sign_in_from("ada", "a slip", &laptop).await;
    }
    let spray = async |names: std::ops::Range<u32>| {
        let mut slowed = 0;
        for number in names {
            let handle = world.asked(&format!("ghost{number}")).await;
            let typed = PlainPassword::new("Summer2026!".to_owned());
            match world.sign_in.password(&handle, typed, &office).await {
                Err(SignInError::Slowed { wait }) => {
                    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
                    slowed += 1;
                }
                other => assert!(matches!(other, Ok(Step::AwaitPassword { .. })), "{other:?}"),
            }
        }
        slowed
    };
    assert_eq!(spray(0..12).await, 0, "so many names may fail");
    assert_eq!(spray(12..22).await, 9, "then one passes");
    assert!(world.alerts().await.iter().any(|alert| alert.name == "password-spray" && alert.subject == "203.0.1.0/24"));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(spray(22..32).await, 9, "and one in each pause");
    // Others, and those who are known there, do not notice.
    world.sign_in_from("eve", "eve-password", &home).await.session();
    world.sign_in_from("ada", "ada-password", &laptop).await.session();
    world.sign_in("eve", "eve-password").await.session();
    // A try that is turned away leaves the sign-in where it is.
    let handle = world.asked("bob").await;
    let typed = || PlainPassword::new("bob-password".to_owned());
    assert!(matches!(world.sign_in.password(&handle, typed(), &office).await, Err(SignInError::Slowed { .. })));
    world.clock.advance(Duration::from_secs(6));
    world.type_password(&handle, "bob-password", &office).await.session();
    // An hour later nothing of it counts.
    world.clock.advance(HOUR);
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(spray(40..45).await, 0);
    world.clock.advance(HOUR);
    world.sign_in.sweep().await.expect("a sweep");
    assert!(world.alerts().await.is_empty(), "the alert is cleared");
}

async fn a_report_tells_an_attack_from_a_forgotten_password(world: World) {
    for name in ["ada", "bob", "cyd", "dan"] {
        world.person(name).await;
    }
    // Bob mistypes on his own laptop, a phone of Cyd's has last year's password, somebody guesses at Ada.
    let (office, home, abroad) =
        (in_network(1, device("laptop")), in_network(2, stranger()), in_network(3, stranger()));
    world.sign_in_from("bob", "bob-password", &office).await.session();
    for number in 0..2 {
        world.sign_in_from("bob", &format!("slip {number}"), &office).await;
    }
    for _ in 0..6 {
        world.sign_in_from("cyd", "last year's", &home).await;
    }
    for number in 0..20 {
        world.sign_in_from("ada", &format!("guess {number}"), &abroad).await;
    }
    // Dan is one of many whose names are tried with one password.
    for number in 0..12 {
        world.sign_in_from(&format!("ghost{number}"), "Summer2026!", &in_network(4, stranger())).await;
    }
    world.clock.advance(Duration::from_secs(60));
    world.sign_in_from("dan", "Summer2026!", &in_network(4, stranger())).await;
    let desk = desk(&world, NOW + HOUR);
    let report = desk.lockouts(24, None, 50).await.expect("a report");
    let judged: BTreeMap<_, _> =
        report.users.iter().map(|user| (user.name.as_deref().expect("a user"), user)).collect();
    let judgements: Vec<_> = judged.iter().map(|(name, user)| (*name, user.judgement)).collect();
    let expected = [
        ("ada@example.org", Judgement::Guessing),
        ("bob@example.org", Judgement::Forgotten),
        ("cyd@example.org", Judgement::OldPassword),
        ("dan@example.org", Judgement::Spray),
    ];
    assert_eq!(judgements, expected);
    let ada = &judged["ada@example.org"];
    assert_eq!((ada.places.len(), ada.places[0].tries, ada.places[0].turned_away), (1, 4, 16));
    assert_eq!(judged["cyd@example.org"].places[0].repeated, 5);
    assert!(judged["bob@example.org"].places[0].familiar);
    let sprayed = report.networks.iter().find(|network| network.network == "203.0.4.0/24").expect("the network");
    assert_eq!((sprayed.users, sprayed.unknown_names), (1, 12));
    assert!(sprayed.slowed_since.is_some());
    assert_eq!(report.networks[0], *sprayed, "the network with most names comes first");
    // One user alone; and what is locked, until when.
    let ada: SignInName = "ada@example.org".parse().expect("a name");
    let alone = desk.lockouts(24, Some(&ada), 50).await.expect("a report").users;
    assert_eq!(alone.iter().map(|user| user.judgement).collect::<Vec<_>>(), [Judgement::Guessing]);
    assert_eq!(alone[0].locked_until, None, "the lock of a minute has ended");
    // Once Bob is in again, his slips are no riddle; a week later nobody's are told.
    world.sign_in_from("bob", "bob-password", &office).await.session();
    let bob: SignInName = "bob@example.org".parse().expect("a name");
    let places = desk.lockouts(24, Some(&bob), 50).await.expect("a report").users.remove(0).places;
    assert!(places[0].succeeded_at.is_some());
    world.clock.advance(8 * 24 * HOUR);
    world.sign_in.sweep().await.expect("a sweep");
    assert!(desk.lockouts(24 * 7, None, 50).await.expect("a report").users.is_empty());
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM wrong_try").await, 0);
}

#[tokio::test]
async fn the_limits_follow_the_directorys_own_threshold() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    let lockout = Some(DirectoryLockout { threshold: 5, window_ms: 7_200_000 });
    world.state("ada", &AccountState { lockout, ..AccountState::unrestricted() }, NOW).await;
    world.sign_in_from("ada", "ada-password", &device("laptop")).await.session();
    let asked = world.directory.checked();
    for number in 0..10 {
        world.sign_in("ada", &format!("guess {number}")).await;
        world.sign_in_from("ada", &format!("slip {number}"), &device("laptop")).await;
    }
    assert!(world.directory.checked() - asked <= 3, "5 - 2 of both together: {}", world.directory.checked() - asked);
    // The directory counts for two hours: so do we.
    world.clock.advance(Duration::from_secs(7_199));
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    world.clock.advance(Duration::from_secs(1));
    world.right("ada").await.session();
}

#[tokio::test]
async fn under_pass_through_a_full_window_sends_nothing_until_it_has_passed() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    for _ in 0..4 {
        world.sign_in("ada", "wrong").await;
    }
    // The lock of one minute ends, the directory's own window does not.
    world.clock.advance(Duration::from_secs(1799));
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.directory.checked(), 4);
    world.clock.advance(Duration::from_secs(1));
    world.right("ada").await.session();
}

#[tokio::test]
async fn what_is_no_wrong_password_is_not_counted() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    world.directory.bind_of("a-ada", Bind::Says(landbridge::identity::Refusal::RefusedUnknown(99)));
    for _ in 0..10 {
        assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
        assert_eq!(world.last_reason().await, "refused-unknown");
    }
    eventually("the alarm is raised", async || world.alerts().await.iter().any(|a| a.name == "unknown-refusal")).await;
    world.directory.bind_of("a-ada", Bind::Answers);
    world.directory.become_(Mood::Down);
    for _ in 0..10 {
        assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    }
    world.directory.become_(Mood::Up);
    eventually("the breaker closes", async || {
        world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open())
    })
    .await;
    world.right("ada").await.session();
}

#[tokio::test]
async fn a_try_that_may_have_been_sent_stays_in_flight_until_it_is_given_up() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.directory.bind_of("a-ada", Bind::HangsUp);
    for _ in 0..4 {
        assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    }
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "lockout");
    assert_eq!(world.number("SELECT CAST(SUM(failed) AS BIGINT) FROM lockout").await, 0, "no wrong password");
    world.directory.bind_of("a-ada", Bind::Answers);
    world.clock.advance(Duration::from_secs(120));
    world.sign_in.sweep().await.expect("a sweep");
    world.right("ada").await.session();
}

#[tokio::test]
async fn a_timeout_is_settled_by_its_late_answer_and_once() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.directory.bind_of("a-ada", Bind::Hangs);
    let in_flight = "SELECT CAST(SUM(in_flight) AS BIGINT) FROM lockout";
    let failed = "SELECT CAST(SUM(failed) AS BIGINT) FROM lockout";
    world.right("ada").await;
    assert_eq!((world.number(in_flight).await, world.number(failed).await), (1, 0));
    world.directory.never_answer("a-ada");
    eventually("the try is given back", async || world.number(in_flight).await == 0).await;
    world.sign_in("ada", "wrong").await;
    let wrong = landbridge::identity::Verdict::Refused(landbridge::identity::Refusal::WrongPassword);
    world.directory.answer_late("a-ada", wrong);
    eventually("the late refusal counts", async || world.number(failed).await == 1).await;
    assert_eq!(world.number(in_flight).await, 0);
    world.clock.advance(Duration::from_secs(600));
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!((world.number(in_flight).await, world.number(failed).await), (0, 1));
}

#[tokio::test]
async fn an_administrator_lifts_a_lock() {
    let world = on_sqlite().await;
    let oid = world.person("ada").await;
    for number in 0..5 {
        world.sign_in("ada", &format!("guess {number}")).await;
    }
    assert_eq!(world.last_reason().await, "lockout");
    assert!(world.tables.unlock(Subject::user(oid)).await.expect("a write"));
    world.right("ada").await.session();
    assert!(!world.tables.unlock(Subject::user(oid)).await.expect("a write"), "there was nothing left to lift");
    let name: SignInName = "ghost@example.org".parse().expect("a name");
    let nobody = Subject::unknown(&name, &SignInKey::new([9; 32]));
    assert!(!world.tables.unlock(nobody).await.expect("a write"));
}
