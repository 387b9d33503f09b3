//! What a directory's attributes say about an account: instants and schedules, never their results at this moment.
//!
//! Attributes of the password policies of OpenLDAP (draft-behera-ldap-password-policy-10), 389 Directory Server,
//! FreeIPA, RFC 2307 shadow accounts and Active Directory. An attribute that is there and cannot be read bars the
//! account: what is not understood must not let anybody in.

use std::time::Duration;

use chrono::NaiveDateTime;

use crate::config::DisabledTest;
use crate::identity::{AccountState, LogonHours, Timestamp};
use crate::ldap::Entry;

/// Attributes that tell an account's state, to be asked for by name because most are operational.
pub const STATE_ATTRIBUTES: [&str; 21] = [
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
];

/// What holds for all accounts under one password policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// How long a lock lasts; `None` until an administrator unlocks.
    pub lockout_duration: Option<Duration>,
    /// Age at which a password expires.
    pub max_age: Option<Duration>,
}

/// An attribute that cannot be read. Tells its name and never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {attribute} cannot be read, so the account is held as disabled")]
pub struct StateFault {
    pub attribute: &'static str,
}

/// `pwdAccountLockedTime` of an account that only an administrator unlocks (draft-behera, section 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";
/// The far future: later than any sign-in.
const NEVER: Timestamp = Timestamp::from_secs(253_402_300_799);
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
            None => Ok(false),
            Some(text) => {
                let number: i64 =
                    text.parse().map_err(|_| StateFault { attribute: "the disabled test's attribute" })?;
                Ok(number.cast_unsigned() & bit != 0)
            }
        },
    }
}

/// The policy of a policy entry; what it leaves out comes from the connector's settings.
pub fn password_policy(entry: &Entry, lockout_duration: Duration) -> PasswordPolicy {
    let seconds = |name: &str| entry.text(name).and_then(|text| text.parse::<u64>().ok()).map(Duration::from_secs);
    PasswordPolicy {
        // 0 means until an administrator unlocks.
        lockout_duration: seconds("pwdlockoutduration")
            .map_or(Some(lockout_duration), |lasts| (!lasts.is_zero()).then_some(lasts)),
        max_age: seconds("pwdmaxage").filter(|age| !age.is_zero()),
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

    /// Units of 100 ns since 1601; 0 and the largest number mean never (MS-ADA1 accountExpires).
    fn filetime(&self, attribute: &'static str) -> Result<Option<Timestamp>, StateFault> {
        let number = self.integer(attribute)?.filter(|number| *number != 0 && *number != i64::MAX);
        Ok(number.map(|number| Timestamp::from_millis(number.saturating_sub(UNIX_EPOCH_FILETIME) / 10_000)))
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
