//! Writeback: updates of attributes of entries that the directory is the source of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::reader::Reader;
use super::settings::{LdapConnectorSettings, ObjectType};
use super::writable::{Failure, Writable, judge, refused, told};
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, Filter, LdapError, Scope, Search};
use crate::sync::connector::{ConnectorError, ExportChange, ExportOperation, ExportResult, ImportedObject, ReadBack};
use crate::sync::lease::Turn;

/// Changes per batch: what leaves within seconds of a check of the engine's lease.
pub(super) const BATCH: usize = 100;
/// Anchors in one filter.
const CHUNK: usize = 50;

/// Carries out a batch of updates, one after the other.
pub(super) async fn export(
    settings: &LdapConnectorSettings,
    turn: &Turn,
    batch: Vec<ExportChange>,
) -> Result<Vec<ExportResult>, ConnectorError> {
    let Some(writable) = &settings.writeback else {
        return Err(ConnectorError::Unsupported { connector: settings.name.clone(), what: "export" });
    };
    let unreachable = |reason| ConnectorError::Unreachable { connector: settings.name.clone(), reason };
    let mut connection = settings.servers().connect().await?;
    let names = names(settings, &mut connection, &batch).await.map_err(|error| unreachable(error.told()))?;
    let mut results = Vec::with_capacity(batch.len());
    for change in &batch {
        turn.check().map_err(|error| unreachable(error.to_string()))?;
        let outcome = carry_out(writable, &mut connection, &names, change).await;
        results.push(told(outcome.map(|()| None)).map_err(unreachable)?);
    }
    Ok(results)
}

async fn carry_out(
    writable: &Writable,
    connection: &mut Connection,
    names: &HashMap<String, DistinguishedName>,
    change: &ExportChange,
) -> Result<(), Failure> {
    let ExportOperation::Update { anchor, changes } = &change.operation else {
        return Err(refused("unsupported", "a source takes updates of its objects alone"));
    };
    let modifications = writable.replacements(changes)?;
    let dn = names.get(anchor).ok_or_else(|| refused("cd-missing-object", format!("there is no entry {anchor}")))?;
    judge(connection.modify(dn, &modifications).await?)
}

/// Where the entries of these changes are now.
async fn names(
    settings: &LdapConnectorSettings,
    connection: &mut Connection,
    batch: &[ExportChange],
) -> Result<HashMap<String, DistinguishedName>, LdapError> {
    let mut by_type: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for change in batch {
        if let ExportOperation::Update { anchor, .. } = &change.operation {
            by_type.entry(&change.object_type).or_default().insert(anchor);
        }
    }
    let mut names = HashMap::new();
    for (name, anchors) in by_type {
        let Some(object_type) = settings.types.iter().find(|object_type| object_type.name == name) else { continue };
        for entry in entries(settings, connection, object_type, &anchors, vec![settings.anchor.clone()]).await? {
            names.extend(settings.anchor().of(&entry).map(|anchor| (anchor, entry.dn)));
        }
    }
    Ok(names)
}

/// The entries of a type with these anchors, within the bounds.
async fn entries(
    settings: &LdapConnectorSettings,
    connection: &mut Connection,
    object_type: &ObjectType,
    anchors: &BTreeSet<&str>,
    attributes: Vec<String>,
) -> Result<Vec<Entry>, LdapError> {
    let anchors: Vec<&str> = anchors.iter().copied().collect();
    let mut found = Vec::new();
    for chunk in anchors.chunks(CHUNK) {
        let anchored = Filter::or(chunk.iter().filter_map(|anchor| settings.anchor().filter(anchor)));
        let search = Search {
            base: settings.root.clone(),
            scope: Scope::Subtree,
            filter: Filter::and([object_type.filter.clone(), anchored]),
            attributes: attributes.clone(),
        };
        found.extend(connection.search(search).await?);
    }
    // INVARIANT: an anchor finds entries anywhere in the tree; what lies beyond the bounds is neither told nor written.
    found.retain(|entry| settings.bounds.admit(&entry.dn));
    Ok(found)
}

impl Reader {
    /// Single objects by anchor, with the attributes that the settings list or let be written.
    pub(super) async fn read_back(
        &self,
        questions: Vec<ReadBack>,
    ) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let Some(writable) = &self.settings.writeback else {
            let what = "reading single objects";
            return Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what });
        };
        let failed = |error: LdapError| ConnectorError::Unreachable {
            connector: self.settings.name.clone(),
            reason: error.told(),
        };
        let mut connection = self.connect().await?;
        let mut found: HashMap<String, ImportedObject> = HashMap::new();
        for mut object_type in self.settings.types.clone() {
            let asked: BTreeSet<&str> = questions.iter().filter_map(|q| anchor_asked(q, &object_type.name)).collect();
            if asked.is_empty() {
                continue;
            }
            for name in writable.names() {
                let of = |list: &[String]| list.iter().any(|listed| listed.eq_ignore_ascii_case(name));
                if !of(&object_type.attributes) {
                    object_type.attributes.push(name.to_owned());
                }
                if writable.is_binary(name) && !of(&object_type.binary) {
                    object_type.binary.push(name.to_owned());
                }
            }
            let attributes = self.search(&object_type, self.settings.root.clone()).attributes;
            let entries = entries(&self.settings, &mut connection, &object_type, &asked, attributes).await;
            for entry in entries.map_err(failed)? {
                let entry = if entry.is_whole() { entry } else { connection.complete(entry).await.map_err(failed)? };
                if let Some(anchor) = self.anchor_of(&entry) {
                    found.insert(anchor.clone(), self.object(&object_type, anchor, entry));
                }
            }
        }
        Ok(questions
            .iter()
            .map(|question| match question {
                ReadBack::ByAnchor { anchor, .. } => found.get(anchor).cloned(),
                ReadBack::ByAddKey { .. } => None,
            })
            .collect())
    }
}

fn anchor_asked<'q>(question: &'q ReadBack, of_type: &str) -> Option<&'q str> {
    match question {
        ReadBack::ByAnchor { object_type, anchor } if object_type == of_type => Some(anchor),
        ReadBack::ByAnchor { .. } | ReadBack::ByAddKey { .. } => None,
    }
}
