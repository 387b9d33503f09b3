//! `keys.roll-ring`: a new key of the key ring. Signing keys and secrets of the installation are sealed anew at once,
//! stored passwords in the background; the former keys stay in the ring, to open.

use serde::{Deserialize, Serialize};

use super::ring_desk::{RingDesk, RingStatus, ring_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct KeysRollRing;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

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

    async fn run(desk: &RingDesk, admin: &AdminSession, _: Request) -> Result<RingStatus, OperationError> {
        desk.0.roll(admin.principal()).await.map_err(ring_error)
    }
}
