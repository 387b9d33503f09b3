//! `sync.run`: a run, begun at once or queued behind the one under way; waited for to its end, or not.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_order};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::run::{RunRecord, StepRecord};
use crate::sync::scheduler::{Admission, Order, Refusal};

pub struct SyncRun;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of a run profile.
    pub profile: String,
    /// Answer when the run has ended; otherwise as soon as it is begun or queued.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Although synchronisation is suspended or a maintenance window is open.
    #[serde(default)]
    pub anyway: bool,
}

const fn yes() -> bool {
    true
}

impl Request {
    /// Runs `profile` and waits for its end.
    pub fn waiting(profile: impl Into<String>) -> Self {
        Self { profile: profile.into(), wait: true, anyway: false }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub admission: Admission,
    /// The run, when it was waited for.
    pub run: Option<RunRecord>,
    pub steps: Vec<StepRecord>,
}

impl Operation for SyncRun {
    const NAME: &'static str = "sync.run";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.profile.clone())
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let Some(profile) = desk.runner.profile(&request.profile) else {
            let message = format!("there is no run profile {}; `sync status` lists them", request.profile);
            return Err(OperationError::not_found(message));
        };
        let order = Order { profile, by: admin.principal().to_owned(), anyway: request.anyway };
        let (admission, end) = desk.scheduler.order(order).await.map_err(|refusal| refused_order(&refusal))?;
        if !request.wait {
            return Ok(Response { admission, run: None, steps: Vec::new() });
        }
        let (run, steps) = match end.await {
            Ok(ended) => ended.map_err(|refusal| refused_order(&refusal))?,
            Err(_) => return Err(refused_order(&Refusal::Stopping)),
        };
        Ok(Response { admission, run: Some(run), steps })
    }
}
