//! Where the value of one attribute comes from, who lost, and how far it got.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::InspectError;
use super::find::{FindError, Found, ObjectName, find};
use super::names::{Named, Names};
use super::outcome::{AttributeFlows, FlowExplained, Sorted};
use crate::sync::attribute::{Attribute, Value};
use crate::sync::metaverse::MvId;
use crate::sync::rule::{Direction, FlowKind, RuleSet};
use crate::sync::run::Runner;
use crate::sync::space::{ExportKind, ExportState, LinkState, ObjectId, SpaceObject};
use crate::sync::store::{EngineStore, StoreResult};
use crate::sync::synchronise::considered;

/// Contributed links whose names are told.
const NAMED: usize = 50;

/// The history of one attribute of one metaverse object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeExplained {
    pub object: Named,
    /// In the metaverse.
    pub attribute: Attribute,
    /// The value that the metaverse holds, and who gave it; `None`: it holds none.
    pub present: Option<Present>,
    /// What the rules say of it now, the strongest first.
    pub flows: Vec<FlowExplained>,
    /// What the next synchronisation makes of it, where that is another value.
    pub next: Option<Vec<Value>>,
    /// Of a reference: the first of those it refers to, with the objects whose references these were.
    pub refers_to: Vec<String>,
    pub targets: Vec<TargetAttribute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    pub values: Vec<Value>,
    pub rule: String,
    pub precedence: Option<u32>,
    pub connector: String,
    pub object: Named,
}

/// How far the attribute got at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetAttribute {
    pub target: String,
    /// `None`: the target has no object of it.
    pub object: Option<Named>,
    pub attributes: Vec<TargetValue>,
    pub references: Vec<ReferencesAtTarget>,
}

/// One attribute of the target that is made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetValue {
    #[serde(flatten)]
    pub flows: AttributeFlows,
    /// What the target last showed.
    pub confirmed: Vec<Value>,
    /// Accepted by the target and not yet shown by an import.
    pub sent: Option<Vec<Value>>,
    pub pending: Option<PendingValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingValue {
    pub operation: ExportKind,
    pub state: ExportState,
    pub values: Vec<Value>,
    pub error: Option<String>,
}

/// Links of a target object by attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencesAtTarget {
    pub attribute: Attribute,
    /// Links by their state.
    pub states: BTreeMap<LinkState, i64>,
}

impl Runner {
    /// Tells where the present value of `attribute` of an object comes from, and how far it got. `attribute` is one of the
    /// metaverse, or of a target.
    pub async fn explain(&self, attribute: &Attribute, name: &ObjectName) -> Result<AttributeExplained, InspectError> {
        let rules = self.rules().await?.1;
        let store = &*self.store;
        let mv = match find(store, &rules, name).await? {
            Found::Metaverse(mv) => mv,
            Found::Space(head) => match head.mv {
                Some(mv) => mv,
                None => {
                    let mut names = Names::default();
                    names.read(store, [head.id], []).await?;
                    return Err(FindError::NotInMetaverse(names.object(head.id).to_string()).into());
                }
            },
        };
        Explanation { store, rules: &rules, mv }.tell(attribute).await
    }
}

struct Explanation<'a> {
    store: &'a dyn EngineStore,
    rules: &'a RuleSet,
    mv: MvId,
}

impl Explanation<'_> {
    async fn tell(&self, wanted: &Attribute) -> Result<AttributeExplained, InspectError> {
        let mut names = Names::default();
        names.read(self.store, [], [self.mv]).await?;
        let object = names.mv(self.mv);
        let held = self.store.metaverse(&[self.mv]).await?.into_iter().next();
        let held = held.ok_or_else(|| FindError::Nothing(object.name.clone()))?;
        let attribute = self
            .in_metaverse(&held.object_type, wanted)
            .ok_or_else(|| FindError::NoAttribute { object: object.to_string(), attribute: wanted.clone() })?;
        let (ws, findings) = considered(self.store, self.rules, &BTreeSet::from([self.mv])).await?;
        let sorted = Sorted::new(findings);
        let (objects, mvs) = sorted.subjects();
        let contributor = held.attributes.get(&attribute).map(|contribution| contribution.object);
        names.read(self.store, objects.into_iter().chain(contributor), mvs).await?;
        let present = held.attributes.get(&attribute).map(|contribution| Present {
            values: contribution.values.clone(),
            precedence: self.rules.by_name(&contribution.rule).map(|rule| rule.precedence),
            rule: contribution.rule.clone(),
            connector: contribution.connector.to_string(),
            object: names.object(contribution.object),
        });
        let next = ws.mv(self.mv).map(|next| next.values(&attribute).to_vec()).unwrap_or_default();
        let differs = next != held.values(&attribute);
        let refers_to = self.references(&attribute, &mut names).await?;
        let mut targets = Vec::new();
        for target in self.rules.targets().chain(self.rules.written_back()) {
            let members = self.store.members(&[self.mv]).await?;
            let member = members.into_iter().find(|member| member.connector == *target);
            targets.push(self.at_target(target.as_str(), member, &attribute, &sorted, &mut names).await?);
        }
        Ok(AttributeExplained {
            object,
            flows: sorted.inbound_flows(self.mv, &attribute, &names),
            present,
            next: differs.then_some(next),
            refers_to,
            targets,
            attribute,
        })
    }

    /// The attribute of the metaverse that is meant: one that a rule flows into it, or that the target attribute of this
    /// name is made of.
    fn in_metaverse(&self, object_type: &str, wanted: &Attribute) -> Option<Attribute> {
        let rules = || self.rules.rules().iter().filter(|rule| rule.is_of_type(object_type));
        let inbound = rules().filter(|rule| rule.direction == Direction::Inbound).flat_map(|rule| &rule.flows);
        if let Some(flow) = inbound.into_iter().find(|flow| flow.target == *wanted) {
            return Some(flow.target.clone());
        }
        let outbound = rules().filter(|rule| rule.direction == Direction::Outbound).flat_map(|rule| &rule.flows);
        outbound.filter(|flow| flow.target == *wanted).find_map(|flow| match &flow.kind {
            FlowKind::Reference { source } => Some(source.clone()),
            _ => flow.reads().first().map(|name| (*name).clone()),
        })
    }

    async fn references(&self, attribute: &Attribute, names: &mut Names) -> StoreResult<Vec<String>> {
        let links = self.store.mv_links_of(self.mv, NAMED * 20).await?;
        let links: Vec<_> = links.into_iter().filter(|link| link.attribute == *attribute).take(NAMED).collect();
        names.read(self.store, links.iter().map(|link| link.contributor), links.iter().map(|link| link.target)).await?;
        let told = |link: &crate::sync::metaverse::MvLink| {
            format!("{} by {} of {}", names.mv(link.target), link.source_attribute, names.object(link.contributor))
        };
        Ok(links.iter().map(told).collect())
    }

    async fn at_target(
        &self,
        target: &str,
        member: Option<SpaceObject>,
        attribute: &Attribute,
        sorted: &Sorted,
        names: &mut Names,
    ) -> StoreResult<TargetAttribute> {
        let (plain, links) = self.made_of(target, attribute);
        let id = member.as_ref().map(|member| member.id);
        names.read(self.store, id, []).await?;
        let ids: Vec<ObjectId> = id.into_iter().collect();
        let staged = self.store.staged(&ids).await?.into_iter().next();
        let held = member.as_ref().and_then(SpaceObject::effective).unwrap_or_default();
        let mut attributes = sorted.target_attributes(self.mv, target, &held, names);
        attributes.retain(|flows| plain.contains(&flows.attribute));
        let values = attributes.into_iter().map(|flows| {
            let name = &flows.attribute;
            let shown = member.as_ref().and_then(|member| member.shown.as_ref());
            let unconfirmed = member.as_ref().and_then(|member| member.unconfirmed.as_ref());
            TargetValue {
                confirmed: shown.and_then(|shown| shown.get(name)).cloned().unwrap_or_default(),
                sent: unconfirmed.and_then(|unconfirmed| unconfirmed.changes.get(name)).cloned(),
                pending: staged.as_ref().and_then(|staged| {
                    let values = match staged.kind {
                        ExportKind::Delete => Vec::new(),
                        ExportKind::Add | ExportKind::Update => staged.changes.get(name)?.clone(),
                    };
                    let (operation, state, error) = (staged.kind, staged.state, staged.error.clone());
                    Some(PendingValue { operation, state, values, error })
                }),
                flows,
            }
        });
        let attributes = values.collect();
        let mut references: BTreeMap<Attribute, BTreeMap<LinkState, i64>> = BTreeMap::new();
        if let Some(id) = id.filter(|_| !links.is_empty()) {
            for count in self.store.count_links(id).await?.into_iter().filter(|c| links.contains(&c.attribute)) {
                references.entry(count.attribute).or_default().insert(count.state, count.count);
            }
        }
        let references =
            references.into_iter().map(|(attribute, states)| ReferencesAtTarget { attribute, states }).collect();
        Ok(TargetAttribute { target: target.to_owned(), object: id.map(|id| names.object(id)), attributes, references })
    }

    /// The attributes of a target that are made of one of the metaverse: values, and references.
    fn made_of(&self, target: &str, attribute: &Attribute) -> (BTreeSet<Attribute>, BTreeSet<Attribute>) {
        let (mut plain, mut links) = (BTreeSet::new(), BTreeSet::new());
        for rule in self.rules.rules_towards(target) {
            for flow in &rule.flows {
                match &flow.kind {
                    FlowKind::Reference { source } if source == attribute => {
                        links.insert(flow.target.clone());
                    }
                    FlowKind::Reference { .. } => {}
                    _ if flow.reads().contains(&attribute) => {
                        plain.insert(flow.target.clone());
                    }
                    _ => {}
                }
            }
        }
        (plain, links)
    }
}
