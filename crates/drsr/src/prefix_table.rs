//! Attribute ids (ATTRTYP) and the table that makes object identifiers of them (MS-DRSR 5.14 ATTRTYP, 5.16.4 ATTRTYP-to-OID
//! conversion, 5.180 SCHEMA_PREFIX_TABLE).

use std::fmt;
use std::str::FromStr;

use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

/// An attribute as a number of 32 bits, which means something only with the table it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(pub u32);

/// An object identifier, held in the content octets of its BER form (X.690 8.19).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectIdentifier(Vec<u8>);

/// What is not an object identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no object identifier")]
pub struct ObjectIdentifierError;

/// An attribute id whose prefix is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the prefix of attribute {0:#010x} is not in the table")]
pub struct UnknownPrefix(pub u32);

/// Prefixes by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTable {
    entries: Vec<(u32, Vec<u8>)>,
}

/// The last arc modulo this is the lower word of an attribute id.
const LOWER_WORD: u32 = 16_384;
/// Set in the lower word when the last arc took two octets and was not below [`LOWER_WORD`].
const LONG_ARC: u32 = 0x8000;
/// The bytes of the schema's version and writer that end each table that is sent (MS-DRSR 5.16.1): of a schema which
/// nobody has changed.
const SCHEMA_INFO: [u8; 21] = {
    let mut bytes = [0; 21];
    bytes[0] = 0xff;
    bytes
};
/// Windows' tables have some 40 entries, and a few more for each vendor's schema extension.
const MAX_ENTRIES: usize = 10_000;

impl ObjectIdentifier {
    /// The last arc, and how many octets it takes.
    fn last_arc(&self) -> (u32, usize) {
        let octets = 1 + self.0.iter().rev().skip(1).take_while(|octet| **octet & 0x80 != 0).count();
        let arc = self.0[self.0.len() - octets..].iter().fold(0u32, |arc, octet| arc << 7 | u32::from(octet & 0x7f));
        (arc, octets)
    }
}

impl FromStr for ObjectIdentifier {
    type Err = ObjectIdentifierError;

    fn from_str(text: &str) -> Result<Self, ObjectIdentifierError> {
        let arcs = text.split('.').map(|arc| arc.parse::<u32>().map_err(|_| ObjectIdentifierError));
        let arcs = arcs.collect::<Result<Vec<u32>, _>>()?;
        let [first, second, rest @ ..] = arcs.as_slice() else { return Err(ObjectIdentifierError) };
        if *first > 2 || (*first < 2 && *second >= 40) {
            return Err(ObjectIdentifierError);
        }
        let head = second.checked_add(first * 40).ok_or(ObjectIdentifierError)?;
        let mut octets = Vec::new();
        for arc in std::iter::once(&head).chain(rest) {
            let length = (32 - arc.leading_zeros()).div_ceil(7).max(1);
            for place in (0..length).rev() {
                let bits = u8::try_from(arc >> (7 * place) & 0x7f).expect("seven bits");
                octets.push(if place == 0 { bits } else { bits | 0x80 });
            }
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for ObjectIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc = 0u64;
        let mut first = true;
        for octet in &self.0 {
            arc = arc << 7 | u64::from(octet & 0x7f);
            if octet & 0x80 != 0 {
                continue;
            }
            if first {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - root * 40)?;
                first = false;
            } else {
                write!(f, ".{arc}")?;
            }
            arc = 0;
        }
        Ok(())
    }
}

impl PrefixTable {
    /// A table that makes these attributes' ids.
    pub fn for_attributes<'a>(identifiers: impl IntoIterator<Item = &'a ObjectIdentifier>) -> Self {
        let mut table = Self::default();
        for identifier in identifiers {
            let (_, prefix) = split(identifier);
            if !table.entries.iter().any(|(_, known)| known == prefix) {
                let index = u32::try_from(table.entries.len()).expect("far below 4 billion");
                table.entries.push((index, prefix.to_vec()));
            }
        }
        table
    }

    /// The id of an attribute, if the table has its prefix (MakeAttid).
    pub fn attribute_id(&self, identifier: &ObjectIdentifier) -> Option<AttributeId> {
        let (lower, prefix) = split(identifier);
        let (index, _) = self.entries.iter().find(|(_, known)| known == prefix)?;
        Some(AttributeId(index << 16 | lower))
    }

    /// The attribute behind an id (OidFromAttid).
    pub fn identifier(&self, id: AttributeId) -> Result<ObjectIdentifier, UnknownPrefix> {
        let (index, lower) = (id.0 >> 16, id.0 & 0xffff);
        let entry = self.entries.iter().find(|(known, _)| *known == index);
        let (_, prefix) = entry.ok_or(UnknownPrefix(id.0))?;
        let mut octets = prefix.clone();
        let low = u8::try_from(lower & 0x7f).expect("seven bits");
        if lower < 128 {
            octets.push(low);
        } else {
            let arc = if lower & LONG_ARC == 0 { lower } else { lower - LONG_ARC };
            let high = u8::try_from(arc >> 7 & 0x7f).expect("seven bits");
            octets.extend([high | 0x80, low]);
        }
        Ok(ObjectIdentifier(octets))
    }

    /// Count and pointer, as they stand in a request; [`Self::write_entries`] follows among the referents.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.count(self.entries.len() + 1);
        writer.pointer();
    }

    pub(crate) fn write_entries(&self, writer: &mut Writer) {
        let entries = || {
            self.entries.iter().map(|(index, prefix)| (*index, prefix.as_slice())).chain([(0, SCHEMA_INFO.as_slice())])
        };
        writer.count(self.entries.len() + 1);
        for (index, prefix) in entries() {
            writer.u32(index);
            writer.count(prefix.len());
            writer.pointer();
        }
        for (_, prefix) in entries() {
            writer.count(prefix.len());
            writer.bytes(prefix);
            writer.align(4);
        }
    }

    /// The entries of a reply's table, without the schema's version that may end it.
    pub(crate) fn read_entries(reader: &mut Reader<'_>, announced: u32) -> Result<Self, MalformedReply> {
        let count = reader.announced_array(announced, 12)?;
        if count > MAX_ENTRIES {
            return Err(reader.malformed("prefix table"));
        }
        let mut heads = Vec::with_capacity(count);
        for _ in 0..count {
            heads.push((reader.u32()?, reader.u32()?, reader.pointer()?));
        }
        let mut entries = Vec::with_capacity(count);
        for (index, length, present) in heads {
            let mut prefix: &[u8] = &[];
            if present {
                let size = reader.announced_array(length, 1)?;
                prefix = reader.bytes(size)?;
            }
            if prefix.first() != Some(&SCHEMA_INFO[0]) {
                entries.push((index, prefix.to_vec()));
            }
        }
        Ok(Self { entries })
    }
}

/// The lower word of an identifier's id, and its prefix.
fn split(identifier: &ObjectIdentifier) -> (u32, &[u8]) {
    let (arc, octets) = identifier.last_arc();
    let lower = arc % LOWER_WORD;
    // INVARIANT: an arc of three octets leaves its first in the prefix.
    let cut = octets.min(2);
    let prefix = &identifier.0[..identifier.0.len() - cut];
    (if arc >= LOWER_WORD || (octets > 1 && lower < 128) { lower | LONG_ARC } else { lower }, prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn oid(text: &str) -> ObjectIdentifier {
        text.parse().unwrap()
    }

    #[test]
    fn well_known_attributes_have_the_ids_that_directories_use() {
        let table = PrefixTable {
            entries: vec![
                (0, vec![0x55, 4]),
                (2, vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 1, 2]),
                (9, vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 1, 4]),
            ],
        };
        for (identifier, id) in [
            ("2.5.4.3", 0x0000_0003),
            ("1.2.840.113556.1.2.48", 0x0002_0030),
            ("1.2.840.113556.1.4.90", 0x0009_005a),
            ("1.2.840.113556.1.4.656", 0x0009_0290),
            ("1.2.840.113556.1.4.1360", 0x0009_0550),
        ] {
            assert_eq!(table.attribute_id(&oid(identifier)), Some(AttributeId(id)), "{identifier}");
            assert_eq!(table.identifier(AttributeId(id)).map(|oid| oid.to_string()), Ok(identifier.to_owned()));
        }
        assert_eq!(table.attribute_id(&oid("1.3.6.1.4.1.7165.4.1.1")), None);
        assert_eq!(table.identifier(AttributeId(0x0005_0001)), Err(UnknownPrefix(0x0005_0001)));
    }

    #[test]
    fn text_that_is_no_identifier_is_refused() {
        for text in ["", "1", "1.", "3.1", "1.40", "1.2.x", "1.2.4294967296", "2.4294967295"] {
            assert_eq!(text.parse::<ObjectIdentifier>(), Err(ObjectIdentifierError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn identifiers_lead_back_through_any_table(
            arcs in prop::collection::vec(prop::collection::vec(prop_oneof![0u32..300, 16_000u32..40_000, any::<u32>()], 2..6), 1..8)
        ) {
            let identifiers: Vec<ObjectIdentifier> = arcs
                .iter()
                .map(|arcs| oid(&format!("1.2.{}", arcs.iter().map(u32::to_string).collect::<Vec<_>>().join("."))))
                .collect();
            let table = PrefixTable::for_attributes(&identifiers);
            for identifier in &identifiers {
                let id = table.attribute_id(identifier).expect("made for it");
                prop_assert_eq!(table.identifier(id), Ok(identifier.clone()));
            }
            let mut writer = Writer::default();
            table.write_entries(&mut writer);
            let stub = writer.finish();
            let announced = u32::try_from(table.entries.len() + 1).unwrap();
            prop_assert_eq!(PrefixTable::read_entries(&mut Reader::new(&stub), announced), Ok(table));
        }

        #[test]
        fn entries_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), announced in 0u32..12) {
            if let Ok(table) = PrefixTable::read_entries(&mut Reader::new(&bytes), announced) {
                for id in [0, 0x7f, 0x80, 0x8000, 0xffff] {
                    if let Ok(identifier) = table.identifier(AttributeId(id)) {
                        prop_assert!(!identifier.to_string().is_empty());
                        table.attribute_id(&identifier);
                    }
                }
            }
        }
    }
}
