//! Persistence: the SQL implementation of the traits that lower floors declare.
//!
//! One dialect for SQLite and PostgreSQL (design D3, D16): `$n` placeholders, `ON CONFLICT`, `RETURNING`, columns of
//! type BIGINT and TEXT only, JSON as text, times as milliseconds, booleans as 0 and 1, identifiers as text. Rows are
//! not domain types and do not leave this room. Where lists of rows stand in a statement, each database gets them as suits
//! it (`statement`): SQLite as values, a hundred at a time, PostgreSQL as one array per column.

pub mod agents;
pub mod audit;
mod bulk;
mod checkpoint;
mod connection;
pub mod credentials;
mod database;
pub mod engine;
mod error;
pub mod federation;
pub mod issuer;
pub mod lease;
mod migrate;
pub mod notices;
mod rest;
pub mod ring_keys;
mod rows;
pub mod sealed_values;
pub mod signin;
mod sqlite;
mod statement;
mod statistics;
mod stopwatch;
pub mod sync_servers;
pub mod tenant;
pub mod values;
mod writer;

pub use crate::config::{DatabaseUrl, DatabaseUrlError};
pub use audit::AuditLog;
pub use bulk::{chunk_sizes, values_clause};
pub use connection::{Connection, Readers};
pub use database::{Database, Engine, Room};
pub use error::StoreError;
pub use writer::Urgency;

#[cfg(test)]
mod tests;
