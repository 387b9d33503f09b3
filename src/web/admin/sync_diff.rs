//! `sync.diff`: what a staging instance makes of the targets, compared with what the active one does.

use serde::{Deserialize, Serialize};

use super::sync_desk::{Instances, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::ConnectorName;
use crate::sync::diff::InstanceDiff;

/// Differing objects of a target that are told when nothing is said of it, and at most.
const USUAL: usize = 200;
const MOST: usize = 10_000;

pub struct SyncDiff;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The staging instance; may be left out where there is one alone.
    #[serde(default)]
    pub instance: Option<String>,
    /// Compare this target alone.
    #[serde(default)]
    pub target: Option<ConnectorName>,
    /// Differing objects of a target that are told; all are counted.
    #[serde(default)]
    pub limit: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub instance: String,
    #[serde(flatten)]
    pub diff: InstanceDiff,
}

impl Operation for SyncDiff {
    const NAME: &'static str = "sync.diff";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Instances;

    fn subject(request: &Request) -> Option<String> {
        request.instance.clone()
    }

    async fn run(instances: &Instances, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let (instance, staging) = instances.named(request.instance.as_deref())?;
        let active = instances.active.clone();
        if let Some(target) = &request.target {
            let mut known = active.connectors.iter().chain(&staging.connectors);
            if known.all(|connector| connector.name() != target) {
                return Err(OperationError::invalid(format!("there is no connector {target}")));
            }
        }
        let told = request.limit.unwrap_or(USUAL).min(MOST);
        // It reads whole spaces: it stays out of the way of sign-in.
        let compared = async move { active.diff(&staging, request.target.as_ref(), told).await };
        match instances.background.spawn(compared).await {
            Ok(diff) => Ok(Response { instance, diff: diff.map_err(refused_run)? }),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
