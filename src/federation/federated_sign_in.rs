//! A sign-in at a partner: out with a request, back with an assertion.

use std::sync::Arc;

use url::Url;

use super::identify::{FederationRefusal, identify};
use super::partner::Partner;
use super::partner_store::{PartnerStore, PartnerStoreError};
use super::xml_work::{NotDone, XmlWork};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{AuthenticationMethod, EntityId, Network};
use crate::saml::engine::SigningFailure;
use crate::saml::metadata::{Binding, service_provider_metadata};
use crate::saml::request::{AuthnRequest, Freshness, PostForm, RelayState, RequestId};
use crate::saml::response::{Awaited, ResponseChecker};
use crate::saml::{SamlRefusal, SigningKey};
use crate::signin::FederatedIdentity;

/// Everything a sign-in at a partner needs.
#[derive(Debug, Clone)]
pub struct FederatedSignIn {
    /// Who we are, and how responses are checked.
    pub checker: ResponseChecker,
    /// The partners.
    pub partners: Arc<dyn PartnerStore>,
    /// Signs our requests.
    pub key: Arc<SigningKey>,
    /// Where signatures are made and checked.
    pub work: XmlWork,
}

/// How the browser carries our request to the partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A form for the page to post.
    Form(PostForm),
    /// A redirect.
    Redirect(Url),
}

/// Why a sign-in at a partner did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum FederatedSignInError {
    #[error("partner `{0}` is no longer configured")]
    PartnerUnknown(EntityId),
    #[error("response refused")]
    Response(#[source] SamlRefusal),
    #[error("claimed identity refused")]
    Identity(#[source] FederationRefusal),
    #[error(transparent)]
    Store(PartnerStoreError),
    #[error("cannot make the request to the partner")]
    Signing(#[source] SigningFailure),
    #[error(transparent)]
    NotDone(#[from] NotDone),
}

impl FederatedSignInError {
    /// The audit code of a verdict; `None` when there is no verdict because something of ours is unavailable (design D4).
    pub fn refusal_code(&self) -> Option<&'static str> {
        match self {
            Self::PartnerUnknown(_) => Some("federation.partner_unknown"),
            Self::Response(refusal) => Some(refusal.code()),
            Self::Identity(refusal) => Some(refusal.code()),
            Self::Store(_) | Self::Signing(_) | Self::NotDone(_) => None,
        }
    }
}

impl FederatedSignInError {
    /// The audit record of a response that led nowhere.
    pub fn event(&self, partner: &EntityId) -> Event {
        let (outcome, reason) = match self.refusal_code() {
            Some(code) => (Outcome::Refused, code),
            None => (Outcome::Unavailable, "federation.unavailable"),
        };
        let event = Event::new(EventKind::SignIn, outcome, Actor::Anonymous)
            .because(reason)
            .with("method", AuthenticationMethod::Federated.as_str())
            .with("partner", partner.as_str());
        match self {
            Self::Response(SamlRefusal::StatusNotSuccess(told)) => event.with("told", told.as_str()),
            _ => event,
        }
    }
}

impl FederatedSignIn {
    /// Our metadata, to be given to partners.
    pub fn metadata(&self) -> String {
        service_provider_metadata(&self.checker.service, &[self.key.certificate()])
    }

    /// Writes and signs the request with this id.
    pub async fn begin(
        &self,
        partner: &EntityId,
        request_id: RequestId,
        relay_state: RelayState,
        freshness: Freshness,
    ) -> Result<Outgoing, FederatedSignInError> {
        let partner = self.load(partner).await?;
        let endpoint = partner.endpoint();
        let now = self.checker.clock.now();
        let request = AuthnRequest::new(&self.checker.service, &endpoint.location, request_id, freshness, now);
        let (binding, key, engine) = (endpoint.binding, self.key.clone(), self.checker.engine.clone());
        let signed = self.work.run(None, move || match binding {
            Binding::Post => request.post_form(relay_state, &key, &*engine).map(Outgoing::Form),
            Binding::Redirect => request.redirect_url(&relay_state, &key).map(Outgoing::Redirect),
        });
        signed.await?.map_err(FederatedSignInError::Signing)
    }

    /// Checks the response to the request with this id, which was sent to this partner. `network` is whoever posted it.
    pub async fn finish(
        &self,
        saml_response: &str,
        partner: &EntityId,
        request_id: &RequestId,
        network: Option<Network>,
    ) -> Result<FederatedIdentity, FederatedSignInError> {
        let partner = self.load(partner).await?;
        let (checker, response, request_id) = (self.checker.clone(), saml_response.to_owned(), request_id.clone());
        let checked = self.work.run(network, move || {
            let (issuer, certificates) = (partner.entity_id(), partner.certificates());
            let awaited = Awaited { request_id: &request_id, issuer, certificates };
            let assertion = checker.check(&response, awaited).map_err(FederatedSignInError::Response)?;
            identify(&assertion, &partner).map_err(FederatedSignInError::Identity)
        });
        checked.await?
    }

    async fn load(&self, entity_id: &EntityId) -> Result<Partner, FederatedSignInError> {
        let partner = self.partners.partner(entity_id).await.map_err(FederatedSignInError::Store)?;
        partner.ok_or_else(|| FederatedSignInError::PartnerUnknown(entity_id.clone()))
    }
}
