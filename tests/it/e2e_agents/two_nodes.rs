//! One agent and two nodes behind a balancer.

use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::balancer::{self, Balancer};
use crate::support::directory::{ALPHA, People};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::postgres::Postgres;
use crate::support::slapd::{self, Slapd};
use crate::support::visitor::Visitor;
use crate::support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(30);

fn connected(agent: &Agent, node: &Gateway) {
    wait_until("the agent to be connected", PATIENCE, || (agent.state(node) == "connected").then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_holds_a_connection_to_each_node_and_serves_both() {
    let mut directory = People { people: 6, groups: 1, ..People::default() }.generate();
    for person in &mut directory.people {
        person.upn = format!("{}@{ALPHA}", person.uid);
    }
    let slapd = Slapd::builder().directory(&directory).lockout_after(0).start();
    let (public, ports) = (free_port(), [free_port(), free_port()]);
    let agents = |port| format!("listen = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n");
    let store = Postgres::start().fresh_database();
    let reach = format!(
        "reach = \"agents\"\nbind_deadline = \"5s\"\npassword_policy = \"cn=default,ou=policies,{}\"",
        slapd::SUFFIX
    );
    let mut first = Gateway::builder()
        .public_port(public)
        .store(&store)
        .hardening("sealed")
        .gateway_line(&format!("proxy_protocol_from = [\"{}\"]\ndrain = \"0s\"", balancer::ADDRESS))
        .section(&format!("[agents]\n{}acknowledgement = \"1s\"\n[failover]\ngood_probes = 1\n", agents(ports[0])))
        .slapd("corp", &slapd, &[ALPHA], &reach)
        .start();
    first.cli(&["domain", "add", ALPHA]);
    first.cli(&["domain", "verify", ALPHA, "--vouch"]);
    first.cli(&["rules", "activate"]);
    first.cli(&["sync", "run", "--profile", "full"]);
    let mut agent = Agent::enrol(&first, "corp", &slapd);
    agent.connect(&first);
    first.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);

    // A node that comes later is found by the agent.
    let mut second = first.prepared_beside("node2");
    second.reconfigure(|text| text.replace(&agents(ports[0]), &agents(ports[1])));
    connected(&agent, &second);
    let balancer =
        Balancer::start(public, &[first.port(), second.port()], "localhost", first.http_without_cookies(), 0);
    Visitor::register(&first);
    let fresh = first.http_builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).build();
    let visitor = Visitor::over(&first, fresh.expect("a client"));
    let ready = |node: usize| {
        wait_until("the balancer to see the node", PATIENCE, || balancer.is_ready(node).then_some(()));
    };
    // The page with the password reaches one node and the other in turn.
    let hinted = async |person: &crate::support::directory::Person| {
        visitor.sign_in_hinted(&person.upn, &person.password).await.signed();
    };
    for (index, person) in directory.people.iter().take(3).enumerate() {
        hinted(person).await;
        assert_eq!(slapd.bind_count_of(&person.dn), 1, "person {index} is asked for once");
    }

    // Without one of the nodes the agent serves the other, and comes back by itself.
    first.kill();
    wait_until("the balancer to miss the node", PATIENCE, || (!balancer.is_ready(0)).then_some(()));
    hinted(&directory.people[3]).await;
    first.start_again();
    connected(&agent, &first);
    ready(0);
    hinted(&directory.people[4]).await;

    // Revoked at one node, it is out at both.
    second.cli(&["agents", "revoke", &agent.id]);
    wait_until("the agent to be out", Duration::from_secs(5), || (agent.state(&first) == "revoked").then_some(()));
    for _ in 0..2 {
        visitor.sign_in_hinted(&directory.people[5].upn, &directory.people[5].password).await.try_again();
    }
    assert_eq!(slapd.bind_count_of(&directory.people[5].dn), 0);
}
