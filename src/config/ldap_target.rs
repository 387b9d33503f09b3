//! `[[connectors]]` with `kind = "ldap-target"`: a directory whose entries the rules write; and `export` of a directory that
//! is a source: which attributes may be written back.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{ConnectorName, DistinguishedName, PlainPassword};

use super::connector::{DeltaMethod, Dialect};
use super::reader::Table;
use super::scim::{AdoptedObjects, adopted, ca_file};
use super::secret::secret;

/// Attributes that may be written to a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritableAttributes {
    /// Whatever is not listed is never written.
    pub attributes: Vec<String>,
    /// Those whose values are bytes, besides the usual ones.
    pub binary: Vec<String>,
}

impl WritableAttributes {
    fn read(table: &Table<'_>) -> Self {
        let attributes: Vec<String> = table.list("attributes", "give attribute names");
        if attributes.is_empty() {
            table.complain("attributes", "no attribute may be written", "list the attributes that rules may write");
        }
        Self { attributes, binary: table.list("binary", "give attribute names") }
    }

    /// `export` of a source; absent: nothing is written back.
    pub(super) fn of_source(table: &Table<'_>) -> Option<Self> {
        if !table.has("export") {
            return None;
        }
        let export = table.table("export");
        let writable = Self::read(&export);
        export.finish();
        Some(writable)
    }
}

#[derive(Clone, Debug)]
pub struct LdapTargetSettings {
    pub name: ConnectorName,
    pub dialect: Dialect,
    /// In order of preference: `ldaps://host:port`, or `ldap://host:port` with StartTLS.
    pub servers: Vec<String>,
    /// PEM file of the certification authorities; the system's when absent.
    pub ca_file: Option<PathBuf>,
    pub bind_dn: DistinguishedName,
    pub bind_password: PlainPassword,
    /// Below these entries are read and written, and nowhere else.
    pub bases: Vec<DistinguishedName>,
    pub user_filter: Option<String>,
    pub group_filter: Option<String>,
    /// Object classes of entries that are added; the first tells which entries are read as that type.
    pub user_classes: Vec<String>,
    pub group_classes: Vec<String>,
    /// Attributes whose values are names of other entries.
    pub user_references: Vec<String>,
    pub group_references: Vec<String>,
    pub anchor_attribute: String,
    pub writable: WritableAttributes,
    /// How changes are learned; off: every import is full.
    pub delta: DeltaMethod,
    /// A member that every group gets, where the schema wants at least one.
    pub placeholder_member: Option<DistinguishedName>,
    /// What becomes of entries that others made, when who adopted them leaves.
    pub adopted: AdoptedObjects,
    /// The attribute by which entries that rules added are known from those that others made.
    pub mark_attribute: Option<String>,
    pub page_size: u32,
    /// How long one request may take.
    pub deadline: Duration,
}

/// Only ways that tell everything: what others change or delete is put right by what is seen of it.
fn delta(table: &Table<'_>, ad: bool) -> DeltaMethod {
    const REMEDY: &str = "write auto, content-sync, changelog, accesslog or off";
    let method = table.parsed("delta", REMEDY).unwrap_or(DeltaMethod::Off);
    let complete = match method {
        DeltaMethod::Auto | DeltaMethod::ContentSync | DeltaMethod::Changelog | DeltaMethod::AccessLog => !ad,
        DeltaMethod::Off => true,
        DeltaMethod::Timestamp | DeltaMethod::DirSync | DeltaMethod::Usn => false,
    };
    if !complete {
        table.complain("delta", "changes of this target cannot be learned so", REMEDY);
    }
    method
}

impl LdapTargetSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        table.has("kind");
        let second = Duration::from_secs(1);
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let dialect: Option<Dialect> = table.required("dialect", "write openldap, 389ds or ad");
        let servers: Vec<String> = table.list("servers", "give ldaps://HOST[:PORT] or ldap://HOST[:PORT]");
        if servers.is_empty() {
            table.complain("servers", "no server is given", "give at least one ldaps://HOST or ldap://HOST (StartTLS)");
        }
        let ca_file = ca_file(&table);
        let bind_dn = table.required("bind_dn", "give the DN of the account that writes");
        let bind_password = secret(&table, "bind_password_file", "bind_password_env");
        let bases: Vec<DistinguishedName> = table.list("bases", "give distinguished names");
        if bases.is_empty() {
            table.complain("bases", "no base is given", "give the DNs below which entries are written");
        }
        let list = |key, default: &[&str]| {
            let given: Vec<String> = table.list(key, "give names");
            let usual = || default.iter().map(|name| (*name).to_owned()).collect();
            if table.has(key) { given } else { usual() }
        };
        let ad = dialect == Some(Dialect::ActiveDirectory);
        let (person, group) = if ad { ("user", "group") } else { ("inetOrgPerson", "groupOfNames") };
        let settings = Self {
            name: name?,
            dialect: dialect?,
            servers,
            ca_file,
            bind_dn: bind_dn?,
            bind_password: bind_password?,
            bases,
            user_filter: table.text("user_filter").map(|text| text.into_owned()),
            group_filter: table.text("group_filter").map(|text| text.into_owned()),
            user_classes: list("user_classes", &[person]),
            group_classes: list("group_classes", &[group]),
            user_references: list("user_references", &[]),
            group_references: list("group_references", &["member"]),
            anchor_attribute: table
                .text("anchor_attribute")
                .map_or_else(|| dialect.map_or("", Dialect::anchor).to_owned(), |text| text.into_owned()),
            writable: WritableAttributes::read(&table),
            delta: delta(&table, ad),
            placeholder_member: table.parsed("placeholder_member", "give the DN of the placeholder"),
            adopted: adopted(&table),
            mark_attribute: table.text("mark_attribute").map(|text| text.into_owned()),
            page_size: table.number("page_size", 10..=10_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(500),
            deadline: table.duration("deadline", second..=600 * second).unwrap_or(30 * second),
        };
        let writable = settings.writable.attributes.iter();
        if let Some(mark) = &settings.mark_attribute
            && !writable.clone().any(|name| name.eq_ignore_ascii_case(mark))
        {
            let what = format!("`{mark}` is not written here, so that it marks nothing");
            table.complain("mark_attribute", what, "list it in `attributes` too, and let a rule write it");
        }
        table.finish();
        if settings.user_classes.is_empty() || settings.group_classes.is_empty() { None } else { Some(settings) }
    }
}
