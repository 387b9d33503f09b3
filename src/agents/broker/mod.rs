//! The gateway's side of agents: lets them in, keeps their connections, and gives them the live checks of `signin`.
//!
//! Design section 5. Knows nothing of pages, lockout or failover: like the direct path it gives a verdict, or
//! unavailability of the closed list. What is asked through it is known by the messages of `agent-proto` alone; what is said
//! in an exchange is for `agent_sync` to know.

mod admission;
pub mod authority;

mod check;
mod connection;
pub mod desk;
pub mod doubts;
mod exchange;
mod link;
mod listener;
pub mod registry;
mod room;
mod routes;
mod watch;

pub use admission::{AuthenticatedSyncServer, NotAdmitted};
pub use authority::{AgentAuthority, AuthorityError};
pub use check::LiveRoutes;
pub use connection::LONGEST_NAME;
pub use desk::AgentDesk;
pub use doubts::Doubts;
pub use exchange::{Errand, Exchange, ExchangeError, Missing};
pub use listener::{Listener, ListenerError, PeerCertificate};
pub use room::{Broker, BrokerParts, Reach};
pub use routes::Gate;
