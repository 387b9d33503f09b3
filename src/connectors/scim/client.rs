//! Requests to a SCIM service (RFC 7644), with its rate limits and its errors.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value as Json;

use super::resource::{EXTERNAL_ID, ResourceKind};
use crate::config::ScimTargetSettings;
use crate::identity::causes;
use crate::sync::lease::Turn;

/// Bytes of one answer: a page of groups with all their members fits.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// What a service that asks to slow down without naming a time gets.
const USUAL_WAIT: Duration = Duration::from_secs(2);
const MEDIA_TYPE: &str = "application/scim+json";

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the CA file {0} cannot be read as PEM certificates")]
    Authorities(String, #[source] rustls_pki_types::pem::Error),
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
    #[error("the token has characters that no header may have")]
    Token,
    #[error("the address of the service takes no path")]
    Address,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing is known of what became of it.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing would be accepted.
    #[error("the service does not accept the token: {0}")]
    Unauthorised(String),
    /// It still asks to slow down after the longest wait.
    #[error("the service asks to slow down for longer than the settings wait")]
    Throttled,
    /// This request alone.
    #[error("{status} {code}: {reason}")]
    Refused { status: u16, code: String, reason: String },
}

impl Failure {
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 410, .. })
    }

    /// A filter of a PATCH picked nothing (RFC 7644, section 3.5.2.2).
    pub fn is_no_target(&self) -> bool {
        matches!(self, Self::Refused { status: 400, code, .. } if code == "noTarget")
    }
}

/// What the requests of one call may do: how long they may still wait because the service asks them to, and whether they may
/// still change anything.
pub struct Patience {
    left: Mutex<Duration>,
    /// `None`: nothing is changed.
    turn: Option<Turn>,
}

impl Patience {
    /// The same for a call that changes something.
    pub fn within(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }

    fn may_change(&self) -> Result<(), Failure> {
        let turn = self.turn.as_ref().ok_or_else(|| Failure::Unreachable("a read may change nothing".to_owned()))?;
        turn.check().map_err(|error| Failure::Unreachable(error.to_string()))
    }

    /// Takes `wait` from what is left.
    fn take(&self, wait: Duration) -> Option<Duration> {
        let mut left = self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *left = left.checked_sub(wait)?;
        Some(wait)
    }
}

pub struct ScimClient {
    http: reqwest::Client,
    base: url::Url,
    longest_wait: Duration,
}

impl ScimClient {
    pub fn new(settings: &ScimTargetSettings) -> Result<Self, ClientError> {
        let token = zeroize::Zeroizing::new(format!("Bearer {}", settings.token.expose()));
        let mut token = header::HeaderValue::from_str(&token).map_err(|_| ClientError::Token)?;
        token.set_sensitive(true);
        let mut headers = header::HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token);
        headers.insert(header::ACCEPT, header::HeaderValue::from_static(MEDIA_TYPE));
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.deadline);
        if let Some(file) = &settings.ca_file {
            let refuse = |error| ClientError::Authorities(file.display().to_string(), error);
            let mut authorities = Vec::new();
            for certificate in CertificateDer::pem_file_iter(file).map_err(refuse)? {
                let certificate = certificate.map_err(refuse)?;
                authorities.push(reqwest::Certificate::from_der(&certificate).map_err(ClientError::Client)?);
            }
            builder = builder.tls_certs_only(authorities);
        }
        let mut base = settings.url.clone();
        base.path_segments_mut().map_err(|()| ClientError::Address)?.pop_if_empty();
        Ok(Self { http: builder.build().map_err(ClientError::Client)?, base, longest_wait: settings.longest_wait })
    }

    pub fn patience(&self) -> Patience {
        Patience { left: Mutex::new(self.longest_wait), turn: None }
    }

    fn address(&self, kind: ResourceKind, id: Option<&str>) -> url::Url {
        let mut url = self.base.clone();
        // The base was checked to take paths.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(kind.endpoint());
            segments.extend(id);
        }
        url
    }

    /// A page of resources.
    pub async fn list(
        &self,
        kind: ResourceKind,
        start: usize,
        count: usize,
        patience: &Patience,
    ) -> Result<Json, Failure> {
        let mut url = self.address(kind, None);
        url.query_pairs_mut().append_pair("startIndex", &start.to_string()).append_pair("count", &count.to_string());
        self.send(Method::GET, url, None, patience).await
    }

    /// Resources with one of these external ids.
    pub async fn find(&self, kind: ResourceKind, keys: &[&str], patience: &Patience) -> Result<Vec<Json>, Failure> {
        // A literal of a filter is a JSON string (RFC 7644, section 3.4.2.2): nothing in it can end it.
        let terms: Vec<String> = keys.iter().map(|key| format!("{EXTERNAL_ID} eq {}", Json::from(*key))).collect();
        let mut url = self.address(kind, None);
        url.query_pairs_mut().append_pair("filter", &terms.join(" or "));
        let found = self.send(Method::GET, url, None, patience).await?;
        Ok(found.get("Resources").and_then(Json::as_array).cloned().unwrap_or_default())
    }

    /// `None` for what is not there.
    pub async fn read(&self, kind: ResourceKind, id: &str, patience: &Patience) -> Result<Option<Json>, Failure> {
        match self.send(Method::GET, self.address(kind, Some(id)), None, patience).await {
            Ok(resource) => Ok(Some(resource)),
            Err(failure) if failure.is_absent() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub async fn create(&self, kind: ResourceKind, body: &Json, patience: &Patience) -> Result<Json, Failure> {
        self.send(Method::POST, self.address(kind, None), Some(body), patience).await
    }

    pub async fn patch(
        &self,
        kind: ResourceKind,
        id: &str,
        operations: &[Json],
        patience: &Patience,
    ) -> Result<(), Failure> {
        let body = serde_json::json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.send(Method::PATCH, self.address(kind, Some(id)), Some(&body), patience).await.map(drop)
    }

    /// What is gone already counts as deleted.
    pub async fn delete(&self, kind: ResourceKind, id: &str, patience: &Patience) -> Result<(), Failure> {
        match self.send(Method::DELETE, self.address(kind, Some(id)), None, patience).await {
            Err(failure) if !failure.is_absent() => Err(failure),
            _ => Ok(()),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: url::Url,
        body: Option<&Json>,
        patience: &Patience,
    ) -> Result<Json, Failure> {
        loop {
            if method != Method::GET {
                patience.may_change()?;
            }
            let mut request = self.http.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.header(header::CONTENT_TYPE, MEDIA_TYPE).body(body.to_string());
            }
            let response = request.send().await.map_err(|error| Failure::Unreachable(causes(&error)))?;
            let status = response.status();
            let asked = response.headers().get(header::RETRY_AFTER).cloned();
            let slow_down = status == StatusCode::TOO_MANY_REQUESTS
                || (status == StatusCode::SERVICE_UNAVAILABLE && asked.is_some());
            if slow_down {
                // A date instead of seconds is rare, and no clock of theirs is trusted here.
                let seconds = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                let wait = seconds.map_or(USUAL_WAIT, Duration::from_secs).max(Duration::from_millis(100));
                tokio::time::sleep(patience.take(wait).ok_or(Failure::Throttled)?).await;
                continue;
            }
            return answer(status, read(response).await?);
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Unreachable(causes(&error)))? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Failure::Unreachable(format!(
                "the answer is larger than {} MiB: ask for smaller pages (`page_size`)",
                LARGEST_ANSWER >> 20
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn answer(status: StatusCode, body: Vec<u8>) -> Result<Json, Failure> {
    if status == StatusCode::NO_CONTENT || (status.is_success() && body.is_empty()) {
        return Ok(Json::Null);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| Failure::Unreachable("the answer is no JSON".to_owned()));
    }
    let told: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let text = |name: &str| told.get(name).and_then(Json::as_str).map(str::to_owned);
    let usual = status.canonical_reason().unwrap_or("no reason");
    // Of a page that is no SCIM error, its status is enough.
    let reason = text("detail").unwrap_or_else(|| usual.to_owned());
    match status {
        StatusCode::UNAUTHORIZED => Err(Failure::Unauthorised(reason)),
        status if status.is_server_error() => Err(Failure::Unreachable(format!("{}: {reason}", status.as_u16()))),
        status => {
            let code = text("scimType").unwrap_or_else(|| usual.to_ascii_lowercase().replace(' ', "-"));
            Err(Failure::Refused { status: status.as_u16(), code, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_whom_they_concern() {
        let scim = br#"{"schemas":[],"status":"409","scimType":"uniqueness","detail":"userName is taken"}"#.to_vec();
        let refused = |status, code: &str, reason: &str| {
            Err(Failure::Refused { status, code: code.to_owned(), reason: reason.to_owned() })
        };
        let rows = [
            (StatusCode::NO_CONTENT, Vec::new(), Ok(Json::Null)),
            (StatusCode::OK, b"{}".to_vec(), Ok(serde_json::json!({}))),
            (StatusCode::OK, b"<html>".to_vec(), Err(Failure::Unreachable("the answer is no JSON".to_owned()))),
            (StatusCode::CONFLICT, scim, refused(409, "uniqueness", "userName is taken")),
            (StatusCode::FORBIDDEN, b"<html>".to_vec(), refused(403, "forbidden", "Forbidden")),
            (StatusCode::UNAUTHORIZED, Vec::new(), Err(Failure::Unauthorised("Unauthorized".to_owned()))),
            (StatusCode::BAD_GATEWAY, Vec::new(), Err(Failure::Unreachable("502: Bad Gateway".to_owned()))),
        ];
        for (status, body, expected) in rows {
            assert_eq!(answer(status, body), expected, "{status}");
        }
    }
}
