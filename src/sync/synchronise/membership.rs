//! Groups that scopes name (`ISMEMBEROF`): who is a member is told to the rules, and who came or went is evaluated again.
//!
//! A group is found by its name once and kept by its anchor from then on, so that a renamed group keeps its members.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{ConnectorName, DistinguishedName, LeaseEpoch};
use crate::sync::attribute::Value;
use crate::sync::rule::{MEMBER_OF, RuleSet};
use crate::sync::space::{ObjectId, ObjectKind, PendingImport, SpaceHead, SpaceObject};
use crate::sync::store::{EngineStore, KeptGroup, StoreResult};

/// The named groups that are there, with their names as the rules write them, folded.
#[derive(Debug, Default)]
pub struct NamedGroups(BTreeMap<ObjectId, Vec<String>>);

/// The groups that scopes name, as they are found.
#[derive(Default)]
pub struct Looked {
    pub groups: NamedGroups,
    /// For the first time.
    found: Vec<KeptGroup>,
    watched: Vec<ObjectId>,
}

/// Finds the groups that scopes name, and makes due whoever came to them or left them since the last synchronisation.
pub async fn follow(store: &dyn EngineStore, rules: &RuleSet, epoch: LeaseEpoch) -> StoreResult<NamedGroups> {
    let Looked { groups, found, watched } = look(store, rules).await?;
    if !(found.is_empty() && watched.is_empty()) {
        store.follow_groups(epoch, found, &watched).await?;
    }
    Ok(groups)
}

/// Finds the groups that scopes name, and writes nothing.
pub async fn look(store: &dyn EngineStore, rules: &RuleSet) -> StoreResult<Looked> {
    let Looked { mut groups, mut found, mut watched } = Looked::default();
    for connector in rules.connectors() {
        let named: BTreeMap<String, &DistinguishedName> =
            rules.named_groups(connector).map(|dn| (dn.folded(), dn)).collect();
        if named.is_empty() {
            continue;
        }
        let kept: BTreeMap<String, String> = store.kept_groups(connector).await?.into_iter().collect();
        for (folded, dn) in named {
            let known = match kept.get(&folded) {
                Some(anchor) => store.heads_by_anchor(connector, std::slice::from_ref(anchor)).await?.pop(),
                None => None,
            };
            // One that is on its way out leaves its members behind.
            watched.extend(known.as_ref().map(|head| head.id));
            if let Some(head) = known.filter(is_there) {
                groups.0.entry(head.id).or_default().push(folded);
                continue;
            }
            let Some(head) = by_name(store, connector, dn).await? else { continue };
            let Some(anchor) = head.anchor else { continue };
            groups.0.entry(head.id).or_default().push(folded.clone());
            found.push(KeptGroup { connector: connector.clone(), named: folded, anchor, group: head.id });
        }
    }
    Ok(Looked { groups, found, watched })
}

fn is_there(head: &SpaceHead) -> bool {
    head.kind == ObjectKind::Object && head.pending_import != PendingImport::Delete
}

/// Goes down from the root, place by place.
async fn by_name(
    store: &dyn EngineStore,
    connector: &ConnectorName,
    dn: &DistinguishedName,
) -> StoreResult<Option<SpaceHead>> {
    let above = |dn: &DistinguishedName| dn.parent().filter(|parent| !parent.is_root());
    let names: Vec<DistinguishedName> = std::iter::successors(Some(dn.clone()), above).collect();
    let mut at: Option<SpaceHead> = None;
    for name in names.iter().rev() {
        let parent = at.as_ref().map_or(0, |head| head.id.0);
        let heads = store.heads_by_place(connector, &[format!("{parent}:{}", name.rdn_folded())]).await?;
        // Of several the real one: an object may not have left its place yet.
        at = heads.into_iter().min_by_key(|head| (head.kind == ObjectKind::Placeholder, head.id));
        if at.is_none() {
            return Ok(None);
        }
    }
    Ok(at.filter(is_there))
}

impl NamedGroups {
    /// Tells each object which of the groups it is a member of, as the attribute [`MEMBER_OF`].
    pub async fn tell(&self, store: &dyn EngineStore, mut objects: Vec<SpaceObject>) -> StoreResult<Vec<SpaceObject>> {
        if self.0.is_empty() || objects.is_empty() {
            return Ok(objects);
        }
        let groups: Vec<ObjectId> = self.0.keys().copied().collect();
        let ids: Vec<ObjectId> = objects.iter().map(|object| object.id).collect();
        let mut of: BTreeMap<ObjectId, Vec<Value>> = BTreeMap::new();
        for (group, member) in store.memberships(&groups, &ids).await? {
            of.entry(member).or_default().extend(self.0[&group].iter().map(|name| Value::text(name.as_str())));
        }
        for object in &mut objects {
            if let (Some(names), Some(shown)) = (of.remove(&object.id), object.shown.as_mut()) {
                Arc::make_mut(shown).insert(MEMBER_OF.into(), names);
            }
        }
        Ok(objects)
    }
}
