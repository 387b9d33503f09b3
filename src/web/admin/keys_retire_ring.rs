//! `keys.retire-ring`: lets every node forget a key of the ring that nothing is sealed with any more.

use serde::{Deserialize, Serialize};

use super::ring_desk::{RingDesk, RingStatus, ring_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct KeysRetireRing;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The key's name.
    pub key: String,
}

impl Operation for KeysRetireRing {
    const NAME: &'static str = "keys.retire-ring";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = RingStatus;
    type Gateway = RingDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.key.clone())
    }

    async fn run(desk: &RingDesk, admin: &AdminSession, request: Request) -> Result<RingStatus, OperationError> {
        desk.0.retire(&request.key, admin.principal()).await.map_err(ring_error)
    }
}
