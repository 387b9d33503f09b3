//! Security descriptors in their binary form (MS-DTYP, sections 2.4.4 to 2.4.6), as far as rights on objects go.

use drsr::SecurityId;
use uuid::Uuid;

use super::token::Token;

/// Who may do what to one object.
#[derive(Debug)]
pub struct Descriptor {
    entries: Vec<AccessEntry>,
}

#[derive(Debug)]
struct AccessEntry {
    allows: bool,
    mask: u32,
    /// The right, or the attribute, that the entry is limited to.
    object: Option<Uuid>,
    trustee: SecurityId,
}

/// Rights in the mask of an entry (MS-ADTS, section 5.1.3.2).
const CONTROL_ACCESS: u32 = 0x0000_0100;
const GENERIC_ALL: u32 = 0x1000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
/// To write any attribute, add or delete what is below, delete the object, or change its access list or owner.
const ALTERING: u32 =
    0x0000_0020 | 0x1 | 0x2 | 0x40 | 0x0001_0000 | 0x0004_0000 | 0x0008_0000 | GENERIC_ALL | GENERIC_WRITE;

const ALLOWED: u8 = 0;
const DENIED: u8 = 1;
const ALLOWED_OBJECT: u8 = 5;
const DENIED_OBJECT: u8 = 6;
const INHERIT_ONLY: u8 = 0x08;

impl Descriptor {
    /// `None` for bytes that are no descriptor with an access list.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let at = usize::try_from(word(bytes, 16)?).ok().filter(|at| *at != 0)?;
        let list = bytes.get(at..)?;
        let count = u16::from_le_bytes(list.get(4..6)?.try_into().ok()?);
        let size = usize::from(u16::from_le_bytes(list.get(2..4)?.try_into().ok()?));
        let mut rest = list.get(8..size)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let size = usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?));
            let (entry, behind) = rest.split_at_checked(size.max(8))?;
            rest = behind;
            if entry[1] & INHERIT_ONLY == 0 {
                entries.extend(AccessEntry::read(entry));
            }
        }
        Some(Self { entries })
    }

    /// Whether a control access right is granted: the first entry that speaks of it decides.
    pub fn grants(&self, token: &Token, right: Uuid) -> bool {
        let speaks = |entry: &&AccessEntry| {
            entry.mask & (CONTROL_ACCESS | GENERIC_ALL) != 0
                && entry.object.is_none_or(|object| object == right)
                && token.is(&entry.trustee)
        };
        self.entries.iter().find(speaks).is_some_and(|entry| entry.allows)
    }

    /// Whom of the token the descriptor lets alter the object itself.
    pub fn altering<'a>(&'a self, token: &'a Token) -> impl Iterator<Item = &'a SecurityId> {
        let alters = |entry: &&AccessEntry| {
            entry.allows && entry.object.is_none() && entry.mask & ALTERING != 0 && token.is(&entry.trustee)
        };
        self.entries.iter().filter(alters).map(|entry| &entry.trustee)
    }
}

impl AccessEntry {
    /// `None` for an entry of another kind: conditions, audits.
    fn read(entry: &[u8]) -> Option<Self> {
        let mask = word(entry, 4)?;
        let (allows, rest, object) = match entry[0] {
            kind @ (ALLOWED | DENIED) => (kind == ALLOWED, entry.get(8..)?, None),
            kind @ (ALLOWED_OBJECT | DENIED_OBJECT) => {
                let flags = word(entry, 8)?;
                let mut rest = entry.get(12..)?;
                let mut guid = |present: bool| -> Option<Option<Uuid>> {
                    if !present {
                        return Some(None);
                    }
                    let (guid, behind) = rest.split_at_checked(16)?;
                    rest = behind;
                    Some(Some(Uuid::from_bytes_le(guid.try_into().ok()?)))
                };
                let object = guid(flags & 1 != 0)?;
                guid(flags & 2 != 0)?;
                (kind == ALLOWED_OBJECT, rest, object)
            }
            _ => return None,
        };
        Some(Self { allows, mask, object, trustee: SecurityId::from_bytes(rest).ok()? })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: Uuid = Uuid::from_u128(0x1131_f6aa_9c07_11d1_f79f_00c0_4fc2_dcd2);
    const OTHER: Uuid = Uuid::from_u128(7);

    fn sid(text: &str) -> SecurityId {
        text.parse().expect("an identifier")
    }

    fn entry(kind: u8, flags: u8, mask: u32, object: Option<Uuid>, trustee: &str) -> Vec<u8> {
        let mut body = mask.to_le_bytes().to_vec();
        if kind >= ALLOWED_OBJECT {
            body.extend(u32::from(object.is_some()).to_le_bytes());
            body.extend(object.iter().flat_map(Uuid::to_bytes_le));
        }
        body.extend(sid(trustee).to_bytes());
        let size = u16::try_from(body.len() + 4).expect("small").to_le_bytes();
        [vec![kind, flags, size[0], size[1]], body].concat()
    }

    fn descriptor(entries: &[Vec<u8>]) -> Vec<u8> {
        let body = entries.concat();
        let mut bytes = vec![1, 0, 4, 0x80];
        bytes.extend([0_u32, 0, 0, 20].map(u32::to_le_bytes).concat());
        let size = u16::try_from(body.len() + 8).expect("small").to_le_bytes();
        bytes.extend([4, 0, size[0], size[1], u8::try_from(entries.len()).expect("few"), 0, 0, 0]);
        [bytes, body].concat()
    }

    #[test]
    fn the_first_entry_that_speaks_of_a_right_decides() {
        const ME: &str = "S-1-5-21-1-2-3-1104";
        const GROUP: &str = "S-1-5-21-1-2-3-1200";
        let token = Token::new(sid(ME), vec![sid(GROUP)]);
        let rows: [(&[Vec<u8>], bool); 8] = [
            (&[], false),
            (&[entry(5, 0, CONTROL_ACCESS, Some(RIGHT), ME)], true),
            (&[entry(5, 0, CONTROL_ACCESS, Some(RIGHT), GROUP)], true),
            (&[entry(5, 0, CONTROL_ACCESS, Some(OTHER), ME)], false),
            (&[entry(5, 0, CONTROL_ACCESS, Some(RIGHT), "S-1-5-21-1-2-3-9")], false),
            (&[entry(5, INHERIT_ONLY, CONTROL_ACCESS, Some(RIGHT), ME)], false),
            (&[entry(6, 0, CONTROL_ACCESS, Some(RIGHT), GROUP), entry(0, 0, CONTROL_ACCESS, None, ME)], false),
            (&[entry(6, 0, CONTROL_ACCESS, Some(OTHER), ME), entry(0, 0, GENERIC_ALL, None, "S-1-1-0")], true),
        ];
        for (entries, granted) in rows {
            let descriptor = Descriptor::read(&descriptor(entries)).expect("a descriptor");
            assert_eq!(descriptor.grants(&token, RIGHT), granted, "{entries:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_descriptor_or_a_harmless_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Descriptor::read(&bytes);
        }

        #[test]
        fn a_cut_descriptor_is_refused_or_read(at in 0usize..60) {
            let whole = descriptor(&[entry(5, 0, CONTROL_ACCESS, Some(RIGHT), "S-1-5-21-1-2-3-9")]);
            let _ = Descriptor::read(&whole[..at.min(whole.len())]);
        }
    }
}
