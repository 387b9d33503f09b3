//! `sync.run`: one cycle, waited for to its end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::run::{Profile, RunRecord, StepRecord};

pub struct SyncRun;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub profile: Profile,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub run: RunRecord,
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
        Some(request.profile.code().to_owned())
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        // The run is a task of its own: a caller that goes away must not leave it half done.
        let runner = desk.runner.clone();
        let run = desk.background.spawn(async move {
            let progress = |progress: crate::sync::run::Progress| {
                tracing::debug!(step = progress.step, connector = progress.connector, done = progress.done, "sync");
            };
            runner.run(request.profile, Arc::new(progress)).await
        });
        match run.await {
            Ok(ended) => ended.map(|(run, steps)| Response { run, steps }).map_err(refused_run),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
