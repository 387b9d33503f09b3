//! A verdict is not an outage (design D4): the two answers that a password check can give, kept apart by type.

use serde::{Deserialize, Serialize};

/// What came of asking an authority about a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The authority decided. Final: nothing overrules it.
    Verdict(Verdict),
    /// The authority could not be asked, or did not answer.
    Unavailable(Unavailable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Verified,
    Refused(Refusal),
}

/// Why an authority said no. Users never see which (design D12); audit and administrators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The name is not in the tenant directory.
    UnknownUser,
    /// The password is not the user's; also what directories answer for anything they will not tell.
    WrongPassword,
    /// The live read found no entry for the user's anchor.
    NotInDirectory,
    Disabled,
    /// The account has ended (`accountExpires`, `shadowExpire`).
    Expired,
    LockedOut,
    PasswordExpired,
    MustChangePassword,
    OutsideLogonHours,
    WorkstationNotAllowed,
    /// The directory still took a previous password within its window (design section 3, the live check).
    OldPasswordWindow,
    /// No usable stored credential: none synchronised, wiped, or quarantined.
    NoCredential,
    /// An answer that this version does not know; refused, alarmed, not counted toward lockout.
    RefusedUnknown(u32),
}

impl Refusal {
    /// The stable word for audit rows and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown-user",
            Self::WrongPassword => "wrong-password",
            Self::NotInDirectory => "not-in-directory",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::LockedOut => "locked-out",
            Self::PasswordExpired => "password-expired",
            Self::MustChangePassword => "must-change-password",
            Self::OutsideLogonHours => "outside-logon-hours",
            Self::WorkstationNotAllowed => "workstation-not-allowed",
            Self::OldPasswordWindow => "old-password-window",
            Self::NoCredential => "no-credential",
            Self::RefusedUnknown(_) => "refused-unknown",
        }
    }

    /// The refusal of a stored code; one that this version does not know is an unknown refusal.
    pub fn from_code(code: &str) -> Self {
        const NAMED: [Refusal; 12] = [
            Refusal::UnknownUser,
            Refusal::WrongPassword,
            Refusal::NotInDirectory,
            Refusal::Disabled,
            Refusal::Expired,
            Refusal::LockedOut,
            Refusal::PasswordExpired,
            Refusal::MustChangePassword,
            Refusal::OutsideLogonHours,
            Refusal::WorkstationNotAllowed,
            Refusal::OldPasswordWindow,
            Refusal::NoCredential,
        ];
        NAMED.into_iter().find(|refusal| refusal.code() == code).unwrap_or(Self::RefusedUnknown(0))
    }
}

/// The authority gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub cause: UnavailableCause,
    /// Whether the password may have reached the directory: decides what becomes of the lockout reservation.
    pub wire: Wire,
    /// The server last asked, for audit and alerts.
    pub server: Option<String>,
}

/// The closed list of causes (design D4). What is not on it is a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnavailableCause {
    NameResolution,
    Connect,
    Tls,
    Deadline,
    ConnectionLost,
    /// LDAP result 51.
    Busy,
    /// LDAP result 52.
    ServerUnavailable,
    /// The gateway's own service account could not bind.
    ServiceBind,
    /// The gateway's own search failed.
    Search,
    NoAgent,
    /// A stored credential that its key ring does not open (design D7): never a wrong password.
    CredentialUnreadable,
    /// No permit for a key derivation within the deadline.
    Overloaded,
}

impl UnavailableCause {
    pub const ALL: [Self; 12] = [
        Self::NameResolution,
        Self::Connect,
        Self::Tls,
        Self::Deadline,
        Self::ConnectionLost,
        Self::Busy,
        Self::ServerUnavailable,
        Self::ServiceBind,
        Self::Search,
        Self::NoAgent,
        Self::CredentialUnreadable,
        Self::Overloaded,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::NameResolution => "name-resolution",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Deadline => "deadline",
            Self::ConnectionLost => "connection-lost",
            Self::Busy => "busy",
            Self::ServerUnavailable => "server-unavailable",
            Self::ServiceBind => "service-bind",
            Self::Search => "search",
            Self::NoAgent => "no-agent",
            Self::CredentialUnreadable => "credential-unreadable",
            Self::Overloaded => "overloaded",
        }
    }
}

/// Whether a password left for the directory before the authority became unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Proof that nothing was sent: the lockout reservation goes back.
    NothingSent,
    /// A bind was, or may have been, sent: the reservation stays until a late answer settles it.
    MaybeSent,
}
