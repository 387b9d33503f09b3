//! Live checks for the gateway: from the password that arrives to the signed answer that leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent_proto::answer::{Answer, Asked, Claims, Outcome};
use agent_proto::sealed::{Binding, SealedPassword};
use agent_proto::{Probed, RequestId, ServerProbe, Subject, ToGateway};
use tokio::sync::mpsc;

use super::identity::Identity;
use crate::identity::{
    self as words, Clock, ConnectorName, CredentialSource, PlainPassword, Refusal, SourceAnchor, Timestamp,
    UnavailableCause, Verdict, Wire,
};
use crate::pass_through::AgentCheck;
use crate::signin::{LateVerdict, LiveAnswer, LiveSubject};

/// The directory, and how much of it the gateway's nodes together have in use.
pub struct Checks {
    connector: ConnectorName,
    pub check: AgentCheck,
    pub clock: Arc<dyn Clock>,
    pub capacity: usize,
    busy: AtomicUsize,
    answered: AtomicU64,
}

/// A check that this agent took. Dropping it makes room for another.
pub struct Place(Arc<Checks>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A check that may begin.
pub struct Begun {
    pub request: RequestId,
    pub subject: Subject,
    pub expires_at: i64,
    pub password: SealedPassword,
    pub limit: Duration,
}

impl Checks {
    pub fn new(connector: ConnectorName, check: AgentCheck, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self { connector, check, clock, capacity, busy: AtomicUsize::new(0), answered: AtomicU64::new(0) }
    }

    /// `None`: it has as many as it takes.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        if self.busy.fetch_add(1, Ordering::Relaxed) < self.capacity {
            return Some(Place(Arc::clone(self)));
        }
        self.busy.fetch_sub(1, Ordering::Relaxed);
        None
    }

    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Makes the check and says what came of it; what comes late is said too.
    pub async fn run(&self, identity: &Identity, begun: Begun, place: Place, say: &mpsc::Sender<ToGateway>) {
        let asked =
            Asked { request: begun.request, subject: begun.subject.clone(), password_hash: begun.password.hash() };
        // The connection may be gone: the gateway has counted the check as unavailable then.
        let say = async |claims| drop(say.send(ToGateway::Answer(identity.keys.signing.answer(&asked, claims))).await);
        let binding = Binding {
            request: begun.request,
            agent: identity.agent,
            subject: &begun.subject,
            expires_at: begun.expires_at,
        };
        let opened = identity.keys.opening.open(&begun.password, &binding);
        let password = match opened.map(|text| PlainPassword::new(text.as_str().to_owned())) {
            Ok(Ok(password)) => password,
            Ok(Err(_)) => return say(self.refused(Refusal::WrongPassword)).await,
            Err(error) => {
                tracing::error!(%error, "a password is not sealed to this agent; enrol it anew");
                return say(self.nothing_sent(UnavailableCause::NoAgent)).await;
            }
        };
        let subject = subject(&self.connector, &begun.subject);
        let mut answer = self.check.check(&subject, &password, begun.limit).await;
        drop((password, place));
        let late = answer.late.take();
        let claims = self.claims(answer, late.is_some());
        self.answered.fetch_add(1, Ordering::Relaxed);
        say(claims).await;
        let Some(late) = late else { return };
        // Its end without a verdict needs no word: the gateway listens no longer than the directory does.
        if let Ok(late) = late.await {
            say(self.late(late)).await;
        }
    }

    /// The answer to a check that expired before its password came.
    pub fn expired(&self, identity: &Identity, begun: &Begun) -> Answer {
        let asked =
            Asked { request: begun.request, subject: begun.subject.clone(), password_hash: begun.password.hash() };
        identity.keys.signing.answer(&asked, self.nothing_sent(UnavailableCause::Deadline))
    }

    pub async fn probe(&self, request: RequestId) -> Probed {
        let servers = self.check.probe().await.into_iter().map(|probe| {
            let (took, failure) = match probe.outcome {
                Ok(took) => (u32::try_from(took.as_millis()).unwrap_or(u32::MAX), None),
                Err(failure) => (0, Some(failure)),
            };
            ServerProbe { server: probe.server, took_ms: took, failure }
        });
        Probed { request, servers: servers.collect() }
    }

    fn claims(&self, answer: LiveAnswer, late_follows: bool) -> Claims {
        let outcome = match answer.answer {
            words::Answer::Verdict(verdict) => outcome_of(verdict),
            words::Answer::Unavailable(unavailable) => Outcome::Unavailable {
                cause: unavailable.cause.code().to_owned(),
                sent: unavailable.wire == Wire::MaybeSent,
                late_follows,
            },
        };
        let password_set = answer.password_set.map(Timestamp::millis);
        Claims { outcome, server: answer.server, password_set, at: self.now(), late: false }
    }

    fn late(&self, late: LateVerdict) -> Claims {
        let outcome = outcome_of(late.verdict);
        Claims { outcome, server: Some(late.server), password_set: None, at: self.now(), late: true }
    }

    fn refused(&self, refusal: Refusal) -> Claims {
        let outcome = outcome_of(Verdict::Refused(refusal));
        Claims { outcome, server: None, password_set: None, at: self.now(), late: false }
    }

    fn nothing_sent(&self, cause: UnavailableCause) -> Claims {
        let outcome = Outcome::Unavailable { cause: cause.code().to_owned(), sent: false, late_follows: false };
        Claims { outcome, server: None, password_set: None, at: self.now(), late: false }
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

fn subject(connector: &ConnectorName, subject: &Subject) -> LiveSubject {
    match subject {
        Subject::Anchor(anchor) => LiveSubject::Known(CredentialSource {
            connector: connector.clone(),
            anchor: SourceAnchor::from_stored(anchor.clone()),
        }),
        Subject::Unknown => LiveSubject::Unknown,
    }
}

fn outcome_of(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Verified => Outcome::Verified,
        Verdict::Refused(refusal) => {
            let number = match refusal {
                Refusal::RefusedUnknown(number) => Some(number),
                _ => None,
            };
            Outcome::Refused { code: refusal.code().to_owned(), number }
        }
    }
}
