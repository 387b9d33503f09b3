//! Who does not get in through the backup, and what does not count as an outage.

use std::time::Duration;

use super::site::{Site, people, slapd};
use crate::support::directory::{Directory, Person, line};
use crate::support::slapd::{SUFFIX, Slapd};
use crate::support::visitor::Outcome;
use crate::support::wait::wait_until;

const INVALID_CREDENTIALS: i32 = 49;

fn automatic(count: usize) -> Site {
    let directory = people(count);
    Site::open(slapd(&directory).start(), directory, "automatic")
}

/// A group of people, itself a member of the barred one.
fn nested_in_the_barred_group(member: &str) -> String {
    let (inner, outer) = (format!("cn=inner,ou=groups,{SUFFIX}"), format!("cn=vault,ou=groups,{SUFFIX}"));
    let group = |dn: &str, cn: &str, member: &str| {
        line("dn", dn) + &format!("objectClass: groupOfNames\ncn: {cn}\n") + &line("member", member) + "\n"
    };
    group(&inner, "inner", member) + &group(&outer, "Vault keepers", &inner)
}

/// Wrong binds after which the directory locks: enough for the gateway, which stays below, to let everybody try more than once.
const LOCKS_AFTER: u32 = 10;

fn lock(slapd: &Slapd, person: &Person) {
    for _ in 0..LOCKS_AFTER {
        assert_eq!(slapd.bind(&person.dn, "wrong"), INVALID_CREDENTIALS);
    }
}

const STORED: [(usize, &str); 6] = [
    (10, "failover-disabled-in-tenant"),
    (11, "failover-password-expired"),
    (12, "failover-locked-out"),
    (13, "failover-must-change-password"),
    (14, "failover-barred-group"),
    (15, "failover-no-hash"),
];
/// What the directory says of them is newer than the last pass of the password channel.
const SEEN_LIVE: [(usize, &str); 4] = [
    (20, "failover-refused-before-disabled"),
    (21, "failover-refused-before-password-expired"),
    (22, "failover-refused-before-locked-out"),
    (23, "failover-refused-before-must-change-password"),
];

fn bar(slapd: &Slapd, people: &[Person], first: usize) {
    slapd.replace(&people[first].dn, "pwdAccountLockedTime", "000001010000Z");
    slapd.expire_password(&people[first + 1].dn);
    lock(slapd, &people[first + 2]);
    slapd.replace(&people[first + 3].dn, "pwdReset", "TRUE");
}

fn directory_with_barred_people() -> (Slapd, Directory) {
    let directory = people(30);
    let keeper = nested_in_the_barred_group(&directory.people[14].dn);
    let slapd = Slapd::builder().directory(&directory).ldif(&keeper).lockout_after(LOCKS_AFTER).start();
    bar(&slapd, &directory.people, 10);
    let hashless = &directory.people[15].dn;
    slapd.ldapmodify(&(line("dn", hashless) + "changetype: modify\ndelete: userPassword\n"));
    (slapd, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_sign_in_at_the_directory_stays_out_during_its_outage() {
    let (slapd, directory) = directory_with_barred_people();
    let mut site = Site::open(slapd, directory, "automatic");
    bar(&site.slapd, &site.people, 20);
    for (index, _) in SEEN_LIVE {
        let outcome = site.right(&site.people[index]).await;
        assert!(matches!(outcome, Outcome::Refused { .. } | Outcome::MustChange), "{index}: {outcome:?}");
    }
    // The directory still answers for the member of the barred group.
    assert!(site.is_served_by_slapd(&site.people[14]).await);

    site.slapd.stop();
    site.confirm_outage_by(&site.people[0]).await;
    let wrong = site.visitor.sign_in(&site.people[0].upn, "wrong").await.refused();
    assert_eq!(site.last_reason(), "backup-wrong-password");
    for (index, reason) in STORED.into_iter().chain(SEEN_LIVE) {
        let page = site.right(&site.people[index]).await.refused();
        assert_eq!(site.last_reason(), reason, "{index}");
        assert_eq!(page, wrong, "{reason} looks like a wrong password");
    }
    let page = site.visitor.sign_in("nobody@alpha.example", "wrong").await.refused();
    assert_eq!((site.last_reason().as_str(), page), ("failover-unknown-user", wrong));
    site.confirm_outage_by(&site.people[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_the_directory_refused_before_the_cut_is_refused_by_the_backup() {
    let mut site = automatic(20);
    let ada = site.people[10].clone();
    assert!(site.is_served_by_slapd(&ada).await);
    site.slapd.change_own_password(&ada.dn, &ada.password, "Brand-new-1!");
    site.right(&ada).await.refused();
    wait_until("the hash to be marked", Duration::from_secs(10), || {
        let records = site.gateway.audit(50);
        let marked = records.into_iter().find(|record| record["kind"] == "credential-outdated")?;
        println!("marked because {}", marked["reason"]);
        Some(())
    });

    site.slapd.stop();
    site.confirm_outage_by(&site.people[0]).await;
    for password in [ada.password.as_str(), "Brand-new-1!"] {
        site.visitor.sign_in(&ada.upn, password).await.refused();
        assert_eq!(site.last_reason(), "failover-hash-outdated");
    }

    // The channel brings the new hash, and the backup takes the new password alone.
    site.slapd.start();
    site.wait_until_slapd_serves_again();
    site.gateway.cli(&["password-sync", "run"]);
    site.slapd.stop();
    site.confirm_outage_by(&site.people[0]).await;
    let signed = site.visitor.sign_in(&ada.upn, "Brand-new-1!").await.signed();
    assert!(site.visitor.tokens(&signed).await.by_backup());
    site.right(&ada).await.refused();
    assert_eq!(site.last_reason(), "backup-wrong-password");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_persons_trouble_reaches_no_backup_and_opens_no_breaker() {
    let directory = people(20);
    let site = Site::open(slapd(&directory).scripted_answers().start(), directory, "automatic");
    let [slow, other] = [&site.people[10], &site.people[11]];

    let binds = site.slapd.bind_count_of(&other.dn);
    site.visitor.sign_in(&other.upn, &"x".repeat(300)).await.refused();
    assert_eq!(site.last_reason(), "password-too-long");
    assert_eq!(site.slapd.bind_count_of(&other.dn), binds, "no packet leaves");

    site.slapd.answer_bind(&slow.dn, 0, Duration::from_secs(6));
    for _ in 0..2 {
        let (hanging, others) = tokio::join!(site.right(slow), async {
            for _ in 0..4 {
                assert!(site.is_served_by_slapd(other).await);
            }
        });
        hanging.try_again();
        let () = others;
    }
    let records = site.gateway.audit(100);
    let reasons: Vec<_> = records.iter().filter(|record| record["outcome"] == "unavailable").collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().all(|record| record["reason"] == "unconfirmed-deadline"), "{reasons:?}");
    assert!(!records.iter().any(|record| record["detail"]["failover"] == true));
    assert!(!site.breaker_is_open());
    assert_eq!(site.alerts(), [serde_json::Value::Null; 0]);
}

/// A sign-in whose bind the directory has taken when it freezes, and will refuse when it thaws.
async fn frozen_with_the_bind_on_its_way(site: &Site, person: &Person) -> Outcome {
    site.slapd.answer_bind(&person.dn, INVALID_CREDENTIALS, Duration::from_secs(4));
    let visitor = site.visitor.clone();
    let (name, password) = (person.upn.clone(), person.password.clone());
    let signing_in = tokio::spawn(async move { visitor.sign_in(&name, &password).await });
    tokio::task::block_in_place(|| {
        wait_until("the bind to arrive", Duration::from_secs(10), || {
            (site.slapd.bind_count_of(&person.dn) == 1).then_some(())
        });
    });
    site.slapd.freeze();
    signing_in.await.expect("a sign-in does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_refusal_ends_the_session_that_the_backup_granted() {
    let directory = people(20);
    let site = Site::open(slapd(&directory).scripted_answers().start(), directory, "automatic");
    let mut granted = None;
    for person in &site.people[10..15] {
        match frozen_with_the_bind_on_its_way(&site, person).await {
            Outcome::Signed(signed) => {
                granted = Some(signed);
                break;
            }
            // The probe was faster than the test's hand: it confirms no outage, and the next person tries.
            outcome => outcome.try_again(),
        }
        site.slapd.thaw();
    }
    let mut signed = granted.expect("one bind was on its way before the probe");
    let tokens = site.visitor.tokens(&signed).await;
    assert!(tokens.by_backup());
    assert!(site.visitor.userinfo_answers(&tokens.access).await && site.visitor.is_still_signed_in(&mut signed).await);

    site.slapd.thaw();
    tokio::task::block_in_place(|| {
        wait_until("the late refusal", Duration::from_secs(20), || {
            let records = site.gateway.audit(100);
            let of_session =
                |record: &&serde_json::Value| record["kind"] == "late-verdict" && record["detail"]["revoked"] == true;
            let late = records.iter().find(of_session)?;
            assert_eq!((late["outcome"].as_str(), late["reason"].as_str()), (Some("refused"), Some("wrong-password")));
            Some(())
        });
    });
    assert!(!site.visitor.is_still_signed_in(&mut signed).await, "the session has ended");
    assert!(!site.visitor.userinfo_answers(&tokens.access).await, "the access token has ended");
    assert!(site.visitor.refresh(&tokens.refresh).await.expect("an answer").is_none(), "the grant has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_failover_manual_nobody_gets_in_until_it_is_forced() {
    let directory = people(20);
    let mut site = Site::open(slapd(&directory).start(), directory, "manual");
    let ada = site.people[10].clone();
    assert!(site.is_served_by_slapd(&ada).await);
    site.slapd.stop();
    for password in [ada.password.as_str(), "wrong", &ada.password] {
        site.visitor.sign_in(&ada.upn, password).await.try_again();
        assert_eq!(site.last_reason(), "manual-failover");
    }
    let domain = super::site::DOMAIN;
    site.gateway.cli(&["failover", "force", domain]);
    let signed = site.right(&ada).await.signed();
    assert!(site.visitor.tokens(&signed).await.by_backup());
    site.visitor.sign_in(&ada.upn, "wrong").await.refused();

    // While the directory is down, a release would leave everybody out: it must be said twice.
    site.gateway.cli_refused(&["failover", "release", domain]);
    site.right(&ada).await.signed();
    site.gateway.cli(&["failover", "release", domain, "--anyway"]);
    site.right(&ada).await.try_again();
    site.slapd.start();
    site.wait_until_slapd_serves_again();
    assert!(site.is_served_by_slapd(&ada).await);
}
