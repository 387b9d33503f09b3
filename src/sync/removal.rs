//! The end of a connector, or of one of its object types (design, section 4): a guarded procedure.
//!
//! A connector that is merely missing from the settings keeps what it contributes. Removing it takes its objects out of the
//! metaverse by a synchronisation, so that other contributions take their place and what nobody provides any more is
//! deprovisioned; what follows from it stands before the guard like every export. Then the space is dropped. A target's
//! objects are left as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change_set::ImportBatch;
use super::connector::Capabilities;
use super::lease::HeldLease;
use super::run::{Preview, RunError, Runner};
use super::space::{ObjectId, PendingImport};
use super::store::EngineStore;
use crate::identity::ConnectorName;

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub connector: ConnectorName,
    /// Only the objects of this type; everything, and the space with it, when absent.
    pub object_type: Option<String>,
}

/// What a removal would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalPreview {
    /// Objects and containers that leave the space, by type.
    pub leaving: BTreeMap<String, i64>,
    /// The connector takes exports: what is there stays as it is, and is not looked after any more.
    pub target: bool,
    /// The settings name it: it must be taken out of them first.
    pub configured: bool,
    /// What the targets would be told.
    pub preview: Preview,
}

/// Objects that are marked at a time.
const AT_ONCE: usize = 1000;

/// The connectors with their order: those of the settings, and between them those that are missing there, each behind
/// the one that it came behind.
pub(super) fn with_missing(
    configured: Vec<(ConnectorName, Capabilities)>,
    known: &[(ConnectorName, Capabilities)],
) -> Vec<(ConnectorName, Capabilities)> {
    let mut all = configured;
    for (place, (name, capabilities)) in known.iter().enumerate() {
        if all.iter().any(|(other, _)| other == name) {
            continue;
        }
        let before = known[..place].iter().rev().find_map(|(earlier, _)| all.iter().position(|(n, _)| n == earlier));
        all.insert(before.map_or(0, |before| before + 1), (name.clone(), capabilities.clone()));
    }
    all
}

/// Stages the deletion of everything that a removal names. Returns how many objects and containers it is.
pub(super) async fn mark_gone(store: &dyn EngineStore, lease: &HeldLease, removal: &Removal) -> Result<i64, RunError> {
    let (mut marked, mut after) = (0, ObjectId(0));
    loop {
        let heads = store.heads_after(&removal.connector, after, AT_ONCE).await?;
        let Some(last) = heads.last() else { return Ok(marked) };
        after = last.id;
        let leaves = |of_type: &str| removal.object_type.as_deref().is_none_or(|removed| removed == of_type);
        let deleted: Vec<ObjectId> = heads
            .iter()
            .filter(|head| head.pending_import != PendingImport::Delete && leaves(&head.object_type))
            .map(|head| head.id)
            .collect();
        if !deleted.is_empty() {
            marked += deleted.len() as i64;
            store.commit_import(lease.epoch, ImportBatch { deleted, ..ImportBatch::default() }).await?;
        }
        lease.check()?;
    }
}

impl Removal {
    /// The name of the run that carries it out.
    pub(super) fn run_name(&self) -> String {
        match &self.object_type {
            Some(of_type) => format!("remove {} {of_type}", self.connector),
            None => format!("remove {}", self.connector),
        }
    }

    /// What leaves and whether the connector is a target; an error for what cannot be removed.
    pub(super) async fn outlook(&self, runner: &Runner) -> Result<RemovalPreview, RunError> {
        let known = runner.store.known_connectors().await?;
        let found = known.into_iter().find(|(name, _)| *name == self.connector).map(|(_, found)| found);
        let mut leaving: BTreeMap<String, i64> = runner.store.population(&self.connector).await?.into_iter().collect();
        if let Some(of_type) = &self.object_type {
            leaving.retain(|found, _| found == of_type);
        }
        if leaving.is_empty() && (found.is_none() || self.object_type.is_some()) {
            return Err(RunError::NothingToRemove { what: self.run_name() });
        }
        if found.as_ref().is_some_and(|found| found.kind == super::run::TENANT_KIND) {
            return Err(RunError::TenantStays);
        }
        let target = found.is_some_and(|found| found.exports);
        if target && self.object_type.is_some() {
            return Err(RunError::TargetType { connector: self.connector.clone() });
        }
        let configured = runner.connectors.iter().any(|connector| *connector.name() == self.connector);
        Ok(RemovalPreview { leaving, target, configured, preview: Preview::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &str) -> Vec<(ConnectorName, Capabilities)> {
        names.split_whitespace().map(|name| (name.parse().expect("a name"), Capabilities::source("ldap"))).collect()
    }

    #[test]
    fn a_missing_connector_keeps_its_place_among_the_others() {
        for (configured, known, expected) in [
            ("a b c", "", "a b c"),
            ("b c", "a b c", "a b c"),
            ("a c", "a b c", "a b c"),
            ("a b", "a b c", "a b c"),
            ("c a", "a b c", "c a b"),
            ("", "a b", "a b"),
            ("d a", "a b c", "d a b c"),
        ] {
            assert_eq!(with_missing(list(configured), &list(known)), list(expected), "{configured} and {known}");
        }
    }
}
