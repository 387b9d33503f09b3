//! What can go wrong here that is nobody's request.

use super::key_set::SealFault;

/// The store behind the issuer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the issuer's store failed")]
pub struct StoreDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A fault of ours, never of the application.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error("the signing key `{kid}` could not be opened")]
    SealedKey { kid: String, source: SealFault },
    #[error("the signing key `{kid}` is not a key of its algorithm")]
    BrokenKey { kid: String },
    #[error("a signing key could not be made")]
    KeyGeneration,
    #[error("no signing key for {0} is active")]
    NoSigningKey(&'static str),
    #[error("signing failed")]
    Signing,
    #[error("the request kept with the sign-in transaction cannot be read")]
    StoredRequest,
}
