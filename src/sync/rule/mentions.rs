//! Which attributes of connected systems the rules name, and for what.

use std::collections::BTreeMap;

use super::flow::{FlowKind, Merge};
use super::formula::RDN;
use super::set::{Direction, GROUP, MEMBER, Rule, RuleSet};
use crate::identity::ConnectorName;
use crate::sync::attribute::Attribute;
use crate::sync::connector::Wanted;

/// What a rule does with an attribute of a connector's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reads or compares its values.
    Value,
    /// Reads its values as names of other objects.
    Reference,
    /// Writes values; merging ones stand beside those of others.
    Write { merges: bool },
    /// Writes names of other objects.
    WriteReference,
}

/// An attribute that a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention<'a> {
    pub rule: &'a str,
    /// In the connector space.
    pub object_type: &'a str,
    pub attribute: &'a Attribute,
    pub used: Use,
}

fn read_by(rule: &Rule) -> impl Iterator<Item = (&Attribute, Use)> {
    let compared = rule.joins.iter().flat_map(|join| &join.clauses).map(|clause| &clause.space);
    let read = rule.flows.iter().flat_map(|flow| flow.reads()).filter(|name| name.as_str() != RDN);
    let counted = rule.flows.iter().flat_map(|flow| flow.counts());
    let followed = rule.flows.iter().filter_map(|flow| match &flow.kind {
        FlowKind::Reference { source } => Some(source),
        _ => None,
    });
    let values = rule.scope.attributes().chain(compared).chain(read).map(|name| (name, Use::Value));
    values.chain(counted.chain(followed).map(|name| (name, Use::Reference)))
}

fn written_by(rule: &Rule) -> impl Iterator<Item = (&Attribute, Use)> {
    let compared = rule.joins.iter().flat_map(|join| &join.clauses).map(|clause| (&clause.space, Use::Value));
    compared.chain(rule.flows.iter().map(|flow| match flow.kind {
        FlowKind::Reference { .. } => (&flow.target, Use::WriteReference),
        _ => (&flow.target, Use::Write { merges: flow.merge != Merge::Update }),
    }))
}

impl RuleSet {
    /// What inbound rules read of a connector's objects, and what outbound rules compare and write there.
    pub fn mentions<'a>(&'a self, connector: &'a ConnectorName) -> impl Iterator<Item = Mention<'a>> {
        let written = self.capabilities(connector).is_some_and(|c| c.exports || c.writes_back);
        let rules = self.rules().iter().filter(|rule| self.is_for(rule, connector));
        rules.flat_map(move |rule| {
            let mention =
                move |(attribute, used)| Mention { rule: &rule.name, object_type: &rule.space_type, attribute, used };
            let inbound = (rule.direction == Direction::Inbound).then(|| read_by(rule).map(mention));
            let outbound = (rule.direction == Direction::Outbound && written).then(|| written_by(rule).map(mention));
            inbound.into_iter().flatten().chain(outbound.into_iter().flatten())
        })
    }

    /// What inbound rules read of a connector's objects, and what outbound rules compare there, by object type.
    pub fn wanted(&self, connector: &ConnectorName) -> BTreeMap<String, Wanted> {
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        // A rule that reads nothing is for objects that are read all the same.
        let inbound = self.rules().iter().filter(|rule| rule.direction == Direction::Inbound);
        for rule in inbound.filter(|rule| self.is_for(rule, connector)) {
            wanted.entry(rule.space_type.clone()).or_default();
        }
        for mention in self.mentions(connector) {
            let of_type = wanted.entry(mention.object_type.to_owned()).or_default();
            match mention.used {
                Use::Value | Use::Write { .. } => of_type.attributes.insert(mention.attribute.clone()),
                Use::Reference | Use::WriteReference => of_type.references.insert(mention.attribute.clone()),
            };
        }
        if self.named_groups(connector).next().is_some() {
            wanted.entry(GROUP.to_owned()).or_default().references.insert(MEMBER.into());
        }
        wanted
    }
}
