//! Enrolment and renewal: one request to a node.

use std::time::Duration;

use agent_proto::MAX_MESSAGE;
use agent_proto::enrolment::{Enrolled, MEDIA_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use super::tls::{ConnectError, Dialler};

const DEADLINE: Duration = Duration::from_secs(20);
/// Longest reason for a refusal that is shown.
const MAX_REASON: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the gateway refuses: {0}")]
    Refused(String),
    #[error("the gateway cannot do it now: {0}")]
    Unavailable(String),
    #[error("the connection to the gateway broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the gateway answered something that this release does not understand")]
    Strange,
    #[error("the gateway did not answer in time")]
    Deadline,
}

impl RequestError {
    fn broken<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Sends `body` to `path` at `address`, and reads the certificate that comes back.
pub async fn ask(dialler: &Dialler, address: &url::Url, path: &str, body: Vec<u8>) -> Result<Enrolled, RequestError> {
    let asked = tokio::time::timeout(DEADLINE, post(dialler, address, path, body)).await;
    let (status, body) = asked.map_err(|_| RequestError::Deadline)??;
    let reason = || String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    match status {
        200 => Enrolled::decode(&body).map_err(|_| RequestError::Strange),
        400..500 => Err(RequestError::Refused(reason())),
        _ => Err(RequestError::Unavailable(reason())),
    }
}

async fn post(dialler: &Dialler, address: &url::Url, path: &str, body: Vec<u8>) -> Result<(u16, Bytes), RequestError> {
    let stream = dialler.connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(RequestError::broken)?;
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let request = http::Request::post(path)
        .header(http::header::HOST, address.host_str().unwrap_or_default())
        .header(http::header::CONTENT_TYPE, MEDIA_TYPE)
        .body(Full::new(Bytes::from(body)))
        .map_err(RequestError::broken)?;
    let response = sender.send_request(request).await.map_err(RequestError::broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await.map_err(RequestError::Broken)?;
    drop(driver);
    Ok((status, body.to_bytes()))
}
