//! The HTTP-Redirect binding (SAML bindings 3.4): a deflated message in the query, signed as the octets of the query.
//!
//! The signature covers what was sent, in the sender's own percent-encoding, so the receiving side cuts the raw query and never
//! decodes and encodes again. Every parameter may occur once.

use std::io::{Read as _, Write as _};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::algorithm::{KeyFamily, SignatureAlgorithm};
use super::certificate::SigningCertificate;
use super::engine::SigningFailure;
use super::guard::MAX_MESSAGE_BYTES;
use super::key::SigningKey;
use super::refusal::SamlRefusal;
use super::request::RelayState;
use crate::identity::Timestamp;

/// Servers and browsers carry no longer query reliably.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// Appends message, relay state, algorithm and signature to the query of `destination`.
pub(super) fn signed_url(
    destination: &Url,
    xml: &str,
    relay_state: &RelayState,
    key: &SigningKey,
) -> Result<Url, SigningFailure> {
    if key.algorithm() != SignatureAlgorithm::RsaSha256 {
        return Err(SigningFailure::new("the redirect binding is signed with rsa keys only"));
    }
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(xml.as_bytes()).map_err(SigningFailure::new)?;
    let deflated = deflated.finish().map_err(SigningFailure::new)?;
    let signed = format!(
        "SAMLRequest={}&RelayState={}&SigAlg={}",
        encode(&BASE64_STANDARD.encode(deflated)),
        encode(relay_state.as_str()),
        encode(key.algorithm().uri()),
    );
    let pair = RsaKeyPair::from_pkcs8(key.pkcs8()).map_err(|error| SigningFailure::new(error.to_string()))?;
    let mut octets = vec![0; pair.public_modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut octets)
        .map_err(|_| SigningFailure::new("rsa signature failed"))?;
    let query = format!("{signed}&Signature={}", encode(&BASE64_STANDARD.encode(octets)));
    let mut url = destination.clone();
    let query = match destination.query() {
        Some(own) if !own.is_empty() => format!("{own}&{query}"),
        _ => query,
    };
    url.set_query(Some(&query));
    Ok(url)
}

/// A message whose query signature was verified. The message itself has not been looked at yet.
#[derive(Debug)]
pub(super) struct RedirectedMessage {
    pub(super) xml: String,
    pub(super) relay_state: Option<String>,
}

/// Verifies a raw query that carries a signed `SAMLRequest`.
pub(super) fn verify_query(
    raw_query: &str,
    certificates: &[SigningCertificate],
    now: Timestamp,
) -> Result<RedirectedMessage, SamlRefusal> {
    if raw_query.len() > MAX_QUERY_BYTES {
        return Err(SamlRefusal::TooLarge);
    }
    let message = parameter(raw_query, "SAMLRequest")?.ok_or(SamlRefusal::QueryMalformed)?;
    let relay_state = parameter(raw_query, "RelayState")?;
    let signature = parameter(raw_query, "Signature")?.ok_or(SamlRefusal::Unsigned)?;
    let algorithm = parameter(raw_query, "SigAlg")?.ok_or(SamlRefusal::Unsigned)?;
    let verification: &dyn signature::VerificationAlgorithm =
        match decode(algorithm).and_then(|uri| SignatureAlgorithm::from_uri(&uri).ok_or(SamlRefusal::QueryMalformed)) {
            Ok(SignatureAlgorithm::RsaSha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            Ok(SignatureAlgorithm::RsaSha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            Ok(SignatureAlgorithm::RsaSha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(SamlRefusal::SignatureAlgorithmForbidden),
        };
    let signed = match relay_state {
        Some(state) => format!("SAMLRequest={message}&RelayState={state}&SigAlg={algorithm}"),
        None => format!("SAMLRequest={message}&SigAlg={algorithm}"),
    };
    let octets = BASE64_STANDARD.decode(decode(signature)?).map_err(|_| SamlRefusal::NotBase64)?;
    let verifies = |certificate: &&SigningCertificate| {
        certificate.family() == KeyFamily::Rsa
            && !certificate.has_expired(now)
            && signature::UnparsedPublicKey::new(verification, certificate.public_key())
                .verify(signed.as_bytes(), &octets)
                .is_ok()
    };
    if !certificates.iter().any(|certificate| verifies(&certificate)) {
        return Err(SamlRefusal::SignatureInvalid);
    }
    let relay_state = relay_state.map(decode).transpose()?;
    Ok(RedirectedMessage { xml: inflate(&decode(message)?)?, relay_state })
}

/// The raw value of a parameter; refused when it occurs twice.
fn parameter<'a>(raw_query: &'a str, name: &str) -> Result<Option<&'a str>, SamlRefusal> {
    let mut values = raw_query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(key, value)| (key == name).then_some(value));
    let first = values.next();
    if values.next().is_some() { Err(SamlRefusal::QueryMalformed) } else { Ok(first) }
}

fn decode(raw: &str) -> Result<String, SamlRefusal> {
    let pair = format!("v={raw}");
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    decoded.filter(|value| !value.contains('\u{fffd}')).ok_or(SamlRefusal::QueryMalformed)
}

fn inflate(base64: &str) -> Result<String, SamlRefusal> {
    let deflated = BASE64_STANDARD.decode(base64).map_err(|_| SamlRefusal::NotBase64)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_MESSAGE_BYTES).unwrap_or(u64::MAX) + 1;
    DeflateDecoder::new(deflated.as_slice()).take(limit).read_to_end(&mut bytes).map_err(|_| SamlRefusal::Malformed)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(SamlRefusal::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| SamlRefusal::NotUtf8)
}
