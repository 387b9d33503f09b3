//! Doubts about agents: of what they verify, a share is compared with the synchronised hash of the very same password
//! change, off the answer path. An agent that says yes to what the hash does not match is reported.

use std::sync::Arc;

use rand::RngExt as _;

use super::link::Link;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Clock, CredentialSource, PlainPassword, Timestamp, causes};
use crate::signin::HashCheck;
use crate::signin::store::{Alert, Alerts};

/// The alert of an agent whose answer the hash contradicts.
pub const AGENT_CONTRADICTED: &str = "agent-contradicted";
/// One in so many verified answers is compared.
pub const ONE_IN: u32 = 100;

pub struct Doubts {
    pub hashes: Arc<dyn HashCheck>,
    pub alerts: Arc<dyn Alerts>,
    pub clock: Arc<dyn Clock>,
    /// One in so many; 1 compares all.
    pub one_in: u32,
}

impl Doubts {
    /// Perhaps compares what `link` verified.
    pub(super) fn weigh(
        self: &Arc<Self>,
        link: &Arc<Link>,
        source: &CredentialSource,
        password_set: Option<Timestamp>,
        password: &PlainPassword,
    ) {
        // Without the time of the change nobody knows which password the hash is of.
        let Some(set) = password_set else { return };
        if !rand::rng().random_ratio(1, self.one_in.max(1)) {
            return;
        }
        let (doubts, link) = (Arc::clone(self), Arc::clone(link));
        let (source, password) = (source.clone(), password.clone());
        tokio::spawn(async move { doubts.compare(&link, &source, set, &password).await });
    }

    async fn compare(&self, link: &Link, source: &CredentialSource, set: Timestamp, password: &PlainPassword) {
        match self.hashes.facts(source).await {
            Ok(Some(facts)) if facts.usable && facts.password_set == Some(set) => {}
            Ok(_) => return,
            Err(error) => {
                return tracing::warn!(error = causes(&error), "an agent's answer could not be compared");
            }
        }
        if self.hashes.matches_spare(source, password).await != Some(false) {
            return;
        }
        metrics::counter!("landbridge_agents_contradicted_total").increment(1);
        tracing::error!(agent.id = %link.agent, host = link.host, %source, "an agent verified a password that the synchronised hash does not match");
        let detail = format!(
            "agent {} on {} verified a password of {source} that its hash does not match",
            link.agent, link.host
        );
        let event = Event::new(EventKind::AlertRaised, Outcome::Success, Actor::System("agents".to_owned()))
            .about(link.agent)
            .because(AGENT_CONTRADICTED)
            .with("source", source.to_string());
        let alert = Alert { name: AGENT_CONTRADICTED, subject: link.agent.to_string(), detail, at: self.clock.now() };
        if let Err(error) = self.alerts.raise(alert, vec![event]).await {
            tracing::error!(error = causes(&error), "the alert about an agent could not be written");
        }
    }
}
