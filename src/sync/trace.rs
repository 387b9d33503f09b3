//! What the passes decided about single objects, and why: noted by the passes themselves while they decide (design D5).
//!
//! A trace that is off is one test of a null pointer: a pass that nobody listens to makes no finding.

use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Value};
use super::join_key::JoinKey;
use super::metaverse::MvId;
use super::problem::Problem;
use super::rule::{Flow, FlowError, Rule, ScopeVerdict, Yield};
use super::space::ObjectId;
use crate::identity::{ConnectorName, causes};

/// Findings in the order in which they were made, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Vec<Finding>>);

impl Trace {
    pub fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub fn note(&mut self, finding: impl FnOnce() -> Finding) {
        if let Some(findings) = &mut self.0 {
            findings.push(finding());
        }
    }

    pub fn note_all<I: IntoIterator<Item = Finding>>(&mut self, made: impl FnOnce() -> I) {
        if let Some(findings) = &mut self.0 {
            findings.extend(made());
        }
    }

    pub fn into_findings(self) -> Vec<Finding> {
        self.0.unwrap_or_default()
    }
}

/// Whom a rule was asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// An object of a source space.
    Inbound { object: ObjectId, connector: ConnectorName },
    /// A metaverse object, for a target.
    Outbound { mv: MvId, connector: ConnectorName },
}

impl Asked {
    pub fn connector(&self) -> &ConnectorName {
        match self {
            Self::Inbound { connector, .. } | Self::Outbound { connector, .. } => connector,
        }
    }
}

/// A rule as findings name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleName {
    pub precedence: u32,
    pub rule: String,
}

impl From<&Rule> for RuleName {
    fn from(rule: &Rule) -> Self {
        Self { precedence: rule.precedence, rule: rule.name.clone() }
    }
}

#[derive(Clone, Debug)]
pub enum Finding {
    Scope {
        asked: Asked,
        rule: RuleName,
        verdict: ScopeVerdict,
    },
    /// What the join pass made of an object of a source.
    Join {
        object: ObjectId,
        decision: JoinDecision,
    },
    /// One group of a join rule was looked up.
    JoinGroup {
        object: ObjectId,
        rule: RuleName,
        /// From 1.
        group: usize,
        keys: Vec<JoinKey>,
        candidates: Vec<MvId>,
    },
    /// The rules that keep a metaverse object alive, with the object each is in scope of; none: it goes.
    Alive {
        mv: MvId,
        by: Vec<(RuleName, ObjectId)>,
    },
    Flow {
        asked: Asked,
        mv: MvId,
        rule: RuleName,
        target: Attribute,
        /// As the rule file says it.
        flow: String,
        said: Said,
        fate: Fate,
    },
    /// The metaverse object is left as it is, whatever the flows say.
    Frozen {
        mv: MvId,
        why: Problem,
    },
    Target {
        mv: MvId,
        connector: ConnectorName,
        decision: TargetDecision,
    },
}

/// What became of an object of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinDecision {
    /// The directory no longer shows it.
    Deleted,
    /// The rule that linked it is in scope still.
    StaysJoined {
        mv: MvId,
        rule: String,
    },
    /// The rule that linked it is not in scope any more; what follows is a decision of its own.
    Unlinked {
        mv: MvId,
        rule: Option<String>,
    },
    /// No rule with a join is in scope.
    NoJoinRule,
    Joined {
        mv: MvId,
        rule: RuleName,
    },
    Projected {
        mv: MvId,
        rule: RuleName,
    },
    /// Nothing matches; it is looked at again when one of these values appears in the metaverse.
    Waits {
        rule: RuleName,
        keys: Vec<JoinKey>,
    },
    Refused {
        problem: Problem,
    },
}

/// What became of a metaverse object at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetDecision {
    /// No rule with a join is in scope, and the target has no object of it.
    NotWanted,
    /// No rule with a join is in scope any more.
    Leaves {
        object: ObjectId,
        deletes: bool,
    },
    Linked {
        object: ObjectId,
        rule: RuleName,
    },
    /// An object of a source that takes updates.
    WrittenBack {
        object: ObjectId,
    },
    Adopted {
        object: ObjectId,
        rule: RuleName,
    },
    Provisioned {
        object: ObjectId,
        rule: RuleName,
    },
    /// The rule joins what exists, and nothing matches.
    NoMatch {
        rule: RuleName,
    },
    /// A flow failed: nothing of the object is exported.
    Refused {
        object: ObjectId,
        problem: Problem,
    },
}

/// What a flow had to say of its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub enum Said {
    Values { values: Vec<Value> },
    Null,
    AuthoritativeNull,
    Ignore,
    Failed { error: String },
}

impl Said {
    pub fn of(said: &Result<Yield, FlowError>) -> Self {
        match said {
            Ok(Yield::Values(values)) => Self::Values { values: values.clone() },
            Ok(Yield::Null) => Self::Null,
            Ok(Yield::AuthoritativeNull) => Self::AuthoritativeNull,
            Ok(Yield::Ignore) => Self::Ignore,
            Err(error) => Self::Failed { error: causes(error) },
        }
    }
}

/// What became of what a flow said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The strongest that gave a value.
    Wins,
    /// Its values came to those of a stronger one.
    Merges,
    /// A stronger rule has decided.
    Loses,
    /// It has no value: weaker ones are asked.
    GivesNothing,
    /// No value, and no weaker rule is asked.
    Empties,
    /// What is there stays, if no other rule has a value.
    LeavesAsIs,
    /// Applied when the object was created, and never again.
    AppliedOnce,
    /// It failed; what is there stays.
    Fails,
}

impl Fate {
    /// Of what an undecided attribute is told.
    pub fn of(said: &Result<Yield, FlowError>, merges: bool) -> Self {
        match said {
            Ok(Yield::Values(_)) if merges => Self::Merges,
            Ok(Yield::Values(_)) => Self::Wins,
            Ok(Yield::Null) => Self::GivesNothing,
            Ok(Yield::AuthoritativeNull) => Self::Empties,
            Ok(Yield::Ignore) => Self::LeavesAsIs,
            Err(_) => Self::Fails,
        }
    }
}

impl Finding {
    pub fn flow(asked: Asked, mv: MvId, rule: &Rule, flow: &Flow, said: &Result<Yield, FlowError>, fate: Fate) -> Self {
        Self::Flow {
            asked,
            mv,
            rule: rule.into(),
            target: flow.target.clone(),
            flow: flow.to_string(),
            said: Said::of(said),
            fate,
        }
    }
}
