//! What the routes work with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::Readiness;
use super::signin::gate::FederationGate;
use crate::identity::Network;
use crate::issuer::Issuer;
use crate::limits::{Rate, Seldom, Tokens};
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
    pub pace: Pace,
}

/// Whether the connection's address says where a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientNetworks {
    /// The peer is the browser, or a listener has put the address of the PROXY protocol in its place.
    FromConnection,
    /// A balancer hides the browsers: limits per network are off.
    Hidden,
}

/// How often the sign-in pages do for strangers what costs a write.
#[derive(Debug)]
pub struct Pace {
    requests: Tokens,
    oversized: Seldom,
}

impl Pace {
    /// `rate`: the sign-in requests of one network.
    pub fn new(rate: Rate) -> Self {
        Self { requests: Tokens::new(rate), oversized: Seldom::new(Duration::from_secs(60)) }
    }

    /// Takes one of the network's requests; else how long it waits for the next one.
    pub(super) fn admits(&self, network: Option<IpAddr>) -> Result<(), Duration> {
        match network {
            Some(address) if !self.requests.take(Network::of(address), Instant::now()) => Err(self.requests.wait()),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this oversized answer to nobody's question is the one of its minute that is recorded.
    pub(super) fn records_oversized(&self) -> bool {
        self.oversized.now(Instant::now())
    }
}

pub(super) type Shared = Arc<Services>;
