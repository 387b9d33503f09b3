//! Export of single objects, ahead of everything else that is staged.

use std::collections::HashMap;

use super::{ExportError, Exporter, LINKS};
use crate::sync::space::{ExportState, ObjectId, SpaceObject};

impl Exporter<'_> {
    /// Sends what is staged for these objects of the target, and links from and to them of which both ends are there.
    pub async fn run_only(&mut self, wanted: &[ObjectId]) -> Result<(), ExportError> {
        let sent = self.send_only(wanted).await;
        self.settled(sent).await
    }

    async fn send_only(&mut self, wanted: &[ObjectId]) -> Result<(), ExportError> {
        let staged = self.store.staged(wanted).await?;
        let objects: HashMap<ObjectId, SpaceObject> =
            self.store.objects(wanted).await?.into_iter().map(|object| (object.id, object)).collect();
        let mut batch = Vec::new();
        for export in staged {
            let waits = matches!(export.state, ExportState::Pending | ExportState::Failed);
            if let Some(object) = objects.get(&export.object).filter(|_| waits)
                && let Some(change) = self.change(&export, object)
            {
                batch.push((export, object.clone(), change));
            }
        }
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            self.send(batch.by_ref().take(self.largest_batch()).collect()).await?;
        }
        loop {
            self.settled(Ok(())).await?;
            let before = self.counters.links;
            let links = self.store.staged_links_about(wanted, LINKS).await?;
            self.send_ready(links).await?;
            if self.counters.links == before {
                return Ok(());
            }
        }
    }
}
