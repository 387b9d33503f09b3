//! Metadata (SAML metadata 2.0): reading a partner's, writing our own.
//!
//! A partner's metadata that is given by an operator is trusted for that reason; a signature on it is not checked. Metadata
//! that the gateway fetches by itself is read only from the octets that a known key has signed. Comments are permitted in the
//! first, a DTD in neither.

use url::{Host, Url};

use super::algorithm::AlgorithmPolicy;
use super::certificate::{CertificateError, SigningCertificate};
use super::engine::{self, XmlSignatureEngine};
use super::refusal::SamlRefusal;
use super::request::ServiceProvider;
use super::{guard, names, response, tree};
use crate::identity::{EntityId, Timestamp};

/// Metadata of one entity with its certificates is below 100 KB; federations' aggregates are refused anyway.
const MAX_METADATA_BYTES: usize = 1024 * 1024;
/// What browsers and servers take.
const MAX_ENDPOINT_BYTES: usize = 2048;
/// Bounds the time a wrong signature costs.
pub const MAX_CERTIFICATES: usize = 8;

/// A partner's identity provider, as its metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProviderMetadata {
    /// Its entity id.
    pub entity_id: EntityId,
    /// Where requests go.
    pub endpoint: SsoEndpoint,
    /// The certificates that may sign; never empty.
    pub certificates: Vec<SigningCertificate>,
    /// Certificates that were passed over, each with its reason, for the operator.
    pub unusable: Vec<CertificateError>,
}

/// Where and how the partner takes authentication requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoEndpoint {
    /// The URL.
    pub location: Url,
    /// The binding.
    pub binding: Binding,
}

/// A binding for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// HTTP-POST: a form. Preferred.
    Post,
    /// HTTP-Redirect: a query.
    Redirect,
}

impl Binding {
    /// The identifier used in metadata.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Post => names::BINDING_POST,
            Self::Redirect => names::BINDING_REDIRECT,
        }
    }
}

/// Why metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata cannot be parsed")]
    Malformed(#[source] SamlRefusal),
    #[error("metadata is longer than 1 MiB")]
    TooLarge,
    #[error("metadata is not proved to be its entity's")]
    Unproven(#[source] SamlRefusal),
    #[error("metadata was valid until {0}")]
    Outdated(Timestamp),
    #[error("metadata describes no single entity")]
    NotOneEntity,
    #[error("entity id is missing or too long")]
    EntityIdMalformed,
    #[error("entity is not a saml 2.0 identity provider")]
    NotAnIdentityProvider,
    #[error("identity provider has no endpoint for the post or redirect binding")]
    EndpointMissing,
    #[error("endpoint `{0}` is neither https nor on loopback, is longer than 2048 characters or names a user")]
    EndpointInsecure(String),
    #[error("identity provider has no usable signing certificate{}", first_reason(.0))]
    CertificateMissing(Vec<CertificateError>),
    #[error("identity provider lists more than {MAX_CERTIFICATES} signing certificates")]
    TooManyCertificates,
}

fn first_reason(reasons: &[CertificateError]) -> String {
    reasons.first().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl IdentityProviderMetadata {
    /// Reads the metadata of one identity provider from what the owner of one of `certificates` has signed, and from nothing
    /// else of the document.
    pub fn parse_signed(
        xml: &str,
        engine: &dyn XmlSignatureEngine,
        certificates: &[SigningCertificate],
        now: Timestamp,
    ) -> Result<Self, MetadataError> {
        let message = guard::signed_metadata(xml, &AlgorithmPolicy::default()).map_err(MetadataError::Unproven)?;
        let verified = engine::verify(engine, &message, certificates, now).map_err(MetadataError::Unproven)?;
        Self::read(verified.xml(), Some(now))
    }

    /// Reads what somebody has published as the metadata of one identity provider. Nothing of it is to be believed.
    pub fn parse_published(xml: &str, now: Timestamp) -> Result<Self, MetadataError> {
        guard::published_metadata(xml).map_err(MetadataError::Malformed)?;
        Self::read(xml, Some(now))
    }

    /// Reads the metadata of one identity provider, as an operator gives it.
    pub fn parse(xml: &str) -> Result<Self, MetadataError> {
        if xml.len() > MAX_METADATA_BYTES {
            return Err(MetadataError::TooLarge);
        }
        Self::read(xml, None)
    }

    /// With `now`, metadata that is over is refused.
    fn read(xml: &str, now: Option<Timestamp>) -> Result<Self, MetadataError> {
        let document = tree::parse(xml).map_err(MetadataError::Malformed)?;
        let root = document.root_element();
        let entity = if tree::is(root, names::METADATA, "EntitiesDescriptor") {
            tree::only_child(root, names::METADATA, "EntityDescriptor")
        } else {
            tree::is(root, names::METADATA, "EntityDescriptor").then_some(root)
        };
        let entity = entity.ok_or(MetadataError::NotOneEntity)?;
        let entity_id =
            entity.attribute("entityID").and_then(|id| id.parse().ok()).ok_or(MetadataError::EntityIdMalformed)?;
        let role = tree::children(entity, names::METADATA, "IDPSSODescriptor")
            .find(|role| {
                let protocols = role.attribute("protocolSupportEnumeration").unwrap_or_default();
                protocols.split_ascii_whitespace().any(|protocol| protocol == names::PROTOCOL)
            })
            .ok_or(MetadataError::NotAnIdentityProvider)?;
        for part in [root, entity, role] {
            let end = response::instant(part, "validUntil").map_err(MetadataError::Malformed)?;
            if let Some(end) = end.filter(|end| now.is_some_and(|now| *end <= now)) {
                return Err(MetadataError::Outdated(end));
            }
        }
        let endpoint = [Binding::Post, Binding::Redirect].into_iter().find_map(|binding| {
            let service = tree::children(role, names::METADATA, "SingleSignOnService")
                .find(|service| service.attribute("Binding") == Some(binding.uri()))?;
            Some((binding, service.attribute("Location")?))
        });
        let (binding, location) = endpoint.ok_or(MetadataError::EndpointMissing)?;
        let location = secure_endpoint(location)?;
        let (certificates, unusable) = signing_certificates(role);
        if certificates.is_empty() {
            return Err(MetadataError::CertificateMissing(unusable));
        }
        if certificates.len() > MAX_CERTIFICATES {
            return Err(MetadataError::TooManyCertificates);
        }
        Ok(Self { entity_id, endpoint: SsoEndpoint { location, binding }, certificates, unusable })
    }
}

/// Reads an endpoint: https, or http to this machine for demonstration and tests.
pub fn secure_endpoint(location: &str) -> Result<Url, MetadataError> {
    let insecure = || {
        let plain = location.chars().filter(|character| !character.is_control());
        MetadataError::EndpointInsecure(plain.take(200).collect())
    };
    if location.len() > MAX_ENDPOINT_BYTES {
        return Err(insecure());
    }
    let url = Url::parse(location).map_err(|_| insecure())?;
    if is_private(&url) { Ok(url) } else { Err(insecure()) }
}

/// Whether what is sent there stays between the two ends: TLS, or no network at all. Nobody is named in the address.
pub fn is_private(url: &Url) -> bool {
    let on_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    let named = !url.username().is_empty() || url.password().is_some();
    !named && (url.scheme() == "https" || (url.scheme() == "http" && on_loopback))
}

fn signing_certificates(role: roxmltree::Node<'_, '_>) -> (Vec<SigningCertificate>, Vec<CertificateError>) {
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    let for_signing = tree::children(role, names::METADATA, "KeyDescriptor")
        .filter(|key| key.attribute("use").is_none_or(|purpose| purpose == "signing"));
    for key in for_signing {
        for element in key.descendants().filter(|node| tree::is(*node, names::SIGNATURE, "X509Certificate")) {
            let text: String =
                element.children().filter_map(|child| child.is_text().then(|| child.text()).flatten()).collect();
            match SigningCertificate::from_base64(&text) {
                Ok(certificate) if !usable.contains(&certificate) => usable.push(certificate),
                Ok(_) => {}
                Err(error) => unusable.push(error),
            }
        }
    }
    (usable, unusable)
}

/// Writes our metadata as a service provider that signs its requests and wants signed assertions by POST. During a key roll
/// the next certificate is listed beside the present one.
pub fn service_provider_metadata(service: &ServiceProvider, certificates: &[&SigningCertificate]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <md:EntityDescriptor xmlns:md=\"{md}\" xmlns:ds=\"{ds}\" entityID=\"{entity_id}\">\
         <md:SPSSODescriptor AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\" protocolSupportEnumeration=\"{protocol}\">\
         {keys}<md:NameIDFormat>{name_id}</md:NameIDFormat>\
         <md:AssertionConsumerService Binding=\"{post}\" Location=\"{acs}\" index=\"0\" isDefault=\"true\"/>\
         </md:SPSSODescriptor></md:EntityDescriptor>\n",
        md = names::METADATA,
        ds = names::SIGNATURE,
        entity_id = tree::escape(service.entity_id.as_str()),
        protocol = names::PROTOCOL,
        keys = key_descriptors(certificates),
        name_id = names::NAME_ID_PERSISTENT,
        post = names::BINDING_POST,
        acs = tree::escape(service.acs_url.as_str()),
    )
}

/// Writes metadata of an identity provider with one endpoint for both bindings.
pub fn identity_provider_metadata(entity_id: &EntityId, sso_url: &Url, certificates: &[&SigningCertificate]) -> String {
    let endpoint = |binding: Binding| {
        format!(
            "<md:SingleSignOnService Binding=\"{}\" Location=\"{}\"/>",
            binding.uri(),
            tree::escape(sso_url.as_str())
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <md:EntityDescriptor xmlns:md=\"{md}\" xmlns:ds=\"{ds}\" entityID=\"{entity_id}\">\
         <md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" protocolSupportEnumeration=\"{protocol}\">\
         {keys}<md:NameIDFormat>{name_id}</md:NameIDFormat>{post}{redirect}\
         </md:IDPSSODescriptor></md:EntityDescriptor>\n",
        md = names::METADATA,
        ds = names::SIGNATURE,
        entity_id = tree::escape(entity_id.as_str()),
        protocol = names::PROTOCOL,
        keys = key_descriptors(certificates),
        name_id = names::NAME_ID_PERSISTENT,
        post = endpoint(Binding::Post),
        redirect = endpoint(Binding::Redirect),
    )
}

fn key_descriptors(certificates: &[&SigningCertificate]) -> String {
    let descriptor = |certificate: &&SigningCertificate| {
        format!(
            "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate>\
             </ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
            certificate.base64()
        )
    };
    certificates.iter().map(descriptor).collect()
}
