//! The client of the admin API over the Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use crate::web::admin::{Operation, OperationError};

/// How long an operation may take before the client gives up waiting: a full synchronisation is the longest.
const PATIENCE: Duration = Duration::from_secs(3600);

pub struct Client {
    socket: PathBuf,
    /// The staging instance that is asked.
    instance: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the gateway does not answer on {}: is `landbridge serve` running with these settings?", socket.display())]
    NotRunning { socket: PathBuf, source: std::io::Error },
    #[error("the connection to the gateway broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the gateway answered something that this version does not understand (status {status})")]
    Strange { status: u16 },
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), instance: None }
    }

    /// The same, asking a staging instance.
    pub fn at(self, instance: Option<String>) -> Self {
        Self { instance, ..self }
    }

    /// The same, asking the active engine.
    pub fn active(&self) -> Self {
        Self { socket: self.socket.clone(), instance: None }
    }

    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Calls the operation `O` and waits for its end.
    pub async fn call<O: Operation>(&self, request: &O::Request) -> Result<O::Response, ClientError> {
        let body = serde_json::to_vec(request).map_err(|e| ClientError::Broken(Box::new(e)))?;
        let (status, answer) = tokio::time::timeout(PATIENCE, self.post(O::NAME, body))
            .await
            .map_err(|e| ClientError::Broken(Box::new(e)))??;
        if status == 200 {
            return read(status, &answer);
        }
        Err(read::<OperationError>(status, &answer)?.into())
    }

    async fn post(&self, name: &str, body: Vec<u8>) -> Result<(u16, Bytes), ClientError> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| ClientError::Broken(e);
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::NotRunning { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.into()))?;
        let driver = tokio::spawn(connection);
        let path = match &self.instance {
            Some(instance) => format!("/admin/v1/instances/{instance}/{name}"),
            None => format!("/admin/v1/{name}"),
        };
        let request = http::Request::post(path)
            .header(http::header::HOST, "landbridge")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| broken(e.into()))?;
        let response = sender.send_request(request).await.map_err(|e| broken(e.into()))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| broken(e.into()))?.to_bytes();
        driver.abort();
        Ok((status, body))
    }
}

fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|_| ClientError::Strange { status })
}
