//! Tables and queries of a PostgreSQL or SQLite database as a source.
//!
//! An import reads one state of the data in one transaction. A delta import reads the rows at or above the watermark of its
//! type, less an overlap: a transaction that took its time stamp before the last import and committed after it is read
//! by the next one. Rows that vanish are found by full imports alone; rows marked as deleted by every import.

mod database;
mod statement;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::database::{Snapshot, SqlError, TextRow};
use self::statement::{Misfit, Part, Select, TypeRows};
use super::page_stream::{PAGES_AHEAD, Page, PageStream};
use crate::config::{ReferenceTarget, SqlRows, SqlSourceSettings, SqlType};
use crate::identity::{ConnectorName, causes};
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, DisabledTest, ExportChange, ExportResult, Hidden,
    ImportMode, ImportPage, ImportRequest, ImportStream, ImportedObject, ReadBack, Reference, RefusedEntry, Wanted,
    Watermark,
};
use crate::sync::lease::Turn;

/// A database.
pub struct SqlSource {
    settings: SqlSourceSettings,
    disabled_when: Vec<DisabledTest>,
}

/// The newest watermark by type; nothing for a type without rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Mark(BTreeMap<String, Option<String>>);

impl SqlSource {
    pub fn new(settings: SqlSourceSettings, disabled_when: Vec<DisabledTest>) -> Self {
        Self { settings, disabled_when }
    }

    /// The settings and rules by which rows are read: a watermark of others does not fit.
    fn incarnation(&self, wanted: &BTreeMap<String, Wanted>) -> String {
        let SqlSourceSettings { database, types, attributes, .. } = &self.settings;
        let text = format!("{} {types:?} {attributes:?} {wanted:?}", database.place());
        hex::encode(&Sha256::digest(text)[..8])
    }
}

#[async_trait::async_trait]
impl Connector for SqlSource {
    fn name(&self) -> &ConnectorName {
        &self.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        let types = &self.settings.types;
        let has_delta = types.iter().all(|object_type| object_type.watermark.is_some());
        let reports = DeltaReports {
            deletes: types.iter().all(|object_type| object_type.deleted.is_some()),
            moves: true,
            filter_exits: types.iter().all(|object_type| matches!(object_type.rows, SqlRows::Table(_))),
        };
        Capabilities {
            delta: has_delta.then_some(reports),
            server_incarnation: has_delta,
            disabled_when: self.disabled_when.clone(),
            ..Capabilities::source("sql")
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let connector = self.settings.name.clone();
        let incarnation = self.incarnation(&request.wanted);
        let stale =
            |reason: &str| ConnectorError::StaleWatermark { connector: connector.clone(), reason: reason.to_owned() };
        let since = match request.mode {
            ImportMode::Full => None,
            ImportMode::Selected { .. } => {
                return Err(ConnectorError::Unsupported { connector, what: "selected import" });
            }
            ImportMode::Delta { .. } if self.capabilities().delta.is_none() => {
                return Err(ConnectorError::Unsupported { connector, what: "delta import" });
            }
            ImportMode::Delta { since } if since.incarnation != incarnation => {
                return Err(stale("the settings or rules by which the rows are read are others"));
            }
            ImportMode::Delta { since } => Some(
                serde_json::from_str::<Mark>(&since.value).map_err(|_| stale("the watermark is not of a database"))?,
            ),
        };
        let (pages, received) = mpsc::channel(PAGES_AHEAD);
        let mut reader = Reader {
            settings: self.settings.clone(),
            disabled: self.disabled_when.iter().map(|test| test.attribute().clone()).collect(),
            wanted: request.wanted,
            incarnation,
            page: ImportPage::default(),
            pages,
        };
        let (mut snapshot, plan) = reader.begin(since.as_ref()).await.map_err(|error| error.told(&connector))?;
        let name = connector.clone();
        let task = tokio::spawn(async move {
            let last = match reader.read(&mut snapshot, plan).await {
                Ok(()) => Ok(None),
                Err(ReadError::GivenUp) => return,
                Err(error) => Err(error.told(&name)),
            };
            // A stream that was dropped wants no end.
            let _ = reader.pages.send(last).await;
        });
        Ok(Box::new(PageStream::new(connector, received, Some(task.abort_handle()))))
    }

    async fn export(&self, _: Vec<ExportChange>, _: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "export" })
    }

    async fn read_back(&self, _: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        Err(ConnectorError::Unsupported { connector: self.settings.name.clone(), what: "reading single objects" })
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("the watermark of {0} is newer than its newest row: the data were restored, or that row is gone")]
    Restored(String),
    #[error("the watermark tells nothing of {0}")]
    NoMark(String),
    #[error("the watermark cannot be written")]
    Unwritable(#[source] serde_json::Error),
    #[error("the engine gave the import up")]
    GivenUp,
}

impl ReadError {
    fn told(self, connector: &ConnectorName) -> ConnectorError {
        let (connector, reason) = (connector.clone(), causes(&self));
        match self {
            Self::Sql(SqlError::Open(_)) => ConnectorError::Unreachable { connector, reason },
            Self::Misfit(_) => ConnectorError::Settings { connector, reason },
            Self::Restored(_) | Self::NoMark(_) => ConnectorError::StaleWatermark { connector, reason },
            Self::Sql(SqlError::Statement(_) | SqlError::Deadline(_)) | Self::Unwritable(_) | Self::GivenUp => {
                ConnectorError::Aborted { connector, reason }
            }
        }
    }
}

/// The statements of one import, and the watermark that it leaves.
struct Plan {
    full: bool,
    selects: Vec<(String, Select)>,
    mark: Mark,
}

struct Reader {
    settings: SqlSourceSettings,
    disabled: BTreeSet<Attribute>,
    wanted: BTreeMap<String, Wanted>,
    incarnation: String,
    page: ImportPage,
    pages: mpsc::Sender<Page>,
}

impl Reader {
    /// Opens the state of the data that is read, and settles what is read of it.
    fn begin<'a>(&'a self, since: Option<&'a Mark>) -> BoxFuture<'a, Result<(Snapshot, Plan), ReadError>> {
        let beginning = async move {
            let mut snapshot = Snapshot::open(&self.settings.database, self.settings.deadline).await?;
            let mut plan = Plan { full: since.is_none(), selects: Vec::new(), mark: Mark::default() };
            for object_type in &self.settings.types {
                let columns = snapshot.columns(TypeRows::probe(object_type)).await?;
                let rows = TypeRows::new(snapshot.engine(), object_type, columns)?;
                let select = self.select(&rows)?;
                let select = self.narrowed(&mut snapshot, &rows, select, since, &mut plan.mark).await?;
                plan.selects.push((object_type.name.clone(), select));
            }
            Ok((snapshot, plan))
        };
        beginning.boxed()
    }

    fn select(&self, rows: &TypeRows<'_>) -> Result<Select, Misfit> {
        let wanted = self.wanted.get(&rows.settings.name);
        let keep = |name: &Attribute| {
            self.settings.attributes.iter().any(|other| Attribute::from(other.as_str()) == *name)
                || self.disabled.contains(name)
                || wanted.is_some_and(|wanted| wanted.attributes.contains(name))
        };
        let references: Vec<Attribute> = wanted.into_iter().flat_map(|w| w.references.iter().cloned()).collect();
        rows.select(keep, &references)
    }

    /// Notes the newest watermark, and narrows a delta's statement to what changed.
    async fn narrowed(
        &self,
        snapshot: &mut Snapshot,
        rows: &TypeRows<'_>,
        select: Select,
        since: Option<&Mark>,
        mark: &mut Mark,
    ) -> Result<Select, ReadError> {
        let name = &rows.settings.name;
        let Some(sql) = rows.newest() else { return Ok(select) };
        let mut newest = snapshot.first(sql, Vec::new()).await?.unwrap_or_default();
        let class = newest.pop().flatten().unwrap_or_default();
        let scale = rows.scale(&class)?;
        mark.0.insert(name.clone(), newest.pop().flatten());
        let since = match since {
            None => return Ok(select),
            Some(since) => since.0.get(name).ok_or_else(|| ReadError::NoMark(name.clone()))?,
        };
        // A type that had no rows is read whole.
        let Some(since) = since else { return Ok(select) };
        if let Some((sql, parameters)) = rows.not_older(since, &scale)
            && snapshot.first(sql, parameters).await? != Some(vec![Some("1".to_owned())])
        {
            return Err(ReadError::Restored(name.clone()));
        }
        Ok(rows.since(select, since, &scale)?)
    }

    fn read<'a>(&'a mut self, snapshot: &'a mut Snapshot, plan: Plan) -> BoxFuture<'a, Result<(), ReadError>> {
        let reading = async move {
            for (name, select) in plan.selects {
                let object_type = self.settings.types.iter().find(|other| other.name == name).cloned();
                let Some(object_type) = object_type else { continue };
                let mut seen = HashSet::new();
                let Select { sql, parameters, parts } = select;
                let mut rows = snapshot.rows(sql, parameters);
                while let Some(row) = rows.next().await? {
                    self.take(&object_type, &parts, plan.full, row, &mut seen).await?;
                }
            }
            if self.settings.types.iter().all(|object_type| object_type.watermark.is_some()) {
                let value = serde_json::to_string(&plan.mark).map_err(ReadError::Unwritable)?;
                let incarnation = self.incarnation.clone();
                self.page.watermark = Some(Watermark { server: String::new(), incarnation, value });
            }
            self.flush().await
        };
        reading.boxed()
    }

    async fn take(
        &mut self,
        object_type: &SqlType,
        parts: &[(Part, statement::Form)],
        full: bool,
        row: TextRow,
        seen: &mut HashSet<String>,
    ) -> Result<(), ReadError> {
        match object(object_type, parts, &row) {
            Ok(Row::Object(object)) => {
                if seen.insert(object.anchor.clone()) {
                    self.page.objects.push(object);
                } else {
                    let reason = "another row has the same anchor".to_owned();
                    let hides = Hidden::Object(object.anchor.clone());
                    self.page.refused.push(RefusedEntry { name: object.anchor, reason, hides });
                }
            }
            Ok(Row::Deleted(anchor)) if !full => self.page.deleted.push(anchor),
            Ok(Row::Deleted(_)) => {}
            Err(refused) => self.page.refused.push(refused),
        }
        let size = self.page.objects.len() + self.page.deleted.len() + self.page.refused.len();
        if size >= self.settings.page_size as usize { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), ReadError> {
        let page = std::mem::take(&mut self.page);
        self.pages.send(Ok(Some(page))).await.map_err(|_| ReadError::GivenUp)
    }
}

enum Row {
    Object(ImportedObject),
    Deleted(String),
}

fn object(object_type: &SqlType, parts: &[(Part, statement::Form)], row: &TextRow) -> Result<Row, RefusedEntry> {
    let type_name = &object_type.name;
    let refuse = |name: String, reason: String, hides| RefusedEntry { name, reason, hides };
    let anchor = anchor(type_name, parts, row).ok_or_else(|| {
        refuse(type_name.clone(), "a row has no value in a column of its anchor".to_owned(), Hidden::Anybody)
    })?;
    let deleted = parts.iter().zip(row).any(|((part, _), text)| *part == Part::Deleted && text.as_deref() == Some("1"));
    if deleted {
        return Ok(Row::Deleted(anchor));
    }
    let mut attributes = Attributes::new();
    let mut references: BTreeMap<Attribute, Vec<Reference>> = BTreeMap::new();
    for ((part, form), text) in parts.iter().zip(row) {
        let (name, target, kept) = match part {
            Part::Anchor | Part::Deleted => continue,
            Part::Attribute(name) => (name, None, true),
            Part::Reference(name, target) => (name, Some(target), false),
            Part::Both(name, target) => (name, Some(target), true),
        };
        let hides = || Hidden::Object(anchor.clone());
        let values = form.values(text.as_deref());
        let values = values.ok_or_else(|| refuse(anchor.clone(), format!("`{name}` cannot be read"), hides()))?;
        if let Some(target) = target {
            let of = references.entry(name.clone()).or_default();
            for value in &values {
                let text = value.as_text();
                of.push(Reference::Anchor(match target {
                    ReferenceTarget::Type(object_type) => format!("{object_type}:{text}"),
                    ReferenceTarget::InValue if text.contains(':') => text.to_owned(),
                    ReferenceTarget::InValue => {
                        let reason = format!("`{text}` in `{name}` is not TYPE:ANCHOR");
                        return Err(refuse(anchor.clone(), reason, hides()));
                    }
                }));
            }
        }
        if kept && !values.is_empty() {
            attributes.entry(name.clone()).or_default().extend(values);
        }
    }
    Ok(Row::Object(ImportedObject {
        anchor,
        dn: None,
        object_type: type_name.clone(),
        container: false,
        attributes,
        references,
    }))
}

/// The type and the columns of the anchor; `|` stands between several.
fn anchor(type_name: &str, parts: &[(Part, statement::Form)], row: &TextRow) -> Option<String> {
    let columns: Vec<&String> = parts
        .iter()
        .zip(row)
        .filter(|((part, _), _)| *part == Part::Anchor)
        .map(|(_, text)| text.as_ref().filter(|text| !text.is_empty()))
        .collect::<Option<_>>()?;
    let text = match columns.as_slice() {
        [one] => (*one).clone(),
        several => several.iter().map(|t| t.replace('\\', "\\\\").replace('|', "\\|")).collect::<Vec<_>>().join("|"),
    };
    Some(format!("{type_name}:{text}"))
}
