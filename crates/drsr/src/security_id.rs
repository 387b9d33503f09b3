//! Security identifiers (MS-DTYP 2.4.2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const REVISION: u8 = 1;
const MAX_SUB_AUTHORITIES: usize = 15;

/// The identity of an account, group or domain; printed as `S-1-5-21-...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecurityId {
    authority: u64,
    sub_authorities: Vec<u32>,
}

/// What is not a security identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no security identifier")]
pub struct SecurityIdError;

impl SecurityId {
    /// The binary form (MS-DTYP 2.4.2.2), which may be followed by padding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecurityIdError> {
        let (head, rest) = bytes.split_at_checked(8).ok_or(SecurityIdError)?;
        let count = usize::from(head[1]);
        if head[0] != REVISION || count > MAX_SUB_AUTHORITIES {
            return Err(SecurityIdError);
        }
        let authority = head[2..].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let words = rest.get(..count * 4).ok_or(SecurityIdError)?;
        let sub_authorities = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Self { authority, sub_authorities })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.sub_authorities.len()).expect("at most 15");
        let mut bytes = vec![REVISION, count];
        bytes.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        bytes.extend(self.sub_authorities.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// The last part: the account within its domain. It is the key of the innermost encryption of a hash.
    pub fn relative_id(&self) -> Option<u32> {
        self.sub_authorities.last().copied()
    }
}

impl fmt::Display for SecurityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-{REVISION}-{}", self.authority)?;
        self.sub_authorities.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl FromStr for SecurityId {
    type Err = SecurityIdError;

    fn from_str(text: &str) -> Result<Self, SecurityIdError> {
        let mut parts = text.strip_prefix("S-1-").ok_or(SecurityIdError)?.split('-');
        let authority: u64 = number(parts.next().ok_or(SecurityIdError)?)?;
        let sub_authorities = parts.map(number).collect::<Result<Vec<u32>, _>>()?;
        if authority >= 1 << 48 || sub_authorities.len() > MAX_SUB_AUTHORITIES {
            return Err(SecurityIdError);
        }
        Ok(Self { authority, sub_authorities })
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, SecurityIdError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SecurityIdError);
    }
    text.parse().map_err(|_| SecurityIdError)
}

impl TryFrom<String> for SecurityId {
    type Error = SecurityIdError;

    fn try_from(text: String) -> Result<Self, SecurityIdError> {
        text.parse()
    }
}

impl From<SecurityId> for String {
    fn from(id: SecurityId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_relative_id_is_the_last_part() {
        let id: SecurityId = "S-1-5-21-1004336348-1177238915-682003330-512".parse().unwrap();
        assert_eq!(id.relative_id(), Some(512));
        assert_eq!("S-1-5".parse::<SecurityId>().unwrap().relative_id(), None);
        for text in ["", "S-1-", "S-2-5", "S-1-5-", "S-1-+5", "S-1-5-4294967296", "S-1-281474976710656"] {
            assert_eq!(text.parse::<SecurityId>(), Err(SecurityIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_of_an_identifier_lead_back(authority in 0u64..1 << 48, parts in prop::collection::vec(any::<u32>(), 0..=15)) {
            let id = SecurityId { authority, sub_authorities: parts };
            prop_assert_eq!(SecurityId::from_bytes(&id.to_bytes()), Ok(id.clone()));
            prop_assert_eq!(id.to_string().parse::<SecurityId>(), Ok(id));
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(id) = SecurityId::from_bytes(&bytes) {
                let again = id.to_bytes();
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
        }
    }
}
