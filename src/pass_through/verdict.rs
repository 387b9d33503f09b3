//! From the answer to a bind to a verdict, or to the closed list of unavailability (design D4).

use super::state::LiveState;
use crate::config::Dialect;
use crate::identity::{Refusal, Timestamp, UnavailableCause, Verdict};
use crate::ldap::{AdSubCode, BindAnswer, PolicyError, PolicyResponse};

/// LDAP result codes (RFC 4511, appendix A).
mod code {
    pub const SUCCESS: u32 = 0;
    pub const CONSTRAINT_VIOLATION: u32 = 19;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub const INVALID_CREDENTIALS: u32 = 49;
    pub const BUSY: u32 = 51;
    pub const UNAVAILABLE: u32 = 52;
    pub const UNWILLING_TO_PERFORM: u32 = 53;
}

/// What the directory's answer to a bind means by itself.
pub fn of_bind(dialect: Dialect, answer: &BindAnswer) -> Result<Verdict, UnavailableCause> {
    let refused = |refusal| Ok(Verdict::Refused(refusal));
    match answer.code {
        code::SUCCESS => Ok(of_success(answer.policy.as_ref())),
        code::BUSY => Err(UnavailableCause::Busy),
        code::UNAVAILABLE => Err(UnavailableCause::ServerUnavailable),
        code::INVALID_CREDENTIALS => refused(of_invalid_credentials(dialect, answer)),
        // The entry went between the read and the bind.
        code::NO_SUCH_OBJECT => refused(Refusal::NotInDirectory),
        // The entry has no password.
        code::INAPPROPRIATE_AUTHENTICATION => refused(Refusal::WrongPassword),
        // 389 Directory Server: too many tries; inactivated, or inactive for too long.
        code::CONSTRAINT_VIOLATION if dialect == Dialect::Ds389 => refused(Refusal::LockedOut),
        code::UNWILLING_TO_PERFORM if dialect == Dialect::Ds389 => refused(Refusal::Disabled),
        unknown => match policy_error(answer) {
            Some(PolicyError::AccountLocked) => refused(Refusal::LockedOut),
            _ => refused(Refusal::RefusedUnknown(unknown)),
        },
    }
}

/// A bind that succeeded proves the password; the policy response may still forbid its use. A grace bind is there for
/// changing the password, which expired: it admits nobody.
fn of_success(policy: Option<&PolicyResponse>) -> Verdict {
    let Some(policy) = policy else { return Verdict::Verified };
    match policy.error {
        None if policy.grace_binds_left.is_some() => Verdict::Refused(Refusal::PasswordExpired),
        None => Verdict::Verified,
        Some(PolicyError::PasswordExpired) => Verdict::Refused(Refusal::PasswordExpired),
        Some(PolicyError::ChangeAfterReset) => Verdict::Refused(Refusal::MustChangePassword),
        Some(PolicyError::AccountLocked) => Verdict::Refused(Refusal::LockedOut),
        Some(other) => Verdict::Refused(Refusal::RefusedUnknown(policy_code(other))),
    }
}

fn of_invalid_credentials(dialect: Dialect, answer: &BindAnswer) -> Refusal {
    if dialect == Dialect::ActiveDirectory {
        return AdSubCode::parse(&answer.diagnostic).map_or(Refusal::WrongPassword, of_sub_code);
    }
    match policy_error(answer) {
        Some(PolicyError::AccountLocked) => Refusal::LockedOut,
        // Told only once the password was compared and right.
        Some(PolicyError::PasswordExpired) => Refusal::PasswordExpired,
        _ => Refusal::WrongPassword,
    }
}

fn of_sub_code(sub_code: AdSubCode) -> Refusal {
    match sub_code {
        AdSubCode::NoSuchUser => Refusal::NotInDirectory,
        AdSubCode::LogonFailure => Refusal::WrongPassword,
        AdSubCode::InvalidLogonHours => Refusal::OutsideLogonHours,
        AdSubCode::InvalidWorkstation => Refusal::WorkstationNotAllowed,
        AdSubCode::PasswordExpired => Refusal::PasswordExpired,
        AdSubCode::AccountDisabled => Refusal::Disabled,
        AdSubCode::AccountExpired => Refusal::Expired,
        AdSubCode::PasswordMustChange => Refusal::MustChangePassword,
        AdSubCode::AccountLockedOut => Refusal::LockedOut,
        AdSubCode::AccountRestriction => Refusal::RefusedUnknown(0x52f),
        AdSubCode::TooManyContextIds => Refusal::RefusedUnknown(0x568),
        AdSubCode::Unknown(code) => Refusal::RefusedUnknown(code),
    }
}

/// The verdict on an account: its state as read live, and what the bind gave. A state that refuses is a definite no,
/// whatever the bind gave, and also when it gave nothing.
pub fn of_account(
    state: &LiveState,
    bind: Result<Verdict, UnavailableCause>,
    now: Timestamp,
) -> Result<Verdict, UnavailableCause> {
    if let Some(refusal) = state.refusal(now) {
        return Ok(Verdict::Refused(refusal));
    }
    match bind {
        Ok(Verdict::Refused(Refusal::WrongPassword)) if state.is_locked(now) => {
            Ok(Verdict::Refused(Refusal::LockedOut))
        }
        other => other,
    }
}

fn policy_error(answer: &BindAnswer) -> Option<PolicyError> {
    answer.policy.as_ref().and_then(|policy| policy.error)
}

/// The number of a policy error (draft-behera-ldap-password-policy-10, section 6.2), for the audit.
fn policy_code(error: PolicyError) -> u32 {
    match error {
        PolicyError::PasswordExpired => 0,
        PolicyError::AccountLocked => 1,
        PolicyError::ChangeAfterReset => 2,
        PolicyError::PasswordModNotAllowed => 3,
        PolicyError::MustSupplyOldPassword => 4,
        PolicyError::InsufficientPasswordQuality => 5,
        PolicyError::PasswordTooShort => 6,
        PolicyError::PasswordTooYoung => 7,
        PolicyError::PasswordInHistory => 8,
        PolicyError::Unknown(code) => code,
        PolicyError::Unreadable => u32::MAX,
    }
}

#[cfg(test)]
mod tests;
