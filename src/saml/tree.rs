//! Reading a parsed message, and writing text into one: the few steps that every part of this module shares.

use roxmltree::{Document, Node, ParsingOptions};

use super::refusal::SamlRefusal;

/// More nodes than [`super::scan`] lets through can have.
const MAX_TREE_NODES: u32 = 100_000;

/// Parses strictly, without DTD.
pub(super) fn parse(xml: &str) -> Result<Document<'_>, SamlRefusal> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_TREE_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => SamlRefusal::DtdForbidden,
        roxmltree::Error::NodesLimitReached => SamlRefusal::TooManyNodes,
        _ => SamlRefusal::Malformed,
    })
}

/// Whether the node is the element `{namespace}name`.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(namespace) && node.tag_name().name() == name
}

/// The child elements `{namespace}name`, in document order.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'a str,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| is(*child, namespace, name))
}

/// The only child element `{namespace}name`; `None` when there is none or more than one.
pub(super) fn only_child<'a, 'i>(node: Node<'a, 'i>, namespace: &'a str, name: &'a str) -> Option<Node<'a, 'i>> {
    let mut found = children(node, namespace, name);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// All text of an element that holds nothing but text.
pub(super) fn text_only(node: Node<'_, '_>) -> Option<String> {
    let mut text = String::new();
    for child in node.children() {
        if !child.is_text() {
            return None;
        }
        text.push_str(child.text().unwrap_or_default());
    }
    Some(text)
}

/// An attribute without namespace that is present and not empty.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attribute(name).filter(|value| !value.is_empty())
}

/// Escapes a text for element content and for attributes in double quotes. Line ends and tabs become character references,
/// because attribute normalisation would turn them into spaces.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            other => escaped.push(other),
        }
    }
    escaped
}
