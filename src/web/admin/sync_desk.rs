//! What the operations on synchronisation share: the runner and the folder of the rule files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Kind, OperationError};
use crate::sync::Connector;
use crate::sync::activation::{ActivationError, read_folder};
use crate::sync::explain::{FindError, InspectError, ObjectName, ObjectNameError};
use crate::sync::lease::LeaseError;
use crate::sync::maintenance::Suspensions;
use crate::sync::rule::{self, RuleSet, RuleSource};
use crate::sync::run::{RunError, Runner};
use crate::sync::scheduler::{Refusal, SchedulerHandle};

/// What sync, rules and guard operations work on.
#[derive(Clone)]
pub struct SyncDesk {
    pub runner: Arc<Runner>,
    /// Runs go through it, one after the other.
    pub scheduler: SchedulerHandle,
    pub suspensions: Arc<dyn Suspensions>,
    /// The folder of the rule files.
    pub rules: PathBuf,
    /// Where runs are carried out.
    pub background: tokio::runtime::Handle,
    pub proposed: Arc<dyn ProposedConnectors>,
}

/// The active engine and the staging instances beside it.
pub struct Instances {
    pub active: Arc<Runner>,
    pub staging: BTreeMap<String, Arc<Runner>>,
    /// Where they are compared.
    pub background: tokio::runtime::Handle,
}

impl Instances {
    /// The staging instance of that name, or the only one.
    pub(super) fn named(&self, name: Option<&str>) -> Result<(String, Arc<Runner>), OperationError> {
        let names = || self.staging.keys().cloned().collect::<Vec<_>>().join(", ");
        let found = match (name, self.staging.len()) {
            (_, 0) => {
                let message = "there is no staging instance: name one in the settings ([[sync.instance]])";
                return Err(OperationError::refused(message));
            }
            (Some(name), _) => self.staging.get_key_value(name),
            (None, 1) => self.staging.first_key_value(),
            (None, _) => return Err(OperationError::invalid(format!("name one of the instances: {}", names()))),
        };
        let unknown = || OperationError::not_found(format!("there is no such staging instance; there is: {}", names()));
        found.map(|(name, runner)| (name.clone(), runner.clone())).ok_or_else(unknown)
    }
}

/// The connectors that the settings file names now, whatever the gateway was started with.
pub trait ProposedConnectors: Send + Sync {
    /// In the order of the settings, the tenant's last.
    ///
    /// # Errors
    /// What is wrong with the file, for the operator.
    fn connectors(&self) -> Result<Vec<Arc<dyn Connector>>, String>;
}

impl SyncDesk {
    /// The rule files as they are now.
    pub async fn files(&self) -> Result<Vec<RuleSource>, OperationError> {
        let folder = self.rules.clone();
        match tokio::task::spawn_blocking(move || read_folder(&folder)).await {
            Ok(read) => read.map_err(|error| refused_rules(&error)),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }

    /// The rules that the files say now.
    pub async fn parsed_files(&self) -> Result<RuleSet, OperationError> {
        rule::parse(&self.files().await?).map_err(|faults| refused_rules(&ActivationError::Faults(faults)))
    }
}

/// The name of an object as it was typed.
pub(super) fn object_name(text: &str) -> Result<ObjectName, OperationError> {
    text.parse().map_err(|error: ObjectNameError| OperationError::invalid(error.to_string()))
}

pub(super) fn refused_inspection(error: InspectError) -> OperationError {
    match error {
        InspectError::Run(error) => refused_run(error),
        InspectError::Find(FindError::Store(error)) => refused_run(RunError::Store(error)),
        InspectError::Find(error) => {
            let message = error.to_string();
            match error {
                FindError::Ambiguous { found, .. } => OperationError::refused(message).with_detail(found),
                FindError::NoConnector { .. } => OperationError::invalid(message),
                FindError::Nothing(_)
                | FindError::NotInMetaverse(_)
                | FindError::NoAttribute { .. }
                | FindError::Store(_) => OperationError::not_found(message),
            }
        }
    }
}

pub(super) fn refused_rules(error: &ActivationError) -> OperationError {
    match error {
        ActivationError::Faults(faults) => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            OperationError::invalid(lines.join("\n")).with_detail(faults)
        }
        ActivationError::None => OperationError::refused(error.to_string()),
        ActivationError::Unreadable { .. } | ActivationError::TooLarge { .. } | ActivationError::Broken(_) => {
            OperationError::internal(error)
        }
    }
}

pub(super) fn refused_run(error: RunError) -> OperationError {
    told(&error)
}

fn told(error: &RunError) -> OperationError {
    match error {
        RunError::Lease(LeaseError::NotHeld) => {
            OperationError::refused(format!("{error}: another node runs synchronisation, ask there"))
        }
        RunError::Busy | RunError::Lease(_) => OperationError::refused(error.to_string()),
        RunError::NoSuchHold | RunError::NothingToRemove { .. } => OperationError::not_found(error.to_string()),
        RunError::TenantStays | RunError::TargetType { .. } => OperationError::invalid(error.to_string()),
        RunError::StillConfigured { .. } => OperationError::refused(error.to_string()),
        RunError::WouldBeHeld(preview) => OperationError::refused(error.to_string()).with_detail(preview),
        RunError::Rules(error) => refused_rules(error),
        RunError::Store(error) => {
            let told = OperationError::internal(error);
            OperationError::new(Kind::Internal, told.message)
        }
    }
}

pub(super) fn refused_order(refusal: &Refusal) -> OperationError {
    match refusal {
        Refusal::Suspended(_) | Refusal::Window(_) => OperationError::refused(refusal.to_string()),
        Refusal::Stopping => OperationError::new(Kind::Unavailable, refusal.to_string()),
        Refusal::Panicked(_) => OperationError::internal(refusal),
        Refusal::Run(error) => told(error),
    }
}
