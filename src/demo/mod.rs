//! The demonstration: everything that an organisation would have around the gateway, on one machine.

pub mod directory;
//! What the demonstration starts beside the gateway. Real protocols on loopback, invented people, nothing for production.

pub mod partner;
