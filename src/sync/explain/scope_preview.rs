//! The preview of other connectors, containers and filters than those in use: everything is read into a scratch overlay,
//! and what would come, go and be exported is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::InspectError;
use super::names::{Named, Names};
use crate::identity::ConnectorName;
use crate::sync::connector::Connector;
use crate::sync::export::ExportError;
use crate::sync::guard::{GuardItem, GuardSettings, Hold, Releases, Tally, kind};
use crate::sync::inspection::{Only, Scan};
use crate::sync::lease::HeldLease;
use crate::sync::rule::RuleSet;
use crate::sync::run::{Preview, RunError, Runner, RunnerParts};
use crate::sync::source_import::{SourceImport, Start, import_target};
use crate::sync::space::{ObjectKind, PendingImport, SpaceObject};
use crate::sync::store::{EngineStore, StoreResult};
use crate::sync::synchronise::Extent;

/// Objects that are named, of each kind.
const NAMED: usize = 50;
/// Ids that one statement goes through.
const WINDOW: i64 = 50_000;
const AT_ONCE: usize = 5_000;

/// What is tried.
pub struct Proposal {
    /// None: the activated rules.
    pub rules: Option<RuleSet>,
    /// In the order of the settings, the targets among them.
    pub connectors: Vec<Arc<dyn Connector>>,
    /// Sources to be read; empty: all.
    pub read: Vec<ConnectorName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopePreview {
    pub sources: Vec<SourcePreview>,
    /// Connectors that the engine has objects of and the settings name no more: these stay as they are.
    pub unnamed: Vec<ConnectorName>,
    pub preview: Preview,
}

/// What a full import of one source would stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePreview {
    pub connector: ConnectorName,
    /// Why it could not be read; its objects stay as they are.
    pub error: Option<String>,
    pub read: i64,
    pub added: Changed,
    pub updated: Changed,
    /// No longer read: obsolete.
    pub obsolete: Changed,
    /// What the guard would hold of the import.
    pub holds: Vec<Hold>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub count: usize,
    /// The first ones.
    pub names: Vec<Named>,
}

impl Runner {
    /// Reads the sources of `proposal` in full, into an overlay that vanishes, and tells what would come of it. Nothing is
    /// written. A directory that a source cannot reach is told, and its objects are left as they are.
    pub async fn preview_scope(&self, proposal: Proposal) -> Result<ScopePreview, InspectError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let lease = HeldLease::begin(self.lease.clone())?;
        let scratch = self.store.scratch().await?;
        let overlay = Runner::new(RunnerParts {
            store: scratch.clone(),
            lease: self.lease.clone(),
            activations: self.activations.clone(),
            connectors: proposal.connectors,
            // What the guard would hold is told; a preview goes on to what would follow.
            guard: GuardSettings::without_limits(),
            clock: self.clock.clone(),
            events: self.events.clone(),
        });
        let (extent, rules) = match proposal.rules {
            Some(rules) => (Extent::Full, overlay.bind(rules).await?),
            None => (Extent::Delta, overlay.rules().await?.1),
        };
        let mut sources = Vec::new();
        for source in overlay.connectors.iter().filter(|connector| !connector.capabilities().exports) {
            if proposal.read.is_empty() || proposal.read.contains(source.name()) {
                sources.push(self.read_into(&overlay, &rules, &lease, &**source).await?);
            }
        }
        let named = |name: &ConnectorName| overlay.connectors.iter().any(|connector| connector.name() == name);
        let unnamed = self.connectors.iter().map(|connector| connector.name().clone()).filter(|name| !named(name));
        let unnamed = unnamed.collect();
        let preview = self.preview_on(&*scratch, &rules, &lease, extent).await?;
        Ok(ScopePreview { sources, unnamed, preview })
    }

    async fn read_into(
        &self,
        overlay: &Runner,
        rules: &RuleSet,
        lease: &HeldLease,
        source: &dyn Connector,
    ) -> Result<SourcePreview, InspectError> {
        let name = source.name();
        let progress: crate::sync::run::ProgressSink = Arc::new(|_| {});
        let import = SourceImport { runner: overlay, rules, lease, progress: &progress, source };
        let mut told = SourcePreview {
            connector: name.clone(),
            error: None,
            read: 0,
            added: Changed::default(),
            updated: Changed::default(),
            obsolete: Changed::default(),
            holds: Vec::new(),
        };
        match import.run(Start::Full).await {
            Ok(imported) => {
                told.read = imported.counters.iter().find(|(name, _)| *name == "read").map_or(0, |(_, count)| *count);
            }
            Err(ExportError::Connector(error)) => told.error = Some(error.to_string()),
            Err(ExportError::Lease(error)) => return Err(error.into()),
            Err(ExportError::Store(error)) => return Err(error.into()),
        }
        self.tell_staged(&*overlay.store, name, &mut told).await?;
        Ok(told)
    }

    /// What is staged in the space of a source, and what the guard says of what goes.
    async fn tell_staged(
        &self,
        scratch: &dyn EngineStore,
        source: &ConnectorName,
        told: &mut SourcePreview,
    ) -> StoreResult<()> {
        let mut tally =
            Tally { population: self.store.population(source).await?.into_iter().collect(), ..Tally::default() };
        let mut named: [Vec<SpaceObject>; 3] = Default::default();
        let mut next = Some(0);
        while let Some(after) = next {
            let scan = Scan {
                connector: Some(source.clone()),
                object_type: None,
                text: None,
                only: Only::PendingImport,
                after,
                window: WINDOW,
                limit: AT_ONCE,
            };
            let scanned = scratch.scan_spaces(&scan).await?;
            next = scanned.next;
            for object in scanned.found.into_iter().filter(|object| object.kind == ObjectKind::Object) {
                let (changed, list) = match object.pending_import {
                    PendingImport::None => continue,
                    PendingImport::Add => (&mut told.added, &mut named[0]),
                    PendingImport::Update => (&mut told.updated, &mut named[1]),
                    PendingImport::Delete => {
                        let item = object.anchor.clone().unwrap_or_default();
                        tally.items.insert(GuardItem { kind: kind::obsolete(&object.object_type), item });
                        (&mut told.obsolete, &mut named[2])
                    }
                };
                changed.count += 1;
                if list.len() < NAMED {
                    list.push(object);
                }
            }
        }
        let mut names = Names::default();
        names.read(scratch, named.iter().flatten().map(|object| object.id), []).await?;
        let [added, updated, obsolete] = named.map(|list| list.iter().map(|object| names.object(object.id)).collect());
        (told.added.names, told.updated.names, told.obsolete.names) = (added, updated, obsolete);
        let target = import_target(source);
        let now = self.clock.now();
        let releases = Releases::of(self.store.released(&target).await?, &tally, now);
        told.holds = self.guard.judge(&target, &tally, &releases.standing, now);
        Ok(())
    }
}
