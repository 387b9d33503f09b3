//! `domain.set-failover`: changes what may answer for a domain whose authority is down.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{Backup, DomainName, FailoverMode};
use crate::signin::desk::{DomainStatus, FailoverEdit, SignInDesk};

pub struct DomainSetFailover;

/// What is left out stays as it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    #[serde(default)]
    pub backup: Option<Backup>,
    #[serde(default)]
    pub failover: Option<FailoverMode>,
    /// How old the password channel's last complete pass may be for the backup to count.
    #[serde(default)]
    pub max_hash_age_seconds: Option<u64>,
    /// For how long synthetic sign-ins from every node must find a federation partner without service.
    #[serde(default)]
    pub partner_outage_seconds: Option<u64>,
}

/// A pass older than this says nothing about today's passwords.
const LONGEST_HASH_AGE: Duration = Duration::from_secs(90 * 86_400);
/// Whoever waits longer wants to decide by hand.
const LONGEST_OUTAGE: Duration = Duration::from_secs(86_400);

impl Operation for DomainSetFailover {
    const NAME: &'static str = "domain.set-failover";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = DomainStatus;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<DomainStatus, OperationError> {
        let Request { domain, backup, failover: mode, max_hash_age_seconds, partner_outage_seconds } = request;
        let age = max_hash_age_seconds.map(Duration::from_secs);
        if age.is_some_and(|age| age.is_zero() || age > LONGEST_HASH_AGE) {
            return Err(OperationError::invalid("the longest hash age is 1 second to 90 days"));
        }
        let outage = partner_outage_seconds.map(Duration::from_secs);
        if outage.is_some_and(|outage| outage > LONGEST_OUTAGE) {
            return Err(OperationError::invalid("a partner counts as down after 1 day at the latest"));
        }
        let edit = FailoverEdit { backup, mode, max_hash_age: age, partner_outage_after: outage };
        desk.set_failover(&domain, edit, admin.principal()).await.map_err(desk_error)
    }
}
