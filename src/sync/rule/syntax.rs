//! Types of attributes. Spaces and the metaverse keep values as text or binary; expressions want to know which texts are
//! numbers and truths.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sync::attribute::{Attribute, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    Text,
    Integer,
    Boolean,
}

/// The types of attributes that are not text, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntaxes(BTreeMap<Attribute, Syntax>);

/// Of the schemas of Active Directory (MS-ADA1 to MS-ADA3), RFC 2307 and the metaverse.
const INTEGERS: [&str; 29] = [
    "accountExpires",
    "adminCount",
    "badPasswordTime",
    "badPwdCount",
    "codePage",
    "countryCode",
    "gidNumber",
    "groupType",
    "instanceType",
    "lastLogon",
    "lastLogonTimestamp",
    "lockoutTime",
    "logonCount",
    "memberCount",
    "msDS-SupportedEncryptionTypes",
    "msDS-User-Account-Control-Computed",
    "msExchRecipientDisplayType",
    "msExchRecipientTypeDetails",
    "msExchRemoteRecipientType",
    "primaryGroupID",
    "pwdLastSet",
    "sAMAccountType",
    "shadowExpire",
    "shadowLastChange",
    "systemFlags",
    "uSNChanged",
    "uSNCreated",
    "uidNumber",
    "userAccountControl",
];

const BOOLEANS: [&str; 13] = [
    "accountEnabled",
    "cloudCreated",
    "cloudFiltered",
    "cloudMastered",
    "isCriticalSystemObject",
    "isDeleted",
    "isRecycled",
    "isProvisionedInAD",
    "mailEnabled",
    "msExchHideFromAddressLists",
    "nsAccountLock",
    "pwdReset",
    "securityEnabled",
];

impl Default for Syntaxes {
    fn default() -> Self {
        let integers = INTEGERS.iter().map(|name| (Attribute::from(*name), Syntax::Integer));
        let booleans = BOOLEANS.iter().map(|name| (Attribute::from(*name), Syntax::Boolean));
        Self(integers.chain(booleans).collect())
    }
}

impl Syntaxes {
    pub fn set(&mut self, attribute: Attribute, syntax: Syntax) {
        self.0.insert(attribute, syntax);
    }

    /// The attributes of a type, in the order of their names.
    pub fn names_of(&self, syntax: Syntax) -> impl Iterator<Item = &Attribute> {
        self.0.iter().filter(move |(_, of)| **of == syntax).map(|(name, _)| name)
    }

    pub fn of(&self, attribute: &Attribute) -> Syntax {
        self.0.get(attribute).copied().unwrap_or(Syntax::Text)
    }
}

impl Syntax {
    /// A stored value as expressions see it. A text that is not of its type stays a text.
    pub fn typed(self, value: &Value) -> sync_expr::Value<'_> {
        let text = match value {
            Value::Binary { .. } => return sync_expr::Value::Binary(value.bytes().unwrap_or_default()),
            Value::Text(text) => text.as_str(),
        };
        let typed = match self {
            Self::Text => None,
            Self::Integer => text.trim().parse().ok().map(sync_expr::Value::Integer),
            Self::Boolean if text.eq_ignore_ascii_case("true") => Some(sync_expr::Value::Boolean(true)),
            Self::Boolean if text.eq_ignore_ascii_case("false") => Some(sync_expr::Value::Boolean(false)),
            Self::Boolean => None,
        };
        typed.unwrap_or(sync_expr::Value::from(text))
    }
}
