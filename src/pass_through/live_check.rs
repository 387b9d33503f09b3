//! The live check of all connectors, as sign-in sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::connector::Connector;
use super::settings::PassThroughSettings;
use crate::identity::{Answer, Clock, ConnectorName, DomainName, PlainPassword, Unavailable, UnavailableCause, Wire};
use crate::signin::{HashCheck, LiveAnswer, LiveCheck, LiveSubject, ServerProbe};

/// Pass-through authentication by direct LDAP binds.
pub struct PassThrough {
    connectors: HashMap<ConnectorName, Arc<Connector>>,
}

/// The deadline told for a connector that is not configured; nothing is ever sent for it.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);

impl PassThrough {
    /// `hashes` rules out previous passwords on Active Directory; without it a bind soon after a change is refused.
    pub fn new(
        connectors: impl IntoIterator<Item = PassThroughSettings>,
        hashes: Option<Arc<dyn HashCheck>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let connectors = connectors
            .into_iter()
            .map(|settings| {
                let rule = settings.old_password_rule(hashes.clone(), Arc::clone(&clock));
                let name = settings.connector.clone();
                (name, Arc::new(Connector::new(settings, Arc::clone(&clock), Some(rule))))
            })
            .collect();
        Self { connectors }
    }
}

/// The live check of one connector in an agent: the gateway rules out old passwords itself, because it has the hashes.
#[derive(Clone)]
pub struct AgentCheck(Arc<Connector>);

impl AgentCheck {
    pub fn new(settings: PassThroughSettings, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Connector::new(settings, clock, None)))
    }

    /// Checks a password within `limit`, which the connector's own deadline may shorten.
    pub async fn check(&self, subject: &LiveSubject, password: &PlainPassword, limit: Duration) -> LiveAnswer {
        self.0.check(subject, password, limit).await
    }

    pub async fn probe(&self) -> Vec<ServerProbe> {
        self.0.probe().await
    }
}

#[async_trait]
impl LiveCheck for PassThrough {
    async fn check(
        &self,
        connector: &ConnectorName,
        _: &DomainName,
        subject: &LiveSubject,
        password: &PlainPassword,
    ) -> LiveAnswer {
        match self.connectors.get(connector) {
            Some(connector) => connector.check(subject, password, connector.settings.bind_deadline).await,
            None => {
                tracing::error!(connector = %connector, "a sign-in names a connector that is not configured");
                let unavailable =
                    Unavailable { cause: UnavailableCause::NoAgent, wire: Wire::NothingSent, server: None };
                LiveAnswer { answer: Answer::Unavailable(unavailable), server: None, password_set: None, late: None }
            }
        }
    }

    async fn probe(&self, connector: &ConnectorName) -> Vec<ServerProbe> {
        match self.connectors.get(connector) {
            Some(connector) => connector.probe().await,
            None => Vec::new(),
        }
    }

    fn deadline(&self, connector: &ConnectorName) -> Duration {
        self.connectors.get(connector).map_or(DEFAULT_DEADLINE, |connector| connector.settings.bind_deadline)
    }
}
