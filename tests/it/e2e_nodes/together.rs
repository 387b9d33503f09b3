//! What one node has begun the other one carries on, and what one node is told holds on the other.

use super::site::{Plan, Site, holds_lease};
use crate::support::directory::{ALPHA, BETA};
use crate::support::postgres::Postgres;
use crate::support::visitor::Outcome;

fn open() -> Site {
    let store = Postgres::start().fresh_database();
    Plan { store: &store, sections: "", sync: "", directory_locks_after: 0 }.open()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_of_a_sign_in_may_reach_another_node() {
    let site = open();
    for person in [site.at_directory(0), site.by_hash(0)] {
        let before = site.balancer.given();
        let (mut signed, tokens) = site.signed_in(person).await;
        let after = site.balancer.given();
        // The name, the page, the password and the code: two requests each.
        assert_eq!([after[0] - before[0], after[1] - before[1]], [2, 2], "the nodes had turns");
        for _ in 0..2 {
            assert!(site.visitor.userinfo_answers(&tokens.access).await, "either node takes the access token");
            assert!(site.visitor.is_still_signed_in(&mut signed).await, "either node knows the session");
        }
        let mut refresh = tokens.refresh;
        for _ in 0..3 {
            let fresh = site.visitor.refresh(&refresh).await.expect("an answer").expect("a good refresh token");
            assert_eq!(fresh.sid, tokens.sid);
            refresh = fresh.refresh;
        }
        site.visitor.sign_out(&mut signed).await;
        for _ in 0..2 {
            assert!(!site.visitor.is_still_signed_in(&mut signed).await, "signed out on both nodes");
            assert!(!site.visitor.userinfo_answers(&tokens.access).await, "the access token ended with the session");
            assert!(site.visitor.refresh(&refresh).await.expect("an answer").is_none(), "so did the grant");
        }
    }
    // A wrong password on one node, the right one on the other.
    let person = site.by_hash(1);
    site.visitor.sign_in(&person.upn, "not it").await.refused();
    site.visitor.sign_in(&person.upn, &person.password).await.signed();
    site.audit_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_is_told_holds_on_the_other_with_the_next_request() {
    let site = open();
    let [first, second] = &site.nodes;
    let refused = async |upn: &str, password: &str| {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            outcomes.push(matches!(site.visitor.sign_in(upn, password).await, Outcome::Refused { .. }));
        }
        outcomes == [true, true]
    };

    // Sessions revoked.
    let person = site.by_hash(0);
    let (mut signed, tokens) = site.signed_in(person).await;
    let revoked = second.cli(&["user", "revoke-sessions", &person.upn]);
    assert_eq!(revoked["sessions"], 1);
    for _ in 0..2 {
        assert!(!site.visitor.userinfo_answers(&tokens.access).await, "revoked sessions have ended on both nodes");
    }
    assert!(!site.visitor.is_still_signed_in(&mut signed).await);
    assert!(site.visitor.refresh(&tokens.refresh).await.expect("an answer").is_none(), "the grant ended");
    site.visitor.sign_in(&person.upn, &person.password).await.signed();

    // An account disabled in the directory, as the node tells that holds the engine.
    let person = site.by_hash(1);
    let (_, tokens) = site.signed_in(person).await;
    site.slapd.replace(&person.dn, "pwdAccountLockedTime", "000001010000Z");
    let engine = if holds_lease(first) { first } else { second };
    engine.cli(&["sync", "run", "--profile", "delta"]);
    engine.cli(&["password-sync", "run"]);
    assert!(refused(&person.upn, &person.password).await, "a disabled account is refused");
    for _ in 0..2 {
        assert!(!site.visitor.userinfo_answers(&tokens.access).await, "what it was granted ended");
    }

    // A user of the cloud deleted.
    first.cli(&["user", "add", "guest@initial.test"]);
    assert!(second.cli(&["user", "show", "guest@initial.test"])["oid"].is_string());
    second.cli(&["user", "delete", "guest@initial.test"]);
    first.cli_refused(&["user", "unlock", "guest@initial.test"]);

    // Another method.
    let person = site.at_directory(0);
    second.cli(&["domain", "set-failover", ALPHA, "--backup", "phs", "--mode", "manual"]);
    second.cli(&["failover", "force", ALPHA]);
    assert!(site.signed_in_at_both(person).await.iter().all(|tokens| tokens.by_backup()), "failover is forced");
    first.cli(&["failover", "release", ALPHA]);
    assert!(site.signed_in_at_both(person).await.iter().all(|tokens| !tokens.by_backup()), "and has ended");
    first.cli(&["failover", "force", ALPHA, "--to", "primary"]);
    let pinned = second.cli(&["failover", "status"]);
    assert!(pinned["domains"].to_string().contains("\"pin\":\"primary\""), "a pin is seen by both: {pinned}");
    first.cli(&["failover", "release", ALPHA]);

    let person = site.at_directory(1);
    let binds = site.slapd.bind_count_of(&person.dn);
    second.cli(&["domain", "set-method", ALPHA, "phs", "--force"]);
    site.signed_in_at_both(person).await;
    assert_eq!(site.slapd.bind_count_of(&person.dn), binds, "no node asks the directory any more");
    second.cli(&["domain", "set-method", BETA, "pta", "--force"]);
    let person = site.by_hash(2);
    site.signed_in_at_both(person).await;
    assert_eq!(site.slapd.bind_count_of(&person.dn), 2, "both nodes ask it for the other domain");
    site.audit_holds();
}
