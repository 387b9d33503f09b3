//! An entry as a directory returned it.

use std::collections::BTreeMap;

use super::ber::{BerError, OCTET_STRING, Reader, SEQUENCE};
use super::range::Range;
use crate::identity::DistinguishedName;

/// A directory entry. Attribute names are lower-case, without options such as `;binary`; values are bytes.
///
/// Of an attribute that the server told in part (`member;range=0-1499`), the values stand under its plain name and the full
/// description stands beside it without values, until [`crate::ldap::Connection::complete`] has read the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dn: DistinguishedName,
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

const SET: u8 = 0x31;

impl Entry {
    /// The first value of `name` if it is UTF-8. `name` is lower-case.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of `name` that are UTF-8.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of `name`.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.values(name).first().map(Vec::as_slice)
    }

    /// All values of `name`; none when the entry lacks it.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes.get(name).map_or(&[], Vec::as_slice)
    }

    /// About how many bytes it has, which says how much somebody sent.
    pub fn weight(&self) -> usize {
        let values =
            self.attributes.iter().map(|(name, values)| name.len() + values.iter().map(Vec::len).sum::<usize>());
        self.dn.as_str().len() + values.sum::<usize>()
    }

    /// Reads the content of a SearchResultEntry (RFC 4511, section 4.5.2). The inner `Err` is the text of a name that
    /// the server sent and RFC 4514 does not allow: that entry's fault, not the connection's.
    pub(super) fn read(content: &[u8]) -> Result<Result<Self, String>, BerError> {
        let mut fields = Reader::new(content);
        let name = fields.expect(OCTET_STRING)?;
        let dn = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok());
        let mut list = fields.constructed(SEQUENCE)?;
        let mut attributes: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        while !list.is_empty() {
            let mut attribute = list.constructed(SEQUENCE)?;
            let description = utf8(attribute.expect(OCTET_STRING)?)?;
            let description = description.to_ascii_lowercase();
            let name = description.split(';').next().unwrap_or(&description).to_owned();
            if Range::of(&description).is_some_and(|range| range.next.is_some()) {
                attributes.insert(description, Vec::new());
            }
            let mut set = attribute.constructed(SET)?;
            let values = attributes.entry(name).or_default();
            while !set.is_empty() {
                values.push(set.expect(OCTET_STRING)?.to_vec());
            }
        }
        Ok(match dn {
            Some(dn) => Ok(Self { dn, attributes }),
            None => Err(String::from_utf8_lossy(name).into_owned()),
        })
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, BerError> {
    std::str::from_utf8(bytes).map_err(|_| BerError("text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::ber::Writer;

    fn encoded(dn: &[u8], attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.element(OCTET_STRING, dn).constructed(SEQUENCE, |list| {
            for (name, values) in attributes {
                list.constructed(SEQUENCE, |attribute| {
                    attribute.element(OCTET_STRING, name.as_bytes()).constructed(SET, |set| {
                        for value in *values {
                            set.element(OCTET_STRING, value);
                        }
                    });
                });
            }
        });
        writer.finish().to_vec()
    }

    #[test]
    fn names_are_folded_and_options_dropped() {
        let bytes = encoded(b"uid=ada,dc=example", &[("CN", &[b"Ada"]), ("userCertificate;binary", &[b"\xff", b"x"])]);
        let entry = Entry::read(&bytes).expect("well-formed").expect("a good name");
        assert_eq!(entry.text("cn"), Some("Ada"));
        assert_eq!(entry.bytes("usercertificate"), Some(&b"\xff"[..]));
        assert_eq!(entry.text("usercertificate"), None);
        assert_eq!(entry.texts("usercertificate").collect::<Vec<_>>(), ["x"]);
        assert_eq!(entry.bytes("absent"), None);
    }

    #[test]
    fn a_malformed_entry_is_refused() {
        let good = encoded(b"uid=ada,dc=example", &[("cn", &[b"Ada"])]);
        for cut in 1..good.len() {
            assert!(Entry::read(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_unreadable_name_is_told_and_breaks_nothing_else() {
        assert_eq!(Entry::read(&encoded(b"cn=\\ff", &[])), Ok(Err("cn=\\ff".to_owned())));
        assert_eq!(Entry::read(&encoded(b"no name", &[])), Ok(Err("no name".to_owned())));
    }
}
