//! The gateway's side: accounts of a directory that agents alone reach, for the password channel.

use std::sync::Arc;

use agent_proto::sealed::{OpeningKey, PageBinding};
use async_trait::async_trait;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::accounts::Page;
use super::directory::{Behind, Failure};
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
    fn keys(&self) -> Result<(OpeningKey, Salting), SourceError> {
        let key = OpeningKey::generate().map_err(|error| SourceError::Directory(Box::new(error)))?;
        let salting = Salting { key: hex::encode(key.public().bytes()), salts: hex::encode(&*self.salts) };
        Ok((key, salting))
    }

    /// Opens page `number` of a read.
    fn open(
        &self,
        key: &OpeningKey,
        exchange: &Exchange,
        number: u64,
        sealed: &str,
    ) -> Result<SourcePage, SourceError> {
        let agent = agent_proto::AgentId::new(exchange.agent().uuid().into_bytes());
        let binding =
            PageBinding { request: exchange.request(), agent, connector: self.behind.name().as_str(), number };
        let not_understood = |what: &str| unread(self.behind.not_understood(exchange, what));
        let sealed = hex::decode(sealed).map_err(|_| not_understood("a sealed page is no text of digits"))?;
        let opened = key.open_page(&sealed, &binding).map_err(|error| not_understood(&error.to_string()))?;
        Page::read(&opened).map_err(|error| not_understood(&error.to_string()))
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
        let mut number = 0;
        loop {
            match word {
                Word::Begun => {}
                Word::Accounts(sealed) => {
                    let page = self.open(&key, &exchange, number, &sealed)?;
                    number += 1;
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
                let page = self.open(&key, &exchange, 0, &sealed)?;
                exchange.close();
                Ok(page)
            }
            (exchange, _) => Err(unread(self.behind.unexpected(&exchange))),
        }
    }
}
