//! Search over connector spaces and the metaverse: by index where a whole name is given, else a bounded scan that says so.

use serde::{Deserialize, Serialize};

use super::InspectError;
use super::find::{FindError, Found, ObjectName, find};
use super::names::{Named, Names, label};
use crate::identity::{ConnectorName, fold};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::inspection::{Only, Scan};
use crate::sync::metaverse::MvObject;
use crate::sync::problem::Problem;
use crate::sync::run::Runner;
use crate::sync::space::{ExportKind, ObjectId, PendingImport, SpaceObject};

/// Ids that one statement goes through.
const WINDOW: i64 = 10_000;
/// Statements of one search at most: at 100,000 objects a search answers within a second or two, on a larger engine it
/// says where it stopped.
const WINDOWS: usize = 20;
/// Hits of one answer at most.
const MOST: usize = 500;

/// Attributes by which people are known.
const NAME_ATTRIBUTES: [&str; 12] = [
    "userPrincipalName",
    "mail",
    "displayName",
    "cn",
    "uid",
    "sAMAccountName",
    "givenName",
    "sn",
    "surname",
    "sourceAnchor",
    "proxyAddresses",
    "employeeID",
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// A whole name of an object, or a part of a name, an anchor, a user principal name or an address.
    #[serde(default)]
    pub text: Option<String>,
    /// Only objects whose attribute has this value.
    #[serde(default)]
    pub attribute: Option<(Attribute, String)>,
    #[serde(default)]
    pub connector: Option<ConnectorName>,
    /// The metaverse alone.
    #[serde(default)]
    pub metaverse: bool,
    #[serde(default)]
    pub object_type: Option<String>,
    #[serde(default)]
    pub state: Option<HitState>,
    /// Where an earlier search stopped.
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A state that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HitState {
    PendingImport,
    PendingExport,
    Unjoined,
    Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchMode {
    Index,
    Scan,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    pub mode: SearchMode,
    pub hits: Vec<Hit>,
    /// Where to go on; `None`: everything was searched.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    pub object: Named,
    pub object_type: String,
    /// Of an object of a space: its metaverse object.
    pub metaverse: Option<Named>,
    pub pending_import: Option<PendingImport>,
    pub pending_export: Option<ExportKind>,
    pub problems: Vec<Problem>,
}

/// Where a scan goes on.
#[derive(Clone, Copy)]
enum Place {
    Spaces(i64),
    Metaverse(i64),
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let (what, id) = text.split_once('-')?;
        let id = id.parse().ok()?;
        match what {
            "space" => Some(Self::Spaces(id)),
            "mv" => Some(Self::Metaverse(id)),
            _ => None,
        }
    }

    fn write(self) -> String {
        match self {
            Self::Spaces(id) => format!("space-{id}"),
            Self::Metaverse(id) => format!("mv-{id}"),
        }
    }
}

impl Runner {
    /// Finds objects. A whole name is looked up; anything else goes through the tables up to a bound.
    pub async fn search(&self, request: &SearchRequest) -> Result<SearchResult, InspectError> {
        if request.after.is_none()
            && request.attribute.is_none()
            && request.state.is_none()
            && let Some(found) = self.by_whole_name(request).await?
        {
            return Ok(found);
        }
        let limit = request.limit.unwrap_or(50).clamp(1, MOST);
        let first = match request.after.as_deref() {
            Some(text) => Place::read(text).ok_or_else(|| FindError::Nothing(format!("the place {text}")))?,
            None if request.metaverse => Place::Metaverse(0),
            None => Place::Spaces(0),
        };
        let (mut hits, mut place) = (Vec::new(), Some(first));
        for _ in 0..WINDOWS {
            let Some(at) = place.filter(|_| hits.len() < limit) else { break };
            place = self.window(request, at, limit, &mut hits).await?;
        }
        Ok(SearchResult { mode: SearchMode::Scan, hits, next: place.map(Place::write) })
    }

    async fn by_whole_name(&self, request: &SearchRequest) -> Result<Option<SearchResult>, InspectError> {
        // Addresses are no index of their own: they are part of what the scan looks at.
        let Some(text) = request.text.as_ref().filter(|text| !text.contains('@')) else { return Ok(None) };
        let Ok(mut name) = text.parse::<ObjectName>() else { return Ok(None) };
        if let (ObjectName::Anywhere(text), Some(connector)) = (&name, &request.connector) {
            name = ObjectName::InSpace { connector: connector.clone(), name: text.clone() };
        }
        let rules = self.rules().await?.1;
        let found = match find(&*self.store, &rules, &name).await {
            Ok(found) => found,
            // Several or none: the scan tells them.
            Err(FindError::Nothing(_) | FindError::Ambiguous { .. } | FindError::NoConnector { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let hits = match found {
            Found::Metaverse(mv) => self.mv_hits(self.store.metaverse(&[mv]).await?),
            Found::Space(head) if !request.metaverse => self.hits(self.store.objects(&[head.id]).await?).await?,
            Found::Space(_) => return Ok(None),
        };
        Ok(Some(SearchResult { mode: SearchMode::Index, hits, next: None }))
    }

    /// One window of the scan, and where the next one begins.
    async fn window(
        &self,
        request: &SearchRequest,
        at: Place,
        limit: usize,
        hits: &mut Vec<Hit>,
    ) -> Result<Option<Place>, InspectError> {
        let only = match request.state {
            None => Only::Any,
            Some(HitState::PendingImport) => Only::PendingImport,
            Some(HitState::PendingExport) => Only::PendingExport,
            Some(HitState::Unjoined) => Only::Unjoined,
            Some(HitState::Problem) => Only::Problem,
        };
        let text = match (&request.text, &request.attribute) {
            (Some(text), _) => Some(text.clone()),
            (None, Some((_, value))) => Some(value.clone()),
            (None, None) => None,
        };
        let (Place::Spaces(after) | Place::Metaverse(after)) = at;
        let (connector, object_type) = (request.connector.clone(), request.object_type.clone());
        let scan = Scan { connector, object_type, text, only, after, window: WINDOW, limit: MOST };
        let room = limit - hits.len();
        match at {
            Place::Spaces(_) => {
                let scanned = self.store.scan_spaces(&scan).await?;
                let mut found: Vec<SpaceObject> =
                    scanned.found.into_iter().filter(|object| request.admits_space(object)).collect();
                let cut = found.get(room).map(|_| found[room - 1].id.0);
                found.truncate(room);
                hits.extend(self.hits(found).await?);
                let of_spaces = request.connector.is_some() || request.state.is_some();
                let behind = (!of_spaces).then_some(Place::Metaverse(0));
                Ok(cut.or(scanned.next).map(Place::Spaces).or(behind))
            }
            Place::Metaverse(_) => {
                let scanned = self.store.scan_metaverse(&scan).await?;
                let mut found: Vec<MvObject> =
                    scanned.found.into_iter().filter(|object| request.admits_mv(object)).collect();
                let cut = found.get(room).map(|_| found[room - 1].id.0);
                found.truncate(room);
                hits.extend(self.mv_hits(found));
                Ok(cut.or(scanned.next).map(Place::Metaverse))
            }
        }
    }

    fn mv_hits(&self, objects: Vec<MvObject>) -> Vec<Hit> {
        let hit = |object: MvObject| Hit {
            object: Named { name: format!("mv:{}", object.id), label: label(&object) },
            object_type: object.object_type,
            metaverse: None,
            pending_import: None,
            pending_export: None,
            problems: Vec::new(),
        };
        objects.into_iter().map(hit).collect()
    }

    async fn hits(&self, objects: Vec<SpaceObject>) -> Result<Vec<Hit>, InspectError> {
        let ids: Vec<ObjectId> = objects.iter().map(|object| object.id).collect();
        let store = &*self.store;
        let mut names = Names::default();
        names.read(store, ids.iter().copied(), objects.iter().filter_map(|object| object.mv)).await?;
        let staged = store.staged(&ids).await?;
        let problems = store.problems(&ids).await?;
        let hit = |object: SpaceObject| Hit {
            object: names.object(object.id),
            object_type: object.object_type,
            metaverse: object.mv.map(|mv| names.mv(mv)),
            pending_import: Some(object.pending_import),
            pending_export: staged.iter().find(|export| export.object == object.id).map(|export| export.kind),
            problems: problems.iter().filter(|(of, _)| *of == object.id).map(|(_, p)| p.clone()).collect(),
        };
        Ok(objects.into_iter().map(hit).collect())
    }
}

impl SearchRequest {
    fn admits_space(&self, object: &SpaceObject) -> bool {
        let none = Attributes::new();
        let shown = object.shown.as_deref().unwrap_or(&none);
        let identities = [Some(&object.rdn), object.anchor.as_ref(), object.match_key.as_ref()];
        self.admits(|name| shown.get(name).map_or(&[], Vec::as_slice), identities.into_iter().flatten())
    }

    fn admits_mv(&self, object: &MvObject) -> bool {
        self.admits(|name| object.values(name), [])
    }

    fn admits<'a>(
        &self,
        values: impl Fn(&Attribute) -> &'a [Value],
        identities: impl IntoIterator<Item = &'a String>,
    ) -> bool {
        let by_attribute = self.attribute.as_ref().is_none_or(|(name, wanted)| {
            let wanted = fold(wanted);
            values(name).iter().any(|value| value.folded() == wanted)
        });
        let by_text = self.text.as_ref().is_none_or(|text| {
            let text = fold(text);
            let holds = |name: &str| values(&name.into()).iter().any(|value| value.folded().contains(&text));
            identities.into_iter().any(|identity| fold(identity).contains(&text))
                || NAME_ATTRIBUTES.into_iter().any(holds)
        });
        by_attribute && by_text
    }
}
