//! The agent's side: questions of the engine, answered by the connector that the gateway has for its own directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use agent_proto::sealed::{PageBinding, SealingKey};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::accounts::Page;
use super::salts::Salts;
use super::words::{Fault, FaultKind, OBJECTS_PER_WORD, Question, STILL_AT_IT, Salting, TURN_LASTS, Word};
use crate::agents::process::{Carrier, Exchange, GivenUp};
use crate::config::{AgentSettings, Carried, ConnectorSettings, DirectoryScope};
use crate::connectors::ldap::{LdapConnector, LdapConnectorSettings};
use crate::identity::{Clock, ConnectorName, LeaseEpoch, SourceAnchor, causes};
use crate::password_sync::{AccountSource, AdSource, LdapSource, SourceError, SourcePage, SourcePosition};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{
    Connector as _, ConnectorError, ExportChange, ExportResult, ImportRequest, ImportStream, Wanted,
};
use crate::sync::lease::{EngineLease, HeldLease, Turn};

/// What an agent with these settings does besides checks; `None`: nothing.
pub fn carrier(settings: &AgentSettings, clock: &Arc<dyn Clock>) -> Option<Arc<dyn Carrier>> {
    let AgentSettings { carries, connector, .. } = settings;
    if carries.is_empty() {
        return None;
    }
    let (carries, own, clock) = (carries.clone(), connector.clone(), clock.clone());
    Some(Arc::new(DirectoryCarrier { carries, own, clock, last: Mutex::default() }))
}

struct DirectoryCarrier {
    carries: BTreeSet<Carried>,
    own: ConnectorSettings,
    clock: Arc<dyn Clock>,
    /// The connector of the scope that was asked for last: it keeps what it learned of the servers' clocks.
    last: Mutex<Option<(DirectoryScope, Arc<LdapConnector>)>>,
}

#[async_trait]
impl Carrier for DirectoryCarrier {
    fn carries(&self) -> &BTreeSet<Carried> {
        &self.carries
    }

    async fn serve(&self, mut exchange: Exchange) {
        let Some(question) = exchange.asked().await else { return };
        let end = match self.answer(&question, &mut exchange).await {
            Ok(word) => word,
            Err(Ended::Fault(fault)) => {
                tracing::warn!(reason = fault.reason, "work for the gateway's sync engine was not done");
                Word::Fault(fault)
            }
            // It knows.
            Err(Ended::GivenUp) => return,
        };
        // Whoever gave it up needs no word of it.
        let _ = tell(&mut exchange, &end).await;
    }
}

/// Why a piece of work ends before its end.
enum Ended {
    Fault(Fault),
    GivenUp,
}

impl From<ConnectorError> for Ended {
    fn from(error: ConnectorError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<GivenUp> for Ended {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

fn fault(kind: FaultKind, reason: impl Into<String>) -> Ended {
    Ended::Fault(Fault::new(kind, reason))
}

impl DirectoryCarrier {
    /// Does what is asked, and says what is to be told last.
    async fn answer(&self, question: &[u8], exchange: &mut Exchange) -> Result<Word, Ended> {
        let question: Question = serde_json::from_slice(question).map_err(|error| {
            fault(FaultKind::Refused, format!("the agent does not understand the question: column {}", error.column()))
        })?;
        if !self.carries.contains(&question.carried()) {
            let reason = format!("the agent's settings do not say `{}` under `carries`", question.carried());
            return Err(fault(FaultKind::Settings, reason));
        }
        match question {
            Question::Import { scope, request } => {
                self.may_be_told(&request.wanted)?;
                self.import(&scope, request, exchange).await
            }
            Question::ImportOne { scope, sought, request } => {
                self.may_be_told(&request.wanted)?;
                let read = self.connector(&scope)?.import_one(sought, request).await?;
                Ok(Word::One(Box::new(read)))
            }
            Question::ReadBack { scope, objects } => {
                scope.may_be_written(&self.own).map_err(|error| fault(FaultKind::Settings, error.to_string()))?;
                Ok(Word::Objects(self.connector(&scope)?.read_back(objects).await?))
            }
            Question::Export { scope, changes } => {
                scope.may_be_written(&self.own).map_err(|error| fault(FaultKind::Settings, error.to_string()))?;
                Ok(Word::Results(export(&*self.connector(&scope)?, changes, exchange).await?))
            }
            Question::Accounts { scope, since, salting } => {
                let source = self.accounts(&scope)?;
                let since = since.map(SourcePosition::new);
                accounts(&*source, since.as_ref(), &self.sealing(&salting)?, exchange).await
            }
            Question::AccountsOf { scope, anchors, salting } => {
                let source = self.accounts(&scope)?;
                let anchors: Vec<_> = anchors.into_iter().map(SourceAnchor::from_stored).collect();
                let page = source.read(&anchors).await.map_err(unread)?;
                Ok(Word::Accounts(self.sealing(&salting)?.seal(page, exchange, 0)?))
            }
            Question::GoOn => Err(fault(FaultKind::Refused, "nothing was begun that could go on")),
        }
    }

    /// Whether what the rules read may leave.
    fn may_be_told(&self, wanted: &BTreeMap<String, Wanted>) -> Result<(), Ended> {
        let names = wanted.values().flat_map(|wanted| wanted.attributes.iter().chain(&wanted.references));
        DirectoryScope::may_be_told(&self.own, names.map(Attribute::as_str))
            .map_err(|error| fault(FaultKind::Settings, error.to_string()))
    }

    /// What reads accounts, within the bounds of the agent's own settings.
    fn accounts(&self, scope: &DirectoryScope) -> Result<Arc<dyn AccountSource>, Ended> {
        let settings = scope.at(&self.own).map_err(|error| fault(FaultKind::Settings, error.to_string()))?;
        let unfit = |error: &(dyn std::error::Error + 'static)| fault(FaultKind::Settings, causes(error));
        Ok(match &settings.replication {
            None => Arc::new(LdapSource::new(&settings, self.clock.clone()).map_err(|error| unfit(&error))?),
            Some(replication) => {
                let source = AdSource::new(&settings, replication, self.clock.clone());
                Arc::new(source.map_err(|error| unfit(&error))?)
            }
        })
    }

    fn sealing(&self, salting: &Salting) -> Result<Sealing, Ended> {
        let refused = || fault(FaultKind::Refused, "the gateway's key for this read cannot be used");
        let key = hex::decode(&salting.key).map_err(|_| refused())?;
        let salts = Zeroizing::new(hex::decode(&salting.salts).map_err(|_| refused())?);
        let key = SealingKey::from_bytes(&key).map_err(|_| refused())?;
        Ok(Sealing { key, salts: Salts::new(&salts), connector: self.own.name.clone() })
    }

    /// The connector of a scope, within the bounds of the agent's own settings.
    fn connector(&self, scope: &DirectoryScope) -> Result<Arc<LdapConnector>, Ended> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, connector)) = &*last
            && known == scope
        {
            return Ok(Arc::clone(connector));
        }
        let settings = scope.at(&self.own).map_err(|error| fault(FaultKind::Settings, error.to_string()))?;
        let settings =
            LdapConnectorSettings::of(&settings).map_err(|error| fault(FaultKind::Settings, causes(&error)))?;
        let connector = Arc::new(LdapConnector::new(settings));
        *last = Some((scope.clone(), Arc::clone(&connector)));
        Ok(connector)
    }

    async fn import(
        &self,
        scope: &DirectoryScope,
        request: ImportRequest,
        exchange: &mut Exchange,
    ) -> Result<Word, Ended> {
        let mut stream: Box<dyn ImportStream> = self.connector(scope)?.import(request).await?;
        tell(exchange, &Word::Begun).await?;
        while let Some(page) = still_at_it(exchange, stream.next_page()).await?? {
            for piece in page.pieces(OBJECTS_PER_WORD) {
                tell(exchange, &Word::Page(Box::new(piece))).await?;
            }
        }
        Ok(Word::End)
    }
}

/// Waits for `work`, and says from time to time that it goes on.
async fn still_at_it<T>(exchange: &mut Exchange, work: impl Future<Output = T>) -> Result<T, GivenUp> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(STILL_AT_IT, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) => tell(exchange, &Word::Begun).await?,
        }
    }
}

fn unread(error: SourceError) -> Ended {
    fault(FaultKind::Unreachable, causes(&error))
}

/// How accounts leave.
struct Sealing {
    key: SealingKey,
    salts: Salts,
    connector: ConnectorName,
}

impl Sealing {
    fn seal(&self, page: SourcePage, exchange: &Exchange, number: u64) -> Result<String, Ended> {
        let binding = PageBinding {
            request: exchange.request,
            agent: exchange.agent,
            connector: self.connector.as_str(),
            number,
        };
        let sealed = self.key.seal_page(&Page::of(page, &self.salts).written(), &binding);
        sealed.map(hex::encode).map_err(|error| fault(FaultKind::Refused, error.to_string()))
    }
}

/// Pages that wait between the directory and the gateway.
const PAGES: usize = 1;

async fn accounts(
    source: &dyn AccountSource,
    since: Option<&SourcePosition>,
    sealing: &Sealing,
    exchange: &mut Exchange,
) -> Result<Word, Ended> {
    tell(exchange, &Word::Begun).await?;
    let (sender, mut pages) = mpsc::channel(PAGES);
    let forward = async move {
        let mut number = 0;
        // Owned: when nobody listens any more, the read finds nobody to send to and stops.
        while let Some(page) = still_at_it(exchange, pages.recv()).await? {
            let sealed = sealing.seal(page, exchange, number)?;
            number += 1;
            tell(exchange, &Word::Accounts(sealed)).await?;
        }
        Ok::<_, Ended>(())
    };
    let (read, forwarded) = tokio::join!(source.read_all(since, sender), forward);
    forwarded?;
    let reached = read.map_err(unread)?;
    Ok(Word::Reached(reached.map(|position| position.as_str().to_owned())))
}

async fn tell(exchange: &mut Exchange, word: &Word) -> Result<(), GivenUp> {
    let too_long = || written(&Word::Fault(Fault::new(FaultKind::Aborted, "an object is too large to be told")));
    exchange.tell(&written(word), too_long).await
}

fn written(word: &Word) -> Vec<u8> {
    serde_json::to_vec(word).expect("the names of all maps are texts, and no value refuses to be written")
}

/// The turn of the gateway's run, as far as it was told.
struct ToldTurn(Mutex<Instant>);

/// The gateway checks epochs itself; one agent serves one gateway.
const EPOCH: LeaseEpoch = LeaseEpoch::from_number(0);

impl ToldTurn {
    fn told(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl EngineLease for ToldTurn {
    fn held(&self) -> Option<LeaseEpoch> {
        let told = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (told.elapsed() < TURN_LASTS).then_some(EPOCH)
    }
}

/// Writes for as long as the gateway says that its run has its turn.
async fn export(
    connector: &LdapConnector,
    changes: Vec<ExportChange>,
    exchange: &mut Exchange,
) -> Result<Vec<ExportResult>, Ended> {
    let lease = Arc::new(ToldTurn(Mutex::new(Instant::now())));
    let held = HeldLease::begin(lease.clone()).map_err(|error| fault(FaultKind::Refused, error.to_string()))?;
    let turn = Turn::of(&held);
    let mut writing = std::pin::pin!(connector.export(changes, &turn));
    loop {
        tokio::select! {
            results = &mut writing => return Ok(results?),
            question = exchange.asked() => match question.as_deref().map(serde_json::from_slice) {
                Some(Ok(Question::GoOn)) => lease.told(),
                Some(_) => return Err(fault(FaultKind::Refused, "something else was asked while changes were written")),
                None => return Err(Ended::GivenUp),
            },
        }
    }
}
