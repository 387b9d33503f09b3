//! The one door for admin operations: authorise, audit, run, audit.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Kind, OperationError};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Right, Role};
use crate::store::audit::AuditLog;

/// An authenticated admin principal. Made only where the peer is authenticated (the socket's peer credentials).
#[derive(Clone, Debug)]
pub struct AdminSession {
    principal: String,
    role: Role,
}

impl AdminSession {
    /// For the one caller that has authenticated the peer.
    pub(in crate::web) fn authenticated(principal: String, role: Role) -> Self {
        Self { principal, role }
    }

    pub fn principal(&self) -> &str {
        &self.principal
    }
}

/// An admin operation.
pub trait Operation: Send + Sync + 'static {
    /// `noun.verb`, the route and the audit kind.
    const NAME: &'static str;
    const RIGHT: Right;
    /// Whether it changes state: such an operation is in the audit log before it starts and after it ended.
    const CHANGES: bool;
    type Request: Serialize + DeserializeOwned + Send + 'static;
    type Response: Serialize + DeserializeOwned + Send + 'static;
    /// What the operation works on.
    type Gateway: Send + Sync + 'static;

    /// What the request is about, for the audit log.
    fn subject(request: &Self::Request) -> Option<String>;

    fn run(
        gateway: &Self::Gateway,
        admin: &AdminSession,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, OperationError>> + Send;
}

/// Runs `O` for `admin`: refuses without the right, and leaves a record of every change and every refusal. `instance`: the
/// staging instance that it concerns.
pub async fn call<O: Operation>(
    gateway: &O::Gateway,
    instance: Option<&str>,
    audit: &AuditLog,
    admin: &AdminSession,
    request: O::Request,
) -> Result<O::Response, OperationError> {
    let subject = O::subject(&request);
    let event = |outcome| {
        let event = Event::new(EventKind::Admin(O::NAME), outcome, Actor::Admin(admin.principal.clone()));
        let event = match instance {
            Some(instance) => event.with("instance", instance),
            None => event,
        };
        match &subject {
            Some(subject) => event.about(subject),
            None => event,
        }
    };
    if !admin.role.grants(O::RIGHT) {
        record(audit, event(Outcome::Refused).because("forbidden")).await?;
        let message = format!("{} may not do {}: it needs the right {:?}", admin.principal, O::NAME, O::RIGHT);
        return Err(OperationError::new(Kind::Forbidden, message));
    }
    if O::CHANGES {
        let asked = serde_json::to_value(&request).unwrap_or(serde_json::Value::Null);
        record(audit, event(Outcome::Begun).with("request", asked)).await?;
    }
    let result = O::run(gateway, admin, request).await;
    if O::CHANGES {
        let ended = match &result {
            Ok(_) => event(Outcome::Success),
            Err(error) => event(Outcome::Failed).because(error.message.clone()),
        };
        record(audit, ended).await?;
    }
    result
}

async fn record(audit: &AuditLog, event: Event) -> Result<(), OperationError> {
    match audit.record(event).await {
        Ok(_) => Ok(()),
        Err(error) => Err(OperationError::internal(&error)),
    }
}
