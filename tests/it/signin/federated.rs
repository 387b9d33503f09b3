//! What a partner's checked assertion is worth.

use std::time::Duration;

use landbridge::identity::{AuthenticationMethod, SourceAnchor};
use landbridge::signin::{FederatedIdentity, ProofDemand, SignInError, Step, TransactionHandle, TransactionLost};
use landbridge::store::tenant::DomainChange;

use super::world::*;

pub const PARTNER: &str = "https://idp.partner.example/metadata";

on_both_engines! {
    a_partners_user_signs_in,
    a_partner_that_does_not_ask_again_signs_nobody_in_who_must_prove_anew,
    an_assertion_is_taken_once,
    an_assertion_is_remembered_by_the_databases_time,
    an_assertion_that_differs_in_one_point_signs_nobody_in,
}

/// Makes `partner.example` a federated domain.
pub async fn federate(world: &World) {
    let change = DomainChange {
        method: Some(AuthenticationMethod::Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    world.change("partner.example", change).await;
}

pub fn vouch(name: &str, request_id: &str) -> FederatedIdentity {
    vouch_for(name, "partner.example", request_id)
}

pub fn vouch_for(name: &str, of: &str, request_id: &str) -> FederatedIdentity {
    FederatedIdentity {
        partner: PARTNER.parse().expect("an entity id"),
        request_id: request_id.to_owned(),
        source_anchor: SourceAnchor::from_stored(anchor(name)),
        upn: format!("{name}@{of}").parse().expect("a upn"),
        amr: vec!["pwd".to_owned()],
        authenticated_at: NOW,
        assertion: format!("assertion for {request_id}"),
        valid_until: NOW + HOUR,
    }
}

async fn sent_to_the_partner(world: &World) -> (TransactionHandle, String) {
    sent_with(world, ProofDemand::default()).await
}

async fn sent_with(world: &World, proof: ProofDemand) -> (TransactionHandle, String) {
    let begun = world.sign_in.begin(demanding(proof), &stranger(), None).await.expect("a transaction");
    match world.sign_in.identify(&begun.handle, "fay@partner.example", &stranger()).await.expect("a step") {
        Step::AwaitAssertion { request_id, partner, force, .. } => {
            assert_eq!((partner.as_str(), force), (PARTNER, proof != ProofDemand::default()));
            (begun.handle, request_id)
        }
        other => panic!("{other:?}"),
    }
}

async fn a_partners_user_signs_in(world: World) {
    let oid = world.known("fay", "partner.example").await;
    federate(&world).await;
    let (handle, request_id) = sent_to_the_partner(&world).await;
    match world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await.expect("a step") {
        Step::Complete { session, cookie, .. } => {
            assert_eq!(
                (session.oid, session.method, session.authority.as_str()),
                (oid, AuthenticationMethod::Federated, PARTNER)
            );
            let cookie = cookie.expect("a new session has a cookie");
            assert_eq!(world.sign_in.session(&cookie).await.expect("a read"), Some(session));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.last_record().await.outcome, "success");
}

async fn a_partner_that_does_not_ask_again_signs_nobody_in_who_must_prove_anew(world: World) {
    world.known("fay", "partner.example").await;
    federate(&world).await;
    let hour_ago = NOW - HOUR;
    let rows = [
        (ProofDemand { fresh: true, max_age: None }, hour_ago, Some("federation.proof_not_fresh")),
        (ProofDemand { fresh: true, max_age: None }, NOW, None),
        (ProofDemand { fresh: false, max_age: Some(600) }, hour_ago, Some("federation.proof_too_old")),
        (ProofDemand { fresh: false, max_age: Some(7200) }, hour_ago, None),
        (ProofDemand::default(), hour_ago, None),
    ];
    for (demand, proved, refused) in rows {
        let (handle, request_id) = sent_with(&world, demand).await;
        let identity = FederatedIdentity { authenticated_at: proved, ..vouch("fay", &request_id) };
        let taken = world.sign_in.assertion(&handle, identity, &stranger()).await;
        match (taken, refused) {
            // The proof is as old as the partner says, whenever it arrives.
            (Ok(Step::Complete { session, .. }), None) => assert_eq!(session.auth_time, proved, "{demand:?}"),
            (Err(SignInError::AssertionRefused), Some(code)) => {
                assert_eq!(world.last_record().await.reason.as_deref(), Some(code));
            }
            (other, _) => panic!("{demand:?} {proved:?}: {other:?}"),
        }
    }
}

async fn an_assertion_is_remembered_by_the_databases_time(world: World) {
    world.known("fay", "partner.example").await;
    federate(&world).await;
    let (handle, request_id) = sent_to_the_partner(&world).await;
    world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await.expect("a step");
    let remembered = "SELECT CAST(COUNT(*) AS BIGINT) FROM assertion_replay";
    // Good until the year 2100; this node believes that it is later.
    world.execute("UPDATE assertion_replay SET expires_at = 4102444800000").await;
    world.clock.advance(100 * 366 * 24 * HOUR);
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(world.number(remembered).await, 1);
    world.execute("UPDATE assertion_replay SET expires_at = 1000").await;
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(world.number(remembered).await, 0);
}

async fn an_assertion_is_taken_once(world: World) {
    world.known("fay", "partner.example").await;
    federate(&world).await;
    let (handle, request_id) = sent_to_the_partner(&world).await;
    let identity = vouch("fay", &request_id);
    world.sign_in.assertion(&handle, identity.clone(), &stranger()).await.expect("a step");
    let again = world.sign_in.assertion(&handle, identity.clone(), &stranger()).await;
    assert!(matches!(again, Err(SignInError::Lost(TransactionLost::OtherState))));
    // Nor does it open another transaction.
    let (handle, request_id) = sent_to_the_partner(&world).await;
    let replayed = FederatedIdentity { request_id, ..identity };
    let result = world.sign_in.assertion(&handle, replayed, &stranger()).await;
    assert!(matches!(result, Err(SignInError::AssertionRefused)), "{result:?}");
    assert_eq!(world.last_reason().await, "federation.replayed");
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM session").await, 1);
    world.clock.advance(Duration::from_secs(3600));
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM assertion_replay").await, 0);
}

async fn an_assertion_that_differs_in_one_point_signs_nobody_in(world: World) {
    let oid = world.known("fay", "partner.example").await;
    world.known("gil", "partner.example").await;
    world.person("ada").await;
    federate(&world).await;
    let changes: [(&str, fn(&mut FederatedIdentity)); 7] = [
        ("federation.other_partner", |id| id.partner = "https://other.example".parse().expect("an id")),
        ("federation.other_request", |id| id.request_id = "_other".to_owned()),
        ("federation.unknown_anchor", |id| id.source_anchor = SourceAnchor::from_stored("a-nobody".to_owned())),
        ("federation.upn_mismatch", |id| id.source_anchor = SourceAnchor::from_stored("a-gil".to_owned())),
        ("federation.upn_mismatch", |id| id.upn = "gil@partner.example".parse().expect("a upn")),
        ("federation.domain_not_the_partners", |id| id.upn = "ada@example.org".parse().expect("a upn")),
        ("federation.domain_not_the_partners", |id| {
            id.upn = "ada@example.org".parse().expect("a upn");
            id.source_anchor = SourceAnchor::from_stored("a-ada".to_owned());
        }),
    ];
    for (reason, change) in changes {
        let (handle, request_id) = sent_to_the_partner(&world).await;
        let mut identity = vouch("fay", &request_id);
        change(&mut identity);
        let result = world.sign_in.assertion(&handle, identity, &stranger()).await;
        assert!(matches!(result, Err(SignInError::AssertionRefused)), "{reason}: {result:?}");
        assert_eq!(world.last_reason().await, reason);
        // The genuine one is still awaited.
        let step = world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await.expect("a step");
        assert!(matches!(step, Step::Complete { .. }), "{reason}");
    }
    let refused = async |reason: &str| {
        let (handle, request_id) = sent_to_the_partner(&world).await;
        let result = world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await;
        assert!(matches!(result, Err(SignInError::AssertionRefused)), "{reason}: {result:?}");
        assert_eq!(world.last_reason().await, reason);
    };
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{oid}'")).await;
    refused("disabled-in-tenant").await;
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 1 WHERE oid = '{oid}'")).await;
    // The user has left the partner's domain: the former name no longer speaks for them.
    let moved = format!(
        "UPDATE tenant_user SET upn = 'fay@example.org', upn_folded = 'fay@example.org', domain = 'example.org' WHERE oid = '{oid}'"
    );
    world.execute(&moved).await;
    refused("federation.upn_mismatch").await;
    let until = (NOW + HOUR).millis();
    world.execute(&format!("INSERT INTO upn_history VALUES ('{oid}', 'fay@partner.example', {until})")).await;
    refused("federation.user_not_the_partners").await;
    // Renamed within the partner's domain, the name held in the last day still speaks for them.
    world
        .execute(&format!(
            "UPDATE tenant_user SET upn = 'f.new@partner.example', domain = 'partner.example' WHERE oid = '{oid}'"
        ))
        .await;
    let (handle, request_id) = sent_to_the_partner(&world).await;
    let step = world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await.expect("a step");
    assert!(matches!(step, Step::Complete { .. }));
}

#[tokio::test]
async fn a_locked_user_is_not_let_in_by_the_partner_either() {
    let world = on_sqlite().await;
    world.known("fay", "partner.example").await;
    for number in 0..4 {
        world.sign_in("fay@partner.example", &format!("guess {number}")).await;
    }
    federate(&world).await;
    let (handle, request_id) = sent_to_the_partner(&world).await;
    let result = world.sign_in.assertion(&handle, vouch("fay", &request_id), &stranger()).await;
    assert!(matches!(result, Err(SignInError::AssertionRefused)));
    assert_eq!(world.last_reason().await, "lockout");
}
