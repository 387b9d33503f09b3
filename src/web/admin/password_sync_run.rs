//! `password-sync.run`: passes over one connector, or all, and waits for their end.

use serde::{Deserialize, Serialize};

use super::password_sync_status::PasswordDesk;
use super::{AdminSession, Kind, Operation, OperationError, Right};
use crate::identity::ConnectorName;
use crate::password_sync::{Depth, PassReport, PasswordSyncError};

pub struct PasswordSyncRun;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// All connectors when absent.
    pub connector: Option<ConnectorName>,
    /// All passwords, also where the directory can tell which have changed.
    #[serde(default)]
    pub full: bool,
}

/// One connector's pass: its numbers, or why it did not come to its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pass {
    pub connector: ConnectorName,
    pub report: Option<PassReport>,
    pub error: Option<String>,
}

impl Operation for PasswordSyncRun {
    const NAME: &'static str = "password-sync.run";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Vec<Pass>;
    type Gateway = PasswordDesk;

    fn subject(request: &Request) -> Option<String> {
        request.connector.as_ref().map(ToString::to_string)
    }

    async fn run(desk: &PasswordDesk, _: &AdminSession, request: Request) -> Result<Vec<Pass>, OperationError> {
        let depth = if request.full { Depth::Everything } else { Depth::Changes };
        let connectors: Vec<ConnectorName> = match request.connector {
            Some(connector) => vec![connector],
            None => desk.channels.connectors().cloned().collect(),
        };
        let mut passes = Vec::new();
        for connector in connectors {
            let (channels, named) = (desk.channels.clone(), connector.clone());
            let pass = desk.background.spawn(async move { channels.run_pass(&named, depth).await });
            let pass = match pass.await.map_err(|error| OperationError::internal(&error))? {
                Ok(report) => Pass { connector, report: Some(report), error: None },
                Err(PasswordSyncError::Channel(error)) => {
                    let told = OperationError::internal(&error);
                    Pass { connector, report: None, error: Some(told.message) }
                }
                Err(refused) => return Err(OperationError::new(Kind::Refused, refused.to_string())),
            };
            passes.push(pass);
        }
        Ok(passes)
    }
}
