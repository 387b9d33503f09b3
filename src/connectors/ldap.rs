//! LDAP directories: paged full import, scoped by containers that are kept by their anchors.
//!
//! Containers are read first, then the object types in the order of the settings, so that references of groups meet
//! people whose names are up to date. A read that does not come to its end is an error, never a shorter result.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::identity::causes;
use crate::identity::{ConnectorName, DistinguishedName};
use crate::ldap::{Connection, Entry, Filter, LdapError, Scope, Search, ServerUrl, ServiceAccount, Trust};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DisabledTest, ExportChange, ExportResult, Hidden, ImportMode, ImportPage,
    ImportRequest, ImportStream, ImportedObject, KnownBase, ReadBack, Reference, RefusedEntry, Wanted,
};

/// Pages that may wait for the engine.
const PAGES_AHEAD: usize = 2;

/// What is read of a directory.
#[derive(Clone, Debug)]
pub struct LdapConnectorSettings {
    pub name: ConnectorName,
    /// Asked in this order; the first that answers serves the whole import.
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

impl LdapConnectorSettings {
    /// The usual container classes of LDAP directories.
    pub fn usual_containers() -> Filter {
        let classes = ["organizationalUnit", "organization", "domain", "dcObject", "container", "builtinDomain"];
        Filter::or(classes.into_iter().map(|class| Filter::equal("objectClass", class)))
    }

    /// What rules are told of the directory.
    fn parameters(&self) -> BTreeMap<String, String> {
        let root = &self.root;
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

    /// Adds what the rules read to what the settings list.
    fn want(&mut self, wanted: &BTreeMap<String, Wanted>) {
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

    /// inetOrgPerson people and groupOfNames groups. What the rules read is added to it by every import.
    pub fn usual_types() -> Vec<ObjectType> {
        vec![
            ObjectType {
                name: "user".to_owned(),
                filter: Filter::equal("objectClass", "inetOrgPerson"),
                attributes: Vec::new(),
                references: Vec::new(),
                binary: Vec::new(),
            },
            ObjectType {
                name: "group".to_owned(),
                filter: Filter::equal("objectClass", "groupOfNames"),
                attributes: Vec::new(),
                references: Vec::new(),
                binary: Vec::new(),
            },
        ]
    }
}

/// A connector to one directory.
pub struct LdapConnector {
    settings: LdapConnectorSettings,
}

impl LdapConnector {
    pub fn new(settings: LdapConnectorSettings) -> Self {
        Self { settings }
    }
}

#[async_trait::async_trait]
impl Connector for LdapConnector {
    fn name(&self) -> &ConnectorName {
        &self.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hierarchical: true,
            disabled_when: self.settings.disabled_when.clone(),
            parameters: self.settings.parameters(),
            ..Capabilities::source("ldap")
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        if request.mode != ImportMode::Full {
            let connector = self.settings.name.clone();
            return Err(ConnectorError::Unsupported { connector, what: "delta import" });
        }
        let (pages, received) = mpsc::channel(PAGES_AHEAD);
        let mut settings = self.settings.clone();
        settings.want(&request.wanted);
        let mut reader = Reader { settings, pages, known: request.bases };
        let task = tokio::spawn(async move {
            if let Err(error) = reader.read().await {
                // The engine may have given up the import; then nobody is left to be told.
                let _ = reader.pages.send(Err(error)).await;
            } else {
                let _ = reader.pages.send(Ok(None)).await;
            }
        });
        Ok(Box::new(Pages { connector: self.settings.name.clone(), received, task: task.abort_handle(), ended: false }))
    }

    async fn export(&self, _: Vec<ExportChange>) -> Result<Vec<ExportResult>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "export" })
    }

    async fn read_back(&self, _: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "reading single objects" })
    }
}

struct Pages {
    connector: ConnectorName,
    /// `Ok(None)` is the end; a channel that closes without it is an aborted read.
    received: mpsc::Receiver<Result<Option<ImportPage>, ConnectorError>>,
    task: AbortHandle,
    ended: bool,
}

#[async_trait::async_trait]
impl ImportStream for Pages {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        if self.ended {
            return Ok(None);
        }
        match self.received.recv().await {
            Some(Ok(Some(page))) => Ok(Some(page)),
            Some(Ok(None)) => {
                self.ended = true;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => {
                let reason = "the reading task ended early".to_owned();
                Err(ConnectorError::Aborted { connector: self.connector.clone(), reason })
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Reader {
    settings: LdapConnectorSettings,
    pages: mpsc::Sender<Result<Option<ImportPage>, ConnectorError>>,
    known: Vec<KnownBase>,
}

/// A container as it stands now.
struct Container {
    dn: DistinguishedName,
    anchor: String,
    attributes: Attributes,
}

/// Which part of the tree counts.
struct Extent {
    include: Vec<DistinguishedName>,
    exclude: Vec<DistinguishedName>,
}

impl Extent {
    fn covers(&self, dn: &DistinguishedName) -> bool {
        self.include.iter().any(|base| dn.is_within(base)) && !self.exclude.iter().any(|base| dn.is_within(base))
    }
}

impl Reader {
    async fn read(&mut self) -> Result<(), ConnectorError> {
        let mut connection = self.connect().await?;
        let containers = self.containers(&mut connection).await?;
        let (extent, bases) = self.extent(&containers)?;
        let objects = containers.into_iter().filter(|container| extent.covers(&container.dn));
        let objects = objects.map(|container| ImportedObject {
            anchor: container.anchor,
            dn: Some(container.dn),
            object_type: "container".to_owned(),
            container: true,
            attributes: container.attributes,
            references: BTreeMap::new(),
        });
        self.send(ImportPage { objects: objects.collect(), bases, ..ImportPage::default() }).await?;
        for object_type in self.settings.types.clone() {
            for base in &extent.include {
                self.objects(&mut connection, &object_type, base, &extent).await?;
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, ConnectorError> {
        let mut last = None;
        for server in &self.settings.servers {
            match Connection::open(server, &self.settings.trust, self.settings.deadline).await {
                Ok(mut connection) => match connection.bind(&self.settings.account).await {
                    Ok(()) => return Ok(connection),
                    Err(error) => last = Some(error),
                },
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or_else(|| "no server is configured".to_owned(), |error| causes(&error));
        Err(ConnectorError::Unreachable { connector: self.settings.name.clone(), reason })
    }

    async fn containers(&self, connection: &mut Connection) -> Result<Vec<Container>, ConnectorError> {
        let search = Search {
            base: self.settings.root.clone(),
            scope: Scope::Subtree,
            filter: self.settings.container_filter.clone(),
            attributes: vec![self.settings.anchor.clone(), "ou".to_owned()],
        };
        let mut found = Vec::new();
        let mut paged = connection.search_paged(search, self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.aborted(&error))? {
            for entry in page.entries {
                if let Some(anchor) = self.anchor_of(&entry) {
                    found.push(Container { dn: entry.dn, anchor, attributes: Attributes::new() });
                }
            }
        }
        Ok(found)
    }

    /// Where the containers of the settings are now. One that was seen before is found by its anchor alone: another
    /// container under its old name is another container.
    fn extent(&self, containers: &[Container]) -> Result<(Extent, Vec<KnownBase>), ConnectorError> {
        let mut bases = Vec::new();
        let settings_error =
            |reason: String| ConnectorError::Settings { connector: self.settings.name.clone(), reason };
        let mut resolve = |named: &DistinguishedName| -> Result<Option<DistinguishedName>, ConnectorError> {
            if let Some(known) = self.known.iter().find(|known| known.named == *named) {
                return Ok(containers.iter().find(|c| c.anchor == known.anchor).map(|c| c.dn.clone()));
            }
            let found = containers.iter().find(|container| container.dn == *named);
            let found = found.ok_or_else(|| settings_error(format!("there is no container {named}")))?;
            bases.push(KnownBase { named: named.clone(), anchor: found.anchor.clone() });
            Ok(Some(found.dn.clone()))
        };
        let mut include = Vec::new();
        for named in &self.settings.include {
            match resolve(named)? {
                Some(dn) => include.push(dn),
                None => return Err(settings_error(format!("the container {named} is gone"))),
            }
        }
        let mut exclude = Vec::new();
        for named in &self.settings.exclude {
            exclude.extend(resolve(named)?);
        }
        if include.is_empty() {
            include.push(self.settings.root.clone());
        }
        // A base within another is read with it.
        let all = include.clone();
        include.retain(|dn| !all.iter().any(|other| other != dn && dn.is_within(other)));
        include.dedup();
        Ok((Extent { include, exclude }, bases))
    }

    async fn objects(
        &self,
        connection: &mut Connection,
        object_type: &ObjectType,
        base: &DistinguishedName,
        extent: &Extent,
    ) -> Result<(), ConnectorError> {
        let mut attributes: BTreeSet<String> = BTreeSet::from([self.settings.anchor.clone()]);
        attributes.extend(object_type.attributes.iter().chain(&object_type.references).cloned());
        attributes.extend(self.settings.disabled_when.iter().map(|test| test.attribute().as_str().to_owned()));
        let search = Search {
            base: base.clone(),
            scope: Scope::Subtree,
            filter: object_type.filter.clone(),
            attributes: attributes.into_iter().collect(),
        };
        let mut paged = connection.search_paged(search, self.settings.page_size);
        while let Some(page) = paged.next_page().await.map_err(|error| self.aborted(&error))? {
            let mut imported = ImportPage::default();
            for name in page.unreadable {
                let reason = "the name is no distinguished name".to_owned();
                imported.refused.push(RefusedEntry { name, reason, hides: Hidden::Nobody });
            }
            for entry in page.entries.into_iter().filter(|entry| extent.covers(&entry.dn)) {
                match self.anchor_of(&entry) {
                    Some(anchor) => imported.objects.push(self.object(object_type, anchor, entry)),
                    None => {
                        let reason = format!("it has no {}", self.settings.anchor);
                        let name = entry.dn.to_string();
                        imported.refused.push(RefusedEntry { name, reason, hides: Hidden::Nobody });
                    }
                }
            }
            self.send(imported).await?;
        }
        Ok(())
    }

    fn object(&self, object_type: &ObjectType, anchor: String, entry: Entry) -> ImportedObject {
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

    fn anchor_of(&self, entry: &Entry) -> Option<String> {
        let bytes = entry.bytes(&self.settings.anchor.to_ascii_lowercase())?;
        Some(value(bytes, self.settings.anchor_is_binary).as_text().to_owned())
    }

    async fn send(&self, page: ImportPage) -> Result<(), ConnectorError> {
        self.pages.send(Ok(Some(page))).await.map_err(|_| ConnectorError::Aborted {
            connector: self.settings.name.clone(),
            reason: "the engine gave the import up".to_owned(),
        })
    }

    fn aborted(&self, error: &LdapError) -> ConnectorError {
        ConnectorError::Aborted { connector: self.settings.name.clone(), reason: causes(error) }
    }
}

/// Text where the bytes are text, unless the attribute is known to be binary.
fn value(bytes: &[u8], binary: bool) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !binary => Value::text(text),
        _ => Value::binary(bytes),
    }
}
