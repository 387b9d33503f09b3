//! `sync.status`: runs, counters, problems by object, holds, and whether the rule files differ from what is active.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_rules};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::Timestamp;
use crate::sync::activation::differing;
use crate::sync::guard::Hold;
use crate::sync::maintenance::{OpenWindow, Suspension, open_windows};
use crate::sync::problem::ObjectProblem;
use crate::sync::profile::Profile;
use crate::sync::run::{RunRecord, StepRecord};
use crate::sync::scheduler::Activity;
use crate::sync::source_import::{ImportOutlook, outlook};
use crate::sync::store::Figures;

/// Problems that are listed at most.
const LISTED: usize = 1000;

pub struct SyncStatus;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Newest runs to tell.
    pub runs: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub run: RunRecord,
    pub steps: Vec<StepRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectorFigures {
    pub connector: String,
    pub figures: Figures,
    /// The settings name it no longer; it keeps what it contributes until it is removed.
    pub missing: bool,
    /// Of sources: how the next cycle imports, and when everything is read again.
    pub import: Option<ImportOutlook>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ActiveRules {
    pub number: i64,
    pub at: Timestamp,
    pub by: String,
    /// Rule files that differ from this version.
    pub differing: Vec<String>,
}

/// What runs by itself here, and what holds it back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub activity: Activity,
    pub suspension: Option<Suspension>,
    pub open_windows: Vec<OpenWindow>,
    /// Nothing is exported.
    pub staging: bool,
    /// Whether this node holds the engine lease.
    pub engine_here: bool,
    /// Names of all run profiles.
    pub profiles: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub schedule: Schedule,
    pub rules: Option<ActiveRules>,
    pub runs: Vec<Run>,
    pub connectors: Vec<ConnectorFigures>,
    pub problems: Vec<ObjectProblem>,
    pub holds: Vec<Hold>,
}

impl Operation for SyncStatus {
    const NAME: &'static str = "sync.status";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let internal = |error| OperationError::internal(&error);
        let store = &desk.runner.store;
        let files = desk.files().await?;
        let active = desk.runner.activations.current().await.map_err(|error| refused_rules(&error))?;
        let mut connectors = Vec::new();
        for connector in &desk.runner.connectors {
            let figures = store.figures(connector.name()).await.map_err(internal)?;
            let import = match connector.capabilities().exports {
                true => None,
                false => Some(outlook(&**store, connector.as_ref()).await.map_err(internal)?),
            };
            let connector = connector.name().to_string();
            connectors.push(ConnectorFigures { connector, figures, missing: false, import });
        }
        for (name, _) in store.known_connectors().await.map_err(internal)? {
            if desk.runner.connectors.iter().all(|connector| *connector.name() != name) {
                let figures = store.figures(&name).await.map_err(internal)?;
                let connector = name.to_string();
                connectors.push(ConnectorFigures { connector, figures, missing: true, import: None });
            }
        }
        let runs = store.last_runs(request.runs.clamp(1, 100) as usize).await.map_err(internal)?;
        Ok(Response {
            schedule: schedule(desk).await?,
            rules: active.map(|active| ActiveRules {
                number: active.number,
                at: active.at,
                differing: differing(&active, &files),
                by: active.by,
            }),
            runs: runs.into_iter().map(|(run, steps)| Run { run, steps }).collect(),
            connectors,
            problems: store.all_problems(LISTED).await.map_err(internal)?,
            holds: store.holds().await.map_err(internal)?,
        })
    }
}

async fn schedule(desk: &SyncDesk) -> Result<Schedule, OperationError> {
    let (runner, now) = (&desk.runner, desk.runner.clock.now());
    let suspension = desk.suspensions.suspension().await.map_err(|error| OperationError::internal(&error))?;
    let shipped = Profile::ALL.into_iter().map(|profile| profile.code().to_owned());
    Ok(Schedule {
        activity: desk.scheduler.activity(),
        suspension: suspension.filter(|suspension| suspension.in_force(now)),
        open_windows: open_windows(&runner.windows, now),
        staging: runner.staging,
        engine_here: runner.lease.held().is_some(),
        profiles: shipped.chain(runner.profiles.iter().map(|profile| profile.name().to_owned())).collect(),
    })
}
