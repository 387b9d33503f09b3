//! Verifying and making XML signatures. The engine is samael on xmlsec1 and libxml2, behind a trait; it sees [`Guarded`]
//! messages and our own templates, nothing else.
//!
//! What leaves is a [`Verified`] text: the very octets that were digested, in canonical form, whose root is the element that
//! the guard saw signed. Nothing is read from anywhere else.

use std::fmt;

use samael::crypto::{AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider, ReduceMode};

use super::certificate::SigningCertificate;
use super::guard::Guarded;
use super::key::SigningKey;
use super::refusal::SamlRefusal;
use super::{names, tree};
use crate::identity::Timestamp;

/// Whatever can verify a guarded message and sign a template.
pub trait XmlSignatureEngine: Send + Sync + fmt::Debug {
    /// Verifies every signature of the message with the key of this certificate and returns the octets that the outermost
    /// signature covers.
    fn verify(&self, message: &Guarded, certificate: &SigningCertificate) -> Result<String, SignatureFailure>;

    /// Fills the first empty signature of `template`, in document order. The template is our own text, never a received one.
    fn sign(&self, template: &str, key: &SigningKey) -> Result<String, SigningFailure>;
}

/// The signature does not verify with this key, or cannot be read by the engine: the two are not told apart.
#[derive(Debug, thiserror::Error)]
#[error("signature does not verify")]
pub struct SignatureFailure;

/// The engine could not sign.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the message")]
pub struct SigningFailure(#[source] Box<dyn std::error::Error + Send + Sync>);

impl SigningFailure {
    /// Wraps the engine's own error.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// Octets whose signature was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    xml: String,
}

impl Verified {
    pub(super) fn xml(&self) -> &str {
        &self.xml
    }
}

/// Verifies the message with whichever configured certificate fits. Certificates of another key family are passed over;
/// expired ones are not used.
pub fn verify(
    engine: &dyn XmlSignatureEngine,
    message: &Guarded,
    certificates: &[SigningCertificate],
    now: Timestamp,
) -> Result<Verified, SamlRefusal> {
    let fits = |certificate: &&SigningCertificate| {
        message.algorithms().iter().all(|algorithm| algorithm.family() == certificate.family())
    };
    let fitting: Vec<_> = certificates.iter().filter(fits).collect();
    if fitting.is_empty() {
        return Err(SamlRefusal::NoMatchingCertificate);
    }
    let mut current = fitting.into_iter().filter(|certificate| !certificate.has_expired(now)).peekable();
    if current.peek().is_none() {
        return Err(SamlRefusal::CertificateExpired);
    }
    let xml = current.find_map(|certificate| engine.verify(message, certificate).ok());
    let xml = xml.ok_or(SamlRefusal::SignatureInvalid)?;
    let document = tree::parse(&xml).map_err(|_| SamlRefusal::VerifiedPartMismatch)?;
    if document.root_element().attribute("ID") != Some(message.verified_id()) {
        return Err(SamlRefusal::VerifiedPartMismatch);
    }
    drop(document);
    Ok(Verified { xml })
}

/// The engine in use: samael's wrapper of xmlsec1.
#[derive(Debug, Clone, Copy, Default)]
pub struct XmlSecEngine;

/// The engine's own allow-list, as a second fence behind the guard's.
const ENGINE_ALGORITHMS: [AllowedSignatureAlgorithm; 6] = [
    AllowedSignatureAlgorithm::RsaSha256,
    AllowedSignatureAlgorithm::RsaSha384,
    AllowedSignatureAlgorithm::RsaSha512,
    AllowedSignatureAlgorithm::EcdsaSha256,
    AllowedSignatureAlgorithm::EcdsaSha384,
    AllowedSignatureAlgorithm::EcdsaSha512,
];

impl XmlSignatureEngine for XmlSecEngine {
    fn verify(&self, message: &Guarded, certificate: &SigningCertificate) -> Result<String, SignatureFailure> {
        // The pre-digest mode returns what was hashed. The other modes match it back onto the received document, which costs
        // time that grows with its square and leaves room for a mismatch.
        Crypto::reduce_xml_to_signed_with_allowed_algorithms(
            message.xml(),
            &[CertificateDer::from(certificate.der().to_vec())],
            ReduceMode::PreDigest,
            Some(&ENGINE_ALGORITHMS),
        )
        .map_err(|_| SignatureFailure)
    }

    fn sign(&self, template: &str, key: &SigningKey) -> Result<String, SigningFailure> {
        let signed = Crypto::sign_xml(template, key.pkcs8()).map_err(SigningFailure::new)?;
        // The serializer writes a declaration, which must not travel into an enclosing document.
        let body = match signed.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
            Some((_, body)) => body,
            None => &signed,
        };
        Ok(body.trim().to_owned())
    }
}

/// An empty enveloped signature over the element with this id, for [`XmlSignatureEngine::sign`].
pub fn signature_template(id: &str, key: &SigningKey) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"{ds}\"><ds:SignedInfo>\
         <ds:CanonicalizationMethod Algorithm=\"{c14n}\"/>\
         <ds:SignatureMethod Algorithm=\"{algorithm}\"/>\
         <ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"{enveloped}\"/><ds:Transform Algorithm=\"{c14n}\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><ds:DigestValue/></ds:Reference>\
         </ds:SignedInfo><ds:SignatureValue/>\
         <ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>\
         </ds:Signature>",
        ds = names::SIGNATURE,
        c14n = names::EXCLUSIVE_C14N,
        enveloped = names::ENVELOPED_SIGNATURE,
        algorithm = key.algorithm().uri(),
        id = tree::escape(id),
        certificate = key.certificate().base64(),
    )
}
