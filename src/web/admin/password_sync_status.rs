//! `password-sync.status`: when each connector was last read to its end, what is stored, and whose password is not.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::password_sync::PasswordSync;
use crate::password_sync::overview::{AccountProblem, ChannelOverview, ConnectorOverview};
use crate::password_sync::wrapping::Progress;

/// What the operations of the password channel work on.
pub struct PasswordDesk {
    pub channels: Arc<PasswordSync>,
    pub overview: Arc<dyn ChannelOverview>,
    /// Where passes are carried out.
    pub background: tokio::runtime::Handle,
}

pub struct PasswordSyncStatus;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub connectors: Vec<ConnectorOverview>,
    pub wrapping: Progress,
    /// Users whose password could not be taken, at most a thousand.
    pub problems: Vec<AccountProblem>,
}

const MOST_PROBLEMS: u32 = 1000;

impl Operation for PasswordSyncStatus {
    const NAME: &'static str = "password-sync.status";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = PasswordDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &PasswordDesk, _: &AdminSession, _: Request) -> Result<Response, OperationError> {
        let internal = |error: crate::password_sync::store::CredentialStoreError| OperationError::internal(&error);
        let connectors = desk.overview.connectors().await.map_err(internal)?;
        let problems = desk.overview.problems(MOST_PROBLEMS).await.map_err(internal)?;
        let wrapping = desk.channels.wrapping().progress().await.map_err(internal)?;
        Ok(Response { connectors, wrapping, problems })
    }
}
