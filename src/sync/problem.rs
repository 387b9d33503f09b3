//! What is wrong with single objects. A problem is reported by name and stops nobody else.

use serde::{Deserialize, Serialize};

use super::rule::{FlowError, FormulaError};
use super::space::{ObjectId, codes};
use crate::identity::causes;

codes! {
    /// Names kept compatible with the field where it has one.
    ProblemCode {
        /// The source anchor's attribute is empty or not fit; the object is not projected.
        MissingAnchor = "missing-anchor",
        /// Another object of the same connector holds the same join value.
        DuplicateAnchor = "duplicate-anchor",
        /// A join rule matched several metaverse objects.
        AmbiguousJoin = "ambiguous-join",
        /// More than one join-bearing rule is in scope.
        SeveralJoinRules = "several-join-rules",
        /// The source anchor of a provisioned object changed; it is left alone until the value returns.
        AnchorChanged = "source-anchor-changed",
        /// A warning: the user principal name cannot be used as it is; the tenant gives another one.
        InvalidUpn = "invalid-upn",
        /// The target refused the change.
        ExportRefused = "export-refused",
        /// The target does not tell what became of the change, however often it is asked.
        ExportUnanswered = "export-unanswered",
        /// A warning of the target, such as a quarantined duplicate.
        ExportWarning = "export-warning",
        /// An import showed something else than what was exported.
        NotReimported = "exported-change-not-reimported",
        /// A flow that carries one value met several.
        SeveralValues = "flow-multi-values-to-single-value",
        /// An expression could not be evaluated.
        FlowFailed = "flow-failed",
        /// An expression called `Error`; the object is left as it is.
        FlowRaised = "sync-rule-error-function-triggered",
        /// A target holds it in the name of one of our connectors, and no object of theirs is it.
        Unclaimed = "unclaimed-object",
        /// What others made at a target was adopted, and who adopted it has left: it stays.
        KeptAtTarget = "kept-at-target",
        /// An entry was read that is no object of the space.
        EntryRefused = "entry-refused",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    pub code: ProblemCode,
    pub detail: String,
}

/// A problem as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectProblem {
    pub object: ObjectId,
    pub connector: String,
    /// DN or label of the object.
    pub name: String,
    #[serde(flatten)]
    pub problem: Problem,
}

impl ProblemCode {
    /// Found, and cleared, by synchronise; the others belong to import and export.
    pub fn is_of_synchronise(self) -> bool {
        match self {
            Self::MissingAnchor
            | Self::DuplicateAnchor
            | Self::AmbiguousJoin
            | Self::SeveralJoinRules
            | Self::AnchorChanged
            | Self::InvalidUpn
            | Self::SeveralValues
            | Self::FlowFailed
            | Self::FlowRaised
            | Self::KeptAtTarget
            | Self::Unclaimed => true,
            Self::ExportRefused
            | Self::ExportUnanswered
            | Self::ExportWarning
            | Self::NotReimported
            | Self::EntryRefused => false,
        }
    }
}

impl Problem {
    /// A flow that could not say anything of its target.
    pub fn of_flow(error: &FlowError) -> Self {
        let code = match error {
            FlowError::SeveralValues { .. } | FlowError::Anchor { .. } => ProblemCode::SeveralValues,
            FlowError::Formula { source: FormulaError::Raised { text }, .. } => {
                return Self::new(ProblemCode::FlowRaised, text.clone());
            }
            FlowError::Formula { .. } | FlowError::Nul { .. } => ProblemCode::FlowFailed,
        };
        Self::new(code, causes(error))
    }

    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
