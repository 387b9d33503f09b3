//! The gateway's side: a connector that puts the engine's questions to agents.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::MissedTickBehavior;

use super::words::{Fault, FaultKind, MOST_BEGUN, Question, TURN_TOLD, Word};
use crate::agents::broker::{Broker, Errand, Exchange, ExchangeError};
use crate::config::{AgentsOnlySettings, DirectoryScope};
use crate::connectors::ldap::Declaration;
use crate::connectors::ldap::configured::UnfitSettings;
use crate::identity::{AgentId, ConnectorName, DomainName, causes};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportResult, ImportMode, ImportPage,
    ImportRequest, ImportStream, ImportedObject, LARGEST_PAGE, ReadBack, SingleRead, SingleRequest, Sought, Watermark,
};
use crate::sync::lease::{LeaseError, Turn};

/// For a batch as a whole, which is meant to be written within seconds.
const EXPORT_DEADLINE: Duration = Duration::from_secs(300);

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
        match serde_json::from_slice(&told) {
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
        Ok(Box::new(Reading { behind, request, tried, exchange, told: false }))
    }

    async fn import_one(&self, sought: Sought, request: SingleRequest) -> Result<SingleRead, ConnectorError> {
        let question = Question::ImportOne { scope: self.0.scope(), sought, request };
        match self.0.ask(&question, &mut Vec::new()).await? {
            (exchange, Word::One(read)) => {
                exchange.close();
                Ok(*read)
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
        let question = Question::Export { scope: self.scope(), changes: batch };
        let text = self.written(&question)?;
        let errand = Errand { connector: &self.name, domains: &self.domains, what: question.carried() };
        self.has_turn(turn)?;
        let engaged = self.agents.engage(errand, &[]).await;
        let mut exchange = engaged.map_err(|nobody| self.failure(&nobody).into_error())?;
        let writing = tokio::time::timeout(EXPORT_DEADLINE, self.write(&mut exchange, &text, turn)).await;
        let told = match writing {
            Ok(Ok(told)) => told?,
            // An agent that declines now may have begun before.
            Ok(Err(error @ ExchangeError::Declined { .. })) => return Err(self.aborted(causes(&error))),
            Ok(Err(error)) => return Err(self.failure(&error).into_error()),
            Err(_) => return Err(self.aborted(format!("the agent on {} writes for too long", exchange.host()))),
        };
        match serde_json::from_slice(&told) {
            Ok(Word::Results(results)) if results.len() == count => {
                exchange.close();
                Ok(results)
            }
            Ok(Word::Fault(fault)) => Err(self.fault(fault, &exchange).into_error()),
            Ok(_) => Err(self.unexpected(&exchange)),
            Err(error) => Err(self.not_understood(&exchange, &format!("column {}", error.column()))),
        }
    }

    fn has_turn(&self, turn: &Turn) -> Result<(), ConnectorError> {
        let refused =
            |error: LeaseError| ConnectorError::Refused { connector: self.name.clone(), reason: error.to_string() };
        turn.check().map_err(refused)
    }

    /// Sends a batch, and says that the run has its turn for as long as it has. What the agent has not written when the turn
    /// ends it gives up.
    async fn write(
        &self,
        exchange: &mut Exchange,
        batch: &[u8],
        turn: &Turn,
    ) -> Result<Result<Vec<u8>, ConnectorError>, ExchangeError> {
        exchange.ask(batch).await?;
        let go_on = match self.written(&Question::GoOn) {
            Ok(go_on) => go_on,
            Err(error) => return Ok(Err(error)),
        };
        let mut beats = tokio::time::interval(TURN_TOLD);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = exchange.told() => return told.map(Ok),
                _ = beats.tick() => {
                    if let Err(over) = self.has_turn(turn) {
                        return Ok(Err(over));
                    }
                    exchange.ask(&go_on).await?;
                }
            }
        }
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
}

#[async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let mut begun = 0;
        loop {
            let Some(exchange) = &mut self.exchange else { return Ok(None) };
            match self.behind.word(exchange).await {
                Ok(Word::Page(page)) if page.objects.len() <= LARGEST_PAGE => return Ok(Some(self.tell(*page))),
                Ok(Word::Begun) if begun < MOST_BEGUN => begun += 1,
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

impl Reading {
    fn tell(&mut self, page: ImportPage) -> ImportPage {
        self.told = true;
        if let (ImportMode::Delta { since }, Some(reached)) = (&mut self.request.mode, &page.watermark) {
            *since = reached.clone();
        }
        page
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
