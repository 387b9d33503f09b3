//! CSV and LDIF files in a drop folder as a source: complete files are a full import, change files are deltas on top.
//!
//! A watermark names the states of the complete files and of the change files that were read. A complete file in another
//! state makes it stale, so that everything is read. Nothing in the folder is moved or removed.

mod csv_rows;
mod folder;
mod ldif;
mod ldif_entries;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::folder::{FileError, FileState, Listing};
use self::pages::Sink;
use super::page_stream::{PAGES_AHEAD, PageStream};
use crate::config::{self, CsvSet, FileNames, FileSourceSettings, Files};
use crate::identity::{ConnectorName, causes};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, DisabledTest, ExportChange, ExportResult, ImportMode,
    ImportRequest, ImportStream, ImportedObject, ReadBack, Wanted, Watermark,
};
use crate::sync::lease::Turn;

/// A drop folder.
pub struct FileSource {
    settings: FileSourceSettings,
    disabled_when: Vec<DisabledTest>,
    /// States that were seen to be written to their end: no import waits for them again.
    settled: Mutex<BTreeSet<FileState>>,
}

/// What one import reads of one set.
struct SetPlan {
    /// Read in full by a full import; the ground under changes in a delta.
    complete: FileState,
    /// Change files that an earlier import told.
    told: Vec<FileState>,
    /// Change files that this one tells.
    new: Vec<FileState>,
    /// Change files that came too late to be told in their order.
    late: Vec<FileState>,
}

/// How far the folder was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    sets: Vec<SetMark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SetMark {
    complete: FileState,
    /// Change files that were told, as far as they are still there.
    told: Vec<FileState>,
}

impl FileSource {
    pub fn new(settings: FileSourceSettings, disabled_when: Vec<DisabledTest>) -> Self {
        Self { settings, disabled_when, settled: Mutex::default() }
    }

    fn names(&self) -> Vec<&FileNames> {
        match &self.settings.files {
            Files::Csv(sets) => sets.iter().map(|set| &set.names).collect(),
            Files::Ldif(set) => vec![&set.names],
        }
    }

    async fn listing(&self) -> Result<Listing, FileError> {
        let known = self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let settings = &self.settings;
        let listing = Listing::read(&settings.folder, settings.settle, settings.end_marker.as_deref(), &known).await?;
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = listing.settled().clone();
        Ok(listing)
    }

    fn full(&self, listing: &Listing) -> Result<Vec<SetPlan>, FileError> {
        let plan = |names: &FileNames| {
            let complete = listing.complete(names)?;
            // Whoever came with changes that are left out would count as gone.
            let new = listing.all_changes(names, &complete)?;
            Ok(SetPlan { complete, told: Vec::new(), new, late: Vec::new() })
        };
        self.names().into_iter().map(plan).collect()
    }

    /// A complete file that is older than the one that was read, if there is one: what it shows was so once.
    fn overtaken(&self, listing: &Listing, mark: &Mark) -> Option<String> {
        let names = self.names();
        let mut sets = names.into_iter().zip(&mark.sets);
        sets.find_map(|(names, mark)| {
            let now = listing.newest(names)?;
            let read = &mark.complete;
            let is_older = now.name < read.name || (now.name == read.name && now.modified < read.modified);
            is_older.then(|| {
                format!(
                    "{} is older than {}, which was read before: put in a newer one, or run a full import to read it \
                     all the same",
                    now.name, read.name
                )
            })
        })
    }

    /// `None` when a complete file is another one than the watermark covers.
    fn delta(&self, listing: &Listing, mark: &Mark) -> Option<Vec<SetPlan>> {
        let names = self.names();
        (names.len() == mark.sets.len()).then_some(())?;
        let plan = |(names, mark): (&FileNames, &SetMark)| {
            let complete = listing.settled_complete(names).filter(|complete| *complete == mark.complete)?;
            let mut plan = SetPlan { complete, told: Vec::new(), new: Vec::new(), late: Vec::new() };
            let last = mark.told.iter().map(|state| &state.name).max();
            for change in listing.changes(names, &plan.complete) {
                if mark.told.contains(&change) {
                    plan.told.push(change);
                } else if last.is_some_and(|last| change.name <= *last) {
                    plan.late.push(change);
                } else {
                    plan.new.push(change);
                }
            }
            Some(plan)
        };
        names.into_iter().zip(&mark.sets).map(plan).collect()
    }

    /// The settings and rules by which the files are read: a watermark of others does not fit.
    fn reading(&self, keep: &Keep) -> String {
        let text = format!("{:?} {:?} {keep:?}", self.settings.files, self.settings.attributes);
        hex::encode(&Sha256::digest(text)[..8])
    }

    fn aborted(&self, error: &FileError) -> ConnectorError {
        ConnectorError::Aborted { connector: self.settings.name.clone(), reason: causes(error) }
    }
}

#[async_trait::async_trait]
impl Connector for FileSource {
    fn name(&self) -> &ConnectorName {
        &self.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hierarchical: matches!(self.settings.files, Files::Ldif(_)),
            delta: Some(DeltaReports { deletes: true, moves: true, filter_exits: true }),
            server_incarnation: true,
            disabled_when: self.disabled_when.clone(),
            ..Capabilities::source("file")
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let connector = self.settings.name.clone();
        let keep = Keep::new(&self.settings, &self.disabled_when, request.wanted);
        let incarnation = self.reading(&keep);
        let listing = self.listing().await.map_err(|error| self.aborted(&error))?;
        let stale =
            |reason: &str| ConnectorError::StaleWatermark { connector: connector.clone(), reason: reason.to_owned() };
        let (plans, full) = match request.mode {
            ImportMode::Full => (self.full(&listing).map_err(|error| self.aborted(&error))?, true),
            ImportMode::Selected { .. } => {
                return Err(ConnectorError::Unsupported { connector, what: "selected import" });
            }
            ImportMode::Delta { since } => {
                let mark: Mark =
                    serde_json::from_str(&since.value).map_err(|_| stale("the watermark is not of files"))?;
                if let Some(reason) = self.overtaken(&listing, &mark) {
                    return Err(ConnectorError::Aborted { connector, reason });
                }
                if since.incarnation != incarnation {
                    return Err(stale("the settings or rules by which the files are read are others"));
                }
                (self.delta(&listing, &mark).ok_or_else(|| stale("a complete file is another one"))?, false)
            }
        };
        let (pages, received) = mpsc::channel(PAGES_AHEAD);
        let settings = self.settings.clone();
        let sink_name = connector.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut sink = Sink::new(sink_name, pages);
            let ended = Reading { settings: &settings, keep: &keep, full }.run(&plans, &mut sink);
            sink.end(ended.and_then(|mark| watermark(&mark, incarnation)));
        });
        // The task ends by itself: sending to a stream that was dropped fails.
        drop(task);
        Ok(Box::new(PageStream::new(connector, received, None)))
    }

    async fn export(&self, _: Vec<ExportChange>, _: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "export" })
    }

    async fn read_back(&self, _: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "reading single objects" })
    }
}

fn watermark(mark: &Mark, incarnation: String) -> Result<Watermark, ReadError> {
    let value = serde_json::to_string(mark).map_err(|error| {
        ReadError::File(FileError::Form { name: "the watermark".to_owned(), reason: error.to_string() })
    })?;
    Ok(Watermark { server: String::new(), incarnation, value })
}

/// Why a read ended early.
#[derive(Debug)]
enum ReadError {
    File(FileError),
    /// The engine gave the import up.
    GivenUp,
}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// One import, on a thread of its own.
struct Reading<'a> {
    settings: &'a FileSourceSettings,
    keep: &'a Keep,
    full: bool,
}

impl Reading<'_> {
    fn run(&self, plans: &[SetPlan], sink: &mut Sink) -> Result<Mark, ReadError> {
        for plan in plans {
            for late in &plan.late {
                let reason = "it sorts before a file that was read already: give it a later name";
                sink.refused_change(late.name.clone(), reason)?;
            }
        }
        match &self.settings.files {
            Files::Csv(sets) => {
                for (set, plan) in sets.iter().zip(plans) {
                    csv_rows::read(self, set, plan, sink)?;
                }
            }
            Files::Ldif(set) => {
                for plan in plans {
                    ldif_entries::read(self, set, plan, sink)?;
                }
            }
        }
        let mark = |plan: &SetPlan| SetMark {
            complete: plan.complete.clone(),
            told: plan.told.iter().chain(&plan.new).cloned().collect(),
        };
        Ok(Mark { sets: plans.iter().map(mark).collect() })
    }
}

/// Which attributes are kept, by object type.
#[derive(Clone, Debug)]
struct Keep {
    always: BTreeSet<Attribute>,
    wanted: BTreeMap<String, Wanted>,
}

impl Keep {
    fn new(settings: &FileSourceSettings, disabled_when: &[DisabledTest], wanted: BTreeMap<String, Wanted>) -> Self {
        let always = settings.attributes.iter().map(Attribute::new);
        Self { always: always.chain(disabled_when.iter().map(|test| test.attribute().clone())).collect(), wanted }
    }

    fn attribute(&self, object_type: &str, name: &Attribute) -> bool {
        self.always.contains(name)
            || self.wanted.get(object_type).is_some_and(|wanted| wanted.attributes.contains(name))
    }

    /// Attributes that the rules read as references.
    fn references(&self, object_type: &str) -> impl Iterator<Item = &Attribute> {
        self.wanted.get(object_type).into_iter().flat_map(|wanted| &wanted.references)
    }
}

/// The columns of a set in the order of the settings, for the names of what is missing.
fn reference_column<'a>(set: &'a CsvSet, name: &Attribute) -> Option<&'a config::ReferenceColumn> {
    set.references.iter().find(|reference| Attribute::from(reference.column.as_str()) == *name)
}
