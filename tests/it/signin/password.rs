//! Hash sync and pass-through while everything works.

use std::time::Duration;

use landbridge::identity::UnavailableCause;
use landbridge::identity::{AccountState, AuthenticationMethod, FailoverMode, PasswordShape, PlainPassword, Refusal};
use landbridge::signin::{Notice, ProofDemand, SignInError, Step};

use super::scripted::Bind;
use super::world::*;

on_both_engines! {
    a_synchronised_hash_signs_in_and_the_session_is_found_again,
    a_bind_signs_in_and_names_its_server,
    a_session_ends_when_what_it_rests_on_ends,
    both_halves_of_the_account_state_must_allow_a_hash_sign_in,
    the_record_commits_with_the_session_or_nobody_signs_in,
}

async fn a_synchronised_hash_signs_in_and_the_session_is_found_again(world: World) {
    let oid = world.person("ada").await;
    let signed_in = world.right("ada").await;
    let session = signed_in.session();
    assert_eq!((session.oid, session.method, session.failover), (oid, AuthenticationMethod::Phs, false));
    assert_eq!((session.amr.as_slice(), session.credential_version), (["pwd".to_owned()].as_slice(), Some(1)));
    assert_eq!(world.directory.checked(), 0, "the directory is not asked");
    assert_eq!(world.sign_in.session(signed_in.cookie()).await.expect("a read").as_ref(), Some(session));
    assert_eq!(world.sign_in.session_by_sid(session.sid).await.expect("a read").as_ref(), Some(session));
    assert_eq!(world.sign_in.session("another cookie").await.expect("a read"), None);
    let record = world.last_record().await;
    assert_eq!((record.outcome.as_str(), record.subject), ("success", Some(oid.to_string())));
    // The session answers the next application without a password, and notes it.
    let begun = world.sign_in.begin(request(), &stranger(), Some(signed_in.cookie())).await.expect("a step");
    assert!(matches!(begun.step, Step::Complete { cookie: None, .. }));
    let forced = demanding(ProofDemand { fresh: true, max_age: None });
    let begun = world.sign_in.begin(forced, &stranger(), Some(signed_in.cookie())).await.expect("a step");
    assert!(matches!(begun.step, Step::AwaitIdentifier { .. }));
    world.clock.advance(Duration::from_secs(61));
    for (max_age, answers) in [(61, true), (60, false)] {
        let request = demanding(ProofDemand { fresh: false, max_age: Some(max_age) });
        let begun = world.sign_in.begin(request, &stranger(), Some(signed_in.cookie())).await.expect("a step");
        assert_eq!(matches!(begun.step, Step::Complete { .. }), answers, "{max_age}");
    }
}

async fn a_bind_signs_in_and_names_its_server(world: World) {
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    let signed_in = world.right("ada").await;
    let session = signed_in.session();
    assert_eq!((session.method, session.authority.as_str()), (AuthenticationMethod::Pta, "dir-1"));
    assert_eq!((session.failover, session.credential_version), (false, None));
    assert_eq!(world.hashes.checked(), 0, "the hash is not asked");
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "wrong-password");
}

async fn a_session_ends_when_what_it_rests_on_ends(world: World) {
    let oid = world.person("ada").await;
    let ends = [
        format!("UPDATE tenant_user SET security_stamp = 'stamp-2' WHERE oid = '{oid}'"),
        format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{oid}'"),
        format!("UPDATE tenant_user SET deleted_at = 1 WHERE oid = '{oid}'"),
        "UPDATE credential SET version = 2".to_owned(),
        "UPDATE credential SET stage = 'wiped'".to_owned(),
        "UPDATE directory_state SET state = REPLACE(state, '\"enabled\":true', '\"enabled\":false')".to_owned(),
    ];
    let undo = [
        format!(
            "UPDATE tenant_user SET security_stamp = 'stamp-1', account_enabled = 1, deleted_at = NULL WHERE oid = '{oid}'"
        ),
        "UPDATE credential SET version = 1, stage = 'sealed'".to_owned(),
        "UPDATE directory_state SET state = REPLACE(state, '\"enabled\":false', '\"enabled\":true')".to_owned(),
    ];
    let signed_in = world.right("ada").await;
    let live = async || world.sign_in.session(signed_in.cookie()).await.expect("a read").is_some();
    for end in ends {
        assert!(live().await);
        world.execute(&end).await;
        assert!(!live().await, "{end}");
        for undo in &undo {
            world.execute(undo).await;
        }
    }
    world.sign_in.sign_out(signed_in.session().sid).await.expect("a write");
    assert!(!live().await);
    assert_eq!(world.records("sign-out").await.len(), 1);
}

async fn both_halves_of_the_account_state_must_allow_a_hash_sign_in(world: World) {
    let oid = world.person("ada").await;
    let base = AccountState::unrestricted;
    let states = [
        (AccountState { enabled: false, ..base() }, "disabled", Notice::Refused),
        (AccountState { deleted: true, ..base() }, "not-in-directory", Notice::Refused),
        (AccountState { locked_until: Some(NOW + HOUR), ..base() }, "locked-out", Notice::Refused),
        (AccountState { account_expires: Some(NOW), ..base() }, "expired", Notice::Refused),
        (AccountState { password_expires: Some(NOW), ..base() }, "password-expired", Notice::MustChange),
        (AccountState { must_change_password: true, ..base() }, "must-change-password", Notice::MustChange),
    ];
    for (state, reason, notice) in states {
        world.state("ada", &state, NOW).await;
        assert_eq!(world.right("ada").await.notice(), Some(notice), "{reason}");
        assert_eq!(world.last_reason().await, reason);
        // Told only to who has proved the password.
        assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused), "{reason}");
        assert_eq!(world.last_reason().await, "wrong-password");
    }
    world.state("ada", &base(), NOW).await;
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{oid}'")).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "disabled-in-tenant");
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 1 WHERE oid = '{oid}'")).await;
    world.right("ada").await.session();
    world.execute("DELETE FROM directory_state").await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "state-unknown");
}

async fn the_record_commits_with_the_session_or_nobody_signs_in(world: World) {
    world.person("ada").await;
    let handle = world.asked("ada").await;
    world.execute("ALTER TABLE audit_head RENAME TO audit_head_away").await;
    let result = world.type_password(&handle, "ada-password", &stranger()).await;
    assert!(matches!(result, Outcome::Error(SignInError::Unavailable(_))), "{result:?}");
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM session").await, 0);
    world.execute("ALTER TABLE audit_head_away RENAME TO audit_head").await;
    world.type_password(&handle, "ada-password", &stranger()).await.session();
}

#[tokio::test]
async fn the_disabled_account_is_refused_live_even_with_the_right_password() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    let oid = world.person("ada").await;
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{oid}'")).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "disabled-in-tenant");
}

#[tokio::test]
async fn a_live_must_change_is_told_and_not_counted() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    world.directory.bind_of("a-ada", Bind::Says(Refusal::MustChangePassword));
    for _ in 0..10 {
        assert_eq!(world.right("ada").await.notice(), Some(Notice::MustChange));
        assert_eq!(world.last_reason().await, "must-change-password");
    }
}

#[tokio::test]
async fn unknown_and_wrong_walk_the_same_road() {
    let world = on_sqlite().await;
    world.person("ada").await;
    for (name, reason) in [
        ("ada@example.org", "wrong-password"),
        ("ghost@example.org", "unknown-user"),
        ("ghost@nowhere.example", "unknown-user"),
        ("ghost@tenant.example", "unknown-user"),
        ("CORP\\ghost@x", ""),
        ("ghost", ""),
    ] {
        let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
        let step = world.sign_in.identify(&begun.handle, name, &stranger()).await.expect("a step");
        if reason.is_empty() {
            assert!(matches!(step, Step::AwaitIdentifier { refused: true, .. }), "{name}: {step:?}");
            continue;
        }
        assert!(matches!(step, Step::AwaitPassword { notice: None, .. }), "{name}: {step:?}");
        let refused = world.type_password(&begun.handle, "wrong", &stranger()).await;
        assert_eq!(refused.notice(), Some(Notice::Refused), "{name}");
        assert_eq!(world.last_reason().await, reason, "{name}");
    }
    assert_eq!(world.hashes.checked() + world.hashes.dummies.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_unknown_name_is_bound_as_an_absent_entry() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    assert_eq!(world.sign_in("ghost", "wrong").await.notice(), Some(Notice::Refused));
    assert_eq!(world.directory.checked(), 1);
}

#[tokio::test]
async fn a_credential_source_of_an_unregistered_connector_does_not_count() {
    let world = on_sqlite().await;
    world.person("ada").await;
    world.execute("UPDATE credential_source SET connector = 'rogue'").await;
    world.execute("UPDATE credential SET connector = 'rogue'").await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.hashes.checked(), 0);
}

#[tokio::test]
async fn unfit_passwords_reach_nobody_and_are_not_counted() {
    let world = on_sqlite().await;
    world.pta(FailoverMode::Automatic).await;
    world.person("ada").await;
    let handle = world.asked("ada").await;
    for (text, shape) in [("", PasswordShape::Empty), (&"x".repeat(300), PasswordShape::TooLong)] {
        for _ in 0..10 {
            let typed = PlainPassword::new(text.to_owned());
            assert_eq!(typed.as_ref().map(|_| ()), Err(&shape));
            let step = world.sign_in.password(&handle, typed, &stranger()).await.expect("a step");
            assert!(matches!(step, Step::AwaitPassword { notice: Some(Notice::Refused), .. }));
        }
    }
    assert_eq!((world.directory.checked(), world.hashes.checked()), (0, 0));
    assert_eq!(world.last_reason().await, "password-too-long");
    world.type_password(&handle, "ada-password", &stranger()).await.session();
}

#[tokio::test]
async fn a_row_that_does_not_open_is_no_wrong_password_and_raises_an_alarm() {
    let world = on_sqlite().await;
    world.person("ada").await;
    *world.hashes.unavailable.lock().expect("the hashes") = Some(UnavailableCause::CredentialUnreadable);
    for _ in 0..10 {
        assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    }
    assert_eq!(world.last_reason().await, "credential-unreadable");
    eventually("the alarm is raised", async || {
        world.alerts().await.iter().any(|alert| alert.name == "credential-unreadable")
    })
    .await;
    *world.hashes.unavailable.lock().expect("the hashes") = None;
    world.right("ada").await.session();
}

#[tokio::test]
async fn refusals_leave_at_whole_multiples_of_the_quantum() {
    let mut world = on_sqlite().await;
    world.settings.refusal_quantum = Duration::from_millis(120);
    world.restart();
    world.person("ada").await;
    for name in ["ada", "ghost"] {
        let handle = world.asked(name).await;
        let asked = std::time::Instant::now();
        world.type_password(&handle, "wrong", &stranger()).await;
        assert!(asked.elapsed() >= Duration::from_millis(119), "{name}");
    }
}
