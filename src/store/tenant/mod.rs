//! The tenant directory on SQL: the traits of `tenant` on the tables of the gateway's database.
//!
//! Writers of the directory take the change feed's counter row first: it serialises them on PostgreSQL as the one
//! writing connection does on SQLite, and makes the feed's numbers follow the order of commits (design D24).

mod cloud;
mod domains;
mod export;
mod feed;
mod judgement;
mod links;
mod listing;
mod load;
mod lookup;
mod purge;
mod quarantine;
mod read_back;
mod reanchor;
mod recalculation;
mod registration;
mod rows;
pub(in crate::store) mod sql;
mod store;
mod write;

pub use cloud::{CloudError, CloudUser};
pub use domains::{DomainChange, DomainError, NewVerification};
pub(in crate::store) use domains::{bump_settings, change_in};
pub use listing::{DomainReadiness, UserDetail, UserSummary};
pub use quarantine::{NamedObject, QuarantinePosition, WaitingValue};
pub use registration::{Registered, Registrations, Withheld};
pub use store::{TenantOptions, TenantStore};
