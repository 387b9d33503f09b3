//! Changes of entries: add, modify, rename, delete (RFC 4511, sections 4.6 to 4.9).
//!
//! A directory that answers has decided, so that its answer is a value and no error: whoever asked knows what a refusal
//! means for the object. An error leaves open whether the change was made.

use super::connection::Connection;
use super::error::LdapError;
use super::request;
use super::response::Outcome;
use crate::identity::DistinguishedName;

/// What a directory answered to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteAnswer {
    /// The result code (RFC 4511, appendix A); 0 is success.
    pub code: u32,
    pub diagnostic: String,
}

impl WriteAnswer {
    pub fn is_success(&self) -> bool {
        self.code == 0
    }
}

/// What is done to the values of one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModificationKind {
    Add,
    /// These values; all of them where none is given.
    Delete,
    /// These values stand for all others; none removes the attribute, and is no error where there is none.
    Replace,
}

impl ModificationKind {
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Add => 0,
            Self::Delete => 1,
            Self::Replace => 2,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modification {
    pub kind: ModificationKind,
    /// With its options, such as `userCertificate;binary`.
    pub attribute: String,
    pub values: Vec<Vec<u8>>,
}

/// A new name for an entry. The values of the old RDN are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub rdn: String,
    /// The new container; `None` leaves it where it is.
    pub parent: Option<DistinguishedName>,
}

impl Connection {
    /// Adds an entry with all its attributes.
    ///
    /// # Errors
    /// The answer did not come: the entry may be there or not.
    pub async fn add(
        &mut self,
        dn: &DistinguishedName,
        attributes: &[(String, Vec<Vec<u8>>)],
    ) -> Result<WriteAnswer, LdapError> {
        answer(self.written(|id| request::add(id, dn.as_str(), attributes), "add").await)
    }

    /// Carries all modifications out, or none.
    ///
    /// # Errors
    /// The answer did not come: they may be carried out or not.
    pub async fn modify(
        &mut self,
        dn: &DistinguishedName,
        modifications: &[Modification],
    ) -> Result<WriteAnswer, LdapError> {
        answer(self.written(|id| request::modify(id, dn.as_str(), modifications), "modify").await)
    }

    /// # Errors
    /// The answer did not come: the entry may have its old name or the new one.
    pub async fn rename(&mut self, dn: &DistinguishedName, rename: &Rename) -> Result<WriteAnswer, LdapError> {
        answer(self.written(|id| request::rename(id, dn.as_str(), rename), "rename").await)
    }

    /// # Errors
    /// The answer did not come: the entry may be there or not.
    pub async fn delete(&mut self, dn: &DistinguishedName) -> Result<WriteAnswer, LdapError> {
        answer(self.written(|id| request::delete(id, dn.as_str()), "delete").await)
    }
}

fn answer(outcome: Result<Outcome, LdapError>) -> Result<WriteAnswer, LdapError> {
    outcome.map(|Outcome { code, diagnostic }| WriteAnswer { code, diagnostic })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dn(text: &str) -> DistinguishedName {
        text.parse().expect("a name")
    }

    /// As OpenLDAP's own client writes them.
    #[test]
    fn requests_have_the_bytes_of_the_standard() {
        let change = |kind, values: &[&str]| Modification {
            kind,
            attribute: "cn".to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        };
        let changes = [change(ModificationKind::Replace, &["A", "B"]), change(ModificationKind::Delete, &[])];
        let modify = request::modify(2, "dc=x", &changes);
        let expected = b"\x30\x2d\x02\x01\x02\x66\x28\x04\x04dc=x\x30\x20\
            \x30\x11\x0a\x01\x02\x30\x0c\x04\x02cn\x31\x06\x04\x01A\x04\x01B\
            \x30\x0b\x0a\x01\x01\x30\x06\x04\x02cn\x31\x00";
        assert_eq!(modify[..], expected[..], "{modify:02x?}");
        let add = request::add(3, "dc=x", &[("dc".to_owned(), vec![b"x".to_vec()])]);
        assert_eq!(add[..], b"\x30\x18\x02\x01\x03\x68\x13\x04\x04dc=x\x30\x0b\x30\x09\x04\x02dc\x31\x03\x04\x01x"[..]);
        let moved = Rename { rdn: "dc=y".to_owned(), parent: Some(dn("o=z")) };
        let rename = request::rename(4, "dc=x", &moved);
        assert_eq!(rename[..], b"\x30\x19\x02\x01\x04\x6c\x14\x04\x04dc=x\x04\x04dc=y\x01\x01\xff\x80\x03o=z"[..]);
        let stays = Rename { rdn: "dc=y".to_owned(), parent: None };
        assert_eq!(request::rename(4, "dc=x", &stays)[6], 0x0f, "no new container");
        assert_eq!(request::delete(5, "dc=x")[..], b"\x30\x09\x02\x01\x05\x4a\x04dc=x"[..]);
    }
}
