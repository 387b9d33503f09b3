//! `audit.verify`: walks the hash chain of every node.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::store::audit::AuditLog;

pub struct AuditVerify;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub records: u64,
    /// Empty when the chain holds.
    pub breaks: Vec<String>,
}

impl Operation for AuditVerify {
    const NAME: &'static str = "audit.verify";
    const RIGHT: Right = Right::ReadAudit;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = AuditLog;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(audit: &AuditLog, _: &AdminSession, _: Request) -> Result<Response, OperationError> {
        let (records, breaks) = audit.verify().await.map_err(|error| OperationError::internal(&error))?;
        Ok(Response { records, breaks: breaks.iter().map(ToString::to_string).collect() })
    }
}
