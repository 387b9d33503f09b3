//! What the demonstration starts beside the gateway. Real protocols on loopback, invented people, nothing for production.

pub mod partner;
