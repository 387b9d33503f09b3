//! `alerts.test`: sends a notice to a channel now.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::alerts::{AlertDesk, TestError};

pub struct AlertsTest;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub channel: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {}

impl Operation for AlertsTest {
    const NAME: &'static str = "alerts.test";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = AlertDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.channel.clone())
    }

    async fn run(desk: &AlertDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        match desk.test(&request.channel, admin.principal()).await {
            Ok(()) => Ok(Response {}),
            Err(missing @ TestError::NoChannel(..)) => Err(OperationError::not_found(missing.to_string())),
            Err(TestError::NotTaken(why)) => {
                Err(OperationError::refused(format!("channel {} did not take the test: {why}", request.channel)))
            }
        }
    }
}
