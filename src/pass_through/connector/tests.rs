use async_trait::async_trait;

use super::*;
use crate::config::DisabledTest;
use crate::identity::{SettableClock, SourceAnchor, Timestamp};
use crate::ldap::{Entry, ServiceAccount, Trust};
use crate::pass_through::AnchorAttribute;
use crate::signin::authority::CredentialStoreDown;
use crate::signin::{CredentialFacts, HashAnswer};

const NOW: Timestamp = Timestamp::from_secs(1_577_840_400); // 2020-01-01T01:00:00Z
/// 2020-01-01T00:00:00Z
const SET: &str = "132223104000000000";

/// A stored hash of the password "new", taken of the change at `password_set`.
struct Stored {
    password_set: Option<Timestamp>,
    usable: bool,
}

#[async_trait]
impl HashCheck for Stored {
    async fn check(
        &self,
        _source: Option<&CredentialSource>,
        password: &PlainPassword,
        _admission: Admission,
    ) -> HashAnswer {
        let verdict =
            if password.expose() == "new" { Verdict::Verified } else { Verdict::Refused(Refusal::WrongPassword) };
        HashAnswer { answer: Answer::Verdict(verdict), credential_version: None }
    }

    async fn matches_spare(&self, _source: &CredentialSource, _password: &PlainPassword) -> Option<bool> {
        None
    }

    async fn facts(&self, _source: &CredentialSource) -> Result<Option<CredentialFacts>, CredentialStoreDown> {
        Ok(Some(CredentialFacts {
            version: 1,
            usable: self.usable,
            outdated: false,
            password_set: self.password_set,
            stored_at: NOW,
            confirmed_at: NOW,
        }))
    }
}

fn connector(dialect: Dialect, hashes: Option<Stored>) -> Connector {
    let settings = PassThroughSettings {
        connector: "corp".parse().expect("a name"),
        servers: vec!["ldaps://dc1.example".parse().expect("an address")],
        trust: Trust::system().expect("the system has authorities"),
        account: ServiceAccount { dn: "cn=sync".parse().expect("a name"), password: password("secret") },
        bases: vec!["dc=example".parse().expect("a name")],
        anchor: AnchorAttribute::new("objectGUID"),
        dialect,
        disabled: disabled_test(),
        lockout_duration: Duration::from_secs(1800),
        connect_deadline: Duration::from_secs(1),
        bind_deadline: Duration::from_secs(2),
        probe_deadline: Duration::from_secs(1),
        search_connections: 1,
        bind_connections: 1,
        old_password_window: Duration::from_secs(65 * 60),
    };
    let hashes = hashes.map(|stored| Arc::new(stored) as Arc<dyn HashCheck>);
    Connector::new(settings, Arc::new(SettableClock::at(NOW)), hashes)
}

fn disabled_test() -> DisabledTest {
    "userAccountControl&2".parse().expect("a test")
}

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("fits")
}

fn state(dialect: Dialect, set: Option<&str>) -> LiveState {
    let attribute = |name: &str, value: &str| (name.to_owned(), vec![value.as_bytes().to_vec()]);
    let mut attributes: std::collections::BTreeMap<_, _> = [attribute("useraccountcontrol", "512")].into();
    attributes.extend(set.map(|set| attribute("pwdlastset", set)));
    let entry = Entry { dn: "cn=ada,dc=example".parse().expect("a name"), attributes };
    LiveState::read(&entry, dialect, &disabled_test(), Duration::from_secs(1800))
}

async fn ruled(connector: &Connector, set: Option<&str>, typed: &str) -> Verdict {
    let source = CredentialSource {
        connector: "corp".parse().expect("a name"),
        anchor: SourceAnchor::from_binary(&[7; 16]).expect("fits"),
    };
    let state = state(connector.settings.dialect, set);
    connector.rule_out_old_password(&source, &state, &password(typed)).await
}

const OLD: Verdict = Verdict::Refused(Refusal::OldPasswordWindow);

#[tokio::test]
async fn soon_after_a_change_a_bind_counts_only_with_the_hash_of_that_change() {
    let set = Timestamp::parse_rfc3339("2020-01-01T00:00:00Z");
    let ad = Dialect::ActiveDirectory;
    let of_change = connector(ad, Some(Stored { password_set: set, usable: true }));
    assert_eq!(ruled(&of_change, Some(SET), "new").await, Verdict::Verified);
    assert_eq!(ruled(&of_change, Some(SET), "old").await, OLD);
    assert_eq!(ruled(&of_change, None, "new").await, OLD);
    let of_another = connector(ad, Some(Stored { password_set: Some(NOW), usable: true }));
    assert_eq!(ruled(&of_another, Some(SET), "new").await, OLD);
    let wiped = connector(ad, Some(Stored { password_set: set, usable: false }));
    assert_eq!(ruled(&wiped, Some(SET), "new").await, OLD);
    assert_eq!(ruled(&connector(ad, None), Some(SET), "new").await, OLD);
}

#[tokio::test]
async fn beyond_the_window_and_elsewhere_a_bind_is_enough() {
    let ad = connector(Dialect::ActiveDirectory, None);
    assert_eq!(ruled(&ad, Some("132223000000000000"), "any").await, Verdict::Verified);
    assert_eq!(ruled(&connector(Dialect::Openldap, None), Some(SET), "any").await, Verdict::Verified);
}

#[test]
fn what_may_not_be_sent_is_known_where_it_would_be_sent() {
    assert!(may_be_sent("a"));
    assert!(may_be_sent(&"\u{20ac}".repeat(256)));
    for text in ["", " ", "\u{a0}\t", "a\0b", &"a".repeat(MAX_PASSWORD_BYTES + 1)] {
        assert!(!may_be_sent(text), "{text:?}");
    }
}
