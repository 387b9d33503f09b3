//! Objects as operators name them: `connector:DN`, `connector:anchor`, a user principal name, `mv:ID`.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::names::{Named, Names};
use crate::identity::{ConnectorName, DistinguishedName, fold};
use crate::sync::attribute::Attribute;
use crate::sync::inspection::{Only, Scan};
use crate::sync::metaverse::{MvId, MvObject};
use crate::sync::rule::{RuleSet, names};
use crate::sync::space::{ObjectId, ObjectKind, SpaceHead};
use crate::sync::store::{EngineStore, EngineStoreError, StoreResult};

/// How an object is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    /// `mv:ID`.
    Metaverse(MvId),
    /// `connector:` and a DN, an anchor, or in a target the value under which it is added.
    InSpace { connector: ConnectorName, name: String },
    /// A DN, an anchor, a user principal name or an address, wherever it is.
    Anywhere(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectNameError {
    #[error("name an object: connector:DN, connector:anchor, a user principal name, or mv:ID")]
    Empty,
    #[error("`{0}` is no id of a metaverse object: write mv: and its number, as `sync search` tells it")]
    Metaverse(String),
}

impl FromStr for ObjectName {
    type Err = ObjectNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ObjectNameError::Empty);
        }
        let Some((before, name)) = text.split_once(':') else { return Ok(Self::Anywhere(text.to_owned())) };
        if before.eq_ignore_ascii_case("mv") {
            return name
                .trim()
                .parse()
                .map(|id| Self::Metaverse(MvId(id)))
                .map_err(|_| ObjectNameError::Metaverse(name.to_owned()));
        }
        match before.parse() {
            Ok(_) if name.trim().is_empty() => Err(ObjectNameError::Empty),
            // A DN or an anchor may hold a colon too: then nothing before it is a connector's name.
            Ok(connector) => Ok(Self::InSpace { connector, name: name.trim().to_owned() }),
            Err(_) => Ok(Self::Anywhere(text.to_owned())),
        }
    }
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Space(Box<SpaceHead>),
    Metaverse(MvId),
}

#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("there is no connector {name}; there are {known}")]
    NoConnector { name: String, known: String },
    #[error("no object is known as {0}: `sync search` looks for parts of names")]
    Nothing(String),
    #[error("{name} means several objects; name one of them: {}", list(.found))]
    Ambiguous { name: String, found: Vec<Named> },
    /// It was named, and is not in the metaverse.
    #[error("{0} has no metaverse object")]
    NotInMetaverse(String),
    #[error("the metaverse object {object} has no attribute {attribute}, and no rule flows one")]
    NoAttribute { object: String, attribute: Attribute },
    #[error(transparent)]
    Store(#[from] EngineStoreError),
}

fn list(found: &[Named]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Ids that one statement of a scan goes through.
const WINDOW: i64 = 20_000;
/// Objects that a scan for an exact name brings at most: more of them are ambiguous anyway.
const FEW: usize = 20;

/// Finds the one object that `name` means.
pub async fn find(store: &dyn EngineStore, rules: &RuleSet, name: &ObjectName) -> Result<Found, FindError> {
    let (text, found) = match name {
        ObjectName::Metaverse(mv) => {
            let text = format!("mv:{mv}");
            return match store.metaverse(&[*mv]).await?.first() {
                Some(_) => Ok(Found::Metaverse(*mv)),
                None => Err(FindError::Nothing(text)),
            };
        }
        ObjectName::InSpace { connector, name } => {
            if !rules.connectors().any(|known| known == connector) {
                let known = rules.connectors().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(FindError::NoConnector { name: connector.to_string(), known });
            }
            (format!("{connector}:{name}"), in_space(store, rules, connector, name).await?)
        }
        ObjectName::Anywhere(text) => {
            let mut found = Vec::new();
            for connector in rules.connectors() {
                found.extend(in_space(store, rules, connector, text).await?);
            }
            if found.is_empty() && text.contains('@') {
                return by_address(store, text).await;
            }
            (text.clone(), found)
        }
    };
    one_of(store, &text, found, Vec::new()).await
}

/// Objects of a space that are exactly named so, by its indexes.
async fn in_space(
    store: &dyn EngineStore,
    rules: &RuleSet,
    connector: &ConnectorName,
    name: &str,
) -> StoreResult<Vec<SpaceHead>> {
    let real = |head: &SpaceHead| head.kind != ObjectKind::Placeholder;
    let mut found = store.heads_by_anchor(connector, &[name.to_owned()]).await?;
    found.retain(real);
    if found.is_empty()
        && name.contains('=')
        && let Ok(dn) = name.parse::<DistinguishedName>()
    {
        found = by_dn(store, connector, &dn).await?;
        found.retain(real);
    }
    if found.is_empty()
        && let Some(add_key) = rules.capabilities(connector).and_then(|capabilities| capabilities.add_key.clone())
    {
        let keys = rules.match_keys(connector, &add_key, name);
        let ids: Vec<ObjectId> =
            store.ids_by_match_key(connector, &keys).await?.into_iter().map(|(_, id)| id).collect();
        found = store.heads(&ids).await?;
        found.retain(real);
    }
    Ok(found)
}

/// Goes down the tree by the places of each level.
async fn by_dn(
    store: &dyn EngineStore,
    connector: &ConnectorName,
    dn: &DistinguishedName,
) -> StoreResult<Vec<SpaceHead>> {
    let (mut levels, mut next) = (Vec::new(), Some(dn.clone()));
    while let Some(dn) = next.filter(|dn| !dn.is_root()) {
        next = dn.parent();
        levels.push(dn);
    }
    let (mut parents, mut found) = (vec![0], Vec::new());
    for level in levels.iter().rev() {
        let places: Vec<String> = parents.iter().map(|parent| format!("{parent}:{}", level.rdn_folded())).collect();
        found = store.heads_by_place(connector, &places).await?;
        parents = found.iter().map(|head| head.id.0).collect();
    }
    Ok(found)
}

/// Whoever has this user principal name, or else this address, in the metaverse, or else in a space.
async fn by_address(store: &dyn EngineStore, text: &str) -> Result<Found, FindError> {
    let wanted = fold(text);
    let holds = |values: &[crate::sync::Value]| values.iter().any(|value| value.folded() == wanted);
    let scan = |after: i64| Scan {
        connector: None,
        object_type: None,
        text: Some(text.to_owned()),
        only: Only::Any,
        after,
        window: WINDOW,
        limit: 1000,
    };
    let (mut upns, mut mails, mut next) = (Vec::new(), Vec::new(), Some(0));
    while let Some(after) = next {
        let scanned = store.scan_metaverse(&scan(after)).await?;
        let has = |object: &MvObject, name: &str| holds(object.values(&name.into()));
        upns.extend(scanned.found.iter().filter(|object| has(object, names::UPN)).map(|object| object.id));
        mails.extend(scanned.found.iter().filter(|object| has(object, "mail")).map(|object| object.id));
        next = scanned.next.filter(|_| upns.len() < FEW);
    }
    mails.truncate(FEW);
    let mvs = if upns.is_empty() { mails } else { upns };
    if !mvs.is_empty() {
        return one_of(store, text, Vec::new(), mvs).await;
    }
    let (mut found, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let scanned = store.scan_spaces(&scan(after)).await?;
        let named = scanned.found.iter().filter(|object| {
            let shown = object.shown.as_deref();
            shown.is_some_and(|shown| {
                [names::UPN, "mail"].iter().any(|n| shown.get(&(*n).into()).is_some_and(|v| holds(v)))
            })
        });
        found.extend(named.map(|object| object.id));
        next = scanned.next.filter(|_| found.len() < FEW);
    }
    let heads = store.heads(&found).await?;
    one_of(store, text, heads, Vec::new()).await
}

/// The one that all of these are: several objects of one metaverse object are that one.
async fn one_of(
    store: &dyn EngineStore,
    text: &str,
    mut heads: Vec<SpaceHead>,
    mvs: Vec<MvId>,
) -> Result<Found, FindError> {
    match (heads.len(), mvs.as_slice()) {
        (0, []) => return Err(FindError::Nothing(text.to_owned())),
        (1, []) => return Ok(Found::Space(Box::new(heads.remove(0)))),
        (0, [mv]) => return Ok(Found::Metaverse(*mv)),
        _ => {}
    }
    let meant: BTreeSet<Option<MvId>> =
        heads.iter().map(|head| head.mv).chain(mvs.iter().map(|mv| Some(*mv))).collect();
    if let (1, Some(Some(mv))) = (meant.len(), meant.first()) {
        return Ok(Found::Metaverse(*mv));
    }
    let mut named = Names::default();
    named.read(store, heads.iter().map(|head| head.id), mvs.iter().copied()).await?;
    let found = heads.iter().map(|head| named.object(head.id)).chain(mvs.iter().map(|mv| named.mv(*mv))).collect();
    Err(FindError::Ambiguous { name: text.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_in_four_ways() {
        let in_space = |connector: &str, name: &str| ObjectName::InSpace {
            connector: connector.parse().expect("a name"),
            name: name.to_owned(),
        };
        for (text, expected) in [
            ("mv:17", ObjectName::Metaverse(MvId(17))),
            ("corp:uid=ada,ou=people,dc=x", in_space("corp", "uid=ada,ou=people,dc=x")),
            ("corp: 0f3c", in_space("corp", "0f3c")),
            ("ada@example.org", ObjectName::Anywhere("ada@example.org".to_owned())),
            ("uid=a:b,dc=x", ObjectName::Anywhere("uid=a:b,dc=x".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "  ", "corp:", "mv:x", "mv:"] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }
}
