//! Pages on their way from the reading thread to the engine.

use tokio::sync::mpsc;

use super::ReadError;
use crate::connectors::page_stream::Page;
use crate::identity::{ConnectorName, causes};
use crate::sync::connector::{ConnectorError, Hidden, ImportPage, ImportedObject, RefusedEntry, Watermark};

/// Objects, deletions and refusals of one page.
const PAGE: usize = 1000;

/// Where the reading thread puts what it read.
pub struct Sink {
    connector: ConnectorName,
    pages: mpsc::Sender<Page>,
    page: ImportPage,
}

impl Sink {
    pub fn new(connector: ConnectorName, pages: mpsc::Sender<Page>) -> Self {
        Self { connector, pages, page: ImportPage::default() }
    }

    pub fn object(&mut self, object: ImportedObject) -> Result<(), ReadError> {
        self.page.objects.push(object);
        self.flush_full()
    }

    pub fn deleted(&mut self, anchor: String) -> Result<(), ReadError> {
        self.page.deleted.push(anchor);
        self.flush_full()
    }

    pub fn refused(&mut self, name: String, reason: impl Into<String>, hides: Hidden) -> Result<(), ReadError> {
        self.page.refused.push(RefusedEntry { name, reason: reason.into(), hides });
        self.flush_full()
    }

    /// A change that was not understood: whom it meant to keep is not known.
    pub fn refused_change(&mut self, name: String, reason: impl Into<String>) -> Result<(), ReadError> {
        self.refused(name, reason, Hidden::Anybody)
    }

    fn flush_full(&mut self) -> Result<(), ReadError> {
        let size = self.page.objects.len() + self.page.deleted.len() + self.page.refused.len();
        if size >= PAGE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        let page = std::mem::take(&mut self.page);
        self.pages.blocking_send(Ok(Some(page))).map_err(|_| ReadError::GivenUp)
    }

    /// Sends the last page with the watermark, or what went wrong.
    pub fn end(mut self, ended: Result<Watermark, ReadError>) {
        let last = match ended {
            Ok(watermark) => {
                self.page.watermark = Some(watermark);
                match self.flush() {
                    Ok(()) => Ok(None),
                    Err(_) => return,
                }
            }
            Err(ReadError::GivenUp) => return,
            Err(ReadError::File(error)) => {
                Err(ConnectorError::Aborted { connector: self.connector.clone(), reason: causes(&error) })
            }
        };
        // A stream that was dropped wants no end.
        let _ = self.pages.blocking_send(last);
    }
}
