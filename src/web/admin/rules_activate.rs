//! `rules.activate`: validates the rule files as a whole and makes them the version that all runs use.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_rules, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::activation::{ActivationError, activate};
use crate::sync::rule;
use crate::sync::run::{Preview, RunError};

pub struct RulesActivate;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Activate although the preview shows that the guard will hold the exports.
    #[serde(default)]
    pub even_if_held: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub number: i64,
    pub digest: String,
    /// What the next full run will export; absent when no preview could be made, as before the first import.
    pub preview: Option<Preview>,
}

impl Operation for RulesActivate {
    const NAME: &'static str = "rules.activate";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let sources = desk.files().await?;
        let rules = rule::parse(&sources).map_err(|faults| refused_rules(&ActivationError::Faults(faults)))?;
        let preview = match desk.runner.preview(Some(rules)).await {
            Ok(preview) => Some(preview),
            // Another node runs the engine: its next run previews for itself, behind the same guard.
            Err(RunError::Lease(_)) => None,
            Err(error) => return Err(refused_run(error)),
        };
        let held = preview.as_ref().map(Preview::held).unwrap_or_default();
        if !held.is_empty() && !request.even_if_held {
            let message = format!("with these rules the guard would hold: {held}");
            return Err(OperationError::refused(message).with_detail(preview));
        }
        let activation = activate(&*desk.runner.activations, sources, admin.principal()).await;
        let activation = activation.map_err(|error| refused_rules(&error))?;
        Ok(Response { number: activation.number, digest: activation.digest, preview })
    }
}
