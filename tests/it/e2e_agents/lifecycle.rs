//! From a token to a sign-in, and out again.

use std::time::Duration;

use super::site::{CONNECTOR, Site};
use crate::support::agent::Agent;
use crate::support::process::Signal;
use crate::support::visitor::Outcome;
use crate::support::wait::wait_until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_enrols_tests_drains_and_revokes_an_agent() {
    let site = tokio::task::block_in_place(|| Site::open(10, 1, "none"));
    let agent = &site.agents[0];
    let (ada, bob) = (&site.people[0], &site.people[1]);
    site.signs_in(ada).await;
    site.visitor.sign_in(&bob.upn, "wrong").await.refused();
    assert_eq!(site.premises.bind_count_of(ada), 1);
    tokio::task::block_in_place(|| {
        let record = site.last("sign-in");
        assert_eq!(record["reason"], "wrong-password");
        assert!(record["detail"]["server"].as_str().is_some_and(|server| server.contains(" by agent ")), "{record}");
        assert_eq!(site.last("agent-enrolled")["subject"], agent.id.as_str());
        let tested = site.gateway.cli(&["agents", "test", &agent.id]);
        assert!(tested[0]["failure"].is_null() && tested[0]["took_ms"].is_u64(), "{tested}");
        let status = wait_until("the status of the agent", Duration::from_secs(15), || {
            let status = agent.status();
            (status["last"]["answered"].as_u64()? >= 2).then_some(status)
        });
        assert_eq!((&status["running"], &status["last"]["nodes"][0]["state"]), (&true.into(), &"connected".into()));
        println!("resident memory of an agent after its first sign-ins: {} KiB", agent.memory_kib());

        let token = site.gateway.cli(&["agents", "token", "--connector", CONNECTOR, "--domain", "alpha.example"]);
        let token = token["token"].as_str().expect("a token");
        let again = agent.try_enrol(token).expect_err("enrolled already");
        assert!(again.contains("is enrolled already"), "{again}");
        let records = site.gateway.audit(50);
        assert!(!serde_json::to_string(&records).expect("text").contains(token), "a token is not in the audit log");

        site.gateway.cli(&["agents", "drain", &agent.id]);
        assert_eq!(agent.state(&site.gateway), "draining");
    });
    site.visitor.sign_in(&ada.upn, &ada.password).await.try_again();
    tokio::task::block_in_place(|| {
        site.gateway.cli(&["agents", "drain", &agent.id, "--end"]);
        wait_until("the agent to be back", Duration::from_secs(15), || {
            (agent.state(&site.gateway) == "connected").then_some(())
        });
        site.wait_until_agents_serve_again();
    });
    site.signs_in(ada).await;
    tokio::task::block_in_place(|| {
        site.gateway.cli(&["agents", "revoke", &agent.id]);
        wait_until("the agent to be out", Duration::from_secs(5), || {
            agent.log().contains("the agent is revoked").then_some(())
        });
        assert_eq!(agent.state(&site.gateway), "revoked");
        site.gateway.cli_refused(&["agents", "revoke", &agent.id]);
    });
    site.visitor.sign_in(&ada.upn, &ada.password).await.try_again();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_agents_one_after_another_costs_no_sign_in() {
    let mut site = tokio::task::block_in_place(|| Site::open(20, 2, "none"));
    let (visitor, people) = (site.visitor.clone(), site.people.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let visits = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (mut signed, mut tasks, mut next) = (0_usize, tokio::task::JoinSet::new(), 0);
            while !stop.is_cancelled() || !tasks.is_empty() {
                while !stop.is_cancelled() && tasks.len() < 8 {
                    let (visitor, person) = (visitor.clone(), people[next % people.len()].clone());
                    next += 1;
                    tasks.spawn(async move { visitor.sign_in(&person.upn, &person.password).await });
                }
                match tasks.join_next().await.expect("a visit").expect("no panic") {
                    Outcome::Signed(_) => signed += 1,
                    other => panic!("a sign-in was lost: {other:?}"),
                }
            }
            signed
        }
    });
    tokio::task::block_in_place(|| {
        for turn in 0..site.agents.len() {
            site.agents[turn].end(Signal::Terminate);
            assert!(site.agents[turn].log().contains("what it accepted is answered first"));
            let gateway = &site.gateway;
            site.agents[turn].connect(gateway);
        }
    });
    stop.cancel();
    let signed = visits.await.expect("no sign-in is lost");
    println!("{signed} sign-ins while two agents were restarted one after another");
    assert!(signed > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_find_a_gateway_that_was_restarted() {
    let mut site = tokio::task::block_in_place(|| Site::open(5, 1, "none"));
    let ada = &site.people[0].clone();
    site.signs_in(ada).await;
    tokio::task::block_in_place(|| {
        site.gateway.kill();
        site.gateway.start_again();
    });
    // At once: within its first seconds a gateway waits for agents.
    let outcome = site.visitor.sign_in(&ada.upn, &ada.password).await;
    assert!(matches!(outcome, Outcome::Signed(_) | Outcome::TryAgain), "{outcome:?}");
    let agent: &Agent = &site.agents[0];
    tokio::task::block_in_place(|| {
        wait_until("the agent to be back", Duration::from_secs(20), || {
            (agent.state(&site.gateway) == "connected" && !site.breaker_is_open()).then_some(())
        });
    });
    site.signs_in(ada).await;
}
