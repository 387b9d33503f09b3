//! What can go wrong, each with what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::prefix_table::UnknownPrefix;

/// A call that did not succeed. The text says what failed; [`Error::remedy`] what an operator can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{controller}: {port} cannot be reached")]
    Unreachable {
        controller: String,
        port: Port,
        #[source]
        source: io::Error,
    },
    #[error("{controller}: no answer within {deadline:?} while {doing}")]
    Deadline { controller: String, doing: &'static str, deadline: Duration },
    /// The server ended or restarted. A pass goes on from the last page's cursor on a new connection.
    #[error("{controller}: the connection was lost while {doing}")]
    ConnectionLost {
        controller: String,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// An earlier call failed, or was given up before its answer came; nothing can be asked on this connection any more.
    #[error("{controller}: the connection cannot be used after an earlier failure")]
    Unusable { controller: String },
    #[error("{controller}: the endpoint mapper knows no directory replication there")]
    NotAController { controller: String },
    #[error("{controller}: the sign-in of {account} was refused")]
    LogonFailure { controller: String, account: String },
    /// Kerberos alone: the directory has no AES key of the account, or is told not to use it.
    #[error("{controller}: {account} has no Kerberos key of a type that is used here (AES)")]
    NoCommonEncryption { controller: String, account: String },
    #[error("{controller}: the password of {account} has expired or must be changed")]
    PasswordExpired { controller: String, account: String },
    #[error("{controller}: the clock differs too much from the one here")]
    ClockSkew { controller: String },
    #[error("{controller}: the sign-in of {account} could not be completed: {reason}")]
    SignInFailed { controller: String, account: String, reason: String },
    #[error("{controller}: the server declines the connection: {reason}")]
    Declined { controller: String, reason: &'static str },
    #[error(
        "{controller}: {account} may not replicate passwords from {naming_context}; it lacks one of the rights {0} and {1}",
        ReplicationRight::GetChanges,
        ReplicationRight::GetChangesAll
    )]
    AccessDenied { controller: String, account: String, naming_context: String },
    #[error("{controller}: {name} is not the head of a naming context that this server holds")]
    NotANamingContext { controller: String, name: String },
    #[error("{controller}: replication from this server is switched off")]
    SourceDisabled { controller: String },
    #[error("{controller}: the server cannot replicate {missing}")]
    Unsupported { controller: String, missing: &'static str },
    #[error("{controller}: {call} was refused with Windows error {code}")]
    Refused { controller: String, call: &'static str, code: u32 },
    #[error("{controller}: {call} ended in fault {status:#010x}")]
    Fault { controller: String, call: &'static str, status: u32 },
    /// Somebody may be tampering with the connection: what was received is not what the server sealed.
    #[error("{controller}: an answer has a wrong or missing signature")]
    Tampered { controller: String },
    #[error("{controller}: unexpected answer while {doing}: {what}")]
    Unexpected { controller: String, doing: &'static str, what: &'static str },
    #[error("{controller}: the answer to {call} cannot be read")]
    Malformed {
        controller: String,
        call: &'static str,
        #[source]
        source: MalformedReply,
    },
    #[error("{controller}: the answer to {call} is larger than {limit} bytes")]
    TooLarge { controller: String, call: &'static str, limit: usize },
    #[error(
        "{controller}: there is always more to tell: {pages} pages and {bytes} bytes so far, which is more than any domain has"
    )]
    Endless { controller: String, pages: u32, bytes: u64 },
    #[error("{controller}: an attribute of the answer cannot be named")]
    Attribute {
        controller: String,
        #[source]
        source: UnknownPrefix,
    },
}

/// Bytes that do not have the form they should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct MalformedReply {
    pub what: &'static str,
    pub at: usize,
}

/// A port of a domain controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    EndpointMapper(u16),
    Replication(u16),
    Kerberos(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndpointMapper(port) => write!(f, "TCP port {port} (RPC endpoint mapper)"),
            Self::Replication(port) => write!(f, "TCP port {port} (RPC directory replication)"),
            Self::Kerberos(port) => write!(f, "TCP port {port} (Kerberos)"),
        }
    }
}

/// A right on the head of a naming context (MS-ADTS 5.1.3.2.1, control access rights).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationRight {
    GetChanges,
    GetChangesAll,
}

impl ReplicationRight {
    /// The GUID by which access control entries name the right.
    pub fn guid(self) -> &'static str {
        match self {
            Self::GetChanges => "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2",
            Self::GetChangesAll => "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
        }
    }
}

impl fmt::Display for ReplicationRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GetChanges => "Replicating Directory Changes",
            Self::GetChangesAll => "Replicating Directory Changes All",
        })
    }
}

impl Error {
    /// What an operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable { port: Port::EndpointMapper(_), .. } => {
                "check the name and that the server runs; open TCP 135 and the dynamic RPC ports (49152-65535) to it".to_owned()
            }
            Self::Unreachable { port: Port::Replication(port), .. } => format!(
                "the endpoint mapper answered, so open TCP {port} too: the dynamic RPC ports (49152-65535), or the one port \
                 that the server's registry gives to NTDS"
            ),
            Self::Unreachable { port: Port::Kerberos(port), .. } => {
                format!("open TCP {port} to the server, or let the account sign in by NTLM")
            }
            Self::Deadline { .. } => "check the load of the server and the network to it, or allow more time".to_owned(),
            Self::ConnectionLost { .. } | Self::Unusable { .. } => {
                "try again; the pass goes on where it stopped. If it happens each time, read the server's event log".to_owned()
            }
            Self::NotAController { .. } => "name a domain controller of the domain".to_owned(),
            Self::LogonFailure { account, .. } => format!(
                "check the domain, name and password of {account}, and that it is not disabled, locked, expired or kept from \
                 signing in over the network; check that the domain admits NTLM"
            ),
            Self::NoCommonEncryption { account, .. } => format!(
                "set a new password for {account}, which makes its AES keys, and let its msDS-SupportedEncryptionTypes be empty \
                 or hold AES (24); RC4 is not used here"
            ),
            Self::PasswordExpired { account, .. } => {
                format!("set a new password for {account}, and let it not expire")
            }
            Self::ClockSkew { .. } => "set the clocks by one time source; five minutes are the most Kerberos admits".to_owned(),
            Self::SignInFailed { .. } => {
                "check that domain, server name and account are written as the directory has them".to_owned()
            }
            Self::Declined { .. } => "check that the server admits the authentication that is configured".to_owned(),
            Self::AccessDenied { naming_context, account, .. } => format!(
                "grant {account} both rights on {naming_context}: {} ({}) and {} ({})",
                ReplicationRight::GetChanges,
                ReplicationRight::GetChanges.guid(),
                ReplicationRight::GetChangesAll,
                ReplicationRight::GetChangesAll.guid()
            ),
            Self::NotANamingContext { .. } => {
                "give the distinguished name of the domain itself, such as DC=corp,DC=example, of this server's domain".to_owned()
            }
            Self::SourceDisabled { .. } => {
                "switch outbound replication on (repadmin /options SERVER -DISABLE_OUTBOUND_REPL), or name another server".to_owned()
            }
            Self::Unsupported { .. } => "use a writable domain controller of Windows Server 2008 or newer, or Samba 4".to_owned(),
            Self::Refused { .. } | Self::Fault { .. } => "look the code up and read the server's directory event log".to_owned(),
            Self::Tampered { .. } => {
                "find out what stands between here and the server; if nothing does, report it as a fault".to_owned()
            }
            Self::Unexpected { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::Endless { .. }
            | Self::Attribute { .. } => {
                "check that the name leads to a domain controller; if it does, report it as a fault".to_owned()
            }
        }
    }

    /// Whether another try may succeed without anybody doing anything, here or on another controller.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Deadline { .. } | Self::ConnectionLost { .. } | Self::Unusable { .. }
        )
    }
}
