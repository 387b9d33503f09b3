//! The password-policy control (draft-behera-ldap-password-policy-10, section 6), and the two older controls that
//! 389 Directory Server and its relatives send for the same purpose.

use super::ber::{BerError, Reader, unsigned};
use super::response::Control;

pub const PASSWORD_POLICY_OID: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
/// "Password expired", sent with a bind that succeeds only so that the password can be changed.
const NETSCAPE_EXPIRED_OID: &str = "2.16.840.1.113730.3.4.4";

/// What a directory told about the password beside the result of a bind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyResponse {
    pub error: Option<PolicyError>,
    /// Seconds until the password expires.
    pub time_before_expiration: Option<u32>,
    /// Binds that are left with an expired password.
    pub grace_binds_left: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyError {
    PasswordExpired,
    AccountLocked,
    ChangeAfterReset,
    PasswordModNotAllowed,
    MustSupplyOldPassword,
    InsufficientPasswordQuality,
    PasswordTooShort,
    PasswordTooYoung,
    PasswordInHistory,
    /// A code that this version does not know.
    Unknown(u32),
    /// The control came and could not be read; whoever decides must refuse (design D12).
    Unreadable,
}

impl PolicyResponse {
    /// The policy response among the controls of a bind response.
    pub(super) fn find(controls: &[Control]) -> Option<Self> {
        let with = |oid: &str| controls.iter().find(|control| control.oid == oid);
        let expired = with(NETSCAPE_EXPIRED_OID).map(|_| PolicyError::PasswordExpired);
        let Some(control) = with(PASSWORD_POLICY_OID) else {
            return expired.map(|error| Self { error: Some(error), ..Self::default() });
        };
        let read = control.value.as_deref().ok_or(BerError("a policy control without value")).and_then(parse);
        let mut found = read.unwrap_or(Self { error: Some(PolicyError::Unreadable), ..Self::default() });
        // Both may come, and either may be the one that forbids.
        found.error = found.error.or(expired);
        Some(found)
    }
}

fn parse(value: &[u8]) -> Result<PolicyResponse, BerError> {
    let mut outer = Reader::new(value);
    let mut fields = outer.constructed(super::ber::SEQUENCE)?;
    let mut response = PolicyResponse::default();
    if let Some(warning) = fields.optional(0xa0)? {
        let mut warning = Reader::new(warning);
        match warning.element()? {
            (0x80, seconds) => response.time_before_expiration = Some(unsigned(seconds)?),
            (0x81, binds) => response.grace_binds_left = Some(unsigned(binds)?),
            _ => return Err(BerError("a policy warning of another kind")),
        }
    }
    if let Some(error) = fields.optional(0x81)? {
        response.error = Some(match unsigned(error)? {
            0 => PolicyError::PasswordExpired,
            1 => PolicyError::AccountLocked,
            2 => PolicyError::ChangeAfterReset,
            3 => PolicyError::PasswordModNotAllowed,
            4 => PolicyError::MustSupplyOldPassword,
            5 => PolicyError::InsufficientPasswordQuality,
            6 => PolicyError::PasswordTooShort,
            7 => PolicyError::PasswordTooYoung,
            8 => PolicyError::PasswordInHistory,
            other => PolicyError::Unknown(other),
        });
    }
    if fields.is_empty() { Ok(response) } else { Err(BerError("a policy control with more than its fields")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(value: &[u8]) -> Option<PolicyResponse> {
        PolicyResponse::find(&[Control { oid: PASSWORD_POLICY_OID.to_owned(), value: Some(value.to_vec()) }])
    }

    #[test]
    fn errors_and_warnings_are_read() {
        let empty = PolicyResponse::default();
        assert_eq!(find(&[0x30, 0]), Some(empty.clone()));
        assert_eq!(
            find(&[0x30, 3, 0x81, 1, 1]),
            Some(PolicyResponse { error: Some(PolicyError::AccountLocked), ..empty.clone() })
        );
        assert_eq!(
            find(&[0x30, 8, 0xa0, 3, 0x81, 1, 2, 0x81, 1, 0]),
            Some(PolicyResponse {
                error: Some(PolicyError::PasswordExpired),
                grace_binds_left: Some(2),
                ..empty.clone()
            })
        );
        assert_eq!(
            find(&[0x30, 6, 0xa0, 4, 0x80, 2, 0x0e, 0x10]),
            Some(PolicyResponse { time_before_expiration: Some(3600), ..empty })
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_as_unreadable() {
        for value in [&[][..], &[0x30, 3, 0x81, 1], &[0x30, 2, 0x81, 0], &[0x30, 2, 0x05, 0], &[0x04, 0]] {
            assert_eq!(find(value).and_then(|found| found.error), Some(PolicyError::Unreadable), "{value:02x?}");
        }
        let without = Control { oid: PASSWORD_POLICY_OID.to_owned(), value: None };
        assert_eq!(PolicyResponse::find(&[without]).and_then(|found| found.error), Some(PolicyError::Unreadable));
    }

    #[test]
    fn an_expiry_told_by_the_older_control_is_not_hidden_by_a_silent_policy_response() {
        let silent = Control { oid: PASSWORD_POLICY_OID.to_owned(), value: Some(vec![0x30, 0]) };
        let expired = Control { oid: NETSCAPE_EXPIRED_OID.to_owned(), value: Some(b"0".to_vec()) };
        let found = PolicyResponse::find(&[silent, expired]).and_then(|found| found.error);
        assert_eq!(found, Some(PolicyError::PasswordExpired));
    }

    #[test]
    fn no_control_is_no_response() {
        assert_eq!(PolicyResponse::find(&[]), None);
        let other = Control { oid: "1.2.3".to_owned(), value: None };
        assert_eq!(PolicyResponse::find(&[other]), None);
    }
}
