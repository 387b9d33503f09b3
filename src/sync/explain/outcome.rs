//! What the passes made of objects, in the words of operators: findings with names, rule by rule and flow by flow.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::{Named, Names};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::guard::Hold;
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::problem::Problem;
use crate::sync::rule::FailedClause;
use crate::sync::space::{ExportKind, ExportState, ObjectId, PendingImport};
use crate::sync::trace::{Asked, Fate, Finding, JoinDecision, RuleName, Said, TargetDecision};

/// A rule that was asked, and what its scope said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleScope {
    #[serde(flatten)]
    pub rule: RuleName,
    pub in_scope: bool,
    /// Per group the clauses that do not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Vec<FailedClause>>,
}

/// An object of a source, from its import to its join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceExplained {
    pub object: Named,
    pub object_type: String,
    pub pending_import: PendingImport,
    pub rules: Vec<RuleScope>,
    pub join: Vec<JoinExplained>,
    pub groups: Vec<JoinGroupExplained>,
    pub problems: Vec<Problem>,
    /// References to objects that are in no metaverse yet; they flow when these are.
    pub waiting_references: Vec<Named>,
}

/// A decision of the join pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum JoinExplained {
    Deleted,
    StaysJoined { to: Named, rule: String },
    Unlinked { from: Named, rule: Option<String> },
    NoJoinRule,
    Joined { to: Named, rule: RuleName },
    Projected { to: Named, rule: RuleName },
    Waits { rule: RuleName, keys: Vec<String> },
    Refused { problem: Problem },
}

/// One group of a join rule: what was asked, and who answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroupExplained {
    #[serde(flatten)]
    pub rule: RuleName,
    pub group: usize,
    pub keys: Vec<String>,
    pub candidates: Vec<Named>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetaverseState {
    New,
    Kept,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBy {
    #[serde(flatten)]
    pub rule: RuleName,
    pub object: Named,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaverseExplained {
    pub object: Named,
    pub object_type: String,
    pub state: MetaverseState,
    /// The rules that keep it alive.
    pub kept_by: Vec<KeptBy>,
    /// Why nothing flows to it although rules say something.
    pub frozen: Vec<Problem>,
    pub attributes: Vec<AttributeFlows>,
}

/// One attribute: what it was, what it becomes, and everybody who had something to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeFlows {
    pub attribute: Attribute,
    pub before: Vec<Value>,
    pub after: Vec<Value>,
    pub flows: Vec<FlowExplained>,
}

/// A flow, the strongest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowExplained {
    #[serde(flatten)]
    pub rule: RuleName,
    pub connector: String,
    /// The object of a source that the rule read; a metaverse object otherwise.
    pub object: Named,
    pub flow: String,
    #[serde(flatten)]
    pub said: Said,
    pub fate: Fate,
}

/// What becomes of the object at one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetExplained {
    pub target: String,
    pub of: Named,
    pub decision: String,
    pub rule: Option<RuleName>,
    pub object: Option<Named>,
    pub rules: Vec<RuleScope>,
    pub attributes: Vec<AttributeFlows>,
    /// What is staged afterwards; `None`: the target holds it all.
    pub change: Option<Change>,
    pub links: LinkChanges,
    pub problems: Vec<Problem>,
    /// The guard's holds on the target, with everything that is staged for it.
    pub holds: Vec<Hold>,
}

/// A staged change with what the target holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub operation: ExportKind,
    pub state: ExportState,
    /// It was staged before.
    pub already_staged: bool,
    pub attributes: Vec<AttributeChange>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeChange {
    pub attribute: Attribute,
    pub from: Vec<Value>,
    pub to: Vec<Value>,
}

/// Staged links from and to an object; names of the first ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkChanges {
    pub added: usize,
    pub removed: usize,
    pub names: Vec<String>,
}

/// The findings of a trace, by whom they are about.
#[derive(Default)]
pub(super) struct Sorted {
    scopes: BTreeMap<Asked, BTreeMap<RuleName, RuleScope>>,
    joins: BTreeMap<ObjectId, Vec<JoinDecision>>,
    groups: BTreeMap<ObjectId, Vec<(RuleName, usize, Vec<String>, Vec<MvId>)>>,
    pub alive: BTreeMap<MvId, Vec<(RuleName, ObjectId)>>,
    frozen: BTreeMap<MvId, Vec<Problem>>,
    inbound: BTreeMap<(MvId, Attribute), Vec<RawFlow>>,
    outbound: BTreeMap<(MvId, String), BTreeMap<Attribute, Vec<RawFlow>>>,
    pub targets: BTreeMap<(MvId, String), TargetDecision>,
}

struct RawFlow {
    asked: Asked,
    rule: RuleName,
    flow: String,
    said: Said,
    fate: Fate,
}

impl Sorted {
    pub fn new(findings: Vec<Finding>) -> Self {
        let mut sorted = Self::default();
        for finding in findings {
            sorted.take(finding);
        }
        sorted
    }

    fn take(&mut self, finding: Finding) {
        match finding {
            Finding::Scope { asked, rule, verdict } => {
                let failed = if verdict.admitted { Vec::new() } else { verdict.failed };
                let scope = RuleScope { rule: rule.clone(), in_scope: verdict.admitted, failed };
                self.scopes.entry(asked).or_default().insert(rule, scope);
            }
            Finding::Join { object, decision } => self.joins.entry(object).or_default().push(decision),
            Finding::JoinGroup { object, rule, group, keys, candidates } => {
                let keys = keys.iter().map(|key| key.told()).collect();
                self.groups.entry(object).or_default().push((rule, group, keys, candidates));
            }
            Finding::Alive { mv, by } => {
                self.alive.insert(mv, by);
            }
            Finding::Frozen { mv, why } => self.frozen.entry(mv).or_default().push(why),
            Finding::Target { mv, connector, decision } => {
                self.targets.insert((mv, connector.to_string()), decision);
            }
            Finding::Flow { asked, mv, rule, target, flow, said, fate } => {
                let raw = RawFlow { rule, flow, said, fate, asked };
                match &raw.asked {
                    Asked::Inbound { .. } => self.inbound.entry((mv, target)).or_default().push(raw),
                    Asked::Outbound { connector, .. } => {
                        let of_target = self.outbound.entry((mv, connector.to_string())).or_default();
                        of_target.entry(target).or_default().push(raw);
                    }
                }
            }
        }
    }

    /// Everybody who is spoken of.
    pub fn subjects(&self) -> (BTreeSet<ObjectId>, BTreeSet<MvId>) {
        let (mut objects, mut mvs) = (BTreeSet::new(), BTreeSet::new());
        for asked in self.scopes.keys() {
            match asked {
                Asked::Inbound { object, .. } => objects.insert(*object),
                Asked::Outbound { mv, .. } => mvs.insert(*mv),
            };
        }
        objects.extend(self.joins.keys());
        objects.extend(self.alive.values().flatten().map(|(_, object)| *object));
        mvs.extend(self.alive.keys());
        mvs.extend(self.targets.keys().map(|(mv, _)| *mv));
        mvs.extend(self.groups.values().flatten().flat_map(|(.., candidates)| candidates.iter().copied()));
        for decision in self.joins.values().flatten() {
            match decision {
                JoinDecision::StaysJoined { mv, .. }
                | JoinDecision::Unlinked { mv, .. }
                | JoinDecision::Joined { mv, .. }
                | JoinDecision::Projected { mv, .. } => {
                    mvs.insert(*mv);
                }
                JoinDecision::Deleted
                | JoinDecision::NoJoinRule
                | JoinDecision::Waits { .. }
                | JoinDecision::Refused { .. } => {}
            }
        }
        (objects, mvs)
    }

    pub fn rules_for(&self, asked: &Asked) -> Vec<RuleScope> {
        self.scopes.get(asked).map(|rules| rules.values().cloned().collect()).unwrap_or_default()
    }

    pub fn joins_of(&self, object: ObjectId, names: &Names) -> Vec<JoinExplained> {
        let told = |decision: &JoinDecision| match decision.clone() {
            JoinDecision::Deleted => JoinExplained::Deleted,
            JoinDecision::StaysJoined { mv, rule } => JoinExplained::StaysJoined { to: names.mv(mv), rule },
            JoinDecision::Unlinked { mv, rule } => JoinExplained::Unlinked { from: names.mv(mv), rule },
            JoinDecision::NoJoinRule => JoinExplained::NoJoinRule,
            JoinDecision::Joined { mv, rule } => JoinExplained::Joined { to: names.mv(mv), rule },
            JoinDecision::Projected { mv, rule } => JoinExplained::Projected { to: names.mv(mv), rule },
            JoinDecision::Waits { rule, keys } => {
                JoinExplained::Waits { rule, keys: keys.iter().map(|key| key.told()).collect() }
            }
            JoinDecision::Refused { problem } => JoinExplained::Refused { problem },
        };
        self.joins.get(&object).into_iter().flatten().map(told).collect()
    }

    pub fn groups_of(&self, object: ObjectId, names: &Names) -> Vec<JoinGroupExplained> {
        let told = |(rule, group, keys, candidates): &(RuleName, usize, Vec<String>, Vec<MvId>)| JoinGroupExplained {
            rule: rule.clone(),
            group: *group,
            keys: keys.clone(),
            candidates: candidates.iter().map(|mv| names.mv(*mv)).collect(),
        };
        self.groups.get(&object).into_iter().flatten().map(told).collect()
    }

    pub fn frozen(&self, mv: MvId) -> Vec<Problem> {
        self.frozen.get(&mv).cloned().unwrap_or_default()
    }

    /// The attributes of a metaverse object with everybody who spoke of them.
    pub fn metaverse_attributes(
        &self,
        mv: MvId,
        before: Option<&MvObject>,
        after: Option<&MvObject>,
        names: &Names,
    ) -> Vec<AttributeFlows> {
        let of = |object: Option<&MvObject>, name: &Attribute| {
            object.map(|object| object.values(name).to_vec()).unwrap_or_default()
        };
        let mut attributes: BTreeSet<Attribute> =
            [before, after].into_iter().flatten().flat_map(|object| object.attributes.keys().cloned()).collect();
        attributes.extend(self.inbound.keys().filter(|(of, _)| *of == mv).map(|(_, name)| name.clone()));
        let told = |attribute: Attribute| AttributeFlows {
            before: of(before, &attribute),
            after: of(after, &attribute),
            flows: self.inbound_flows(mv, &attribute, names),
            attribute,
        };
        attributes.into_iter().map(told).collect()
    }

    pub fn inbound_flows(&self, mv: MvId, attribute: &Attribute, names: &Names) -> Vec<FlowExplained> {
        let flows = self.inbound.get(&(mv, attribute.clone())).into_iter().flatten();
        flows.map(|flow| flow.told(names)).collect()
    }

    /// What rules say of an object at a target, beside what the target holds.
    pub fn target_attributes(&self, mv: MvId, target: &str, held: &Attributes, names: &Names) -> Vec<AttributeFlows> {
        let Some(flows) = self.outbound.get(&(mv, target.to_owned())) else { return Vec::new() };
        let told = |(attribute, flows): (&Attribute, &Vec<RawFlow>)| {
            let mut after = Vec::new();
            for flow in flows.iter().filter(|flow| matches!(flow.fate, Fate::Wins | Fate::Merges)) {
                if let Said::Values { values } = &flow.said {
                    after.extend(values.iter().cloned());
                }
            }
            AttributeFlows {
                attribute: attribute.clone(),
                before: held.get(attribute).cloned().unwrap_or_default(),
                after,
                flows: flows.iter().map(|flow| flow.told(names)).collect(),
            }
        };
        flows.iter().map(told).collect()
    }
}

impl RawFlow {
    fn told(&self, names: &Names) -> FlowExplained {
        FlowExplained {
            rule: self.rule.clone(),
            connector: self.asked.connector().to_string(),
            object: match &self.asked {
                Asked::Inbound { object, .. } => names.object(*object),
                Asked::Outbound { mv, .. } => names.mv(*mv),
            },
            flow: self.flow.clone(),
            said: self.said.clone(),
            fate: self.fate,
        }
    }
}

impl TargetDecision {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotWanted => "not-wanted",
            Self::Leaves { deletes: true, .. } => "deleted",
            Self::Leaves { deletes: false, .. } => "unlinked",
            Self::Linked { .. } => "linked",
            Self::WrittenBack { .. } => "written-back",
            Self::Adopted { .. } => "adopted",
            Self::Provisioned { .. } => "provisioned",
            Self::NoMatch { .. } => "no-match",
            Self::Refused { .. } => "refused",
        }
    }

    pub(super) fn object(&self) -> Option<ObjectId> {
        match self {
            Self::NotWanted | Self::NoMatch { .. } => None,
            Self::Leaves { object, .. }
            | Self::Linked { object, .. }
            | Self::WrittenBack { object }
            | Self::Adopted { object, .. }
            | Self::Provisioned { object, .. }
            | Self::Refused { object, .. } => Some(*object),
        }
    }

    pub(super) fn rule(&self) -> Option<RuleName> {
        match self {
            Self::NotWanted | Self::Leaves { .. } | Self::WrittenBack { .. } | Self::Refused { .. } => None,
            Self::Linked { rule, .. }
            | Self::Adopted { rule, .. }
            | Self::Provisioned { rule, .. }
            | Self::NoMatch { rule } => Some(rule.clone()),
        }
    }
}
