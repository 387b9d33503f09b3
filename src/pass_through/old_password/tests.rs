use async_trait::async_trait;

use super::*;
use crate::identity::{SettableClock, SourceAnchor, Unavailable, Wire};
use crate::signin::authority::CredentialStoreDown;
use crate::signin::{CredentialFacts, HashAnswer};

const NOW: Timestamp = Timestamp::from_secs(1_577_840_400);
const SET: Timestamp = Timestamp::from_secs(1_577_836_800);

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
        if password.expose() == "too many" {
            let full = Unavailable { cause: UnavailableCause::Overloaded, wire: Wire::NothingSent, server: None };
            return HashAnswer { answer: Answer::Unavailable(full), credential_version: None };
        }
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
            leaked: false,
        }))
    }
}

fn rule(dialect: Dialect, hashes: Option<Stored>) -> OldPasswordRule {
    OldPasswordRule {
        connector: "corp".parse().expect("a name"),
        dialect,
        window: Duration::from_secs(65 * 60),
        patience: Duration::from_secs(2),
        hashes: hashes.map(|stored| Arc::new(stored) as Arc<dyn HashCheck>),
        tickets: None,
        clock: Arc::new(SettableClock::at(NOW)),
    }
}

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("fits")
}

async fn ruled(rule: &OldPasswordRule, set: Option<Timestamp>, typed: &str) -> Verdict {
    judged(rule, set, typed).await.expect("a verdict")
}

async fn judged(rule: &OldPasswordRule, set: Option<Timestamp>, typed: &str) -> Result<Verdict, UnavailableCause> {
    let source = CredentialSource {
        connector: "corp".parse().expect("a name"),
        anchor: SourceAnchor::from_binary(&[7; 16]).expect("fits"),
    };
    let account = DomainAccount {
        controller: "dc1.corp.example".to_owned(),
        realm: "corp.example".to_owned(),
        name: "ada".to_owned(),
    };
    let verified = Verified { source: &source, password_set: set, account: Some(&account) };
    rule.judge(&verified, &password(typed)).await
}

const OLD: Verdict = Verdict::Refused(Refusal::OldPasswordWindow);

#[tokio::test]
async fn soon_after_a_change_a_bind_counts_only_with_the_hash_of_that_change() {
    let set = Some(SET);
    let ad = Dialect::ActiveDirectory;
    let of_change = rule(ad, Some(Stored { password_set: set, usable: true }));
    assert_eq!(ruled(&of_change, set, "new").await, Verdict::Verified);
    assert_eq!(ruled(&of_change, set, "old").await, OLD);
    assert_eq!(ruled(&of_change, None, "new").await, OLD);
    let of_another = rule(ad, Some(Stored { password_set: Some(NOW), usable: true }));
    assert_eq!(ruled(&of_another, set, "new").await, OLD);
    let wiped = rule(ad, Some(Stored { password_set: set, usable: false }));
    assert_eq!(ruled(&wiped, set, "new").await, OLD);
    assert_eq!(ruled(&rule(ad, None), set, "new").await, OLD);
}

/// A ticket service that takes "new" alone, and cannot be asked about anything while it is down.
struct Kdc {
    is_up: bool,
}

#[async_trait]
impl PresentPassword for Kdc {
    async fn is_present(&self, account: &DomainAccount, password: &PlainPassword) -> Option<bool> {
        assert_eq!(account.name, "ada");
        self.is_up.then(|| password.expose() == "new")
    }
}

#[tokio::test]
async fn without_the_hash_of_the_change_the_ticket_service_decides() {
    let of_another = || Some(Stored { password_set: Some(NOW), usable: true });
    let with = |hashes, is_up| OldPasswordRule {
        tickets: Some(Arc::new(Kdc { is_up })),
        ..rule(Dialect::ActiveDirectory, hashes)
    };
    for hashes in [of_another, || None] {
        let up = with(hashes(), true);
        assert_eq!(ruled(&up, Some(SET), "new").await, Verdict::Verified);
        assert_eq!(ruled(&up, None, "new").await, Verdict::Verified);
        assert_eq!(ruled(&up, Some(SET), "old").await, OLD);
        assert_eq!(ruled(&with(hashes(), false), Some(SET), "new").await, OLD);
    }
    // Where there is that hash, nobody else is asked.
    let of_change = with(Some(Stored { password_set: Some(SET), usable: true }), false);
    assert_eq!(ruled(&of_change, Some(SET), "new").await, Verdict::Verified);
    assert_eq!(ruled(&of_change, Some(SET), "old").await, OLD);
}

#[tokio::test]
async fn beyond_the_window_and_elsewhere_a_bind_is_enough() {
    let ad = rule(Dialect::ActiveDirectory, None);
    assert_eq!(ruled(&ad, Some(NOW - Duration::from_secs(66 * 60)), "any").await, Verdict::Verified);
    assert_eq!(ruled(&rule(Dialect::Openldap, None), Some(SET), "any").await, Verdict::Verified);
}

#[tokio::test]
async fn a_hash_that_nobody_has_time_to_ask_refuses_nobody() {
    let rule = rule(Dialect::ActiveDirectory, Some(Stored { password_set: Some(SET), usable: true }));
    assert_eq!(judged(&rule, Some(SET), "too many").await, Err(UnavailableCause::Overloaded));
}
