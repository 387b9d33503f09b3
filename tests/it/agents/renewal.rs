//! Certificates are renewed in time, also by a machine that slept past the date.

use std::path::Path;
use std::time::Duration;

use agent_proto::enrolment::{MEDIA_TYPE, RENEW_PATH, Renew};
use landbridge::agents::process::Dialler;
use landbridge::identity::{Answer, Clock as _, Verdict};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::false_agent::FalseAgent;
use super::world::{CORP, LIFETIME, World};
use crate::support::wait::wait_until_async;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_while_checks_go_on_and_the_old_one_counts_no_more() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let before = World::identity(&folder);
    // A copy of the machine's disk, taken before the renewal.
    let copy = world.machine("copy", CORP);
    std::fs::create_dir(copy.join("state")).expect("a folder");
    std::fs::copy(folder.join("state/identity.json"), copy.join("state/identity.json")).expect("a copy");
    let running = world.run(&folder).await;
    let (person, subject) = world.person(0);
    world.clock.advance(LIFETIME * 2 / 3 + Duration::from_secs(3600));
    // A clock that jumps looks like a sleep; with the next heartbeat it is forgotten.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let check = async || {
        // Not one check is lost while connections are exchanged.
        let answer = world.check(&subject, &person.password).await.answer;
        assert_eq!(answer, Answer::Verdict(Verdict::Verified));
        (World::identity(&folder).certificate != before.certificate).then_some(())
    };
    wait_until_async("the renewal", PATIENCE, check).await;
    for _ in 0..50 {
        assert_eq!(world.verdict(&subject, &person.password).await, Verdict::Verified);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(World::identity(&folder).keys.signing.public(), before.keys.signing.public(), "all keys are new");
    wait_until_async("the old certificate to be refused", PATIENCE, async || {
        let refused = FalseAgent::try_connect(&world.url, &copy).await.err()?;
        refused.contains("was this machine copied?").then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_slept_past_the_date_renews_and_serves_again() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let running = world.run(&folder).await;
    world.clock.advance(LIFETIME + Duration::from_secs(10 * 86_400));
    let (person, subject) = world.person(0);
    wait_until_async("the agent to serve again", PATIENCE, async || {
        let answer = world.check(&subject, &person.password).await.answer;
        (answer == Answer::Verdict(Verdict::Verified)).then_some(())
    })
    .await;
    assert!(World::identity(&folder).ends > world.clock.now());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_not_renewed_in_the_first_quarter_of_its_life() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    assert_eq!(ask_for_renewal(&world, &folder).await, "403", "made just now");
    world.clock.advance(LIFETIME / 4 - Duration::from_secs(60));
    assert_eq!(ask_for_renewal(&world, &folder).await, "403");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(ask_for_renewal(&world, &folder).await, "200");
}

/// The status of the answer to a machine that asks for a new certificate.
async fn ask_for_renewal(world: &World, folder: &Path) -> String {
    let identity = World::identity(folder);
    let dialler = Dialler::of(&identity).expect("TLS");
    let mut stream = dialler.connect(&world.url.parse().expect("an address")).await.expect("connected");
    let keys = identity.keys.request().expect("a request");
    let body = Renew { keys, software: "test".to_owned() }.encode().expect("a request");
    let head = format!(
        "POST {RENEW_PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("sent");
    let mut answer = Vec::new();
    // A peer that closes without the end of TLS has closed all the same.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no HTTP: {answer}")).to_owned()
}
