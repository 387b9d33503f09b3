//! The source stamp of an LDAP password: a keyed MAC of its values, by which a pass sees that nothing changed without
//! keeping the values or deriving anything (design D7).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key_ring::{KeyName, KeyRing};
use super::seal::append;
use crate::identity::CredentialSource;

/// A MAC and the ring key it was made with. Its text form is `key-name:base64url`.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceStamp {
    key: KeyName,
    mac: Vec<u8>,
}

impl SourceStamp {
    /// Whether the stamp was made with this key.
    pub fn is_under(&self, key: &KeyName) -> bool {
        self.key == *key
    }
}

/// How values compare with a stored stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampComparison {
    Same,
    Different,
    /// The key of the stamp has left the ring: nothing can be said.
    UnknownKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a source stamp")]
pub struct StampSyntax;

impl KeyRing {
    /// The stamp of an account's password values under the primary key. The order of the values does not matter:
    /// directories do not keep one.
    pub fn stamp<V: AsRef<[u8]>>(&self, source: &CredentialSource, attribute: &str, values: &[V]) -> SourceStamp {
        let keys = self.keys();
        let mac = hmac::sign(&keys.primary().stamp, &message(source, attribute, values));
        SourceStamp { key: keys.primary().name.clone(), mac: mac.as_ref().to_vec() }
    }

    /// Compares values with a stored stamp, under the stamp's own key.
    pub fn compare_stamp<V: AsRef<[u8]>>(
        &self,
        stamp: &SourceStamp,
        source: &CredentialSource,
        attribute: &str,
        values: &[V],
    ) -> StampComparison {
        let keys = self.keys();
        let Some(key) = keys.named(&stamp.key) else { return StampComparison::UnknownKey };
        match hmac::verify(&key.stamp, &message(source, attribute, values), &stamp.mac) {
            Ok(()) => StampComparison::Same,
            Err(_) => StampComparison::Different,
        }
    }
}

fn message<V: AsRef<[u8]>>(source: &CredentialSource, attribute: &str, values: &[V]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut sorted: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let fields = [source.connector.as_str().as_bytes(), source.anchor.as_str().as_bytes(), attribute.as_bytes()];
    let length = fields.iter().chain(&sorted).map(|field| field.len() + 8).sum();
    let mut message = zeroize::Zeroizing::new(Vec::with_capacity(length));
    for field in fields.iter().chain(&sorted) {
        append(&mut message, field);
    }
    message
}

impl fmt::Display for SourceStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, URL_SAFE_NO_PAD.encode(&self.mac))
    }
}

impl fmt::Debug for SourceStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceStamp({})", self.key)
    }
}

impl FromStr for SourceStamp {
    type Err = StampSyntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, mac) = text.split_once(':').ok_or(StampSyntax)?;
        let key = key.parse().map_err(|_| StampSyntax)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| StampSyntax)?;
        if mac.len() == 32 { Ok(Self { key, mac }) } else { Err(StampSyntax) }
    }
}
