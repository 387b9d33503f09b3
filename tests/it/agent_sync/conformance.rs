//! A directory behind an agent is a connector like one that the gateway reaches: the same suite checks both.

use std::sync::{Arc, Mutex};

use landbridge::agent_sync::AgentDirectory;
use landbridge::identity::ConnectorName;
use landbridge::sync::Connector;
use landbridge::sync::connector::{
    Capabilities, ConnectorError, ExportChange, ExportResult, ImportPage, ImportRequest, ImportStream, ImportedObject,
    KnownBase, ReadBack,
};
use landbridge::sync::lease::Turn;

use crate::agents::world::{CORP, World};
use crate::connectors::conformance;
use crate::connectors::directory::Peer;

use super::world::{IMPORTS, directory, run, scope};

/// As the engine asks: with the containers of the settings as they were found before.
struct Remembering {
    directory: AgentDirectory,
    bases: Arc<Mutex<Vec<KnownBase>>>,
}

struct Noting {
    stream: Box<dyn ImportStream>,
    bases: Arc<Mutex<Vec<KnownBase>>>,
}

#[async_trait::async_trait]
impl ImportStream for Noting {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let page = self.stream.next_page().await?;
        if let Some(found) = page.as_ref().map(|page| page.bases.clone()).filter(|found| !found.is_empty()) {
            *self.bases.lock().expect("lock") = found;
        }
        Ok(page)
    }
}

#[async_trait::async_trait]
impl Connector for Remembering {
    fn name(&self) -> &ConnectorName {
        self.directory.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.directory.capabilities()
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let bases = self.bases.lock().expect("lock").clone();
        let stream = self.directory.import(ImportRequest { bases, ..request }).await?;
        Ok(Box::new(Noting { stream, bases: self.bases.clone() }))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        self.directory.export(batch, turn).await
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        self.directory.read_back(objects).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_behind_an_agent_conforms() {
    let world = World::open().await;
    let slapd = Peer::slapd();
    let (_, _agent) = run(&world, "one", &slapd, IMPORTS).await;
    let connector = Remembering { directory: directory(&world, CORP, scope()), bases: Arc::default() };
    conformance::source(&Peer::behind(slapd, Box::new(connector))).await;
}
