//! `sync.explain`: where the value of an attribute comes from, who lost, and how far it got.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, object_name, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::Attribute;
use crate::sync::explain::AttributeExplained;

pub struct SyncExplain;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Of the metaverse, or of a target.
    pub attribute: Attribute,
    /// `connector:DN`, `connector:anchor`, a user principal name, or `mv:ID`.
    pub object: String,
}

impl Operation for SyncExplain {
    const NAME: &'static str = "sync.explain";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = AttributeExplained;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(format!("{} of {}", request.attribute, request.object))
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<AttributeExplained, OperationError> {
        let name = object_name(&request.object)?;
        desk.runner.explain(&request.attribute, &name).await.map_err(refused_inspection)
    }
}
