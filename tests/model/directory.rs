//! A source as a connector: full, delta and selected reads of a [`Content`] that is told to break and that changes meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use landbridge::identity::{ConnectorName, DistinguishedName};
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, DisabledTest, ExportChange, ExportResult, ImportMode,
    ImportPage, ImportRequest, ImportStream, ImportedObject, ReadBack, Reference, Watermark,
};
use landbridge::sync::lease::Turn;

use super::content::{Change, Content, Entry, Kind, Named, Naming};
use super::dice::mix;

/// How a source is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deltas {
    /// They tell everything.
    Complete,
    /// Who is gone, or out of what is read, is told by full reads alone.
    WithoutDeletes,
    None,
}

/// What differs from one source to the next.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub naming: Naming,
    pub deltas: Deltas,
    pub page: usize,
    /// In which order a full read tells entries.
    pub order: u64,
    pub containers_first: bool,
}

/// How the next read breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    Unreachable,
    /// After so many pages, or at the end of them.
    Abort(u8),
    /// Nothing is shown, and called complete.
    Empty,
}

pub struct Directory {
    name: ConnectorName,
    state: Mutex<State>,
}

pub struct State {
    pub content: Content,
    pub manner: Manner,
    pub next: Option<Break>,
    /// What happens after so many pages of the next read.
    pub meanwhile: Option<(u8, Change)>,
}

impl Directory {
    pub fn new(name: &'static str, manner: Manner) -> Arc<Self> {
        let content = match manner.naming {
            Naming::Anchor => Content::flat(name, manner.naming),
            Naming::Following | Naming::FollowingAloud | Naming::Text => Content::tree(name, manner.naming),
        };
        let state = State { content, manner, next: None, meanwhile: None };
        Arc::new(Self { name: name.parse().expect("a name"), state: Mutex::new(state) })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    /// Ends what was told to happen during a read.
    pub fn calm(&self) {
        let mut state = self.state();
        state.next = None;
        if let Some((_, change)) = state.meanwhile.take() {
            state.content.apply(change);
        }
    }

    fn aborted(&self) -> ConnectorError {
        ConnectorError::Aborted { connector: self.name.clone(), reason: "told to".to_owned() }
    }
}

impl State {
    fn watermark(&self, value: u64) -> Watermark {
        let Content { incarnation, settings, .. } = &self.content;
        // There is one server: other data or other settings are no other server's.
        Watermark { server: String::new(), incarnation: format!("{incarnation} {settings}"), value: value.to_string() }
    }

    fn show(&self, entry: &Entry) -> ImportedObject {
        let tree = self.content.is_tree();
        let parse = |dn: String| dn.parse::<DistinguishedName>().expect("a dn");
        let refer = |named: &Named| match named {
            Named::Entry(anchor) if tree => Reference::Dn(parse(self.content.dn(anchor))),
            Named::Entry(anchor) => Reference::Anchor(anchor.clone()),
            Named::Text(dn) => Reference::Dn(parse(dn.clone())),
        };
        let attributes: Attributes =
            entry.attributes.iter().map(|(name, v)| ((*name).into(), v.iter().map(Value::text).collect())).collect();
        let references: BTreeMap<_, _> =
            entry.references.iter().map(|(name, named)| ((*name).into(), named.iter().map(refer).collect())).collect();
        ImportedObject {
            anchor: entry.anchor.clone(),
            dn: tree.then(|| parse(self.content.dn(&entry.anchor))),
            object_type: entry.kind.word().to_owned(),
            container: entry.kind == Kind::Container,
            attributes,
            references,
        }
    }

    /// Tells one entry as it is now; `deletes`: and whether it is gone.
    fn tell(&self, anchor: &str, deletes: bool, page: &mut ImportPage) {
        match self.content.entry(anchor) {
            Some(entry) if self.content.shows(anchor) => page.objects.push(self.show(entry)),
            Some(entry) if entry.kind == Kind::Container && deletes => page.left_below.push(anchor.to_owned()),
            _ if deletes => page.deleted.push(anchor.to_owned()),
            _ => {}
        }
    }

    fn listing(&self) -> VecDeque<String> {
        let mut anchors: Vec<String> = self.content.anchors().cloned().collect();
        let Manner { order, containers_first, .. } = self.manner;
        let chance = |anchor: &str| anchor.bytes().fold(order, |sum, byte| mix(sum ^ u64::from(byte)));
        anchors.sort_by_key(|anchor| {
            let container = self.content.entry(anchor).is_some_and(|entry| entry.kind == Kind::Container);
            let level = if containers_first && container { self.content.depth(anchor) } else { usize::MAX };
            (if containers_first { level } else { 0 }, chance(anchor))
        });
        anchors.into()
    }
}

enum Read {
    Full { rest: VecDeque<String>, watermark: Option<Watermark> },
    Delta { after: u64 },
    Selected { objects: VecDeque<String>, subtrees: Vec<String> },
}

struct Reading {
    source: Arc<Directory>,
    read: Read,
    told: u8,
    abort: Option<u8>,
    ended: bool,
}

#[async_trait::async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        if self.ended {
            return Ok(None);
        }
        if self.abort == Some(self.told) {
            self.ended = true;
            return Err(self.source.aborted());
        }
        let mut state = self.source.state();
        let page = self.read.page(&state);
        self.told += 1;
        if let Some((_, change)) = state.meanwhile.take_if(|(after, _)| *after <= self.told) {
            state.content.apply(change);
        }
        self.ended = page.is_none();
        match page {
            None if self.abort.is_some() => Err(self.source.aborted()),
            page => Ok(page),
        }
    }
}

impl Read {
    fn page(&mut self, state: &State) -> Option<ImportPage> {
        let mut page = ImportPage::default();
        let size = state.manner.page;
        match self {
            Self::Full { rest, watermark } => {
                if rest.is_empty() && watermark.is_none() {
                    return None;
                }
                page.watermark = watermark.take();
                let count = rest.len().min(size);
                rest.drain(..count).for_each(|anchor| state.tell(&anchor, false, &mut page));
            }
            Self::Delta { after } => {
                let changes = state.content.changes(*after);
                let told = &changes[..changes.len().min(size)];
                *after = told.last()?.0;
                let deletes = state.manner.deltas == Deltas::Complete;
                told.iter().for_each(|(_, anchor)| state.tell(anchor, deletes, &mut page));
                page.watermark = Some(state.watermark(*after));
            }
            Self::Selected { objects, subtrees } => {
                for top in std::mem::take(subtrees) {
                    let below = state.content.below(&top);
                    let found = !below.is_empty() && state.content.shows(&top);
                    if found {
                        objects.extend(below.into_iter().filter(|anchor| state.content.shows(anchor)));
                    } else {
                        state.tell(&top, true, &mut page);
                    }
                }
                if objects.is_empty() && page.deleted.is_empty() && page.left_below.is_empty() {
                    return None;
                }
                let count = objects.len().min(size);
                objects.drain(..count).for_each(|anchor| state.tell(&anchor, true, &mut page));
            }
        }
        Some(page)
    }
}

/// What the engine holds is an [`Arc`] of this.
pub struct Source(pub Arc<Directory>);

#[async_trait::async_trait]
impl Connector for Source {
    fn name(&self) -> &ConnectorName {
        &self.0.name
    }

    fn capabilities(&self) -> Capabilities {
        let state = self.0.state();
        let (tree, deltas) = (state.content.is_tree(), state.manner.deltas);
        let complete = deltas == Deltas::Complete;
        let reports = DeltaReports { deletes: complete, moves: true, filter_exits: complete };
        Capabilities {
            hierarchical: tree,
            selected_import: tree,
            server_incarnation: true,
            delta: (deltas != Deltas::None).then_some(reports),
            disabled_when: DisabledTest::defaults(),
            ..Capabilities::source(if tree { "ldap" } else { "sql" })
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let mut state = self.0.state();
        let broken = state.next.take();
        if broken == Some(Break::Unreachable) {
            let reason = "told to".to_owned();
            return Err(ConnectorError::Unreachable { connector: self.0.name.clone(), reason });
        }
        let read = match request.mode {
            ImportMode::Full if broken == Some(Break::Empty) => Read::Full { rest: VecDeque::new(), watermark: None },
            ImportMode::Full => {
                let watermark = (state.manner.deltas != Deltas::None).then(|| state.watermark(state.content.clock()));
                Read::Full { rest: state.listing(), watermark }
            }
            ImportMode::Delta { since } => {
                let now = state.watermark(0);
                if since.incarnation != now.incarnation {
                    let reason = "other data or other settings".to_owned();
                    return Err(ConnectorError::StaleWatermark { connector: self.0.name.clone(), reason });
                }
                Read::Delta { after: since.value.parse().expect("our own watermark") }
            }
            ImportMode::Selected { objects, subtrees, .. } => Read::Selected { objects: objects.into(), subtrees },
        };
        let abort = match broken {
            Some(Break::Abort(after)) => Some(after),
            Some(Break::Unreachable | Break::Empty) | None => None,
        };
        Ok(Box::new(Reading { source: self.0.clone(), read, told: 0, abort, ended: false }))
    }

    async fn export(&self, _: Vec<ExportChange>, _: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.0.name.clone(), what: "export" })
    }

    async fn read_back(&self, _: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.0.name.clone(), what: "read back" })
    }
}
