//! Pages that a task reads ahead of the engine.

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::identity::ConnectorName;
use crate::sync::connector::{ConnectorError, ImportPage, ImportStream};

/// Pages that may wait for the engine.
pub const PAGES_AHEAD: usize = 2;

/// `Ok(None)` is the end; a channel that closes without it is an aborted read.
pub type Page = Result<Option<ImportPage>, ConnectorError>;

/// The engine's side of a read.
pub struct PageStream {
    connector: ConnectorName,
    received: mpsc::Receiver<Page>,
    task: Option<AbortHandle>,
    ended: bool,
}

impl PageStream {
    /// `task` is ended with the stream; one that cannot be ended ends by itself when it finds nobody to send to.
    pub fn new(connector: ConnectorName, received: mpsc::Receiver<Page>, task: Option<AbortHandle>) -> Self {
        Self { connector, received, task, ended: false }
    }
}

#[async_trait::async_trait]
impl ImportStream for PageStream {
    async fn next_page(&mut self) -> Page {
        if self.ended {
            return Ok(None);
        }
        match self.received.recv().await {
            Some(Ok(None)) => {
                self.ended = true;
                Ok(None)
            }
            Some(page) => page,
            None => {
                let reason = "the reading task ended early".to_owned();
                Err(ConnectorError::Aborted { connector: self.connector.clone(), reason })
            }
        }
    }
}

impl Drop for PageStream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
