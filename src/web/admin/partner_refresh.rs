//! `partner.refresh`: looks now at what partners publish.

use serde::{Deserialize, Serialize};

use super::partners::{Partners, look_error, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::audit::Actor;
use crate::federation::renewal::Looked;
use crate::identity::EntityId;

pub struct PartnerRefresh;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// One partner; all that publish their metadata when left out.
    #[serde(default)]
    pub partner: Option<EntityId>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub partners: Vec<(EntityId, Looked)>,
}

impl Operation for PartnerRefresh {
    const NAME: &'static str = "partner.refresh";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Partners;

    fn subject(request: &Request) -> Option<String> {
        request.partner.as_ref().map(ToString::to_string)
    }

    async fn run(desk: &Partners, session: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let mut partners = desk.store.partners().await.map_err(store_error)?;
        match &request.partner {
            Some(wanted) => partners.retain(|partner| partner.entity_id() == wanted),
            None => partners.retain(|partner| partner.source().is_some()),
        }
        if partners.is_empty() {
            let none = "no such partner, or none that was added with --metadata-url: see partner list";
            return Err(OperationError::refused(none.to_owned()));
        }
        let mut looks = Vec::new();
        for partner in partners {
            let actor = Actor::Admin(session.principal().to_owned());
            let looked = desk.renewal.look(&partner, actor).await.map_err(|error| look_error(&error))?;
            looks.push((partner.entity_id().clone(), looked));
        }
        Ok(Response { partners: looks })
    }
}
