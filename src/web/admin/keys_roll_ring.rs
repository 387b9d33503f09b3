//! `keys.roll-ring`: a new key of the key ring, on every node. Signing keys and secrets of the installation are sealed anew
//! once all nodes have it, stored passwords in the background; the former keys stay in the ring, to open.

use serde::{Deserialize, Serialize};

use super::ring_desk::{HandOver, RingDesk, RingStatus, ring_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct KeysRollRing;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The key is handed to no other node; refused while one runs.
    #[serde(default)]
    pub alone: bool,
}

impl Operation for KeysRollRing {
    const NAME: &'static str = "keys.roll-ring";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = RingStatus;
    type Gateway = RingDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &RingDesk, admin: &AdminSession, request: Request) -> Result<RingStatus, OperationError> {
        let hand = if request.alone { HandOver::ToNobody } else { HandOver::ToEveryNode };
        desk.0.roll(hand, admin.principal()).await.map_err(ring_error)
    }
}
