//! Connected systems in memory that can be told to break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use landbridge::identity::{ConnectorName, DistinguishedName};
use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{
    Adopted, Capabilities, Connector, ConnectorError, DeltaReports, DisabledTest, ExportChange, ExportOperation,
    ExportResult, ImportMode, ImportPage, ImportRequest, ImportStream, ImportedObject, ReadBack, Reference,
    RefusedEntry, Watermark,
};
use landbridge::sync::lease::Turn;

/// How a scripted system misbehaves at its next use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Break {
    #[default]
    Nothing,
    /// The read ends after its first page.
    AbortMidway,
    /// The read shows nothing, and calls it complete.
    Empty,
    /// The batch is carried out, and its answer is lost.
    LoseAnswer,
    /// The batch is lost before it is carried out.
    LoseBatch,
}

/// A directory with a tree.
pub struct Directory {
    name: ConnectorName,
    kind: String,
    parameters: BTreeMap<String, String>,
    /// Whether it tells what changed; else it is read in full.
    tells_changes: bool,
    /// Whether it takes updates of what it shows.
    writes: bool,
    pub state: Mutex<DirectoryState>,
}

#[derive(Default)]
pub struct DirectoryState {
    pub entries: BTreeMap<String, ImportedObject>,
    /// Anchors of entries that changed themselves, in the order in which they did.
    log: Vec<String>,
    /// Anchors of entries whose updates are refused.
    pub refuse: BTreeSet<String>,
    pub next: Break,
    pub page: usize,
    /// Entries that share their anchors with others, told by full reads.
    pub twins: Vec<ImportedObject>,
    pub twins_first: bool,
    /// What full reads cannot take.
    pub refused: Vec<RefusedEntry>,
    /// Which of its servers is read.
    pub server: String,
    /// Imports wait for it.
    gate: Option<Arc<tokio::sync::Semaphore>>,
}

/// While it lives, imports of the directory wait.
pub struct Gate(Arc<tokio::sync::Semaphore>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Directory {
    /// Of kind `ldap`, and read in full.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self::of_kind(name, "ldap", BTreeMap::new()))
    }

    /// One that tells its changes.
    pub fn telling(name: &str, kind: &str, writes: bool, parameters: BTreeMap<String, String>) -> Arc<Self> {
        Arc::new(Self { tells_changes: true, writes, ..Self::of_kind(name, kind, parameters) })
    }

    fn of_kind(name: &str, kind: &str, parameters: BTreeMap<String, String>) -> Self {
        let state = DirectoryState { page: 3, ..DirectoryState::default() };
        Self {
            name: name.parse().expect("a name"),
            kind: kind.to_owned(),
            parameters,
            tells_changes: false,
            writes: false,
            state: Mutex::new(state),
        }
    }

    pub fn user(&self, anchor: &str, dn: &str, attributes: &[(&str, &str)]) {
        let mut object = object(anchor, dn, "user");
        object.attributes.insert("entryUUID".into(), vec![Value::text(anchor)]);
        for (name, value) in attributes {
            object.attributes.entry((*name).into()).or_default().push(Value::text(*value));
        }
        self.put(object);
    }

    pub fn group(&self, anchor: &str, dn: &str, members: &[&str]) {
        let mut object = object(anchor, dn, "group");
        object.attributes.insert("entryUUID".into(), vec![Value::text(anchor)]);
        object.attributes.insert("cn".into(), vec![Value::text(anchor)]);
        let members = members.iter().map(|dn| Reference::Dn(parse(dn))).collect();
        object.references.insert("member".into(), members);
        self.put(object);
    }

    pub fn container(&self, anchor: &str, dn: &str) {
        let mut object = object(anchor, dn, "container");
        object.container = true;
        self.put(object);
    }

    pub fn put(&self, object: ImportedObject) {
        let mut state = self.state.lock().expect("lock");
        state.log.push(object.anchor.clone());
        state.entries.insert(object.anchor.clone(), object);
    }

    pub fn change(&self, anchor: &str, change: impl FnOnce(&mut ImportedObject)) {
        let mut state = self.state.lock().expect("lock");
        state.log.push(anchor.to_owned());
        change(state.entries.get_mut(anchor).expect("an entry"));
    }

    pub fn remove(&self, anchor: &str) {
        let mut state = self.state.lock().expect("lock");
        state.log.push(anchor.to_owned());
        state.entries.remove(anchor);
    }

    pub fn break_next(&self, how: Break) {
        self.state.lock().expect("lock").next = how;
    }

    /// Lets imports wait until the gate is dropped.
    pub fn hold_imports(&self) -> Gate {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        self.state.lock().expect("lock").gate = Some(gate.clone());
        Gate(gate)
    }

    /// The anchor of the entry with this name.
    pub fn anchor_of(&self, dn: &str) -> Option<String> {
        let dn = parse(dn);
        let state = self.state.lock().expect("lock");
        let named = |entry: &&ImportedObject| entry.dn.as_ref().is_some_and(|name| name.folded() == dn.folded());
        state.entries.values().find(named).map(|entry| entry.anchor.clone())
    }

    /// Renames or moves an entry with all below it, and tells of the one alone. Active Directory corrects whom others
    /// refer to, and marks nobody as changed by that.
    pub fn rename(&self, anchor: &str, to: &str) {
        let mut state = self.state.lock().expect("lock");
        state.log.push(anchor.to_owned());
        let from = state.entries.get(anchor).and_then(|entry| entry.dn.clone()).expect("an entry with a name");
        let to = parse(to);
        for entry in state.entries.values_mut() {
            if let Some(dn) = entry.dn.as_mut().filter(|dn| dn.is_within(&from)) {
                *dn = moved(dn, &from, &to);
            }
            if self.kind == "ad" {
                for reference in entry.references.values_mut().flatten() {
                    if let Reference::Dn(dn) = reference
                        && dn.is_within(&from)
                    {
                        *dn = moved(dn, &from, &to);
                    }
                }
            }
        }
    }

    /// Removes an entry. Active Directory takes it out of whom others refer to, and marks nobody as changed by that.
    pub fn delete(&self, anchor: &str) {
        let gone = self.state.lock().expect("lock").entries.get(anchor).and_then(|entry| entry.dn.clone());
        self.remove(anchor);
        let Some(gone) = gone.filter(|_| self.kind == "ad") else { return };
        for entry in self.state.lock().expect("lock").entries.values_mut() {
            for references in entry.references.values_mut() {
                references.retain(|reference| *reference != Reference::Dn(gone.clone()));
            }
        }
    }
}

/// Whether an entry lies in a container that is not read: one called `OU=Outside`.
fn is_outside(entry: &ImportedObject) -> bool {
    entry.dn.as_ref().is_some_and(|dn| dn.folded().contains(",ou=outside,"))
}

/// The name of what lies within `from` once that is called `to`.
fn moved(dn: &DistinguishedName, from: &DistinguishedName, to: &DistinguishedName) -> DistinguishedName {
    let (mut below, mut at) = (Vec::new(), dn.clone());
    while at.depth() > from.depth() {
        below.extend(at.rdn().map(str::to_owned));
        at = at.parent().expect("it is within");
    }
    below.push(to.as_str().to_owned());
    parse(&below.join(","))
}

/// Pages of a directory with more entries are this large.
const MANY: usize = 200;

impl DirectoryState {
    /// Containers, people, then groups, as a directory reads them.
    fn everything(&self) -> Vec<ImportedObject> {
        let rank = |object: &ImportedObject| match object.object_type.as_str() {
            "container" => 0,
            "user" => 1,
            _ => 2,
        };
        let mut objects: Vec<_> = self.entries.values().filter(|entry| !is_outside(entry)).cloned().collect();
        objects.extend(self.twins.iter().cloned());
        let place = |object: &ImportedObject| self.twins.contains(object) != self.twins_first;
        objects.sort_by_key(|object| (rank(object), place(object), object.anchor.clone()));
        objects
    }

    /// The entries of these anchors, each once; those that are not there, or not in scope, as gone.
    fn named(&self, anchors: &[String]) -> (Vec<ImportedObject>, ImportPage) {
        let (mut objects, mut end, mut met) = (Vec::new(), ImportPage::default(), BTreeSet::new());
        for anchor in anchors.iter().filter(|anchor| met.insert((*anchor).clone())) {
            match self.entries.get(anchor) {
                Some(entry) if is_outside(entry) && entry.container => end.left_below.push(anchor.clone()),
                Some(entry) if !is_outside(entry) => objects.push(entry.clone()),
                Some(_) | None => end.deleted.push(anchor.clone()),
            }
        }
        (objects, end)
    }

    fn subtree(&self, top: &str) -> Vec<String> {
        let name = |anchor: &str| self.entries.get(anchor).and_then(|entry| Some(entry.dn.as_ref()?.folded()));
        let Some(top) = name(top) else { return vec![top.to_owned()] };
        let below = format!(",{top}");
        let within = |anchor: &&String| name(anchor).is_some_and(|dn| dn == top || dn.ends_with(&below));
        self.entries.keys().filter(within).cloned().collect()
    }
}

fn parse(dn: &str) -> DistinguishedName {
    dn.parse().expect("a dn")
}

fn object(anchor: &str, dn: &str, object_type: &str) -> ImportedObject {
    ImportedObject {
        anchor: anchor.to_owned(),
        dn: Some(parse(dn)),
        object_type: object_type.to_owned(),
        container: false,
        attributes: Attributes::new(),
        references: BTreeMap::new(),
    }
}

struct Pages {
    pages: Vec<Vec<ImportedObject>>,
    /// Told with the last page.
    end: ImportPage,
    abort: Option<ConnectorError>,
}

#[async_trait::async_trait]
impl ImportStream for Pages {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        if self.pages.is_empty() {
            return match self.abort.take() {
                Some(error) => Err(error),
                None => Ok(None),
            };
        }
        let objects = self.pages.remove(0);
        let rest = if self.pages.is_empty() { std::mem::take(&mut self.end) } else { ImportPage::default() };
        Ok(Some(ImportPage { objects, ..rest }))
    }
}

#[async_trait::async_trait]
impl Connector for Directory {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let delta = DeltaReports { deletes: true, moves: true, filter_exits: true };
        Capabilities {
            hierarchical: true,
            writes_back: self.writes,
            single_read: self.writes,
            delta: self.tells_changes.then_some(delta),
            selected_import: self.tells_changes,
            disabled_when: DisabledTest::defaults(),
            parameters: self.parameters.clone(),
            ..Capabilities::source(&self.kind)
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let gate = self.state.lock().expect("lock").gate.clone();
        if let Some(gate) = gate {
            // An error tells that it was closed for good: everybody may pass.
            let _ = gate.acquire().await;
        }
        let mut state = self.state.lock().expect("lock");
        let how = std::mem::take(&mut state.next);
        let (objects, mut end) = match &request.mode {
            ImportMode::Full => {
                (state.everything(), ImportPage { refused: state.refused.clone(), ..ImportPage::default() })
            }
            ImportMode::Delta { since } => {
                let since: usize = since.value.parse().expect("a watermark of this directory");
                state.named(&state.log[since..])
            }
            ImportMode::Selected { objects, subtrees, .. } => {
                let below = subtrees.iter().flat_map(|top| state.subtree(top));
                state.named(&objects.iter().cloned().chain(below).collect::<Vec<_>>())
            }
        };
        if self.tells_changes && !matches!(request.mode, ImportMode::Selected { .. }) {
            let (server, incarnation) = (state.server.clone(), String::new());
            end.watermark = Some(Watermark { server, incarnation, value: state.log.len().to_string() });
        }
        let page = if objects.len() > MANY { MANY } else { state.page };
        let mut pages: Vec<Vec<_>> = objects.chunks(page).map(<[_]>::to_vec).collect();
        let mut abort = None;
        match how {
            Break::AbortMidway => {
                pages.truncate(1);
                end = ImportPage::default();
                let (connector, reason) = (self.name.clone(), "told to".to_owned());
                abort = Some(ConnectorError::Aborted { connector, reason });
            }
            Break::Empty => pages.clear(),
            Break::Nothing | Break::LoseAnswer | Break::LoseBatch => {}
        }
        if pages.is_empty() && (end.watermark.is_some() || !end.deleted.is_empty() || !end.left_below.is_empty()) {
            pages.push(Vec::new());
        }
        Ok(Box::new(Pages { pages, end, abort }))
    }

    async fn export(&self, batch: Vec<ExportChange>, _: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        if !self.writes {
            return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "export" });
        }
        let mut state = self.state.lock().expect("lock");
        Ok(batch.iter().map(|change| state.update(change)).collect())
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        if !self.writes {
            return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "read back" });
        }
        let state = self.state.lock().expect("lock");
        let shown = objects.iter().map(|question| match question {
            ReadBack::ByAnchor { anchor, .. } => state.entries.get(anchor).cloned(),
            ReadBack::ByAddKey { .. } => None,
        });
        Ok(shown.collect())
    }
}

impl DirectoryState {
    fn update(&mut self, change: &ExportChange) -> ExportResult {
        let ExportOperation::Update { anchor, changes } = &change.operation else {
            return ExportResult::Refused { code: "no-update".to_owned(), reason: "a source takes updates".to_owned() };
        };
        if self.refuse.contains(anchor) {
            return ExportResult::Refused { code: "told-to".to_owned(), reason: "refused".to_owned() };
        }
        match self.entries.get_mut(anchor) {
            Some(entry) => {
                landbridge::sync::space::apply(&mut entry.attributes, changes);
                self.log.push(anchor.clone());
                ExportResult::Accepted { anchor: None, warning: None }
            }
            None => ExportResult::Refused { code: "absent".to_owned(), reason: anchor.clone() },
        }
    }
}

/// A target that takes exports. Restores a deleted object by its source anchor under the same id.
pub struct Target {
    name: ConnectorName,
    pub state: Mutex<TargetState>,
}

#[derive(Default)]
pub struct TargetState {
    pub objects: BTreeMap<String, TargetObject>,
    /// Ids by source anchor, kept after a delete.
    ids: BTreeMap<String, String>,
    pub next: Break,
    pub changes: usize,
    /// Source anchors whose changes are refused.
    pub refuse: BTreeSet<String>,
    /// Source anchors on which it breaks: of their changes nothing is told, and they cannot be read back.
    pub chokes_on: BTreeSet<String>,
    /// Source anchors of which it tells no answer to the whole batch.
    pub breaks_batches: BTreeSet<String>,
    /// What it says it is; `tenant` when nothing.
    kind: Option<&'static str>,
    /// Attributes that are accepted and not kept.
    pub discard: BTreeSet<Attribute>,
    /// What others made here stays when who adopted it leaves.
    pub keeps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetObject {
    pub object_type: String,
    pub attributes: Attributes,
    pub members: BTreeSet<String>,
}

impl Target {
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.parse().expect("a name"), state: Mutex::default() })
    }

    pub fn break_next(&self, how: Break) {
        self.state.lock().expect("lock").next = how;
    }

    /// What the target says it is from now on.
    pub fn call_it(&self, kind: &'static str) {
        self.state.lock().expect("lock").kind = Some(kind);
    }

    /// How many changes arrived since the last time.
    pub fn take_changes(&self) -> usize {
        std::mem::take(&mut self.state.lock().expect("lock").changes)
    }

    pub fn id_of(&self, anchor: &str) -> Option<String> {
        self.state.lock().expect("lock").ids.get(anchor).cloned()
    }

    /// The values of an attribute of the object of a source anchor, separated by blanks; `-` when there are none.
    pub fn values(&self, anchor: &str, attribute: &str) -> String {
        let state = self.state.lock().expect("lock");
        let object = state.ids.get(anchor).and_then(|id| state.objects.get(id));
        let values = object.and_then(|object| object.attributes.get(&Attribute::from(attribute)));
        values.map_or("-".to_owned(), |v| v.iter().map(Value::as_text).collect::<Vec<_>>().join(" "))
    }

    /// The target as text: one line per object, sorted.
    pub fn print(&self) -> String {
        let state = self.state.lock().expect("lock");
        let text = |object: &TargetObject, name: &str| {
            object.attributes.get(&Attribute::from(name)).map_or("-", |values| values[0].as_text()).to_owned()
        };
        let anchor_of = |id: &String| state.objects.get(id).map_or("?".to_owned(), |o| text(o, "sourceAnchor"));
        let mut lines: Vec<String> = state
            .objects
            .values()
            .map(|object| match object.object_type.as_str() {
                "user" => {
                    let enabled = if text(object, "accountEnabled") == "TRUE" { "on" } else { "off" };
                    format!("user {} {} {enabled}", text(object, "sourceAnchor"), text(object, "userPrincipalName"))
                }
                _ => {
                    let mut members: Vec<String> = object.members.iter().map(anchor_of).collect();
                    members.sort();
                    format!("group {} [{}]", text(object, "sourceAnchor"), members.join(" "))
                }
            })
            .collect();
        lines.sort();
        lines.join("\n")
    }
}

impl TargetState {
    fn apply(&mut self, change: &ExportChange) -> ExportResult {
        let key = Attribute::from("sourceAnchor");
        let anchor_text = change.identity.get(&key).map(|v| v[0].as_text().to_owned()).unwrap_or_default();
        if self.refuse.contains(&anchor_text) {
            return ExportResult::Refused { code: "told-to".to_owned(), reason: "refused".to_owned() };
        }
        if self.chokes_on.contains(&anchor_text) {
            return ExportResult::Unknown { reason: "told to".to_owned() };
        }
        self.changes += 1;
        let result = self.carry_out(change, anchor_text);
        for object in self.objects.values_mut() {
            object.attributes.retain(|name, _| !self.discard.contains(name));
        }
        result
    }

    fn carry_out(&mut self, change: &ExportChange, anchor_text: String) -> ExportResult {
        match &change.operation {
            ExportOperation::Add { attributes } => {
                let fresh = format!("oid-{}", self.ids.len() + 1);
                let id = self.ids.entry(anchor_text).or_insert(fresh).clone();
                let members = self.objects.get(&id).map(|o| o.members.clone()).unwrap_or_default();
                let object_type = change.object_type.clone();
                self.objects.insert(id.clone(), TargetObject { object_type, attributes: attributes.clone(), members });
                return ExportResult::Accepted { anchor: Some(id), warning: None };
            }
            ExportOperation::Update { anchor, changes } => match self.objects.get_mut(anchor) {
                Some(object) => landbridge::sync::space::apply(&mut object.attributes, changes),
                None => return ExportResult::Refused { code: "absent".to_owned(), reason: anchor.clone() },
            },
            ExportOperation::Delete { anchor } => {
                self.objects.remove(anchor);
                for object in self.objects.values_mut() {
                    object.members.remove(anchor);
                }
            }
            ExportOperation::Links { anchor, add, remove, .. } => {
                let Some(object) = self.objects.get_mut(anchor) else {
                    return ExportResult::Refused { code: "absent".to_owned(), reason: anchor.clone() };
                };
                object.members.extend(add.iter().map(|target| target.anchor.clone()));
                remove.iter().for_each(|target| {
                    object.members.remove(&target.anchor);
                });
            }
        }
        ExportResult::Accepted { anchor: None, warning: None }
    }

    fn shown(&self, id: &str) -> Option<ImportedObject> {
        let object = self.objects.get(id)?;
        let members = object.members.iter().cloned().map(Reference::Anchor).collect();
        Some(ImportedObject {
            anchor: id.to_owned(),
            dn: None,
            object_type: object.object_type.clone(),
            container: false,
            attributes: object.attributes.clone(),
            references: BTreeMap::from([("member".into(), members)]),
        })
    }
}

#[async_trait::async_trait]
impl Connector for Target {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let state = self.state.lock().expect("lock");
        Capabilities {
            identity: vec!["sourceAnchor".into()],
            unique: vec!["userPrincipalName".into()],
            adopted: if state.keeps { Adopted::Kept { mark: None } } else { Adopted::Deleted },
            ..Capabilities::target(state.kind.unwrap_or("tenant"), "sourceAnchor")
        }
    }

    async fn import(&self, _: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let state = self.state.lock().expect("lock");
        let objects: Vec<_> = state.objects.keys().filter_map(|id| state.shown(id)).collect();
        let pages = objects.chunks(4).map(<[_]>::to_vec).collect();
        Ok(Box::new(Pages { pages, end: ImportPage::default(), abort: None }))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        turn.check()
            .map_err(|error| ConnectorError::Unreachable { connector: self.name.clone(), reason: error.to_string() })?;
        let mut state = self.state.lock().expect("lock");
        let how = std::mem::take(&mut state.next);
        let lost = || ConnectorError::Unreachable { connector: self.name.clone(), reason: "told to".to_owned() };
        let key = Attribute::from("sourceAnchor");
        let whose = |change: &ExportChange| change.identity.get(&key).map(|values| values[0].as_text().to_owned());
        let breaks = batch.iter().filter_map(whose).any(|anchor| state.breaks_batches.contains(&anchor));
        if breaks || how == Break::LoseBatch {
            return Err(lost());
        }
        let results = batch.iter().map(|change| state.apply(change)).collect();
        if how == Break::LoseAnswer { Err(lost()) } else { Ok(results) }
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let state = self.state.lock().expect("lock");
        let chokes = |question: &ReadBack| match question {
            ReadBack::ByAnchor { anchor, .. } => {
                state.chokes_on.iter().any(|choked| state.ids.get(choked).is_some_and(|id| id == anchor))
            }
            ReadBack::ByAddKey { value, .. } => state.chokes_on.contains(value),
        };
        if objects.iter().any(chokes) {
            return Err(ConnectorError::Unreachable { connector: self.name.clone(), reason: "told to".to_owned() });
        }
        let found = objects.iter().map(|question| match question {
            ReadBack::ByAnchor { anchor, .. } => state.shown(anchor),
            ReadBack::ByAddKey { value, .. } => state.ids.get(value).and_then(|id| state.shown(id)),
        });
        Ok(found.collect())
    }
}
