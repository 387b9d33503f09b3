//! The live check of one connector.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::old_password::OldPasswordRule;
use super::server::{self, Server};
use super::settings::PassThroughSettings;
use crate::identity::{Answer, Clock, PlainPassword, Refusal, Unavailable, UnavailableCause, Verdict, Wire};
use crate::ldap::LdapError;
use crate::signin::{LiveAnswer, LiveSubject};

/// The servers of one connector. Nothing in here is shared with another connector.
pub struct Connector {
    pub settings: PassThroughSettings,
    pub servers: Vec<Server>,
    pub clock: Arc<dyn Clock>,
    /// `None` where somebody else applies it: the gateway, to what an agent verified.
    pub old_passwords: Option<OldPasswordRule>,
}

/// Longest password that is sent, in bytes: 256 UTF-16 units of three bytes each.
const MAX_PASSWORD_BYTES: usize = 768;

impl Connector {
    pub fn new(settings: PassThroughSettings, clock: Arc<dyn Clock>, old_passwords: Option<OldPasswordRule>) -> Self {
        let servers = settings.servers.iter().map(|url| Server::new(url.clone(), &settings)).collect();
        Self { settings, servers, clock, old_passwords }
    }

    /// Checks a password within `limit`, which the connector's own deadline may shorten.
    pub async fn check(
        self: &Arc<Self>,
        subject: &LiveSubject,
        password: &PlainPassword,
        limit: Duration,
    ) -> LiveAnswer {
        if !may_be_sent(password.expose()) {
            let answer = Answer::Verdict(Verdict::Refused(Refusal::WrongPassword));
            return LiveAnswer { answer, server: None, password_set: None, late: None };
        }
        let end = Instant::now() + self.settings.bind_deadline.min(limit);
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
}

/// `PlainPassword` refuses both already; what leaves this process is checked where it leaves.
fn may_be_sent(password: &str) -> bool {
    !password.trim().is_empty() && password.len() <= MAX_PASSWORD_BYTES && !password.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_sent_is_known_where_it_would_be_sent() {
        assert!(may_be_sent("a"));
        assert!(may_be_sent(&"\u{20ac}".repeat(256)));
        for text in ["", " ", "\u{a0}\t", "a\0b", &"a".repeat(MAX_PASSWORD_BYTES + 1)] {
            assert!(!may_be_sent(text), "{text:?}");
        }
    }
}
