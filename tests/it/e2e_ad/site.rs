//! A gateway before a Samba domain whose accounts are in every state that an account can be in.

use std::time::Duration;

use landbridge::identity::PlainPassword;
use landbridge::ldap::{Connection, ServerUrl, Trust};
use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::samba::{CORP, Samba};
use crate::support::visitor::{Outcome, Visitor};

pub const RIGHTS: [&str; 3] = ["get-changes", "get-changes-all", "deleted-objects"];
/// Wrong passwords after which the domain locks.
pub const LOCKS_AFTER: u32 = 8;
/// All sign-ins come from one place; nobody is held up for the others' sake.
const SECTIONS: &str = "[lockout]\nfamiliar_limit = 100\nunfamiliar_limit = 100\n";

pub struct Site {
    pub samba: Samba,
    pub gateway: Gateway,
    pub visitor: Visitor,
}

impl Site {
    /// A domain with `count` accounts, `user0` and so on, all of them users of the gateway with their hashes.
    pub fn open(count: usize) -> Self {
        let samba = Samba::start(CORP, &RIGHTS);
        samba.lock_after(LOCKS_AFTER);
        // Without a history no previous password is kept, and none is taken.
        samba.replace_in_domain("pwdHistoryLength", "24");
        samba.add_users("user", &(0..count).map(password).collect::<Vec<_>>());
        let gateway = Gateway::builder().samba("corp", &samba).hardening("sealed").section(SECTIONS).start();
        gateway.cli(&["domain", "add", CORP.realm]);
        gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        let visitor = Visitor::register(&gateway);
        let site = Self { samba, gateway, visitor };
        site.pass();
        site
    }

    /// A cycle of the password channel.
    #[track_caller]
    pub fn pass(&self) -> Value {
        self.gateway.cli(&["password-sync", "run"])
    }

    #[track_caller]
    pub fn method(&self, method: &str) {
        self.gateway.cli(&["domain", "set-method", CORP.realm, method, "--force"]);
    }

    pub async fn sign_in(&self, user: usize, password: &str) -> Outcome {
        self.visitor.sign_in(&format!("user{user}@{}", CORP.realm), password).await
    }

    /// Why the newest sign-in ended as it did.
    #[track_caller]
    pub fn last_reason(&self) -> String {
        let records = self.gateway.audit(200);
        let found = records.into_iter().rev().find(|record| record["kind"] == "sign-in");
        found.expect("a sign-in")["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// What the controller itself answers to a simple bind: its result and its text.
    pub async fn raw_bind(&self, user: usize, password: &str) -> (u32, String) {
        let server: ServerUrl = format!("ldaps://{}", self.samba.address).parse().expect("a url");
        let trust = Trust::new(&[self.samba.ca_file()]).expect("a certificate");
        let opened = Connection::open(&server, &trust, Duration::from_secs(20)).await;
        let name = self.samba.name_of(&format!("user{user}")).parse().expect("a name");
        let password = PlainPassword::new(password.to_owned()).expect("may be typed");
        let answer = opened.expect("the controller listens").simple_bind(&name, &password).await.expect("an answer");
        (answer.code, answer.diagnostic)
    }
}

pub fn password(user: usize) -> String {
    format!("Start-{user}-Pässwörd!")
}
