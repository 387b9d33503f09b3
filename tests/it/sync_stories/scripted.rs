//! Connected systems in memory that can be told to break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use landbridge::identity::{ConnectorName, DistinguishedName};
use landbridge::sync::attribute::{Attribute, Attributes, Value};
use landbridge::sync::connector::{
    Capabilities, Connector, ConnectorError, DisabledTest, ExportChange, ExportOperation, ExportResult, ImportPage,
    ImportRequest, ImportStream, ImportedObject, ReadBack, Reference,
};

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

/// A directory with a tree, read in full.
pub struct Directory {
    name: ConnectorName,
    pub state: Mutex<DirectoryState>,
}

#[derive(Default)]
pub struct DirectoryState {
    pub entries: BTreeMap<String, ImportedObject>,
    pub next: Break,
    pub page: usize,
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
    pub fn new(name: &str) -> Arc<Self> {
        let state = DirectoryState { page: 3, ..DirectoryState::default() };
        Arc::new(Self { name: name.parse().expect("a name"), state: Mutex::new(state) })
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
        self.state.lock().expect("lock").entries.insert(object.anchor.clone(), object);
    }

    pub fn change(&self, anchor: &str, change: impl FnOnce(&mut ImportedObject)) {
        change(self.state.lock().expect("lock").entries.get_mut(anchor).expect("an entry"));
    }

    pub fn remove(&self, anchor: &str) {
        self.state.lock().expect("lock").entries.remove(anchor);
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
        Ok(Some(ImportPage { objects: self.pages.remove(0), ..ImportPage::default() }))
    }
}

#[async_trait::async_trait]
impl Connector for Directory {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { hierarchical: true, disabled_when: DisabledTest::defaults(), ..Capabilities::source("ldap") }
    }

    async fn import(&self, _: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let gate = self.state.lock().expect("lock").gate.clone();
        if let Some(gate) = gate {
            // An error tells that it was closed for good: everybody may pass.
            let _ = gate.acquire().await;
        }
        let mut state = self.state.lock().expect("lock");
        let how = std::mem::take(&mut state.next);
        let rank = |object: &ImportedObject| match object.object_type.as_str() {
            "container" => 0,
            "user" => 1,
            _ => 2,
        };
        let mut objects: Vec<_> = state.entries.values().cloned().collect();
        objects.sort_by_key(|object| (rank(object), object.anchor.clone()));
        let mut pages: Vec<Vec<_>> = objects.chunks(state.page).map(<[_]>::to_vec).collect();
        let mut abort = None;
        match how {
            Break::AbortMidway => {
                pages.truncate(1);
                let (connector, reason) = (self.name.clone(), "told to".to_owned());
                abort = Some(ConnectorError::Aborted { connector, reason });
            }
            Break::Empty => pages.clear(),
            Break::Nothing | Break::LoseAnswer | Break::LoseBatch => {}
        }
        Ok(Box::new(Pages { pages, abort }))
    }

    async fn export(&self, _: Vec<ExportChange>) -> Result<Vec<ExportResult>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "export" })
    }

    async fn read_back(&self, _: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "read back" })
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
    /// What it says it is; `tenant` when nothing.
    kind: Option<&'static str>,
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
        self.changes += 1;
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
        Capabilities {
            identity: vec!["sourceAnchor".into()],
            unique: vec!["userPrincipalName".into()],
            ..Capabilities::target(self.state.lock().expect("lock").kind.unwrap_or("tenant"), "sourceAnchor")
        }
    }

    async fn import(&self, _: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let state = self.state.lock().expect("lock");
        let objects: Vec<_> = state.objects.keys().filter_map(|id| state.shown(id)).collect();
        Ok(Box::new(Pages { pages: objects.chunks(4).map(<[_]>::to_vec).collect(), abort: None }))
    }

    async fn export(&self, batch: Vec<ExportChange>) -> Result<Vec<ExportResult>, ConnectorError> {
        let mut state = self.state.lock().expect("lock");
        let how = std::mem::take(&mut state.next);
        let lost = || ConnectorError::Unreachable { connector: self.name.clone(), reason: "told to".to_owned() };
        if how == Break::LoseBatch {
            return Err(lost());
        }
        let results = batch.iter().map(|change| state.apply(change)).collect();
        if how == Break::LoseAnswer { Err(lost()) } else { Ok(results) }
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let state = self.state.lock().expect("lock");
        let found = objects.iter().map(|question| match question {
            ReadBack::ByAnchor { anchor, .. } => state.shown(anchor),
            ReadBack::ByAddKey { value, .. } => state.ids.get(value).and_then(|id| state.shown(id)),
        });
        Ok(found.collect())
    }
}
