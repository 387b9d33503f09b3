//! Real passwords of a domain at the real pages: by synchronised hash with every controller stopped, and live.

use std::time::Duration;

use super::site::{LOCKS_AFTER, Site, password};
use crate::support::samba::{CORP, Samba};
use crate::support::visitor::Outcome;
use crate::support::wait::wait_until;

const WELL: usize = 0;
const CHANGES: usize = 1;
const DISABLED: usize = 2;
const EXPIRED: usize = 3;
const MUST_CHANGE: usize = 4;
const PASSWORD_EXPIRED: usize = 5;
const OUTSIDE_HOURS: usize = 6;
const LOCKED: usize = 7;
const OTHER_WORKSTATION: usize = 8;
const SMART_CARD: usize = 9;
const RESET: usize = 10;
const ACCOUNTS: usize = 11;

/// What holds an account back: the audit's word for it under either method, and the sub-code of a bind with the right
/// password and with a wrong one (`reference/sign-in.md`, section 4.8, as measured on Samba).
const HELD: [(usize, &str, &str, &str); 6] = [
    (DISABLED, "disabled", "533", "52e"),
    (EXPIRED, "expired", "701", "52e"),
    (MUST_CHANGE, "must-change-password", "773", "52e"),
    (PASSWORD_EXPIRED, "password-expired", "532", "52e"),
    (OUTSIDE_HOURS, "outside-logon-hours", "530", "52e"),
    (LOCKED, "locked-out", "775", "775"),
];

fn hold_back(samba: &Samba) {
    let named = |user: usize| format!("user{user}");
    samba.replace(&named(DISABLED), "userAccountControl", "514");
    samba.replace(&named(EXPIRED), "accountExpires", "132223104000000000");
    samba.replace(&named(MUST_CHANGE), "pwdLastSet", "0");
    samba.set_password_time(&named(PASSWORD_EXPIRED), "130000000000000000");
    samba.replace_bytes(&named(OUTSIDE_HOURS), "logonHours", &[0; 21]);
    samba.replace(&named(OTHER_WORKSTATION), "userWorkstations", "ELSEWHERE");
    samba.replace(&named(SMART_CARD), "userAccountControl", &(0x200 | 0x40000).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_a_domain_sign_in_by_hash_and_live_and_are_refused_for_the_same_reasons() {
    let mut site = Site::open(ACCOUNTS);
    // The channel brings it; the accounts that the engine has exported know nothing of it.
    hold_back(&site.samba);
    for _ in 0..LOCKS_AFTER {
        assert_eq!(site.raw_bind(LOCKED, "wrong").await.0, 49);
    }
    site.pass();
    site.method("phs");
    site.samba.stop();
    site.sign_in(WELL, &password(WELL)).await.signed();
    site.sign_in(WELL, "wrong").await.refused();
    assert_eq!(site.last_reason(), "wrong-password");
    refused_for_their_reasons(&site).await;
    // No workstation is involved.
    site.sign_in(OTHER_WORKSTATION, &password(OTHER_WORKSTATION)).await.signed();
    // The directory made a random password for whoever must use a smart card.
    site.sign_in(SMART_CARD, &password(SMART_CARD)).await.refused();
    assert_eq!(site.last_reason(), "wrong-password");

    site.samba.start_again();
    site.samba.set_passwords([("user1", "Changed-1-Pässwörd!")]);
    site.sign_in(CHANGES, &password(CHANGES)).await.signed();
    site.pass();
    site.samba.stop();
    site.sign_in(CHANGES, "Changed-1-Pässwörd!").await.signed();
    site.sign_in(CHANGES, &password(CHANGES)).await.refused();
    assert_eq!(site.last_reason(), "wrong-password");

    site.samba.start_again();
    site.method("pta");
    site.sign_in(WELL, &password(WELL)).await.signed();
    site.sign_in(WELL, "wrong").await.refused();
    assert_eq!(site.last_reason(), "wrong-password");
    refused_for_their_reasons(&site).await;
    site.sign_in(OTHER_WORKSTATION, &password(OTHER_WORKSTATION)).await.refused();
    assert_eq!(site.last_reason(), "workstation-not-allowed");
    site.sign_in(SMART_CARD, &password(SMART_CARD)).await.refused();
    assert_eq!(site.last_reason(), "wrong-password");
    sub_codes_are_those_of_the_reference(&site).await;
    the_previous_password_is_refused_though_the_directory_takes_it(&site).await;
}

async fn refused_for_their_reasons(site: &Site) {
    for (user, reason, ..) in HELD {
        let outcome = site.sign_in(user, &password(user)).await;
        assert!(matches!(outcome, Outcome::Refused { .. } | Outcome::MustChange), "{user}: {outcome:?}");
        assert_eq!(site.last_reason(), reason, "user{user}");
    }
}

async fn sub_codes_are_those_of_the_reference(site: &Site) {
    let workstation = (OTHER_WORKSTATION, "", "531", "52e");
    for (user, _, right, wrong) in HELD.into_iter().chain([workstation]) {
        for (typed, code) in [(password(user), right), ("wrong".to_owned(), wrong)] {
            let (result, text) = site.raw_bind(user, &typed).await;
            assert_eq!(result, 49, "user{user}");
            assert!(text.contains(&format!("data {code},")), "user{user} {typed}: {text}");
        }
    }
    assert_eq!(site.raw_bind(WELL, &password(WELL)).await.0, 0);
}

async fn the_previous_password_is_refused_though_the_directory_takes_it(site: &Site) {
    let (old, new) = (password(RESET), "Brand-new-10-Pässwörd!");
    site.sign_in(RESET, &old).await.signed();
    let upn = format!("user{RESET}@{}", CORP.realm);
    let set = || site.gateway.cli(&["user", "show", &upn])["directory_state"]["password_set"].clone();
    let set_before = set();
    site.samba.set_passwords([("user10", new)]);
    assert_eq!(site.raw_bind(RESET, &old).await.0, 0, "the directory takes the previous password");
    // The stored hash is of the time before: the controller's ticket service knows which of the two it is.
    site.sign_in(RESET, new).await.signed();
    assert_eq!(set(), set_before, "the hash was not read anew yet");
    site.sign_in(RESET, &old).await.refused();
    assert_eq!(site.last_reason(), "old-password-window");
    // The hash of the new password is read by itself now.
    wait_until("the hash to be read", Duration::from_secs(30), || (set() != set_before).then_some(()));
    site.sign_in(RESET, &old).await.refused();
    assert_eq!(site.last_reason(), "old-password-window");
    assert_eq!(site.raw_bind(RESET, &old).await.0, 0, "it still does");
    site.sign_in(RESET, new).await.signed();
}
