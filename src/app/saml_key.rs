//! The key that signs the gateway's SAML requests, kept as a sealed secret of the installation.

use std::time::Duration;

use zeroize::Zeroizing;

use super::installation::{Installation, InstallationError};
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
            installation.secret(NAME, || pack(&fresh)).await?
        }
    };
    let (pkcs8, certificate) = unpack(&stored).ok_or(SamlKeyError::Damaged)?;
    Ok(SigningKey::from_parts(pkcs8, certificate)?)
}

/// Length of the private key (four bytes, big-endian), private key, certificate.
fn pack(key: &SigningKey) -> Zeroizing<Vec<u8>> {
    let (pkcs8, certificate) = (key.pkcs8(), key.certificate().der());
    let length = u32::try_from(pkcs8.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + pkcs8.len() + certificate.len()));
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(pkcs8);
    bytes.extend_from_slice(certificate);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<(Zeroizing<Vec<u8>>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (pkcs8, certificate) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((Zeroizing::new(pkcs8.to_vec()), certificate))
}
