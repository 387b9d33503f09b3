//! What an entry says about its account, read live beside its name.

use std::time::Duration;

use crate::config::{Dialect, DisabledTest};
use crate::identity::{Refusal, Timestamp};
use crate::ldap::{Entry, time};

/// The state of an account as an entry shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveState {
    disabled: bool,
    expires: Option<Timestamp>,
    locked_until: Option<Timestamp>,
    pub password_set: Option<Timestamp>,
    /// `sAMAccountName`, on Active Directory.
    pub account_name: Option<String>,
}

/// Set by an administrator, lifted by one only (draft-behera-ldap-password-policy-10, section 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// The name by which Active Directory's ticket service knows an account.
const ACCOUNT_NAME: &str = "sAMAccountName";
const UNREADABLE: Timestamp = Timestamp::from_millis(0);
const FOR_EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The attributes to read for a state.
pub fn attributes(dialect: Dialect, disabled: &DisabledTest) -> Vec<String> {
    let by_dialect: &[&str] = match dialect {
        Dialect::Openldap => &["pwdAccountLockedTime", "pwdChangedTime", "shadowExpire", "shadowLastChange"],
        Dialect::Ds389 => &["nsAccountLock", "accountUnlockTime", "pwdUpdateTime", "shadowExpire", "shadowLastChange"],
        Dialect::ActiveDirectory => &["userAccountControl", "accountExpires", "pwdLastSet", ACCOUNT_NAME],
    };
    let (DisabledTest::Equals { attribute, .. } | DisabledTest::BitSet { attribute, .. }) = disabled;
    let mut attributes: Vec<String> = by_dialect.iter().map(|&name| name.to_owned()).collect();
    if !attributes.iter().any(|name| name.eq_ignore_ascii_case(attribute)) {
        attributes.push(attribute.clone());
    }
    attributes
}

impl LiveState {
    /// Reads a state; `lockout_duration` is how long a lock lasts that tells only its beginning.
    pub fn read(entry: &Entry, dialect: Dialect, test: &DisabledTest, lockout_duration: Duration) -> Self {
        let (expires, locked_until, password_set) = match dialect {
            Dialect::Openldap => (
                expiry(entry, "shadowexpire", time::shadow_days),
                entry.text("pwdaccountlockedtime").and_then(|since| locked_since(since, lockout_duration)),
                entry.text("pwdchangedtime").and_then(time::generalized).or_else(|| shadow_change(entry)),
            ),
            Dialect::Ds389 => (
                expiry(entry, "shadowexpire", time::shadow_days),
                entry.text("accountunlocktime").and_then(unlocked_at),
                entry.text("pwdupdatetime").and_then(time::generalized).or_else(|| shadow_change(entry)),
            ),
            Dialect::ActiveDirectory => (
                expiry(entry, "accountexpires", time::filetime),
                // Told by the bind (sub-code 775), exactly.
                None,
                entry.text("pwdlastset").and_then(time::filetime),
            ),
        };
        let account_name = entry.text(&ACCOUNT_NAME.to_ascii_lowercase()).map(str::to_owned);
        Self { disabled: is_disabled(entry, dialect, test), expires, locked_until, password_set, account_name }
    }

    /// Why the account may not sign in whatever its password: a definite no, even when the bind gave no answer.
    pub fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        if self.disabled {
            return Some(Refusal::Disabled);
        }
        self.expires.is_some_and(|expires| expires <= now).then_some(Refusal::Expired)
    }

    /// Whether a lock is in force; directories answer a locked account's bind like a wrong password's.
    pub fn is_locked(&self, now: Timestamp) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }
}

fn is_disabled(entry: &Entry, dialect: Dialect, test: &DisabledTest) -> bool {
    match test {
        DisabledTest::Equals { attribute, value } => entry
            .values(&attribute.to_ascii_lowercase())
            .iter()
            .any(|found| found.eq_ignore_ascii_case(value.as_bytes())),
        DisabledTest::BitSet { attribute, bit } => match entry.bytes(&attribute.to_ascii_lowercase()) {
            Some(found) => {
                let number = std::str::from_utf8(found).ok().and_then(|text| text.trim().parse::<i64>().ok());
                // A state that cannot be read refuses (design D12).
                number.is_none_or(|number| number as u64 & bit != 0)
            }
            // Every AD account has userAccountControl: not to see it means not to know.
            None => dialect == Dialect::ActiveDirectory,
        },
    }
}

/// When the account ends; `None`: never. What is there and is no number ends it at once (design D12).
fn expiry(entry: &Entry, name: &str, read: fn(&str) -> Option<Timestamp>) -> Option<Timestamp> {
    let bytes = entry.bytes(name)?;
    let number = std::str::from_utf8(bytes).ok().and_then(|text| Some((text, text.parse::<i64>().ok()?)));
    let never = |number: i64| matches!(number, 0 | i64::MIN..0 | i64::MAX);
    match number {
        Some((text, number)) => read(text).or((!never(number)).then_some(UNREADABLE)),
        None => Some(UNREADABLE),
    }
}

fn locked_since(text: &str, duration: Duration) -> Option<Timestamp> {
    if text == LOCKED_FOR_GOOD { Some(FOR_EVER) } else { time::generalized(text).map(|since| since + duration) }
}

/// 389 Directory Server writes the epoch for "until an administrator unlocks".
fn unlocked_at(text: &str) -> Option<Timestamp> {
    if text == "19700101000000Z" { Some(FOR_EVER) } else { time::generalized(text) }
}

fn shadow_change(entry: &Entry) -> Option<Timestamp> {
    entry.text("shadowlastchange").and_then(time::shadow_days)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000); // 2027-01-15T08:00:00Z
    const HALF_HOUR: Duration = Duration::from_secs(1800);

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let attributes =
            attributes.iter().map(|(name, value)| (name.to_string(), vec![value.as_bytes().to_vec()])).collect();
        Entry { dn: "uid=ada,dc=example".parse().expect("a name"), attributes }
    }

    fn read(dialect: Dialect, test: &str, attributes: &[(&str, &str)]) -> LiveState {
        LiveState::read(&entry(attributes), dialect, &test.parse().expect("a test"), HALF_HOUR)
    }

    #[test]
    fn the_disabled_test_follows_its_settings() {
        let (ldap, ds, ad) = (Dialect::Openldap, Dialect::Ds389, Dialect::ActiveDirectory);
        let rows = [
            (ldap, "pwdAccountLockedTime=000001010000Z", "pwdaccountlockedtime", "000001010000Z", true),
            (ldap, "pwdAccountLockedTime=000001010000Z", "pwdaccountlockedtime", "20270115075900Z", false),
            (ds, "nsAccountLock=TRUE", "nsaccountlock", "true", true),
            (ds, "nsAccountLock=TRUE", "nsaccountlock", "false", false),
            (ad, "userAccountControl&2", "useraccountcontrol", "514", true),
            (ad, "userAccountControl&2", "useraccountcontrol", "512", false),
            (ad, "userAccountControl&2", "useraccountcontrol", "garbage", true),
            (ad, "userAccountControl&2", "other", "1", true),
            (ldap, "employeeStatus&4", "other", "1", false),
        ];
        for (dialect, test, attribute, value, disabled) in rows {
            let refusal = read(dialect, test, &[(attribute, value)]).refusal(NOW);
            assert_eq!(refusal, disabled.then_some(Refusal::Disabled), "{dialect:?} {test} {attribute}={value}");
        }
    }

    #[test]
    fn an_account_whose_time_is_over_is_expired() {
        let day = NOW.secs() / 86_400;
        let (ldap, ad) = (Dialect::Openldap, Dialect::ActiveDirectory);
        let shadow = |day: i64| read(ldap, "a=b", &[("shadowexpire", &day.to_string())]).refusal(NOW);
        assert_eq!(shadow(day), Some(Refusal::Expired));
        assert_eq!(shadow(day + 1), None);
        assert_eq!(shadow(-1), None);
        let expires = |time: &str| read(ad, "a&1", &[("a", "0"), ("accountexpires", time)]).refusal(NOW);
        assert_eq!(expires("132223104000000000"), Some(Refusal::Expired));
        assert_eq!(expires("0"), None);
        assert_eq!(expires("9223372036854775807"), None);
        assert_eq!(expires("never"), Some(Refusal::Expired), "what cannot be read refuses");
        let shadow = |text: &str| read(ldap, "a=b", &[("shadowexpire", text)]).refusal(NOW);
        assert_eq!(shadow("soon"), Some(Refusal::Expired));
        assert_eq!(shadow("99999999999"), Some(Refusal::Expired), "days that no clock counts");
    }

    #[test]
    fn a_lock_holds_for_its_duration_or_for_good() {
        let locked = |since: &str| read(Dialect::Openldap, "a=b", &[("pwdaccountlockedtime", since)]).is_locked(NOW);
        assert!(locked("20270115073001Z"));
        assert!(!locked("20270115073000Z"));
        assert!(locked(LOCKED_FOR_GOOD));
        let unlock = |at: &str| read(Dialect::Ds389, "a=b", &[("accountunlocktime", at)]).is_locked(NOW);
        assert!(unlock("20270115080001Z"));
        assert!(!unlock("20270115080000Z"));
        assert!(unlock("19700101000000Z"));
    }

    #[test]
    fn each_dialect_tells_when_the_password_was_set() {
        let set = |dialect, attributes: &[(&str, &str)]| read(dialect, "a=b", attributes).password_set;
        let new_year = Timestamp::parse_rfc3339("2020-01-01T00:00:00Z");
        assert_eq!(
            set(Dialect::Openldap, &[("pwdchangedtime", "20200101000000Z"), ("shadowlastchange", "1")]),
            new_year
        );
        assert_eq!(set(Dialect::Openldap, &[("shadowlastchange", "18262")]), new_year);
        assert_eq!(set(Dialect::Ds389, &[("pwdupdatetime", "20200101000000Z")]), new_year);
        assert_eq!(set(Dialect::ActiveDirectory, &[("pwdlastset", "132223104000000000")]), new_year);
        assert_eq!(set(Dialect::ActiveDirectory, &[("pwdlastset", "0")]), None);
    }
}
