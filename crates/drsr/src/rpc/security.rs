//! What an association needs of a security provider.

use std::io;

use async_trait::async_trait;

use crate::decryption::SessionKey;
use crate::error::{Error, Port};

/// One end of an authenticated connection: first legs that go to and fro, then sealed fragments.
#[async_trait]
pub(crate) trait SecurityContext: Send {
    /// Its number in security trailers (MS-RPCE 2.2.1.1.7).
    fn provider(&self) -> u8;

    /// The next leg, from the server's last token; the first time there is none.
    async fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError>;

    /// How long the token of a sealed fragment is, once the legs are done.
    fn token_length(&self) -> usize;

    /// Encrypts the body in place and writes the token. Head and trailer are signed with it.
    fn seal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError>;

    /// Verifies everything and decrypts the body in place.
    fn unseal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError>;

    fn session_key(&self) -> Result<SessionKey, SecurityError>;
}

/// What the client sends next.
#[derive(Debug)]
pub(crate) enum Leg {
    /// To be answered with a token.
    Answered(Vec<u8>),
    /// The last one, to which no token comes back.
    Last(Vec<u8>),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error("a signature is wrong")]
    Signature,
    #[error("the password or the account is refused")]
    Refused,
    #[error("the account has no key of a type that is used here")]
    NoCommonEncryption,
    #[error("the password has expired")]
    PasswordExpired,
    #[error("the clocks differ")]
    ClockSkew,
    #[error("the ticket service cannot be reached")]
    Unreachable { port: Port, source: io::Error },
    #[error("{0}")]
    Failed(String),
}

impl SecurityError {
    /// What it means for a sign-in of `account` at `controller`.
    pub(crate) fn told(self, controller: String, account: String) -> Error {
        match self {
            Self::Signature => Error::Tampered { controller },
            Self::Refused => Error::LogonFailure { controller, account },
            Self::NoCommonEncryption => Error::NoCommonEncryption { controller, account },
            Self::PasswordExpired => Error::PasswordExpired { controller, account },
            Self::ClockSkew => Error::ClockSkew { controller },
            Self::Unreachable { port, source } => Error::Unreachable { controller, port, source },
            Self::Failed(reason) => Error::SignInFailed { controller, account, reason },
        }
    }
}
