//! The first look at a message: one pass over its bytes that bounds depth, elements and attributes before any tree is
//! built, and refuses every kind of node that can split a text. It is lenient about what is well-formed (the strict parser
//! comes next) and only ever refuses.
//!
//! Without these bounds a message of the permitted size could still cost time that grows with its square: both tree
//! builders compare the attributes of an element pairwise and copy the namespaces in scope.

use super::refusal::SamlRefusal;

/// Nesting of a real response stays below 12.
const MAX_DEPTH: usize = 24;
/// Three times what 500 attribute values in as many attributes need.
const MAX_ELEMENTS: usize = 4_000;
/// Attributes and namespace declarations of one element; a real root carries fewer than 15.
const MAX_ATTRIBUTES: usize = 48;
/// Attributes and namespace declarations of all elements. Some providers declare two namespaces on each attribute value.
const MAX_ALL_ATTRIBUTES: usize = 6_000;

/// Namespace declarations in scope at any place; real responses stay below 12. The tree parser copies all of them for each
/// element that adds one.
const MAX_NAMESPACES_IN_SCOPE: usize = 48;

/// What becomes of comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    Refused,
    /// In what is not signed and never compared with anything signed.
    Skipped,
}

/// Refuses a message that is too rich, or that holds a comment, a processing instruction, CDATA or a DTD.
pub(super) fn scan(xml: &str, comments: Comments) -> Result<(), SamlRefusal> {
    let body = after_declaration(xml)?;
    let bytes = body.as_bytes();
    let (mut at, mut elements, mut attributes) = (0, 0, 0);
    // Namespace declarations of each open element.
    let mut open: Vec<usize> = Vec::with_capacity(MAX_DEPTH);
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'<') {
        at += offset;
        let rest = &bytes[at..];
        if rest.starts_with(b"<!--") {
            if comments == Comments::Refused {
                return Err(SamlRefusal::CommentForbidden);
            }
            at += 4 + body[at + 4..].find("-->").ok_or(SamlRefusal::Malformed)? + 3;
            continue;
        } else if rest.starts_with(b"<![CDATA[") {
            return Err(SamlRefusal::CdataForbidden);
        } else if rest.starts_with(b"<!") {
            return Err(SamlRefusal::DtdForbidden);
        } else if rest.starts_with(b"<?") {
            return Err(SamlRefusal::ProcessingInstructionForbidden);
        }
        let tag = Tag::read(rest).ok_or(SamlRefusal::Malformed)?;
        at += tag.length;
        attributes += tag.attributes;
        if tag.attributes > MAX_ATTRIBUTES || attributes > MAX_ALL_ATTRIBUTES {
            return Err(SamlRefusal::TooManyNodes);
        }
        if open.iter().sum::<usize>() + tag.namespaces > MAX_NAMESPACES_IN_SCOPE {
            return Err(SamlRefusal::TooManyNodes);
        }
        match tag.kind {
            TagKind::End => drop(open.pop()),
            TagKind::Empty => elements += 1,
            TagKind::Start => {
                elements += 1;
                open.push(tag.namespaces);
            }
        }
        if open.len() > MAX_DEPTH {
            return Err(SamlRefusal::TooDeep);
        }
        if elements > MAX_ELEMENTS {
            return Err(SamlRefusal::TooManyNodes);
        }
    }
    Ok(())
}

/// Checks the XML declaration, if there is one. The tree parser ignores its encoding and the signature engine obeys it, so
/// anything but UTF-8 would let the two read different texts.
fn after_declaration(xml: &str) -> Result<&str, SamlRefusal> {
    let Some(rest) = xml.strip_prefix("<?xml") else { return Ok(xml) };
    if !rest.starts_with([' ', '\t', '\r', '\n']) {
        return Err(SamlRefusal::ProcessingInstructionForbidden);
    }
    let (declaration, body) = rest.split_once("?>").ok_or(SamlRefusal::Malformed)?;
    let declaration = declaration.replace('\'', "\"").to_ascii_lowercase();
    let fields: Vec<&str> = declaration.split_ascii_whitespace().collect();
    let acceptable = fields.first() == Some(&"version=\"1.0\"")
        && fields[1..]
            .iter()
            .all(|field| matches!(*field, "encoding=\"utf-8\"" | "standalone=\"yes\"" | "standalone=\"no\""));
    if acceptable { Ok(body) } else { Err(SamlRefusal::EncodingForbidden) }
}

enum TagKind {
    Start,
    End,
    Empty,
}

struct Tag {
    kind: TagKind,
    /// Bytes from `<` to `>`, both included.
    length: usize,
    attributes: usize,
    /// How many of them declare a namespace.
    namespaces: usize,
}

impl Tag {
    /// Reads one tag; `None` if it never ends. A `>` inside quotes does not end it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (mut quote, mut attributes, mut namespaces) = (None, 0, 0);
        for (index, byte) in bytes.iter().enumerate().skip(1) {
            match (quote, byte) {
                (Some(open), byte) if open == *byte => {
                    quote = None;
                    attributes += 1;
                }
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(*byte),
                (None, b'>') => {
                    let kind = match (bytes[1], bytes[index - 1]) {
                        (b'/', _) => TagKind::End,
                        (_, b'/') => TagKind::Empty,
                        _ => TagKind::Start,
                    };
                    return Some(Self { kind, length: index + 1, attributes, namespaces });
                }
                (None, b'x') if bytes[index..].starts_with(b"xmlns") && bytes[index - 1].is_ascii_whitespace() => {
                    namespaces += 1;
                }
                (None, _) => {}
            }
        }
        None
    }
}
