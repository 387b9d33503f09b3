//! HTTP: routes, extractors and pages. One file per operation. Decides nothing: it calls and renders.
//!
//! The public side is one router ([`router`]) over [`Services`]; addresses come from the settings, never from a `Host`
//! header, and a caller's network from the connection, never from a forwarded header.

pub mod admin;
mod browser;
mod cookies;
mod form;
mod health;
mod layers;
mod oidc;
mod page;
mod router;
mod services;
mod signin;
mod static_files;

pub use health::{Check, Readiness};
pub use router::{ROUTES, router};
pub use services::{ClientNetworks, Pace, Services};
pub use signin::gate::{FederationGate, GateError, Outgoing};
pub use signin::paths::{ACS as ACS_PATH, PARTNER_METADATA as PARTNER_METADATA_PATH};
