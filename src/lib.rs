//! Landbridge: an authentication gateway for hybrid identity. The map of the rooms is in `ARCHITECTURE.md`.

pub mod identity;
pub mod store;
