//! Who is let in, by what, and for how long.

use std::time::{Duration, Instant};

use landbridge::agents::process::EnrolError;
use landbridge::identity::{Answer, Unavailable, UnavailableCause};

use super::false_agent::FalseAgent;
use super::world::{CORP, GRACE, LAB, LIFETIME, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_one_machine_in_for_its_connector_in_its_time() {
    let world = World::open().await;
    let token = world.token(CORP, &[]).await;
    let other = world.try_enrol("other", LAB, &token).await;
    assert!(matches!(other, Err(EnrolError::OtherConnector { .. })), "{other:?}");
    world.try_enrol("first", CORP, &token).await.expect("enrolled");
    match world.try_enrol("second", CORP, &token).await {
        Err(EnrolError::Request(error)) => assert!(error.to_string().contains("unknown, used, or expired"), "{error}"),
        other => panic!("{other:?}"),
    }
    let late = world.token(CORP, &[]).await;
    world.clock.advance(Duration::from_secs(3601));
    assert!(matches!(world.try_enrol("late", CORP, &late).await, Err(EnrolError::Expired)));
    let mut forged = world.token(CORP, &[]).await;
    forged.secret = [7; 32];
    assert!(matches!(world.try_enrol("forged", CORP, &forged).await, Err(EnrolError::Request(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_another_authority_gets_no_secret() {
    let (world, elsewhere) = (World::open().await, World::open().await);
    let mut token = world.token(CORP, &[]).await;
    // As when somebody leads the agent's machine to a gateway of their own.
    token.url.clone_from(&elsewhere.url);
    let refused = world.try_enrol("one", CORP, &token).await.expect_err("refused");
    let EnrolError::Request(error) = refused else { panic!("{refused:?}") };
    assert!(landbridge::identity::causes(&error).contains("cannot be reached"), "{error:?}");
    token.url.clone_from(&world.url);
    world.try_enrol("two", CORP, &token).await.expect("the secret was not shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_is_out_within_a_second_and_stays_out() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut stolen = FalseAgent::connect(&world.url, &folder).await;
    let id = stolen.identity.id();
    // As another node does it: in the store alone.
    let revoked = Instant::now();
    assert!(world.desk.registry.revoke(id, landbridge::identity::Clock::now(&*world.clock)).await.expect("written"));
    while stolen.hear().await.is_some() {}
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
    let again = FalseAgent::try_connect(&world.url, &folder).await.err().expect("refused");
    assert_eq!(again, "the agent is revoked");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, subject) = world.person(0);
    let answer = world.check(&subject, "any").await.answer;
    assert!(matches!(answer, Answer::Unavailable(Unavailable { cause: UnavailableCause::NoAgent, .. })), "{answer:?}");
    assert!(world.desk.revoke(id).await.is_err(), "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_agent_gets_no_more_checks_until_draining_ends() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let running = world.run(&folder).await;
    let id = World::identity(&folder).id();
    let (person, subject) = world.person(0);
    world.desk.drain(id, true).await.expect("drained");
    assert_eq!(world.state(id).await, "draining");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(matches!(world.check(&subject, &person.password).await.answer, Answer::Unavailable(_)));
    world.desk.drain(id, false).await.expect("back");
    world.wait_for("the agent to come back", id, "connected").await;
    assert!(matches!(world.check(&subject, &person.password).await.answer, Answer::Verdict(_)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_certificate_opens_no_connection_and_ends_an_open_one() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut open = FalseAgent::connect(&world.url, &folder).await;
    world.clock.advance(LIFETIME + Duration::from_secs(1));
    while open.hear().await.is_some() {}
    let refused = FalseAgent::try_connect(&world.url, &folder).await.err().expect("refused");
    assert!(refused.contains("has ended"), "{refused}");
    world.clock.advance(GRACE);
    let running = world.start(&folder);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.state(World::identity(&folder).id()).await, "away", "beyond the grace nothing is renewed");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_holds_a_bounded_number_of_connections() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(FalseAgent::connect(&world.url, &folder).await);
    }
    let mut newest = held.split_off(3);
    for mut old in held {
        while let Some(said) = tokio::time::timeout(Duration::from_secs(10), old.hear()).await.expect("it ends") {
            assert!(matches!(said, agent_proto::ToAgent::Goodbye { .. }), "{said:?}");
        }
    }
    for agent in &mut newest {
        assert!(agent.hears_nothing().await, "the newest stay");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_body_does_not_come_is_ended() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let address: url::Url = world.url.parse().expect("an address");
    let dialler = landbridge::agents::process::Dialler::of(&World::identity(&folder)).expect("TLS");
    let mut stream = dialler.connect(&address).await.expect("connected");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\nx",
        agent_proto::enrolment::ENROL_PATH
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer)).await;
    // A peer that closes without the end of TLS has closed all the same.
    let _ = read.expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}
