//! The broker and agents around it, in this process: real slapd, real TLS, a store, and agents that are honest, false or
//! asleep.

mod admission;
pub mod checks;
pub mod false_agent;
mod renewal;
pub mod world;
