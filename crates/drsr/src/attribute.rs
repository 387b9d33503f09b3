//! The attributes of an account that are replicated.

use crate::prefix_table::{AttributeId, ObjectIdentifier, PrefixTable};

/// An attribute that this crate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountAttribute {
    UnicodePwd,
    PwdLastSet,
    UserAccountControl,
    LockoutTime,
    AccountExpires,
    LogonHours,
    ObjectSid,
    ObjectGuid,
    SamAccountName,
    UserPrincipalName,
    ConsistencyGuid,
    IsDeleted,
}

impl AccountAttribute {
    pub(crate) const ALL: [Self; 12] = [
        Self::UnicodePwd,
        Self::PwdLastSet,
        Self::UserAccountControl,
        Self::LockoutTime,
        Self::AccountExpires,
        Self::LogonHours,
        Self::ObjectSid,
        Self::ObjectGuid,
        Self::SamAccountName,
        Self::UserPrincipalName,
        Self::ConsistencyGuid,
        Self::IsDeleted,
    ];

    /// Its attributeID in the schema (MS-ADA1, MS-ADA2, MS-ADA3).
    pub fn identifier(self) -> ObjectIdentifier {
        let text = match self {
            Self::UnicodePwd => "1.2.840.113556.1.4.90",
            Self::PwdLastSet => "1.2.840.113556.1.4.96",
            Self::UserAccountControl => "1.2.840.113556.1.4.8",
            Self::LockoutTime => "1.2.840.113556.1.4.662",
            Self::AccountExpires => "1.2.840.113556.1.4.159",
            Self::LogonHours => "1.2.840.113556.1.4.64",
            Self::ObjectSid => "1.2.840.113556.1.4.146",
            Self::ObjectGuid => "1.2.840.113556.1.4.2",
            Self::SamAccountName => "1.2.840.113556.1.4.221",
            Self::UserPrincipalName => "1.2.840.113556.1.4.656",
            Self::ConsistencyGuid => "1.2.840.113556.1.4.1360",
            Self::IsDeleted => "1.2.840.113556.1.2.48",
        };
        text.parse().expect("an identifier of the schema")
    }
}

/// The attributes under the ids of one table.
pub(crate) struct AttributeIds(Vec<(AttributeId, AccountAttribute)>);

impl AttributeIds {
    /// Those attributes that `table` can name: one that it cannot is in none of the objects that came with it.
    pub(crate) fn new(table: &PrefixTable) -> Self {
        let ids = AccountAttribute::ALL.into_iter();
        Self(ids.filter_map(|attribute| Some((table.attribute_id(&attribute.identifier())?, attribute))).collect())
    }

    pub(crate) fn attribute(&self, id: AttributeId) -> Option<AccountAttribute> {
        self.0.iter().find(|(known, _)| *known == id).map(|(_, attribute)| *attribute)
    }

    pub(crate) fn ids(&self) -> impl ExactSizeIterator<Item = AttributeId> {
        self.0.iter().map(|(id, _)| *id)
    }
}

/// The table under which a request names [`AccountAttribute::ALL`].
pub(crate) fn own_table() -> PrefixTable {
    let identifiers = AccountAttribute::ALL.map(AccountAttribute::identifier);
    PrefixTable::for_attributes(&identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_table_names_every_attribute_once() {
        let ids = AttributeIds::new(&own_table());
        let found: Vec<_> = ids.ids().filter_map(|id| ids.attribute(id)).collect();
        assert_eq!(found, AccountAttribute::ALL);
    }
}
