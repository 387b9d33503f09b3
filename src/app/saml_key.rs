//! The key that signs the gateway's SAML requests, kept as a sealed secret of the installation.

use std::time::Duration;

use super::installation::{Installation, InstallationError};
use super::key_pair;
use crate::identity::Timestamp;
use crate::saml::SigningKey;
use crate::saml::key::{KeyKind, SigningKeyError};

/// Partners pin the certificate; ten years as they are used to from service providers.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
const NAME: &str = "saml-signing-key";

#[derive(Debug, thiserror::Error)]
pub enum SamlKeyError {
    #[error("the SAML signing key cannot be made or read")]
    Key(#[from] SigningKeyError),
    #[error(transparent)]
    Installation(#[from] InstallationError),
    #[error("the stored SAML signing key is damaged")]
    Damaged,
}

/// Opens the key, or makes it at the first start.
pub async fn open(installation: &Installation, host: &str, now: Timestamp) -> Result<SigningKey, SamlKeyError> {
    let stored = match installation.stored_secret(NAME).await? {
        Some(stored) => stored,
        None => {
            let fresh = SigningKey::generate(KeyKind::Rsa3072, host, now, LIFETIME)?;
            installation.secret(NAME, || key_pair::pack(fresh.pkcs8(), fresh.certificate().der())).await?
        }
    };
    let (pkcs8, certificate) = key_pair::unpack(&stored).ok_or(SamlKeyError::Damaged)?;
    Ok(SigningKey::from_parts(pkcs8, certificate)?)
}
