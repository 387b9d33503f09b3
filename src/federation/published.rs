//! Fetching what a partner publishes about itself.

use std::time::Duration;

use super::partner::MetadataSource;
use crate::saml::guard::MAX_MESSAGE_BYTES;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Why metadata could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the certificates that are to vouch for the address cannot be used")]
    Authorities(#[source] reqwest::Error),
    #[error("the address does not answer")]
    NoAnswer(#[source] reqwest::Error),
    #[error("the address answered with status {0}")]
    Status(u16),
    #[error("the answer is longer than 512 KiB")]
    TooLarge,
    #[error("the answer is not UTF-8")]
    NotUtf8,
}

/// Fetches the document. Redirects are not followed: the address is the one that an operator has given.
pub async fn fetch(source: &MetadataSource) -> Result<String, FetchError> {
    let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
    if !source.authorities.is_empty() {
        let authorities = source.authorities.iter().map(|der| reqwest::Certificate::from_der(der));
        builder = builder.tls_certs_only(authorities.collect::<Result<Vec<_>, _>>().map_err(authorities_unusable)?);
    }
    let http = builder.build().map_err(authorities_unusable)?;
    let mut answer = http.get(source.url.clone()).send().await.map_err(no_answer)?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let mut document = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(no_answer)? {
        if document.len() + part.len() > MAX_MESSAGE_BYTES {
            return Err(FetchError::TooLarge);
        }
        document.extend_from_slice(&part);
    }
    let text = String::from_utf8(document).map_err(|_| FetchError::NotUtf8)?;
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// The address may bear a secret, and errors go to people and logs.
fn no_answer(error: reqwest::Error) -> FetchError {
    FetchError::NoAnswer(error.without_url())
}

fn authorities_unusable(error: reqwest::Error) -> FetchError {
    FetchError::Authorities(error.without_url())
}
