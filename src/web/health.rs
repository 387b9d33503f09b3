//! `/healthz`: the process answers. `/readyz`: it can sign people in.

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::services::Shared;

/// What must work before a balancer sends people here.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Bounded in time by its implementer.
    async fn check(&self) -> Vec<Check>;
}

/// One thing that was checked. The name is public; causes belong in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(services): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct Report {
        ready: bool,
        checks: Vec<Check>,
    }
    let checks = services.readiness.check().await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Report { ready, checks })).into_response()
}
