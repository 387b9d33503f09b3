//! Federation as the pages see it.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;

use crate::federation::FederatedSignIn;
use crate::federation::federated_sign_in;
use crate::identity::{EntityId, Network, TransactionId};
use crate::saml::request::Freshness;
use crate::signin::FederatedIdentity;
use crate::store::AuditLog;
use crate::web::{FederationGate, GateError, Outgoing};

/// Partners reached through SAML.
pub struct SamlGate {
    federation: FederatedSignIn,
    audit: AuditLog,
    /// What was signed for a request lately: its page is shown again without a new signature.
    shown: Cache<String, Outgoing>,
    /// How many answers to a request were refused by this node.
    refused: Cache<String, u32>,
}

/// How long a signed request is shown again. Partners take one that is younger than a few minutes.
const SHOWN_AGAIN: Duration = Duration::from_secs(120);
/// Signed requests that are kept, of some kilobytes each.
const MOST_SHOWN: u64 = 2048;
/// Answers to one request that are looked at. A partner sends one; a second comes of somebody's second try.
const MOST_REFUSED: u32 = 5;
/// Requests whose refused answers are counted; as long as their transaction lasts.
const MOST_COUNTED: u64 = 65_536;
const COUNTED: Duration = Duration::from_secs(600);

impl SamlGate {
    pub fn new(federation: FederatedSignIn, audit: AuditLog) -> Self {
        Self {
            federation,
            audit,
            shown: Cache::builder().max_capacity(MOST_SHOWN).time_to_live(SHOWN_AGAIN).build(),
            refused: Cache::builder().max_capacity(MOST_COUNTED).time_to_live(COUNTED).build(),
        }
    }
}

#[async_trait]
impl FederationGate for SamlGate {
    async fn start(
        &self,
        partner: &EntityId,
        request_id: &str,
        relay: TransactionId,
        force: bool,
    ) -> Result<Outgoing, GateError> {
        let freshness = if force { Freshness::Forced } else { Freshness::SessionAllowed };
        let asked = request_id.to_owned();
        if let Some(shown) = self.shown.get(&asked).await {
            return Ok(shown);
        }
        let request_id = request_id.parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        let relay = relay.to_string().parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        let outgoing = self
            .federation
            .begin(partner, request_id, relay, freshness)
            .await
            .map_err(|error| GateError::Unavailable(Box::new(error)))?;
        let outgoing = match outgoing {
            federated_sign_in::Outgoing::Redirect(url) => Outgoing::Redirect { url: url.to_string() },
            federated_sign_in::Outgoing::Form(form) => Outgoing::Form {
                action: form.action.to_string(),
                fields: vec![("SAMLRequest", form.saml_request), ("RelayState", form.relay_state.as_str().to_owned())],
            },
        };
        self.shown.insert(asked, outgoing.clone()).await;
        Ok(outgoing)
    }

    async fn accept(
        &self,
        saml_response: &str,
        partner: &EntityId,
        request_id: &str,
        network: Option<IpAddr>,
    ) -> Result<FederatedIdentity, GateError> {
        let asked = request_id.to_owned();
        let request_id = request_id.parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        match self.federation.finish(saml_response, partner, &request_id, network.map(Network::of)).await {
            Ok(identity) => Ok(identity),
            Err(error) => {
                // The record is written before the answer leaves; without it nothing is answered but "try again".
                let recorded = self.audit.record(error.event(partner)).await;
                recorded.map_err(|error| GateError::Unavailable(Box::new(error)))?;
                let Some(code) = error.refusal_code() else { return Err(GateError::Unavailable(Box::new(error))) };
                let refused = self.refused.get(&asked).await.unwrap_or(0) + 1;
                self.refused.insert(asked, refused).await;
                let last = refused >= MOST_REFUSED;
                Err(GateError::Refused { code: code.to_owned(), last })
            }
        }
    }

    fn metadata(&self) -> String {
        self.federation.metadata()
    }
}
