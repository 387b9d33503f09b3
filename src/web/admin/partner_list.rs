//! `partner.list`: the federation partners, and the gateway's own metadata for them.

use serde::{Deserialize, Serialize};

use super::partners::{PartnerSummary, Partners, store_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct PartnerList;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub partners: Vec<PartnerSummary>,
    /// XML for the partners' administrators.
    pub own_metadata: String,
}

impl Operation for PartnerList {
    const NAME: &'static str = "partner.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Partners;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(partners: &Partners, _: &AdminSession, _: Request) -> Result<Response, OperationError> {
        let list = partners.store.partners().await.map_err(store_error)?;
        let own_metadata = partners.own_metadata.clone();
        Ok(Response { partners: list.iter().map(PartnerSummary::from).collect(), own_metadata })
    }
}
