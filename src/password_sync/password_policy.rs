//! Password policies as directories write them: OpenLDAP (draft-behera-ldap-password-policy-10, section 5.2), 389 Directory
//! Server, and Active Directory with its fine-grained ones (MS-ADA1 lockoutThreshold, MS-ADA2 msDS-LockoutThreshold).

use std::time::Duration;

use super::account_state::PasswordPolicy;
use crate::identity::DirectoryLockout;
use crate::ldap::Entry;

pub(super) const POLICY_ATTRIBUTES: [&str; 16] = [
    "pwdLockoutDuration",
    "pwdMaxAge",
    "pwdLockout",
    "pwdMaxFailure",
    "pwdFailureCountInterval",
    "passwordLockout",
    "passwordMaxFailure",
    "passwordResetFailureCount",
    "passwordLockoutDuration",
    "passwordUnlock",
    "lockoutThreshold",
    "lockOutObservationWindow",
    "lockoutDuration",
    "msDS-LockoutThreshold",
    "msDS-LockoutObservationWindow",
    "msDS-LockoutDuration",
];

/// Wrong passwords count for at least this long where a directory says that it never forgets them.
const NEVER_FORGOTTEN: Duration = Duration::from_secs(7 * 86_400);

/// The policy of a policy entry; what it leaves out comes from the connector's settings.
pub fn password_policy(entry: &Entry, lockout_duration: Duration) -> PasswordPolicy {
    let policy = Policy(entry);
    PasswordPolicy {
        lockout_duration: policy.lockout_duration().unwrap_or(Some(lockout_duration)),
        max_age: policy.seconds("pwdmaxage").filter(|age| !age.is_zero()),
        lockout: policy.lockout(),
    }
}

struct Policy<'a>(&'a Entry);

impl Policy<'_> {
    fn number(&self, name: &str) -> Option<u32> {
        self.0.text(name).and_then(|text| text.parse().ok())
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.0.text(name).and_then(|text| text.parse().ok()).map(Duration::from_secs)
    }

    /// A negative number of 100 ns (MS-ADA1 lockoutDuration). `Some(None)`: for good.
    fn interval(&self, name: &str) -> Option<Option<Duration>> {
        let steps: i64 = self.0.text(name)?.parse().ok()?;
        let lasts = (steps != i64::MIN && steps != 0).then(|| Duration::from_micros(steps.unsigned_abs() / 10));
        Some(lasts)
    }

    fn is(&self, name: &str, word: &str) -> Option<bool> {
        self.0.text(name).map(|text| text.eq_ignore_ascii_case(word))
    }

    /// How long a lock lasts; `Some(None)` until an administrator unlocks.
    fn lockout_duration(&self) -> Option<Option<Duration>> {
        // 0 means until an administrator unlocks.
        let lasting = |name: &str| self.seconds(name).map(|lasts| (!lasts.is_zero()).then_some(lasts));
        lasting("pwdlockoutduration")
            .or_else(|| (self.is("passwordunlock", "off") == Some(true)).then_some(None))
            .or_else(|| lasting("passwordlockoutduration"))
            .or_else(|| self.interval("msds-lockoutduration"))
            .or_else(|| self.interval("lockoutduration"))
    }

    /// `None` where the policy never locks, or does not tell.
    fn lockout(&self) -> Option<DirectoryLockout> {
        let (threshold, window) = self.counting()?;
        let window = window.filter(|window| !window.is_zero()).unwrap_or(NEVER_FORGOTTEN);
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        (threshold > 0).then_some(DirectoryLockout { threshold, window_ms })
    }

    fn counting(&self) -> Option<(u32, Option<Duration>)> {
        let counted = |on: Option<bool>, most: &str, window: &str| {
            let threshold = if on? { self.number(most).unwrap_or(0) } else { 0 };
            Some((threshold, self.seconds(window)))
        };
        let steps = |most: &str, window: &str| Some((self.number(most)?, self.interval(window).flatten()));
        counted(self.is("pwdlockout", "TRUE"), "pwdmaxfailure", "pwdfailurecountinterval")
            .or_else(|| counted(self.is("passwordlockout", "on"), "passwordmaxfailure", "passwordresetfailurecount"))
            .or_else(|| steps("msds-lockoutthreshold", "msds-lockoutobservationwindow"))
            .or_else(|| steps("lockoutthreshold", "lockoutobservationwindow"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn policy(attributes: &[(&str, &str)]) -> PasswordPolicy {
        let attributes: BTreeMap<String, Vec<Vec<u8>>> = attributes
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), vec![value.as_bytes().to_vec()]))
            .collect();
        let entry = Entry { dn: "cn=policy".parse().expect("a name"), attributes };
        password_policy(&entry, Duration::from_secs(600))
    }

    #[test]
    fn each_directory_tells_when_it_locks() {
        let lockout = |threshold, seconds: i64| Some(DirectoryLockout { threshold, window_ms: seconds * 1000 });
        let rows: [(&[(&str, &str)], _, _); 8] = [
            (
                &[("pwdLockout", "TRUE"), ("pwdMaxFailure", "5"), ("pwdFailureCountInterval", "900")],
                lockout(5, 900),
                600,
            ),
            (&[("pwdLockout", "FALSE"), ("pwdMaxFailure", "5")], None, 600),
            (&[("pwdMaxAge", "0")], None, 600),
            (
                &[
                    ("passwordLockout", "on"),
                    ("passwordMaxFailure", "3"),
                    ("passwordResetFailureCount", "600"),
                    ("passwordLockoutDuration", "3600"),
                ],
                lockout(3, 600),
                3600,
            ),
            (&[("passwordLockout", "off"), ("passwordMaxFailure", "3")], None, 600),
            (
                &[
                    ("lockoutThreshold", "10"),
                    ("lockOutObservationWindow", "-18000000000"),
                    ("lockoutDuration", "-36000000000"),
                ],
                lockout(10, 1800),
                3600,
            ),
            (&[("msDS-LockoutThreshold", "4"), ("msDS-LockoutObservationWindow", "-6000000000")], lockout(4, 600), 600),
            (&[("lockoutThreshold", "many")], None, 600),
        ];
        for (attributes, expected, lasts) in rows {
            let policy = policy(attributes);
            assert_eq!(policy.lockout, expected, "{attributes:?}");
            assert_eq!(policy.lockout_duration, Some(Duration::from_secs(lasts)), "{attributes:?}");
        }
        assert_eq!(policy(&[("lockoutDuration", "-9223372036854775808")]).lockout_duration, None, "for good");
        assert_eq!(policy(&[("passwordUnlock", "off"), ("passwordLockoutDuration", "5")]).lockout_duration, None);
    }
}
