//! The key ring is rolled and a stored password erased while the gateway runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::directory::{ALPHA, BETA, Directory, People, Person};
use crate::support::gateway::Gateway;
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Tab};
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
    let rolled = site.gateway.cli(&["keys", "roll-ring"]);
    assert_ne!(rolled["primary"], before["primary"]);
    assert_eq!(rolled["older"][0]["key"], before["primary"]);
    let log = site.gateway.audit(100);
    let told = records(&log, "key-ring-rolled");
    assert_eq!((told.len(), &told[0]["subject"], &told[0]["actor"]["id"]), (1, &rolled["primary"], &json!("tester")));
    assert!(site.signs_in().await, "in between, both keys open");

    // The wrapping seals stored passwords anew; a pass renews the stamps of their sources.
    site.gateway.cli(&["password-sync", "run"]);
    wait_until("no row to name the former key", Duration::from_secs(60), || {
        (site.gateway.cli(&["keys", "ring"])["older"][0]["rows"] == 0).then_some(())
    });
    let former = before["primary"].as_str().expect("a name");
    let kept: String =
        site.ring_file().lines().filter(|line| !line.contains(former)).map(|line| format!("{line}\n")).collect();
    assert_eq!(kept.lines().filter(|line| line.starts_with("primary ")).count(), 1);
    site.gateway.stop();
    std::fs::write(site.gateway.folder().join("key-ring"), kept).expect("the key ring");
    site.gateway.start_again();
    assert_eq!(site.gateway.cli(&["keys", "ring"]), json!({ "primary": rolled["primary"], "older": [] }));
    assert!(site.signs_in().await, "without the former key");
    assert_eq!(site.gateway.cli(&["audit", "verify"])["breaks"], json!([]));
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
