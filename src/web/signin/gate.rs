//! What these pages need of federation. Implemented over `federation` by the application's wiring.

use std::net::IpAddr;

use async_trait::async_trait;

use crate::identity::{EntityId, TransactionId};
use crate::signin::FederatedIdentity;

/// The door to the partners: writes our requests, checks their answers.
#[async_trait]
pub trait FederationGate: Send + Sync {
    /// A signed request with the id that `signin` recorded; `relay` comes back with the answer. With `force` the partner
    /// must ask the user again.
    async fn start(
        &self,
        partner: &EntityId,
        request_id: &str,
        relay: TransactionId,
        force: bool,
    ) -> Result<Outgoing, GateError>;

    /// Checks a posted answer to the request `request_id` that was sent to `partner`. Records a refusal with its exact
    /// code in the audit log. `network`: where it was posted from.
    async fn accept(
        &self,
        saml_response: &str,
        partner: &EntityId,
        request_id: &str,
        network: Option<IpAddr>,
    ) -> Result<FederatedIdentity, GateError>;

    /// Our metadata, to be given to partners.
    fn metadata(&self) -> String;
}

/// How the browser carries our request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A form to be posted, with its fields.
    Form { action: String, fields: Vec<(&'static str, String)> },
    /// An address to be visited.
    Redirect { url: String },
}

#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A verdict: the answer is not accepted. The code is the audit record's. `last`: so many were refused that no other
    /// answer to this request is to be looked at.
    #[error("the partner's answer was refused: {code}")]
    Refused { code: String, last: bool },
    /// No verdict could be had: the partner is not configured any more, or something of ours does not work.
    #[error("the partner cannot be used now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
