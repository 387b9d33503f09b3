//! Smart lockout, with guesses that come all at once.

use std::sync::Arc;
use std::time::Duration;

use landbridge::identity::{FailoverMode, SignInName};
use landbridge::signin::lockout::Subject;
use landbridge::signin::store::Attempts;
use landbridge::signin::{Notice, SignInKey};
use tokio::sync::Semaphore;

use super::scripted::{Bind, Mood};
use super::world::*;

on_both_engines! {
    two_hundred_guesses_at_once_reach_the_directory_as_often_as_the_limit_allows,
    a_stranger_locks_strangers_out_and_not_the_owner,
    the_same_wrong_password_counts_once_under_hash_sync,
    each_further_lock_lasts_longer,
    unknown_names_lock_like_known_ones,
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
