//! The validated set of rules, with the questions that synchronise asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use sync_expr::NextChange;

use super::flow::{Flow, FlowError, FlowKind};
use super::formula::{RunFacts, Surroundings, Yield};
use super::parameters::{CONNECTOR_ID, Parameters};
use super::scope::{Scope, ScopeVerdict};
use super::source::Source;
use crate::identity::{ConnectorName, DistinguishedName, Timestamp};
use crate::sync::attribute::{Attribute, Attributes, Value, single};
use crate::sync::connector::Capabilities;
use crate::sync::join_key::JoinKey;
use crate::sync::metaverse::MvObject;

/// Metaverse and tenant attribute names that the engine itself knows.
pub mod names {
    pub const SOURCE_ANCHOR: &str = "sourceAnchor";
    /// What a metaverse object stands for, such as `User` or `Contact`.
    pub const SOURCE_OBJECT_TYPE: &str = "sourceObjectType";
    pub const UPN: &str = "userPrincipalName";
    pub const ACCOUNT_ENABLED: &str = "accountEnabled";
    /// Published with a user: the account that won `accountEnabled`, as connector and anchor (design D9).
    pub const CREDENTIAL_CONNECTOR: &str = "credentialConnector";
    pub const CREDENTIAL_ANCHOR: &str = "credentialAnchor";
    /// Whether a rule in scope of that account enables password sync.
    pub const CREDENTIAL_ELIGIBLE: &str = "credentialEligible";
    /// The connectors that contributed these two; the tenant refuses others.
    pub const UPN_CONNECTOR: &str = "upnConnector";
    pub const ANCHOR_CONNECTOR: &str = "anchorConnector";
    /// What the tenant tells of its objects: whether the cloud owns them, and by what they are known there.
    pub const CLOUD_MASTERED: &str = "cloudMastered";
    pub const CLOUD_ANCHOR: &str = "cloudAnchor";
    pub const CLOUD_SOURCE_ANCHOR: &str = "cloudSourceAnchor";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Inbound,
    Outbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkType {
    /// Creates the partner when no join finds one.
    Provision,
    /// Joins what exists.
    Join,
    /// Joins what exists, and keeps the metaverse object alive as a provision rule does.
    StickyJoin,
}

/// The type of groups in connector spaces, and the reference attribute in which they name their members.
pub const GROUP: &str = "group";
pub const MEMBER: &str = "member";

/// The metaverse type of an inbound join rule that joins whatever it finds.
pub const ANY_TYPE: &str = "*";

/// Which connectors a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    Named(ConnectorName),
    /// Every connector of a kind, such as `ldap`.
    Kind(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub clauses: Vec<JoinClause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinClause {
    /// In the connector space.
    pub space: Attribute,
    /// In the metaverse.
    pub metaverse: Attribute,
    pub case_sensitive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique; objects remember by it which rule linked them.
    pub name: String,
    pub description: String,
    pub disabled: bool,
    pub direction: Direction,
    pub connector: ConnectorKind,
    /// In the connector space.
    pub space_type: String,
    pub metaverse_type: String,
    pub link: LinkType,
    pub precedence: u32,
    pub scope: Scope,
    /// In order; empty for a rule that only adds flows.
    pub joins: Vec<Join>,
    pub flows: Vec<Flow>,
    pub enable_password_sync: bool,
}

/// The rules that apply, lowest precedence number (the strongest) first, and what they need to know of connectors.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    connectors: BTreeMap<ConnectorName, Capabilities>,
    /// The order in which the settings list the connectors: it breaks ties between connectors of one kind.
    order: Vec<ConnectorName>,
    /// Those that the files set.
    set_parameters: Parameters,
    /// Those of each connector.
    parameters: BTreeMap<ConnectorName, Parameters>,
    /// What outbound rules write, by connector and type of its space.
    managed: BTreeMap<ConnectorName, BTreeMap<String, BTreeSet<Attribute>>>,
    /// Metaverse attributes by which inbound rules join.
    joined_by: BTreeSet<Attribute>,
    reads_clock: bool,
    run: Arc<RunFacts>,
}

impl RuleSet {
    pub(super) fn new(mut rules: Vec<Rule>, set_parameters: Parameters) -> Self {
        rules.sort_by_key(|rule| rule.precedence);
        let inbound = rules.iter().filter(|rule| rule.direction == Direction::Inbound);
        let clauses = inbound.flat_map(|rule| &rule.joins).flat_map(|join| &join.clauses);
        let joined_by = clauses.map(|clause| clause.metaverse.clone()).collect();
        let reads_clock = rules.iter().flat_map(|rule| &rule.flows).any(Flow::reads_clock);
        Self { rules, set_parameters, joined_by, reads_clock, ..Self::default() }
    }

    /// Whether what some flow says depends on the time.
    pub fn reads_clock(&self) -> bool {
        self.reads_clock
    }

    /// The time that `Now` tells.
    pub fn now(&self) -> Timestamp {
        self.run.started()
    }

    /// When `flow` may say something else of the same object.
    pub fn next_change(&self, flow: &Flow, connector: &ConnectorName, source: Source<'_>) -> NextChange {
        match &flow.kind {
            FlowKind::Expression(formula) if flow.reads_clock() => {
                let parameters = self.parameters_of(connector);
                formula.next_change(&Surroundings { source, parameters, run: &self.run })
            }
            _ => NextChange::Never,
        }
    }

    /// Whether inbound rules join by a metaverse attribute.
    pub fn is_joined_by(&self, attribute: &Attribute) -> bool {
        self.joined_by.contains(attribute)
    }

    /// The same rules for one run: its start is what `Now` tells.
    pub fn for_run(self, run: RunFacts) -> Self {
        Self { run: Arc::new(run), ..self }
    }

    /// Binds the rules to the connectors of this gateway.
    pub fn for_connectors(mut self, connectors: impl IntoIterator<Item = (ConnectorName, Capabilities)>) -> Self {
        for (name, capabilities) in connectors {
            let mut parameters = self.set_parameters.clone();
            parameters.fill(CONNECTOR_ID, name.as_str());
            for (parameter, value) in &capabilities.parameters {
                parameters.fill(parameter, value);
            }
            self.parameters.insert(name.clone(), parameters);
            self.order.push(name.clone());
            self.connectors.insert(name.clone(), capabilities);
            let managed = self.written_to(&name);
            self.managed.insert(name, managed);
        }
        self
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn capabilities(&self, connector: &ConnectorName) -> Option<&Capabilities> {
        self.connectors.get(connector)
    }

    /// The place of a connector in the settings: lower wins ties.
    pub fn rank(&self, connector: &ConnectorName) -> usize {
        self.order.iter().position(|name| name == connector).unwrap_or(usize::MAX)
    }

    /// In the order of the settings.
    pub fn connectors(&self) -> impl Iterator<Item = &ConnectorName> {
        self.order.iter()
    }

    /// Connectors that take exports, in the order of the settings.
    pub fn targets(&self) -> impl Iterator<Item = &ConnectorName> {
        self.order.iter().filter(|name| self.connectors.get(*name).is_some_and(|c| c.exports))
    }

    /// Sources that take updates of their own objects, in the order of the settings.
    pub fn written_back(&self) -> impl Iterator<Item = &ConnectorName> {
        self.order.iter().filter(|name| self.connectors.get(*name).is_some_and(|c| c.writes_back))
    }

    /// Attributes of a connector's objects that rules write and source anchors are made of: they are exported before what
    /// waits for the anchor.
    pub fn anchor_attributes(&self, connector: &ConnectorName) -> BTreeSet<Attribute> {
        let anchor = Attribute::from(names::SOURCE_ANCHOR);
        let inbound = self.rules.iter().filter(|r| r.direction == Direction::Inbound && self.is_for(r, connector));
        let read = inbound.flat_map(|rule| &rule.flows).filter(|flow| flow.target == anchor).flat_map(Flow::reads);
        let written: BTreeSet<&Attribute> =
            self.managed.get(connector).into_iter().flat_map(BTreeMap::values).flatten().collect();
        read.filter(|name| written.contains(name)).cloned().collect()
    }

    pub(super) fn is_for(&self, rule: &Rule, connector: &ConnectorName) -> bool {
        match &rule.connector {
            ConnectorKind::Named(name) => name == connector,
            ConnectorKind::Kind(kind) => self.connectors.get(connector).is_some_and(|c| c.kind == *kind),
        }
    }

    /// Attributes of a target type that rules write; others are none of our business. What is applied once is not among
    /// them, and links are not.
    pub fn managed(&self, connector: &ConnectorName, space_type: &str) -> impl Iterator<Item = &Attribute> {
        self.managed.get(connector).and_then(|types| types.get(space_type)).into_iter().flatten()
    }

    fn written_to(&self, connector: &ConnectorName) -> BTreeMap<String, BTreeSet<Attribute>> {
        let published = [
            names::UPN_CONNECTOR,
            names::ANCHOR_CONNECTOR,
            names::CREDENTIAL_CONNECTOR,
            names::CREDENTIAL_ANCHOR,
            names::CREDENTIAL_ELIGIBLE,
        ];
        let identity = self.connectors.get(connector).map_or(&[][..], |capabilities| &capabilities.identity);
        let published = published.into_iter().map(Attribute::from).filter(|name| identity.contains(name));
        let published: BTreeSet<Attribute> = published.collect();
        let mut managed: BTreeMap<String, BTreeSet<Attribute>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|r| r.direction == Direction::Outbound && self.is_for(r, connector)) {
            let lasting = |flow: &&Flow| !flow.apply_once && !matches!(flow.kind, FlowKind::Reference { .. });
            let of_type = managed.entry(rule.space_type.clone()).or_insert_with(|| published.clone());
            of_type.extend(rule.flows.iter().filter(lasting).map(|flow| flow.target.clone()));
        }
        managed
    }

    /// What `flow` says of its target for an object of, or for, `connector`.
    pub fn evaluate(&self, flow: &Flow, connector: &ConnectorName, source: Source<'_>) -> Result<Yield, FlowError> {
        flow.evaluate(source, self.parameters_of(connector), &self.run)
    }

    fn parameters_of(&self, connector: &ConnectorName) -> &Parameters {
        self.parameters.get(connector).unwrap_or(&self.set_parameters)
    }

    /// Inbound rules in scope of an object of `connector`.
    pub fn inbound<'a>(
        &'a self,
        connector: &'a ConnectorName,
        space_type: &'a str,
        attributes: &'a Attributes,
    ) -> impl Iterator<Item = &'a Rule> {
        let values = |name: &Attribute| attributes.get(name).map_or(&[][..], Vec::as_slice);
        self.inbound_of(connector, space_type)
            .filter(move |rule| rule.scope.admits(self.parameters_of(connector), values))
    }

    fn inbound_of<'a>(&'a self, connector: &'a ConnectorName, space_type: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| {
            rule.direction == Direction::Inbound && rule.space_type == space_type && self.is_for(rule, connector)
        })
    }

    /// Every inbound rule for objects of `connector` of a type, with what its scope says of one.
    pub fn judge_inbound<'a>(
        &'a self,
        connector: &'a ConnectorName,
        space_type: &'a str,
        attributes: &'a Attributes,
    ) -> impl Iterator<Item = (&'a Rule, ScopeVerdict)> {
        let values = |name: &Attribute| attributes.get(name).map_or(&[][..], Vec::as_slice);
        self.inbound_of(connector, space_type)
            .map(move |rule| (rule, rule.scope.judge(self.parameters_of(connector), values)))
    }

    /// Outbound rules towards `connector` in scope of a metaverse object.
    pub fn outbound<'a>(
        &'a self,
        connector: &'a ConnectorName,
        object: &'a MvObject,
    ) -> impl Iterator<Item = &'a Rule> {
        self.outbound_of(connector, object)
            .filter(move |rule| rule.scope.admits(self.parameters_of(connector), |name| object.values(name)))
    }

    fn outbound_of<'a>(&'a self, connector: &'a ConnectorName, object: &'a MvObject) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| {
            rule.direction == Direction::Outbound
                && rule.metaverse_type == object.object_type
                && self.is_for(rule, connector)
        })
    }

    /// Every outbound rule towards `connector` for metaverse objects of the type, with what its scope says of this one.
    pub fn judge_outbound<'a>(
        &'a self,
        connector: &'a ConnectorName,
        object: &'a MvObject,
    ) -> impl Iterator<Item = (&'a Rule, ScopeVerdict)> {
        self.outbound_of(connector, object)
            .map(move |rule| (rule, rule.scope.judge(self.parameters_of(connector), |name| object.values(name))))
    }

    /// The reference attributes of a connector's objects that inbound rules count, by object type.
    pub fn counted(&self, connector: &ConnectorName) -> BTreeMap<String, BTreeSet<Attribute>> {
        let mut counted: BTreeMap<String, BTreeSet<Attribute>> = BTreeMap::new();
        for rule in self.rules.iter().filter(|r| r.direction == Direction::Inbound && self.is_for(r, connector)) {
            let names: Vec<Attribute> = rule.flows.iter().flat_map(|flow| flow.counts().iter().cloned()).collect();
            if !names.is_empty() {
                counted.entry(rule.space_type.clone()).or_default().extend(names);
            }
        }
        counted
    }

    /// The groups of a connector space that scopes name.
    pub fn named_groups(&self, connector: &ConnectorName) -> impl Iterator<Item = &DistinguishedName> {
        let inbound = self.rules.iter().filter(|rule| rule.direction == Direction::Inbound);
        inbound.filter(|rule| self.is_for(rule, connector)).flat_map(|rule| rule.scope.named_groups())
    }

    /// Every key by which an object of a target space may be known under `value`, whatever its type.
    pub fn match_keys(&self, connector: &ConnectorName, add_key: &Attribute, value: &str) -> Vec<JoinKey> {
        let attributes = Attributes::from([(add_key.clone(), vec![Value::text(value)])]);
        let types: BTreeSet<&str> = self
            .rules
            .iter()
            .filter(|rule| rule.direction == Direction::Outbound && self.is_for(rule, connector))
            .map(|rule| rule.space_type.as_str())
            .collect();
        types.into_iter().filter_map(|space_type| self.match_key(connector, space_type, &attributes)).collect()
    }

    /// Outbound rules towards the target of this name.
    pub fn rules_towards<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Rule> {
        let connector = self.order.iter().find(move |name| name.as_str() == target);
        self.rules.iter().filter(move |rule| {
            rule.direction == Direction::Outbound && connector.is_some_and(|name| self.is_for(rule, name))
        })
    }

    pub fn by_name(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The target attribute of the reference flow of `source` among the rules named in `applied`.
    pub fn reference_target(
        &self,
        applied: &BTreeSet<String>,
        direction: Direction,
        source: &Attribute,
    ) -> Option<&Attribute> {
        self.rules.iter().filter(|rule| rule.direction == direction && applied.contains(&rule.name)).find_map(|rule| {
            rule.flows.iter().find_map(|flow| match &flow.kind {
                FlowKind::Reference { source: from } if from == source => Some(&flow.target),
                _ => None,
            })
        })
    }

    /// Whether links flow to an attribute of a target object.
    pub fn reference_reaches(&self, applied: &BTreeSet<String>, target: &Attribute) -> bool {
        let outbound = |rule: &&Rule| rule.direction == Direction::Outbound && applied.contains(&rule.name);
        let mut flows = self.rules.iter().filter(outbound).flat_map(|rule| &rule.flows);
        flows.any(|flow| matches!(flow.kind, FlowKind::Reference { .. }) && flow.target == *target)
    }

    /// Every key under which a metaverse object must be found by an inbound join.
    pub fn metaverse_keys(&self, object: &MvObject) -> BTreeSet<JoinKey> {
        let rules =
            self.rules.iter().filter(|r| r.direction == Direction::Inbound && r.is_of_type(&object.object_type));
        rules.flat_map(|rule| &rule.joins).filter_map(|join| join.metaverse_key(object)).collect()
    }

    /// The key by which a metaverse object finds the object of a target space that it adopts.
    pub fn match_key(&self, connector: &ConnectorName, space_type: &str, attributes: &Attributes) -> Option<JoinKey> {
        let rule = self.rules.iter().find(|rule| {
            rule.direction == Direction::Outbound
                && rule.space_type == space_type
                && !rule.joins.is_empty()
                && self.is_for(rule, connector)
        })?;
        rule.joins[0].space_key(space_type, attributes)
    }
}

impl Rule {
    /// Whether the rule is for metaverse objects of a type.
    pub fn is_of_type(&self, metaverse_type: &str) -> bool {
        self.metaverse_type == metaverse_type || self.metaverse_type == ANY_TYPE
    }

    /// Whether an object that the rule links keeps the metaverse object alive.
    pub fn keeps_alive(&self) -> bool {
        match self.link {
            LinkType::Provision | LinkType::StickyJoin => true,
            LinkType::Join => false,
        }
    }
}

impl RuleSet {
    /// The metaverse types that a rule's join may find: its own, or every one that rules make.
    pub fn join_types<'a>(&'a self, rule: &'a Rule) -> BTreeSet<&'a str> {
        if rule.metaverse_type != ANY_TYPE {
            return BTreeSet::from([rule.metaverse_type.as_str()]);
        }
        let made = self.rules.iter().filter(|r| r.direction == Direction::Inbound && r.metaverse_type != ANY_TYPE);
        made.map(|rule| rule.metaverse_type.as_str()).collect()
    }

    /// The keys by which the joins of a rule look for an object's partner.
    pub fn join_keys(&self, rule: &Rule, join: &Join, attributes: &Attributes) -> Vec<JoinKey> {
        self.join_types(rule).into_iter().filter_map(|of_type| join.space_key(of_type, attributes)).collect()
    }
}

impl Join {
    /// The key of the metaverse object that `attributes` of the connector space ask for.
    pub fn space_key(&self, object_type: &str, attributes: &Attributes) -> Option<JoinKey> {
        let values = self.clauses.iter().map(|clause| single(attributes, &clause.space)).collect::<Option<Vec<_>>>()?;
        Some(self.key(object_type, &values))
    }

    pub fn metaverse_key(&self, object: &MvObject) -> Option<JoinKey> {
        let one = |clause: &JoinClause| match object.values(&clause.metaverse) {
            [value] => Some(value),
            _ => None,
        };
        let values = self.clauses.iter().map(one).collect::<Option<Vec<_>>>()?;
        Some(self.key(&object.object_type, &values))
    }

    /// The key on the side of a target space, whose object type may have another name.
    pub fn target_key(&self, space_type: &str, object: &MvObject) -> Option<JoinKey> {
        let one = |clause: &JoinClause| match object.values(&clause.metaverse) {
            [value] => Some(value),
            _ => None,
        };
        let values = self.clauses.iter().map(one).collect::<Option<Vec<_>>>()?;
        Some(self.key(space_type, &values))
    }

    fn key(&self, object_type: &str, values: &[&Value]) -> JoinKey {
        let clauses = self.clauses.iter().zip(values);
        JoinKey::new(object_type, clauses.map(|(clause, value)| (&clause.metaverse, *value, clause.case_sensitive)))
    }
}
