//! The immutable attribute by which entries are known.

use base64::Engine as _;

use crate::ldap::{Entry, Filter};
use crate::sync::attribute::Value;

/// An attribute such as `entryUUID`, or `objectGUID` with its bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::connectors) struct AnchorAttribute<'a> {
    pub name: &'a str,
    pub is_binary: bool,
}

impl AnchorAttribute<'_> {
    pub fn of(self, entry: &Entry) -> Option<String> {
        let bytes = entry.bytes(&self.name.to_ascii_lowercase())?;
        Some(value(bytes, self.is_binary).as_text().to_owned())
    }

    /// The filter that finds the entry of an anchor; `None` for a text that is no anchor here.
    pub fn filter(self, anchor: &str) -> Option<Filter> {
        if !self.is_binary {
            return Some(Filter::equal(self.name, anchor));
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(anchor).ok()?;
        Some(Filter::equal(self.name, bytes))
    }
}

/// Text where the bytes are text, unless the attribute is known to be binary.
pub(in crate::connectors) fn value(bytes: &[u8], binary: bool) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !binary => Value::text(text),
        _ => Value::binary(bytes),
    }
}
