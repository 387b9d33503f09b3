//! IDL_DRSCrackNames (MS-DRSR 4.1.4): from one form of an object's name to another.

use super::ContextHandle;
use crate::error::MalformedReply;
use crate::ndr::{Reader, Writer};

/// A form of names (DS_NAME_FORMAT, MS-DRSR 4.1.4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFormat {
    /// Offered: the server finds out the form by itself.
    Unknown,
    /// `CN=Ada,OU=Staff,DC=corp,DC=example`
    DistinguishedName,
    /// `CORP\ada`, and `CORP\` for the domain.
    Nt4Account,
    /// `{f2c3...}`
    UniqueId,
    /// `corp.example/Staff/Ada`, and `corp.example/` for the domain.
    Canonical,
    /// `ada@corp.example`
    UserPrincipal,
    /// `S-1-5-21-...`, offered only.
    SecurityId,
}

impl NameFormat {
    fn code(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::DistinguishedName => 1,
            Self::Nt4Account => 2,
            Self::UniqueId => 6,
            Self::Canonical => 7,
            Self::UserPrincipal => 8,
            Self::SecurityId => 11,
        }
    }
}

/// What became of one name (DS_NAME_RESULT_ITEMW, DS_NAME_ERROR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrackedName {
    Found {
        /// The object's domain by its DNS name.
        domain: Option<String>,
        name: String,
    },
    NotFound,
    /// Several objects have it.
    NotUnique,
    /// The object has no name of the form that was asked for.
    NoSuchForm,
    /// The name belongs to a domain that this server does not hold.
    OtherDomain {
        domain: Option<String>,
    },
    Failed {
        code: u32,
    },
}

pub(crate) fn request(handle: ContextHandle, offered: NameFormat, desired: NameFormat, names: &[String]) -> Vec<u8> {
    let mut writer = Writer::default();
    handle.write(&mut writer);
    for word in [1, 1, 0, 0, 0, offered.code(), desired.code()] {
        writer.u32(word);
    }
    writer.count(names.len());
    writer.pointer();
    writer.count(names.len());
    for _ in names {
        writer.pointer();
    }
    for name in names {
        writer.align(4);
        writer.wide_string(name);
    }
    writer.finish()
}

pub(crate) fn reply(results: &[u8]) -> Result<Vec<CrackedName>, MalformedReply> {
    let mut reader = Reader::new(results);
    if (reader.u32()?, reader.u32()?) != (1, 1) {
        return Err(reader.malformed("version"));
    }
    if !reader.pointer()? {
        return Ok(Vec::new());
    }
    let announced = reader.u32()?;
    if !reader.pointer()? {
        return if announced == 0 { Ok(Vec::new()) } else { Err(reader.malformed("names")) };
    }
    let count = reader.announced_array(announced, 12)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        heads.push((reader.u32()?, reader.pointer()?, reader.pointer()?));
    }
    let mut names = Vec::with_capacity(count);
    for (status, has_domain, has_name) in heads {
        let domain = reader.optional_wide_string(has_domain)?;
        let name = reader.optional_wide_string(has_name)?;
        names.push(match (status, name) {
            (0, Some(name)) => CrackedName::Found { domain, name },
            (0, None) => return Err(reader.malformed("name")),
            (2, _) => CrackedName::NotFound,
            (3, _) => CrackedName::NotUnique,
            (4, _) => CrackedName::NoSuchForm,
            (5 | 7, _) => CrackedName::OtherDomain { domain },
            (code, _) => CrackedName::Failed { code },
        });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(items: &[(u32, Option<&str>, Option<&str>)]) -> Vec<u8> {
        let mut writer = Writer::default();
        for word in [1, 1] {
            writer.u32(word);
        }
        writer.pointer();
        writer.count(items.len());
        writer.pointer();
        writer.count(items.len());
        for (status, domain, name) in items {
            writer.u32(*status);
            writer.optional_pointer(domain.is_some());
            writer.optional_pointer(name.is_some());
        }
        for text in items.iter().flat_map(|(_, domain, name)| [domain, name]).flatten() {
            writer.wide_string(text);
        }
        writer.finish()
    }

    #[test]
    fn each_name_has_its_own_result() {
        let stub =
            answer(&[(0, Some("corp.example"), Some("CN=Ada")), (2, None, None), (5, Some("other.example"), None)]);
        let names = reply(&stub).unwrap();
        assert_eq!(
            names,
            [
                CrackedName::Found { domain: Some("corp.example".to_owned()), name: "CN=Ada".to_owned() },
                CrackedName::NotFound,
                CrackedName::OtherDomain { domain: Some("other.example".to_owned()) },
            ]
        );
        for length in 0..stub.len() {
            assert!(reply(&stub[..length]).is_err());
        }
        assert!(reply(&answer(&[(0, None, None)])).is_err());
    }

    proptest! {
        #[test]
        fn replies_of_any_bytes_are_read_or_refused(noise in prop::collection::vec(any::<(u16, u8)>(), 1..8)) {
            let mut stub = answer(&[(0, Some("corp.example"), Some("CN=Ada")), (2, None, None)]);
            for (at, byte) in noise {
                let at = usize::from(at) % stub.len();
                stub[at] = byte;
            }
            if let Ok(names) = reply(&stub) {
                prop_assert!(names.len() <= stub.len());
            }
        }
    }
}
