//! The demonstration: everything that an organisation would have around the gateway, on one machine. Real protocols
//! on loopback, nothing for production.

pub mod application;
pub mod directory;
pub mod partner;
mod pki;
mod run;

pub use run::{DemoOptions, run};
