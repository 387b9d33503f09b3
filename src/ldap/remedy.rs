//! What an operator can do about a directory server that does not serve.

use super::ad_diagnostic::AdSubCode;
use super::error::LdapError;
use crate::identity::causes;

/// RFC 4511, appendix A.
const INVALID_CREDENTIALS: u32 = 49;
const WRONG: &str = "the name or the password is wrong: check bind_dn and bind_password_file";

impl LdapError {
    /// What failed and why, and what to do.
    pub fn told(&self) -> String {
        format!("{}; {}", causes(self), self.remedy())
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NameResolution { .. } => "check the name in servers, and the resolver of this machine".to_owned(),
            Self::Connect { server, .. } => {
                format!("check that the server runs, and open TCP {} to it", server.port())
            }
            Self::Tls { .. } => {
                "check that ca_file holds the authority of the server's certificate, and that the certificate bears the \
                 name in servers"
                    .to_owned()
            }
            Self::StartTlsRefused { .. } => "give the server a certificate, or use ldaps".to_owned(),
            Self::ServiceBind { code, diagnostic, .. } => match AdSubCode::parse(diagnostic) {
                Some(AdSubCode::LogonFailure | AdSubCode::NoSuchUser) => WRONG.to_owned(),
                Some(AdSubCode::PasswordExpired | AdSubCode::PasswordMustChange) => {
                    "the password is right and has expired: set a new one, and let it not expire".to_owned()
                }
                Some(AdSubCode::AccountDisabled) => "the account is disabled: enable it".to_owned(),
                Some(AdSubCode::AccountExpired) => "the account has expired: give it another end, or none".to_owned(),
                Some(AdSubCode::AccountLockedOut) => {
                    "the account is locked: unlock it, and find out who tries its password".to_owned()
                }
                Some(AdSubCode::InvalidLogonHours | AdSubCode::InvalidWorkstation) => {
                    "lift the account's logon hours and workstations".to_owned()
                }
                None if *code == INVALID_CREDENTIALS => WRONG.to_owned(),
                Some(AdSubCode::AccountRestriction | AdSubCode::TooManyContextIds | AdSubCode::Unknown(_)) | None => {
                    "read the server's log for the reason".to_owned()
                }
            },
            Self::Deadline { .. }
            | Self::NoFreeConnection { .. }
            | Self::ConnectionLost { .. }
            | Self::Closed { .. } => "check the load of the server and the network to it".to_owned(),
            Self::Malformed { .. } | Self::TooMuch { .. } | Self::ControlIgnored { .. } => {
                "check that the name leads to a directory server; if it does, report it as a fault".to_owned()
            }
            Self::SearchRefused { .. } | Self::Aborted { .. } => {
                "check what the account may read there".to_owned()
            }
        }
    }
}
