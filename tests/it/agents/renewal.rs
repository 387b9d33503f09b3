//! Certificates are renewed in time, also by a machine that slept past the date.

use std::time::Duration;

use landbridge::identity::{Answer, Clock as _, Verdict};

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
