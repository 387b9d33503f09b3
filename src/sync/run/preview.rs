//! What a run would export, found on a scratch overlay of what is staged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RunError, Runner, Tick};
use crate::identity::ConnectorName;
use crate::sync::guard::Hold;
use crate::sync::lease::HeldLease;
use crate::sync::rule::RuleSet;
use crate::sync::space::{ExportKind, ObjectId};
use crate::sync::store::{EngineStore, Figures};
use crate::sync::synchronise::{self, Extent};

/// What a preview found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub targets: Vec<TargetPreview>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPreview {
    pub target: String,
    pub figures: Figures,
    pub changes: Vec<PreviewChange>,
    pub more: bool,
    pub holds: Vec<Hold>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewChange {
    pub object_type: String,
    pub name: String,
    pub operation: String,
    pub attributes: Vec<String>,
}

/// Changes that a preview lists at most; the figures count all.
const LISTED: usize = 500;

impl Preview {
    /// What the guard would hold, as text; empty when nothing.
    pub fn held(&self) -> String {
        let holds = self.targets.iter().flat_map(|target| &target.holds);
        holds.map(|hold| format!("{} {}", hold.outstanding, hold.kind)).collect::<Vec<_>>().join(", ")
    }
}

impl Runner {
    /// What a run would export, without committing anything. `rules` are those to try; none: the activated ones.
    pub async fn preview(&self, rules: Option<RuleSet>) -> Result<Preview, RunError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let rules = match rules {
            Some(rules) => self.bind(rules).await?,
            None => self.rules().await?.1,
        };
        let lease = HeldLease::begin(self.lease.clone())?;
        let scratch = self.store.scratch().await?;
        self.preview_on(&*scratch, &rules, &lease, Extent::Full).await
    }

    /// What a run would export once the overlay `scratch` is synchronised.
    pub(in crate::sync) async fn preview_on(
        &self,
        scratch: &dyn EngineStore,
        rules: &RuleSet,
        lease: &HeldLease,
        extent: Extent,
    ) -> Result<Preview, RunError> {
        let mut tick = Tick { lease, step: "preview", progress: None };
        synchronise::run::<RunError>(scratch, rules, lease.epoch, extent, &mut tick).await?;
        let mut preview = Preview::default();
        for target in rules.targets() {
            preview.targets.push(self.preview_of(scratch, target).await?);
        }
        Ok(preview)
    }

    async fn preview_of(&self, store: &dyn EngineStore, target: &ConnectorName) -> Result<TargetPreview, RunError> {
        let pending = store.pending(target, ExportKind::ALL, ObjectId(0), LISTED + 1).await?;
        let ids: Vec<_> = pending.iter().map(|export| export.object).collect();
        let objects: BTreeMap<_, _> = store.objects(&ids).await?.into_iter().map(|o| (o.id, o)).collect();
        let changes = pending.iter().take(LISTED).map(|export| PreviewChange {
            object_type: objects.get(&export.object).map(|o| o.object_type.clone()).unwrap_or_default(),
            name: objects.get(&export.object).map(|o| o.rdn.clone()).unwrap_or_default(),
            operation: export.kind.code().to_owned(),
            attributes: export.changes.keys().map(ToString::to_string).collect(),
        });
        Ok(TargetPreview {
            target: target.to_string(),
            figures: store.figures(target).await?,
            changes: changes.collect(),
            more: pending.len() > LISTED,
            holds: self.judge(store, target).await?.0,
        })
    }
}
