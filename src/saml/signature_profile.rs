//! SAML's profile of XML Signature (SAML core 5.4), checked element by element: what is not listed is refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use roxmltree::Node;

use super::algorithm::{AlgorithmPolicy, Canonicalization, DigestAlgorithm, SignatureAlgorithm};
use super::refusal::SamlRefusal;
use super::{names, tree};

/// Prefixes that one `InclusiveNamespaces` may list; identity providers list `xs`.
const MAX_INCLUSIVE_PREFIXES: usize = 16;

/// The algorithms of the signatures that were found and have the permitted form.
pub(super) struct Signatures {
    pub(super) of_message: Option<SignatureAlgorithm>,
    pub(super) of_assertion: Option<SignatureAlgorithm>,
}

/// Checks every element of the signature namespace in the document.
pub(super) fn check(
    message: Node<'_, '_>,
    assertion: Option<Node<'_, '_>>,
    policy: &AlgorithmPolicy,
) -> Result<Signatures, SamlRefusal> {
    let mut signatures = Signatures { of_message: None, of_assertion: None };
    if message.descendants().any(|node| tree::is(node, names::SIGNATURE, "Object")) {
        return Err(SamlRefusal::ObjectForbidden);
    }
    for element in message.descendants().filter(|node| node.tag_name().namespace() == Some(names::SIGNATURE)) {
        if !tree::is(element, names::SIGNATURE, "Signature") {
            // Parts of a signature are checked from the signature down; a part without one is bait.
            if !element.ancestors().any(|ancestor| tree::is(ancestor, names::SIGNATURE, "Signature")) {
                return Err(SamlRefusal::SignatureMisplaced);
            }
            continue;
        }
        let parent = element.parent_element().ok_or(SamlRefusal::SignatureMisplaced)?;
        let found = if parent == message {
            &mut signatures.of_message
        } else if Some(parent) == assertion {
            &mut signatures.of_assertion
        } else {
            return Err(SamlRefusal::SignatureMisplaced);
        };
        if found.is_some() || !follows_issuer(element) {
            return Err(SamlRefusal::SignatureMisplaced);
        }
        *found = Some(check_signature(element, parent, policy)?);
    }
    Ok(signatures)
}

/// Checks the signature of metadata: the only one in the document, and the first element of its entity (SAML metadata 2.3.2
/// and 3). The keys that metadata lists stand in elements of the signature namespace, too: those belong to key descriptors.
pub(super) fn check_metadata(
    entity: Node<'_, '_>,
    policy: &AlgorithmPolicy,
) -> Result<SignatureAlgorithm, SamlRefusal> {
    let first = entity.children().find(Node::is_element);
    let signature = first.filter(|node| tree::is(*node, names::SIGNATURE, "Signature")).ok_or(SamlRefusal::Unsigned)?;
    for element in entity.descendants().filter(|node| node.tag_name().namespace() == Some(names::SIGNATURE)) {
        if tree::is(element, names::SIGNATURE, "Object") {
            return Err(SamlRefusal::ObjectForbidden);
        }
        let another = tree::is(element, names::SIGNATURE, "Signature") && element != signature;
        let at_home = element
            .ancestors()
            .any(|ancestor| ancestor == signature || tree::is(ancestor, names::METADATA, "KeyDescriptor"));
        if another || !at_home {
            return Err(SamlRefusal::SignatureMisplaced);
        }
    }
    check_signature(signature, entity, policy)
}

/// The schema puts the signature right after the issuer (or first, in a message without issuer).
fn follows_issuer(signature: Node<'_, '_>) -> bool {
    match signature.prev_sibling_element() {
        None => !tree::is(signature.parent_element().unwrap_or(signature), names::ASSERTION, "Assertion"),
        Some(before) => tree::is(before, names::ASSERTION, "Issuer") && before.prev_sibling_element().is_none(),
    }
}

fn check_signature(
    signature: Node<'_, '_>,
    parent: Node<'_, '_>,
    policy: &AlgorithmPolicy,
) -> Result<SignatureAlgorithm, SamlRefusal> {
    let count = |name| signature.descendants().filter(|node| tree::is(*node, names::SIGNATURE, name)).count();
    if count("SignedInfo") != 1 {
        return Err(SamlRefusal::SignedInfoCount);
    }
    if count("Reference") != 1 {
        return Err(SamlRefusal::ReferenceCount);
    }
    let parts = elements(signature)?;
    let (signed_info, value, key_info) = match parts.as_slice() {
        [signed_info, value] => (*signed_info, *value, None),
        [signed_info, value, key_info] => (*signed_info, *value, Some(*key_info)),
        _ => return Err(SamlRefusal::SignatureMalformed),
    };
    let algorithm = check_signed_info(signed_info, parent, policy)?;
    expect(value, "SignatureValue")?;
    if base64_text(value).is_none_or(|bytes| bytes.is_empty()) {
        return Err(SamlRefusal::SignatureMalformed);
    }
    if let Some(key_info) = key_info {
        expect(key_info, "KeyInfo")?;
        check_key_info(key_info)?;
    }
    Ok(algorithm)
}

fn check_signed_info(
    signed_info: Node<'_, '_>,
    parent: Node<'_, '_>,
    policy: &AlgorithmPolicy,
) -> Result<SignatureAlgorithm, SamlRefusal> {
    expect(signed_info, "SignedInfo")?;
    let [canonicalization, method, reference] = exactly(signed_info)?;
    expect(canonicalization, "CanonicalizationMethod")?;
    check_canonicalization(canonicalization, policy)?;
    expect(method, "SignatureMethod")?;
    let algorithm = algorithm_of(method)
        .and_then(SignatureAlgorithm::from_uri)
        .filter(|algorithm| policy.signatures.contains(algorithm))
        .ok_or(SamlRefusal::SignatureAlgorithmForbidden)?;
    expect_no_elements(method)?;
    expect(reference, "Reference")?;
    check_reference(reference, parent, policy)?;
    Ok(algorithm)
}

fn check_reference(reference: Node<'_, '_>, parent: Node<'_, '_>, policy: &AlgorithmPolicy) -> Result<(), SamlRefusal> {
    let own_id = tree::attribute(parent, "ID").ok_or(SamlRefusal::IdMalformed)?;
    if reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')) != Some(own_id) {
        return Err(SamlRefusal::ReferenceForeign);
    }
    let [transforms, method, value] = exactly(reference)?;
    expect(transforms, "Transforms")?;
    check_transforms(transforms, policy)?;
    expect(method, "DigestMethod")?;
    let digest = algorithm_of(method)
        .and_then(DigestAlgorithm::from_uri)
        .filter(|algorithm| policy.digests.contains(algorithm))
        .ok_or(SamlRefusal::DigestAlgorithmForbidden)?;
    expect_no_elements(method)?;
    expect(value, "DigestValue")?;
    if base64_text(value).is_none_or(|bytes| bytes.len() != digest.length()) {
        return Err(SamlRefusal::DigestMalformed);
    }
    Ok(())
}

/// Exactly two transforms: the enveloped signature, then a canonicalization. Without the second the engine would silently
/// use the inclusive one.
fn check_transforms(transforms: Node<'_, '_>, policy: &AlgorithmPolicy) -> Result<(), SamlRefusal> {
    let parts = elements(transforms)?;
    let [enveloped, canonicalization] = parts.as_slice() else { return Err(SamlRefusal::TransformForbidden) };
    if !tree::is(*enveloped, names::SIGNATURE, "Transform")
        || !tree::is(*canonicalization, names::SIGNATURE, "Transform")
    {
        return Err(SamlRefusal::TransformForbidden);
    }
    if algorithm_of(*enveloped) != Some(names::ENVELOPED_SIGNATURE)
        || enveloped.children().any(|child| child.is_element())
    {
        return Err(SamlRefusal::TransformForbidden);
    }
    match algorithm_of(*canonicalization).and_then(Canonicalization::from_uri) {
        None => Err(SamlRefusal::TransformForbidden),
        Some(_) => check_canonicalization(*canonicalization, policy),
    }
}

/// The algorithm is allowed, and its only permitted parameter is a short list of namespace prefixes.
fn check_canonicalization(node: Node<'_, '_>, policy: &AlgorithmPolicy) -> Result<(), SamlRefusal> {
    let algorithm = algorithm_of(node)
        .and_then(Canonicalization::from_uri)
        .filter(|algorithm| policy.canonicalizations.contains(algorithm))
        .ok_or(SamlRefusal::CanonicalizationForbidden)?;
    let parameters: Vec<_> = node.children().filter(Node::is_element).collect();
    match (algorithm, parameters.as_slice()) {
        (_, []) => Ok(()),
        (Canonicalization::Exclusive, [list]) if tree::is(*list, names::EXCLUSIVE_C14N, "InclusiveNamespaces") => {
            let prefixes = list.attribute("PrefixList").unwrap_or_default();
            let plain = |prefix: &str| {
                prefix == "#default"
                    || prefix
                        .chars()
                        .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.'))
            };
            let acceptable = prefixes.split_ascii_whitespace().count() <= MAX_INCLUSIVE_PREFIXES
                && prefixes.split_ascii_whitespace().all(plain)
                && !list.has_children();
            if acceptable { Ok(()) } else { Err(SamlRefusal::CanonicalizationForbidden) }
        }
        _ => Err(SamlRefusal::CanonicalizationForbidden),
    }
}

/// Keys come from configuration, so key info is only a hint; what makes an engine fetch or derive a key is refused.
fn check_key_info(key_info: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let hint = |node: Node<'_, '_>| {
        ["KeyName", "KeyValue", "X509Data"].iter().any(|name| tree::is(node, names::SIGNATURE, name))
    };
    if key_info.children().filter(Node::is_element).all(hint)
        && !key_info.descendants().any(|node| tree::is(node, names::SIGNATURE, "RetrievalMethod"))
    {
        Ok(())
    } else {
        Err(SamlRefusal::KeyInfoForbidden)
    }
}

fn algorithm_of<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.attribute("Algorithm")
}

/// The child elements; text between them may only be white space.
fn elements<'a, 'i>(node: Node<'a, 'i>) -> Result<Vec<Node<'a, 'i>>, SamlRefusal> {
    let stray = |child: Node<'_, '_>| child.is_text() && !child.text().unwrap_or_default().trim_ascii().is_empty();
    if node.children().any(stray) {
        return Err(SamlRefusal::SignatureMalformed);
    }
    Ok(node.children().filter(Node::is_element).collect())
}

fn exactly<'a, 'i, const N: usize>(node: Node<'a, 'i>) -> Result<[Node<'a, 'i>; N], SamlRefusal> {
    elements(node)?.try_into().map_err(|_| SamlRefusal::SignatureMalformed)
}

fn expect(node: Node<'_, '_>, name: &str) -> Result<(), SamlRefusal> {
    if tree::is(node, names::SIGNATURE, name) { Ok(()) } else { Err(SamlRefusal::SignatureMalformed) }
}

fn expect_no_elements(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    if elements(node)?.is_empty() { Ok(()) } else { Err(SamlRefusal::SignatureMalformed) }
}

fn base64_text(node: Node<'_, '_>) -> Option<Vec<u8>> {
    let text: String = tree::text_only(node)?.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(text).ok()
}
