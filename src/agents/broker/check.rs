//! The live check through agents, as sign-in sees it.

use std::sync::Arc;
use std::time::Duration;

use agent_proto::answer::{Claims, Outcome};
use agent_proto::{DeclineReason, RequestId, Subject};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::link::{Accepted, Entry, Going, Link, Offered};
use super::room::{Broker, Choice, Reach, Room};
use crate::identity::{
    Answer, ConnectorName, CredentialSource, DomainName, PlainPassword, Refusal, Timestamp, Unavailable,
    UnavailableCause, Verdict, Wire,
};
use crate::pass_through::{OldPasswordRule, Verified};
use crate::signin::{LateVerdict, LiveAnswer, LiveCheck, LiveSubject, ServerProbe};

/// Agents that may be silent on one check before it is given up: the first, and one retry.
const MAX_SILENT: u32 = 2;
/// The way there and back, which the directory does not get of the deadline.
const TRANSIT: Duration = Duration::from_millis(50);
/// How long a check that was given up is still listened for.
const LATE_LIMIT: Duration = Duration::from_secs(30);
/// Beyond the probe's own deadline, for the way.
const PROBE_TRANSIT: Duration = Duration::from_millis(500);

/// Live checks by agents for the connectors that say so, direct ones for all others.
pub struct LiveRoutes {
    pub direct: Arc<dyn LiveCheck>,
    pub agents: Broker,
}

impl LiveRoutes {
    fn of(&self, connector: &ConnectorName) -> &dyn LiveCheck {
        if self.agents.0.connectors.contains_key(connector) { &self.agents } else { &*self.direct }
    }
}

#[async_trait]
impl LiveCheck for LiveRoutes {
    async fn check(
        &self,
        connector: &ConnectorName,
        domain: &DomainName,
        subject: &LiveSubject,
        password: &PlainPassword,
    ) -> LiveAnswer {
        self.of(connector).check(connector, domain, subject, password).await
    }

    async fn probe(&self, connector: &ConnectorName) -> Vec<ServerProbe> {
        self.of(connector).probe(connector).await
    }

    fn deadline(&self, connector: &ConnectorName) -> Duration {
        self.of(connector).deadline(connector)
    }
}

#[async_trait]
impl LiveCheck for Broker {
    async fn check(
        &self,
        connector: &ConnectorName,
        domain: &DomainName,
        subject: &LiveSubject,
        password: &PlainPassword,
    ) -> LiveAnswer {
        let Some(reach) = self.0.connectors.get(connector) else { return nobody() };
        let check = Check {
            room: &self.0,
            reach,
            connector,
            domain,
            subject,
            password,
            end: Instant::now() + reach.bind_deadline,
            expires_at: self.0.clock.now() + reach.bind_deadline,
        };
        let answer = check.run().await;
        let outcome = match &answer.answer {
            Answer::Verdict(Verdict::Verified) => "verified",
            Answer::Verdict(Verdict::Refused(refusal)) => refusal.code(),
            Answer::Unavailable(unavailable) => unavailable.cause.code(),
        };
        metrics::counter!("landbridge_agent_checks_total", "connector" => connector.to_string(), "outcome" => outcome)
            .increment(1);
        answer
    }

    /// Every agent asks every server: the directory is out of reach when none of them gets an answer.
    async fn probe(&self, connector: &ConnectorName) -> Vec<ServerProbe> {
        let Some(reach) = self.0.connectors.get(connector) else { return Vec::new() };
        let usable = || -> Vec<_> {
            let links = self.0.links();
            let usable = |link: &&Arc<Link>| link.connector == *connector && !link.is_draining() && !link.is_closed();
            links.iter().filter(usable).cloned().collect()
        };
        let mut links = usable();
        let end = Instant::now() + reach.probe_deadline;
        while links.is_empty() {
            let changed = self.0.changed.notified();
            let Some(due) = self.0.first_due(connector) else { break };
            links = usable();
            if links.is_empty() && tokio::time::timeout_at(end.min(due), changed).await.is_err() {
                break;
            }
        }
        if links.is_empty() {
            let outcome = Err("no agent is connected to this node".to_owned());
            return vec![ServerProbe { server: format!("agents of {connector}"), outcome }];
        }
        let patience = reach.probe_deadline + PROBE_TRANSIT;
        let probes = links.iter().map(|link| probe_by(link, patience));
        futures::future::join_all(probes).await.into_iter().flatten().collect()
    }

    fn deadline(&self, connector: &ConnectorName) -> Duration {
        self.0.connectors.get(connector).map_or(Duration::ZERO, |reach| reach.bind_deadline)
    }
}

/// What one agent finds of the servers that it reaches.
pub(super) async fn probe_by(link: &Arc<Link>, patience: Duration) -> Vec<ServerProbe> {
    let by = |server: &str| format!("{server} by agent {}", link.host);
    match link.probe(new_request(), patience).await {
        Some(servers) => servers
            .into_iter()
            .map(|probe| ServerProbe {
                server: by(&probe.server),
                outcome: match probe.failure {
                    None => Ok(Duration::from_millis(probe.took_ms.into())),
                    Some(failure) => Err(failure),
                },
            })
            .collect(),
        None => vec![ServerProbe { server: by("any server"), outcome: Err("the agent did not answer".to_owned()) }],
    }
}

fn new_request() -> RequestId {
    RequestId::new(uuid::Uuid::new_v4().into_bytes())
}

fn unavailable(cause: UnavailableCause, wire: Wire, server: Option<String>) -> LiveAnswer {
    let unavailable = Unavailable { cause, wire, server: server.clone() };
    LiveAnswer { answer: Answer::Unavailable(unavailable), server, password_set: None, late: None }
}

fn nobody() -> LiveAnswer {
    unavailable(UnavailableCause::NoAgent, Wire::NothingSent, None)
}

struct Check<'a> {
    room: &'a Room,
    reach: &'a Reach,
    connector: &'a ConnectorName,
    domain: &'a DomainName,
    subject: &'a LiveSubject,
    password: &'a PlainPassword,
    end: Instant,
    expires_at: Timestamp,
}

impl Check<'_> {
    async fn run(&self) -> LiveAnswer {
        match self.find_agent().await {
            Ok(accepted) => self.go(accepted).await,
            Err(cause) => unavailable(cause, Wire::NothingSent, None),
        }
    }

    /// An agent that accepted. Until then nothing was sent to any.
    async fn find_agent(&self) -> Result<Accepted, UnavailableCause> {
        let subject = match self.subject {
            LiveSubject::Known(source) => Subject::Anchor(source.anchor.as_str().to_owned()),
            LiveSubject::Unknown => Subject::Unknown,
        };
        let (mut tried, mut silent, mut full) = (Vec::new(), 0, false);
        loop {
            // Before the look at the agents, so that no change is missed.
            let changed = self.room.changed.notified();
            let first_due = self.room.first_due(self.connector);
            let link = match (self.room.choose(self.connector, self.domain, &tried), first_due) {
                (Choice::Take(link), _) => link,
                (Choice::AllFull, _) => {
                    let waited = tokio::time::timeout_at(self.end, changed).await;
                    waited.map_err(|_| UnavailableCause::Overloaded)?;
                    continue;
                }
                (Choice::Nobody, Some(due)) if tried.is_empty() => {
                    let waited = tokio::time::timeout_at(self.end.min(due), changed).await;
                    waited.map_err(|_| UnavailableCause::NoAgent)?;
                    continue;
                }
                (Choice::Nobody, _) if full => return Err(UnavailableCause::Overloaded),
                (Choice::Nobody, _) if silent > 0 => return Err(UnavailableCause::Deadline),
                (Choice::Nobody, _) => return Err(UnavailableCause::NoAgent),
            };
            tried.push(link.number);
            let patience = self.room.acknowledgement.min(self.end.saturating_duration_since(Instant::now()));
            match link.offer(new_request(), subject.clone(), self.expires_at, patience).await {
                Offered::Accepted(accepted) => return Ok(accepted),
                Offered::Declined(reason) => full |= reason == DeclineReason::Full,
                Offered::Closed => {}
                Offered::Silent => {
                    link.mark_silent();
                    silent += 1;
                    metrics::counter!("landbridge_agent_silences_total", "connector" => self.connector.to_string())
                        .increment(1);
                    if silent == MAX_SILENT {
                        return Err(UnavailableCause::Deadline);
                    }
                }
            }
        }
    }

    async fn go(&self, accepted: Accepted) -> LiveAnswer {
        let link = Arc::clone(accepted.link());
        let named = |server: Option<&str>| match server {
            Some(server) => format!("{server} by agent {}", link.host),
            None => format!("agent {}", link.host),
        };
        let limit = self.end.saturating_duration_since(Instant::now()).saturating_sub(TRANSIT);
        let Ok(mut going) = accepted.go(self.password, limit) else {
            return unavailable(UnavailableCause::NoAgent, Wire::NothingSent, Some(named(None)));
        };
        let first = tokio::time::timeout_at(self.end, going.claims.recv()).await;
        let claims = match first {
            Ok(Some(claims)) => claims,
            // The connection ended after the password left for the agent.
            Ok(None) => return unavailable(UnavailableCause::ConnectionLost, Wire::MaybeSent, Some(named(None))),
            Err(_) => {
                let late = self.listen(going, named(None));
                let silent = unavailable(UnavailableCause::Deadline, Wire::MaybeSent, Some(named(None)));
                return LiveAnswer { late, ..silent };
            }
        };
        let server = named(claims.server.as_deref());
        let password_set = claims.password_set.map(Timestamp::from_millis);
        let answer = match verdict_of(&claims.outcome) {
            Ok(Verdict::Verified) => {
                if let LiveSubject::Known(source) = self.subject {
                    self.room.doubts.weigh(&link, source, password_set, self.password);
                }
                match self.rule_out_old_password(password_set).await {
                    Ok(verdict) => Answer::Verdict(verdict),
                    Err(cause) => {
                        Answer::Unavailable(Unavailable { cause, wire: Wire::MaybeSent, server: Some(server.clone()) })
                    }
                }
            }
            Ok(refused @ Verdict::Refused(_)) => Answer::Verdict(refused),
            Err((cause, wire)) => Answer::Unavailable(Unavailable { cause, wire, server: Some(server.clone()) }),
        };
        let follows = matches!(claims.outcome, Outcome::Unavailable { late_follows: true, .. });
        let late = if follows { self.listen(going, server.clone()) } else { None };
        LiveAnswer { answer, server: Some(server), password_set, late }
    }

    async fn rule_out_old_password(&self, password_set: Option<Timestamp>) -> Result<Verdict, UnavailableCause> {
        match self.subject {
            LiveSubject::Known(source) => {
                let verified = Verified { source, password_set, account: None };
                self.reach.old_passwords.judge(&verified, self.password).await
            }
            // A name that nobody has: an agent that verifies it anyway lies.
            LiveSubject::Unknown => Ok(Verdict::Refused(Refusal::UnknownUser)),
        }
    }

    /// Goes on listening for the verdict of a bind that was given up.
    fn listen(&self, going: Going, server: String) -> Option<oneshot::Receiver<LateVerdict>> {
        let (claims, entry) = going.leave()?;
        let (sender, late) = oneshot::channel();
        let source = match self.subject {
            LiveSubject::Known(source) => Some(source.clone()),
            LiveSubject::Unknown => None,
        };
        let (rule, password) = (Arc::clone(&self.reach.old_passwords), self.password.clone());
        tokio::spawn(async move {
            if let Some(verdict) = late_verdict(claims, entry, source, &rule, &password).await {
                // Whoever wants the late verdict holds the other end, or nobody does.
                let _ = sender.send(LateVerdict { verdict, server });
            }
        });
        Some(late)
    }
}

async fn late_verdict(
    mut claims: mpsc::Receiver<Claims>,
    _entry: Entry,
    source: Option<CredentialSource>,
    rule: &OldPasswordRule,
    password: &PlainPassword,
) -> Option<Verdict> {
    let end = Instant::now() + LATE_LIMIT;
    loop {
        let claims = tokio::time::timeout_at(end, claims.recv()).await.ok()??;
        let password_set = claims.password_set.map(Timestamp::from_millis);
        match (verdict_of(&claims.outcome), &source) {
            (Ok(Verdict::Verified), Some(source)) => {
                return rule.judge(&Verified { source, password_set, account: None }, password).await.ok();
            }
            (Ok(Verdict::Verified), None) => return Some(Verdict::Refused(Refusal::UnknownUser)),
            (Ok(refused @ Verdict::Refused(_)), _) => return Some(refused),
            // It may still say more.
            (Err(_), _) => {}
        }
    }
}

/// What an agent says, in the closed list of this release: a word that is not known is a refusal (design D4).
fn verdict_of(outcome: &Outcome) -> Result<Verdict, (UnavailableCause, Wire)> {
    match outcome {
        Outcome::Verified => Ok(Verdict::Verified),
        Outcome::Refused { code, number } => Ok(Verdict::Refused(match Refusal::from_code(code) {
            Refusal::RefusedUnknown(_) => Refusal::RefusedUnknown(number.unwrap_or(0)),
            known => known,
        })),
        Outcome::Unavailable { cause, sent, late_follows: _ } => {
            let known = UnavailableCause::ALL.into_iter().find(|known| known.code() == cause);
            match known {
                Some(cause) => Err((cause, if *sent { Wire::MaybeSent } else { Wire::NothingSent })),
                None => Ok(Verdict::Refused(Refusal::RefusedUnknown(0))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_this_release_does_not_know_refuses() {
        let refused = |code: &str, number| Outcome::Refused { code: code.to_owned(), number };
        let unavailable =
            |cause: &str, sent| Outcome::Unavailable { cause: cause.to_owned(), sent, late_follows: false };
        let rows = [
            (Outcome::Verified, Ok(Verdict::Verified)),
            (refused("wrong-password", None), Ok(Verdict::Refused(Refusal::WrongPassword))),
            (refused("refused-unknown", Some(80)), Ok(Verdict::Refused(Refusal::RefusedUnknown(80)))),
            (refused("of-next-year", None), Ok(Verdict::Refused(Refusal::RefusedUnknown(0)))),
            (unavailable("connect", false), Err((UnavailableCause::Connect, Wire::NothingSent))),
            (unavailable("connection-lost", true), Err((UnavailableCause::ConnectionLost, Wire::MaybeSent))),
            (unavailable("of-next-year", false), Ok(Verdict::Refused(Refusal::RefusedUnknown(0)))),
        ];
        for (outcome, expected) in rows {
            assert_eq!(verdict_of(&outcome), expected, "{outcome:?}");
        }
    }
}
