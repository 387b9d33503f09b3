//! Reading a target: what confirms exports, and what rules may adopt.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;

use super::settings::{LdapTargetSettings, TargetType};
use crate::connectors::page_stream::Page;
use crate::identity::DistinguishedName;
use crate::ldap::{Connection, Entry, LdapError, Scope, Search};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{ConnectorError, ImportPage, ImportedObject, Reference};

/// Anchors by folded name, of everything that may be referred to. Memory grows with the entries, by some 150 bytes each.
pub(super) type Anchors = HashMap<String, String>;

/// Reads all types; those that refer to others come last, when everybody's anchor is known.
pub(super) async fn read_everything(
    settings: &LdapTargetSettings,
    pages: &mpsc::Sender<Page>,
) -> Result<(), ConnectorError> {
    let mut connection = settings.servers().connect().await?;
    let aborted = |error: LdapError| ConnectorError::Aborted { connector: settings.name.clone(), reason: error.told() };
    let mut anchors = Anchors::new();
    let (referring, plain): (Vec<&TargetType>, Vec<&TargetType>) =
        settings.types.iter().partition(|object_type| !object_type.references.is_empty());
    for object_type in plain {
        read_type(settings, &mut connection, object_type, &mut anchors, pages).await.map_err(aborted)?;
    }
    for object_type in &referring {
        know(settings, &mut connection, object_type, &mut anchors).await.map_err(aborted)?;
    }
    for object_type in referring {
        read_type(settings, &mut connection, object_type, &mut anchors, pages).await.map_err(aborted)?;
    }
    Ok(())
}

fn search(settings: &LdapTargetSettings, object_type: &TargetType, base: &DistinguishedName) -> Search {
    let mut attributes = settings.read_of(object_type);
    attributes.extend(object_type.references.iter().cloned());
    Search { base: base.clone(), scope: Scope::Subtree, filter: object_type.filter.clone(), attributes }
}

/// Remembers the anchors of a type.
pub(super) async fn know(
    settings: &LdapTargetSettings,
    connection: &mut Connection,
    object_type: &TargetType,
    anchors: &mut Anchors,
) -> Result<(), LdapError> {
    for base in &settings.bases {
        let search = Search { attributes: vec![settings.anchor.clone()], ..search(settings, object_type, base) };
        let mut paged = connection.search_paged(search, settings.page_size);
        while let Some(page) = paged.next_page().await? {
            let known = |entry: &Entry| Some((entry.dn.folded(), settings.anchor().of(entry)?));
            anchors.extend(page.entries.iter().filter_map(known));
        }
    }
    Ok(())
}

async fn read_type(
    settings: &LdapTargetSettings,
    connection: &mut Connection,
    object_type: &TargetType,
    anchors: &mut Anchors,
    pages: &mpsc::Sender<Page>,
) -> Result<(), LdapError> {
    for base in &settings.bases {
        let mut parts = Vec::new();
        let mut paged = connection.search_paged(search(settings, object_type, base), settings.page_size);
        while let Some(page) = paged.next_page().await? {
            let mut objects = Vec::with_capacity(page.entries.len());
            for entry in page.entries {
                if entry.is_whole() {
                    objects.extend(object(settings, object_type, &entry, anchors));
                } else {
                    parts.push(entry);
                }
            }
            // The engine may have given the import up: then nobody waits for the rest.
            if pages.send(Ok(Some(ImportPage { objects, ..ImportPage::default() }))).await.is_err() {
                return Ok(());
            }
        }
        for entry in parts {
            let entry = connection.complete(entry).await?;
            let objects = object(settings, object_type, &entry, anchors).into_iter().collect();
            if pages.send(Ok(Some(ImportPage { objects, ..ImportPage::default() }))).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An entry with its references, as far as their targets are objects of this connector.
fn object(
    settings: &LdapTargetSettings,
    object_type: &TargetType,
    entry: &Entry,
    anchors: &mut Anchors,
) -> Option<ImportedObject> {
    let anchor = settings.anchor().of(entry)?;
    anchors.insert(entry.dn.folded(), anchor.clone());
    let mut references = BTreeMap::new();
    for name in &object_type.references {
        let key = name.to_ascii_lowercase();
        let targets = entry.texts(&key).filter_map(|text| text.parse().ok());
        let targets = targets.filter(|dn: &DistinguishedName| settings.placeholder_member.as_ref() != Some(dn));
        let known = targets.filter_map(|dn| anchors.get(&dn.folded()).cloned().map(Reference::Anchor));
        references.insert(Attribute::from(name.as_str()), known.collect());
    }
    Some(ImportedObject { references, ..settings.object(object_type, anchor, entry) })
}
