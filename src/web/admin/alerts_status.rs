//! `alerts.status`: how far each channel of alerts is.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::alerts::{AlertDesk, ChannelStatus};

pub struct AlertsStatus;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for AlertsStatus {
    const NAME: &'static str = "alerts.status";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<ChannelStatus>;
    type Gateway = AlertDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &AlertDesk, _: &AdminSession, _: Request) -> Result<Vec<ChannelStatus>, OperationError> {
        desk.status().await.map_err(|down| OperationError::internal(&down))
    }
}
