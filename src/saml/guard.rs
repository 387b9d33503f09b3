//! The gate in front of the signature engine. The engine is C code that fetches what a reference names, runs
//! transformations and repairs broken XML, all before it has checked a signature; so nothing reaches it that has not passed
//! here, and a [`Guarded`] message can be made nowhere else.
//!
//! Governed by SAML core 5.4 (the signature profile) and SAML bindings 3.5; stricter than both where a rule has been used in
//! attacks (signature wrapping, text splitting, key substitution, resource exhaustion).

use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use roxmltree::{Document, Node};

use super::algorithm::{AlgorithmPolicy, SignatureAlgorithm};
use super::refusal::SamlRefusal;
use super::scan::{self, Comments};
use super::{names, signature_profile, tree};

/// Size of a decoded message. A response with 400 groups is about 60 KB.
pub const MAX_MESSAGE_BYTES: usize = 512 * 1024;
/// Base64 adds a third, line breaks a little more.
const MAX_ENCODED_BYTES: usize = MAX_MESSAGE_BYTES / 2 * 3;
/// Values of all attributes together; the engine's cost grows with the square of this.
pub const MAX_ATTRIBUTE_VALUES: usize = 500;
/// Our own request ids have 33 characters.
const MAX_ID_CHARS: usize = 256;

/// Which elements carry a signature. Every one of them is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedPart {
    /// The whole message.
    Message,
    /// The assertion inside a response; the response around it proves nothing.
    Assertion,
    /// The message and the assertion inside it.
    Both,
}

/// A message that the signature engine may see. It is well-formed, bounded, without text-splitting nodes, and its signatures
/// have exactly the form of SAML's profile. Nothing about it is authentic yet.
#[derive(Debug, Clone)]
pub struct Guarded {
    xml: String,
    signed: SignedPart,
    verified_id: String,
    algorithms: Vec<SignatureAlgorithm>,
}

impl Guarded {
    /// The message as received.
    pub fn xml(&self) -> &str {
        &self.xml
    }

    /// Which elements are signed.
    pub fn signed(&self) -> SignedPart {
        self.signed
    }

    /// The id of the outermost signed element: the only one whose content may be used after verification.
    pub fn verified_id(&self) -> &str {
        &self.verified_id
    }

    /// The algorithm of each signature.
    pub fn algorithms(&self) -> &[SignatureAlgorithm] {
        &self.algorithms
    }
}

/// Decodes the `SAMLResponse` field of the POST binding and checks it as a response with one assertion.
pub fn posted_response(field: &str, policy: &AlgorithmPolicy) -> Result<Guarded, SamlRefusal> {
    response(decode_field(field)?, policy)
}

/// Checks a response with one assertion.
pub fn response(xml: String, policy: &AlgorithmPolicy) -> Result<Guarded, SamlRefusal> {
    check_bounds(&xml)?;
    let document = tree::parse(&xml)?;
    let root = check_root(&document, "Response")?;
    let assertion = only_assertion(root)?;
    check_version(assertion)?;
    if root.descendants().filter(|node| tree::is(*node, names::ASSERTION, "AttributeValue")).count()
        > MAX_ATTRIBUTE_VALUES
    {
        return Err(SamlRefusal::TooManyAttributeValues);
    }
    let signatures = signature_profile::check(root, Some(assertion), policy)?;
    let signed = match (signatures.of_message, signatures.of_assertion) {
        (None, None) => return Err(SamlRefusal::Unsigned),
        (Some(_), None) => SignedPart::Message,
        (None, Some(_)) => SignedPart::Assertion,
        (Some(_), Some(_)) => SignedPart::Both,
    };
    let outermost = if signed == SignedPart::Assertion { assertion } else { root };
    let verified_id = element_id(outermost)?.to_owned();
    let algorithms = signatures.of_message.into_iter().chain(signatures.of_assertion).collect();
    drop(document);
    Ok(Guarded { xml, signed, verified_id, algorithms })
}

/// Checks metadata of one entity that carries its own signature.
pub(super) fn signed_metadata(xml: &str, policy: &AlgorithmPolicy) -> Result<Guarded, SamlRefusal> {
    check_bounds(xml)?;
    let document = tree::parse(xml)?;
    let root = document.root_element();
    if !tree::is(root, names::METADATA, "EntityDescriptor") {
        return Err(SamlRefusal::UnexpectedRoot);
    }
    let algorithm = signature_profile::check_metadata(root, policy)?;
    check_ids(root)?;
    let verified_id = element_id(root)?.to_owned();
    Ok(Guarded { xml: xml.to_owned(), signed: SignedPart::Message, verified_id, algorithms: vec![algorithm] })
}

/// Decodes the `SAMLRequest` field of the POST binding and checks it as a signed authentication request.
pub fn posted_authn_request(field: &str, policy: &AlgorithmPolicy) -> Result<Guarded, SamlRefusal> {
    let xml = decode_field(field)?;
    check_bounds(&xml)?;
    let document = tree::parse(&xml)?;
    let root = check_root(&document, "AuthnRequest")?;
    let signatures = signature_profile::check(root, None, policy)?;
    let algorithm = signatures.of_message.ok_or(SamlRefusal::Unsigned)?;
    let verified_id = element_id(root)?.to_owned();
    drop(document);
    Ok(Guarded { xml, signed: SignedPart::Message, verified_id, algorithms: vec![algorithm] })
}

/// Checks an authentication request of the redirect binding, whose signature is over the query and not in the message.
pub(super) fn redirected_authn_request(xml: &str, policy: &AlgorithmPolicy) -> Result<(), SamlRefusal> {
    check_bounds(xml)?;
    let document = tree::parse(xml)?;
    let root = check_root(&document, "AuthnRequest")?;
    match signature_profile::check(root, None, policy)?.of_message {
        None => Ok(()),
        Some(_) => Err(SamlRefusal::SignatureMisplaced),
    }
}

/// Standard alphabet, padded; white space between is permitted (SAML bindings 3.5.4 refers to RFC 2045).
fn decode_field(field: &str) -> Result<String, SamlRefusal> {
    if field.len() > MAX_ENCODED_BYTES {
        return Err(SamlRefusal::TooLarge);
    }
    let compact: String = field.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let bytes = BASE64_STANDARD.decode(compact).map_err(|_| SamlRefusal::NotBase64)?;
    String::from_utf8(bytes).map_err(|_| SamlRefusal::NotUtf8)
}

fn check_bounds(xml: &str) -> Result<(), SamlRefusal> {
    if xml.len() > MAX_MESSAGE_BYTES {
        return Err(SamlRefusal::TooLarge);
    }
    // The engine takes a C string and would read up to the first NUL only.
    if xml.contains('\0') {
        return Err(SamlRefusal::Malformed);
    }
    scan::scan(xml, Comments::Refused)
}

/// Bounds metadata that somebody has published before it is parsed. It need not be signed; nothing about it is authentic.
pub(super) fn published_metadata(xml: &str) -> Result<(), SamlRefusal> {
    if xml.len() > MAX_MESSAGE_BYTES {
        return Err(SamlRefusal::TooLarge);
    }
    scan::scan(xml, Comments::Skipped)
}

fn check_root<'a, 'i>(document: &'a Document<'i>, name: &str) -> Result<Node<'a, 'i>, SamlRefusal> {
    let root = document.root_element();
    if !tree::is(root, names::PROTOCOL, name) {
        return Err(SamlRefusal::UnexpectedRoot);
    }
    check_version(root)?;
    check_ids(root)?;
    if root.descendants().any(|node| node.tag_name().namespace() == Some(names::ENCRYPTION) || is_encrypted(node)) {
        return Err(SamlRefusal::EncryptedContent);
    }
    Ok(root)
}

fn check_version(element: Node<'_, '_>) -> Result<(), SamlRefusal> {
    if element.attribute("Version") == Some("2.0") { Ok(()) } else { Err(SamlRefusal::UnsupportedVersion) }
}

fn is_encrypted(node: Node<'_, '_>) -> bool {
    ["EncryptedAssertion", "EncryptedID", "EncryptedAttribute"]
        .iter()
        .any(|name| tree::is(node, names::ASSERTION, name))
}

/// Ids of every spelling and namespace share one space here, because the engine and its XML library each have their own idea
/// of what an id is (`ID`, `Id`, `xml:id`, SAML 1.1's `AssertionID`).
fn check_ids(root: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let mut seen = HashSet::new();
    for node in root.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            if !attribute.name().eq_ignore_ascii_case("ID") && attribute.name() != "AssertionID" {
                continue;
            }
            if !is_name(attribute.value()) {
                return Err(SamlRefusal::IdMalformed);
            }
            if !seen.insert(attribute.value()) {
                return Err(SamlRefusal::DuplicateId);
            }
        }
    }
    element_id(root).map(|_| ())
}

/// The part of NCName that identity providers use: ASCII letters, digits, `_`, `-`, `.`, not beginning with the last two or a
/// digit.
fn is_name(id: &str) -> bool {
    id.len() <= MAX_ID_CHARS
        && id.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && id.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.'))
}

fn element_id<'a>(element: Node<'a, '_>) -> Result<&'a str, SamlRefusal> {
    tree::attribute(element, "ID").ok_or(SamlRefusal::IdMalformed)
}

fn only_assertion<'a, 'i>(root: Node<'a, 'i>) -> Result<Node<'a, 'i>, SamlRefusal> {
    let mut assertions = root.descendants().filter(|node| tree::is(*node, names::ASSERTION, "Assertion"));
    let Some(assertion) = assertions.next() else {
        // A partner that reports an error sends no assertion, and usually no signature either: say what it reports.
        return Err(super::response::check_status(root).err().unwrap_or(SamlRefusal::AssertionMissing));
    };
    if assertions.next().is_some() {
        return Err(SamlRefusal::SeveralAssertions);
    }
    if assertion.parent() != Some(root) {
        return Err(SamlRefusal::AssertionMisplaced);
    }
    element_id(assertion)?;
    Ok(assertion)
}
