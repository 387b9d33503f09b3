//! The sign-in transaction: every state against everything that can be asked of it.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::{Actor, Event, EventKind, Outcome as Audited};
use landbridge::identity::{AuthenticationMethod, FailoverMode, PlainPassword, TransactionId};
use landbridge::signin::desk::SetMethod;
use landbridge::signin::realm::Managed;
use landbridge::signin::store::{MethodCut, Transactions};
use landbridge::signin::transaction::{State, Transaction};
use landbridge::signin::{Notice, SignInError, SignInRequest, Step, TransactionHandle, TransactionLost};
use landbridge::store::tenant::{DomainChange, NewVerification};
use landbridge::store::{StoreError, Urgency};

use super::administration::desk;
use super::federated::{PARTNER, federate, vouch};
use super::scripted::{Bind, Mood};
use super::world::*;

on_both_engines! {
    every_state_takes_only_what_it_awaits,
    a_state_is_left_once_however_many_come,
    transactions_in_flight_finish_under_the_method_they_began_with,
    a_cut_ends_what_rests_on_the_former_method_and_nothing_else,
    a_name_of_another_domain_begins_under_its_users_own_method,
    a_cut_finds_who_came_by_a_name_of_another_domain,
    an_outage_does_not_tell_which_down_level_names_somebody_has,
    a_transaction_is_not_opened_under_a_method_that_has_been_left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Identifier,
    Password,
    Assertion,
    Complete,
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Identify,
    Password,
    Assertion,
    StartOver,
    Show,
}

async fn brought_to(world: &World, at: At) -> (TransactionHandle, String) {
    let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
    let (handle, mut request_id) = (begun.handle, "_none".to_owned());
    match at {
        At::Identifier => {}
        At::Password | At::Complete | At::Cut => {
            world.sign_in.identify(&handle, "ada@example.org", &stranger()).await.expect("a step");
        }
        At::Assertion => {
            match world.sign_in.identify(&handle, "fay@partner.example", &stranger()).await.expect("a step") {
                Step::AwaitAssertion { request_id: id, .. } => request_id = id,
                other => panic!("{other:?}"),
            }
        }
    }
    match at {
        At::Complete => {
            world.type_password(&handle, "ada-password", &stranger()).await.session();
        }
        At::Cut => {
            world
                .execute(
                    "UPDATE signin_transaction SET state = 'cut', version = version + 1, \
                           detail = '{\"state\":{\"awaits\":\"cut\"}}' WHERE state = 'await-password'",
                )
                .await;
        }
        At::Identifier | At::Password | At::Assertion => {}
    }
    (handle, request_id)
}

async fn ask(
    world: &World,
    asked: Asked,
    handle: &TransactionHandle,
    request_id: &str,
) -> Result<&'static str, SignInError> {
    let browser = stranger();
    let step = match asked {
        Asked::Identify => world.sign_in.identify(handle, "ada@example.org", &browser).await,
        Asked::Password => {
            world.sign_in.password(handle, PlainPassword::new("ada-password".to_owned()), &browser).await
        }
        Asked::Assertion => world.sign_in.assertion(handle, vouch("fay", request_id), &browser).await,
        Asked::StartOver => world.sign_in.start_over(handle).await,
        Asked::Show => world.sign_in.step(handle).await,
    };
    step.map(|step| match step {
        Step::AwaitIdentifier { .. } => "identifier",
        Step::AwaitPassword { .. } => "password",
        Step::AwaitAssertion { .. } => "assertion",
        Step::Complete { .. } => "complete",
    })
}

async fn every_state_takes_only_what_it_awaits(world: World) {
    world.person("ada").await;
    world.known("fay", "partner.example").await;
    federate(&world).await;
    let all = [Asked::Identify, Asked::Password, Asked::Assertion, Asked::StartOver, Asked::Show];
    let model = |at: At, asked: Asked| match (at, asked) {
        (At::Identifier, Asked::Identify) => Some("password"),
        (At::Password, Asked::Password) | (At::Assertion, Asked::Assertion) => Some("complete"),
        (At::Identifier | At::Password | At::Assertion, Asked::StartOver) => Some("identifier"),
        (At::Identifier, Asked::Show) => Some("identifier"),
        (At::Password, Asked::Show) => Some("password"),
        (At::Assertion, Asked::Show) => Some("assertion"),
        _ => None,
    };
    for at in [At::Identifier, At::Password, At::Assertion, At::Complete, At::Cut] {
        for asked in all {
            let (handle, request_id) = brought_to(&world, at).await;
            let sessions = "SELECT CAST(COUNT(*) AS BIGINT) FROM session";
            let before = world.number(sessions).await;
            let result = ask(&world, asked, &handle, &request_id).await;
            match (model(at, asked), &result) {
                (Some(expected), Ok(step)) => assert_eq!(*step, expected, "{at:?} {asked:?}"),
                (None, Err(SignInError::Lost(TransactionLost::OtherState))) => {}
                _ => panic!("{at:?} {asked:?}: {result:?}"),
            }
            let opened = i64::from(result.is_ok_and(|step| step == "complete"));
            assert_eq!(world.number(sessions).await, before + opened, "{at:?} {asked:?}");
            // Another browser, an invented id and an old page get nothing out of any state.
            let other = TransactionHandle { cookie: "another browser's".to_owned(), ..handle.clone() };
            let lost = ask(&world, asked, &other, &request_id).await;
            assert!(matches!(lost, Err(SignInError::Lost(TransactionLost::OtherBrowser))), "{at:?} {asked:?}");
            let invented = TransactionHandle { id: TransactionId::random(), ..handle.clone() };
            let lost = ask(&world, asked, &invented, &request_id).await;
            assert!(matches!(lost, Err(SignInError::Lost(TransactionLost::Unknown))), "{at:?} {asked:?}");
            let now = landbridge::identity::Clock::now(&*world.clock);
            world.clock.advance(Duration::from_secs(600));
            let lost = ask(&world, asked, &handle, &request_id).await;
            assert!(matches!(lost, Err(SignInError::Lost(TransactionLost::Expired))), "{at:?} {asked:?}");
            world.clock.set(now);
        }
    }
}

async fn a_state_is_left_once_however_many_come(world: World) {
    world.person("ada").await;
    let world = Arc::new(world);
    for _ in 0..5 {
        let handle = world.asked("ada").await;
        let posts: Vec<_> = (0..4)
            .map(|_| {
                let (world, handle) = (Arc::clone(&world), handle.clone());
                tokio::spawn(async move { world.type_password(&handle, "ada-password", &stranger()).await })
            })
            .collect();
        let mut signed_in = 0;
        for post in posts {
            match post.await.expect("a post ends") {
                Outcome::In { .. } => signed_in += 1,
                Outcome::Error(SignInError::Lost(TransactionLost::OtherState)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(signed_in, 1);
    }
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM session").await, 5);
    assert_eq!(world.number("SELECT CAST(SUM(in_flight) AS BIGINT) FROM lockout").await, 0);
}

async fn transactions_in_flight_finish_under_the_method_they_began_with(world: World) {
    let mut world = world;
    world.settings.lockout.unfamiliar_limit = 1000;
    world.restart();
    world.person("ada").await;
    let to = |method| DomainChange { method: Some(method), ..DomainChange::default() };
    let partner = DomainChange {
        method: Some(AuthenticationMethod::Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    let switches = [
        (AuthenticationMethod::Phs, to(AuthenticationMethod::Pta)),
        (AuthenticationMethod::Pta, partner),
        (AuthenticationMethod::Federated, to(AuthenticationMethod::Phs)),
    ];
    for (began, switch) in switches {
        let mut open = Vec::new();
        for _ in 0..50 {
            let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
            let step = world.sign_in.identify(&begun.handle, "ada@example.org", &stranger()).await.expect("a step");
            open.push((begun.handle, step));
            let unidentified = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
            open.push((unidentified.handle, unidentified.step));
        }
        world.policy(switch).await;
        for (handle, step) in open {
            match step {
                Step::AwaitPassword { .. } => {
                    assert_eq!(
                        world.type_password(&handle, "wrong", &stranger()).await.notice(),
                        Some(Notice::Refused)
                    );
                    let signed_in = world.type_password(&handle, "ada-password", &stranger()).await;
                    assert_eq!(signed_in.session().method, began);
                }
                Step::AwaitAssertion { request_id, .. } => {
                    let identity = super::federated::vouch_for("ada", "example.org", &request_id);
                    match world.sign_in.assertion(&handle, identity, &stranger()).await.expect("a step") {
                        Step::Complete { session, .. } => assert_eq!(session.method, began),
                        other => panic!("{other:?}"),
                    }
                }
                // Without a name, nothing had begun: the new method applies.
                Step::AwaitIdentifier { .. } => {
                    world.sign_in.identify(&handle, "ada@example.org", &stranger()).await.expect("a step");
                }
                Step::Complete { .. } => panic!("nobody has signed in yet"),
            }
        }
    }
}

/// Names of ada of `example.org` that do not tell her domain.
const OTHER_NAMES: [&str; 2] = ["CORP\\ada", "ada@other.example"];

async fn with_other_names(world: &World) {
    let oid = world.person("ada").await;
    for (folded, kind) in [("corp\\ada", "sam"), ("ada@other.example", "alternate")] {
        let sql = format!("INSERT INTO sign_in_name (folded, kind, oid) VALUES ('{folded}', '{kind}', '{oid}')");
        world.execute(&sql).await;
    }
    world.execute(&format!("UPDATE tenant_user SET netbios = 'corp' WHERE oid = '{oid}'")).await;
    world.tenant.add_domain(domain("other.example"), "challenge".to_owned()).await.expect("a new domain");
    let verified = world.tenant.mark_verified(&domain("other.example"), NewVerification::Operator, None).await;
    verified.expect("a known domain");
}

async fn a_name_of_another_domain_begins_under_its_users_own_method(world: World) {
    let mut world = world;
    world.settings.lockout.unfamiliar_limit = 1000;
    world.restart();
    with_other_names(&world).await;
    let federated = DomainChange {
        method: Some(AuthenticationMethod::Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    let pta = DomainChange { method: Some(AuthenticationMethod::Pta), ..DomainChange::default() };
    for (began, switch) in [(AuthenticationMethod::Phs, pta), (AuthenticationMethod::Pta, federated)] {
        let mut open = Vec::new();
        for name in OTHER_NAMES {
            open.push(world.typed(name).await);
        }
        world.policy(switch).await;
        for handle in open {
            assert!(world.type_password(&handle, "wrong", &stranger()).await.notice().is_some());
            assert_eq!(world.type_password(&handle, "ada-password", &stranger()).await.session().method, began);
            assert_eq!(world.last_record().await.detail["domain"], "example.org");
        }
    }
    // A partner's user has no password here, and does not differ from nobody.
    for name in OTHER_NAMES.into_iter().chain(["CORP\\nobody", "nobody@other.example"]) {
        let handle = world.typed(name).await;
        let tried = world.type_password(&handle, "ada-password", &stranger()).await;
        assert_eq!(tried.notice(), Some(Notice::Refused), "{name}");
    }
}

async fn a_cut_finds_who_came_by_a_name_of_another_domain(world: World) {
    with_other_names(&world).await;
    let mut open = Vec::new();
    for name in OTHER_NAMES {
        open.push(world.typed(name).await);
    }
    let nobody = world.typed("nobody@other.example").await;
    world.pta(FailoverMode::Manual).await;
    let event = Event::new(EventKind::Admin("domain.set-method"), Audited::Success, Actor::Anonymous);
    let cut = world.tables.cut(domain("example.org"), AuthenticationMethod::Pta, NOW, event).await.expect("a cut");
    assert_eq!(cut.transactions, 2);
    for handle in open {
        let lost = world.type_password(&handle, "ada-password", &stranger()).await;
        assert!(matches!(lost, Outcome::Error(SignInError::Lost(TransactionLost::OtherState))), "{lost:?}");
    }
    assert!(world.type_password(&nobody, "any", &stranger()).await.notice().is_some());
}

async fn an_outage_does_not_tell_which_down_level_names_somebody_has(world: World) {
    with_other_names(&world).await;
    world.pta(FailoverMode::Manual).await;
    let told = async |name| {
        let handle = world.typed(name).await;
        world.type_password(&handle, "ada-password", &stranger()).await.notice()
    };
    assert_eq!(told("CORP\\nobody").await, Some(Notice::Refused));
    world.directory.become_(Mood::Down);
    for name in ["ada@example.org", "nobody@example.org", "CORP\\ada", "CORP\\nobody"] {
        assert_eq!(told(name).await, Some(Notice::TryAgain), "{name}");
    }
    assert_eq!(told("OTHER\\nobody").await, Some(Notice::Refused), "nobody's name begins so");
}

/// Between reading a domain's method and writing it down there is a moment.
async fn a_transaction_is_not_opened_under_a_method_that_has_been_left(world: World) {
    let begun = |method| Transaction {
        id: TransactionId::random(),
        cookie_hash: "hash".to_owned(),
        state: State::Password {
            name: "ada@example.org".to_owned(),
            domain: domain("example.org"),
            method,
            ours: true,
            notice: None,
        },
        protocol: request().protocol,
        replaces: Some("former".to_owned()),
        version: 1,
        created_at: NOW,
        expires_at: NOW + HOUR,
    };
    world.pta(FailoverMode::Manual).await;
    for (method, opens) in [(Managed::Phs, false), (Managed::Pta, true)] {
        let transaction = begun(method);
        assert_eq!(world.tables.open(transaction.clone()).await.expect("an answer"), opens, "{method:?}");
        assert_eq!(world.tables.load(transaction.id).await.expect("a read"), opens.then_some(transaction));
    }
}

async fn a_cut_ends_what_rests_on_the_former_method_and_nothing_else(world: World) {
    world.person("ada").await;
    world.known("fay", "partner.example").await;
    let before = world.right("ada").await;
    let awaiting = world.asked("ada").await;
    let unidentified = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction").handle;
    world.pta(FailoverMode::Manual).await;
    let after = world.right("ada").await;
    let event = Event::new(EventKind::Admin("domain.set-method"), Audited::Success, Actor::Anonymous);
    let cut = world.tables.cut(domain("example.org"), AuthenticationMethod::Pta, NOW, event).await.expect("a cut");
    assert_eq!((cut.transactions, cut.sessions), (1, 1));
    let live = async |signed_in: &Outcome| world.sign_in.session(signed_in.cookie()).await.expect("a read").is_some();
    assert!(!live(&before).await && live(&after).await);
    let lost = world.type_password(&awaiting, "ada-password", &stranger()).await;
    assert!(matches!(lost, Outcome::Error(SignInError::Lost(TransactionLost::OtherState))));
    world.sign_in.identify(&unidentified, "ada@example.org", &stranger()).await.expect("a step");
    assert_eq!(
        world.type_password(&unidentified, "ada-password", &stranger()).await.session().method,
        AuthenticationMethod::Pta
    );
}

/// On PostgreSQL two transactions do not see each other until they commit: a name that becomes known while the method is
/// cut must not rest on the former one afterwards. Held up here between its question and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_begins_in_the_midst_of_a_cut_escapes_it() {
    let world = on_postgres().await;
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    world.pta(FailoverMode::Manual).await;
    let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
    let (held, is_held) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (db, id) = (world.db.clone(), begun.handle.id.to_string());
    let holder = tokio::spawn(async move {
        let held: Result<(), StoreError> = db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query("SELECT id FROM signin_transaction WHERE id = $1 FOR UPDATE")
                        .bind(id)
                        .fetch_one(conn)
                        .await
                        .map_err(StoreError::doing("holding a row of a test"))?;
                    held.send(()).expect("somebody waits");
                    released.await.expect("it is released");
                    Ok(())
                })
            })
            .await;
        held.expect("the row was held");
    });
    is_held.await.expect("the row is held");
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let (sign_in, handle) = (world.sign_in.clone(), begun.handle.clone());
    let named = tokio::spawn(async move { sign_in.identify(&handle, "ada@example.org", &stranger()).await });
    eventually("the name waits for its row", async || world.number(waiting).await == 1).await;
    let wish = SetMethod { cut: true, force: true, ..SetMethod::new(domain("example.org"), AuthenticationMethod::Phs) };
    let cut = tokio::spawn(async move { desk.set_method(wish, "operator").await });
    eventually("the cut waits too, or is through", async || cut.is_finished() || world.number(waiting).await == 2)
        .await;
    release.send(()).expect("it waits");
    holder.await.expect("the holder ends");
    let named = named.await.expect("it ends").expect("a step");
    assert!(matches!(named, Step::AwaitPassword { .. }), "{named:?}");
    let set = cut.await.expect("it ends").expect("a change");
    assert_eq!((set.changed, set.transactions_cut), (true, 1));
    let escaped = "SELECT COUNT(*) FROM signin_transaction WHERE method <> 'phs' AND state <> 'cut'";
    assert_eq!(world.number(escaped).await, 0);
    let tried = world.type_password(&begun.handle, "ada-password", &stranger()).await;
    assert!(matches!(tried, Outcome::Error(SignInError::Lost(TransactionLost::OtherState))), "{tried:?}");
}

#[tokio::test]
async fn a_cut_while_the_directory_is_being_asked_lets_nobody_in() {
    let world = Arc::new(on_sqlite().await);
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *world.directory.gate.lock().expect("the gate") = Some(gate.clone());
    let handle = world.asked("ada").await;
    let post = {
        let (world, handle) = (Arc::clone(&world), handle.clone());
        tokio::spawn(async move { world.type_password(&handle, "ada-password", &stranger()).await })
    };
    eventually("the bind is under way", async || world.directory.checked() == 1).await;
    let event = Event::new(EventKind::Admin("domain.set-method"), Audited::Success, Actor::Anonymous);
    world.tables.cut(domain("example.org"), AuthenticationMethod::Phs, NOW, event).await.expect("a cut");
    gate.add_permits(1);
    let lost = post.await.expect("a post ends");
    assert!(matches!(lost, Outcome::Error(SignInError::Lost(TransactionLost::OtherState))), "{lost:?}");
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM session").await, 0);
    assert_eq!(world.last_reason().await, "transaction-left");
}

#[tokio::test]
async fn a_browser_that_hangs_up_does_not_get_its_guess_back() {
    let world = Arc::new(on_sqlite().await);
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *world.directory.gate.lock().expect("the gate") = Some(gate.clone());
    let handle = world.asked("ada").await;
    let post = {
        let (world, handle) = (Arc::clone(&world), handle.clone());
        tokio::spawn(async move { world.type_password(&handle, "wrong", &stranger()).await })
    };
    eventually("the bind is under way", async || world.directory.checked() == 1).await;
    post.abort();
    assert!(post.await.is_err());
    gate.add_permits(1);
    eventually("the guess counts", async || world.number("SELECT CAST(SUM(failed) AS BIGINT) FROM lockout").await == 1)
        .await;
    assert_eq!(world.last_reason().await, "wrong-password");
}

#[tokio::test]
async fn a_hint_skips_the_first_page_for_known_and_unknown_alike() {
    let world = on_sqlite().await;
    world.person("ada").await;
    federate(&world).await;
    let begin = async |login: Option<&str>, of: Option<&str>| {
        let request =
            SignInRequest { login_hint: login.map(str::to_owned), domain_hint: of.map(str::to_owned), ..request() };
        world.sign_in.begin(request, &stranger(), None).await.expect("a transaction").step
    };
    for login in ["ada@example.org", "ghost@example.org", "ghost@nowhere.example"] {
        assert!(matches!(begin(Some(login), None).await, Step::AwaitPassword { name, .. } if name == login));
    }
    assert!(matches!(begin(Some("ada"), None).await, Step::AwaitIdentifier { hint: Some(_), refused: false }));
    assert!(matches!(begin(None, Some("example.org")).await, Step::AwaitIdentifier { .. }));
    assert!(matches!(begin(None, Some("partner.example")).await, Step::AwaitAssertion { name: None, .. }));
    assert!(matches!(begin(Some("x@partner.example"), None).await, Step::AwaitAssertion { name: Some(_), .. }));
}

#[tokio::test]
async fn expired_sessions_are_removed_unless_a_grant_rests_on_them() {
    let world = on_sqlite().await;
    world.person("ada").await;
    let (first, second) = (world.right("ada").await, world.right("ada").await);
    let grant = format!(
        "INSERT INTO refresh_grant (grant_id, sid, oid, client_id, scope, context, security_stamp, created_at, expires_at, \
         uses) VALUES ('g', '{}', '{}', 'app', '', '{{}}', '', 0, 0, 0)",
        second.session().sid,
        second.session().oid
    );
    world.execute(&grant).await;
    let end = first.session().expires_at;
    assert_eq!(world.tables.purge_sessions(end - Duration::from_millis(1)).await.expect("a purge"), 0);
    assert_eq!(world.tables.purge_sessions(end).await.expect("a purge"), 1);
    let left = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM session WHERE sid = '{}'", second.session().sid);
    assert_eq!(world.number(&left).await, 1);
    assert_eq!(world.number("SELECT CAST(COUNT(*) AS BIGINT) FROM session_client").await, 1);
}

#[tokio::test]
async fn expired_transactions_are_swept() {
    let world = on_sqlite().await;
    world.asked("ghost").await;
    world.directory.person("a-x", "x");
    world.directory.bind_of("a-x", Bind::Answers);
    let count = "SELECT CAST(COUNT(*) AS BIGINT) FROM signin_transaction";
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(world.number(count).await, 1);
    world.clock.advance(Duration::from_secs(600));
    world.sign_in.sweep().await.expect("a sweep");
    assert_eq!(world.number(count).await, 0);
}
