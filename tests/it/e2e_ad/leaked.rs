//! Passwords that are known from leaks: found while hashes pass by, shown, and refused where a domain says so.

use std::collections::BTreeMap;

use serde_json::Value;

use super::site::{RIGHTS, password};
use crate::support::gateway::Gateway;
use crate::support::passwords::{nt_hash, write_leaked_list};
use crate::support::samba::{CORP, Samba};
use crate::support::visitor::{Outcome, Visitor};

struct Leaks {
    samba: Samba,
    gateway: Gateway,
    visitor: Visitor,
}

impl Leaks {
    /// What each flagged user's password was met like, by the name before the `@`.
    #[track_caller]
    fn flagged(&self) -> BTreeMap<String, String> {
        let listed = self.gateway.cli(&["password-sync", "leaked"]);
        let text = |user: &Value, key: &str| user[key].as_str().expect("a text").to_owned();
        let of_user =
            |user: &Value| (text(user, "upn").split('@').next().unwrap_or_default().to_owned(), text(user, "met"));
        listed.as_array().expect("users").iter().map(of_user).collect()
    }

    #[track_caller]
    fn pass(&self, full: bool) {
        let arguments: &[&str] = if full { &["password-sync", "run", "--full"] } else { &["password-sync", "run"] };
        self.gateway.cli(arguments);
    }

    #[track_caller]
    fn error(&self) -> Option<String> {
        let status = self.gateway.cli(&["password-sync", "status"]);
        assert_eq!(status["connectors"][0]["error"], Value::Null, "hashes arrive all the same");
        status["connectors"][0]["leaked_error"].as_str().map(str::to_owned)
    }

    /// What the page says in the end.
    async fn sign_in(&self, user: usize, password: &str) -> &'static str {
        match self.visitor.sign_in(&format!("user{user}@{}", CORP.realm), password).await {
            Outcome::Signed(_) => "in",
            Outcome::MustChange => "change it",
            Outcome::Refused { .. } => "refused",
            Outcome::TryAgain | Outcome::Odd { .. } => "something else",
        }
    }

    fn last_reason(&self) -> String {
        let records = self.gateway.audit(50);
        let found = records.into_iter().rev().find(|record| record["kind"] == "sign-in").expect("a sign-in");
        found["reason"].as_str().unwrap_or_default().to_owned()
    }
}

fn flags(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(user, met)| ((*user).to_owned(), (*met).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn leaked_passwords_are_found_shown_and_refused_until_they_are_changed() {
    let samba = Samba::start(CORP, &RIGHTS);
    samba.add_users("user", &(0..5).map(password).collect::<Vec<_>>());
    let gateway = Gateway::builder().samba("corp", &samba).hardening("sealed").start();
    gateway.cli(&["domain", "add", CORP.realm]);
    gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    gateway.cli(&["sync", "run", "--profile", "full"]);
    gateway.cli(&["domain", "set-method", CORP.realm, "phs", "--force"]);
    let visitor = Visitor::register(&gateway);
    let mut leaks = Leaks { samba, gateway, visitor };
    let list = leaks.gateway.folder().join("ntlm.txt");

    // Hashes go by before there is a list: the next pass over all of them finds who has a listed one.
    leaks.pass(false);
    write_leaked_list(&list, &[(&password(1), 1), (&password(2), 4_711)]);
    leaks.gateway.reconfigure(|settings| format!("{settings}\n[leaked_passwords]\nlist = \"ntlm.txt\"\n"));
    leaks.pass(false);
    assert_eq!(leaks.flagged(), flags(&[]), "nothing of theirs changed");
    leaks.pass(true);
    assert_eq!(leaks.flagged(), flags(&[("user1", "1"), ("user2", "1000+")]));
    assert_eq!(leaks.error(), None);
    // They are shown, and sign in as before.
    assert_eq!(leaks.sign_in(1, &password(1)).await, "in");

    // A changed password is looked for as it goes by.
    leaks.samba.set_passwords([("user2", "Nowhere-Listed-2!"), ("user3", "Listed-Since-3!")]);
    write_leaked_list(&list, &[(&password(1), 1), ("Listed-Since-3!", 17)]);
    leaks.pass(false);
    assert_eq!(leaks.flagged(), flags(&[("user1", "1"), ("user3", "10-99")]));

    // Where the domain says so, they are told to change it, and get in with the new one.
    leaks.gateway.reconfigure(|settings| {
        settings.replace("list = \"ntlm.txt\"", "list = \"ntlm.txt\"\nrefuse_in = [\"corp.example\"]")
    });
    assert_eq!(leaks.sign_in(3, "Listed-Since-3!").await, "change it");
    assert_eq!(leaks.last_reason(), "leaked-password");
    assert_eq!(leaks.sign_in(3, "a wrong one").await, "refused");
    assert_eq!(leaks.sign_in(0, &password(0)).await, "in");
    leaks.gateway.cli(&["domain", "set-method", CORP.realm, "pta", "--force"]);
    assert_eq!(leaks.sign_in(1, &password(1)).await, "change it");
    leaks.gateway.cli(&["domain", "set-method", CORP.realm, "phs", "--force"]);
    leaks.samba.set_passwords([("user3", "Another-One-3!")]);
    leaks.pass(false);
    assert_eq!(leaks.flagged(), flags(&[("user1", "1")]));
    assert_eq!(leaks.sign_in(3, "Another-One-3!").await, "in");

    // A file that is none stops nothing, and is told with what to do; what was found stays.
    std::fs::write(&list, "<html>not found</html>\n").expect("a file");
    leaks.samba.set_passwords([("user4", "While-It-Is-Broken-4!")]);
    leaks.pass(false);
    let error = leaks.error().expect("an error");
    assert!(error.contains("ntlm.txt has a line that is not") && error.contains("check-list"), "{error}");
    leaks.pass(false);
    assert_eq!(leaks.error(), Some(error), "a pass that meets no hash tells it, too");
    assert_eq!(leaks.flagged(), flags(&[("user1", "1")]));
    assert_eq!(leaks.sign_in(4, "While-It-Is-Broken-4!").await, "in");
    let told = leaks.gateway.cli_refused(&["password-sync", "check-list", list.to_str().expect("a path")]);
    assert!(told.to_string().contains("line 1"), "{told}");
    // A good one that says otherwise takes it back.
    write_leaked_list(&list, &[("While-It-Is-Broken-4!", 5)]);
    leaks.pass(true);
    assert_eq!((leaks.flagged(), leaks.error()), (flags(&[("user4", "2-9")]), None));
    assert_eq!(leaks.gateway.cli(&["password-sync", "check-list", list.to_str().expect("a path")])["hashes"], 3001);

    // Audited, and never a digit of a hash anywhere.
    let records = leaks.gateway.audit(500);
    let count = |kind: &str| records.iter().filter(|record| record["kind"] == kind).count();
    assert_eq!((count("leaked-password-found"), count("leaked-password-cleared")), (4, 3));
    let (records, log) = (serde_json::to_string(&records).expect("JSON"), leaks.gateway.log());
    for password in [password(1).as_str(), &password(2), "Listed-Since-3!", "While-It-Is-Broken-4!"] {
        let start = nt_hash(password)[..8].to_owned();
        for text in [&records, &log] {
            assert!(!text.to_lowercase().contains(&start.to_lowercase()), "{password}");
        }
    }
}
