//! What a directory's attributes say about an account: instants and schedules, never their results at this moment.
//!
//! Attributes of the password policies of OpenLDAP (draft-behera-ldap-password-policy-10), 389 Directory Server,
//! FreeIPA, RFC 2307 shadow accounts and Active Directory. An attribute that is there and cannot be read bars the
//! account: what is not understood must not let anybody in.

use std::time::Duration;

use chrono::NaiveDateTime;

use crate::config::DisabledTest;
use crate::identity::{AccountState, DirectoryLockout, LogonHours, Timestamp};
use crate::ldap::Entry;

/// Attributes that tell an account's state, to be asked for by name because most are operational.
pub const STATE_ATTRIBUTES: [&str; 22] = [
    "pwdAccountLockedTime",
    "pwdChangedTime",
    "pwdReset",
    "pwdEndTime",
    "pwdPolicySubentry",
    "nsAccountLock",
    "accountUnlockTime",
    "passwordExpirationTime",
    "krbPasswordExpiration",
    "krbPrincipalExpiration",
    "shadowExpire",
    "shadowLastChange",
    "sambaPwdLastSet",
    "userAccountControl",
    "lockoutTime",
    "accountExpires",
    "pwdLastSet",
    "logonHours",
    "msDS-UserPasswordExpiryTimeComputed",
    "passwordChangedTime",
    "krbLastPwdChange",
    "msDS-ResultantPSO",
];

/// What holds for all accounts under one password policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// How long a lock lasts; `None` until an administrator unlocks.
    pub lockout_duration: Option<Duration>,
    /// Age at which a password expires.
    pub max_age: Option<Duration>,
    /// When wrong passwords lock; `None`: never.
    pub lockout: Option<DirectoryLockout>,
}

/// An attribute that cannot be read. Tells its name and never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {attribute} cannot be read, so the account is held as disabled")]
pub struct StateFault {
    pub attribute: &'static str,
}

/// The attribute that the settings name.
const OF_DISABLED_TEST: &str = "the disabled test's attribute";

impl StateFault {
    /// Of an attribute that was told by its name.
    pub fn named(attribute: &str) -> Self {
        let known = STATE_ATTRIBUTES.into_iter().find(|known| *known == attribute);
        Self { attribute: known.unwrap_or(OF_DISABLED_TEST) }
    }
}

/// `pwdAccountLockedTime` of an account that only an administrator unlocks (draft-behera, section 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// The far future: later than any sign-in.
const NEVER: Timestamp = Timestamp::from_secs(253_402_300_799);
const ACCOUNT_CONTROL: &str = "userAccountControl";
/// FILETIME of 1970-01-01, in units of 100 ns.
const UNIX_EPOCH_FILETIME: i64 = 116_444_736_000_000_000;

/// Evaluates the attributes of `entry`.
pub fn account_state(
    entry: &Entry,
    disabled: &DisabledTest,
    policy: &PasswordPolicy,
) -> Result<AccountState, StateFault> {
    let read = Attributes(entry);
    let password_set = first([
        read.time("pwdChangedTime")?,
        read.time("passwordChangedTime")?,
        read.filetime("pwdLastSet")?,
        read.time("krbLastPwdChange")?,
        read.seconds("sambaPwdLastSet")?,
        read.days("shadowLastChange")?,
    ]);
    let aged = match (read.time("pwdChangedTime")?, policy.max_age) {
        (Some(set), Some(age)) => Some(set + age),
        _ => None,
    };
    let locked_until = latest([
        lock_of_ppolicy(&read, disabled, policy)?,
        read.time("accountUnlockTime")?,
        read.filetime("lockoutTime")?.map(|since| policy.lockout_duration.map_or(NEVER, |lasts| since + lasts)),
    ]);
    Ok(AccountState {
        enabled: !is_disabled(&read, disabled)?,
        deleted: false,
        locked_until,
        account_expires: earliest([
            read.time("pwdEndTime")?,
            read.time("krbPrincipalExpiration")?,
            read.filetime("accountExpires")?,
            read.days("shadowExpire")?,
        ]),
        password_expires: earliest([
            aged,
            read.time("passwordExpirationTime")?,
            read.time("krbPasswordExpiration")?,
            read.filetime("msDS-UserPasswordExpiryTimeComputed")?,
        ]),
        must_change_password: read.flag("pwdReset")? || read.integer("pwdLastSet")? == Some(0),
        logon_hours: read.logon_hours()?,
        password_set,
        lockout: policy.lockout,
    })
}

fn lock_of_ppolicy(
    read: &Attributes<'_>,
    disabled: &DisabledTest,
    policy: &PasswordPolicy,
) -> Result<Option<Timestamp>, StateFault> {
    const ATTRIBUTE: &str = "pwdAccountLockedTime";
    match read.text(ATTRIBUTE)? {
        None => Ok(None),
        Some(LOCKED_FOR_GOOD) => Ok(match disabled {
            // Told as disabled already.
            DisabledTest::Equals { attribute, value }
                if attribute.eq_ignore_ascii_case(ATTRIBUTE) && value == LOCKED_FOR_GOOD =>
            {
                None
            }
            DisabledTest::Equals { .. } | DisabledTest::BitSet { .. } => Some(NEVER),
        }),
        Some(_) => Ok(read.time(ATTRIBUTE)?.map(|since| policy.lockout_duration.map_or(NEVER, |lasts| since + lasts))),
    }
}

fn is_disabled(read: &Attributes<'_>, test: &DisabledTest) -> Result<bool, StateFault> {
    match test {
        DisabledTest::Equals { attribute, value } => {
            Ok(read.0.texts(&attribute.to_ascii_lowercase()).any(|found| found.eq_ignore_ascii_case(value)))
        }
        DisabledTest::BitSet { attribute, bit } => match read.0.text(&attribute.to_ascii_lowercase()) {
            // Every account of Active Directory has it: not to see it means not to know.
            None if attribute.eq_ignore_ascii_case(ACCOUNT_CONTROL) => Err(StateFault { attribute: ACCOUNT_CONTROL }),
            None => Ok(false),
            Some(text) => {
                let number: i64 = text.parse().map_err(|_| StateFault { attribute: OF_DISABLED_TEST })?;
                Ok(number.cast_unsigned() & bit != 0)
            }
        },
    }
}

/// `YYYYMMDDHHMMSS[.fraction]Z` (RFC 4517, section 3.3.13); also without the `Z`, as versions carry it.
pub(super) fn generalized_time(text: &str) -> Option<Timestamp> {
    let digits = text.trim_end_matches('Z').split(['.', ',']).next()?;
    let format = match digits.len() {
        14 => "%Y%m%d%H%M%S",
        12 => "%Y%m%d%H%M",
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(digits, format).ok()?;
    Some(Timestamp::from_secs(time.and_utc().timestamp()))
}

/// To the second.
pub(super) fn generalized(time: Timestamp) -> String {
    let time = chrono::DateTime::from_timestamp_millis(time.millis()).unwrap_or_default();
    time.format("%Y%m%d%H%M%SZ").to_string()
}

/// Units of 100 ns since 1601; 0 and the largest number mean never (MS-ADA1 accountExpires).
pub(super) fn file_time(number: i64) -> Option<Timestamp> {
    let never = number == 0 || number == i64::MAX;
    (!never).then(|| Timestamp::from_millis(number.saturating_sub(UNIX_EPOCH_FILETIME) / 10_000))
}

/// The attributes of an entry, read strictly.
struct Attributes<'a>(&'a Entry);

impl<'a> Attributes<'a> {
    fn text(&self, attribute: &'static str) -> Result<Option<&'a str>, StateFault> {
        match self.0.bytes(&attribute.to_ascii_lowercase()) {
            None => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| StateFault { attribute }),
        }
    }

    fn parsed<T>(
        &self,
        attribute: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StateFault> {
        self.text(attribute)?.map(|text| parse(text).ok_or(StateFault { attribute })).transpose()
    }

    fn time(&self, attribute: &'static str) -> Result<Option<Timestamp>, StateFault> {
        self.parsed(attribute, generalized_time)
    }

    fn integer(&self, attribute: &'static str) -> Result<Option<i64>, StateFault> {
        self.parsed(attribute, |text| text.parse().ok())
    }

    fn flag(&self, attribute: &'static str) -> Result<bool, StateFault> {
        let flag = self.parsed(attribute, |text| match text.to_ascii_uppercase().as_str() {
            "TRUE" => Some(true),
            "FALSE" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    fn filetime(&self, attribute: &'static str) -> Result<Option<Timestamp>, StateFault> {
        Ok(self.integer(attribute)?.and_then(file_time))
    }

    fn seconds(&self, attribute: &'static str) -> Result<Option<Timestamp>, StateFault> {
        Ok(self.integer(attribute)?.filter(|number| *number > 0).map(Timestamp::from_secs))
    }

    /// Days since 1970 (RFC 2307 shadowAccount); -1 means never.
    fn days(&self, attribute: &'static str) -> Result<Option<Timestamp>, StateFault> {
        let days = self.integer(attribute)?.filter(|days| *days >= 0);
        Ok(days.map(|days| Timestamp::from_secs(days.saturating_mul(86_400))))
    }

    fn logon_hours(&self) -> Result<Option<LogonHours>, StateFault> {
        const ATTRIBUTE: &str = "logonHours";
        match self.0.bytes("logonhours") {
            // Active Directory writes an empty value for "always".
            None | Some([]) => Ok(None),
            Some(bytes) => {
                let bits = bytes.try_into().map_err(|_| StateFault { attribute: ATTRIBUTE })?;
                Ok(Some(LogonHours::new(bits)))
            }
        }
    }
}

fn first<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().next()
}

fn earliest<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().min()
}

/// The end of the last of several locks.
fn latest<const N: usize>(times: [Option<Timestamp>; N]) -> Option<Timestamp> {
    times.into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::password_policy::password_policy;
    use super::*;
    use crate::identity::Refusal;

    const NOW: Timestamp = Timestamp::from_secs(1_795_262_400); // 2026-11-21T12:00:00Z

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let mut map: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (name, value) in attributes {
            map.entry(name.to_ascii_lowercase()).or_default().push(value.as_bytes().to_vec());
        }
        Entry { dn: "uid=ada,dc=example".parse().expect("a name"), attributes: map }
    }

    fn ppolicy() -> DisabledTest {
        DisabledTest::Equals { attribute: "pwdAccountLockedTime".to_owned(), value: LOCKED_FOR_GOOD.to_owned() }
    }

    fn judged(attributes: &[(&str, &str)], disabled: &DisabledTest) -> Result<(), Refusal> {
        let policy = PasswordPolicy {
            lockout_duration: Some(Duration::from_secs(600)),
            max_age: Some(Duration::from_secs(86_400)),
            lockout: None,
        };
        let mut entry = entry(attributes);
        entry.attributes.entry("useraccountcontrol".to_owned()).or_insert_with(|| vec![b"512".to_vec()]);
        account_state(&entry, disabled, &policy).expect("readable").evaluate(NOW)
    }

    #[test]
    fn each_attribute_bars_for_its_own_reason_and_only_then() {
        let uac = DisabledTest::BitSet { attribute: "userAccountControl".to_owned(), bit: 2 };
        let nds = DisabledTest::Equals { attribute: "nsAccountLock".to_owned(), value: "TRUE".to_owned() };
        let rows: [(&str, &str, &DisabledTest, Result<(), Refusal>); 32] = [
            ("uid", "ada", &ppolicy(), Ok(())),
            ("pwdAccountLockedTime", "000001010000Z", &ppolicy(), Err(Refusal::Disabled)),
            ("pwdAccountLockedTime", "000001010000Z", &nds, Err(Refusal::LockedOut)),
            ("pwdAccountLockedTime", "20261121115500Z", &ppolicy(), Err(Refusal::LockedOut)),
            ("pwdAccountLockedTime", "20261121114900Z", &ppolicy(), Ok(())),
            ("nsAccountLock", "true", &nds, Err(Refusal::Disabled)),
            ("nsAccountLock", "false", &nds, Ok(())),
            ("userAccountControl", "514", &uac, Err(Refusal::Disabled)),
            ("userAccountControl", "512", &uac, Ok(())),
            ("pwdReset", "TRUE", &nds, Err(Refusal::MustChangePassword)),
            ("pwdReset", "FALSE", &nds, Ok(())),
            ("pwdLastSet", "0", &uac, Err(Refusal::MustChangePassword)),
            ("pwdLastSet", "134000000000000000", &uac, Ok(())),
            ("pwdChangedTime", "20261120115959Z", &nds, Err(Refusal::PasswordExpired)),
            ("pwdChangedTime", "20261120120001.5Z", &nds, Ok(())),
            ("pwdEndTime", "20261121120000Z", &nds, Err(Refusal::Expired)),
            ("accountUnlockTime", "20261121120001Z", &nds, Err(Refusal::LockedOut)),
            ("passwordExpirationTime", "19700101000000Z", &nds, Err(Refusal::PasswordExpired)),
            ("passwordExpirationTime", "20380119031407Z", &nds, Ok(())),
            ("krbPasswordExpiration", "20261121115959Z", &nds, Err(Refusal::PasswordExpired)),
            ("krbPrincipalExpiration", "20261121115959Z", &nds, Err(Refusal::Expired)),
            ("shadowExpire", "20777", &nds, Err(Refusal::Expired)),
            ("shadowExpire", "20779", &nds, Ok(())),
            ("shadowExpire", "-1", &nds, Ok(())),
            ("shadowExpire", "0", &nds, Err(Refusal::Expired)),
            ("accountExpires", "9223372036854775807", &uac, Ok(())),
            ("accountExpires", "0", &uac, Ok(())),
            ("accountExpires", "134000000000000000", &uac, Err(Refusal::Expired)),
            ("lockoutTime", "0", &uac, Ok(())),
            ("lockoutTime", "134397360000000000", &uac, Err(Refusal::LockedOut)),
            ("msDS-UserPasswordExpiryTimeComputed", "134000000000000000", &uac, Err(Refusal::PasswordExpired)),
            ("logonHours", "", &uac, Ok(())),
        ];
        for (name, value, disabled, expected) in rows {
            assert_eq!(judged(&[(name, value)], disabled), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_and_not_a_pass() {
        let policy = PasswordPolicy { lockout_duration: None, max_age: None, lockout: None };
        for (name, value) in [
            ("pwdReset", "maybe"),
            ("shadowExpire", "soon"),
            ("pwdAccountLockedTime", "yesterday"),
            ("krbPasswordExpiration", "20261321120000Z"),
            ("accountExpires", "1e9"),
            ("logonHours", "short"),
        ] {
            let fault = account_state(&entry(&[(name, value)]), &ppolicy(), &policy);
            assert_eq!(fault.map_err(|fault| fault.attribute), Err(name), "{value}");
        }
    }

    #[test]
    fn an_account_whose_flags_are_hidden_is_not_enabled() {
        let policy = PasswordPolicy { lockout_duration: None, max_age: None, lockout: None };
        let uac = DisabledTest::BitSet { attribute: "userAccountControl".to_owned(), bit: 2 };
        let fault = account_state(&entry(&[("cn", "ada")]), &uac, &policy);
        assert_eq!(fault, Err(StateFault { attribute: "userAccountControl" }));
    }

    #[test]
    fn a_lock_without_a_duration_lasts_until_an_administrator_unlocks() {
        let policy_entry = entry(&[("pwdLockoutDuration", "0"), ("pwdMaxAge", "0")]);
        let policy = password_policy(&policy_entry, Duration::from_secs(600));
        assert_eq!(policy, PasswordPolicy { lockout_duration: None, max_age: None, lockout: None });
        let locked = entry(&[("pwdAccountLockedTime", "20200101000000Z")]);
        let state = account_state(&locked, &ppolicy(), &policy).expect("readable");
        assert_eq!(state.evaluate(NOW), Err(Refusal::LockedOut));
        let silent = password_policy(&entry(&[]), Duration::from_secs(600));
        assert_eq!(silent.lockout_duration, Some(Duration::from_secs(600)));
    }

    #[test]
    fn every_kind_of_policy_tells_when_it_locks() {
        let minutes = |count: i64| count * 60_000;
        type Row = (&'static [(&'static str, &'static str)], Option<(u32, i64)>);
        let rows: [Row; 9] = [
            (&[("lockoutThreshold", "5"), ("lockOutObservationWindow", "-18000000000")], Some((5, minutes(30)))),
            (&[("lockoutThreshold", "0"), ("lockOutObservationWindow", "-18000000000")], None),
            (
                &[("msDS-LockoutThreshold", "3"), ("msDS-LockoutObservationWindow", "-36000000000")],
                Some((3, minutes(60))),
            ),
            (
                &[("pwdLockout", "TRUE"), ("pwdMaxFailure", "4"), ("pwdFailureCountInterval", "600")],
                Some((4, minutes(10))),
            ),
            (&[("pwdLockout", "TRUE"), ("pwdMaxFailure", "4")], Some((4, minutes(7 * 24 * 60)))),
            (&[("pwdLockout", "FALSE"), ("pwdMaxFailure", "4")], None),
            (&[("pwdLockout", "TRUE"), ("pwdMaxFailure", "0")], None),
            (
                &[("passwordLockout", "on"), ("passwordMaxFailure", "6"), ("passwordResetFailureCount", "600")],
                Some((6, minutes(10))),
            ),
            (&[], None),
        ];
        for (attributes, expected) in rows {
            let policy = password_policy(&entry(attributes), Duration::from_secs(600));
            assert_eq!(
                policy.lockout.map(|lockout| (lockout.threshold, lockout.window_ms)),
                expected,
                "{attributes:?}"
            );
        }
        let lasts = |value: &str| {
            password_policy(&entry(&[("lockoutDuration", value)]), Duration::from_secs(600)).lockout_duration
        };
        assert_eq!(lasts("-18000000000"), Some(Duration::from_secs(1800)));
        assert_eq!(lasts("-9223372036854775808"), None, "until an administrator unlocks");
    }

    #[test]
    fn the_age_of_a_password_is_told_by_whichever_attribute_has_it() {
        let policy = PasswordPolicy { lockout_duration: None, max_age: None, lockout: None };
        let set = |attributes: &[(&str, &str)]| {
            account_state(&entry(attributes), &ppolicy(), &policy).expect("readable").password_set.map(Timestamp::secs)
        };
        assert_eq!(set(&[("pwdChangedTime", "20261121120000Z")]), Some(NOW.secs()));
        assert_eq!(set(&[("sambaPwdLastSet", "1795262400")]), Some(NOW.secs()));
        assert_eq!(set(&[("pwdLastSet", "134397360000000000")]), Some(1_795_262_400));
        assert_eq!(set(&[("shadowLastChange", "20778")]), Some(20_778 * 86_400));
        assert_eq!(set(&[]), None);
    }
}
