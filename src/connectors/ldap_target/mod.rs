//! An LDAP directory as a target: entries are added, changed, renamed and deleted as rules want them.
//!
//! An entry's name is the attribute `dn`, which rules make like any other; a new name renames or moves the entry. An add is
//! found again by its name: an entry that has it already is taken for the same only if it holds everything that was sent.
//! Any other is somebody's, and is joined by a rule or left alone.

mod delta;
mod entries;
mod reading;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::mpsc;

use self::reading::read_everything;
pub use self::settings::{LdapTargetSettings, TargetType};
use super::ldap::writable::{result, told};
use super::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use super::page_stream::{PAGES_AHEAD, PageStream};
use crate::identity::{ConnectorName, DistinguishedName};
use crate::ldap::{Connection, Entry, Filter, LdapError, Scope, Search};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportOperation, ExportResult, ImportMode,
    ImportRequest, ImportStream, ImportedObject, ReadBack, Watermark,
};
use crate::sync::lease::Turn;

/// The attribute by which rules name an entry.
pub(super) const DN: &str = "dn";

/// What deltas tell, where there are any.
const DELTAS: DeltaReports = DeltaReports { deletes: true, moves: false, filter_exits: true };

/// Changes per batch: what leaves within seconds of a check of the engine's lease.
const BATCH: usize = 100;
/// Anchors in one filter.
const CHUNK: usize = 50;

/// The word by which rules address such connectors.
const KIND: &str = "ldap-target";

#[derive(Clone)]
pub struct LdapTarget {
    settings: LdapTargetSettings,
}

impl LdapTarget {
    pub fn new(settings: LdapTargetSettings) -> Self {
        Self { settings }
    }

    /// Whether deltas are read where the server offers them. They follow one suffix.
    fn reads_changes(&self) -> bool {
        let mut roots = self.settings.bases.iter().map(|base| LdapConnectorSettings::root_of(base).folded());
        let first = roots.next();
        self.settings.delta != DeltaChoice::Off
            && roots.all(|root| Some(root) == first)
            && LdapConnector::follows(&self.settings.anchor)
    }

    fn unreachable(&self, reason: String) -> ConnectorError {
        ConnectorError::Unreachable { connector: self.settings.name.clone(), reason }
    }

    /// Entries of a type by anchor.
    async fn anchored(
        &self,
        connection: &mut Connection,
        object_type: &TargetType,
        anchors: &BTreeSet<&str>,
        attributes: &[String],
    ) -> Result<Vec<(String, Entry)>, LdapError> {
        let anchors: Vec<&str> = anchors.iter().copied().collect();
        let mut found = Vec::new();
        for chunk in anchors.chunks(CHUNK) {
            let anchored: Vec<Filter> =
                chunk.iter().filter_map(|anchor| self.settings.anchor().filter(anchor)).collect();
            for base in &self.settings.bases {
                let search = Search {
                    base: base.clone(),
                    scope: Scope::Subtree,
                    filter: Filter::and([object_type.filter.clone(), Filter::or(anchored.clone())]),
                    attributes: attributes.to_vec(),
                };
                let entries = connection.search(search).await?;
                found.extend(entries.into_iter().filter_map(|entry| Some((self.settings.anchor().of(&entry)?, entry))));
            }
        }
        Ok(found)
    }

    /// The present names of all entries that a batch speaks of.
    async fn names(
        &self,
        connection: &mut Connection,
        batch: &[ExportChange],
    ) -> Result<HashMap<String, DistinguishedName>, LdapError> {
        let mut asked: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for change in batch {
            match &change.operation {
                ExportOperation::Add { .. } => {}
                ExportOperation::Update { anchor, .. } | ExportOperation::Delete { anchor } => {
                    asked.entry(&change.object_type).or_default().insert(anchor);
                }
                ExportOperation::Links { anchor, add, remove, .. } => {
                    asked.entry(&change.object_type).or_default().insert(anchor);
                    for target in add.iter().chain(remove) {
                        asked.entry(&target.object_type).or_default().insert(&target.anchor);
                    }
                }
            }
        }
        let attributes = [self.settings.anchor.clone()];
        let mut names = HashMap::new();
        for (name, anchors) in asked {
            let Some(object_type) = self.settings.of_type(name) else { continue };
            let found = self.anchored(connection, object_type, &anchors, &attributes).await?;
            names.extend(found.into_iter().map(|(anchor, entry)| (anchor, entry.dn)));
        }
        Ok(names)
    }

    /// The entry of a name, if it is of the type.
    async fn named(
        &self,
        connection: &mut Connection,
        object_type: &TargetType,
        name: &str,
    ) -> Result<Option<Entry>, LdapError> {
        const INVALID_NAME: u32 = 34;
        let Ok(dn) = name.parse::<DistinguishedName>() else { return Ok(None) };
        let search = Search {
            base: dn,
            scope: Scope::Base,
            filter: object_type.filter.clone(),
            attributes: self.settings.read_of(object_type),
        };
        match connection.search(search).await {
            Ok(entries) => Ok(entries.into_iter().next()),
            Err(LdapError::SearchRefused { code: result::NO_SUCH_OBJECT | INVALID_NAME, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn answers(
        &self,
        connection: &mut Connection,
        questions: &[ReadBack],
    ) -> Result<Vec<Option<ImportedObject>>, LdapError> {
        let mut found = HashMap::new();
        for object_type in &self.settings.types {
            let asked: BTreeSet<&str> = questions
                .iter()
                .filter_map(|question| match question {
                    ReadBack::ByAnchor { object_type: of, anchor } if *of == object_type.name => Some(anchor.as_str()),
                    ReadBack::ByAnchor { .. } | ReadBack::ByAddKey { .. } => None,
                })
                .collect();
            let attributes = self.settings.read_of(object_type);
            for (anchor, entry) in self.anchored(connection, object_type, &asked, &attributes).await? {
                found.insert(anchor.clone(), self.settings.object(object_type, anchor, &entry));
            }
        }
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push(match question {
                ReadBack::ByAnchor { anchor, .. } => found.get(anchor).cloned(),
                ReadBack::ByAddKey { object_type, value } => match self.settings.of_type(object_type) {
                    None => None,
                    Some(object_type) => self.named(connection, object_type, value).await?.and_then(|entry| {
                        let anchor = self.settings.anchor().of(&entry)?;
                        Some(self.settings.object(object_type, anchor, &entry))
                    }),
                },
            });
        }
        Ok(answers)
    }
}

#[async_trait::async_trait]
impl Connector for LdapTarget {
    fn name(&self) -> &ConnectorName {
        &self.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            largest_batch: BATCH,
            unique: vec![DN.into()],
            names: vec![DN.into()],
            adopted: self.settings.adopted.clone(),
            delta: self.reads_changes().then_some(DELTAS),
            server_incarnation: self.reads_changes(),
            ..Capabilities::target(KIND, DN)
        }
    }

    fn delta_since(&self, since: &Watermark) -> Option<DeltaReports> {
        self.delta_from(since).filter(|_| self.reads_changes())
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let since = match request.mode {
            ImportMode::Full => None,
            ImportMode::Delta { since } if self.reads_changes() => Some(since),
            ImportMode::Delta { .. } | ImportMode::Selected { .. } => {
                return Err(ConnectorError::Unsupported {
                    connector: self.settings.name.clone(),
                    what: "delta import",
                });
            }
        };
        if let Some(since) = &since {
            self.fitting(since)?;
        }
        let (pages, received) = mpsc::channel(PAGES_AHEAD);
        let target = self.clone();
        let task = tokio::spawn(async move {
            let end = match since {
                Some(since) => target.read_changes(&since, &pages).await,
                None if target.reads_changes() => target.read_all(&pages).await,
                None => read_everything(&target.settings, &pages).await,
            };
            let end = end.map(|()| None);
            // The engine may have given up the import; then nobody is left to be told.
            let _ = pages.send(end).await;
        });
        Ok(Box::new(PageStream::new(self.settings.name.clone(), received, Some(task.abort_handle()))))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let mut connection = self.settings.servers().connect().await?;
        let names = self.names(&mut connection, &batch).await;
        let mut names = names.map_err(|error| self.unreachable(error.told()))?;
        let mut results = Vec::with_capacity(batch.len());
        for change in &batch {
            turn.check().map_err(|error| self.unreachable(error.to_string()))?;
            let outcome = self.carry_out(&mut connection, &mut names, change).await;
            results.push(told(outcome).map_err(|reason| self.unreachable(reason))?);
        }
        Ok(results)
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let mut connection = self.settings.servers().connect().await?;
        self.answers(&mut connection, &objects).await.map_err(|error| self.unreachable(error.told()))
    }
}
