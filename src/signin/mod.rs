//! The sign-in decider: from a typed name to a session.
//!
//! Knows realms, methods, verdicts, failover, lockout and sessions. Knows nothing of cookies' wire form, HTML, SAML or
//! JWT bytes, and nothing of the sync engine. Authorities and stores come in as traits.

pub mod authority;
pub mod browser;
pub mod directory;
pub mod outcome;
mod service;
mod settings;
pub mod store;

pub use authority::{
    Admission, CredentialFacts, HashAnswer, HashCheck, LateVerdict, LiveAnswer, LiveCheck, LiveSubject, ServerProbe,
};
pub use browser::Browser;
pub use outcome::{
    Begun, FederatedIdentity, Notice, ProtocolRequest, Session, SignInError, SignInRequest, Step, TransactionHandle,
    TransactionLost,
};
pub use service::SignIn;
pub use settings::{LockoutSettings, Settings, SignInKey};
