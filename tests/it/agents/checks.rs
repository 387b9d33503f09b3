//! Passwords checked through agents, honest ones and others.

use std::time::Duration;

use agent_proto::answer::{Answer as SignedAnswer, Asked, Claims, Outcome, SigningKey};
use agent_proto::sealed::Binding;
use agent_proto::{DeclineReason, ToAgent, ToGateway, Versions};
use landbridge::identity::{Answer, Refusal, Unavailable, UnavailableCause, Verdict, Wire};
use landbridge::signin::store::Alerts as _;
use landbridge::signin::{LiveAnswer, LiveCheck as _, LiveSubject};

use super::false_agent::{FalseAgent, Gone};
use super::world::{CORP, HASHED, HASHED_AT, LAB, World, domain};
use crate::support::wait::wait_until_async;

fn cause(answer: &LiveAnswer) -> (UnavailableCause, Wire) {
    match &answer.answer {
        Answer::Unavailable(Unavailable { cause, wire, .. }) => (*cause, *wire),
        Answer::Verdict(verdict) => panic!("a verdict: {verdict:?}"),
    }
}

pub fn asked(gone: &Gone) -> Asked {
    Asked { request: gone.request, subject: gone.subject.clone(), password_hash: gone.password.hash() }
}

fn verified() -> Claims {
    Claims { outcome: Outcome::Verified, server: Some("ldaps://dc".to_owned()), password_set: None, at: 0, late: false }
}

pub fn refused() -> Claims {
    let outcome = Outcome::Refused { code: "wrong-password".to_owned(), number: None };
    Claims { outcome, ..verified() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_judged_through_an_agent_as_directly() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let running = world.run(&folder).await;
    let (person, subject) = world.person(0);
    let answer = world.check(&subject, &person.password).await;
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified));
    assert!(
        answer.server.is_some_and(|server| server.starts_with("ldaps://localhost") && server.contains(" by agent "))
    );
    assert_eq!(world.verdict(&subject, "wrong").await, Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(world.verdict(&LiveSubject::Unknown, &person.password).await, Verdict::Refused(Refusal::UnknownUser));
    assert_eq!(world.slapd.bind_count_of(&person.dn), 2);
    world.slapd.replace(&person.dn, "pwdAccountLockedTime", "000001010000Z");
    assert_eq!(world.verdict(&subject, &person.password).await, Verdict::Refused(Refusal::Disabled));
    let probes = world.broker.probe(&CORP.parse().expect("a name")).await;
    assert!(probes.len() == 1 && probes[0].outcome.is_ok(), "{probes:?}");
    running.stop().await;
    let (_, other) = world.person(1);
    assert_eq!(cause(&world.check(&other, "any").await), (UnavailableCause::NoAgent, Wire::NothingSent));
    let probes = world.broker.probe(&CORP.parse().expect("a name")).await;
    assert!(probes.len() == 1 && probes[0].outcome.is_err(), "without an agent the outage is confirmed: {probes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_agent_is_passed_over_and_never_gets_the_password_later() {
    let world = World::open().await;
    let silent = world.enrol("silent", CORP).await;
    let honest = world.enrol("honest", CORP).await;
    let mut silent = FalseAgent::connect(&world.url, &silent).await;
    let (person, subject) = world.person(0);
    let (answer, offered) = tokio::join!(world.check(&subject, &person.password), silent.offer());
    assert_eq!(cause(&answer), (UnavailableCause::Deadline, Wire::NothingSent));
    silent.say(&ToGateway::Accept { request: offered.0 }).await;
    assert!(matches!(silent.hear().await, Some(ToAgent::Withdraw { request }) if request == offered.0));
    assert!(silent.hears_nothing().await, "an acknowledgement that comes late gets no go-ahead");
    let running = world.run(&honest).await;
    for _ in 0..5 {
        // Offered to the silent one first, sooner or later; each time somebody else answers.
        let answer = world.check(&subject, &person.password).await;
        assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified));
    }
    assert_eq!(world.slapd.bind_count_of(&person.dn), 5);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_declines_costs_nothing_and_the_next_one_answers() {
    let world = World::open().await;
    let (busy, honest) = (world.enrol("busy", CORP).await, world.enrol("honest", CORP).await);
    let mut busy = FalseAgent::connect(&world.url, &busy).await;
    let (person, subject) = world.person(0);
    let decline = async {
        let (request, ..) = busy.offer().await;
        busy.say(&ToGateway::Decline { request, reason: DeclineReason::Full }).await;
    };
    let (answer, ()) = tokio::join!(world.check(&subject, &person.password), decline);
    assert_eq!(cause(&answer), (UnavailableCause::Overloaded, Wire::NothingSent));
    let running = world.run(&honest).await;
    for _ in 0..4 {
        let check = world.check(&subject, &person.password);
        tokio::pin!(check);
        let answer = loop {
            tokio::select! {
                answer = &mut check => break answer,
                heard = busy.hear() => match heard {
                    Some(ToAgent::Offer { request, .. }) => {
                        busy.say(&ToGateway::Decline { request, reason: DeclineReason::Draining }).await;
                    }
                    Some(ToAgent::Withdraw { .. }) => {}
                    other => panic!("{other:?}"),
                },
            }
        };
        assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_go_ahead_silence_is_unavailable_and_a_late_refusal_still_arrives() {
    let world = World::open().await;
    let (slow, other) = (world.enrol("slow", CORP).await, world.enrol("other", CORP).await);
    let mut slow = FalseAgent::connect(&world.url, &slow).await;
    let (person, subject) = world.person(0);
    let (answer, (gone, running)) = tokio::join!(world.check(&subject, &person.password), async {
        let gone = slow.accept().await;
        // A second agent is there by now, and is not asked.
        (gone, world.run(&other).await)
    });
    assert_eq!(cause(&answer), (UnavailableCause::Deadline, Wire::MaybeSent));
    assert_eq!(world.slapd.bind_count_of(&person.dn), 0, "no second bind");
    let late = slow.identity.keys.signing.answer(&asked(&gone), Claims { late: true, ..refused() });
    slow.say(&ToGateway::Answer(late.clone())).await;
    let verdict = answer.late.expect("listened for").await.expect("arrives");
    assert_eq!(verdict.verdict, Verdict::Refused(Refusal::WrongPassword));
    // Said twice, it counts once; and the connection stands.
    slow.say(&ToGateway::Answer(late)).await;
    assert!(slow.hears_nothing().await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_goes_to_one_agent_alone_and_is_not_in_the_bytes() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    let (_, subject) = world.person(0);
    let secret = "Correct horse battery staple 7!";
    let (_, ()) = tokio::join!(world.check(&subject, secret), async {
        let gone = agent.accept().await;
        assert!(!gone.bytes.windows(8).any(|window| secret.as_bytes().windows(8).any(|part| part == window)));
        let binding = Binding {
            request: gone.request,
            agent: agent.identity.agent,
            subject: &gone.subject,
            expires_at: gone.expires_at,
        };
        let opened = agent.identity.keys.opening.open(&gone.password, &binding).expect("sealed to this agent");
        assert_eq!(opened.as_str(), secret);
        let stranger = agent_proto::sealed::OpeningKey::generate().expect("a key");
        assert!(stranger.open(&gone.password, &binding).is_err());
        agent.say(&ToGateway::Answer(agent.identity.keys.signing.answer(&asked(&gone), refused()))).await;
    });
}

/// What a false agent makes of a check for which an honest one would say "verified" or "refused".
async fn answered_by(forge: impl AsyncFn(&FalseAgent, &Gone, &SignedAnswer) -> SignedAnswer) -> LiveAnswer {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    let (person, subject) = world.person(0);
    let (honest, earlier) = tokio::join!(world.check(&subject, &person.password), async {
        let gone = agent.accept().await;
        let answer = agent.identity.keys.signing.answer(&asked(&gone), verified());
        agent.say(&ToGateway::Answer(answer.clone())).await;
        answer
    });
    assert_eq!(honest.answer, Answer::Verdict(Verdict::Verified));
    let (answer, ()) = tokio::join!(world.check(&subject, "a wrong one"), async {
        let gone = agent.accept().await;
        let forged = forge(&agent, &gone, &earlier).await;
        agent.say(&ToGateway::Answer(forged)).await;
    });
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_answer_is_passed_over() {
    let answer = answered_by(async |_, _, earlier| earlier.clone()).await;
    assert_eq!(cause(&answer), (UnavailableCause::Deadline, Wire::MaybeSent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_key_or_to_another_password_ends_the_connection() {
    let stranger = SigningKey::generate().expect("a key");
    let foreign = answered_by(async |_, gone, _| stranger.answer(&asked(gone), verified())).await;
    assert_eq!(cause(&foreign), (UnavailableCause::ConnectionLost, Wire::MaybeSent));
    let other_password = answered_by(async |agent, gone, _| {
        agent.identity.keys.signing.answer(&Asked { password_hash: [0; 32], ..asked(gone) }, verified())
    });
    assert_eq!(cause(&other_password.await), (UnavailableCause::ConnectionLost, Wire::MaybeSent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_verifies_whom_nobody_knows_verifies_nobody() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    let (answer, ()) = tokio::join!(world.check(&LiveSubject::Unknown, "any"), async {
        let gone = agent.accept().await;
        agent.say(&ToGateway::Answer(agent.identity.keys.signing.answer(&asked(&gone), verified()))).await;
    });
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Refused(Refusal::UnknownUser)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_verifies_what_the_hash_of_the_same_change_does_not_match_is_reported() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    let (_, subject) = world.person(0);
    let earlier = HASHED_AT.millis() - 1;
    for (typed, set) in [(HASHED, HASHED_AT.millis()), ("another", earlier), ("another", HASHED_AT.millis())] {
        assert_eq!(world.alerts.raised().await.expect("alerts").len(), 0, "{typed} {set}");
        let (answer, ()) = tokio::join!(world.check(&subject, typed), async {
            let gone = agent.accept().await;
            let claims = Claims { password_set: Some(set), ..verified() };
            agent.say(&ToGateway::Answer(agent.identity.keys.signing.answer(&asked(&gone), claims))).await;
        });
        assert_eq!(answer.answer, Answer::Verdict(Verdict::Verified));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let alert = wait_until_async("the alert", Duration::from_secs(10), async || {
        world.alerts.raised().await.expect("alerts").pop()
    });
    let alert = alert.await;
    assert_eq!((alert.name.as_str(), alert.subject), ("agent-contradicted", agent.identity.id().to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_asked_for_its_connector_and_its_domains_alone() {
    let world = World::open().await;
    let token = world.token(CORP, &["alpha.example"]).await;
    let folder = world.try_enrol("alpha", CORP, &token).await.expect("enrolled");
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    // Beyond the grace in which a starting gateway waits for agents.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, subject) = world.person(0);
    for (connector, domain) in [(CORP, "beta.example"), (LAB, "alpha.example")] {
        let answer = world.check_at(connector, domain, &subject, "any").await;
        assert_eq!(cause(&answer), (UnavailableCause::NoAgent, Wire::NothingSent), "{connector} {domain}");
    }
    assert!(agent.hears_nothing().await, "a certificate for one connector sees nothing of another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starting_gateway_waits_for_agents_until_their_first_has_come() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let (_, subject) = world.person(0);
    let early = world.check(&subject, "any");
    let (answer, agent) = tokio::join!(early, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut agent = FalseAgent::connect(&world.url, &folder).await;
        let gone = agent.accept().await;
        agent.say(&ToGateway::Answer(agent.identity.keys.signing.answer(&asked(&gone), refused()))).await;
        agent
    });
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Refused(Refusal::WrongPassword)), "it waited for the agent");
    let id = agent.identity.id();
    drop(agent);
    world.wait_for("the agent to be gone", id, "away").await;
    let asked_at = std::time::Instant::now();
    let answer = world.check(&subject, "any").await;
    assert_eq!(cause(&answer), (UnavailableCause::NoAgent, Wire::NothingSent));
    assert!(asked_at.elapsed() < Duration::from_secs(1), "nobody waits for what is known to be gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbouring_releases_understand_each_other() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut next = FalseAgent::try_connect(&world.url, &folder).await.expect("connected");
    next.greet(Versions { oldest: 2, newest: 3 }).await;
    assert!(matches!(next.hear().await, Some(ToAgent::Welcome { version: 2, .. })));
    // A message of the later release, sent by mistake: passed over.
    next.say_bytes(vec![0x82, 0x18, 0x20, 0x80]).await;
    let (_, subject) = world.person(0);
    let (answer, ()) = tokio::join!(world.check(&subject, "any"), async {
        let gone = next.accept().await;
        next.say(&ToGateway::Answer(next.identity.keys.signing.answer(&asked(&gone), refused()))).await;
    });
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Refused(Refusal::WrongPassword)));
    let mut far = FalseAgent::try_connect(&world.url, &folder).await.expect("connected");
    far.greet(Versions { oldest: 3, newest: 4 }).await;
    match far.hear().await {
        Some(ToAgent::Goodbye { reason }) => assert!(reason.contains("3 to 4"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_waits_for_what_its_agents_were_asked() {
    let world = World::open().await;
    let folder = world.enrol("one", CORP).await;
    let mut agent = FalseAgent::connect(&world.url, &folder).await;
    let (_, subject) = world.person(0);
    let (broker, asked_of) = (world.broker.clone(), subject.clone());
    let check = async {
        let password = landbridge::identity::PlainPassword::new("any".to_owned()).expect("fits");
        broker.check(&CORP.parse().expect("a name"), &domain("alpha.example"), &asked_of, &password).await
    };
    let serve = async {
        let gone = agent.accept().await;
        let leaving = tokio::spawn({
            let broker = world.broker.clone();
            async move { broker.leave().await }
        });
        assert!(agent.hears_nothing().await, "nobody is sent away while an answer is owed");
        assert!(!leaving.is_finished());
        agent.say(&ToGateway::Answer(agent.identity.keys.signing.answer(&asked(&gone), refused()))).await;
        assert!(matches!(agent.hear().await, Some(ToAgent::Goodbye { .. })), "then it is told");
        leaving.await.expect("the node leaves");
    };
    let (answer, ()) = tokio::join!(check, serve);
    assert_eq!(answer.answer, Answer::Verdict(Verdict::Refused(Refusal::WrongPassword)));
    assert_eq!(cause(&world.check(&subject, "any").await), (UnavailableCause::NoAgent, Wire::NothingSent));
}
