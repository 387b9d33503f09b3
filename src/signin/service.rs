//! The sign-in service: the one door for every protocol.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authority::{HashCheck, LiveCheck};
use super::browser::Browser;
use super::directory::Directory;
use super::outage::Outages;
use super::outcome::{
    Begun, FederatedIdentity, Session, SignInError, SignInRequest, Step, TransactionHandle, TransactionLost,
};
use super::realm::{self, Managed, Road};
use super::rollout::{Draw, Standing, choose};
use super::settings::{Settings, SignInKey};
use super::spray::SPRAY_TOLD;
use super::store::{Ages, SessionKey, SignInStore, StoreDown};
use super::tally::Tally;
use super::transaction::{State, Transaction};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{
    AuthenticationMethod, Clock, DomainName, PasswordShape, PlainPassword, SessionId, SignInName, TransactionId,
};
use crate::limits::Seldom;

/// Everything that sign-in works with.
pub struct Parts {
    pub directory: Arc<dyn Directory>,
    pub store: Arc<dyn SignInStore>,
    pub live: Arc<dyn LiveCheck>,
    pub hashes: Arc<dyn HashCheck>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub key: SignInKey,
}

/// Cheap to clone. Every method may be called on any node.
#[derive(Clone)]
pub struct SignIn {
    pub(super) room: Arc<Room>,
}

pub(super) struct Room {
    pub directory: Arc<dyn Directory>,
    pub store: Arc<dyn SignInStore>,
    pub live: Arc<dyn LiveCheck>,
    pub hashes: Arc<dyn HashCheck>,
    pub clock: Arc<dyn Clock>,
    pub settings: Arc<Settings>,
    pub key: SignInKey,
    pub outages: Arc<Outages>,
    /// What goes on after an answer: late verdicts, comparisons, probes.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// An alert of a spray is written at most so often, however many tries are turned away.
    pub spray_told: Seldom,
    pub tally: Tally,
}

impl SignIn {
    pub fn new(parts: Parts) -> Self {
        let Parts { directory, store, live, hashes, clock, settings, key } = parts;
        let (tasks, stop, settings) = (TaskTracker::new(), CancellationToken::new(), Arc::new(settings));
        let outages = Outages::new(
            Arc::clone(&live),
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&settings),
            tasks.clone(),
            stop.clone(),
        );
        let spray_told = Seldom::new(SPRAY_TOLD);
        Self {
            room: Arc::new(Room {
                directory,
                store,
                live,
                hashes,
                clock,
                settings,
                key,
                outages,
                tasks,
                stop,
                spray_told,
                tally: Tally::default(),
            }),
        }
    }

    /// Begins a sign-in. A live session answers at once, unless the request forces a new proof or sets a maximum age.
    pub async fn begin(
        &self,
        request: SignInRequest,
        _browser: &Browser,
        session_cookie: Option<&str>,
    ) -> Result<Begun, SignInError> {
        let room = &self.room;
        let now = room.clock.now();
        let handle = TransactionHandle { id: TransactionId::random(), cookie: random_secret() };
        if let Some(cookie) = session_cookie
            && let Some(session) = self.session(cookie).await?
            && request.protocol.proof.admits_session(now.since(session.auth_time).as_secs())
        {
            room.store.used_by(session.sid, request.protocol.client.clone(), now).await?;
            let step = Step::Complete { session, cookie: None, protocol: Box::new(request.protocol) };
            return Ok(Begun { handle, step });
        }
        let state = self.first_state(request.login_hint.clone(), request.domain_hint).await?;
        let mut transaction = Transaction {
            id: handle.id,
            cookie_hash: hash_of(&handle.cookie),
            state,
            protocol: request.protocol,
            replaces: session_cookie.map(hash_of),
            version: 1,
            created_at: now,
            expires_at: now + room.settings.transaction_life,
        };
        if !room.store.open(transaction.clone()).await? {
            // The method was switched since it was read: who has typed a name types it again.
            transaction.state = State::Identifier { hint: request.login_hint, refused: false };
            room.store.open(transaction.clone()).await?;
        }
        Ok(Begun { handle, step: step_of(&transaction)? })
    }

    /// Takes the name typed on the first page.
    pub async fn identify(
        &self,
        handle: &TransactionHandle,
        typed: &str,
        _browser: &Browser,
    ) -> Result<Step, SignInError> {
        match self.try_identify(handle, typed).await {
            // Another page got there first, or the method was switched since it was read. The second try tells which.
            Err(SignInError::Lost(TransactionLost::OtherState)) => self.try_identify(handle, typed).await,
            done => done,
        }
    }

    async fn try_identify(&self, handle: &TransactionHandle, typed: &str) -> Result<Step, SignInError> {
        let transaction = self.load(handle).await?;
        let next = match typed.parse::<SignInName>() {
            Err(_) => transaction.state.clone().misnamed()?,
            Ok(name) => {
                let road = self.road(&name).await?;
                transaction.state.clone().identified(Some(typed.trim().to_owned()), road, request_id())?
            }
        };
        self.advance(transaction, next).await
    }

    /// Takes the password typed on the second page.
    ///
    /// The attempt runs in a task of its own: a browser that hangs up does not get its guess back.
    pub async fn password(
        &self,
        handle: &TransactionHandle,
        password: Result<PlainPassword, PasswordShape>,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let (sign_in, handle, browser) = (self.clone(), handle.clone(), browser.clone());
        let attempt = self.room.tasks.spawn(async move { sign_in.try_password(&handle, password, &browser).await });
        attempt.await.unwrap_or_else(|panicked| Err(SignInError::Unavailable(StoreDown(Box::new(panicked)))))
    }

    /// Takes what a federation partner says. The partner's POST names the transaction by its relay state (the
    /// transaction id) and carries the transaction cookie.
    pub async fn assertion(
        &self,
        handle: &TransactionHandle,
        identity: FederatedIdentity,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let (sign_in, handle, browser) = (self.clone(), handle.clone(), browser.clone());
        let taken = self.room.tasks.spawn(async move { sign_in.take_assertion(&handle, identity, &browser).await });
        taken.await.unwrap_or_else(|panicked| Err(SignInError::Unavailable(StoreDown(Box::new(panicked)))))
    }

    /// Records that a partner's answer was refused before anybody could be told from it; `code` is the exact reason.
    pub async fn refuse_assertion(
        &self,
        handle: Option<&TransactionHandle>,
        code: &str,
        browser: &Browser,
    ) -> Result<(), StoreDown> {
        let event = Event::new(EventKind::SignIn, Outcome::Refused, Actor::Anonymous)
            .because(code)
            .with("method", AuthenticationMethod::Federated.as_str())
            .with("transaction", handle.map(|handle| handle.id.to_string()))
            .with("network", browser.network.map(|network| network.to_string()));
        self.room.store.record(event).await
    }

    /// Goes back from the password to the name ("use another account").
    pub async fn start_over(&self, handle: &TransactionHandle) -> Result<Step, SignInError> {
        let transaction = self.load(handle).await?;
        let next = transaction.state.clone().started_over()?;
        self.advance(transaction, next).await
    }

    /// What to show for a transaction, without changing it.
    pub async fn step(&self, handle: &TransactionHandle) -> Result<Step, SignInError> {
        Ok(step_of(&self.load(handle).await?)?)
    }

    /// The live session of a session cookie.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, StoreDown> {
        self.live_session(SessionKey::CookieHash(hash_of(cookie))).await
    }

    /// The live session of a `sid`, for code redemption, refresh and userinfo.
    pub async fn session_by_sid(&self, sid: SessionId) -> Result<Option<Session>, StoreDown> {
        self.live_session(SessionKey::Sid(sid)).await
    }

    /// Ends a session. Ending one that has ended is done already.
    pub async fn sign_out(&self, sid: SessionId) -> Result<(), StoreDown> {
        let found = self.room.store.session(SessionKey::Sid(sid)).await?;
        let Some(found) = found else { return Ok(()) };
        let event = Event::new(EventKind::SignOut, Outcome::Success, Actor::User(found.session.oid))
            .about(found.session.oid)
            .with("sid", sid.to_string());
        self.room.store.end(sid, "sign-out", event, self.room.clock.now()).await?;
        Ok(())
    }

    /// To be called once after a start: settles the alerts that an earlier run left raised.
    pub async fn resume(&self) -> Result<(), StoreDown> {
        self.room.outages.resume().await
    }

    /// To be called every minute: removes what has expired and gives back tries that nobody will settle.
    pub async fn sweep(&self) -> Result<(), StoreDown> {
        let (now, lockout) = (self.room.clock.now(), &self.room.settings.lockout);
        let ages = Ages {
            now,
            orphaned: now - lockout.reservation_life,
            forgotten: now - lockout.window.max(lockout.longest_lock) - FORGET,
            evidence: now - EVIDENCE,
        };
        self.room.store.sweep(ages).await?;
        self.clear_sprays(now - lockout.spray_window).await
    }

    /// Waits for what goes on after the answers: late verdicts and comparisons. Probes stop at once.
    pub async fn shut_down(&self) {
        self.room.stop.cancel();
        self.room.tasks.close();
        self.room.tasks.wait().await;
    }

    /// The outages as this node sees them.
    pub fn outages(&self) -> &Arc<Outages> {
        &self.room.outages
    }

    async fn first_state(&self, login: Option<String>, domain: Option<String>) -> Result<State, SignInError> {
        let start = State::Identifier { hint: login.clone(), refused: false };
        if let Some(typed) = login
            && let Ok(name) = typed.parse::<SignInName>()
        {
            let road = self.road(&name).await?;
            return Ok(start.identified(Some(typed.trim().to_owned()), road, request_id())?);
        }
        // A domain alone says where to go only if a partner asks for the name.
        let Some(domain) = domain.and_then(|hint| hint.parse::<DomainName>().ok()) else { return Ok(start) };
        match self.room.directory.realm(&domain).await? {
            // Nor does it where people of the domain sign in by several methods.
            Some(realm) if realm.method == AuthenticationMethod::Federated && realm.rollouts.is_empty() => {
                let initial = self.room.directory.initial_realm().await?;
                match realm::discover(Some(&realm), &initial, None) {
                    road @ Road::Partner { .. } => Ok(start.identified(None, road, request_id())?),
                    Road::Password { .. } => Ok(start),
                }
            }
            _ => Ok(start),
        }
    }

    /// Home realm discovery. The same is read for every name, whether somebody has it or not.
    async fn road(&self, name: &SignInName) -> Result<Road, StoreDown> {
        let directory = &self.room.directory;
        let found = directory.realm_of(name).await?;
        let initial = directory.initial_realm().await?;
        let holder = directory.holder(name).await?;
        let domain = holder.as_ref().map_or(&initial.domain, |holder| &holder.domain);
        let own = directory.realm(domain).await?.zip(holder.as_ref()).map(|(realm, holder)| {
            let choice = choose(realm.ground(), Standing::User { oid: holder.oid, groups: &holder.groups });
            realm.under(choice)
        });
        let draw = Draw::of(name, &self.room.key);
        let tells_domain = matches!(name, SignInName::Address { .. });
        let found = found.map(|realm| match &own {
            Some(own) if tells_domain && own.domain == realm.domain => own.clone(),
            // By a name of another domain: there it walks as the domain does.
            Some(_) => realm,
            None => {
                let drawn = realm.clone().under(choose(realm.ground(), Standing::Nobody(draw)));
                // A down-level name leads nobody to a partner.
                if tells_domain || drawn.method != AuthenticationMethod::Federated { drawn } else { realm }
            }
        });
        Ok(realm::discover(found.as_ref(), &initial, own.as_ref()))
    }

    /// A sign-in that began while the partner gave no service, and goes another way by now, is sent on that way: nothing is
    /// checked and nothing is counted. `None`: it goes on as it began.
    pub(super) async fn back_to_partner(&self, transaction: &Transaction) -> Result<Option<Step>, SignInError> {
        let State::Password { name: typed, domain, method: Managed::Federated, .. } = &transaction.state else {
            return Ok(None);
        };
        let Ok(name) = typed.parse::<SignInName>() else { return Ok(None) };
        let road = self.road(&name).await?;
        if matches!(&road, Road::Password { domain: same, method: Managed::Federated, .. } if same == domain) {
            return Ok(None);
        }
        let typed = Some(typed.clone());
        let next = transaction.state.clone().started_over()?.identified(typed, road, request_id())?;
        self.advance(transaction.clone(), next).await.map(Some)
    }

    pub(super) async fn load(&self, handle: &TransactionHandle) -> Result<Transaction, SignInError> {
        let found = self.room.store.load(handle.id).await?.ok_or(TransactionLost::Unknown)?;
        let ours = subtle::ConstantTimeEq::ct_eq(hash_of(&handle.cookie).as_bytes(), found.cookie_hash.as_bytes());
        if !bool::from(ours) {
            return Err(TransactionLost::OtherBrowser.into());
        }
        if found.expires_at <= self.room.clock.now() {
            return Err(TransactionLost::Expired.into());
        }
        Ok(found)
    }

    async fn advance(&self, transaction: Transaction, next: State) -> Result<Step, SignInError> {
        if !self.room.store.advance(transaction.id, transaction.version, next.clone()).await? {
            return Err(TransactionLost::OtherState.into());
        }
        Ok(step_of(&Transaction { state: next, version: transaction.version + 1, ..transaction })?)
    }

    async fn live_session(&self, key: SessionKey) -> Result<Option<Session>, StoreDown> {
        let found = self.room.store.session(key).await?;
        Ok(found.and_then(|session| session.live(self.room.clock.now())))
    }
}

/// Lockout counters that have been quiet for this long beyond window and lock are removed: longer than any directory's
/// window.
const FORGET: std::time::Duration = std::time::Duration::from_secs(8 * 24 * 3600);
/// How far back a report on lockouts can look.
pub const EVIDENCE: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

fn step_of(transaction: &Transaction) -> Result<Step, TransactionLost> {
    match &transaction.state {
        State::Identifier { hint, refused } => Ok(Step::AwaitIdentifier { hint: hint.clone(), refused: *refused }),
        State::Password { name, notice, .. } => Ok(Step::AwaitPassword { name: name.clone(), notice: *notice }),
        State::Assertion { name, partner, request_id, .. } => {
            let force = transaction.protocol.proof.forces_partner();
            Ok(Step::AwaitAssertion {
                partner: partner.clone(),
                request_id: request_id.clone(),
                name: name.clone(),
                force,
            })
        }
        // The outcome was handed out once, with the session's cookie.
        State::Complete { .. } | State::Cut => Err(TransactionLost::OtherState),
    }
}

/// SHA-256 in hexadecimal: what the store holds of a secret of full entropy.
pub(super) fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// 256 random bits, as a cookie carries them.
pub(super) fn random_secret() -> String {
    use base64::Engine as _;
    let bytes: [u8; 32] = random();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// An id for a partner's request: an NCName (XML Schema), 128 random bits.
fn request_id() -> String {
    let bytes: [u8; 16] = random();
    format!("_{}", hex::encode(bytes))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system's random source does not fail once it has started");
    bytes
}
