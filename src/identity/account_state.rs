//! The account state that a directory holds for a user, stored as instants and schedules, never as their results.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::verdict::Refusal;

/// What the password channel knows of an account (design section 4: the second writer, `directory_state`).
/// Evaluated at the moment of sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountState {
    pub enabled: bool,
    /// The entry is gone from the source.
    pub deleted: bool,
    /// Locked until this instant; the far future when only an administrator unlocks.
    pub locked_until: Option<Timestamp>,
    pub account_expires: Option<Timestamp>,
    pub password_expires: Option<Timestamp>,
    pub must_change_password: bool,
    pub logon_hours: Option<LogonHours>,
    /// When the present password was set, as the source tells it.
    pub password_set: Option<Timestamp>,
    /// `None`: the directory never locks, or does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockout: Option<DirectoryLockout>,
}

/// The directory's own lockout of an account. It counts the wrong passwords of live checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryLockout {
    /// Wrong passwords that lock the account; at least 1.
    pub threshold: u32,
    /// Milliseconds after which it forgets a wrong password.
    pub window_ms: i64,
}

/// 21 bytes, one bit an hour of the week from Sunday 00:00 UTC, least significant bit first (MS-ADA1 logonHours).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogonHours([u8; 21]);

impl LogonHours {
    pub const fn new(bits: [u8; 21]) -> Self {
        Self(bits)
    }

    pub fn allows(&self, now: Timestamp) -> bool {
        // 1970-01-01 was a Thursday: four days after Sunday.
        let hour = (now.secs().div_euclid(3600) + 4 * 24).rem_euclid(168);
        let hour = usize::try_from(hour).unwrap_or(0);
        self.0[hour / 8] >> (hour % 8) & 1 == 1
    }
}

impl fmt::Debug for LogonHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogonHours({})", hex::encode(self.0))
    }
}

impl AccountState {
    /// An account without any limit.
    pub fn unrestricted() -> Self {
        Self {
            enabled: true,
            deleted: false,
            locked_until: None,
            account_expires: None,
            password_expires: None,
            must_change_password: false,
            logon_hours: None,
            password_set: None,
            lockout: None,
        }
    }

    /// Whether the state lets the account sign in at `now`; the first reason against it otherwise.
    pub fn evaluate(&self, now: Timestamp) -> Result<(), Refusal> {
        let reached = |instant: Option<Timestamp>| instant.is_some_and(|instant| instant <= now);
        if self.deleted {
            return Err(Refusal::NotInDirectory);
        }
        if !self.enabled {
            return Err(Refusal::Disabled);
        }
        if reached(self.account_expires) {
            return Err(Refusal::Expired);
        }
        if self.locked_until.is_some_and(|until| until > now) {
            return Err(Refusal::LockedOut);
        }
        if self.logon_hours.as_ref().is_some_and(|hours| !hours.allows(now)) {
            return Err(Refusal::OutsideLogonHours);
        }
        if self.must_change_password {
            return Err(Refusal::MustChangePassword);
        }
        if reached(self.password_expires) {
            return Err(Refusal::PasswordExpired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON_SUNDAY: Timestamp = Timestamp::from_secs(1_700_395_200); // 2023-11-19T12:00:00Z

    #[test]
    fn each_state_refuses_for_its_own_reason() {
        let now = NOON_SUNDAY;
        let base = AccountState::unrestricted;
        assert_eq!(base().evaluate(now), Ok(()));
        let rows = [
            (AccountState { enabled: false, ..base() }, Refusal::Disabled),
            (AccountState { deleted: true, ..base() }, Refusal::NotInDirectory),
            (AccountState { account_expires: Some(now), ..base() }, Refusal::Expired),
            (AccountState { locked_until: Some(now + Duration::from_millis(1)), ..base() }, Refusal::LockedOut),
            (AccountState { must_change_password: true, ..base() }, Refusal::MustChangePassword),
            (AccountState { password_expires: Some(now), ..base() }, Refusal::PasswordExpired),
            (AccountState { logon_hours: Some(LogonHours::new([0; 21])), ..base() }, Refusal::OutsideLogonHours),
        ];
        for (state, refusal) in rows {
            assert_eq!(state.evaluate(now), Err(refusal), "{state:?}");
        }
    }

    #[test]
    fn instants_that_have_passed_or_not_come_allow() {
        let now = NOON_SUNDAY;
        let state = AccountState {
            locked_until: Some(now),
            account_expires: Some(now + Duration::from_secs(1)),
            password_expires: Some(now + Duration::from_secs(1)),
            ..AccountState::unrestricted()
        };
        assert_eq!(state.evaluate(now), Ok(()));
    }

    #[test]
    fn logon_hours_count_from_sunday_midnight_utc() {
        let mut bits = [0; 21];
        bits[1] = 1 << 4; // Sunday, the hour from 12:00
        let hours = LogonHours::new(bits);
        assert!(hours.allows(NOON_SUNDAY));
        assert!(hours.allows(NOON_SUNDAY + Duration::from_secs(3599)));
        assert!(!hours.allows(NOON_SUNDAY + Duration::from_secs(3600)));
        assert!(!hours.allows(NOON_SUNDAY - Duration::from_secs(1)));
    }
}
