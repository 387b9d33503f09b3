//! Pass-through agents (design section 5): the broker in the gateway, and the process on premises; and the certificates of
//! sync servers, which enrol at the same door.
//!
//! An agent runs beside the directory and connects outwards to every node. It runs the same live check as the direct
//! path (`pass_through`); the broker stands in for the directory before `signin`, which cannot tell the two apart.
//! What goes over the wire is the crate `agent-proto`.

#[cfg(feature = "gateway")]
pub mod broker;
mod calling;
mod key_request;
#[cfg(feature = "agent")]
pub mod process;

pub use calling::Calling;

/// This release, as the other side's operators see it.
pub const SOFTWARE: &str = concat!("landbridge ", env!("CARGO_PKG_VERSION"));
