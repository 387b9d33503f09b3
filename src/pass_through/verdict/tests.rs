use std::time::Duration;

use super::*;
use crate::ldap::Entry;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000); // 2027-01-15T08:00:00Z
const ALL: [Dialect; 3] = [Dialect::Openldap, Dialect::Ds389, Dialect::ActiveDirectory];

fn answer(code: u32) -> BindAnswer {
    BindAnswer { code, diagnostic: String::new(), policy: None }
}

fn with_policy(code: u32, error: Option<PolicyError>) -> BindAnswer {
    BindAnswer { policy: Some(PolicyResponse { error, ..PolicyResponse::default() }), ..answer(code) }
}

fn refused(refusal: Refusal) -> Result<Verdict, UnavailableCause> {
    Ok(Verdict::Refused(refusal))
}

#[test]
fn only_busy_and_unavailable_are_no_verdict() {
    for dialect in ALL {
        for code in 0..=200 {
            let is_verdict = of_bind(dialect, &answer(code)).is_ok();
            assert_eq!(is_verdict, !matches!(code, 51 | 52), "{dialect:?} {code}");
        }
        assert_eq!(of_bind(dialect, &answer(51)), Err(UnavailableCause::Busy));
        assert_eq!(of_bind(dialect, &answer(52)), Err(UnavailableCause::ServerUnavailable));
    }
}

#[test]
fn only_a_plain_success_is_verified() {
    for dialect in ALL {
        for code in 0..=200 {
            let verified = of_bind(dialect, &answer(code)) == Ok(Verdict::Verified);
            assert_eq!(verified, code == 0, "{dialect:?} {code}");
        }
        assert_eq!(of_bind(dialect, &with_policy(0, None)), Ok(Verdict::Verified));
    }
}

#[test]
fn a_success_with_a_policy_error_refuses() {
    let rows = [
        (PolicyError::PasswordExpired, Refusal::PasswordExpired),
        (PolicyError::ChangeAfterReset, Refusal::MustChangePassword),
        (PolicyError::AccountLocked, Refusal::LockedOut),
        (PolicyError::PasswordInHistory, Refusal::RefusedUnknown(8)),
        (PolicyError::Unknown(77), Refusal::RefusedUnknown(77)),
        (PolicyError::Unreadable, Refusal::RefusedUnknown(u32::MAX)),
    ];
    for (error, refusal) in rows {
        assert_eq!(of_bind(Dialect::Openldap, &with_policy(0, Some(error))), refused(refusal), "{error:?}");
    }
    let grace = PolicyResponse { grace_binds_left: Some(3), ..PolicyResponse::default() };
    let answer = BindAnswer { policy: Some(grace), ..answer(0) };
    assert_eq!(of_bind(Dialect::Openldap, &answer), refused(Refusal::PasswordExpired));
}

#[test]
fn result_49_is_refined_by_the_policy_response() {
    let rows = [
        (None, Refusal::WrongPassword),
        (Some(PolicyError::AccountLocked), Refusal::LockedOut),
        (Some(PolicyError::PasswordExpired), Refusal::PasswordExpired),
        (Some(PolicyError::ChangeAfterReset), Refusal::WrongPassword),
        (Some(PolicyError::Unreadable), Refusal::WrongPassword),
    ];
    for (error, refusal) in rows {
        assert_eq!(of_bind(Dialect::Openldap, &with_policy(49, error)), refused(refusal), "{error:?}");
    }
}

#[test]
fn result_49_of_active_directory_is_refined_by_its_sub_code() {
    let rows = [
        ("525", Refusal::NotInDirectory),
        ("52e", Refusal::WrongPassword),
        ("52f", Refusal::RefusedUnknown(0x52f)),
        ("530", Refusal::OutsideLogonHours),
        ("531", Refusal::WorkstationNotAllowed),
        ("532", Refusal::PasswordExpired),
        ("533", Refusal::Disabled),
        ("568", Refusal::RefusedUnknown(0x568)),
        ("701", Refusal::Expired),
        ("773", Refusal::MustChangePassword),
        ("775", Refusal::LockedOut),
        ("abc", Refusal::RefusedUnknown(0xabc)),
    ];
    for (data, refusal) in rows {
        let diagnostic =
            format!("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {data}, v1db1");
        let answer = BindAnswer { diagnostic, ..answer(49) };
        assert_eq!(of_bind(Dialect::ActiveDirectory, &answer), refused(refusal), "{data}");
        assert_eq!(of_bind(Dialect::Openldap, &answer), refused(Refusal::WrongPassword), "{data}");
    }
    assert_eq!(of_bind(Dialect::ActiveDirectory, &answer(49)), refused(Refusal::WrongPassword));
}

#[test]
fn other_results_mean_what_their_dialect_means() {
    let (ldap, ds, ad) = (Dialect::Openldap, Dialect::Ds389, Dialect::ActiveDirectory);
    let rows = [
        (ds, 19, Refusal::LockedOut),
        (ldap, 19, Refusal::RefusedUnknown(19)),
        (ad, 19, Refusal::RefusedUnknown(19)),
        (ds, 53, Refusal::Disabled),
        (ldap, 53, Refusal::RefusedUnknown(53)),
        (ad, 53, Refusal::RefusedUnknown(53)),
        (ldap, 32, Refusal::NotInDirectory),
        (ldap, 48, Refusal::WrongPassword),
        (ad, 8, Refusal::RefusedUnknown(8)),
        (ldap, 10, Refusal::RefusedUnknown(10)),
        (ldap, 80, Refusal::RefusedUnknown(80)),
    ];
    for (dialect, code, refusal) in rows {
        assert_eq!(of_bind(dialect, &answer(code)), refused(refusal), "{dialect:?} {code}");
    }
    assert_eq!(of_bind(ldap, &with_policy(19, Some(PolicyError::AccountLocked))), refused(Refusal::LockedOut));
}

fn state(attribute: &str, value: &str) -> LiveState {
    let attributes = [(attribute.to_owned(), vec![value.as_bytes().to_vec()])].into();
    let entry = Entry { dn: "uid=ada,dc=example".parse().expect("a name"), attributes };
    let disabled = "status=off".parse().expect("a test");
    LiveState::read(&entry, Dialect::Openldap, &disabled, Duration::from_secs(1800))
}

#[test]
fn a_state_that_refuses_is_final_whatever_the_bind_gave() {
    let binds = [
        Ok(Verdict::Verified),
        refused(Refusal::WrongPassword),
        refused(Refusal::LockedOut),
        Err(UnavailableCause::Deadline),
    ];
    for bind in binds {
        assert_eq!(of_account(&state("status", "off"), bind, NOW), refused(Refusal::Disabled), "{bind:?}");
        assert_eq!(of_account(&state("shadowexpire", "1"), bind, NOW), refused(Refusal::Expired), "{bind:?}");
        assert_eq!(of_account(&state("status", "on"), bind, NOW), bind, "{bind:?}");
    }
}

#[test]
fn a_lock_in_force_names_the_reason_of_a_refusal_and_changes_nothing_else() {
    let locked = state("pwdaccountlockedtime", "20270115075900Z");
    assert_eq!(of_account(&locked, refused(Refusal::WrongPassword), NOW), refused(Refusal::LockedOut));
    // The directory knows better when its lock ended.
    assert_eq!(of_account(&locked, Ok(Verdict::Verified), NOW), Ok(Verdict::Verified));
    assert_eq!(of_account(&locked, Err(UnavailableCause::Busy), NOW), Err(UnavailableCause::Busy));
}
