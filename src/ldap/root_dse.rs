//! The root DSE: what a server says about itself (RFC 4512, section 5.1).

use super::connection::Connection;
use super::content_sync::SYNC_REQUEST_OID;
use super::dir_sync::DIR_SYNC_OID;
use super::entry::Entry;
use super::error::LdapError;
use super::time;
use crate::identity::{DistinguishedName, Timestamp};

/// Active Directory, or a server that behaves as one (MS-ADTS, section 3.1.1.3.4.3).
const ACTIVE_DIRECTORY_OIDS: [&str; 2] = ["1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1851"];

/// A server's account of itself. What it does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootDse {
    pub controls: Vec<String>,
    pub extensions: Vec<String>,
    pub capabilities: Vec<String>,
    pub naming_contexts: Vec<DistinguishedName>,
    pub vendor: String,
    pub subschema: Option<DistinguishedName>,
    /// Where the change log begins, of servers that keep one (draft-good-ldap-changelog).
    pub changelog: Option<DistinguishedName>,
    pub first_change: Option<u64>,
    pub last_change: Option<u64>,
    /// Where Active Directory describes the controller itself.
    pub service: Option<DistinguishedName>,
    /// The last change that the controller has taken, by its own count.
    pub highest_usn: Option<u64>,
    /// The head of the controller's domain, and of the forest's schema.
    pub domain: Option<DistinguishedName>,
    pub schema_context: Option<DistinguishedName>,
    /// The full name of Active Directory's controller.
    pub host: Option<String>,
    /// What time it is there.
    pub now: Option<Timestamp>,
}

const ATTRIBUTES: [&str; 17] = [
    "supportedControl",
    "supportedExtension",
    "supportedCapabilities",
    "namingContexts",
    "vendorName",
    "vendorVersion",
    "objectClass",
    "subschemaSubentry",
    "changelog",
    "firstChangeNumber",
    "lastChangeNumber",
    "dsServiceName",
    "highestCommittedUSN",
    "defaultNamingContext",
    "schemaNamingContext",
    "currentTime",
    "dnsHostName",
];

impl RootDse {
    fn of(entry: &Entry) -> Self {
        let list = |name: &str| entry.texts(name).map(str::to_owned).collect::<Vec<_>>();
        let dn = |name: &str| entry.text(name).and_then(|text| text.parse().ok());
        let number = |name: &str| entry.text(name).and_then(|text| text.parse().ok());
        let named = ["vendorname", "vendorversion"].into_iter().filter_map(|name| entry.text(name));
        let mut vendor = named.collect::<Vec<_>>().join(" ");
        if vendor.is_empty() && entry.texts("objectclass").any(|class| class.eq_ignore_ascii_case("OpenLDAProotDSE")) {
            "OpenLDAP".clone_into(&mut vendor);
        }
        Self {
            controls: list("supportedcontrol"),
            extensions: list("supportedextension"),
            capabilities: list("supportedcapabilities"),
            naming_contexts: entry.texts("namingcontexts").filter_map(|text| text.parse().ok()).collect(),
            vendor,
            subschema: dn("subschemasubentry"),
            changelog: dn("changelog"),
            first_change: number("firstchangenumber"),
            last_change: number("lastchangenumber"),
            service: dn("dsservicename"),
            highest_usn: number("highestcommittedusn"),
            domain: dn("defaultnamingcontext"),
            schema_context: dn("schemanamingcontext"),
            host: entry.text("dnshostname").map(str::to_owned),
            now: entry.text("currenttime").and_then(time::generalized),
        }
    }

    pub fn offers_content_sync(&self) -> bool {
        self.controls.iter().any(|oid| oid == SYNC_REQUEST_OID)
    }

    pub fn offers_dir_sync(&self) -> bool {
        self.controls.iter().any(|oid| oid == DIR_SYNC_OID)
    }

    pub fn is_active_directory(&self) -> bool {
        self.capabilities.iter().any(|oid| ACTIVE_DIRECTORY_OIDS.contains(&oid.as_str()))
    }

    pub fn is_openldap(&self) -> bool {
        self.vendor.contains("OpenLDAP")
    }

    /// The 389 Directory Server under any of its names.
    pub fn is_389(&self) -> bool {
        self.vendor.contains("389") || self.vendor.contains("Red Hat-Directory")
    }
}

impl Connection {
    pub async fn root_dse(&mut self) -> Result<RootDse, LdapError> {
        let attributes = ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect();
        Ok(self.read(&DistinguishedName::root(), attributes).await?.as_ref().map(RootDse::of).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn dse(attributes: &[(&str, &[&str])]) -> RootDse {
        let values = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let attributes: BTreeMap<_, _> =
            attributes.iter().map(|(name, list)| ((*name).to_owned(), values(list))).collect();
        RootDse::of(&Entry { dn: DistinguishedName::root(), attributes })
    }

    #[test]
    fn servers_are_told_apart() {
        let openldap = dse(&[("objectclass", &["top", "OpenLDAProotDSE"]), ("supportedcontrol", &[SYNC_REQUEST_OID])]);
        assert!(
            openldap.offers_content_sync()
                && openldap.is_openldap()
                && !openldap.is_389()
                && !openldap.is_active_directory()
        );
        assert_eq!(openldap.vendor, "OpenLDAP");
        let ds = dse(&[
            ("vendorname", &["389 Project"]),
            ("vendorversion", &["389-Directory/2.3.1"]),
            ("changelog", &["cn=changelog"]),
            ("firstchangenumber", &["1"]),
            ("lastchangenumber", &["12"]),
        ]);
        assert!(ds.is_389() && !ds.offers_content_sync());
        assert_eq!((ds.first_change, ds.last_change), (Some(1), Some(12)));
        assert!(dse(&[("supportedcapabilities", &["1.2.840.113556.1.4.800"])]).is_active_directory());
        assert_eq!(dse(&[]), RootDse::default());
    }
}
