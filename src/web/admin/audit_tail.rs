//! `audit.tail`: the newest audit records, or those after a number.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::audit::{AuditNumber, Record};
use crate::store::audit::AuditLog;

pub struct AuditTail;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub limit: u32,
    pub after: Option<AuditNumber>,
}

/// Most records in one answer.
const MOST: u32 = 1000;

impl Operation for AuditTail {
    const NAME: &'static str = "audit.tail";
    const RIGHT: Right = Right::ReadAudit;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<Record>;
    type Gateway = AuditLog;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(audit: &AuditLog, _: &AdminSession, request: Request) -> Result<Vec<Record>, OperationError> {
        let limit = i64::from(request.limit.clamp(1, MOST));
        audit.tail(request.after.as_ref(), limit).await.map_err(|error| OperationError::internal(&error))
    }
}
