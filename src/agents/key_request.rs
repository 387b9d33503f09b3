//! An agent's three public keys in one certificate request (design section 5).
//!
//! The request (PKCS #10, RFC 2986) is signed by the TLS key and asks for an extension that holds the sealing key and
//! the key of answers; a signature by the latter over the whole request shows that it is held too. A sealing key that
//! its agent does not hold harms that agent alone.

use agent_proto::answer::{SigningKey, VerifyingKey};
use agent_proto::enrolment::KeyRequest;
use agent_proto::sealed::SealingKey;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

/// The extension that holds both keys. An arc below 2.25 needs no registration (ITU-T X.667).
const KEYS_OID: [u64; 3] = [2, 25, 5_412_877_301_940_236_917];
/// OCTET STRING of 64 bytes.
const KEYS_HEADER: [u8; 2] = [0x04, 0x40];

/// The keys beside the TLS key.
#[derive(Clone)]
pub(super) struct AgentKeys {
    pub sealing: SealingKey,
    pub verifying: VerifyingKey,
}

impl AgentKeys {
    /// As an extension of requests and certificates.
    pub fn extension(&self) -> CustomExtension {
        let content = [&KEYS_HEADER, self.sealing.bytes(), self.verifying.bytes()].concat();
        CustomExtension::from_oid_content(&KEYS_OID, content)
    }

    #[cfg(feature = "gateway")]
    fn from_extension(content: &[u8]) -> Option<Self> {
        let (sealing, verifying) = content.strip_prefix(&KEYS_HEADER)?.split_at_checked(32)?;
        let (sealing, verifying) = (SealingKey::from_bytes(sealing).ok()?, VerifyingKey::from_bytes(verifying).ok()?);
        Some(Self { sealing, verifying })
    }
}

/// Asks for a certificate for the three keys.
#[cfg(feature = "agent")]
pub(super) fn make(tls: &KeyPair, sealing: &SealingKey, signing: &SigningKey) -> Result<KeyRequest, rcgen::Error> {
    let keys = AgentKeys { sealing: sealing.clone(), verifying: signing.public() };
    let mut params = CertificateParams::default();
    // The gateway names the subject.
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![keys.extension()];
    let csr = params.serialize_request(tls)?.der().to_vec();
    let proof = signing.sign(&csr);
    Ok(KeyRequest { csr, proof })
}

/// A request whose signatures hold.
#[cfg(feature = "gateway")]
pub(super) struct CheckedRequest {
    pub tls: rcgen::SubjectPublicKeyInfo,
    pub keys: AgentKeys,
}

#[cfg(feature = "gateway")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyRequestError {
    #[error("the certificate request is not well-formed")]
    Malformed,
    #[error("the certificate request is not for a P-256 key")]
    Algorithm,
    #[error("the certificate request is not signed by its key")]
    NotSigned,
    #[error("the certificate request does not name the agent's other keys")]
    NoKeys,
    #[error("the certificate request is not signed by the key of answers")]
    NotProven,
}

#[cfg(feature = "gateway")]
pub(super) fn check(request: &KeyRequest) -> Result<CheckedRequest, KeyRequestError> {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::cri_attributes::ParsedCriAttribute;
    use x509_parser::oid_registry::Oid;
    use x509_parser::prelude::FromDer as _;

    let (rest, csr) = X509CertificationRequest::from_der(&request.csr).map_err(|_| KeyRequestError::Malformed)?;
    if !rest.is_empty() {
        return Err(KeyRequestError::Malformed);
    }
    let spki = csr.certification_request_info.subject_pki.raw;
    let tls = rcgen::SubjectPublicKeyInfo::from_der(spki).map_err(|_| KeyRequestError::Algorithm)?;
    if *rcgen::PublicKeyData::algorithm(&tls) != rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(KeyRequestError::Algorithm);
    }
    csr.verify_signature().map_err(|_| KeyRequestError::NotSigned)?;
    let oid = Oid::from(&KEYS_OID).map_err(|_| KeyRequestError::NoKeys)?;
    let keys = csr
        .certification_request_info
        .iter_attributes()
        .filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
            _ => None,
        })
        .flatten()
        .find(|extension| extension.oid == oid)
        .and_then(|extension| AgentKeys::from_extension(extension.value))
        .ok_or(KeyRequestError::NoKeys)?;
    if !keys.verifying.signed(&request.csr, &request.proof) {
        return Err(KeyRequestError::NotProven);
    }
    Ok(CheckedRequest { tls, keys })
}

#[cfg(all(test, feature = "gateway", feature = "agent"))]
mod tests {
    use agent_proto::sealed::OpeningKey;

    use super::*;

    fn request() -> (KeyRequest, SigningKey) {
        let tls = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let (opening, signing) = (OpeningKey::generate().expect("a key"), SigningKey::generate().expect("a key"));
        (make(&tls, opening.public(), &signing).expect("a request"), signing)
    }

    #[test]
    fn the_three_keys_come_out_as_they_went_in() {
        let (request, signing) = request();
        let checked = check(&request).expect("sound");
        assert_eq!(checked.keys.verifying, signing.public());
    }

    #[test]
    fn a_request_counts_only_when_both_keys_signed_it_as_it_is() {
        let (request, _) = request();
        let stranger = SigningKey::generate().expect("a key");
        let foreign = KeyRequest { proof: stranger.sign(&request.csr), ..request.clone() };
        assert_eq!(check(&foreign).err(), Some(KeyRequestError::NotProven));
        let at = request.csr.windows(2).position(|window| window == KEYS_HEADER).expect("the extension") + 10;
        let mut csr = request.csr.clone();
        csr[at] ^= 1;
        assert_eq!(check(&KeyRequest { csr, ..request.clone() }).err(), Some(KeyRequestError::NotSigned));
        let csr = [&request.csr[..], &[0]].concat();
        assert_eq!(check(&KeyRequest { csr, ..request }).err(), Some(KeyRequestError::Malformed));
    }

    #[test]
    fn a_request_without_the_other_keys_or_with_another_algorithm_is_refused() {
        let signing = SigningKey::generate().expect("a key");
        let plain = |algorithm| {
            let tls = KeyPair::generate_for(algorithm).expect("a key");
            let csr = CertificateParams::default().serialize_request(&tls).expect("a request").der().to_vec();
            let proof = signing.sign(&csr);
            check(&KeyRequest { csr, proof }).err()
        };
        assert_eq!(plain(&rcgen::PKCS_ECDSA_P256_SHA256), Some(KeyRequestError::NoKeys));
        assert_eq!(plain(&rcgen::PKCS_ECDSA_P384_SHA384), Some(KeyRequestError::Algorithm));
    }
}
