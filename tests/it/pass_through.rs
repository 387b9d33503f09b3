//! The live check against real slapd: verdicts, the closed list of unavailability, late answers, server order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use landbridge::config::{Dialect, DisabledTest};
use landbridge::identity::{
    Answer, ConnectorName, CredentialSource, PlainPassword, Refusal, SourceAnchor, SystemClock, Unavailable,
    UnavailableCause, Verdict, Wire,
};
use landbridge::ldap::{ServiceAccount, Trust};
use landbridge::pass_through::{AnchorAttribute, PassThrough, PassThroughSettings};
use landbridge::signin::{LiveAnswer, LiveCheck, LiveSubject};

use crate::support::directory::{self, Directory, Person};
use crate::support::pki::Pki;
use crate::support::ports::free_port;
use crate::support::process::temp_dir;
use crate::support::slapd::Slapd;
use crate::support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(20);

fn corp() -> ConnectorName {
    "corp".parse().expect("a name")
}

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("fits")
}

/// Settings with deadlines that a busy test machine keeps.
fn settings(slapd: &Slapd) -> PassThroughSettings {
    PassThroughSettings {
        connector: corp(),
        servers: vec![slapd.ldaps_url().parse().expect("an address")],
        trust: Trust::new(&[slapd.ca_file()]).expect("the test CA"),
        account: ServiceAccount {
            dn: slapd.service_dn().parse().expect("a name"),
            password: password(slapd.service_password()),
        },
        bases: vec![slapd.people_base().parse().expect("a name")],
        anchor: AnchorAttribute::new("entryUUID"),
        dialect: Dialect::Openldap,
        disabled: DisabledTest::Equals {
            attribute: "pwdAccountLockedTime".to_owned(),
            value: "000001010000Z".to_owned(),
        },
        lockout_duration: Duration::from_secs(600),
        connect_deadline: Duration::from_secs(5),
        bind_deadline: Duration::from_secs(8),
        probe_deadline: Duration::from_secs(5),
        search_connections: 4,
        bind_connections: 4,
        old_password_window: Duration::ZERO,
    }
}

fn pass_through(settings: PassThroughSettings) -> PassThrough {
    PassThrough::new([settings], None, Arc::new(SystemClock))
}

struct Corp {
    slapd: Slapd,
    directory: Directory,
}

impl Corp {
    fn start() -> Self {
        let directory = directory::people(20);
        let slapd = Slapd::builder().directory(&directory).lockout_after(3).scripted_answers().start();
        Self { slapd, directory }
    }

    fn person(&self, index: usize) -> (&Person, LiveSubject) {
        let person = &self.directory.people[index];
        (person, subject(&self.slapd.values(&person.dn, "entryUUID")[0]))
    }
}

fn subject(anchor: &str) -> LiveSubject {
    LiveSubject::Known(CredentialSource { connector: corp(), anchor: SourceAnchor::from_stored(anchor.to_owned()) })
}

async fn check(pass_through: &PassThrough, subject: &LiveSubject, typed: &str) -> LiveAnswer {
    let domain = "example.org".parse().expect("a domain");
    pass_through.check(&corp(), &domain, subject, &password(typed)).await
}

async fn verdict(pass_through: &PassThrough, subject: &LiveSubject, typed: &str) -> Verdict {
    match check(pass_through, subject, typed).await.answer {
        Answer::Verdict(verdict) => verdict,
        Answer::Unavailable(unavailable) => panic!("no verdict: {unavailable:?}"),
    }
}

async fn refusal(pass_through: &PassThrough, subject: &LiveSubject, typed: &str) -> Refusal {
    match verdict(pass_through, subject, typed).await {
        Verdict::Refused(refusal) => refusal,
        Verdict::Verified => panic!("verified"),
    }
}

fn unavailable(answer: &LiveAnswer) -> (UnavailableCause, Wire) {
    match &answer.answer {
        Answer::Unavailable(Unavailable { cause, wire, .. }) => (*cause, *wire),
        Answer::Verdict(verdict) => panic!("a verdict: {verdict:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_verified_and_the_wrong_one_refused() {
    let corp = Corp::start();
    for url in [corp.slapd.ldaps_url(), corp.slapd.url()] {
        let servers = vec![url.parse().expect("an address")];
        let live = pass_through(PassThroughSettings { servers, ..settings(&corp.slapd) });
        for index in [0, directory::AWKWARD_DN] {
            let (person, subject) = corp.person(index);
            let answer = check(&live, &subject, &person.password).await;
            assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified), "{url}");
            assert_eq!(answer.server.as_deref(), Some(&url[..]));
            assert!(answer.late.is_none());
            assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
            assert_eq!(verdict(&live, &subject, &person.password).await, Verdict::Verified);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_last_change_is_read_with_the_verdict() {
    let corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));
    let (person, subject) = corp.person(0);
    assert_eq!(check(&live, &subject, &person.password).await.password_set, None);
    corp.slapd.replace(&person.dn, "userPassword", "Changed-by-test-1!");
    let changed = &corp.slapd.values(&person.dn, "pwdChangedTime")[0];
    let answer = check(&live, &subject, "Changed-by-test-1!").await;
    assert_eq!(answer.password_set, landbridge::ldap::time::generalized(changed));
    assert!(answer.password_set.is_some());
    assert_eq!(refusal(&live, &subject, &person.password).await, Refusal::WrongPassword);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_state_refuses_by_its_own_reason() {
    let corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));

    let (locked, subject) = corp.person(0);
    for _ in 0..3 {
        assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
    }
    assert_eq!(refusal(&live, &subject, &locked.password).await, Refusal::LockedOut);
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::LockedOut);

    let (disabled, subject) = corp.person(1);
    corp.slapd.replace(&disabled.dn, "pwdAccountLockedTime", "000001010000Z");
    assert_eq!(refusal(&live, &subject, &disabled.password).await, Refusal::Disabled);
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::Disabled);

    let (reset, subject) = corp.person(2);
    corp.slapd.replace(&reset.dn, "pwdReset", "TRUE");
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
    assert_eq!(refusal(&live, &subject, &reset.password).await, Refusal::MustChangePassword);

    let (expired, subject) = corp.person(3);
    corp.slapd.expire_password(&expired.dn);
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
    assert_eq!(refusal(&live, &subject, &expired.password).await, Refusal::PasswordExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_read_live_so_that_a_moved_account_signs_in() {
    let corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));
    let (person, subject) = corp.person(0);
    assert_eq!(verdict(&live, &subject, &person.password).await, Verdict::Verified);
    corp.slapd.ldapmodify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=moved\ndeleteoldrdn: 0\nnewsuperior: {}\n",
        person.dn,
        corp.slapd.people_base()
    ));
    assert_eq!(verdict(&live, &subject, &person.password).await, Verdict::Verified);
    assert_eq!(corp.slapd.bind_count_of(&format!("uid=moved,{}", corp.slapd.people_base())), 1);
}

/// Binds that are neither the service account's nor a generated person's.
fn absent_binds(corp: &Corp) -> usize {
    corp.slapd.bind_count()
        - corp.slapd.bind_count_of(&corp.slapd.service_dn())
        - corp.directory.people.iter().map(|person| corp.slapd.bind_count_of(&person.dn)).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_account_and_an_unknown_name_cost_the_directory_one_bind_of_nobody() {
    let corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));
    let (person, gone) = corp.person(0);
    corp.slapd.ldapmodify(&format!("dn: {}\nchangetype: delete\n", person.dn));
    assert_eq!(refusal(&live, &gone, &person.password).await, Refusal::NotInDirectory);
    assert_eq!(absent_binds(&corp), 1);
    assert_eq!(refusal(&live, &LiveSubject::Unknown, &person.password).await, Refusal::UnknownUser);
    assert_eq!(absent_binds(&corp), 2);
    assert_eq!(corp.slapd.bind_count_of(&person.dn), 0);
    let searches = corp.slapd.log().matches("(entryUUID=").count();
    assert_eq!(searches, 2, "an unknown name is searched for like a known one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_a_value_and_never_a_filter() {
    let corp = Corp::start();
    let live = pass_through(PassThroughSettings { anchor: AnchorAttribute::new("uid"), ..settings(&corp.slapd) });
    let person = &corp.directory.people[0];
    assert_eq!(verdict(&live, &subject(&person.uid), &person.password).await, Verdict::Verified);
    let half = &person.uid[..3];
    let anchors = ["*", "*)(uid=*", &format!("{half}*"), &format!("{})(objectClass=*", person.uid), "\\2a", "(", ")"];
    for anchor in anchors {
        assert_eq!(refusal(&live, &subject(anchor), &person.password).await, Refusal::NotInDirectory, "{anchor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_several_entries_share_admits_none_of_them() {
    let corp = Corp::start();
    let live = pass_through(PassThroughSettings { anchor: AnchorAttribute::new("mail"), ..settings(&corp.slapd) });
    let twin = &corp.directory.people[directory::DUPLICATE_UPN];
    assert_eq!(refusal(&live, &subject(&twin.upn), &twin.password).await, Refusal::NotInDirectory);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_the_closed_list_are_unavailability_and_all_others_verdicts() {
    let corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));
    for (index, code, cause) in [(0, 51, UnavailableCause::Busy), (1, 52, UnavailableCause::ServerUnavailable)] {
        let (person, subject) = corp.person(index);
        corp.slapd.answer_bind(&person.dn, code, Duration::ZERO);
        let answer = check(&live, &subject, &person.password).await;
        assert_eq!(unavailable(&answer), (cause, Wire::MaybeSent));
    }
    for (index, code) in [(2, 53), (3, 19), (8, 80), (9, 1), (10, 8)] {
        let (person, subject) = corp.person(index);
        corp.slapd.answer_bind(&person.dn, code, Duration::ZERO);
        let refusal = refusal(&live, &subject, &person.password).await;
        assert_eq!(refusal, Refusal::RefusedUnknown(u32::try_from(code).expect("positive")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_unavailable_with_nothing_sent_and_is_used_again_when_it_returns() {
    let mut corp = Corp::start();
    let live = pass_through(settings(&corp.slapd));
    let (person, subject) = corp.person(0);
    let right = person.password.clone();
    assert_eq!(verdict(&live, &subject, &right).await, Verdict::Verified);
    corp.slapd.stop();
    for _ in 0..3 {
        let answer = check(&live, &subject, &right).await;
        assert_eq!(unavailable(&answer), (UnavailableCause::Connect, Wire::NothingSent));
        assert_eq!(answer.server, Some(corp.slapd.ldaps_url()));
        assert!(answer.late.is_none());
    }
    corp.slapd.start();
    assert_eq!(verdict(&live, &subject, &right).await, Verdict::Verified);
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up_within_the_deadline_with_nothing_sent() {
    let corp = Corp::start();
    let (connect_deadline, bind_deadline) = (Duration::from_millis(500), Duration::from_secs(1));
    let live = pass_through(PassThroughSettings { connect_deadline, bind_deadline, ..settings(&corp.slapd) });
    let (person, subject) = corp.person(0);
    corp.slapd.freeze();
    for _ in 0..2 {
        let begun = Instant::now();
        let answer = check(&live, &subject, &person.password).await;
        assert_eq!(unavailable(&answer), (UnavailableCause::Deadline, Wire::NothingSent));
        assert!(begun.elapsed() < bind_deadline + Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    corp.slapd.thaw();
    wait_until("the server to answer again", PATIENCE, || {
        (corp.slapd.bind(&person.dn, &person.password) == 0).then_some(())
    });
    let live = pass_through(settings(&corp.slapd));
    assert_eq!(verdict(&live, &subject, &person.password).await, Verdict::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_that_was_given_up_is_read_to_its_end_and_holds_up_nobody() {
    let corp = Corp::start();
    let bind_deadline = Duration::from_secs(2);
    let live = pass_through(PassThroughSettings { bind_deadline, bind_connections: 1, ..settings(&corp.slapd) });
    let (other, other_subject) = corp.person(2);
    assert_eq!(verdict(&live, &other_subject, &other.password).await, Verdict::Verified);

    for (index, code, late_verdict) in [(0, 0, Verdict::Verified), (1, 49, Verdict::Refused(Refusal::WrongPassword))] {
        let (slow, slow_subject) = corp.person(index);
        corp.slapd.answer_bind(&slow.dn, code, Duration::from_secs(5));
        let answer = check(&live, &slow_subject, &slow.password).await;
        assert_eq!(unavailable(&answer), (UnavailableCause::Deadline, Wire::MaybeSent));
        let late = answer.late.expect("the bind is still read");
        // The only place in the pool is free, and no answer of the slow bind can be taken for this one's.
        assert_eq!(verdict(&live, &other_subject, &other.password).await, Verdict::Verified);
        assert_eq!(refusal(&live, &other_subject, "wrong").await, Refusal::WrongPassword);
        let late = tokio::time::timeout(PATIENCE, late).await.expect("in time").expect("a verdict came");
        assert_eq!(late.verdict, late_verdict);
        assert_eq!(late.server, corp.slapd.ldaps_url());
        assert_eq!(corp.slapd.bind_count_of(&slow.dn), 1, "asked once, and never again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_no_place_taken() {
    let corp = Corp::start();
    let live = pass_through(PassThroughSettings { bind_connections: 1, ..settings(&corp.slapd) });
    let (slow, slow_subject) = corp.person(0);
    corp.slapd.answer_bind(&slow.dn, 0, Duration::from_secs(10));
    let gone = tokio::time::timeout(Duration::from_secs(1), check(&live, &slow_subject, &slow.password)).await;
    assert!(gone.is_err());
    let begun = Instant::now();
    let (other, other_subject) = corp.person(2);
    assert_eq!(verdict(&live, &other_subject, &other.password).await, Verdict::Verified);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes_under_a_bind_and_thaws_delivers_its_verdict_late() {
    let corp = Corp::start();
    let bind_deadline = Duration::from_secs(4);
    let live = Arc::new(pass_through(PassThroughSettings { bind_deadline, ..settings(&corp.slapd) }));
    let (person, subject) = corp.person(0);
    corp.slapd.answer_bind(&person.dn, 0, Duration::from_secs(3));
    let asked = tokio::spawn({
        let (live, right) = (Arc::clone(&live), person.password.clone());
        async move { check(&live, &subject, &right).await }
    });
    tokio::task::block_in_place(|| {
        wait_until("the bind to arrive", PATIENCE, || (corp.slapd.bind_count_of(&person.dn) == 1).then_some(()));
    });
    corp.slapd.freeze();
    let answer = asked.await.expect("no panic");
    corp.slapd.thaw();
    assert_eq!(unavailable(&answer), (UnavailableCause::Deadline, Wire::MaybeSent));
    let late = tokio::time::timeout(PATIENCE, answer.late.expect("awaited")).await.expect("in time");
    assert_eq!(late.expect("a verdict").verdict, Verdict::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definite_no_read_live_is_final_even_when_the_bind_is_silent() {
    let corp = Corp::start();
    let bind_deadline = Duration::from_secs(2);
    let live = pass_through(PassThroughSettings { bind_deadline, ..settings(&corp.slapd) });
    let (person, subject) = corp.person(0);
    corp.slapd.replace(&person.dn, "pwdAccountLockedTime", "000001010000Z");
    corp.slapd.answer_bind(&person.dn, 0, Duration::from_secs(5));
    let answer = check(&live, &subject, &person.password).await;
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Refused(Refusal::Disabled)));
    assert!(answer.late.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_a_bind_is_unavailable_and_the_password_maybe_sent() {
    let mut corp = Corp::start();
    let live = Arc::new(pass_through(settings(&corp.slapd)));
    let (person, subject) = corp.person(0);
    let (dn, right) = (person.dn.clone(), person.password.clone());
    corp.slapd.answer_bind(&dn, 0, Duration::from_secs(5));
    let asked = tokio::spawn({
        let live = Arc::clone(&live);
        async move { check(&live, &subject, &right).await }
    });
    tokio::task::block_in_place(|| {
        wait_until("the bind to arrive", PATIENCE, || (corp.slapd.bind_count_of(&dn) == 1).then_some(()));
    });
    corp.slapd.stop();
    let answer = asked.await.expect("no panic");
    assert_eq!(unavailable(&answer), (UnavailableCause::ConnectionLost, Wire::MaybeSent));
    assert!(answer.late.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_takes_over_while_nothing_was_sent_and_the_first_is_left_alone_for_a_while() {
    let mut first = Corp::start();
    // The same people under other anchors, as on a server that is not a replica: by `uid` they are found on both.
    let second = Corp::start();
    let dir = temp_dir("trust");
    let both = dir.path().join("both.pem");
    let pem = |slapd: &Slapd| std::fs::read_to_string(slapd.ca_file()).expect("a CA file");
    std::fs::write(&both, pem(&first.slapd) + &pem(&second.slapd)).expect("a CA file");
    let live = pass_through(PassThroughSettings {
        servers: [&first, &second].map(|corp| corp.slapd.ldaps_url().parse().expect("an address")).into(),
        trust: Trust::new(&[both]).expect("both CAs"),
        anchor: AnchorAttribute::new("uid"),
        ..settings(&first.slapd)
    });
    let person = &second.directory.people[0];
    let subject = subject(&person.uid);
    let server = async |typed: &str| check(&live, &subject, typed).await.server;
    assert_eq!(server(&person.password).await, Some(first.slapd.ldaps_url()));
    first.slapd.stop();
    let answer = check(&live, &subject, &person.password).await;
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified));
    assert_eq!(answer.server, Some(second.slapd.ldaps_url()));
    assert_eq!(refusal(&live, &subject, "wrong").await, Refusal::WrongPassword);
    first.slapd.start();
    assert_eq!(server(&person.password).await, Some(second.slapd.ldaps_url()), "not yet");
    assert!(live.probe(&corp()).await.iter().all(|probe| probe.outcome.is_ok()));
    assert_eq!(server(&person.password).await, Some(first.slapd.ldaps_url()), "a good probe ends the back-off");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_bind_was_sent_no_other_server_is_asked() {
    let corp = Corp::start();
    let servers = [corp.slapd.ldaps_url(), corp.slapd.url()].map(|url| url.parse().expect("an address")).into();
    let bind_deadline = Duration::from_secs(3);
    let live = pass_through(PassThroughSettings { servers, bind_deadline, ..settings(&corp.slapd) });
    for (index, code, delay) in [(0, 51, 0), (1, 49, 0), (2, 0, 6)] {
        let (person, subject) = corp.person(index);
        corp.slapd.answer_bind(&person.dn, code, Duration::from_secs(delay));
        let answer = check(&live, &subject, &person.password).await;
        assert_eq!(answer.server, Some(corp.slapd.ldaps_url()));
        assert_eq!(corp.slapd.bind_count_of(&person.dn), 1, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_verified_gets_no_password() {
    let directory = directory::people(20);
    let slapd = Slapd::builder().directory(&directory).certificate_for(&["elsewhere.example"]).start();
    let good = Slapd::builder().directory(&directory).start();
    let dir = temp_dir("other-ca");
    let other_ca = Pki::new(dir.path());
    let of_other = Trust::new(&[other_ca.ca_file()]).expect("a CA");
    let person = &directory.people[0];
    let rows = [
        ("wrong name", slapd.ldaps_url(), settings(&slapd)),
        ("wrong name, StartTLS", slapd.url(), settings(&slapd)),
        ("wrong CA", good.ldaps_url(), PassThroughSettings { trust: of_other.clone(), ..settings(&good) }),
        ("wrong CA, StartTLS", good.url(), PassThroughSettings { trust: of_other, ..settings(&good) }),
        ("no TLS there", format!("ldaps://localhost:{}", good.port()), settings(&good)),
    ];
    for (what, url, settings) in rows {
        let servers = vec![url.parse().expect("an address")];
        let live = pass_through(PassThroughSettings { servers, anchor: AnchorAttribute::new("uid"), ..settings });
        let answer = check(&live, &subject(&person.uid), &person.password).await;
        assert_eq!(unavailable(&answer), (UnavailableCause::Tls, Wire::NothingSent), "{what}");
        assert!(live.probe(&corp()).await.iter().all(|probe| probe.outcome.is_err()), "{what}");
    }
    assert_eq!(slapd.bind_count() + good.bind_count(), 0, "nobody saw a bind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_refused_makes_the_directory_unavailable() {
    let corp = Corp::start();
    let account =
        ServiceAccount { dn: corp.slapd.service_dn().parse().expect("a name"), password: password("not the password") };
    let live = pass_through(PassThroughSettings { account, ..settings(&corp.slapd) });
    let (person, subject) = corp.person(0);
    for _ in 0..5 {
        let answer = check(&live, &subject, &person.password).await;
        assert_eq!(unavailable(&answer), (UnavailableCause::ServiceBind, Wire::NothingSent));
    }
    assert_eq!(corp.slapd.bind_count_of(&person.dn), 0);
    let tries = corp.slapd.bind_count_of(&corp.slapd.service_dn());
    assert_eq!(tries, 1, "sign-ins must not get the service account locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_refused_makes_the_directory_unavailable_and_not_the_user_absent() {
    let corp = Corp::start();
    let bases = vec!["ou=nowhere,dc=ldap,dc=example".parse().expect("a name")];
    let live = pass_through(PassThroughSettings { bases, ..settings(&corp.slapd) });
    let (person, subject) = corp.person(0);
    let answer = check(&live, &subject, &person.password).await;
    assert_eq!(unavailable(&answer), (UnavailableCause::Search, Wire::NothingSent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_asks_each_server_both_questions() {
    let mut corp = Corp::start();
    let dead = format!("ldaps://localhost:{}", free_port());
    let servers = vec![corp.slapd.ldaps_url().parse().expect("an address"), dead.parse().expect("an address")];
    let live = pass_through(PassThroughSettings { servers, ..settings(&corp.slapd) });
    let probes = live.probe(&self::corp()).await;
    assert_eq!(probes.iter().map(|probe| probe.server.clone()).collect::<Vec<_>>(), [corp.slapd.ldaps_url(), dead]);
    assert!(probes[0].outcome.is_ok() && probes[1].outcome.is_err(), "{probes:?}");
    assert_eq!(corp.slapd.bind_count_of(&corp.slapd.service_dn()), 1);
    assert_eq!(absent_binds(&corp), 1);

    let account =
        ServiceAccount { dn: corp.slapd.service_dn().parse().expect("a name"), password: password("not the password") };
    let wrong = pass_through(PassThroughSettings { account, ..settings(&corp.slapd) });
    let outcome = wrong.probe(&self::corp()).await.remove(0).outcome;
    assert!(outcome.as_ref().is_err_and(|text| text.contains("refuses the service account (result 49")), "{outcome:?}");
    corp.slapd.stop();
    assert!(live.probe(&self::corp()).await.iter().all(|probe| probe.outcome.is_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_fails_its_probe_by_the_deadline() {
    let corp = Corp::start();
    let probe_deadline = Duration::from_millis(500);
    let live = pass_through(PassThroughSettings { probe_deadline, ..settings(&corp.slapd) });
    corp.slapd.freeze();
    let begun = Instant::now();
    assert!(live.probe(&self::corp()).await[0].outcome.is_err());
    assert!(begun.elapsed() < probe_deadline + Duration::from_secs(10));
    corp.slapd.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconfigured_connector_is_unavailable_and_nothing_is_sent() {
    let live = PassThrough::new([], None, Arc::new(SystemClock));
    let answer = check(&live, &LiveSubject::Unknown, "any").await;
    assert_eq!(unavailable(&answer), (UnavailableCause::NoAgent, Wire::NothingSent));
    assert!(live.probe(&corp()).await.is_empty());
}
