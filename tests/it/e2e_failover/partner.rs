//! A federated domain whose SimpleSAMLphp is stopped: two nodes sign in there by an account of the operator's, agree that it
//! gives no service, and let people in by their stored hashes until it is back.

use std::time::Duration;

use serde_json::{Value, json};

use super::site::people;
use crate::support::directory::{ALPHA, Person};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::process::{make_private, temp_dir};
use crate::support::simplesamlphp::SimpleSamlPhp;
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Page, Tab};
use crate::support::wait::wait_until;

const CANARY: &str = "canary";
const CANARY_PASSWORD: &str = "Yellow-bird-4711";
const PATIENCE: Duration = Duration::from_secs(90);
/// For how long every node must find no service.
const AFTER: &str = "6";

struct Site {
    nodes: [Gateway; 2],
    php: SimpleSamlPhp,
    people: Vec<Person>,
    http: reqwest::Client,
    _slapd: Slapd,
    _secrets: tempfile::TempDir,
}

impl Site {
    /// `typed` is what the gateway has for the canary's password.
    fn open(typed: &str) -> Self {
        let directory = people(6);
        let slapd = Slapd::builder().directory(&directory).lockout_after(0).start();
        let upn = format!("{CANARY}@{ALPHA}");
        let php = SimpleSamlPhp::builder()
            .host("127.0.0.1")
            .user(CANARY, CANARY_PASSWORD, &upn, "kZohAy9x5Eil2r4V5t3y/Q==")
            .start();
        let secrets = temp_dir("canary");
        let secret = secrets.path().join("canary.secret");
        std::fs::write(&secret, typed).expect("a secret file");
        make_private(&secret);
        let section = format!(
            "[failover]\ngood_probes = 2\npartner_interval = \"1s\"\n[[failover.partner_canaries]]\npartner = \"{}\"\n\
             name = \"{CANARY}\"\npassword_file = \"{}\"\n",
            php.entity_id(),
            secret.display(),
        );
        let database = Postgres::start().fresh_database();
        let first = Gateway::builder()
            .store(&database)
            .hardening("sealed")
            .slapd("corp", &slapd, &[ALPHA], "")
            .section(&section)
            .start();
        first.cli(&["domain", "add", ALPHA]);
        first.cli(&["domain", "verify", ALPHA, "--vouch"]);
        first.cli(&["rules", "activate"]);
        first.cli(&["sync", "run"]);
        first.cli(&["password-sync", "run"]);
        tab::register(&first);
        let own = first.cli(&["partner", "metadata"]);
        let own = own.as_str().expect("metadata");
        let between = |start: &str, end: &str| {
            own.split(start).nth(1).and_then(|rest| rest.split(end).next()).expect("metadata").to_owned()
        };
        let certificate = between("X509Certificate>", "<");
        php.register(&between("entityID=\"", "\""), &format!("{}/federation/acs", first.url()), Some(&certificate));
        let file = first.folder().join("partner.xml");
        std::fs::write(&file, php.metadata()).expect("a file");
        first.cli(&["partner", "add", "--metadata", file.to_str().expect("a path"), "--domain", ALPHA]);
        first.cli(&["domain", "set-method", ALPHA, "federated", "--force"]);
        first.cli(&["domain", "set-failover", ALPHA, "--backup", "phs", "--partner-outage-seconds", AFTER]);
        let (http, mut second) = (first.http(), first.prepared_beside("node2"));
        // A proxy that is none: synthetic sign-ins go straight to the partner.
        second.environment("ALL_PROXY", "http://127.0.0.1:9");
        second.start_again();
        Self { nodes: [first, second], php, people: directory.people, http, _slapd: slapd, _secrets: secrets }
    }

    /// What somebody is shown who typed their name.
    async fn named(&self, person: &Person) -> (Tab, Page) {
        let mut tab = Tab::new(&self.nodes[0], &self.http);
        let page = tab.authorize(&[]).await;
        let page = tab.submit(&page, "name", &person.upn).await;
        (tab, page)
    }

    async fn is_sent_to_the_partner(&self) -> bool {
        self.named(&self.people[0]).await.1.body.contains("SAMLRequest")
    }

    fn partner(&self) -> Value {
        self.nodes[0].cli(&["failover", "status"])["partners"][0].clone()
    }

    /// Waits until every node has found that.
    fn wait_for(&self, found: &str) {
        wait_until(&format!("every node to find {found}"), PATIENCE, || {
            let nodes = self.partner()["nodes"].as_array().expect("nodes").clone();
            let all = nodes.len() == 2 && nodes.iter().all(|node| node["view"]["found"] == found);
            all.then_some(())
        });
    }

    fn outage(&self, confirmed: bool) {
        wait_until(&format!("the outage to be confirmed: {confirmed}"), PATIENCE, || {
            (self.partner()["outage_since"].is_null() != confirmed).then_some(())
        });
    }

    fn alerts(&self) -> Vec<String> {
        let alerts = self.nodes[0].cli(&["failover", "status"])["alerts"].as_array().expect("alerts").clone();
        alerts.iter().map(|alert| alert["name"].as_str().expect("a name").to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_partner_is_passed_over_when_the_domain_says_so_and_only_then() {
    let mut site = tokio::task::block_in_place(|| Site::open(CANARY_PASSWORD));
    tokio::task::block_in_place(|| site.wait_for("signed-in"));
    assert!(site.is_sent_to_the_partner().await);
    let drill = tokio::task::block_in_place(|| site.nodes[0].cli(&["failover", "drill", ALPHA]));
    assert_eq!((&drill["warnings"], &drill["by_itself"]), (&json!([]), &json!(0)), "manual by default: {drill:#}");

    // It takes connections and says nothing: that is no service either.
    site.php.freeze();
    tokio::task::block_in_place(|| site.wait_for("no-service"));
    site.php.thaw();
    tokio::task::block_in_place(|| {
        site.php.stop();
        site.outage(true);
        wait_until("the alert", PATIENCE, || (site.alerts() == ["partner-down"]).then_some(()));
    });
    assert!(site.is_sent_to_the_partner().await, "failover is manual: nobody decides but an administrator");
    tokio::task::block_in_place(|| {
        site.nodes[1].cli(&["domain", "set-failover", ALPHA, "--mode", "automatic"]);
    });
    let (mut tab, page) = site.named(&site.people[1]).await;
    assert!(!page.body.contains("SAMLRequest"), "{}", page.body);
    let wrong = tab.submit(&page, "password", "not this one").await;
    assert!(wrong.body.contains("You are not signed in"), "{}", wrong.body);
    let page = tab.submit(&wrong, "password", &site.people[1].password).await;
    assert!(page.has_code(), "{} {}", page.status, page.body);
    let records = tokio::task::block_in_place(|| site.nodes[0].audit(1000));
    let signed = records.iter().rev().find(|record| record["kind"] == "sign-in" && record["outcome"] == "success");
    let detail = &signed.expect("a sign-in")["detail"];
    assert_eq!((&detail["method"], &detail["failover"]), (&json!("federated"), &json!(true)));
    assert_eq!(records.iter().filter(|record| record["kind"] == "failover-started").count(), 1, "one, of two nodes");

    // Who is asked for the password when it comes back is sent there.
    let (mut tab, page) = site.named(&site.people[2]).await;
    tokio::task::block_in_place(|| {
        site.php.start_again();
        site.outage(false);
        wait_until("the alert to be over", PATIENCE, || site.alerts().is_empty().then_some(()));
    });
    let back = tab.submit(&page, "password", &site.people[2].password).await;
    assert!(back.body.contains("SAMLRequest"), "{}", back.body);
    assert!(site.is_sent_to_the_partner().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_refuses_the_canary_is_told_and_never_passed_over() {
    let site = tokio::task::block_in_place(|| Site::open("an old password"));
    tokio::task::block_in_place(|| {
        site.nodes[0].cli(&["domain", "set-failover", ALPHA, "--mode", "automatic"]);
        site.wait_for("otherwise");
        wait_until("the alert", PATIENCE, || (site.alerts() == ["partner-canary-refused"]).then_some(()));
        let nodes = site.partner()["nodes"].clone();
        let told = nodes[0]["view"]["detail"].as_str().expect("a text").to_owned();
        assert_eq!(told, "the partner does not take the canary's password");
        // Longer than an outage would take.
        let begun = std::time::Instant::now();
        wait_until("more looks", PATIENCE, || (begun.elapsed() > Duration::from_secs(10)).then_some(()));
        assert!(site.partner()["outage_since"].is_null());
    });
    assert!(site.is_sent_to_the_partner().await);
}
