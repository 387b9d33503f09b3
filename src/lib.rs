//! Landbridge: an authentication gateway for hybrid identity. The map of the rooms is in `ARCHITECTURE.md`.

#[cfg(all(feature = "planted-faults", not(debug_assertions)))]
compile_error!("the feature `planted-faults` is for tests: no release build may take it");

#[cfg(feature = "gateway")]
pub mod ad_check;
pub mod agent_sync;
pub mod agents;
#[cfg(feature = "gateway")]
pub mod alerts;
#[cfg(feature = "gateway")]
pub mod app;
#[cfg(feature = "gateway")]
pub mod audit;
pub mod calendar;
#[cfg(feature = "gateway")]
pub mod cli;
pub mod config;
#[cfg(feature = "gateway")]
pub mod connectors;

pub mod credential;
#[cfg(feature = "gateway")]
pub mod demo;
#[cfg(feature = "gateway")]
pub mod dns;
#[cfg(feature = "gateway")]
pub mod federation;
pub mod identity;
#[cfg(feature = "gateway")]
pub mod issuer;
pub mod ldap;
#[cfg(feature = "gateway")]
pub mod limits;
#[cfg(feature = "gateway")]
pub mod listener;
pub mod os;
pub mod pass_through;
pub mod password_sync;
#[cfg(feature = "gateway")]
pub mod saml;
#[cfg(feature = "gateway")]
pub mod schema_check;
#[cfg(feature = "gateway")]
pub mod signin;
#[cfg(feature = "gateway")]
pub mod store;
#[cfg(feature = "gateway")]
pub mod sync;
#[cfg(feature = "gateway")]
pub mod sync_server;
#[cfg(feature = "gateway")]
pub mod tenant;
#[cfg(feature = "gateway")]
pub mod web;

// An agent built alone (design D21) has these of the rooms above.
#[cfg(not(feature = "gateway"))]
pub mod app {
    pub mod logging;
    pub mod tls;
}
#[cfg(not(feature = "gateway"))]
pub mod cli {
    pub mod agent;
    pub mod agent_alone;
    mod output;

    pub use output::Output;
}
#[cfg(not(feature = "gateway"))]
pub mod connectors {
    pub mod ldap;
}
#[cfg(not(feature = "gateway"))]
pub mod signin {
    pub mod authority;

    pub use authority::{
        Admission, CredentialFacts, HashAnswer, HashCheck, LateVerdict, LiveAnswer, LiveCheck, LiveSubject, ServerProbe,
    };
}
#[cfg(not(feature = "gateway"))]
pub mod sync {
    pub mod attribute;
    pub mod connector;
    pub mod lease;
    pub mod object_id;
}
