//! What the routes work with.

use std::sync::Arc;

use super::health::Readiness;
use super::signin::gate::FederationGate;
use crate::issuer::Issuer;
use crate::signin::SignIn;

/// The rooms behind the pages, and the little that pages themselves need to know.
pub struct Services {
    pub sign_in: SignIn,
    pub issuer: Arc<Issuer>,
    pub federation: Arc<dyn FederationGate>,
    pub readiness: Arc<dyn Readiness>,
    /// What pages call the gateway: the organisation's name.
    pub organisation: String,
    pub networks: ClientNetworks,
}

/// Whether the connection's address says where a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientNetworks {
    /// The peer is the browser, or a listener has put the address of the PROXY protocol in its place.
    FromConnection,
    /// A balancer hides the browsers: limits per network are off.
    Hidden,
}

pub(super) type Shared = Arc<Services>;
