//! The live check of one connector.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::server::{self, Server};
use super::settings::PassThroughSettings;
use super::state::LiveState;
use crate::config::Dialect;
use crate::identity::{
    Answer, Clock, CredentialSource, PlainPassword, Refusal, Unavailable, UnavailableCause, Verdict, Wire,
};
use crate::ldap::LdapError;
use crate::signin::{Admission, HashCheck, LiveAnswer, LiveSubject};

/// The servers of one connector. Nothing in here is shared with another connector.
pub struct Connector {
    pub settings: PassThroughSettings,
    pub servers: Vec<Server>,
    pub clock: Arc<dyn Clock>,
    hashes: Option<Arc<dyn HashCheck>>,
}

/// Longest password that is sent, in bytes: 256 UTF-16 units of three bytes each.
const MAX_PASSWORD_BYTES: usize = 768;

impl Connector {
    pub fn new(settings: PassThroughSettings, clock: Arc<dyn Clock>, hashes: Option<Arc<dyn HashCheck>>) -> Self {
        let servers = settings.servers.iter().map(|url| Server::new(url.clone(), &settings)).collect();
        Self { settings, servers, clock, hashes }
    }

    pub async fn check(self: &Arc<Self>, subject: &LiveSubject, password: &PlainPassword) -> LiveAnswer {
        if !may_be_sent(password.expose()) {
            let answer = Answer::Verdict(Verdict::Refused(Refusal::WrongPassword));
            return LiveAnswer { answer, server: None, password_set: None, late: None };
        }
        let end = Instant::now() + self.settings.bind_deadline;
        let mut failure = None;
        for server in server::in_order(&self.servers, self.clock.now()) {
            if Instant::now() >= end {
                break;
            }
            match self.ask(server, subject, password, end).await {
                Ok(answer) => return answer,
                Err(error) => {
                    // A pool that is full tells about our load, not about the server.
                    let ours = matches!(error, LdapError::NoFreeConnection { .. });
                    if ours || server.failed(self.clock.now()) {
                        let (connector, cause) = (&self.settings.connector, error.cause().code());
                        tracing::warn!(%connector, server = %server.url, cause, %error, "a directory server could not be asked");
                    }
                    failure = Some((error.cause(), server.url.to_string()));
                }
            }
        }
        let (cause, server) = match failure {
            Some((cause, server)) => (cause, Some(server)),
            None => (UnavailableCause::Deadline, None),
        };
        let unavailable = Unavailable { cause, wire: Wire::NothingSent, server: server.clone() };
        LiveAnswer { answer: Answer::Unavailable(unavailable), server, password_set: None, late: None }
    }

    /// The time for the next step before the bind: that of a connection, and never beyond the whole.
    pub fn step(&self, end: Instant) -> Duration {
        end.saturating_duration_since(Instant::now()).min(self.settings.connect_deadline)
    }

    /// Active Directory takes the previous password on simple binds for a while after a change. Within that window a
    /// bind counts only if the password also matches the stored hash of the very change that the directory shows.
    pub async fn rule_out_old_password(
        &self,
        source: &CredentialSource,
        state: &LiveState,
        password: &PlainPassword,
    ) -> Verdict {
        let window = self.settings.old_password_window;
        let now = self.clock.now();
        // Not to know when the password was set is to be within the window.
        let within = state.password_set.is_none_or(|set| now.since(set) < window);
        if self.settings.dialect != Dialect::ActiveDirectory || window.is_zero() || !within {
            return Verdict::Verified;
        }
        if self.is_present_password(source, state, password).await {
            Verdict::Verified
        } else {
            Verdict::Refused(Refusal::OldPasswordWindow)
        }
    }

    async fn is_present_password(
        &self,
        source: &CredentialSource,
        state: &LiveState,
        password: &PlainPassword,
    ) -> bool {
        let (Some(hashes), Some(set)) = (&self.hashes, state.password_set) else { return false };
        match hashes.facts(source).await {
            Ok(Some(facts)) if facts.usable && facts.password_set == Some(set) => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(connector = %self.settings.connector, error = %error, "the stored hash could not be asked");
                return false;
            }
        }
        let admission = Admission { familiar: false, network: None, patience: self.settings.bind_deadline };
        hashes.check(Some(source), password, admission).await.answer == Answer::Verdict(Verdict::Verified)
    }
}

/// `PlainPassword` refuses both already; what leaves this process is checked where it leaves.
fn may_be_sent(password: &str) -> bool {
    !password.trim().is_empty() && password.len() <= MAX_PASSWORD_BYTES && !password.contains('\0')
}

#[cfg(test)]
mod tests;
