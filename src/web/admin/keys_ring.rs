//! `keys.ring`: the keys of the key ring by name, and what still needs the older ones.

use serde::{Deserialize, Serialize};

use super::ring_desk::{RingDesk, RingStatus, ring_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct KeysRing;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for KeysRing {
    const NAME: &'static str = "keys.ring";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = RingStatus;
    type Gateway = RingDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &RingDesk, _: &AdminSession, _: Request) -> Result<RingStatus, OperationError> {
        desk.0.status().await.map_err(ring_error)
    }
}
