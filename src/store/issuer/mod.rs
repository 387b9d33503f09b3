//! The issuer's rows: clients, codes, grants, signing keys (tables of `0005_issuer.sql`).
//!
//! The rules are `issuer`'s; they are applied here inside the transaction that read the facts, and the transaction
//! writes the audit record. A refusal commits: what it revoked stays revoked.

mod clients;
mod codes;
mod facts;
mod grants;
mod keys;
mod refresh;

pub use keys::PAIRWISE_SUBJECTS;

use super::audit::AuditLog;
use super::database::Database;
use super::error::StoreError;
use crate::issuer::StoreDown;

/// The store behind [`crate::issuer::Issuer`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IssuerStore {
    db: Database,
    audit: AuditLog,
}

impl IssuerStore {
    pub fn new(db: Database, audit: AuditLog) -> Self {
        Self { db, audit }
    }
}

impl From<StoreError> for StoreDown {
    fn from(error: StoreError) -> Self {
        Self(Box::new(error))
    }
}

fn unreadable(table: &'static str, column: &'static str) -> impl FnOnce(String) -> StoreError {
    move |reason| StoreError::Unreadable { table, column, reason }
}

/// Parses a text column.
fn parsed<T>(table: &'static str, column: &'static str, text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| unreadable(table, column)(error.to_string()))
}

/// Parses a JSON column.
fn from_json<T: serde::de::DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(table, column)(error.to_string()))
}

fn to_json<T: serde::Serialize>(table: &'static str, column: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| unreadable(table, column)(error.to_string()))
}
