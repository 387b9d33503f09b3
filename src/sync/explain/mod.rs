//! Answers for operators: what would happen to one object and why, where a value comes from, where an object stands.
//!
//! Nothing here decides. The passes of synchronise run on a scratch overlay, or on a workspace that nobody commits, while a
//! [`Trace`](super::trace::Trace) listens; what they noted is told with the names of objects.

mod attribute;
mod find;
mod names;
mod object_preview;
mod outcome;
mod scope_preview;
mod search;
mod state;

pub use attribute::{AttributeExplained, PendingValue, Present, ReferencesAtTarget, TargetAttribute, TargetValue};
pub use find::{FindError, Found, ObjectName, ObjectNameError, find};
pub use names::{Named, Names};
pub use object_preview::ObjectPreview;
pub use outcome::{
    AttributeChange, AttributeFlows, Change, FlowExplained, JoinExplained, JoinGroupExplained, KeptBy, LinkChanges,
    MetaverseExplained, MetaverseState, RuleScope, SpaceExplained, TargetExplained,
};
pub use scope_preview::{Changed, Proposal, ScopePreview, SourcePreview};
pub use search::{Hit, HitState, SearchMode, SearchRequest, SearchResult};
pub use state::{InMetaverse, LinksOf, ObjectState, SentState, SpaceState, StagedState};

use super::activation::ActivationError;
use super::lease::LeaseError;
use super::run::RunError;
use super::store::EngineStoreError;

/// Why a question about an object has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<EngineStoreError> for InspectError {
    fn from(error: EngineStoreError) -> Self {
        Self::Run(error.into())
    }
}

impl From<LeaseError> for InspectError {
    fn from(error: LeaseError) -> Self {
        Self::Run(error.into())
    }
}

impl From<ActivationError> for InspectError {
    fn from(error: ActivationError) -> Self {
        Self::Run(error.into())
    }
}
