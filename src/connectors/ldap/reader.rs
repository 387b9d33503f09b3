//! What the ways of reading a directory share: connections, entries as objects, pages for the engine.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::anchor::value;
use super::extent::{Container, Extent};
use super::settings::{CONTAINER, LdapConnectorSettings, ObjectType};
use crate::identity::{DistinguishedName, causes};
use crate::ldap::{Connection, Entry, Filter, LdapError, Scope, Search};
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::connector::{ConnectorError, Hidden, ImportPage, ImportedObject, KnownBase, Reference, RefusedEntry};

/// LDAP results that mean "not now": nothing is concluded from them (RFC 4511, appendix A).
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// Why a way of reading gave no result.
#[derive(Debug)]
pub(super) enum Refused {
    /// The server does not do it, or not for this account, or not from this watermark: another way may work.
    Unfit(String),
    /// The read as such failed.
    Failed(ConnectorError),
}

pub(super) type Page = Result<Option<ImportPage>, ConnectorError>;

pub(super) struct Reader {
    pub settings: LdapConnectorSettings,
    pub pages: mpsc::Sender<Page>,
    pub known: Vec<KnownBase>,
}

/// Entries of one page as objects.
#[derive(Default)]
pub(super) struct Taken {
    pub page: ImportPage,
    /// Anchors of those that lie outside the scope.
    pub outside: Vec<String>,
    /// Anchors of those that were told in part.
    pub parts: Vec<String>,
}

impl Reader {
    /// The first server that answers, bound.
    pub async fn connect(&self) -> Result<Connection, ConnectorError> {
        self.settings.servers().connect().await
    }

    /// The server of a watermark, bound. What one server told cannot be continued at another.
    pub async fn connect_to(&self, name: &str) -> Result<Connection, Refused> {
        let server = self.settings.servers.iter().find(|server| server.to_string() == name);
        let Some(server) = server else {
            return Err(Refused::Unfit(format!("the watermark is of {name}, which is no server of this connector")));
        };
        let opened = async {
            let mut connection = Connection::open(server, &self.settings.trust, self.settings.deadline).await?;
            connection.bind(&self.settings.account).await?;
            Ok::<_, LdapError>(connection)
        };
        opened.await.map_err(|error| match self.settings.servers.len() {
            1 => {
                let connector = self.settings.name.clone();
                Refused::Failed(ConnectorError::Unreachable { connector, reason: error.told() })
            }
            _ => Refused::Unfit(format!("the server of the watermark does not serve: {}", causes(&error))),
        })
    }

    /// Every container below the root, and those of which the name cannot be read.
    pub async fn containers(
        &self,
        connection: &mut Connection,
    ) -> Result<(Vec<Container>, Vec<RefusedEntry>), ConnectorError> {
        let search = self.search(&self.settings.containers(), self.settings.root.clone());
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        let mut paged = connection.search_paged(search, self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.aborted(&error))? {
            for entry in page.entries {
                // Those below one without an anchor find their places by its name.
                if let Some(anchor) = self.anchor_of(&entry) {
                    found.push(Container { dn: entry.dn, anchor });
                }
            }
            refused.extend(unreadable(page.unreadable.into_iter().map(|name| (name, None))));
        }
        Ok((found, refused))
    }

    fn without_anchor(&self, dn: DistinguishedName) -> RefusedEntry {
        let reason = format!("it has no {}", self.settings.anchor);
        // It may be somebody whose anchor was taken out of sight.
        RefusedEntry { name: dn.to_string(), reason, hides: Hidden::At(dn) }
    }

    /// The search for objects of a type below `base`.
    pub fn search(&self, object_type: &ObjectType, base: DistinguishedName) -> Search {
        let mut attributes: BTreeSet<String> = BTreeSet::from([self.settings.anchor.clone()]);
        attributes.extend(object_type.attributes.iter().chain(&object_type.references).cloned());
        if object_type.name != CONTAINER {
            attributes.extend(self.settings.disabled_when.iter().map(|test| test.attribute().as_str().to_owned()));
        }
        Search {
            base,
            scope: Scope::Subtree,
            filter: object_type.filter.clone(),
            attributes: attributes.into_iter().collect(),
        }
    }

    /// Entries as objects. Those told in part are left to [`Self::rest`].
    pub fn take(&self, object_type: &ObjectType, entries: Vec<Entry>, extent: &Extent) -> Taken {
        let mut taken = Taken::default();
        for entry in entries {
            let anchor = self.anchor_of(&entry);
            if !extent.covers(&entry.dn) {
                taken.outside.extend(anchor);
                continue;
            }
            let Some(anchor) = anchor else {
                taken.page.refused.push(self.without_anchor(entry.dn));
                continue;
            };
            if entry.is_whole() {
                taken.page.objects.push(self.object(object_type, anchor, entry));
            } else {
                taken.parts.push(anchor);
            }
        }
        taken
    }

    /// Reads objects whole that a server told in part, one by one, and sends them.
    pub async fn rest(
        &self,
        connection: &mut Connection,
        object_type: &ObjectType,
        anchors: &[String],
        extent: &Extent,
    ) -> Result<(), ConnectorError> {
        for anchor in anchors {
            let mut search = self.search(object_type, self.settings.root.clone());
            search.filter = Filter::and([search.filter].into_iter().chain(self.anchor_filter(anchor)));
            let entries = connection.search(search).await.map_err(|error| self.aborted(&error))?;
            for entry in entries.into_iter().filter(|entry| extent.covers(&entry.dn)) {
                let entry = connection.complete(entry).await.map_err(|error| self.aborted(&error))?;
                let object = self.object(object_type, anchor.clone(), entry);
                self.send(ImportPage { objects: vec![object], ..ImportPage::default() }).await?;
            }
        }
        Ok(())
    }

    pub fn object(&self, object_type: &ObjectType, anchor: String, entry: Entry) -> ImportedObject {
        if object_type.name == CONTAINER {
            return Container { dn: entry.dn, anchor }.object();
        }
        let disabled = self.settings.disabled_when.iter().map(|test| test.attribute().as_str());
        let mut attributes = Attributes::new();
        for name in object_type.attributes.iter().map(String::as_str).chain(disabled) {
            let binary = object_type.binary.iter().any(|b| b.eq_ignore_ascii_case(name));
            let values = entry.values(&name.to_ascii_lowercase());
            if !values.is_empty() {
                let values = values.iter().map(|bytes| value(bytes, binary)).collect();
                attributes.insert(Attribute::from(name), values);
            }
        }
        let mut references = BTreeMap::new();
        for name in &object_type.references {
            // A value that is no DN refers to nothing.
            let key = name.to_ascii_lowercase();
            let targets = entry.texts(&key).filter_map(|text| text.parse().ok());
            references.insert(Attribute::from(name.as_str()), targets.map(Reference::Dn).collect());
        }
        ImportedObject {
            anchor,
            dn: Some(entry.dn),
            object_type: object_type.name.clone(),
            container: false,
            attributes,
            references,
        }
    }

    pub fn anchor_of(&self, entry: &Entry) -> Option<String> {
        self.settings.anchor().of(entry)
    }

    /// The filter that finds the object of an anchor; `None` for a text that is no anchor here.
    pub fn anchor_filter(&self, anchor: &str) -> Option<Filter> {
        self.settings.anchor().filter(anchor)
    }

    pub async fn send(&self, page: ImportPage) -> Result<(), ConnectorError> {
        self.pages.send(Ok(Some(page))).await.map_err(|_| ConnectorError::Aborted {
            connector: self.settings.name.clone(),
            reason: "the engine gave the import up".to_owned(),
        })
    }

    pub fn aborted(&self, error: &LdapError) -> ConnectorError {
        ConnectorError::Aborted { connector: self.settings.name.clone(), reason: error.told() }
    }

    /// Whether the server refuses this way of reading, or the read as such failed.
    pub fn judge(&self, error: LdapError) -> Refused {
        match &error {
            LdapError::SearchRefused { code, .. } if !matches!(*code, BUSY | UNAVAILABLE) => {
                Refused::Unfit(causes(&error))
            }
            LdapError::Aborted { .. } | LdapError::ControlIgnored { .. } => Refused::Unfit(causes(&error)),
            _ => Refused::Failed(self.aborted(&error)),
        }
    }
}

/// Names that cannot be read, as entries that were refused; with the anchor where it is known. Without one it may be anybody.
pub(super) fn unreadable(names: impl IntoIterator<Item = (String, Option<String>)>) -> Vec<RefusedEntry> {
    let refuse = |(name, anchor): (String, Option<String>)| {
        let reason = "the name is no distinguished name".to_owned();
        RefusedEntry { name, reason, hides: anchor.map_or(Hidden::Anybody, Hidden::Object) }
    };
    names.into_iter().map(refuse).collect()
}
