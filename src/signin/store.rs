//! What sign-in keeps: small traits by role, implemented in `store::signin`.

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the sign-in store could not be used")]
pub struct StoreDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);
