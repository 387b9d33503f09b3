//! `sync.runs`: the runs that are remembered, or one of them.

use serde::{Deserialize, Serialize};

use super::sync_desk::SyncDesk;
use super::sync_status::Run;
use super::{AdminSession, Operation, OperationError, Right};

/// Runs that are told at most.
const LISTED: u32 = 1000;

pub struct SyncRuns;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The newest runs, at most this many.
    pub limit: u32,
    /// This run alone.
    #[serde(default)]
    pub run: Option<i64>,
}

impl Operation for SyncRuns {
    const NAME: &'static str = "sync.runs";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    /// Newest first.
    type Response = Vec<Run>;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<Vec<Run>, OperationError> {
        let internal = |error| OperationError::internal(&error);
        let store = &desk.runner.store;
        let runs = match request.run {
            Some(number) => {
                let found = store.one_run(number).await.map_err(internal)?;
                vec![found.ok_or_else(|| OperationError::not_found(format!("run {number} is not remembered")))?]
            }
            None => store.last_runs(request.limit.clamp(1, LISTED) as usize).await.map_err(internal)?,
        };
        Ok(runs.into_iter().map(|(run, steps)| Run { run, steps }).collect())
    }
}
