//! Run profiles: which steps a run takes, and in which order.
//!
//! The shipped profiles are compositions of the same steps that an operator's own are made of.

use serde::{Deserialize, Serialize};

use super::connector::Connector;
use super::space::codes;
use crate::identity::ConnectorName;

codes! {
    StepKind {
        /// What changed since the last import of a source; everything where it cannot tell.
        DeltaImport = "delta-import",
        FullImport = "full-import",
        /// What is due. Everything, when other rules are active than those of the last synchronisation.
        DeltaSync = "delta-sync",
        FullSync = "full-sync",
        /// What is pending for a target, if the guard agrees.
        Export = "export",
        /// Reads back from a target what it made of the exports.
        Confirm = "confirm",
    }
}

/// One step; an import, export or confirmation that names no connector is one of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub kind: StepKind,
    pub connector: Option<ConnectorName>,
}

impl Step {
    /// A step of every connector that it can be of.
    pub const fn of_all(kind: StepKind) -> Self {
        Self { kind, connector: None }
    }
}

/// The shipped profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Delta import of every source that tells its changes, full import of the others; synchronisation of what is due,
    /// export, confirmation.
    Delta,
    /// The same with a full import of every source.
    Cycle,
    /// The same with a full synchronisation: the first cycle, after a change of rules, and to repair.
    Full,
    /// Full import and synchronisation; nothing is exported.
    Staging,
    /// What changed at the sources; nothing is synchronised or exported.
    Import,
}

impl Profile {
    pub const ALL: [Self; 5] = [Self::Delta, Self::Cycle, Self::Full, Self::Staging, Self::Import];

    pub const fn code(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Cycle => "cycle",
            Self::Full => "full",
            Self::Staging => "staging",
            Self::Import => "import",
        }
    }

    const fn steps(self) -> &'static [StepKind] {
        use StepKind::{Confirm, DeltaImport, DeltaSync, Export, FullImport, FullSync};
        match self {
            Self::Delta => &[DeltaImport, DeltaSync, Export, Confirm],
            Self::Cycle => &[FullImport, DeltaSync, Export, Confirm],
            Self::Full => &[FullImport, FullSync, Export, Confirm],
            Self::Staging => &[FullImport, DeltaSync],
            Self::Import => &[DeltaImport],
        }
    }
}

/// What the field calls [`Profile::Full`].
const INITIAL: &str = "initial";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileFault {
    #[error("run profile {profile} has no steps")]
    NoSteps { profile: String },
    #[error("{profile} is the name of a shipped run profile")]
    Shipped { profile: String },
    #[error("run profile {profile}: a synchronisation concerns all connectors and names none")]
    SynchronisesOne { profile: String },
    #[error("run profile {profile}: there is no connector {connector}")]
    NoConnector { profile: String, connector: ConnectorName },
    #[error("run profile {profile}: nothing is imported from {connector}, which takes exports")]
    NotASource { profile: String, connector: ConnectorName },
    #[error("run profile {profile}: {connector} takes no exports")]
    NotATarget { profile: String, connector: ConnectorName },
}

/// A named list of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunProfile {
    name: String,
    steps: Vec<Step>,
}

impl From<Profile> for RunProfile {
    fn from(profile: Profile) -> Self {
        let steps = profile.steps().iter().map(|kind| Step::of_all(*kind)).collect();
        Self { name: profile.code().to_owned(), steps }
    }
}

impl RunProfile {
    /// A profile of the operator's own, over these connectors.
    pub fn own(
        name: &str,
        steps: Vec<Step>,
        connectors: &[std::sync::Arc<dyn Connector>],
    ) -> Result<Self, ProfileFault> {
        let profile = || name.to_owned();
        if Self::shipped(name).is_some() {
            return Err(ProfileFault::Shipped { profile: profile() });
        }
        if steps.is_empty() {
            return Err(ProfileFault::NoSteps { profile: profile() });
        }
        for Step { kind, connector } in &steps {
            let Some(named) = connector else { continue };
            let found = connectors.iter().find(|connector| connector.name() == named);
            let connector = named.clone();
            let Some(found) = found else { return Err(ProfileFault::NoConnector { profile: profile(), connector }) };
            let capabilities = found.capabilities();
            let (target, written) = (capabilities.exports, capabilities.exports || capabilities.writes_back);
            match kind {
                StepKind::DeltaSync | StepKind::FullSync => {
                    return Err(ProfileFault::SynchronisesOne { profile: profile() });
                }
                StepKind::DeltaImport | StepKind::FullImport if target => {
                    return Err(ProfileFault::NotASource { profile: profile(), connector });
                }
                StepKind::Export if !written => {
                    return Err(ProfileFault::NotATarget { profile: profile(), connector });
                }
                StepKind::Confirm if !target => {
                    return Err(ProfileFault::NotATarget { profile: profile(), connector });
                }
                StepKind::DeltaImport | StepKind::FullImport | StepKind::Export | StepKind::Confirm => {}
            }
        }
        Ok(Self { name: profile(), steps })
    }

    /// The shipped profile of that name.
    pub fn shipped(name: &str) -> Option<Self> {
        let named = if name == INITIAL { Profile::Full.code() } else { name };
        Profile::ALL.into_iter().find(|profile| profile.code() == named).map(Self::from)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}
