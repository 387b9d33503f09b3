//! Wrong passwords at two nodes count together, and a network that tries many names is slowed at both.

use landbridge::listener::open_files;

use super::site::{Nodes, Plan, Site};
use crate::support::balancer;
use crate::support::directory::ALPHA;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::samba::{CORP, Samba};
use crate::support::visitor::Outcome;

/// Failures after which the directory locks, and what of them the gateway lets through: two less, for familiar and
/// unknown devices together.
const DIRECTORY_LOCKS: u32 = 10;
const UNFAMILIAR: usize = 3;
const BOTH: usize = 8;
const GUESSES: usize = 500;

fn open(sections: &str) -> Site {
    let store = Postgres::start().fresh_database();
    Plan { store: &store, sections, sync: "", directory_locks_after: DIRECTORY_LOCKS }.open()
}

impl Site {
    /// Wrong passwords that the directory counts against an account now.
    fn counted_by_directory(&self, dn: &str) -> usize {
        self.slapd.values(dn, "pwdFailureTime").len()
    }
}

/// How many of many tries at once were refused. On a busy machine store or directory may have no time for some.
#[track_caller]
fn no_entry(outcomes: Vec<Outcome>) -> usize {
    let mut refused = 0;
    for outcome in outcomes {
        match outcome {
            Outcome::Refused { .. } => refused += 1,
            Outcome::TryAgain | Outcome::Odd { status: 503, .. } => {}
            other => panic!("a guess ended with {other:?}"),
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_guesses_at_once_over_two_nodes_reach_the_directory_as_often_as_the_limit_allows() {
    open_files::raise();
    let site = open("[lockout]\nfirst_lock = \"10m\"\n");
    let person = site.at_directory(0);
    // The owner's laptop, which the gateway knows from now on.
    let laptop = site.visitor.sign_in(&person.upn, &person.password).await.signed();
    let binds = || site.slapd.bind_count_of(&person.dn);
    let before = binds();

    let crowd = site.crowd_of(1);
    let pages = (0..GUESSES).map(|_| crowd.at_the_password(&person.upn));
    let pages = futures::future::join_all(pages).await;
    let given = site.balancer.given();
    assert!(given.iter().all(|connections| *connections > GUESSES / 4), "both nodes are asked: {given:?}");
    let guesses = pages.into_iter().enumerate().map(|(number, page)| {
        let guess = format!("guess {number}");
        let crowd = &crowd;
        async move { crowd.type_password(page, &guess).await }
    });
    let refused = no_entry(futures::future::join_all(guesses).await);
    let reached = binds() - before;
    println!("{reached} of {GUESSES} guesses reached the directory, {refused} were refused");
    assert!((1..=UNFAMILIAR).contains(&reached), "{reached}");
    assert!(site.counted_by_directory(&person.dn) <= UNFAMILIAR);

    // Strangers are locked out on both nodes, the owner is not.
    for _ in 0..2 {
        site.visitor.sign_in(&person.upn, &person.password).await.refused();
        site.visitor.sign_in_on_device(&laptop, &person.upn, &person.password).await.signed();
    }
    // Strangers and mistakes of the owner's own, mixed.
    for number in 0..12 {
        site.visitor.sign_in(&person.upn, &format!("guess {number}")).await.refused();
        site.visitor.sign_in_on_device(&laptop, &person.upn, &format!("slip {number}")).await.refused();
        let counted = site.counted_by_directory(&person.dn);
        assert!(counted <= BOTH, "the directory counts {counted}, and locks at {DIRECTORY_LOCKS}");
    }
    assert!(site.slapd.values(&person.dn, "pwdAccountLockedTime").is_empty(), "the directory has not locked");

    // What it looks like, at the other node.
    let report = site.nodes[1].cli(&["lockout", "report"]);
    let user = report["users"].as_array().expect("users").iter().find(|user| user["name"] == person.upn.as_str());
    let user = user.unwrap_or_else(|| panic!("{} is in the report: {report:#}", person.upn));
    assert_eq!(user["judgement"], "guessing", "{user:#}");
    assert!(user["locked_until"].is_string() || user["locked_until"].is_number(), "{user:#}");
    let places = user["places"].as_array().expect("places");
    let guessed = places.iter().find(|place| place["network"] == balancer::network(1).as_str());
    assert_eq!(guessed.map(|place| &place["familiar"]), Some(&false.into()), "{user:#}");

    // One node lifts the lock, for both.
    assert_eq!(site.nodes[1].cli(&["user", "unlock", &person.upn])["was_counting"], true);
    for _ in 0..2 {
        site.visitor.sign_in(&person.upn, &person.password).await.signed();
    }
    site.audit_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_tries_many_names_is_slowed_at_both_nodes_and_others_are_not() {
    let site = open("[lockout]\nspray_names = 10\nspray_pause = \"10m\"\n");
    let person = site.at_directory(0);
    let laptop = site.visitor_of(2).sign_in(&person.upn, &person.password).await.signed();
    let sprayed = site.visitor_of(2);
    let ghost = async |number: usize| sprayed.sign_in(&format!("ghost{number}@{ALPHA}"), "Summer2026!").await;
    for number in 0..10 {
        ghost(number).await.refused();
    }
    let mut slowed = 0;
    for number in 10..16 {
        match ghost(number).await {
            Outcome::Odd { status: 429, .. } => slowed += 1,
            Outcome::Refused { .. } => {}
            other => panic!("a try of a slowed network ended with {other:?}"),
        }
    }
    assert_eq!(slowed, 5, "one passes, then none until the pause is over, at neither node");
    for _ in 0..2 {
        site.visitor_of(3).sign_in(&person.upn, &person.password).await.signed();
        site.visitor.sign_in(&person.upn, &person.password).await.signed();
        sprayed.sign_in_on_device(&laptop, &person.upn, &person.password).await.signed();
    }
    let status = site.nodes[1].cli(&["failover", "status"]);
    let alerts = status["alerts"].as_array().expect("alerts");
    let alert = alerts.iter().find(|alert| alert["name"] == "password-spray");
    assert_eq!(alert.map(|alert| &alert["subject"]), Some(&balancer::network(2).into()), "{status:#}");
    let report = site.nodes[0].cli(&["lockout", "report"]);
    assert_eq!(report["networks"][0]["network"], balancer::network(2).as_str());
    assert_eq!(report["networks"][0]["unknown_names"], 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn active_directory_counts_fewer_wrong_passwords_than_it_locks_after() {
    const LOCKS_AFTER: u32 = 6;
    const PASSWORD: &str = "Start-0-Pässwörd!";
    let samba = Samba::start(CORP, &["get-changes", "get-changes-all", "deleted-objects"]);
    samba.lock_after(LOCKS_AFTER);
    samba.add_users("user", &[PASSWORD.to_owned()]);
    let store = Postgres::start().fresh_database();
    let builder = Gateway::builder().store(&store).samba("corp", &samba);
    let site = Nodes::start(builder, &[(CORP.realm, "pta")]);
    let (visitor, upn) = (&site.visitor, format!("user0@{}", CORP.realm));
    let laptop = visitor.sign_in(&upn, PASSWORD).await.signed();

    // A stranger guesses; the owner gets in, and so begins the directory's counter anew.
    let guesses = (0..40).map(|number| {
        let (upn, guess) = (upn.clone(), format!("guess {number}"));
        async move { visitor.sign_in(&upn, &guess).await }
    });
    no_entry(futures::future::join_all(guesses).await);
    let counted = samba.bad_passwords("user0");
    assert!((1..=LOCKS_AFTER - 2).contains(&counted), "the directory counts {counted}");
    visitor.sign_in(&upn, PASSWORD).await.refused();
    visitor.sign_in_on_device(&laptop, &upn, PASSWORD).await.signed();
    assert_eq!(samba.bad_passwords("user0"), 0);

    // Mixed with the owner's own mistakes.
    for number in 0..6 {
        visitor.sign_in(&upn, &format!("guess {number}")).await.refused();
        visitor.sign_in_on_device(&laptop, &upn, &format!("slip {number}")).await.refused();
    }
    let counted = samba.bad_passwords("user0");
    assert!((1..=LOCKS_AFTER - 2).contains(&counted), "the directory counts {counted}");
    site.nodes[0].cli(&["user", "unlock", &upn]);
    visitor.sign_in(&upn, PASSWORD).await.signed();
}
