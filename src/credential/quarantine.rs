//! Why a source's value does not become a stored password.

/// The reason that one account's credential is set aside. Its text is for administrators and holds nothing of the
/// value: neither hash, nor salt, nor a scheme name that could be the beginning of a password in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Quarantine {
    #[error("the value names a scheme that is not supported ({0})")]
    UnsupportedScheme(&'static str),
    #[error("the value names a scheme that is not known")]
    UnknownScheme,
    #[error("the {scheme} value is malformed: {fault}")]
    Malformed { scheme: &'static str, fault: &'static str },
    #[error("the value is longer than any known hash")]
    TooLong,
    #[error("checking the {scheme} hash would take longer than 500 ms")]
    TooSlow { scheme: &'static str },
    #[error("checking the {scheme} hash would take more than 256 MiB of memory")]
    TooMuchMemory { scheme: &'static str },
    #[error("the password is stored in the clear, which this connector does not accept")]
    ClearText,
    #[error("the password stored in the clear is one that nobody can sign in with")]
    UnusableClearText,
    #[error("the value says that no password can match it")]
    NoPassword,
    #[error("the entry leaves the check to another system (SASL)")]
    Delegated,
    #[error("the entry has no password value")]
    Absent,
}

impl Quarantine {
    /// The stable word for reports and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnsupportedScheme(_) => "unsupported-scheme",
            Self::UnknownScheme => "unknown-scheme",
            Self::Malformed { .. } => "malformed",
            Self::TooLong => "too-long",
            Self::TooSlow { .. } => "too-slow",
            Self::TooMuchMemory { .. } => "too-much-memory",
            Self::ClearText => "clear-text",
            Self::UnusableClearText => "unusable-clear-text",
            Self::NoPassword => "no-password",
            Self::Delegated => "delegated",
            Self::Absent => "absent",
        }
    }
}
