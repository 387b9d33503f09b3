//! What can go wrong between the gateway and a directory server, by blame.

use std::io;

use super::ber::BerError;
use super::server_url::ServerUrl;
use crate::identity::UnavailableCause;

/// Why an operation gave no result. A bind that the directory *answered* is a `BindAnswer`, never an error, even where
/// the answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LdapError {
    #[error("the name of {server} does not resolve")]
    NameResolution { server: ServerUrl, source: io::Error },
    #[error("no connection to {server}")]
    Connect { server: ServerUrl, source: io::Error },
    /// The handshake failed, or the certificate is not one that the connector trusts for this name.
    #[error("no verified TLS with {server}")]
    Tls { server: ServerUrl, source: io::Error },
    /// The server refuses StartTLS, or answers it out of order.
    #[error("{server} does not start TLS (result {code}: {diagnostic})")]
    StartTlsRefused { server: ServerUrl, code: u32, diagnostic: String },
    #[error("{server} did not answer the {doing} in time")]
    Deadline { server: ServerUrl, doing: &'static str },
    /// All connections of the pool stayed in use.
    #[error("no connection to {server} became free in time")]
    NoFreeConnection { server: ServerUrl },
    #[error("{server} closed the connection during the {doing}")]
    ConnectionLost { server: ServerUrl, doing: &'static str, source: Option<io::Error> },
    /// The server sent bytes that are not the protocol's; the connection is not used again.
    #[error("{server} answered the {doing} with something that is not LDAP")]
    Malformed { server: ServerUrl, doing: &'static str, source: BerError },
    /// The server sends more than was asked for, or more than any directory needs; the connection is not used again.
    #[error("{server} sent more than the {doing} allows: {what}")]
    TooMuch { server: ServerUrl, doing: &'static str, what: &'static str },
    /// The service account was refused.
    #[error("{server} refuses the service account (result {code}: {diagnostic})")]
    ServiceBind { server: ServerUrl, code: u32, diagnostic: String },
    /// A search was refused.
    #[error("{server} refuses the search (result {code}: {diagnostic})")]
    SearchRefused { server: ServerUrl, code: u32, diagnostic: String },
    /// A read that began and is incomplete: result 3 (time limit), 4 (size limit), 10 (referral) or 11 (administrative
    /// limit), or a continuation reference. What was read must not be taken for the whole.
    #[error("{server} broke the read off: {why}")]
    Aborted { server: ServerUrl, code: u32, why: &'static str },
    /// The server answered as if a critical control had not been asked.
    #[error("{server} does not answer the control for {control}")]
    ControlIgnored { server: ServerUrl, control: &'static str },
    /// The connection has failed before, or an operation on it was given up.
    #[error("the connection to {server} is not usable any more")]
    Closed { server: ServerUrl },
}

impl LdapError {
    /// The cause of unavailability that this error is (design D4).
    pub fn cause(&self) -> UnavailableCause {
        match self {
            Self::NameResolution { .. } => UnavailableCause::NameResolution,
            Self::Connect { .. } => UnavailableCause::Connect,
            Self::StartTlsRefused { code: BUSY, .. }
            | Self::ServiceBind { code: BUSY, .. }
            | Self::SearchRefused { code: BUSY, .. } => UnavailableCause::Busy,
            Self::StartTlsRefused { code: UNAVAILABLE, .. }
            | Self::ServiceBind { code: UNAVAILABLE, .. }
            | Self::SearchRefused { code: UNAVAILABLE, .. } => UnavailableCause::ServerUnavailable,
            Self::Tls { .. } | Self::StartTlsRefused { .. } => UnavailableCause::Tls,
            Self::Deadline { .. } | Self::NoFreeConnection { .. } => UnavailableCause::Deadline,
            Self::ConnectionLost { .. } | Self::Malformed { .. } | Self::Closed { .. } => {
                UnavailableCause::ConnectionLost
            }
            Self::ServiceBind { .. } => UnavailableCause::ServiceBind,
            Self::SearchRefused { .. } | Self::Aborted { .. } | Self::TooMuch { .. } | Self::ControlIgnored { .. } => {
                UnavailableCause::Search
            }
        }
    }

    /// The account's own password was refused. It is tried at no other server: each would count against the account.
    pub fn refuses_account(&self) -> bool {
        matches!(self, Self::ServiceBind { code: INVALID_CREDENTIALS, .. })
    }

    /// The server that was asked.
    pub fn server(&self) -> &ServerUrl {
        match self {
            Self::NameResolution { server, .. }
            | Self::Connect { server, .. }
            | Self::Tls { server, .. }
            | Self::StartTlsRefused { server, .. }
            | Self::Deadline { server, .. }
            | Self::NoFreeConnection { server }
            | Self::ConnectionLost { server, .. }
            | Self::Malformed { server, .. }
            | Self::TooMuch { server, .. }
            | Self::ServiceBind { server, .. }
            | Self::SearchRefused { server, .. }
            | Self::Aborted { server, .. }
            | Self::ControlIgnored { server, .. }
            | Self::Closed { server } => server,
        }
    }
}

/// LDAP results 49, 51 and 52 (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
pub(super) const BUSY: u32 = 51;
pub(super) const UNAVAILABLE: u32 = 52;
