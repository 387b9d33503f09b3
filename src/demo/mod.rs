//! The demonstration: everything that an organisation would have around the gateway, on one machine.

pub mod directory;
