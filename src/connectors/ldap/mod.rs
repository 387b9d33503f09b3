//! LDAP directories: full and delta import, scoped by containers that are kept by their anchors.
//!
//! Containers are read first, then the object types in the order of the settings, so that references of groups meet
//! people whose names are up to date. A read that does not come to its end is an error, never a shorter result; whatever
//! casts doubt on a watermark leads to a full import, never to a delete.

mod access_log;
mod active_directory;
pub(super) mod anchor;
mod changelog;
pub mod configured;
mod content_sync;
mod declaration;
mod extent;
mod methods;
mod position;
mod reader;
mod selected;
pub(super) mod servers;
mod settings;
mod single;
mod timestamp;
pub(super) mod writable;
mod writeback;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub use declaration::Declaration;
use extent::{Container, Extent};
use methods::{Method, methods};
use position::{Mark, Newest, Position};
use reader::{Page, Reader, Refused};
pub use settings::{DeltaChoice, LdapConnectorSettings, ObjectType};
use timestamp::{Reading, ServerClocks};
pub use writable::Writable;

use crate::identity::ConnectorName;
use crate::ldap::{Connection, Entry, RootDse};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportResult, ImportMode, ImportPage,
    ImportRequest, ImportStream, ImportedObject, ReadBack, SingleRead, SingleRequest, Sought, Watermark,
};
use crate::sync::lease::Turn;

/// Pages that may wait for the engine.
const PAGES_AHEAD: usize = 4;

/// A connector to one directory.
pub struct LdapConnector {
    settings: LdapConnectorSettings,
    clocks: Arc<ServerClocks>,
}

impl LdapConnector {
    pub fn new(settings: LdapConnectorSettings) -> Self {
        Self { settings, clocks: Arc::default() }
    }

    /// Whether changes of entries that are known by `anchor` can be learned in a way that tells everything: servers name
    /// them by their own ids.
    #[cfg(feature = "gateway")]
    pub(super) fn follows(anchor: &str) -> bool {
        methods::SyncId::of(anchor).is_some()
    }

    /// Whether a watermark was taken under the same settings, and under rules that wanted nothing else.
    #[cfg(feature = "gateway")]
    pub(super) fn fits(&self, since: &Watermark) -> Result<(), ConnectorError> {
        let (pages, _) = mpsc::channel(1);
        let reader = Reader { settings: self.settings.clone(), pages, known: Vec::new() };
        reader.fitting(since).map(|_| ()).map_err(|refused| reader.stale(refused))
    }
}

#[async_trait::async_trait]
impl Connector for LdapConnector {
    fn name(&self) -> &ConnectorName {
        &self.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        self.settings.declaration().capabilities()
    }

    fn delta_since(&self, since: &Watermark) -> Option<DeltaReports> {
        self.settings.declaration().delta_since(since)
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let (pages, received) = mpsc::channel(PAGES_AHEAD);
        let mut settings = self.settings.clone();
        settings.want(&request.wanted);
        let reader = Reader { settings, pages, known: request.bases };
        if let ImportMode::Delta { since } = &request.mode {
            reader.fitting(since).map_err(|refused| reader.stale(refused))?;
        }
        let clocks = self.clocks.clone();
        let task = tokio::spawn(async move {
            let end = reader.read(request.mode, &clocks).await.map(|()| None);
            // The engine may have given up the import; then nobody is left to be told.
            let _ = reader.pages.send(end).await;
        });
        Ok(Box::new(Pages { connector: self.settings.name.clone(), received, task: task.abort_handle(), ended: false }))
    }

    async fn import_one(&self, sought: Sought, request: SingleRequest) -> Result<SingleRead, ConnectorError> {
        let mut settings = self.settings.clone();
        settings.want(&request.wanted);
        // Nobody listens: one object is told by the answer.
        let (pages, _) = mpsc::channel(1);
        Reader { settings, pages, known: request.bases }.single(&sought).await
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        writeback::export(&self.settings, turn, batch).await
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let (pages, _) = mpsc::channel(1);
        let reader = Reader { settings: self.settings.clone(), pages, known: Vec::new() };
        reader.read_back(objects).await
    }
}

struct Pages {
    connector: ConnectorName,
    /// `Ok(None)` is the end; a channel that closes without it is an aborted read.
    received: mpsc::Receiver<Page>,
    task: AbortHandle,
    ended: bool,
}

#[async_trait::async_trait]
impl ImportStream for Pages {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        if self.ended {
            return Ok(None);
        }
        match self.received.recv().await {
            Some(Ok(Some(page))) => Ok(Some(page)),
            Some(Ok(None)) => {
                self.ended = true;
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => {
                let reason = "the reading task ended early".to_owned();
                Err(ConnectorError::Aborted { connector: self.connector.clone(), reason })
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    async fn read(&self, mode: ImportMode, clocks: &ServerClocks) -> Result<(), ConnectorError> {
        let mark = match mode {
            ImportMode::Full => self.full(clocks).await?,
            ImportMode::Delta { since } => Some(self.delta(&since, clocks).await.map_err(|e| self.stale(e))?),
            ImportMode::Selected { at, objects, subtrees } => {
                let mut connection = self.connect_to(&at.server).await.map_err(|e| self.stale(e))?;
                self.selected(&mut connection, &objects, &subtrees).await.map_err(|e| self.stale(e))?;
                None
            }
        };
        let Some(mark) = mark else { return Ok(()) };
        let mark = Mark { scope: self.settings.digest(), ..mark };
        let watermark = mark.watermark().map_err(|error| ConnectorError::Aborted {
            connector: self.settings.name.clone(),
            reason: error.to_string(),
        })?;
        self.send(ImportPage { watermark: Some(watermark), ..ImportPage::default() }).await
    }

    fn stale(&self, refused: Refused) -> ConnectorError {
        match refused {
            Refused::Unfit(reason) => ConnectorError::StaleWatermark { connector: self.settings.name.clone(), reason },
            Refused::Failed(error) => error,
        }
    }

    /// A watermark that was taken under the same settings and rules.
    fn fitting(&self, since: &Watermark) -> Result<Mark, Refused> {
        let mark = Mark::read(since).ok_or_else(|| Refused::Unfit("the watermark is not of LDAP".to_owned()))?;
        if mark.scope != self.settings.digest() {
            return Err(Refused::Unfit("the settings or the rules read other things than before".to_owned()));
        }
        Ok(mark)
    }

    async fn delta(&self, since: &Watermark, clocks: &ServerClocks) -> Result<Mark, Refused> {
        let mark = self.fitting(since)?;
        let mut connection = self.connect_to(&mark.server).await?;
        let server = connection.root_dse().await.map_err(|error| self.judge(error))?;
        match mark.position.clone() {
            Position::ContentSync { cookies, .. } => {
                self.delta_by_content_sync(&mut connection, &server, mark, &cookies).await
            }
            Position::Changelog { number } => self.delta_by_changelog(&mut connection, &server, mark, number).await,
            Position::AccessLog { log } => self.delta_by_access_log(&mut connection, &server, mark, log).await,
            Position::Timestamp { after } => self.delta_by_timestamp(&mut connection, clocks, mark, &after).await,
            Position::DirSync { cookie, incarnation } => {
                self.delta_by_dir_sync(&mut connection, &server, mark, &cookie, &incarnation).await
            }
            Position::Usn { number, incarnation } => {
                self.delta_by_usn(&mut connection, &server, mark, number, &incarnation).await
            }
        }
    }

    /// Reads everything by the first method that the server supports; returns what the next delta goes on from.
    async fn full(&self, clocks: &ServerClocks) -> Result<Option<Mark>, ConnectorError> {
        let mut connection = self.connect().await?;
        let server = connection.root_dse().await.map_err(|error| self.aborted(&error))?;
        for method in methods(&self.settings, &server) {
            if connection.is_closed() {
                connection = self.connect().await?;
            }
            match self.full_by(method, &mut connection, &server, clocks).await {
                Ok(mark) => return Ok(mark),
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::Unfit(reason)) if self.settings.delta != DeltaChoice::Auto => {
                    let reason = format!("the {} does not work: {reason}", method.name());
                    return Err(ConnectorError::Settings { connector: self.settings.name.clone(), reason });
                }
                Err(Refused::Unfit(reason)) => {
                    let connector = self.settings.name.as_str();
                    tracing::warn!(connector, method = method.name(), reason, "a way of delta import does not work");
                }
            }
        }
        if connection.is_closed() {
            connection = self.connect().await?;
        }
        let extent = self.open(&mut connection).await?;
        self.full_in_pages(&mut connection, &extent, &mut |_| {}).await?;
        Ok(None)
    }

    async fn full_by(
        &self,
        method: Method,
        connection: &mut Connection,
        server: &RootDse,
        clocks: &ServerClocks,
    ) -> Result<Option<Mark>, Refused> {
        match method {
            Method::ContentSync => self.full_by_content_sync(connection, server).await,
            Method::Changelog => {
                let mark = self.changelog_mark(connection, server).await?;
                self.full_behind(connection, mark).await
            }
            Method::AccessLog => self.full_by_access_log(connection, server).await.map(Some),
            Method::DirSync => {
                let mark = self.dir_sync_mark(connection, server).await?;
                self.full_behind(connection, mark).await
            }
            Method::Usn => {
                let mark = self.usn_mark(connection, server).await?;
                self.full_behind(connection, mark).await
            }
            Method::Timestamp => {
                let name = connection.server().to_string();
                let mut reading = Reading::begin(clocks, name.clone(), Newest::default());
                let extent = self.open(connection).await.map_err(Refused::Failed)?;
                let mut look = |entry: &Entry| reading.look(entry, self.anchor_of(entry));
                self.full_in_pages(connection, &extent, &mut look).await.map_err(Refused::Failed)?;
                let (after, newest) = reading.end(None);
                // Without a readable stamp there is nothing to go on from.
                Ok(after.map(|after| Mark {
                    server: name,
                    scope: String::new(),
                    position: Position::Timestamp { after },
                    witness: newest.0,
                }))
            }
        }
    }

    /// Reads everything after `mark` was taken: what changes meanwhile is told again by the next delta.
    async fn full_behind(&self, connection: &mut Connection, mark: Mark) -> Result<Option<Mark>, Refused> {
        let extent = self.open(connection).await.map_err(Refused::Failed)?;
        self.full_in_pages(connection, &extent, &mut |_| {}).await.map_err(Refused::Failed)?;
        Ok(Some(mark))
    }

    /// Reads the containers, tells those in scope, and says what the scope is.
    async fn open(&self, connection: &mut Connection) -> Result<Extent, ConnectorError> {
        let (containers, refused) = self.containers(connection).await?;
        let (extent, bases) = Extent::resolve(&self.settings, &self.known, &containers)?;
        let objects = containers.into_iter().filter(|container| extent.covers(&container.dn));
        let objects = objects.map(Container::object).collect();
        self.send(ImportPage { objects, bases, refused, ..ImportPage::default() }).await?;
        Ok(extent)
    }
}
