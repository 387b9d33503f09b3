//! The gateway's side: a connector that puts the engine's questions to agents.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::MissedTickBehavior;

use super::progress::{Endless, Progress};
use super::words::{Fault, FaultKind, Question, TURN_TOLD, Word, reason};
use crate::agents::broker::{Broker, Errand, Exchange, ExchangeError};
use crate::config::{AgentsOnlySettings, DirectoryScope};
use crate::connectors::ldap::Declaration;
use crate::connectors::ldap::configured::UnfitSettings;
use crate::identity::{AgentId, ConnectorName, DomainName, Timestamp, causes, shown};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportResult, ImportMode, ImportPage,
    ImportRequest, ImportStream, ImportedObject, LARGEST_PAGE, ReadBack, SingleRead, SingleRequest, Sought, Watermark,
};
use crate::sync::lease::{LeaseError, Turn};

/// For a batch as a whole, which is meant to be written within seconds.
const EXPORT_DEADLINE: Duration = Duration::from_secs(300);

/// What is longer is read where nobody who signs in waits.
const READ_AT_ONCE: usize = 256 * 1024;

/// Characters of the word for a refusal.
const LONGEST_CODE: usize = 100;

/// A directory behind agents.
pub struct AgentDirectory(Arc<Behind>);

pub(super) struct Behind {
    name: ConnectorName,
    domains: Vec<DomainName>,
    scope: DirectoryScope,
    declaration: Declaration,
    agents: Broker,
}

/// Why a question has no answer yet.
pub(super) enum Failure {
    /// Another agent may have one.
    OfAgent(ConnectorError),
    Final(ConnectorError),
}

impl Failure {
    pub(super) fn into_error(self) -> ConnectorError {
        match self {
            Self::OfAgent(error) | Self::Final(error) => error,
        }
    }
}

impl AgentDirectory {
    pub fn new(settings: &AgentsOnlySettings, agents: Broker) -> Result<Self, UnfitSettings> {
        Ok(Self(Arc::new(Behind::new(settings, agents)?)))
    }
}

impl Behind {
    pub(super) fn new(settings: &AgentsOnlySettings, agents: Broker) -> Result<Self, UnfitSettings> {
        let AgentsOnlySettings { name, domains, scope, bind_deadline: _, password_sync: _ } = settings.clone();
        let declaration = Declaration::of(&scope)?;
        Ok(Self { name, domains, scope, declaration, agents })
    }

    pub(super) fn name(&self) -> &ConnectorName {
        &self.name
    }

    pub(super) fn scope(&self) -> DirectoryScope {
        self.scope.clone()
    }

    /// By the gateway's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.agents.now()
    }

    /// Whether no second agent is enrolled for the connector.
    pub(super) async fn has_one_agent(&self) -> bool {
        self.agents.has_one_agent(&self.name).await
    }

    fn aborted(&self, reason: impl Into<String>) -> ConnectorError {
        ConnectorError::Aborted { connector: self.name.clone(), reason: reason.into() }
    }

    fn written(&self, question: &Question) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(question).map_err(|error| self.aborted(error.to_string()))
    }

    fn failure(&self, error: &ExchangeError) -> Failure {
        let (connector, reason) = (self.name.clone(), causes(error));
        if error.is_before_all() {
            let error = ConnectorError::Unreachable { connector, reason };
            return Failure::OfAgent(error);
        }
        let of_agent = error.is_of_agent();
        let error = ConnectorError::Aborted { connector, reason };
        if of_agent { Failure::OfAgent(error) } else { Failure::Final(error) }
    }

    /// A fault as an agent told it. What another agent may do better: it reaches other servers, or has other settings.
    fn fault(&self, fault: Fault, exchange: &Exchange) -> Failure {
        let kind = fault.kind;
        let error = fault.into_error(self.name.clone(), exchange.host());
        match kind {
            FaultKind::Unreachable | FaultKind::StaleWatermark | FaultKind::Settings => Failure::OfAgent(error),
            FaultKind::Aborted | FaultKind::Refused | FaultKind::Unsupported => Failure::Final(error),
        }
    }

    /// The next word of an agent.
    pub(super) async fn word(&self, exchange: &mut Exchange) -> Result<Word, Failure> {
        let told = exchange.told().await.map_err(|error| self.failure(&error))?;
        self.read(told, exchange).await
    }

    async fn read(&self, told: Vec<u8>, exchange: &Exchange) -> Result<Word, Failure> {
        let read = if told.len() > READ_AT_ONCE {
            let reading = tokio::task::spawn_blocking(move || serde_json::from_slice(&told));
            reading.await.map_err(|error| Failure::Final(self.aborted(error.to_string())))?
        } else {
            serde_json::from_slice(&told)
        };
        match read {
            Ok(Word::Fault(fault)) => Err(self.fault(fault, exchange)),
            Ok(word) => Ok(word),
            Err(error) => Err(Failure::Final(self.not_understood(exchange, &format!("column {}", error.column())))),
        }
    }

    pub(super) fn not_understood(&self, exchange: &Exchange, what: &str) -> ConnectorError {
        self.aborted(format!("what the agent on {} says is not understood: {what}", exchange.host()))
    }

    /// Puts a question, to one agent after the other until one has an answer. Those that were asked are `tried` then.
    pub(super) async fn ask(
        &self,
        question: &Question,
        tried: &mut Vec<AgentId>,
    ) -> Result<(Exchange, Word), ConnectorError> {
        let text = self.written(question)?;
        let errand = Errand { connector: &self.name, domains: &self.domains, what: question.carried() };
        let mut met: Option<ConnectorError> = None;
        loop {
            let mut exchange = match self.agents.engage(errand, tried).await {
                Ok(exchange) => exchange,
                Err(nobody) => return Err(met.unwrap_or_else(|| self.failure(&nobody).into_error())),
            };
            tried.push(exchange.agent());
            let answered = async {
                exchange.ask(&text).await.map_err(|error| self.failure(&error))?;
                self.word(&mut exchange).await
            };
            match answered.await {
                Ok(word) => return Ok((exchange, word)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::OfAgent(error)) => {
                    let (connector, host) = (self.name.as_str(), exchange.host());
                    tracing::warn!(connector, host, %error, "an agent cannot do what the sync engine asks; another one is asked");
                    // That a watermark fits no server is told by those who have its server; what else was met says less.
                    let keeps = matches!(met, Some(ConnectorError::StaleWatermark { .. }));
                    if !keeps {
                        met = Some(error);
                    }
                }
            }
        }
    }

    pub(super) fn endless(&self, host: &str, error: Endless) -> ConnectorError {
        self.aborted(format!("the read by the agent on {host} is given up: {error}"))
    }

    pub(super) fn unexpected(&self, exchange: &Exchange) -> ConnectorError {
        self.not_understood(exchange, "it is no answer to the question")
    }
}

#[async_trait]
impl Connector for AgentDirectory {
    fn name(&self) -> &ConnectorName {
        &self.0.name
    }

    fn capabilities(&self) -> Capabilities {
        self.0.declaration.capabilities()
    }

    fn delta_since(&self, since: &Watermark) -> Option<DeltaReports> {
        self.0.declaration.delta_since(since)
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let behind = Arc::clone(&self.0);
        let mut tried = Vec::new();
        let exchange = Some(behind.begin(&request, &mut tried).await?);
        Ok(Box::new(Reading { behind, request, tried, exchange, told: false, progress: Progress::default() }))
    }

    async fn import_one(&self, sought: Sought, request: SingleRequest) -> Result<SingleRead, ConnectorError> {
        let question = Question::ImportOne { scope: self.0.scope(), sought, request };
        match self.0.ask(&question, &mut Vec::new()).await? {
            (exchange, Word::One(read)) => {
                exchange.close();
                Ok(match *read {
                    SingleRead::Found(page) => SingleRead::Found(Box::new(fit(*page))),
                    SingleRead::OutOfScope { reason: told } => SingleRead::OutOfScope { reason: reason(&told) },
                    SingleRead::Absent => SingleRead::Absent,
                })
            }
            (exchange, _) => Err(self.0.unexpected(&exchange)),
        }
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        if self.0.scope.export.is_none() {
            return Err(ConnectorError::Unsupported { connector: self.0.name.clone(), what: "export" });
        }
        self.0.export(batch, turn).await
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        if self.0.scope.export.is_none() {
            return Err(ConnectorError::Unsupported { connector: self.0.name.clone(), what: "single reads" });
        }
        let count = objects.len();
        let question = Question::ReadBack { scope: self.0.scope(), objects };
        match self.0.ask(&question, &mut Vec::new()).await? {
            (exchange, Word::Objects(objects)) if objects.len() == count => {
                exchange.close();
                Ok(objects)
            }
            (exchange, _) => Err(self.0.unexpected(&exchange)),
        }
    }
}

impl Behind {
    /// Opens an import at the first agent that can.
    async fn begin(&self, request: &ImportRequest, tried: &mut Vec<AgentId>) -> Result<Exchange, ConnectorError> {
        let question = Question::Import { scope: self.scope(), request: request.clone() };
        match self.ask(&question, tried).await? {
            (exchange, Word::Begun) => Ok(exchange),
            (exchange, _) => Err(self.unexpected(&exchange)),
        }
    }

    /// Sends a batch to one agent, once: after that nobody knows whether it was written until it is read back.
    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let count = batch.len();
        let question = Question::Export { scope: self.scope(), changes: batch, answers_turns: true };
        let text = self.written(&question)?;
        let errand = Errand { connector: &self.name, domains: &self.domains, what: question.carried() };
        self.has_turn(turn)?;
        let engaged = self.agents.engage(errand, &[]).await;
        let mut exchange = engaged.map_err(|nobody| self.failure(&nobody).into_error())?;
        let writing = tokio::time::timeout(EXPORT_DEADLINE, self.write(&mut exchange, &text, turn)).await;
        match writing {
            Ok(Ok(Word::Results(results))) if results.len() == count => {
                exchange.close();
                Ok(results.into_iter().map(fit_result).collect())
            }
            Ok(Ok(_)) => Err(self.unexpected(&exchange)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.aborted(format!("the agent on {} writes for too long", exchange.host()))),
        }
    }

    fn has_turn(&self, turn: &Turn) -> Result<(), ConnectorError> {
        let refused =
            |error: LeaseError| ConnectorError::Refused { connector: self.name.clone(), reason: error.to_string() };
        turn.check().map_err(refused)
    }

    /// Sends a batch, and answers the agent's questions whether the run has its turn still: what is not written when it has
    /// none the agent gives up. One of the former release does not ask, and is told from time to time.
    async fn write(&self, exchange: &mut Exchange, batch: &[u8], turn: &Turn) -> Result<Word, ConnectorError> {
        let failed = |error: &ExchangeError| match error {
            // An agent that declines now may have begun before.
            ExchangeError::Declined { .. } => self.aborted(causes(error)),
            _ => self.failure(error).into_error(),
        };
        exchange.ask(batch).await.map_err(|error| failed(&error))?;
        let mut beats = tokio::time::interval(TURN_TOLD);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut asks, mut listens) = (false, true);
        loop {
            let say = tokio::select! {
                told = exchange.told() => {
                    let told = told.map_err(|error| failed(&error))?;
                    match self.read(told, exchange).await.map_err(Failure::into_error)? {
                        Word::Turn(number) => {
                            asks = true;
                            Question::HasTurn(number)
                        }
                        word => return Ok(word),
                    }
                }
                _ = beats.tick(), if !asks && listens => Question::GoOn,
            };
            self.has_turn(turn)?;
            // Of an agent that hears no more, what it said before is heard still.
            listens = listens && exchange.ask(&self.written(&say)?).await.is_ok();
        }
    }
}

fn fit_result(result: ExportResult) -> ExportResult {
    match result {
        ExportResult::Accepted { anchor, warning } => {
            ExportResult::Accepted { anchor, warning: warning.as_deref().map(reason) }
        }
        ExportResult::Refused { code, reason: told } => {
            ExportResult::Refused { code: shown(&code, LONGEST_CODE), reason: reason(&told) }
        }
        ExportResult::Unknown { reason: told } => ExportResult::Unknown { reason: reason(&told) },
    }
}

/// An import under way. Dropping it gives it up at the agent too.
struct Reading {
    behind: Arc<Behind>,
    /// As another agent would be asked: from the last watermark on that was told.
    request: ImportRequest,
    tried: Vec<AgentId>,
    /// `None` once everything was read.
    exchange: Option<Exchange>,
    /// Whether the engine has seen a page.
    told: bool,
    progress: Progress,
}

#[async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        loop {
            let Some(exchange) = &mut self.exchange else { return Ok(None) };
            match self.behind.word(exchange).await {
                Ok(Word::Page(page)) if page.objects.len() <= LARGEST_PAGE => {
                    let (host, page) = (exchange.host().to_owned(), self.tell(*page));
                    return page.map(Some).map_err(|error| self.behind.endless(&host, error));
                }
                Ok(Word::Begun) => {
                    let host = exchange.host();
                    self.progress.nothing().map_err(|error| self.behind.endless(host, error))?;
                }
                Ok(Word::End) => {
                    if let Some(exchange) = self.exchange.take() {
                        exchange.close();
                    }
                    return Ok(None);
                }
                Ok(_) => return Err(self.behind.unexpected(exchange)),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::OfAgent(error)) => self.go_on_elsewhere(error).await?,
            }
        }
    }
}

/// Whether a page tells more than how far it came.
fn tells(page: &ImportPage) -> bool {
    let ImportPage { objects, deleted, left, left_below, present, enumerated, links, watermark: _, bases, refused } =
        page;
    !(objects.is_empty() && deleted.is_empty() && left.is_empty() && left_below.is_empty() && present.is_empty())
        || !(enumerated.is_empty() && links.is_empty() && bases.is_empty() && refused.is_empty())
}

/// What an agent says of entries that it could not take, as run steps may show it.
fn fit(mut page: ImportPage) -> ImportPage {
    for entry in &mut page.refused {
        entry.name = reason(&entry.name);
        entry.reason = reason(&entry.reason);
    }
    page
}

impl Reading {
    fn tell(&mut self, page: ImportPage) -> Result<ImportPage, Endless> {
        self.told = true;
        let mut further = false;
        if let (ImportMode::Delta { since }, Some(reached)) = (&mut self.request.mode, &page.watermark) {
            further = since != reached;
            *since = reached.clone();
        }
        if tells(&page) {
            self.progress.told();
        } else if further {
            self.progress.moved()?;
        } else {
            self.progress.nothing()?;
        }
        Ok(fit(page))
    }

    /// Goes on with another agent after `error`, where telling something twice does no harm.
    async fn go_on_elsewhere(&mut self, error: ConnectorError) -> Result<(), ConnectorError> {
        let repeatable = match self.request.mode {
            ImportMode::Full => !self.told,
            ImportMode::Delta { .. } | ImportMode::Selected { .. } => true,
        };
        if !repeatable {
            return Err(error);
        }
        let connector = self.behind.name.as_str();
        tracing::warn!(connector, %error, "an agent cannot go on with an import; another one is asked");
        match self.behind.begin(&self.request, &mut self.tried).await {
            Ok(exchange) => {
                self.exchange = Some(exchange);
                Ok(())
            }
            // Once something was told, "read everything" comes too late for this read; the next one hears it.
            Err(other) if self.told => {
                Err(self.behind.aborted(format!("{error}; and no other agent goes on: {other}")))
            }
            Err(stale @ ConnectorError::StaleWatermark { .. }) => Err(stale),
            Err(_) => Err(error),
        }
    }
}
