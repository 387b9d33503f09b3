//! Our authentication requests: ids, text, and the two bindings that carry them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use super::engine::{SigningFailure, XmlSignatureEngine, signature_template};
use super::key::SigningKey;
use super::{names, redirect, tree};
use crate::identity::{EntityId, Timestamp};

/// We, as a service provider: what partners know us by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceProvider {
    /// Our entity id; also the audience that an assertion must name.
    pub entity_id: EntityId,
    /// The assertion consumer service: recipient and destination of every response, compared octet by octet.
    pub acs_url: Url,
}

/// The id of a request: 160 random bits, so that a response to it cannot be prepared in advance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

/// Text that no request id of ours can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request id")]
pub struct RequestIdError;

impl RequestId {
    /// A new id.
    pub fn random() -> Self {
        let mut bits = [0; 20];
        rand::fill(&mut bits).expect("the operating system provides random bits");
        Self(format!("_{}", hex::encode(bits)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    /// Reads an id that was kept while the response was awaited: `_` and 32 to 128 letters, digits or hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix('_').ok_or(RequestIdError)?;
        let fits =
            (32..=128).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(RequestIdError) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Opaque text that the partner returns with its response (SAML bindings 3.4.3: at most 80 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayState(String);

/// Relay state above 80 bytes, or with characters that need no escaping discussion because they are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("relay state is not 1 to 80 visible ascii characters")]
pub struct RelayStateError;

impl RelayState {
    /// The relay state as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelayState {
    type Err = RelayStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=80).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(RelayStateError) }
    }
}

/// Whether the partner must authenticate the user anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The partner may answer from its own session.
    #[default]
    SessionAllowed,
    /// The partner must ask the user again (`ForceAuthn`).
    Forced,
}

/// An authentication request to one endpoint of a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthnRequest {
    id: RequestId,
    destination: Url,
    xml_before_signature: String,
    xml_after_signature: String,
}

/// The fields of the form that the browser posts to the partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostForm {
    /// Where the form goes.
    pub action: Url,
    /// The `SAMLRequest` field.
    pub saml_request: String,
    /// The `RelayState` field.
    pub relay_state: RelayState,
}

impl AuthnRequest {
    /// Writes a request from `service` to the partner's endpoint `destination`.
    pub fn new(
        service: &ServiceProvider,
        destination: &Url,
        id: RequestId,
        freshness: Freshness,
        now: Timestamp,
    ) -> Self {
        let force = match freshness {
            Freshness::SessionAllowed => "",
            Freshness::Forced => " ForceAuthn=\"true\"",
        };
        let xml_before_signature = format!(
            "<samlp:AuthnRequest xmlns:samlp=\"{protocol}\" xmlns:saml=\"{assertion}\" ID=\"{id}\" Version=\"2.0\" \
             IssueInstant=\"{now}\" Destination=\"{destination}\"{force} AssertionConsumerServiceURL=\"{acs}\" \
             ProtocolBinding=\"{post}\"><saml:Issuer>{issuer}</saml:Issuer>",
            protocol = names::PROTOCOL,
            assertion = names::ASSERTION,
            now = now.rfc3339(),
            destination = tree::escape(destination.as_str()),
            acs = tree::escape(service.acs_url.as_str()),
            post = names::BINDING_POST,
            issuer = tree::escape(service.entity_id.as_str()),
        );
        let xml_after_signature = format!(
            "<samlp:NameIDPolicy Format=\"{}\" AllowCreate=\"true\"/></samlp:AuthnRequest>",
            names::NAME_ID_PERSISTENT
        );
        Self { id, destination: destination.clone(), xml_before_signature, xml_after_signature }
    }

    /// Its id, to be kept until the response arrives.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The signed request as a form (HTTP-POST binding).
    pub fn post_form(
        &self,
        relay_state: RelayState,
        key: &SigningKey,
        engine: &dyn XmlSignatureEngine,
    ) -> Result<PostForm, SigningFailure> {
        let signature = signature_template(self.id.as_str(), key);
        let template = [self.xml_before_signature.as_str(), &signature, &self.xml_after_signature].concat();
        let signed = engine.sign(&template, key)?;
        Ok(PostForm { action: self.destination.clone(), saml_request: BASE64_STANDARD.encode(signed), relay_state })
    }

    /// The request in a query with its signature over the query (HTTP-Redirect binding). Only RSA keys can sign it.
    pub fn redirect_url(&self, relay_state: &RelayState, key: &SigningKey) -> Result<Url, SigningFailure> {
        let xml = [self.xml_before_signature.as_str(), &self.xml_after_signature].concat();
        redirect::signed_url(&self.destination, &xml, relay_state, key)
    }
}
