//! The agent's side: questions of the engine, answered by the connector that the gateway has for its own directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use agent_proto::sealed::{PageBinding, SealingKey};
use agent_proto::{AgentId, RequestId};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

use super::accounts::Page;
use super::leaks::ListedPasswords;
use super::salts::Salts;
use super::told_turn::ToldTurn;
use super::words::{Fault, FaultKind, OBJECTS_PER_WORD, Question, STILL_AT_IT, Salting, TURN_TOLD, Word};
use crate::agents::process::{Carrier, Exchange, GivenUp};
use crate::config::{AgentSettings, Carried, ConnectorSettings, DirectoryScope};
use crate::connectors::ldap::{LdapConnector, LdapConnectorSettings};
use crate::credential::LeakedList;
use crate::identity::{Clock, ConnectorName, SourceAnchor, Timestamp, causes};
use crate::password_sync::{AccountSource, AdSource, LdapSource, SourceError, SourcePage, SourcePosition};
use crate::sync::attribute::Attribute;
use crate::sync::connector::{
    Connector as _, ConnectorError, ExportChange, ExportResult, ImportRequest, ImportStream, Wanted,
};
use crate::sync::lease::{EngineLease as _, HeldLease, Turn};

/// What an agent with these settings does besides checks; `None`: nothing.
pub fn carrier(settings: &AgentSettings, clock: &Arc<dyn Clock>) -> Option<Arc<dyn Carrier>> {
    let AgentSettings { carries, connector, .. } = settings;
    if carries.is_empty() {
        return None;
    }
    let (carries, own, clock) = (carries.clone(), connector.clone(), clock.clone());
    let list = own.leaked_passwords.clone().map(LeakedList::new);
    let leaks = list.map(|list| Arc::new(ListedPasswords::new(list)));
    Some(Arc::new(DirectoryCarrier { carries, own, leaks, clock, last: Mutex::default() }))
}

struct DirectoryCarrier {
    carries: BTreeSet<Carried>,
    own: ConnectorSettings,
    leaks: Option<Arc<ListedPasswords>>,
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
            Question::Export { scope, changes, answers_turns } => {
                scope.may_be_written(&self.own).map_err(|error| fault(FaultKind::Settings, error.to_string()))?;
                let connector = self.connector(&scope)?;
                let clock = Arc::clone(&self.clock);
                Ok(Word::Results(export(&connector, changes, answers_turns, clock, exchange).await?))
            }
            Question::Accounts { scope, since, salting } => {
                let source = self.accounts(&scope)?;
                let since = since.map(SourcePosition::new);
                let from = (since.as_ref(), self.clock.now());
                accounts(&*source, from, &Arc::new(self.sealing(&salting)?), exchange).await
            }
            Question::AccountsOf { scope, anchors, salting } => {
                let source = self.accounts(&scope)?;
                let anchors: Vec<_> = anchors.into_iter().map(SourceAnchor::from_stored).collect();
                let page = source.read(&anchors).await.map_err(unread)?;
                Ok(Word::Accounts(
                    Arc::new(self.sealing(&salting)?).seal(page, (exchange.request, exchange.agent), 0).await?,
                ))
            }
            Question::GoOn | Question::HasTurn(_) => {
                Err(fault(FaultKind::Refused, "nothing was begun that could go on"))
            }
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
        let (leaks, connector) = (self.leaks.clone(), self.own.name.clone());
        Ok(Sealing { key, salts: Salts::new(&salts), leaks, connector })
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
    leaks: Option<Arc<ListedPasswords>>,
    connector: ConnectorName,
}

impl Sealing {
    /// A page as it leaves. Hashes take long to make and to look up, and nobody who signs in waits for them.
    async fn seal(
        self: &Arc<Self>,
        mut page: SourcePage,
        (request, agent): (RequestId, AgentId),
        number: u64,
    ) -> Result<String, Ended> {
        let sealing = Arc::clone(self);
        let sealed = tokio::task::spawn_blocking(move || {
            if let Some(leaks) = &sealing.leaks {
                leaks.look(&mut page);
            }
            let binding = PageBinding { request, agent, connector: sealing.connector.as_str(), number };
            sealing.key.seal_page(&Page::of(page, &sealing.salts).written(), &binding).map(hex::encode)
        });
        let sealed = sealed.await.map_err(|error| fault(FaultKind::Refused, error.to_string()))?;
        sealed.map_err(|error| fault(FaultKind::Refused, error.to_string()))
    }
}

/// Pages that wait between the directory and the gateway.
const PAGES: usize = 1;

async fn accounts(
    source: &dyn AccountSource,
    (since, read_at): (Option<&SourcePosition>, Timestamp),
    sealing: &Arc<Sealing>,
    exchange: &mut Exchange,
) -> Result<Word, Ended> {
    tell(exchange, &Word::Begun).await?;
    let (sender, mut pages) = mpsc::channel::<SourcePage>(PAGES);
    let forward = async move {
        // A read that meets no account tells, too, whether leaked passwords could be looked for.
        let mut pieces = SourcePage::empty(read_at).pieces(OBJECTS_PER_WORD);
        let mut number = 0;
        loop {
            for piece in pieces {
                let sealed = sealing.seal(piece, (exchange.request, exchange.agent), number).await?;
                number += 1;
                tell(exchange, &Word::Accounts(sealed)).await?;
            }
            // Owned: when nobody listens any more, the read finds nobody to send to and stops.
            let Some(page) = still_at_it(exchange, pages.recv()).await? else { return Ok::<_, Ended>(()) };
            pieces = page.pieces(OBJECTS_PER_WORD);
        }
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

/// Writes for as long as the gateway says that its run has its turn.
async fn export(
    connector: &LdapConnector,
    changes: Vec<ExportChange>,
    asks: bool,
    clock: Arc<dyn Clock>,
    exchange: &mut Exchange,
) -> Result<Vec<ExportResult>, Ended> {
    let turn = Arc::new(ToldTurn::new(clock));
    if asks {
        tell(exchange, &Word::Turn(turn.ask())).await?;
        while turn.held().is_none() {
            take_turn(exchange.asked().await, &turn, asks)?;
        }
    } else {
        turn.told();
    }
    let held = HeldLease::begin(turn.clone()).map_err(|error| fault(FaultKind::Refused, error.to_string()))?;
    let run = Turn::of(&held);
    let mut writing = std::pin::pin!(connector.export(changes, &run));
    let mut beats = tokio::time::interval(TURN_TOLD);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            results = &mut writing => return Ok(results?),
            _ = beats.tick(), if asks => tell(exchange, &Word::Turn(turn.ask())).await?,
            question = exchange.asked() => take_turn(question, &turn, asks)?,
        }
    }
}

/// What the gateway says while changes are written.
fn take_turn(question: Option<Vec<u8>>, turn: &ToldTurn, asks: bool) -> Result<(), Ended> {
    match question.as_deref().map(serde_json::from_slice) {
        Some(Ok(Question::HasTurn(number))) => turn.answered(number),
        Some(Ok(Question::GoOn)) if asks => {}
        Some(Ok(Question::GoOn)) => turn.told(),
        Some(_) => return Err(fault(FaultKind::Refused, "something else was asked while changes were written")),
        None => return Err(Ended::GivenUp),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agent_proto::sealed::OpeningKey;
    use std::time::Duration;

    use super::*;
    use crate::identity::AccountState;
    use crate::password_sync::{Leak, Looked, PasswordTime, PasswordValues, Passwords, SourceAccount, SourceVersion};

    fn account(number: usize) -> SourceAccount {
        let values = vec![Zeroizing::new(b"92937945B518814341DE3F726500D4FF".to_vec())];
        SourceAccount {
            anchor: SourceAnchor::from_stored(number.to_string()),
            version: SourceVersion::default(),
            state: Ok(AccountState::unrestricted()),
            passwords: Passwords::Read(vec![PasswordValues { attribute: "unicodePwd".to_owned(), values }]),
            written: None,
            password_time: PasswordTime::OfState,
            leak: Leak::NotLookedFor,
        }
    }

    /// On a runtime of one thread, which is that of the checks too.
    #[tokio::test]
    async fn nobody_who_signs_in_waits_while_hashes_are_made() {
        let key = OpeningKey::generate().expect("a key");
        let sealing = Arc::new(Sealing {
            key: SealingKey::from_bytes(key.public().bytes()).expect("a key"),
            salts: Salts::new(&[7; 32]),
            leaks: None,
            connector: "corp".parse().expect("a name"),
        });
        let page = SourcePage {
            server: "ldaps://dc1".to_owned(),
            sole_server: true,
            restored: false,
            read_at: Timestamp::from_secs(1),
            looked: Looked::No,
            accounts: (0..450).map(account).collect(),
        };
        let pieces = page.pieces(OBJECTS_PER_WORD);
        assert_eq!(pieces.iter().map(|piece| piece.accounts.len()).collect::<Vec<_>>(), [100, 100, 100, 100, 50]);
        let place = (RequestId::new([1; 16]), AgentId::new([2; 16]));
        let work = async {
            for (number, piece) in (0..).zip(pieces) {
                assert!(sealing.seal(piece, place, number).await.is_ok());
            }
        };
        let mut work = std::pin::pin!(work);
        let mut turns = 0;
        while tokio::time::timeout(Duration::from_millis(1), &mut work).await.is_err() {
            turns += 1;
        }
        assert!(turns >= 10, "others had {turns} turns meanwhile");
    }
}
