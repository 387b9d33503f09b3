//! The key ring is rolled and a stored password erased while the gateway runs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::balancer::{self, Balancer};
use crate::support::directory::{ALPHA, BETA, Directory, People, Person};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::postgres::Postgres;
use crate::support::process::make_private;
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Page, Tab};
use crate::support::wait::wait_until;

struct Site {
    _slapd: Slapd,
    directory: Directory,
    gateway: Gateway,
}

impl Site {
    fn open() -> Self {
        let directory = People { people: 20, groups: 1, ..People::default() }.generate();
        let slapd = Slapd::builder().directory(&directory).start();
        let gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], "").start();
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run"]);
        gateway.cli(&["password-sync", "run"]);
        tab::register(&gateway);
        Self { _slapd: slapd, directory, gateway }
    }

    fn person(&self) -> &Person {
        &self.directory.people[8]
    }

    async fn signs_in(&self) -> bool {
        let person = self.person();
        Tab::new(&self.gateway, &self.gateway.http()).sign_in(&person.upn, &person.password).await.has_code()
    }

    fn ring_file(&self) -> String {
        std::fs::read_to_string(self.gateway.folder().join("key-ring")).expect("the key ring")
    }
}

fn records<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|record| record["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_ring_seals_everything_anew_and_the_former_key_can_go() {
    let mut site = Site::open();
    let before = site.gateway.cli(&["keys", "ring"]);
    assert_eq!(before["older"], json!([]));
    let rolled = site.gateway.cli(&["keys", "roll-ring", "--alone"]);
    assert_ne!(rolled["primary"], before["primary"]);
    assert_eq!(rolled["older"][0]["key"], before["primary"]);
    let log = site.gateway.audit(100);
    let told = records(&log, "key-ring-rolled");
    let reasons: Vec<_> = told.iter().map(|record| record["reason"].as_str().unwrap_or("sealed-anew")).collect();
    assert_eq!(reasons, ["key-offered", "key-activated", "sealed-anew"]);
    for record in told {
        assert_eq!((&record["subject"], &record["actor"]["id"]), (&rolled["primary"], &json!("tester")));
    }
    assert!(site.signs_in().await, "in between, both keys open");

    // The wrapping seals stored passwords anew; a pass renews the stamps of their sources.
    site.gateway.cli(&["password-sync", "run"]);
    wait_until("no row to name the former key", Duration::from_secs(60), || {
        (site.gateway.cli(&["keys", "ring"])["older"][0]["rows"] == 0).then_some(())
    });
    let former = before["primary"].as_str().expect("a name");
    let present = rolled["primary"].as_str().expect("a name");
    assert_eq!(site.gateway.cli_refused(&["keys", "retire-ring", present])["kind"], "refused", "it seals");
    assert_eq!(site.gateway.cli_refused(&["keys", "retire-ring", "k-none"])["kind"], "refused", "there is none");
    retire(&site.gateway, former);
    assert!(!site.ring_file().contains(former) && site.ring_file().contains(present));
    site.gateway.stop();
    site.gateway.start_again();
    assert_eq!(site.gateway.cli(&["keys", "ring"]), json!({ "primary": present, "next": null, "older": [] }));
    assert!(site.signs_in().await, "without the former key");
    assert_eq!(site.gateway.cli(&["audit", "verify"])["breaks"], json!([]));
}

/// Retires a key, as soon as what was sealed with it a moment ago must have been written.
fn retire(gateway: &Gateway, key: &str) {
    wait_until("the former key to be retired", Duration::from_secs(60), || {
        gateway.operator().run(&["keys", "retire-ring", key]).map(|_| ())
    });
}

/// Two nodes behind a balancer, each with a ring file of its own.
struct Pair {
    nodes: [Gateway; 2],
    /// Opens a connection for each request, so that each goes to another node.
    http: reqwest::Client,
    person: Person,
    _balancer: Balancer,
    _slapd: Slapd,
}

impl Pair {
    fn open() -> Self {
        let directory = People { people: 20, groups: 1, ..People::default() }.generate();
        let slapd = Slapd::builder().directory(&directory).start();
        let nodes = two_nodes(&slapd);
        let ports = [nodes[0].port(), nodes[1].port()];
        let checks = nodes[0].http_without_cookies();
        let balancer = Balancer::start(nodes[0].public_port(), &ports, "localhost", checks, 1);
        let http = nodes[0].http_builder().pool_max_idle_per_host(0).build().expect("a client");
        let person = directory.people.into_iter().find(|person| person.upn.ends_with(ALPHA)).expect("a person");
        Self { nodes, http, person, _balancer: balancer, _slapd: slapd }
    }

    async fn sign_in(&self) -> Page {
        Tab::new(&self.nodes[0], &self.http).sign_in(&self.person.upn, &self.person.password).await
    }

    fn ring(&self, node: usize) -> Value {
        self.nodes[node].cli(&["keys", "ring"])
    }
}

fn two_nodes(slapd: &Slapd) -> [Gateway; 2] {
    let database = Postgres::start().fresh_database();
    let mut first = Gateway::builder()
        .store(&database)
        .hardening("sealed")
        .public_port(free_port())
        .gateway_line("drain = \"500ms\"")
        .gateway_line(&format!("proxy_protocol_from = [\"{}\"]", balancer::ADDRESS))
        .slapd("corp", slapd, &[ALPHA, BETA], "")
        .prepare();
    first.start_again();
    for domain in [ALPHA, BETA] {
        first.cli(&["domain", "add", domain]);
        first.cli(&["domain", "verify", domain, "--vouch"]);
    }
    first.cli(&["rules", "activate"]);
    first.cli(&["sync", "run"]);
    first.cli(&["password-sync", "run"]);
    tab::register(&first);
    let mut second = first.prepared_beside("node2");
    let (shared, own) = (first.folder().join("key-ring"), second.folder().join("key-ring"));
    std::fs::copy(&shared, &own).expect("the key ring");
    make_private(&own);
    let text = std::fs::read_to_string(second.settings_file()).expect("the settings file");
    let text = text.replace(&shared.display().to_string(), &own.display().to_string());
    std::fs::write(second.settings_file(), text).expect("a settings file");
    second.start_again();
    [first, second]
}

fn ring_of(node: &Gateway) -> String {
    std::fs::read_to_string(node.folder().join("key-ring")).expect("the key ring")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_is_rolled_while_two_nodes_let_people_in() {
    let pair = Arc::new(tokio::task::block_in_place(Pair::open));
    let [first, second] = &pair.nodes;
    let former = tokio::task::block_in_place(|| pair.ring(0))["primary"].as_str().expect("a name").to_owned();
    // Somebody signs in all the while.
    let (visits, mut seen) = tokio::sync::watch::channel(0);
    let visitor = tokio::spawn({
        let pair = Arc::clone(&pair);
        async move {
            while !visits.is_closed() {
                let page = pair.sign_in().await;
                assert!(page.has_code(), "{} {}", page.status, page.body);
                visits.send_modify(|visits| *visits += 1);
            }
        }
    });
    let mut more_visits = async || {
        let before = *seen.borrow();
        seen.wait_for(|visits| *visits >= before + 3).await.expect("every sign-in goes well");
    };
    more_visits().await;
    let present = tokio::task::block_in_place(|| {
        let rolled = first.cli(&["keys", "roll-ring"]);
        assert_eq!((&rolled["next"], &rolled["older"][0]["key"]), (&Value::Null, &json!(former)), "{rolled}");
        let present = rolled["primary"].as_str().expect("a name").to_owned();
        assert!(present != former && ring_of(second).contains(&present), "the other node has it in its file");
        present
    });
    more_visits().await;
    tokio::task::block_in_place(|| {
        let early = first.cli_refused(&["keys", "retire-ring", &former]);
        assert_eq!(early["kind"], "refused", "something is sealed with it still: {early}");
        wait_until("the other node to seal with it", Duration::from_secs(30), || {
            (pair.ring(1)["primary"] == json!(present)).then_some(())
        });
        first.cli(&["password-sync", "run"]);
        wait_until("no row to name the former key", Duration::from_secs(60), || {
            (pair.ring(1)["older"][0]["rows"] == 0).then_some(())
        });
        retire(second, &former);
        wait_until("both nodes to forget it", Duration::from_secs(30), || {
            pair.nodes.iter().all(|node| !ring_of(node).contains(&former)).then_some(())
        });
        assert_eq!(pair.ring(0)["older"], json!([]));
    });
    more_visits().await;
    drop(seen);
    visitor.await.expect("every sign-in went well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_is_left_behind_by_a_roll() {
    let mut pair = tokio::task::block_in_place(Pair::open);
    tokio::task::block_in_place(|| {
        let former = pair.ring(0)["primary"].clone();
        // A node that died lacks the new key: nobody seals with it before it is back.
        pair.nodes[1].kill();
        let waiting = pair.nodes[0].cli(&["keys", "roll-ring"]);
        assert_eq!((&waiting["primary"], &waiting["next"]["lacking"]), (&former, &json!(["node2"])), "{waiting}");
        let next = waiting["next"]["key"].as_str().expect("a name").to_owned();
        let refused = pair.nodes[0].cli_refused(&["keys", "retire-ring", &next]);
        assert_eq!(refused["kind"], "refused", "{refused}");
        pair.nodes[1].start_again();
        assert!(ring_of(&pair.nodes[1]).contains(&next), "it has it from its start on");
        let rolled = pair.nodes[1].cli(&["keys", "roll-ring"]);
        assert_eq!(
            (&rolled["primary"], &rolled["next"]),
            (&json!(next), &Value::Null),
            "the same roll goes on: {rolled}"
        );
        let alone = pair.nodes[0].cli_refused(&["keys", "roll-ring", "--alone"]);
        assert_eq!(alone["kind"], "refused", "node2 runs: {alone}");
        // A node that was away in order holds no roll up, and finds its way back by its former key.
        pair.nodes[1].stop();
        let again = pair.nodes[0].cli(&["keys", "roll-ring"]);
        let last = pair.nodes[0].audit(1000).into_iter().rfind(|record| record["node"] == "node2").expect("a record");
        assert!(again["primary"] != json!(next) && again["next"].is_null(), "{again} {last}");
        pair.nodes[1].start_again();
        assert_eq!(pair.ring(1)["primary"], again["primary"]);
    });
    for _ in 0..2 {
        let page = pair.sign_in().await;
        assert!(page.has_code(), "{} {}", page.status, page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_credential_proves_nothing_until_the_channel_stores_it_again() {
    let site = Site::open();
    let upn = &site.person().upn;
    let mut signed_in = Tab::new(&site.gateway, &site.gateway.http());
    assert!(signed_in.sign_in(upn, &site.person().password).await.has_code());
    let wiped = site.gateway.cli(&["user", "wipe-credential", upn]);
    assert_eq!(wiped["wiped"], true);
    assert_eq!(site.gateway.cli(&["user", "show", upn])["credential"]["stage"], "wiped");
    assert_eq!(site.gateway.cli(&["user", "wipe-credential", upn])["wiped"], false);
    assert!(!site.signs_in().await);
    let silent = signed_in.authorize(&[("prompt", "none")]).await;
    assert!(silent.location.contains("error=login_required"), "what it proved has ended: {}", silent.location);
    let log = site.gateway.audit(100);
    let told = records(&log, "credential-wiped");
    assert_eq!((told.len(), &told[0]["actor"]), (1, &json!({ "kind": "admin", "id": "tester" })));
    let refused = site.gateway.cli_refused(&["user", "wipe-credential", "nobody@alpha.example"]);
    assert_eq!(refused["kind"], "not-found", "{refused}");

    site.gateway.cli(&["password-sync", "run"]);
    assert!(site.signs_in().await);
}
