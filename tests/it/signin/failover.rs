//! Failover, with a directory that breaks in every way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landbridge::identity::{AccountState, Backup, FailoverMode, Pin, Refusal, UnavailableCause, Verdict};
use landbridge::signin::Notice;
use landbridge::signin::outage::AUTHORITY_DOWN;
use landbridge::signin::store::Alerts as _;
use landbridge::store::tenant::DomainChange;

use super::scripted::{Bind, Mood};
use super::world::*;

on_both_engines! {
    a_dead_directory_is_stood_in_for_and_takes_over_again_by_itself,
    who_was_refused_before_the_outage_stays_out,
    a_late_refusal_ends_the_session_that_the_backup_granted,
    a_password_that_the_directory_had_already_refused_stays_refused,
}

async fn automatic() -> World {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world
}

async fn a_dead_directory_is_stood_in_for_and_takes_over_again_by_itself(world: World) {
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.right("ada").await.session();
    for mood in [Mood::Down, Mood::Frozen] {
        world.directory.become_(mood);
        let signed_in = world.right("ada").await;
        let session = signed_in.session();
        assert!(session.failover);
        assert_eq!((session.authority.as_str(), session.credential_version), ("password-hash", Some(1)));
        assert_eq!(session.amr, ["pwd", "failover"]);
        assert_eq!(session.expires_at, NOW + Duration::from_secs(4 * 3600));
        assert_eq!(world.last_record().await.detail["failover"], serde_json::json!(true));
        assert!(world.sign_in.session(signed_in.cookie()).await.expect("a read").is_some());
        // The breaker is open: nobody waits for the directory any more, and wrong passwords stay refused.
        let asked = world.directory.checked();
        world.right("ada").await.session();
        assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
        assert_eq!(world.last_reason().await, "backup-wrong-password");
        assert_eq!(world.directory.checked(), asked);
        // One alert for all of them.
        eventually("the outage has its alert", async || world.alerts().await.len() == 1).await;
        let alert = world.alerts().await.remove(0);
        assert_eq!((alert.name.as_str(), alert.subject.as_str()), (AUTHORITY_DOWN, "corp"));
        world.directory.become_(Mood::Up);
        eventually("the breaker closes", async || {
            world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open())
        })
        .await;
        assert!(!world.right("ada").await.session().failover);
        eventually("the alert is cleared", async || world.alerts().await.is_empty()).await;
    }
    assert_eq!(world.records("failover-started").await.len(), 2);
    assert_eq!(world.records("failover-ended").await.len(), 2);
}

async fn who_was_refused_before_the_outage_stays_out(world: World) {
    world.pta(FailoverMode::Automatic).await;
    let live = [
        ("disabled", Refusal::Disabled),
        ("expired", Refusal::Expired),
        ("locked", Refusal::LockedOut),
        ("changing", Refusal::MustChangePassword),
        ("aged", Refusal::PasswordExpired),
        ("gone", Refusal::NotInDirectory),
        ("odd", Refusal::RefusedUnknown(4711)),
    ];
    for (name, refusal) in live {
        world.person(name).await;
        world.directory.bind_of(&anchor(name), Bind::Says(refusal));
        world.clock.advance(Duration::from_secs(1));
        assert!(world.right(name).await.notice().is_some(), "{name}");
    }
    let stored = [
        ("off", AccountState { enabled: false, ..AccountState::unrestricted() }),
        ("ended", AccountState { account_expires: Some(NOW), ..AccountState::unrestricted() }),
        ("due", AccountState { must_change_password: true, ..AccountState::unrestricted() }),
    ];
    for (name, state) in &stored {
        world.person(name).await;
        world.state(name, state, NOW).await;
    }
    world.person("fine").await;
    world.directory.become_(Mood::Down);
    world.right("fine").await.session();
    for (name, _) in live {
        assert_eq!(world.right(name).await.notice(), Some(Notice::Refused), "{name}");
        assert!(world.last_reason().await.starts_with("failover-refused-before-"), "{name}");
    }
    for (name, _) in &stored {
        assert_eq!(world.right(name).await.notice(), Some(Notice::Refused), "{name}");
        assert!(world.last_reason().await.starts_with("failover-"), "{name}");
    }
    // A newer state clears a refusal: the directory has changed its mind and the channel has seen it.
    world.state("disabled", &AccountState::unrestricted(), NOW + HOUR).await;
    world.right("disabled").await.session();
}

async fn a_late_refusal_ends_the_session_that_the_backup_granted(world: World) {
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.directory.become_(Mood::Frozen);
    let signed_in = world.right("ada").await;
    assert!(signed_in.session().failover);
    let live = async || world.sign_in.session(signed_in.cookie()).await.expect("a read").is_some();
    assert!(live().await);
    world.directory.answer_late("a-ada", Verdict::Refused(Refusal::WrongPassword));
    eventually("the session has ended", async || !live().await).await;
    let record = world.records("late-verdict").await.remove(0);
    assert_eq!((record.outcome.as_str(), record.reason.as_deref()), ("refused", Some("wrong-password")));
    assert_eq!(record.detail["revoked"], serde_json::json!(true));
    // It counts, and the hash that accepted what the directory refuses is barred from now on.
    let failed = "SELECT CAST(SUM(failed) AS BIGINT) FROM lockout";
    assert_eq!(world.number(failed).await, 1);
    eventually("the hash is outdated", async || world.outdated("ada").await).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-hash-outdated");
}

async fn a_password_that_the_directory_had_already_refused_stays_refused(world: World) {
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.person("ben").await;
    // Both passwords were changed at the directory; the channel has not seen it.
    world.directory.person("a-ada", "new");
    world.directory.person("a-ben", "new");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    eventually("the old hash is outdated", async || world.outdated("ada").await).await;
    assert_eq!(world.records("credential-outdated").await[0].reason.as_deref(), Some("still-matches-refused"));
    world.execute("UPDATE credential SET password_set = 1000").await;
    world.directory.password_set("a-ben", NOW);
    world.sign_in("ben", "new").await.session();
    eventually("the older hash is outdated", async || world.outdated("ben").await).await;
    world.directory.become_(Mood::Down);
    for name in ["ada", "ben"] {
        assert_eq!(world.right(name).await.notice(), Some(Notice::Refused), "{name}");
        assert_eq!(world.last_reason().await, "failover-hash-outdated");
    }
    // The channel replaces the hash.
    world.hashes.store("a-ada", "new");
    world.hash_row("ada", 2).await;
    world.sign_in("ada", "new").await.session();
}

#[tokio::test]
async fn a_refusal_never_reaches_the_backup() {
    let world = automatic().await;
    world.person("ada").await;
    world.hashes.store("a-ada", "other");
    assert_eq!(world.sign_in("ada", "other").await.notice(), Some(Notice::Refused));
    assert_eq!(world.hashes.checked(), 0);
}

#[tokio::test]
async fn one_users_trouble_opens_no_breaker_and_reaches_no_backup() {
    let world = automatic().await;
    world.person("ada").await;
    world.person("ben").await;
    for bind in [Bind::Hangs, Bind::HangsUp] {
        world.directory.bind_of("a-ada", bind);
        for _ in 0..3 {
            assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
            assert!(world.last_reason().await.starts_with("unconfirmed-"));
            world.clock.advance(Duration::from_secs(600));
            world.sign_in.sweep().await.expect("a sweep");
        }
    }
    assert_eq!(world.hashes.checked(), 0);
    assert!(world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open()));
    assert!(world.alerts().await.is_empty());
    assert!(!world.right("ben").await.session().failover);
}

#[tokio::test]
async fn while_the_directory_is_down_all_refused_look_alike() {
    let world = automatic().await;
    world.person("ada").await;
    world.known("hashless", "example.org").await;
    world.state("hashless", &AccountState::unrestricted(), NOW).await;
    let barred = world.person("keeper").await;
    world.nested_in(barred, "vault keepers").await;
    let off = world.person("off").await;
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{off}'")).await;
    world.directory.become_(Mood::Down);
    world.right("ada").await.session();
    for (name, reason) in [
        ("ghost", "failover-unknown-user"),
        ("hashless", "failover-no-hash"),
        ("keeper", "failover-barred-group"),
        ("off", "failover-disabled-in-tenant"),
    ] {
        let dummies = world.hashes.dummies.load(Ordering::SeqCst);
        assert_eq!(world.right(name).await.notice(), Some(Notice::Refused), "{name}");
        assert_eq!(world.last_reason().await, reason);
        assert_eq!(world.hashes.dummies.load(Ordering::SeqCst), dummies + 1, "{name} waits as long as the others");
    }
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    *world.hashes.unavailable.lock().expect("the hashes") = Some(UnavailableCause::CredentialUnreadable);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "backup-credential-unreadable");
    *world.hashes.unavailable.lock().expect("the hashes") = Some(UnavailableCause::Overloaded);
    for name in ["ada", "ghost", "hashless", "keeper", "off"] {
        assert_eq!(world.right(name).await.notice(), Some(Notice::TryAgain), "{name}");
    }
}

#[tokio::test]
async fn an_old_pass_bars_the_backup_at_the_instant_the_policy_says() {
    let world = automatic().await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    let week = Duration::from_secs(7 * 86_400);
    world.pass_completed(NOW - week).await;
    world.right("ada").await.session();
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-hash-too-old");
    world.execute("DELETE FROM connector_pass").await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
}

#[tokio::test]
async fn manual_failover_lets_nobody_in_until_it_is_forced() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    for (name, password) in [("ada", "ada-password"), ("ada", "wrong"), ("ghost", "x")] {
        assert_eq!(world.sign_in(name, password).await.notice(), Some(Notice::TryAgain), "{name}");
        assert_eq!(world.last_reason().await, "manual-failover");
    }
    assert_eq!(world.hashes.checked(), 0);
    eventually("the alarm is raised", async || world.alerts().await.len() == 1).await;
    world.pin(Some(Pin::Backup)).await;
    assert!(world.right("ada").await.session().failover);
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    world.pin(None).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
}

#[tokio::test]
async fn a_pin_overrides_what_the_gateway_would_do() {
    let world = automatic().await;
    world.person("ada").await;
    world.pin(Some(Pin::Backup)).await;
    assert!(world.right("ada").await.session().failover, "the directory is up, the pin says backup");
    assert_eq!(world.directory.checked(), 0);
    world.pin(Some(Pin::Primary)).await;
    world.directory.become_(Mood::Down);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    assert_eq!(world.last_reason().await, "pinned-to-primary");
    world.pin(None).await;
    world.policy(DomainChange { backup: Some(Backup::None), ..DomainChange::default() }).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    assert_eq!(world.last_reason().await, "no-backup");
}

#[tokio::test]
async fn a_late_verification_changes_nothing_and_a_missing_one_gives_the_try_back() {
    let world = automatic().await;
    world.person("ada").await;
    world.directory.become_(Mood::Frozen);
    let signed_in = world.right("ada").await;
    let in_flight = "SELECT CAST(SUM(in_flight) AS BIGINT) FROM lockout";
    assert_eq!(world.number(in_flight).await, 1, "the try waits for the late answer");
    world.directory.answer_late("a-ada", Verdict::Verified);
    eventually("the try is given back", async || world.number(in_flight).await == 0).await;
    assert!(world.sign_in.session(signed_in.cookie()).await.expect("a read").is_some());
    assert_eq!(world.number("SELECT CAST(SUM(failed) AS BIGINT) FROM lockout").await, 0);
}

#[tokio::test]
async fn a_try_at_a_leaked_password_waits_for_its_late_verdict_like_any_other() {
    let mut world = automatic().await;
    world.settings.leaked.refused = true;
    world.restart();
    world.person("ada").await;
    world.execute("UPDATE credential SET leaked_at = 1").await;
    world.directory.become_(Mood::Frozen);
    let (in_flight, failed) =
        ("SELECT CAST(SUM(in_flight) AS BIGINT) FROM lockout", "SELECT CAST(SUM(failed) AS BIGINT) FROM lockout");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::MustChange));
    assert_eq!(world.last_reason().await, "leaked-password");
    assert_eq!((world.number(in_flight).await, world.number(failed).await), (1, 0), "the bind may still be judged");
    world.directory.answer_late("a-ada", Verdict::Refused(Refusal::WrongPassword));
    eventually("the late refusal counts", async || world.number(failed).await == 1).await;
    assert_eq!(world.number(in_flight).await, 0);
}

#[tokio::test]
async fn a_late_refusal_of_the_account_is_put_on_record() {
    let world = automatic().await;
    world.person("ada").await;
    world.directory.become_(Mood::Frozen);
    world.clock.advance(Duration::from_secs(1));
    let signed_in = world.right("ada").await;
    world.directory.answer_late("a-ada", Verdict::Refused(Refusal::Disabled));
    eventually("the session has ended", async || {
        world.sign_in.session(signed_in.cookie()).await.expect("a read").is_none()
    })
    .await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-refused-before-disabled");
}

#[tokio::test]
async fn a_refusal_that_nobody_could_compare_bars_the_hash_until_the_channel_confirms_it() {
    let world = automatic().await;
    world.person("ada").await;
    world.hashes.no_spare_permit.store(true, Ordering::SeqCst);
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    eventually("the doubtful hash is barred", async || world.outdated("ada").await).await;
    assert_eq!(world.records("credential-outdated").await[0].reason.as_deref(), Some("unchecked"));
}

#[tokio::test]
async fn a_wrong_password_that_the_hash_refuses_too_marks_nothing() {
    let world = automatic().await;
    world.person("ada").await;
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    world.sign_in.shut_down().await;
    assert!(!world.outdated("ada").await);
}

#[tokio::test]
async fn an_alert_that_another_node_cleared_is_raised_again_while_the_outage_lasts() {
    let world = automatic().await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    world.right("ada").await.session();
    eventually("the outage has its alert", async || world.alerts().await.len() == 1).await;
    // For the other node the directory answers.
    assert!(world.tables.clear(AUTHORITY_DOWN, "corp".to_owned(), NOW, Vec::new()).await.expect("a write"));
    eventually("the alert is back", async || world.alerts().await.len() == 1).await;
    world.directory.become_(Mood::Up);
    eventually("the breaker closes", async || {
        world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open())
    })
    .await;
    eventually("the alert is cleared", async || world.alerts().await.is_empty()).await;
}

#[tokio::test]
async fn a_restart_clears_the_alert_of_an_outage_that_has_ended_meanwhile() {
    let mut world = automatic().await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    world.right("ada").await.session();
    eventually("the outage has its alert", async || world.alerts().await.len() == 1).await;
    world.sign_in.shut_down().await;
    world.directory.become_(Mood::Up);
    world.restart();
    world.sign_in.resume().await.expect("a start");
    assert!(world.alerts().await.is_empty());
}
