//! What is read of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::anchor::AnchorAttribute;
use super::declaration::Declaration;
use super::servers::Servers;
use super::writable::Writable;
use crate::config::Bounds;
use crate::identity::{ConnectorName, DistinguishedName};
use crate::ldap::{Filter, ServerUrl, ServiceAccount, Trust};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{DisabledTest, Wanted};

/// The object type of containers.
pub const CONTAINER: &str = "container";

#[derive(Clone, Debug)]
pub struct LdapConnectorSettings {
    pub name: ConnectorName,
    /// The word by which rules address it: `ldap`, or `ad`.
    pub kind: String,
    /// Asked in this order; the first that answers serves the whole import. Deltas stay with the server that served the full
    /// import before them.
    pub servers: Vec<ServerUrl>,
    pub trust: Trust,
    pub account: ServiceAccount,
    pub deadline: Duration,
    pub page_size: u32,
    /// The top of the tree in which containers are looked for.
    pub root: DistinguishedName,
    /// Containers whose subtree is read; empty: the whole of `root`.
    pub include: Vec<DistinguishedName>,
    /// Containers within them that are left out.
    pub exclude: Vec<DistinguishedName>,
    /// The immutable attribute that identifies an entry here, such as `entryUUID`.
    pub anchor: String,
    /// Its values are bytes, as of `objectGUID`.
    pub anchor_is_binary: bool,
    pub container_filter: Filter,
    pub types: Vec<ObjectType>,
    pub disabled_when: Vec<DisabledTest>,
    pub delta: DeltaChoice,
    /// What may be written back; nothing by default.
    pub writeback: Option<Writable>,
    /// Nothing beyond is told or written.
    pub bounds: Bounds,
}

/// How changes are learned between two full imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaChoice {
    /// The best that the server offers.
    #[default]
    Auto,
    /// RFC 4533.
    ContentSync,
    /// The retro change log of the 389 Directory Server and its relatives.
    Changelog,
    /// The log of OpenLDAP's overlay accesslog.
    AccessLog,
    /// Entries by `modifyTimestamp`: tells no deletes and no moves.
    Timestamp,
    /// The DirSync control of Active Directory.
    DirSync,
    /// Entries of Active Directory by `uSNChanged`, as one controller counts.
    Usn,
    /// Every import is full.
    Off,
}

/// One object type and what is read of it.
#[derive(Clone, Debug)]
pub struct ObjectType {
    /// The word of the rule files, such as `user`.
    pub name: String,
    pub filter: Filter,
    pub attributes: Vec<String>,
    /// Attributes whose values are DNs of other objects.
    pub references: Vec<String>,
    /// Attributes whose values are bytes.
    pub binary: Vec<String>,
}

impl ObjectType {
    fn plain(name: &str, filter: Filter) -> Self {
        Self { name: name.to_owned(), filter, attributes: Vec::new(), references: Vec::new(), binary: Vec::new() }
    }
}

impl LdapConnectorSettings {
    pub(super) fn servers(&self) -> Servers<'_> {
        let Self { name, servers, trust, account, deadline, .. } = self;
        Servers { name, servers, trust, account, deadline: *deadline }
    }

    pub(super) fn anchor(&self) -> AnchorAttribute<'_> {
        AnchorAttribute { name: &self.anchor, is_binary: self.anchor_is_binary }
    }

    /// The usual container classes of LDAP directories.
    pub fn usual_containers() -> Filter {
        let classes = [
            "organizationalUnit",
            "organization",
            "domain",
            "dcObject",
            "locality",
            "country",
            "container",
            "nsContainer",
            "builtinDomain",
        ];
        Filter::or(classes.into_iter().map(|class| Filter::equal("objectClass", class)))
    }

    pub(super) fn declaration(&self) -> Declaration {
        Declaration {
            kind: self.kind.clone(),
            root: self.root.clone(),
            delta: self.delta,
            writes_back: self.writeback.is_some(),
            disabled_when: self.disabled_when.clone(),
        }
    }

    /// What rules are told of the directory with this root.
    pub(super) fn parameters_of(root: &DistinguishedName) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::from([("Domain.LDAP".to_owned(), root.as_str().to_owned())]);
        let labels: Option<Vec<&str>> = root
            .as_str()
            .split(',')
            .map(|rdn| {
                let (attribute, value) = rdn.trim().split_once('=')?;
                attribute.trim().eq_ignore_ascii_case("dc").then_some(value.trim())
            })
            .collect();
        if let Some(labels) = labels {
            parameters.insert("Domain.FQDN".to_owned(), labels.join("."));
        }
        parameters
    }

    /// The naming context of a container, as far as its name tells: its trailing domain components, or its last RDN.
    pub fn root_of(container: &DistinguishedName) -> DistinguishedName {
        let mut root = container.clone();
        let is_dc = |dn: &DistinguishedName| dn.rdn().is_some_and(|rdn| rdn.to_ascii_lowercase().starts_with("dc="));
        while let Some(parent) = root.parent().filter(|parent| !parent.is_root() && !is_dc(&root)) {
            root = parent;
        }
        root
    }

    /// inetOrgPerson people and groupOfNames groups. What the rules read is added to it by every import.
    pub fn usual_types() -> Vec<ObjectType> {
        Self::types(Filter::equal("objectClass", "inetOrgPerson"), Filter::equal("objectClass", "groupOfNames"))
    }

    /// What the rules of kind `ldap` know: people, then groups.
    pub fn types(users: Filter, groups: Filter) -> Vec<ObjectType> {
        vec![ObjectType::plain("user", users), ObjectType::plain("group", groups)]
    }

    /// What the rules of kind `ad` know of Active Directory: people come before whom groups refer to. A computer is a
    /// user by its object classes, and here it is none.
    pub fn types_of_active_directory(users: &Filter, groups: &Filter) -> Vec<ObjectType> {
        let class = |name: &str| Filter::equal("objectClass", name);
        let is_not = |name: &str| Filter::not(class(name));
        let people = Filter::and([users.clone(), is_not("computer"), is_not("inetOrgPerson")]);
        [
            ("user", people),
            ("inetOrgPerson", Filter::and([users.clone(), class("inetOrgPerson")])),
            ("contact", class("contact")),
            ("foreignSecurityPrincipal", class("foreignSecurityPrincipal")),
            ("computer", class("computer")),
            ("group", groups.clone()),
        ]
        .into_iter()
        .map(|(name, filter)| ObjectType::plain(name, filter))
        .collect()
    }

    /// Adds what the rules read to what the settings list.
    pub(super) fn want(&mut self, wanted: &BTreeMap<String, Wanted>) {
        for object_type in &mut self.types {
            let Some(wanted) = wanted.get(&object_type.name) else { continue };
            let add = |list: &mut Vec<String>, names: &BTreeSet<Attribute>| {
                for name in names {
                    if !list.iter().any(|listed| listed.eq_ignore_ascii_case(name.as_str())) {
                        list.push(name.as_str().to_owned());
                    }
                }
            };
            add(&mut object_type.attributes, &wanted.attributes);
            add(&mut object_type.references, &wanted.references);
        }
    }

    pub(super) fn containers(&self) -> ObjectType {
        ObjectType::plain(CONTAINER, self.container_filter.clone())
    }

    /// Over everything that decides which objects are read and what of them: a watermark taken under other settings or
    /// other rules does not know what it never read.
    pub(super) fn digest(&self) -> String {
        let mut sha = Sha256::new();
        let mut feed = |text: &str| {
            sha.update((text.len() as u64).to_be_bytes());
            sha.update(text.to_ascii_lowercase().as_bytes());
        };
        feed(&self.root.folded());
        for list in [&self.include, &self.exclude] {
            feed("containers");
            let names: BTreeSet<String> = list.iter().map(DistinguishedName::folded).collect();
            names.iter().for_each(|name| feed(name));
        }
        feed(&self.anchor);
        feed(&self.container_filter.to_string());
        for object_type in &self.types {
            feed(&object_type.name);
            feed(&object_type.filter.to_string());
            for list in [&object_type.attributes, &object_type.references, &object_type.binary] {
                feed("attributes");
                let names: BTreeSet<String> = list.iter().map(|name| name.to_ascii_lowercase()).collect();
                names.iter().for_each(|name| feed(name));
            }
        }
        for test in &self.disabled_when {
            feed(test.attribute().as_str());
        }
        hex::encode(&sha.finalize()[..16])
    }
}
