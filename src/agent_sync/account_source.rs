//! The gateway's side: accounts of a directory that agents alone reach, for the password channel.

use std::sync::Arc;

use agent_proto::sealed::{OpeningKey, PageBinding};
use async_trait::async_trait;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::accounts::{Belief, Page};
use super::directory::{Behind, Failure};
use super::progress::Progress;
use super::words::{Question, Salting, Word};
use crate::agents::broker::{Broker, Exchange};
use crate::config::AgentsOnlySettings;
use crate::connectors::ldap::configured::UnfitSettings;
use crate::identity::SourceAnchor;
use crate::password_sync::{AccountSource, SourceError, SourcePage, SourcePosition};
use crate::sync::connector::ConnectorError;

/// The accounts of a directory behind agents.
pub struct AgentAccounts {
    behind: Arc<Behind>,
    /// From which the salts of wrapped hashes are made.
    salts: Zeroizing<Vec<u8>>,
}

fn unread(error: ConnectorError) -> SourceError {
    SourceError::Directory(Box::new(error))
}

impl AgentAccounts {
    pub fn new(
        settings: &AgentsOnlySettings,
        agents: Broker,
        salts: Zeroizing<Vec<u8>>,
    ) -> Result<Self, UnfitSettings> {
        Ok(Self { behind: Arc::new(Behind::new(settings, agents)?), salts })
    }

    /// A key for one read, and what an agent is told of it.
    fn keys(&self) -> Result<(Arc<OpeningKey>, Salting), SourceError> {
        let key = OpeningKey::generate().map_err(|error| SourceError::Directory(Box::new(error)))?;
        let salting = Salting { key: hex::encode(key.public().bytes()), salts: hex::encode(&*self.salts) };
        Ok((Arc::new(key), salting))
    }

    /// Opens page `number` of a read, where nobody who signs in waits.
    async fn open(
        &self,
        key: &Arc<OpeningKey>,
        exchange: &Exchange,
        number: u64,
        sealed: String,
        is_alone: bool,
    ) -> Result<SourcePage, SourceError> {
        let agent = agent_proto::AgentId::new(exchange.agent().uuid().into_bytes());
        let (key, request, connector) = (Arc::clone(key), exchange.request(), self.behind.name().clone());
        let belief = Belief { now: self.behind.now(), is_alone };
        let opening = tokio::task::spawn_blocking(move || {
            let binding = PageBinding { request, agent, connector: connector.as_str(), number };
            let sealed = hex::decode(sealed).map_err(|_| "a sealed page is no text of digits".to_owned())?;
            let opened = key.open_page(&sealed, &binding).map_err(|error| error.to_string())?;
            Page::read(&opened, belief).map_err(|error| error.to_string())
        });
        let opened = opening.await.unwrap_or_else(|error| Err(error.to_string()));
        opened.map_err(|what| unread(self.behind.not_understood(exchange, &what)))
    }
}

#[async_trait]
impl AccountSource for AgentAccounts {
    async fn read_all(
        &self,
        since: Option<&SourcePosition>,
        pages: mpsc::Sender<SourcePage>,
    ) -> Result<Option<SourcePosition>, SourceError> {
        let (key, salting) = self.keys()?;
        let since = since.map(|since| since.as_str().to_owned());
        let question = Question::Accounts { scope: self.behind.scope(), since, salting };
        let (mut exchange, mut word) = self.behind.ask(&question, &mut Vec::new()).await.map_err(unread)?;
        let is_alone = self.behind.has_one_agent().await;
        let (mut number, mut progress) = (0, Progress::default());
        loop {
            let endless = |error| unread(self.behind.endless(exchange.host(), error));
            match word {
                Word::Begun => progress.nothing().map_err(endless)?,
                Word::Accounts(sealed) => {
                    let page = self.open(&key, &exchange, number, sealed, is_alone).await?;
                    number += 1;
                    if page.accounts.is_empty() {
                        progress.nothing().map_err(endless)?;
                    } else {
                        progress.told();
                    }
                    pages.send(page).await.map_err(|_| SourceError::GivenUp)?;
                }
                Word::Reached(position) => {
                    exchange.close();
                    return Ok(position.map(SourcePosition::new));
                }
                _ => return Err(unread(self.behind.unexpected(&exchange))),
            }
            word = self.behind.word(&mut exchange).await.map_err(|error: Failure| unread(error.into_error()))?;
        }
    }

    async fn read(&self, anchors: &[SourceAnchor]) -> Result<SourcePage, SourceError> {
        let (key, salting) = self.keys()?;
        let anchors = anchors.iter().map(|anchor| anchor.as_str().to_owned()).collect();
        let question = Question::AccountsOf { scope: self.behind.scope(), anchors, salting };
        match self.behind.ask(&question, &mut Vec::new()).await.map_err(unread)? {
            (exchange, Word::Accounts(sealed)) => {
                let is_alone = self.behind.has_one_agent().await;
                let page = self.open(&key, &exchange, 0, sealed, is_alone).await?;
                exchange.close();
                Ok(page)
            }
            (exchange, _) => Err(unread(self.behind.unexpected(&exchange))),
        }
    }
}
