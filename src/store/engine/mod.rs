//! The engine's tables on SQL. Reads are by batch, writes are lists of multi-row statements in one transaction that
//! first checks the epoch of the lease (design D3, D16).

mod activation;
mod claims;
mod connectors;
mod decode;
mod dump;
mod events;
mod exports;
mod holds;
mod inspection;
mod links;
mod runs;
mod session;
mod spaces;
mod suspension;
mod synchronisation;
#[cfg(test)]
mod tests;

pub use activation::SqlActivations;
pub use events::AuditedRuns;
pub use session::SqlEngine;
pub use suspension::SqlSuspensions;
