//! What sign-in keeps, on SQL: transactions, attempts with their lockout, sessions, alerts, methods of domains.
//!
//! Each method of the traits is one transaction, with its audit records in it (design D25).

mod alerts;
mod attempts;
mod changes;
mod coverage;
mod cut;
mod directory;
mod domain_users;
mod evidence;
mod failover_groups;
mod lockout;
mod partner_outages;
mod readiness;
mod rollouts;
mod sessions;
mod shared_time;
mod tally;
mod transactions;

pub use directory::SignInTenant;
pub use shared_time::DatabaseTime;

use super::audit::AuditLog;
use super::database::Database;
use super::error::StoreError;
use crate::signin::store::StoreDown;

/// The sign-in tables of `gateway.db`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SignInTables {
    db: Database,
    audit: AuditLog,
}

impl SignInTables {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }
}

fn down(error: StoreError) -> StoreDown {
    StoreDown(Box::new(error))
}

fn unreadable(table: &'static str, column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table, column, reason: reason.to_string() }
}
