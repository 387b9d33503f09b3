//! Carries what an SQLite file's journal holds into the file, beside the writer instead of within one of its commits:
//! a checkpoint takes as long as hundreds of commits, and somebody waits for each.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::error::StoreError;
use super::sqlite::SqliteConnection;
use super::writer::Urgency;

/// What a work weighs: roughly the pages that it writes.
const URGENT: usize = 8;
const BULK: usize = 500;
/// Weight after which a checkpoint is asked for.
const AFTER: usize = 2_000;
/// Pages of the journal at which the writer does it itself after all: under a load without pauses the journal begins
/// anew only when a commit finds it carried over, and the rest is then small.
pub(super) const WRITERS_OWN: &str = "PRAGMA wal_autocheckpoint = 16000";

/// The thread that does it. Dropping waits for its end.
pub(super) struct Checkpoints {
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    weight: usize,
}

impl Checkpoints {
    pub(super) fn start(path: &Path, pragmas: &str) -> Result<Self, StoreError> {
        let doing = "starting the thread for checkpoints";
        let mut connection = SqliteConnection::open(path, pragmas).map_err(StoreError::doing(doing))?;
        let (ask, asked) = sync_channel(1);
        let carry = move || {
            while asked.recv().is_ok() {
                if let Err(error) = connection.run("PRAGMA wal_checkpoint(PASSIVE)", None) {
                    tracing::warn!(%error, "the journal could not be carried into the database file");
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(carry);
        let thread = thread.map_err(|error| StoreError::doing(doing)(error.into()))?;
        Ok(Self { ask: Some(ask), thread: Some(thread), weight: 0 })
    }

    /// To be called after a commit of `works` works.
    pub(super) fn committed(&mut self, urgency: Urgency, works: usize) {
        self.weight += works * if urgency == Urgency::Bulk { BULK } else { URGENT };
        if self.weight >= AFTER {
            self.weight = 0;
            // A full channel says that one is asked for already.
            let _ = self.ask.as_ref().map(|ask| ask.try_send(()));
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}
