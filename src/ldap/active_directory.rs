//! What Active Directory is asked for by controls of its own: deleted objects, and who may do what to an object.

use super::ber::{INTEGER, SEQUENCE, Writer};
use super::connection::Connection;
use super::error::LdapError;
use super::filter::Filter;
use super::request::{Mode, Request};
use super::search::{Scope, Search};
use crate::identity::DistinguishedName;

/// LDAP_SERVER_SD_FLAGS_OID (MS-ADTS, section 3.1.1.3.4.1.11).
pub(super) const DESCRIPTOR_FLAGS_OID: &str = "1.2.840.113556.1.4.801";
/// Owner, group and the list of who may do what; not the list of what is audited, which only auditors may read.
const OWNER_GROUP_AND_ACCESS: u32 = 7;
/// Where deleted objects are kept, below the head of a naming context (MS-ADTS, section 3.1.1.4.2).
const DELETED_OBJECTS: &str = "Deleted Objects";
/// RFC 4511, appendix A.
const NO_SUCH_OBJECT: u32 = 32;
const INSUFFICIENT_ACCESS: u32 = 50;

impl Connection {
    /// Whether the account may read where the deleted objects of a naming context are kept, and so the objects. That it is
    /// there is seen by everybody on Samba.
    pub async fn sees_deleted(&mut self, naming_context: &DistinguishedName) -> Result<bool, LdapError> {
        let Ok(base) = naming_context.child("CN", DELETED_OBJECTS) else { return Ok(false) };
        let search =
            Search { base, scope: Scope::Base, filter: Filter::any(), attributes: vec!["isDeleted".to_owned()] };
        let mut paged = self.search_paged(search, 1).with_deleted();
        match paged.next_page().await {
            Ok(page) => Ok(page.is_some_and(|page| page.entries.iter().any(|entry| entry.text("isdeleted").is_some()))),
            Err(LdapError::SearchRefused { code: NO_SUCH_OBJECT | INSUFFICIENT_ACCESS, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The security descriptor of an object (MS-DTYP, section 2.4.6); `None` where the account may not read it.
    pub async fn descriptor(&mut self, dn: &DistinguishedName) -> Result<Option<Vec<u8>>, LdapError> {
        const ATTRIBUTE: &str = "nTSecurityDescriptor";
        let attributes = vec![ATTRIBUTE.to_owned()];
        let search = Search { base: dn.clone(), scope: Scope::Base, filter: Filter::any(), attributes };
        let found = self.collect(&search, 1, Mode::Descriptor).await?;
        let entry = found.entries.into_iter().next();
        Ok(entry.and_then(|entry| entry.bytes(&ATTRIBUTE.to_ascii_lowercase()).map(<[u8]>::to_vec)))
    }
}

/// `SEQUENCE { Flags INTEGER }`.
pub(super) fn descriptor_flags() -> Request {
    let mut value = Writer::new();
    value.constructed(SEQUENCE, |fields| {
        fields.number(INTEGER, OWNER_GROUP_AND_ACCESS);
    });
    value.finish()
}
