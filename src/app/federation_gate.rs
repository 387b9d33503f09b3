//! Federation as the pages see it.

use async_trait::async_trait;

use crate::federation::FederatedSignIn;
use crate::federation::federated_sign_in;
use crate::identity::{EntityId, TransactionId};
use crate::saml::request::Freshness;
use crate::signin::FederatedIdentity;
use crate::store::AuditLog;
use crate::web::{FederationGate, GateError, Outgoing};

/// Partners reached through SAML.
pub struct SamlGate {
    pub federation: FederatedSignIn,
    pub audit: AuditLog,
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
        let request_id = request_id.parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        let relay = relay.to_string().parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        let outgoing = self
            .federation
            .begin(partner, request_id, relay, freshness)
            .await
            .map_err(|error| GateError::Unavailable(Box::new(error)))?;
        Ok(match outgoing {
            federated_sign_in::Outgoing::Redirect(url) => Outgoing::Redirect { url: url.to_string() },
            federated_sign_in::Outgoing::Form(form) => Outgoing::Form {
                action: form.action.to_string(),
                fields: vec![("SAMLRequest", form.saml_request), ("RelayState", form.relay_state.as_str().to_owned())],
            },
        })
    }

    async fn accept(
        &self,
        saml_response: &str,
        partner: &EntityId,
        request_id: &str,
    ) -> Result<FederatedIdentity, GateError> {
        let request_id = request_id.parse().map_err(|error| GateError::Unavailable(Box::new(error)))?;
        match self.federation.finish(saml_response, partner, &request_id).await {
            Ok(identity) => Ok(identity),
            Err(error) => {
                // The record is written before the answer leaves; without it nothing is answered but "try again".
                let recorded = self.audit.record(error.event(partner)).await;
                recorded.map_err(|error| GateError::Unavailable(Box::new(error)))?;
                Err(match error.refusal_code() {
                    Some(code) => GateError::Refused { code: code.to_owned() },
                    None => GateError::Unavailable(Box::new(error)),
                })
            }
        }
    }

    fn metadata(&self) -> String {
        self.federation.metadata()
    }
}
