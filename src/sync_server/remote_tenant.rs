//! The tenant directory of a gateway elsewhere, as a connected system like the others.

use std::sync::Arc;

use serde::Serialize;

use super::gateway_link::{CallError, GatewayLink, Lines};
use super::lease::RemoteLease;
use super::protocol::{Answers, Exported, FaultCode, ImportLine, LARGEST_BATCH, LARGEST_REQUEST, Questions, path};
use crate::identity::{ConnectorName, LeaseEpoch};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, ExportChange, ExportResult, ImportMode, ImportPage, ImportRequest,
    ImportStream, ImportedObject, ReadBack,
};
use crate::sync::lease::{EngineLease as _, Turn};

/// The tenant connector of a sync server.
pub struct RemoteTenant {
    name: ConnectorName,
    capabilities: Capabilities,
    link: GatewayLink,
    lease: Arc<RemoteLease>,
}

/// What a body has around its changes.
const FRAME: usize = 64;

impl RemoteTenant {
    /// `capabilities`: as the gateway told them in its welcome.
    pub fn new(name: ConnectorName, capabilities: Capabilities, link: GatewayLink, lease: Arc<RemoteLease>) -> Self {
        let largest_batch = capabilities.largest_batch.clamp(1, LARGEST_BATCH);
        // What a later gateway can do and this release does not ask for is not declared.
        let capabilities = Capabilities { largest_batch, selected_import: false, single_import: false, ..capabilities };
        Self { name, capabilities, link, lease }
    }

    /// What came of a request that changes nothing.
    fn told(&self, error: CallError) -> ConnectorError {
        let connector = self.name.clone();
        match error {
            CallError::Told(fault) => match fault.error {
                FaultCode::StaleWatermark => ConnectorError::StaleWatermark { connector, reason: fault.reason },
                FaultCode::Unsupported => {
                    ConnectorError::Unsupported { connector, what: "what was asked of the gateway" }
                }
                FaultCode::Unavailable | FaultCode::TooSlow => {
                    ConnectorError::Unreachable { connector, reason: fault.reason }
                }
                FaultCode::Malformed
                | FaultCode::TooLarge
                | FaultCode::NotAdmitted
                | FaultCode::UnsupportedVersion
                | FaultCode::UnknownPath
                | FaultCode::LeaseHeld
                | FaultCode::LeaseLost
                | FaultCode::Refused => ConnectorError::Refused { connector, reason: fault.reason },
            },
            CallError::NotSent(_) | CallError::Lost(_) | CallError::Unwritten(_) => {
                ConnectorError::Unreachable { connector, reason: error.to_string() }
            }
        }
    }

    /// Nothing is read while an earlier export may still be carried out.
    async fn settled(&self) -> Result<(), ConnectorError> {
        self.lease.settle().await.map_err(|error| self.told(error))
    }

    async fn send(&self, epoch: LeaseEpoch, changes: Vec<Vec<u8>>) -> Result<Vec<ExportResult>, ConnectorError> {
        let count = changes.len();
        let mut body = format!("{{\"epoch\":{epoch},\"changes\":[").into_bytes();
        body.extend(changes.join(&b','));
        body.extend_from_slice(b"]}");
        match self.link.ask_in::<Exported>(path::EXPORT, body).await {
            Ok(Exported { results }) if results.len() == count => Ok(results),
            Ok(Exported { results }) => {
                let reason = format!("{} results for {count} changes", results.len());
                Err(ConnectorError::Refused { connector: self.name.clone(), reason })
            }
            Err(error) => {
                // All other refusals come before anything is done.
                let unknown = match &error {
                    CallError::Lost(_) => true,
                    CallError::Told(fault) => matches!(fault.error, FaultCode::Unavailable | FaultCode::LeaseLost),
                    CallError::NotSent(_) | CallError::Unwritten(_) => false,
                };
                if unknown {
                    self.lease.burn(epoch);
                }
                Err(self.told(error))
            }
        }
    }
}

fn written<T: Serialize>(thing: &T) -> Result<Vec<u8>, CallError> {
    Ok(serde_json::to_vec(thing)?)
}

#[async_trait::async_trait]
impl Connector for RemoteTenant {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        if let ImportMode::Selected { .. } = request.mode {
            return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "selected import" });
        }
        self.settled().await?;
        let lines = self.link.read(path::IMPORT, &request).await.map_err(|error| self.told(error))?;
        Ok(Box::new(Reading { name: self.name.clone(), lines: Some(lines) }))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let too_large = || ExportResult::Refused {
            code: "TooLarge".to_owned(),
            reason: format!("the change alone is larger than the {LARGEST_REQUEST} bytes of a request"),
        };
        let mut results: Vec<Option<ExportResult>> = Vec::with_capacity(batch.len());
        let (mut request, mut room) = (Vec::new(), LARGEST_REQUEST - FRAME);
        for change in &batch {
            let text = written(change).map_err(|error| self.told(error))?;
            let size = text.len() + 1;
            if size > LARGEST_REQUEST - FRAME {
                results.push(Some(too_large()));
                continue;
            }
            if size > room || request.len() == LARGEST_BATCH {
                self.fill(&mut results, turn, std::mem::take(&mut request)).await?;
                room = LARGEST_REQUEST - FRAME;
            }
            room -= size;
            request.push(text);
            results.push(None);
        }
        self.fill(&mut results, turn, request).await?;
        Ok(results.into_iter().flatten().collect())
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        self.settled().await?;
        let mut told = Vec::with_capacity(objects.len());
        for asked in objects.chunks(LARGEST_BATCH) {
            let questions = Questions { objects: asked.to_vec() };
            let answers: Answers =
                self.link.ask(path::READ_BACK, &questions).await.map_err(|error| self.told(error))?;
            if answers.objects.len() != asked.len() {
                let reason = format!("{} answers to {} questions", answers.objects.len(), asked.len());
                return Err(ConnectorError::Refused { connector: self.name.clone(), reason });
            }
            told.extend(answers.objects);
        }
        Ok(told)
    }
}

impl RemoteTenant {
    /// Sends what waits for a result, and puts the results where they are awaited.
    async fn fill(
        &self,
        results: &mut [Option<ExportResult>],
        turn: &Turn,
        request: Vec<Vec<u8>>,
    ) -> Result<(), ConnectorError> {
        if request.is_empty() {
            return Ok(());
        }
        let refused = |reason: String| ConnectorError::Refused { connector: self.name.clone(), reason };
        turn.check().map_err(|error| refused(error.to_string()))?;
        if self.lease.held() != Some(turn.epoch) {
            return Err(refused("this server does not hold the engine lease under which the run began".to_owned()));
        }
        let answers = self.send(turn.epoch, request).await?;
        for (awaited, answer) in results.iter_mut().filter(|result| result.is_none()).zip(answers) {
            *awaited = Some(answer);
        }
        Ok(())
    }
}

/// An import under way. The connection ends with it.
struct Reading {
    name: ConnectorName,
    /// `None` once everything was read.
    lines: Option<Lines>,
}

#[async_trait::async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let connector = self.name.clone();
        let aborted = |reason: String| ConnectorError::Aborted { connector: connector.clone(), reason };
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(aborted("the gateway ended it before its end".to_owned())),
            Err(error) => return Err(aborted(error.to_string())),
        };
        match serde_json::from_slice(&line) {
            Ok(ImportLine::Page(page)) => Ok(Some(*page)),
            Ok(ImportLine::End(true)) => {
                self.lines = None;
                Ok(None)
            }
            Ok(ImportLine::End(false)) => Err(aborted("the gateway could not read to the end".to_owned())),
            Ok(ImportLine::Fault(fault)) if fault.error == FaultCode::StaleWatermark => {
                Err(ConnectorError::StaleWatermark { connector, reason: fault.reason })
            }
            Ok(ImportLine::Fault(fault)) => Err(aborted(fault.reason)),
            Err(error) => Err(aborted(format!("a line is not understood: {error}"))),
        }
    }
}
