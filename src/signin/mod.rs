//! The sign-in decider: from a typed name to a session.
//!
//! Knows realms, methods, verdicts, failover, lockout and sessions. Knows nothing of cookies' wire form, HTML, SAML or
//! JWT bytes, and nothing of the sync engine. Authorities and stores come in as traits.

mod after;
mod assertion;
mod attempt;
pub mod authority;
mod barred;
pub mod breaker;
pub mod browser;
mod candidate;
pub mod change;
pub mod coverage;
pub mod desk;
pub mod directory;
pub mod failover;
pub mod failover_groups;
pub mod fault;
mod floor;
mod leaked;
pub mod lockout;
pub mod lockout_report;
pub mod outage;
pub mod outcome;
pub mod partner_outage;
pub mod readiness;
pub mod realm;
pub mod rollout;
mod service;
pub mod session;
mod settings;
pub mod shared_time;
mod spray;
pub mod store;
pub mod tally;
pub mod transaction;

pub use authority::{
    Admission, CredentialFacts, HashAnswer, HashCheck, LateVerdict, LiveAnswer, LiveCheck, LiveSubject, ServerProbe,
};
pub use barred::BarredGroups;
pub use browser::Browser;
pub use outcome::{
    Begun, FederatedIdentity, Notice, ProofDemand, ProtocolRequest, Session, SignInError, SignInRequest, Step,
    TransactionHandle, TransactionLost,
};
pub use service::{EVIDENCE, Parts, SignIn};
pub use settings::{LeakedPasswords, LockoutSettings, Settings, SignInKey};
