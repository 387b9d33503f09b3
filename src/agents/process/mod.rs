//! The agent on premises: connects outwards to every node of the gateway and checks passwords at the directory for them.
//!
//! Design section 5, D21. Listens nowhere. Its keys are made here and never leave the machine. The check itself is that
//! of the direct path (`pass_through`), read by read and bind by bind. What else it does for the gateway a [`Carrier`] does,
//! which it is given.

mod checks;
mod enrol;
mod exchange;
mod gateway_time;
mod http;
mod identity;
mod link;
pub mod nodes;
mod renewal;
mod run;
mod status;
mod tls;

#[cfg(feature = "gateway")]
pub use enrol::enrol_sync_server;
pub use enrol::{EnrolError, enrol};
pub use exchange::{Carrier, Exchange, GivenUp};
pub use identity::{Identity, IdentityError};
pub use renewal::Renewal;
pub use run::{AgentError, run};
pub use status::{NodeState, NodeStatus, Status};
pub use tls::{ConnectError, Dialler};
