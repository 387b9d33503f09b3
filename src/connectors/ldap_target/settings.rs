//! What is written to a directory that is a target, and how its entries read as objects.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DN;
use crate::connectors::ldap::anchor::{AnchorAttribute, value};
use crate::connectors::ldap::servers::Servers;
use crate::connectors::ldap::{DeltaChoice, Writable};
use crate::identity::{ConnectorName, DistinguishedName};
use crate::ldap::{Entry, Filter, ServerUrl, ServiceAccount, Trust};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::{Adopted, ImportedObject};

#[derive(Clone, Debug)]
pub struct LdapTargetSettings {
    pub name: ConnectorName,
    /// In order of preference; the first that answers is asked.
    pub servers: Vec<ServerUrl>,
    pub trust: Trust,
    pub account: ServiceAccount,
    pub deadline: Duration,
    pub page_size: u32,
    /// Below these entries are read and written, and nowhere else.
    pub bases: Vec<DistinguishedName>,
    /// The immutable attribute that identifies an entry here, such as `entryUUID`.
    pub anchor: String,
    pub anchor_is_binary: bool,
    pub types: Vec<TargetType>,
    pub writable: Writable,
    /// How changes are learned; `Off`: every import is full.
    pub delta: DeltaChoice,
    /// The member of groups that have no other, where the schema wants one.
    pub placeholder_member: Option<DistinguishedName>,
    /// What becomes of entries that others made, when who adopted them leaves.
    pub adopted: Adopted,
}

/// One object type and what its entries are.
#[derive(Clone, Debug)]
pub struct TargetType {
    /// The word of the rule files, such as `user`.
    pub name: String,
    /// The object classes of entries that are added.
    pub classes: Vec<String>,
    pub filter: Filter,
    /// Attributes whose values are names of other entries.
    pub references: Vec<String>,
    /// Gets the placeholder member.
    pub is_group: bool,
}

impl LdapTargetSettings {
    pub(super) fn servers(&self) -> Servers<'_> {
        let Self { name, servers, trust, account, deadline, .. } = self;
        Servers { name, servers, trust, account, deadline: *deadline }
    }

    pub(super) fn anchor(&self) -> AnchorAttribute<'_> {
        AnchorAttribute { name: &self.anchor, is_binary: self.anchor_is_binary }
    }

    pub(super) fn of_type(&self, name: &str) -> Option<&TargetType> {
        self.types.iter().find(|object_type| object_type.name == name)
    }

    pub(super) fn covers(&self, dn: &DistinguishedName) -> bool {
        self.bases.iter().any(|base| dn.is_within(base))
    }

    /// The attributes that are read of entries of a type, its references left out.
    pub(super) fn read_of(&self, object_type: &TargetType) -> Vec<String> {
        let is_reference = |name: &str| object_type.references.iter().any(|other| other.eq_ignore_ascii_case(name));
        let written = self.writable.names().filter(|name| !is_reference(name));
        std::iter::once(self.anchor.as_str()).chain(written).map(str::to_owned).collect()
    }

    /// An entry without its references.
    pub(super) fn object(&self, object_type: &TargetType, anchor: String, entry: &Entry) -> ImportedObject {
        let mut attributes = Attributes::from([(DN.into(), vec![Value::text(entry.dn.as_str())])]);
        for name in self.read_of(object_type).into_iter().skip(1) {
            let values = entry.values(&name.to_ascii_lowercase());
            if !values.is_empty() {
                let binary = self.writable.is_binary(&name);
                attributes.insert(Attribute::new(name), values.iter().map(|bytes| value(bytes, binary)).collect());
            }
        }
        ImportedObject {
            anchor,
            dn: None,
            object_type: object_type.name.clone(),
            container: false,
            attributes,
            references: BTreeMap::new(),
        }
    }
}
