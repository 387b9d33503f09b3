//! One open connection of an agent, as checks see it: what was asked on it and is not answered.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_proto::answer::{Answer, Asked, Claims, Outcome, VerifyingKey};
use agent_proto::parts::{Part, WINDOW};
use agent_proto::sealed::{Binding, SealingKey};
use agent_proto::{DeclineReason, RequestId, ServerProbe, Subject, ToAgent, ToGateway};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::admission::AuthenticatedAgent;
use crate::config::Carried;
use crate::identity::{AgentId, ConnectorName, DomainName, PlainPassword, Timestamp};

/// Messages that wait to be written; an agent that reads nothing fills it, and then counts as full.
pub const OUTGOING: usize = 1024;
/// Checks on one connection that were given up and are still listened for.
const MAX_LATE: usize = 1024;

pub struct Link {
    pub number: u64,
    pub agent: AgentId,
    pub connector: ConnectorName,
    pub domains: Vec<DomainName>,
    pub host: String,
    pub software: String,
    pub certificate_ends: Timestamp,
    pub connected_at: Timestamp,
    /// How many checks it takes at once.
    pub capacity: usize,
    /// Of the protocol, as both speak it.
    pub version: u32,
    /// What it does besides checks.
    pub carries: BTreeSet<Carried>,
    sealing: SealingKey,
    verifying: VerifyingKey,
    outgoing: mpsc::Sender<ToAgent>,
    /// What is said in exchanges: written when nothing else waits to be.
    in_turn: mpsc::Sender<ToAgent>,
    /// As `waiting`: exchanges that are under way, with those who listen.
    listening: Mutex<HashMap<RequestId, mpsc::Sender<Heard>>>,
    /// How many they are.
    pub(super) engaged: AtomicUsize,
    /// Shared by checks and the reader; held for a few assignments, never across an await.
    waiting: Mutex<HashMap<RequestId, Waiting>>,
    busy: AtomicUsize,
    given: AtomicU64,
    draining: AtomicBool,
    silent: AtomicBool,
    heard: AtomicBool,
    closing: CancellationToken,
    /// Nothing that the agent said counts any more.
    shut_out: CancellationToken,
    reason: Mutex<Option<String>>,
    changed: Arc<Notify>,
}

/// What is awaited from the agent.
enum Waiting {
    Offered(oneshot::Sender<Result<(), DeclineReason>>),
    /// Accepted; nothing was sent yet.
    Accepted,
    Going {
        asked: Asked,
        claims: mpsc::Sender<Claims>,
    },
    Probing(oneshot::Sender<Vec<ServerProbe>>),
}

/// What is heard in an exchange.
pub enum Heard {
    Part(Part),
    Declined(DeclineReason),
}

/// An agent that does not keep to the protocol. Its connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    #[error("an answer is not signed by the agent for what it was asked")]
    NotSigned,
    #[error("a second greeting")]
    SecondHello,
    #[error("the agent tells more than it was granted room for")]
    NotGranted,
}

/// What became of an offer.
pub enum Offered {
    Accepted(Accepted),
    Declined(DeclineReason),
    Silent,
    Closed,
}

/// A check that the agent accepted and that nobody else will get.
pub struct Accepted {
    entry: Entry,
    _busy: Busy,
    subject: Subject,
    expires_at: Timestamp,
}

/// A check that has the password. Dropping it forgets the check.
pub struct Going {
    pub claims: mpsc::Receiver<Claims>,
    pub entry: Entry,
    _busy: Busy,
}

/// Nothing was sent.
pub struct NotGone;

/// The place of a check among those that the agent has. Dropping it gives it to others.
struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }
}

/// Something is awaited. Dropping it awaits it no more.
pub struct Entry {
    link: Arc<Link>,
    request: RequestId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let removed = self.link.waiting().remove(&self.request);
        self.link.changed.notify_waiters();
        if matches!(removed, Some(Waiting::Offered(_) | Waiting::Accepted)) {
            // A connection that is full or gone needs no withdrawal: the agent gets no go-ahead either.
            let _ = self.link.outgoing.try_send(ToAgent::Withdraw { request: self.request });
        }
    }
}

/// What the agent said of itself, and what the broker gives the connection.
pub struct Greeting {
    pub host: String,
    pub software: String,
    pub capacity: usize,
    pub version: u32,
    pub carries: BTreeSet<Carried>,
    pub connected_at: Timestamp,
}

/// Where a connection's messages wait to be written.
pub struct Queues {
    pub outgoing: mpsc::Sender<ToAgent>,
    pub in_turn: mpsc::Sender<ToAgent>,
}

impl Link {
    pub fn new(
        number: u64,
        agent: &AuthenticatedAgent,
        greeting: Greeting,
        Queues { outgoing, in_turn }: Queues,
        changed: Arc<Notify>,
    ) -> Self {
        let (connector, domains) = (agent.connector().clone(), agent.domains().to_vec());
        let (agent, certificate) = (agent.agent(), agent.certificate());
        Self {
            number,
            agent: agent.id,
            connector,
            domains,
            host: greeting.host,
            software: greeting.software,
            certificate_ends: certificate.expires_at,
            connected_at: greeting.connected_at,
            capacity: greeting.capacity,
            version: greeting.version,
            carries: greeting.carries,
            sealing: certificate.sealing.clone(),
            verifying: certificate.verifying,
            outgoing,
            in_turn,
            listening: Mutex::default(),
            engaged: AtomicUsize::new(0),
            waiting: Mutex::default(),
            busy: AtomicUsize::new(0),
            given: AtomicU64::new(0),
            draining: AtomicBool::new(agent.draining),
            silent: AtomicBool::new(false),
            heard: AtomicBool::new(true),
            closing: CancellationToken::new(),
            shut_out: CancellationToken::new(),
            reason: Mutex::default(),
            changed,
        }
    }

    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    pub fn last_given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    pub fn given(&self, number: u64) {
        self.given.store(number, Ordering::Relaxed);
    }

    /// It did not acknowledge in time, and has said nothing since.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub fn mark_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn drain(&self, draining: bool) {
        if self.draining.swap(draining, Ordering::Relaxed) != draining {
            self.changed.notify_waiters();
        }
    }

    /// Whether anything was heard since this was asked last.
    pub fn was_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// Whether the agent has checks whose end somebody waits for, late ones among them.
    pub fn awaits(&self) -> bool {
        self.waiting().values().any(|waiting| !matches!(waiting, Waiting::Probing(_)))
    }

    /// Ends the connection; the first reason is told to the agent.
    pub fn close(&self, reason: &str) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
        self.closing.cancel();
    }

    /// Ends the connection of an agent that is revoked, or breaks the protocol: what it said and nobody has heard yet is not
    /// heard any more.
    pub fn shut(&self, reason: &str) {
        self.shut_out.cancel();
        self.close(reason);
    }

    /// Waits until the agent is shut out.
    pub async fn shut_out(&self) {
        self.shut_out.cancelled().await;
    }

    pub fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    pub async fn closed(&self) -> String {
        self.closing.cancelled().await;
        self.end_reason()
    }

    /// Why the connection was ended; empty when the agent or the network ended it.
    pub fn end_reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Forgets everything that is awaited: no answer will come any more.
    pub fn abandon(&self) {
        self.closing.cancel();
        self.waiting().clear();
        self.listening().clear();
    }

    /// From now on what the agent says under `request` is heard here.
    pub fn begin_exchange(&self, request: RequestId) -> mpsc::Receiver<Heard> {
        // One more than is granted: that the exchange was declined.
        let (sender, heard) = mpsc::channel(WINDOW as usize + 1);
        self.engaged.fetch_add(1, Ordering::Relaxed);
        let mut listening = self.listening();
        // A connection that ended meanwhile has been abandoned already.
        if !self.is_closed() {
            listening.insert(request, sender);
        }
        heard
    }

    /// Hears it no more; an agent that may be at work still is told so.
    pub fn end_exchange(self: &Arc<Self>, request: RequestId, tell: bool) {
        self.engaged.fetch_sub(1, Ordering::Relaxed);
        if self.listening().remove(&request).is_none() || !tell {
            return;
        }
        // Behind what was asked: the agent would take the rest of that for something new.
        let abandon = ToAgent::Abandon { request };
        if let Err(mpsc::error::TrySendError::Full(abandon)) = self.in_turn.try_send(abandon) {
            let link = Arc::clone(self);
            tokio::spawn(async move { link.say_in_turn(abandon).await });
        }
    }

    /// Says something when nothing else waits to be said. `false`: the connection has ended.
    pub async fn say_in_turn(&self, message: ToAgent) -> bool {
        tokio::select! {
            () = self.closing.cancelled() => false,
            said = self.in_turn.send(message) => said.is_ok(),
        }
    }

    /// Offers a check, and waits for the acknowledgement.
    pub async fn offer(
        self: &Arc<Self>,
        request: RequestId,
        subject: Subject,
        expires_at: Timestamp,
        patience: Duration,
    ) -> Offered {
        let (accepted, acknowledged) = oneshot::channel();
        self.waiting().insert(request, Waiting::Offered(accepted));
        let entry = Entry { link: Arc::clone(self), request };
        self.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(Arc::clone(self));
        let offer = ToAgent::Offer { request, subject: subject.clone(), expires_at: expires_at.millis() };
        match self.outgoing.try_send(offer) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Offered::Silent,
            Err(mpsc::error::TrySendError::Closed(_)) => return Offered::Closed,
        }
        match tokio::time::timeout(patience, acknowledged).await {
            Ok(Ok(Ok(()))) => Offered::Accepted(Accepted { entry, _busy: busy, subject, expires_at }),
            Ok(Ok(Err(reason))) => Offered::Declined(reason),
            Ok(Err(_)) => Offered::Closed,
            Err(_) => Offered::Silent,
        }
    }

    /// Asks the agent to probe every server of its directory; `None` when no answer came within `patience`.
    pub async fn probe(self: &Arc<Self>, request: RequestId, patience: Duration) -> Option<Vec<ServerProbe>> {
        let (sender, probed) = oneshot::channel();
        self.waiting().insert(request, Waiting::Probing(sender));
        let _entry = Entry { link: Arc::clone(self), request };
        self.outgoing.try_send(ToAgent::Probe { request }).ok()?;
        tokio::time::timeout(patience, probed).await.ok()?.ok()
    }

    /// Takes a message of the agent.
    pub fn hear(&self, message: ToGateway) -> Result<(), Violation> {
        self.heard.store(true, Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
        match message {
            ToGateway::Hello { .. } => return Err(Violation::SecondHello),
            ToGateway::Pong { .. } => {}
            ToGateway::Draining => self.drain(true),
            ToGateway::Accept { request } => self.acknowledged(request, Ok(())),
            ToGateway::Decline { request, reason } => self.acknowledged(request, Err(reason)),
            ToGateway::Answer(answer) => self.answered(&answer)?,
            ToGateway::Tell(part) => self.told(part)?,
            ToGateway::Probed(probed) => {
                let mut waiting = self.waiting();
                match waiting.remove(&probed.request) {
                    // Nobody may wait any more.
                    Some(Waiting::Probing(sender)) => drop(sender.send(probed.servers)),
                    Some(other) => drop(waiting.insert(probed.request, other)),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn acknowledged(&self, request: RequestId, acknowledged: Result<(), DeclineReason>) {
        let mut waiting = self.waiting();
        match waiting.remove(&request) {
            Some(Waiting::Offered(sender)) => {
                if acknowledged.is_ok() {
                    waiting.insert(request, Waiting::Accepted);
                }
                // Whoever asked may have gone; then the entry goes with them.
                let _ = sender.send(acknowledged);
            }
            Some(other) => drop(waiting.insert(request, other)),
            None => {
                drop(waiting);
                if let Err(reason) = acknowledged
                    && let Some(sender) = self.listening().remove(&request)
                {
                    // Nobody may listen any more.
                    let _ = sender.try_send(Heard::Declined(reason));
                }
                // Else too late: the check went elsewhere, or nowhere. Without a go-ahead the agent does nothing.
            }
        }
    }

    fn told(&self, part: Part) -> Result<(), Violation> {
        let listening = self.listening();
        // What nobody listens to any more may be under way still.
        let Some(sender) = listening.get(&part.request) else { return Ok(()) };
        match sender.try_send(Heard::Part(part)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Violation::NotGranted),
        }
    }

    fn listening(&self) -> MutexGuard<'_, HashMap<RequestId, mpsc::Sender<Heard>>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, answer: &Answer) -> Result<(), Violation> {
        if self.is_closed() {
            // Of an agent that was revoked meanwhile nothing counts, not even what it was asked before.
            tracing::warn!(agent.id = %self.agent, "an answer on a connection that has ended is passed over");
            return Ok(());
        }
        let (asked, claims) = match self.waiting().get(&answer.request) {
            Some(Waiting::Going { asked, claims }) => (asked.clone(), claims.clone()),
            _ => {
                tracing::warn!(agent.id = %self.agent, "an answer to a check that is not awaited is passed over");
                return Ok(());
            }
        };
        let said = answer.verify(&self.verifying, &asked).map_err(|_| Violation::NotSigned)?;
        if !matches!(said.outcome, Outcome::Unavailable { late_follows: true, .. }) {
            // An answer counts once.
            self.waiting().remove(&answer.request);
        }
        // Nobody may wait any more; and an agent has no more to say than one early and one late answer.
        let _ = claims.try_send(said.clone());
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<RequestId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accepted {
    pub fn link(&self) -> &Arc<Link> {
        &self.entry.link
    }

    /// Seals the password to the agent and tells it to go. From here on there is no other agent.
    pub fn go(self, password: &PlainPassword, limit: Duration) -> Result<Going, NotGone> {
        let Self { entry, _busy, subject, expires_at } = self;
        let link = &entry.link;
        let agent = agent_proto::AgentId::new(link.agent.uuid().into_bytes());
        let binding = Binding { request: entry.request, agent, subject: &subject, expires_at: expires_at.millis() };
        let sealed = link.sealing.seal(password.expose(), &binding).map_err(|error| {
            tracing::error!(agent.id = %link.agent, %error, "a password cannot be sealed to an agent");
            NotGone
        })?;
        let (sender, claims) = mpsc::channel(2);
        {
            let mut waiting = link.waiting();
            match waiting.get_mut(&entry.request) {
                Some(accepted @ Waiting::Accepted) if !link.is_closed() => {
                    let password_hash = sealed.hash();
                    let asked = Asked { request: entry.request, subject, password_hash };
                    *accepted = Waiting::Going { asked, claims: sender };
                }
                // The connection ended in between.
                _ => return Err(NotGone),
            }
        }
        let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let go = ToAgent::Go { request: entry.request, password: sealed, limit_ms };
        link.outgoing.try_send(go).map_err(|_| NotGone)?;
        Ok(Going { claims, entry, _busy })
    }
}

impl Going {
    /// Gives the place to others while the answer is still listened for. `None`: too many are listened for already.
    pub fn leave(self) -> Option<(mpsc::Receiver<Claims>, Entry)> {
        let Self { claims, entry, _busy } = self;
        let late = entry.link.waiting().len().saturating_sub(entry.link.busy());
        (late <= MAX_LATE).then_some((claims, entry))
    }
}
