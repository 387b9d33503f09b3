//! A target that is told to break, that others change too, and that keeps account of what is done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use landbridge::identity::{Clock, ConnectorName, SettableClock, Timestamp};
use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportOperation, ExportResult, ImportMode,
    ImportPage, ImportRequest, ImportStream, ImportedObject, LinkReport, LinkReports, ReadBack, Reference, Watermark,
};
use landbridge::sync::lease::Turn;

/// How the target tells what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirms {
    ByFullReads,
    ByChanges,
    /// Objects by changes, and each link by itself.
    LinkByLink,
}

#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub confirms: Confirms,
    pub page: usize,
    pub batch: usize,
}

/// How the target breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// So many changes of the batch are carried out, and its answer is lost.
    Export { batch: u8, carried_out: u8 },
    /// The confirming read breaks after so many pages, or at the end of them.
    Confirm { pages: u8 },
}

/// What others do there. Numbers choose among what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    Delete(u8),
    Rename(u8),
    Unlink(u8),
    Link(u8, u8),
    /// An account that was made by hand under the source anchor of a person.
    Appear(u8),
}

#[derive(Clone, Debug, Default)]
pub struct Object {
    pub object_type: String,
    pub attributes: Attributes,
    pub links: BTreeMap<String, BTreeSet<String>>,
    /// Made by others, and not touched by the engine so far.
    pub foreign: bool,
}

/// One change that destroyed something: when, what kind, and what it was done to.
type Effect = (Timestamp, String, String);

#[derive(Clone, Default)]
pub struct Held {
    pub objects: BTreeMap<String, Object>,
    /// Ids by source anchor, kept after a delete.
    ids: BTreeMap<String, String>,
    clock: u64,
    changed: BTreeMap<String, u64>,
    gone: BTreeMap<String, (u64, String)>,
    links: BTreeMap<(String, String, String), (u64, bool)>,
}

pub struct State {
    pub held: Held,
    pub manner: Manner,
    pub next: Option<Break>,
    /// Source anchors whose changes are refused.
    pub refuse: BTreeSet<String>,
    /// Changes that arrived.
    pub arrived: usize,
    batches: u8,
    /// Source anchors of what was sent without an answer and not read back since.
    doubtful: BTreeSet<String>,
    /// What an administrator let pass, by kind and item.
    pub released: BTreeSet<(String, String)>,
    unreleased: Vec<Effect>,
    /// What must not happen.
    pub violations: Vec<String>,
}

pub struct Target {
    name: ConnectorName,
    clock: Arc<SettableClock>,
    state: Mutex<State>,
}

const KEY: &str = "sourceAnchor";

fn text(attributes: &Attributes, name: &str) -> Option<String> {
    attributes.get(&Attribute::from(name))?.first().map(|value| value.as_text().to_owned())
}

impl Object {
    pub fn key(&self) -> String {
        text(&self.attributes, KEY).unwrap_or_default()
    }
}

impl Target {
    pub fn new(manner: Manner, clock: Arc<SettableClock>) -> Arc<Self> {
        let state = State {
            held: Held::default(),
            manner,
            next: None,
            refuse: BTreeSet::new(),
            arrived: 0,
            batches: 0,
            doubtful: BTreeSet::new(),
            released: BTreeSet::new(),
            unreleased: Vec::new(),
            violations: Vec::new(),
        };
        Arc::new(Self { name: "tenant".parse().expect("a name"), clock, state: Mutex::new(state) })
    }

    /// Another target that holds the same, for another engine.
    pub fn twin(&self) -> Arc<Self> {
        let state = self.state();
        let twin = Self::new(state.manner, self.clock.clone());
        twin.state().held = state.held.clone();
        twin
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    /// Most unreleased changes of one kind within any day that ends now, with the kind.
    pub fn destroyed(&self) -> BTreeMap<String, usize> {
        let now = self.clock.now();
        let mut counts = BTreeMap::new();
        for (at, kind, _) in &self.state().unreleased {
            if *at > now - Duration::from_secs(24 * 3600) {
                *counts.entry(kind.clone()).or_default() += 1;
            }
        }
        counts
    }
}

impl Held {
    fn touch(&mut self, id: &str) {
        self.clock += 1;
        self.changed.insert(id.to_owned(), self.clock);
        self.gone.remove(id);
    }

    fn set_link(&mut self, owner: &str, attribute: &str, target: &str, present: bool) -> bool {
        let Some(object) = self.objects.get_mut(owner) else { return false };
        let held = object.links.entry(attribute.to_owned()).or_default();
        let changed = if present { held.insert(target.to_owned()) } else { held.remove(target) };
        if changed {
            self.touch(owner);
            let key = (owner.to_owned(), attribute.to_owned(), target.to_owned());
            self.links.insert(key, (self.clock, present));
        }
        changed
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(object) = self.objects.remove(id) else { return false };
        let owners: Vec<(String, String)> = self
            .objects
            .iter()
            .flat_map(|(owner, object)| {
                let named = object.links.iter().filter(|(_, targets)| targets.contains(id));
                named.map(|(attribute, _)| (owner.clone(), attribute.clone()))
            })
            .collect();
        for (owner, attribute) in owners {
            self.set_link(&owner, &attribute, id, false);
        }
        self.links.retain(|(owner, _, target), _| owner != id && target != id);
        self.clock += 1;
        self.changed.remove(id);
        self.gone.insert(id.to_owned(), (self.clock, object.key()));
        true
    }

    fn id_of(&mut self, key: &str) -> String {
        let fresh = format!("oid-{}", self.ids.len() + 1);
        self.ids.entry(key.to_owned()).or_insert(fresh).clone()
    }

    fn show(&self, id: &str, with_links: bool) -> Option<ImportedObject> {
        let object = self.objects.get(id)?;
        let mut references = BTreeMap::new();
        if with_links {
            for attribute in ["member", "manager"] {
                let targets = object.links.get(attribute).into_iter().flatten();
                references.insert(attribute.into(), targets.cloned().map(Reference::Anchor).collect());
            }
        }
        Some(ImportedObject {
            anchor: id.to_owned(),
            dn: None,
            object_type: object.object_type.clone(),
            container: false,
            attributes: object.attributes.clone(),
            references,
        })
    }

    fn report(&self, link: &(String, String, String), present: bool) -> Option<LinkReport> {
        let key = |id: &String| self.objects.get(id).map(Object::key);
        let (owner, attribute, target) = link;
        Some(LinkReport { owner: key(owner)?, attribute: attribute.as_str().into(), target: key(target)?, present })
    }
}

/// What an update takes away, told by the words of the guard.
fn taken(object: &Object, changes: &Attributes) -> Vec<String> {
    let mut kinds = Vec::new();
    let says_false = |name: &str| text(changes, name).is_some_and(|value| value == "FALSE");
    let said_true = |name: &str| text(&object.attributes, name).is_some_and(|value| value == "TRUE");
    if says_false("accountEnabled") && said_true("accountEnabled") {
        kinds.push(format!("disable:{}", object.object_type));
    }
    let emptied = |name: &Attribute| {
        changes.get(name).is_some_and(Vec::is_empty) && object.attributes.get(name).is_some_and(|held| !held.is_empty())
    };
    if (says_false("credentialEligible") && said_true("credentialEligible")) || emptied(&"credentialAnchor".into()) {
        kinds.push(format!("credential:{}", object.object_type));
    }
    kinds.extend(changes.keys().filter(|name| emptied(name)).map(|name| format!("emptied:{name}")));
    kinds
}

impl State {
    fn account(&mut self, now: Timestamp, kind: String, item: String) {
        if !self.released.remove(&(kind.clone(), item.clone())) {
            self.unreleased.push((now, kind, item));
        }
    }

    fn apply(&mut self, change: &ExportChange, now: Timestamp) -> ExportResult {
        let key = text(&change.identity, KEY).unwrap_or_default();
        let refused = |code: &str| ExportResult::Refused { code: code.to_owned(), reason: key.clone() };
        if key.is_empty() {
            self.violations.push(format!("a change without a source anchor: {change:?}"));
        }
        if self.refuse.contains(&key) {
            return refused("told-to");
        }
        if self.doubtful.contains(&key) && !matches!(change.operation, ExportOperation::Links { .. }) {
            self.violations.push(format!("{key} was sent again before it was read back"));
        }
        match &change.operation {
            ExportOperation::Add { attributes } => {
                let id = self.held.id_of(&key);
                let object = self.held.objects.entry(id.clone()).or_default();
                object.object_type = change.object_type.clone();
                object.foreign = false;
                landbridge::sync::space::apply(&mut object.attributes, attributes);
                self.held.touch(&id);
                return ExportResult::Accepted { anchor: Some(id), warning: None };
            }
            ExportOperation::Update { anchor, changes } => {
                let Some(object) = self.held.objects.get_mut(anchor) else { return refused("absent") };
                let kinds = taken(object, changes);
                landbridge::sync::space::apply(&mut object.attributes, changes);
                object.foreign = false;
                self.held.touch(anchor);
                kinds.into_iter().for_each(|kind| self.account(now, kind, key.clone()));
            }
            ExportOperation::Delete { anchor } => {
                let object_type = self.held.objects.get(anchor).map(|object| object.object_type.clone());
                if self.held.objects.get(anchor).is_some_and(|object| object.foreign) {
                    self.violations.push(format!("{key} was made by others, and deleted untouched"));
                }
                if self.held.remove(anchor) {
                    self.account(now, format!("delete:{}", object_type.unwrap_or_default()), key.clone());
                }
            }
            ExportOperation::Links { anchor, attribute, add, remove } => {
                if !self.held.objects.contains_key(anchor) {
                    return refused("absent");
                }
                for target in
                    add.iter().filter(|target| self.held.objects.contains_key(&target.anchor)).collect::<Vec<_>>()
                {
                    self.held.set_link(anchor, attribute.as_str(), &target.anchor, true);
                }
                for target in remove {
                    if self.held.set_link(anchor, attribute.as_str(), &target.anchor, false) {
                        let item = format!("{key} > {}", target.key);
                        self.account(now, "memberships".to_owned(), item.clone());
                        self.released.remove(&(format!("members-of:{key}"), item));
                    }
                }
            }
        }
        ExportResult::Accepted { anchor: None, warning: None }
    }

    pub fn drift(&mut self, drift: Drift) {
        let ids: Vec<String> = self.held.objects.keys().cloned().collect();
        let chosen = |number: u8| (!ids.is_empty()).then(|| ids[usize::from(number) % ids.len()].clone());
        match drift {
            Drift::Delete(number) => {
                chosen(number).map(|id| self.held.remove(&id));
            }
            Drift::Rename(number) => {
                let Some(id) = chosen(number) else { return };
                if let Some(object) = self.held.objects.get_mut(&id) {
                    object.attributes.insert("displayName".into(), vec![Value::text("by hand")]);
                }
                self.held.touch(&id);
            }
            Drift::Unlink(number) => {
                let links = self.held.objects.iter().flat_map(|(id, object)| {
                    let each = |(name, targets): (&String, &BTreeSet<String>)| {
                        targets.iter().map(|t| (id.clone(), name.clone(), t.clone())).collect::<Vec<_>>()
                    };
                    object.links.iter().flat_map(each).collect::<Vec<_>>()
                });
                let links: Vec<_> = links.collect();
                if !links.is_empty() {
                    let (owner, attribute, target) = &links[usize::from(number) % links.len()];
                    self.held.set_link(owner, attribute, target, false);
                }
            }
            Drift::Link(owner, target) => {
                if let (Some(owner), Some(target)) = (chosen(owner), chosen(target)) {
                    let attribute = if self.held.objects[&owner].object_type == "group" { "member" } else { "manager" };
                    let fits = attribute == "member" || self.held.objects[&target].object_type == "user";
                    if fits && owner != target {
                        self.held.set_link(&owner, attribute, &target, true);
                    }
                }
            }
            Drift::Appear(number) => {
                let key = format!("corp-u{number}");
                let id = self.held.id_of(&key);
                if self.held.objects.contains_key(&id) {
                    return;
                }
                let attributes = Attributes::from([(KEY.into(), vec![Value::text(key)])]);
                let object_type = "user".to_owned();
                self.held
                    .objects
                    .insert(id.clone(), Object { object_type, attributes, links: BTreeMap::new(), foreign: true });
                self.held.touch(&id);
            }
        }
    }

    fn watermark(&self) -> Watermark {
        Watermark { server: String::new(), incarnation: "1".to_owned(), value: self.held.clock.to_string() }
    }

    /// Everything, or what changed since; in pages.
    fn read(&self, since: Option<u64>) -> Vec<ImportPage> {
        let with_links = self.manner.confirms != Confirms::LinkByLink;
        let after = since.unwrap_or(0);
        let objects: Vec<ImportedObject> = self
            .held
            .objects
            .keys()
            .filter(|id| since.is_none() || self.held.changed.get(*id).is_some_and(|at| *at > after))
            .filter_map(|id| self.held.show(id, with_links))
            .collect();
        let mut pages: Vec<ImportPage> = Vec::new();
        if since.is_some() {
            let gone = self.held.gone.iter().filter(|(_, (at, _))| *at > after);
            let deleted = gone.map(|(id, _)| id.clone()).collect();
            pages.push(ImportPage { deleted, ..ImportPage::default() });
        }
        pages.extend(
            objects
                .chunks(self.manner.page)
                .map(|objects| ImportPage { objects: objects.to_vec(), ..ImportPage::default() }),
        );
        if !with_links {
            let told = self.held.links.iter().filter(|(_, (at, present))| match since {
                Some(after) => *at > after,
                None => *present,
            });
            let links: Vec<LinkReport> =
                told.filter_map(|(link, (_, present))| self.held.report(link, *present)).collect();
            pages.extend(
                links
                    .chunks(self.manner.page)
                    .map(|links| ImportPage { links: links.to_vec(), ..ImportPage::default() }),
            );
        }
        if self.manner.confirms != Confirms::ByFullReads {
            pages.push(ImportPage { watermark: Some(self.watermark()), ..ImportPage::default() });
        }
        pages
    }
}

struct Pages {
    pages: std::vec::IntoIter<ImportPage>,
    left: Option<u8>,
    name: ConnectorName,
}

#[async_trait::async_trait]
impl ImportStream for Pages {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let Some(left) = &mut self.left else { return Ok(self.pages.next()) };
        if *left > 0
            && let Some(page) = self.pages.next()
        {
            *left -= 1;
            return Ok(Some(page));
        }
        *left = 0;
        self.pages = Vec::new().into_iter();
        Err(ConnectorError::Aborted { connector: self.name.clone(), reason: "told to".to_owned() })
    }
}

#[async_trait::async_trait]
impl Connector for Target {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let manner = self.state().manner;
        let told = [
            KEY,
            "anchorConnector",
            "userPrincipalName",
            "upnConnector",
            "credentialConnector",
            "credentialAnchor",
            "credentialEligible",
        ];
        let follows = DeltaReports { deletes: true, moves: true, filter_exits: true };
        Capabilities {
            delta: (manner.confirms != Confirms::ByFullReads).then_some(follows),
            links: match manner.confirms {
                Confirms::LinkByLink => LinkReports::OneByOne,
                Confirms::ByFullReads | Confirms::ByChanges => LinkReports::WithOwner,
            },
            identity: told.into_iter().map(Attribute::from).collect(),
            unique: vec!["userPrincipalName".into()],
            largest_batch: manner.batch,
            ..Capabilities::target("tenant", KEY)
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let mut state = self.state();
        let since = match request.mode {
            ImportMode::Full => None,
            ImportMode::Delta { since } => Some(since.value.parse().expect("our own watermark")),
            ImportMode::Selected { .. } => {
                return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "selected import" });
            }
        };
        let left = match state.next {
            Some(Break::Confirm { pages }) => {
                state.next = None;
                Some(pages)
            }
            Some(Break::Export { .. }) | None => None,
        };
        Ok(Box::new(Pages { pages: state.read(since).into_iter(), left, name: self.name.clone() }))
    }

    async fn export(&self, batch: Vec<ExportChange>, _: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let now = self.clock.now();
        let mut state = self.state();
        if batch.len() > state.manner.batch {
            state.violations.push(format!("a batch of {} changes", batch.len()));
        }
        let carried_out = match state.next {
            Some(Break::Export { batch: 0, carried_out }) => {
                state.next = None;
                Some(usize::from(carried_out))
            }
            Some(Break::Export { batch, carried_out }) => {
                state.next = Some(Break::Export { batch: batch - 1, carried_out });
                None
            }
            Some(Break::Confirm { .. }) | None => None,
        };
        state.batches = state.batches.saturating_add(1);
        let mut results = Vec::new();
        for change in batch.iter().take(carried_out.unwrap_or(batch.len())) {
            results.push(state.apply(change, now));
        }
        state.arrived += results.len();
        if carried_out.is_none() {
            return Ok(results);
        }
        let lasting = batch.iter().filter(|change| !matches!(change.operation, ExportOperation::Links { .. }));
        let keys: Vec<String> = lasting.filter_map(|change| text(&change.identity, KEY)).collect();
        state.doubtful.extend(keys);
        Err(ConnectorError::Unreachable { connector: self.name.clone(), reason: "told to".to_owned() })
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let mut state = self.state();
        let mut answers = Vec::new();
        for question in &objects {
            let (id, key) = match question {
                ReadBack::ByAnchor { anchor, .. } => {
                    let known = state.held.ids.iter().find(|(_, id)| *id == anchor).map(|(key, _)| key.clone());
                    (Some(anchor.clone()), known)
                }
                ReadBack::ByAddKey { value, .. } => (state.held.ids.get(value).cloned(), Some(value.clone())),
            };
            if let Some(key) = key {
                state.doubtful.remove(&key);
            }
            answers.push(id.and_then(|id| state.held.show(&id, true)));
        }
        Ok(answers)
    }
}
