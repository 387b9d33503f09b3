//! One try at one password, from the reserved place to the session.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::after::Followed;
use super::authority::{Admission, CredentialFacts, LateVerdict, LiveSubject};
use super::browser::Browser;
use super::candidate::Candidate;
use super::directory::UserForSignIn;
use super::failover::{
    Account, Asked, By, Cause, Decision, HashStanding, ProbeOutcome, Situation, StoredState, concerns_account, decide,
};
use super::failover_groups::{restricting, strictest};
use super::floor;
use super::lockout::{Limits, Settlement, SprayLimits, Try, fingerprint, settle};
use super::outage::RunningProbe;
use super::outcome::{Notice, Session, SignInError, Step, TransactionHandle, TransactionLost};
use super::realm::Managed;
use super::service::{SignIn, hash_of, random_secret};
use super::session::NewSession;
use super::store::{Concluded, Conclusion, Learned, Reservation, StoreDown};
use super::tally::Ended;
use super::transaction::{State, Transaction};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{
    Answer, AttemptId, Network, PasswordShape, PlainPassword, Refusal, SessionId, Timestamp, Unavailable,
    UnavailableCause, Verdict, Wire,
};

/// What one attempt has found out so far.
struct Run<'a> {
    sign_in: &'a SignIn,
    candidate: &'a Candidate,
    password: &'a PlainPassword,
    admission: Admission,
    situation: Situation,
    wire: Wire,
    /// The server that decided, or was asked last.
    server: Option<String>,
    /// When the directory says the present password was set.
    password_set: Option<Timestamp>,
    credential_version: Option<i64>,
    /// Some chain was derived, so that the attempt took its time.
    derived: bool,
    late: LateChannel,
    probe: Option<RunningProbe>,
}

/// A bind that was given up and is still read to its end.
enum LateChannel {
    None,
    Open(oneshot::Receiver<LateVerdict>),
    /// It ended without a verdict.
    Closed,
}

impl SignIn {
    pub(super) async fn try_password(
        &self,
        handle: &TransactionHandle,
        password: Result<PlainPassword, PasswordShape>,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let asked = Instant::now();
        let step = self.judge_password(handle, password, browser).await?;
        match step {
            Step::Complete { .. } => {}
            Step::AwaitIdentifier { .. } | Step::AwaitPassword { .. } | Step::AwaitAssertion { .. } => {
                floor::hold(asked, self.room.settings.refusal_quantum).await;
            }
        }
        Ok(step)
    }

    async fn judge_password(
        &self,
        handle: &TransactionHandle,
        password: Result<PlainPassword, PasswordShape>,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let transaction = self.load(handle).await?;
        if let Some(step) = self.back_to_partner(&transaction).await? {
            return Ok(step);
        }
        let candidate = self.candidate(&transaction.state).await?.ok_or(TransactionLost::OtherState)?;
        let attempt = AttemptId::random();
        let event = candidate.event(attempt, browser, &transaction);
        let password = match password {
            Ok(password) => password,
            // No packet leaves, nothing is counted: there was no password to check (design section 3).
            Err(shape) => {
                let event = event(Outcome::Refused).because(shape_code(shape));
                return self.refuse(attempt, transaction, Notice::Refused, event, None, Learned::Nothing).await;
            }
        };
        let room = &self.room;
        let directory = candidate.user.as_ref().and_then(UserForSignIn::directory_lockout);
        let limits = Limits::new(&room.settings.lockout, directory, candidate.method);
        let device = candidate.user.as_ref().map(|user| user.oid).zip(browser.device.clone());
        let reserve = Try {
            attempt,
            subject: candidate.subject.clone(),
            device: device.clone(),
            network: browser.network.map(Network::of),
            limits: limits.clone(),
            spray: SprayLimits::new(&room.settings.lockout),
            at: room.clock.now(),
        };
        let familiar = match room.store.reserve(reserve).await? {
            Reservation::Granted { familiar } => familiar,
            Reservation::Slowed { network, wait } => {
                self.tell_of_spray(network).await;
                return Err(SignInError::Slowed { wait });
            }
            Reservation::Full => {
                let event = event(Outcome::Refused).because("lockout");
                return self.refuse(attempt, transaction, Notice::Refused, event, None, Learned::Nothing).await;
            }
        };
        let admission = Admission { familiar, network: browser.network, patience: room.settings.permit_patience };
        let mut run = Run::new(self, &candidate, &password, admission);
        let decision = run.decide().await?;
        let decision = self.demand_change(decision, &candidate, run.password_set).await?;
        let settlement =
            settle(&run.situation, &decision, run.wire, fingerprint(&candidate.subject, &password, &room.key));
        let learned = run.learned();
        let event = |outcome| {
            let event = event(outcome).with("familiar", familiar).with("failover", run.by_backup(&decision));
            match &run.server {
                Some(server) => event.with("server", server.as_str()),
                None => event,
            }
        };
        let settled = Some((settlement.clone(), limits.clone()));
        let step = match decision {
            Decision::In(by) => {
                let mut opened = run.session(by, attempt, &transaction)?;
                opened.new.replaces = browser.session.clone().or(opened.new.replaces);
                let event = event(Outcome::Success).with("sid", opened.new.session.sid.to_string());
                self.admit(attempt, transaction, opened, settled, device, learned, event).await
            }
            Decision::Refuse(reason, notice) => {
                let event = event(Outcome::Refused).because(reason.code());
                self.refuse(attempt, transaction, notice, event, settled, learned).await
            }
            Decision::TryAgain(cause) => {
                let event = event(Outcome::Unavailable).because(cause.code());
                self.refuse(attempt, transaction, Notice::TryAgain, event, settled, learned).await
            }
            Decision::AskPrimary | Decision::ConfirmOutage | Decision::ReadHash | Decision::AskBackup => {
                unreachable!("Run::decide returns ends only")
            }
        };
        room.tally.note(
            &candidate.realm.domain,
            candidate.method.method(),
            room.clock.now(),
            match &decision {
                Decision::In(_) if familiar => Ended::Admitted,
                _ if familiar => Ended::Refused,
                _ => Ended::Unknown,
            },
        );
        let granted = matches!((&step, decision), (Ok(Step::Complete { .. }), Decision::In(By::Backup)));
        let late = match std::mem::replace(&mut run.late, LateChannel::None) {
            LateChannel::Open(late) => Some(late),
            LateChannel::Closed if settlement == Settlement::Leave => {
                if let Err(error) = room.store.give_back(attempt).await {
                    tracing::warn!(error = ?error, "a reservation could not be given back; the sweep will do it");
                }
                None
            }
            LateChannel::Closed | LateChannel::None => None,
        };
        let (situation, password_set) = (run.situation, run.password_set);
        let server = run.server.take();
        self.follow(Followed { attempt, candidate, password, situation, limits, password_set, server, granted, late });
        step
    }

    async fn refuse(
        &self,
        attempt: AttemptId,
        transaction: Transaction,
        notice: Notice,
        event: Event,
        settlement: Option<(Settlement, Limits)>,
        learned: Learned,
    ) -> Result<Step, SignInError> {
        let next = transaction.state.clone().refused(notice)?;
        let State::Password { name, .. } = &next else { return Err(TransactionLost::OtherState.into()) };
        let step = Step::AwaitPassword { name: name.clone(), notice: Some(notice) };
        let conclusion = Conclusion {
            attempt,
            at: self.room.clock.now(),
            transaction: transaction.id,
            version: transaction.version,
            next,
            session: None,
            settlement,
            device: None,
            learned,
            assertion: None,
            event,
        };
        match self.room.store.conclude(conclusion).await? {
            Concluded::Done => Ok(step),
            Concluded::Left | Concluded::Replayed => Err(TransactionLost::OtherState.into()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one conclusion, each used once")]
    async fn admit(
        &self,
        attempt: AttemptId,
        transaction: Transaction,
        opened: Opened,
        settlement: Option<(Settlement, Limits)>,
        device: Option<(crate::identity::UserId, String)>,
        learned: Learned,
        event: Event,
    ) -> Result<Step, SignInError> {
        let session = opened.new.session.clone();
        let conclusion = Conclusion {
            attempt,
            at: session.auth_time,
            transaction: transaction.id,
            version: transaction.version,
            next: transaction.state.completed(session.sid)?,
            session: Some(opened.new),
            settlement,
            device,
            learned,
            assertion: None,
            event,
        };
        match self.room.store.conclude(conclusion).await? {
            Concluded::Done => {
                Ok(Step::Complete { session, cookie: Some(opened.cookie), protocol: Box::new(transaction.protocol) })
            }
            Concluded::Left | Concluded::Replayed => Err(TransactionLost::OtherState.into()),
        }
    }
}

/// A session about to be opened, with the secret that its cookie will hold.
struct Opened {
    new: NewSession,
    cookie: String,
}

impl<'a> Run<'a> {
    fn new(sign_in: &'a SignIn, candidate: &'a Candidate, password: &'a PlainPassword, admission: Admission) -> Self {
        let room = &sign_in.room;
        let now = room.clock.now();
        let realm = &candidate.realm;
        let user = candidate.user.as_ref();
        let state = user.and_then(|user| user.directory_state.as_ref());
        let record = user.and_then(|user| user.refusal);
        let situation = Situation {
            method: candidate.method,
            policy: realm.policy(),
            outage_known: match candidate.method {
                Managed::Federated => realm.partner_outage.is_some(),
                Managed::Phs | Managed::Pta => {
                    candidate.connector.as_ref().is_some_and(|connector| room.outages.is_open(connector))
                }
            },
            primary: Asked::NotYet,
            probe: ProbeOutcome::NotRun,
            late: None,
            account: match user {
                None => Account::Unknown,
                Some(user) if !user.account_enabled => Account::Disabled,
                Some(_) if candidate.source.is_none() => Account::NoSource,
                Some(_) => Account::Allowed,
            },
            state: match state {
                None => StoredState::Unknown,
                Some(stored) => match stored.state.evaluate(now) {
                    Ok(()) => StoredState::Allows,
                    Err(refusal) => StoredState::Refuses(refusal),
                },
            },
            hash: HashStanding::NotRead,
            pass_age: None,
            refusal_on_record: record
                .filter(|record| state.is_none_or(|state| record.at > state.observed_at))
                .map(|record| record.refusal),
            // Read with the hash's facts; until then it bars.
            barred_group: true,
            group: None,
            backup: Asked::NotYet,
        };
        Self {
            sign_in,
            candidate,
            password,
            admission,
            situation,
            wire: Wire::NothingSent,
            server: None,
            password_set: None,
            credential_version: None,
            derived: false,
            late: LateChannel::None,
            probe: None,
        }
    }

    /// Carries out what the decision asks for until it is an end.
    async fn decide(&mut self) -> Result<Decision, StoreDown> {
        let decision = loop {
            self.look_for_late_verdict();
            match decide(&self.situation) {
                Decision::AskPrimary => match self.situation.method {
                    Managed::Pta => self.ask_directory().await,
                    Managed::Phs | Managed::Federated => self.situation.primary = self.ask_hash().await,
                },
                Decision::ConfirmOutage => self.situation.probe = self.confirm().await,
                Decision::ReadHash => self.read_standing().await?,
                Decision::AskBackup => self.situation.backup = self.ask_hash().await,
                end @ (Decision::In(_) | Decision::Refuse(..) | Decision::TryAgain(_)) => break end,
            }
        };
        let refused_unasked = matches!(decision, Decision::Refuse(..)) && self.situation.backup == Asked::NotYet;
        if self.situation.method != Managed::Phs && refused_unasked && self.by_backup(&decision) {
            // Who is barred from the backup waits as long as who is asked.
            let decoy = self.sign_in.room.hashes.check(None, self.password, self.admission.clone()).await;
            if let Answer::Unavailable(full) = decoy.answer {
                // And is told to try again where they would be.
                return Ok(Decision::TryAgain(Cause::Backup(full.cause)));
            }
        }
        Ok(decision)
    }

    async fn ask_directory(&mut self) {
        let room = &self.sign_in.room;
        let Some(connector) = self.candidate.connector.clone() else {
            // A domain without a connector has nobody to ask.
            self.situation.primary = Asked::Unavailable(UnavailableCause::NoAgent);
            self.situation.probe = ProbeOutcome::SomeServerAnswers;
            return;
        };
        let subject = match &self.candidate.source {
            Some(source) => LiveSubject::Known(source.clone()),
            None => LiveSubject::Unknown,
        };
        let mut check = room.live.check(&connector, &self.candidate.realm.domain, &subject, self.password);
        let answer = tokio::select! {
            biased;
            answer = &mut check => answer,
            () = tokio::time::sleep(room.settings.late_after) => {
                self.probe = Some(room.outages.probe(&connector));
                check.await
            }
        };
        self.server = answer.server;
        self.password_set = answer.password_set;
        self.late = answer.late.map_or(LateChannel::None, LateChannel::Open);
        self.situation.primary = match answer.answer {
            Answer::Verdict(verdict) => Asked::Verdict(verdict),
            Answer::Unavailable(Unavailable { cause, wire, server }) => {
                self.wire = wire;
                self.server = server.or(self.server.take());
                Asked::Unavailable(cause)
            }
        };
    }

    async fn ask_hash(&mut self) -> Asked {
        self.derived = true;
        let hashes = &self.sign_in.room.hashes;
        let answer = hashes.check(self.candidate.source.as_ref(), self.password, self.admission.clone()).await;
        self.credential_version = answer.credential_version;
        match answer.answer {
            Answer::Verdict(Verdict::Verified) if self.candidate.source.is_none() => {
                // A dummy chain that matches would be a fault; nobody gets in by it.
                Asked::Verdict(Verdict::Refused(Refusal::UnknownUser))
            }
            Answer::Verdict(verdict) => Asked::Verdict(verdict),
            Answer::Unavailable(unavailable) => Asked::Unavailable(unavailable.cause),
        }
    }

    /// The probe that started when the answer was late, or one that starts now.
    async fn confirm(&mut self) -> ProbeOutcome {
        let outcome = match (self.probe.take(), &self.candidate.connector) {
            (Some(started), _) => started.await,
            (None, Some(connector)) => self.sign_in.room.outages.probe(connector).await,
            (None, None) => ProbeOutcome::SomeServerAnswers,
        };
        match outcome {
            ProbeOutcome::EveryServerFailed => ProbeOutcome::EveryServerFailed,
            ProbeOutcome::SomeServerAnswers | ProbeOutcome::NotRun => ProbeOutcome::SomeServerAnswers,
        }
    }

    async fn read_standing(&mut self) -> Result<(), StoreDown> {
        let room = &self.sign_in.room;
        let (Some(user), Some(source)) = (&self.candidate.user, &self.candidate.source) else {
            self.situation.hash = HashStanding::Missing;
            return Ok(());
        };
        let facts = room.hashes.facts(source).await.map_err(|down| StoreDown(Box::new(down)))?;
        let standing = room.directory.failover_standing(user.oid, source).await?;
        let now = room.clock.now();
        self.situation.hash = match facts {
            None | Some(CredentialFacts { usable: false, .. }) => HashStanding::Missing,
            Some(CredentialFacts { outdated: true, .. }) => HashStanding::Outdated,
            Some(CredentialFacts { .. }) => HashStanding::Usable,
        };
        self.situation.pass_age = standing.last_pass.map(|pass| now.since(pass));
        self.situation.barred_group = standing.barred;
        let policies = &self.candidate.realm.failover_groups;
        let gone = match restricting(policies) {
            none if none.is_empty() => BTreeSet::new(),
            groups => room.directory.gone(groups).await?,
        };
        self.situation.group = strictest(policies, &standing.groups, &gone);
        Ok(())
    }

    fn look_for_late_verdict(&mut self) {
        let LateChannel::Open(late) = &mut self.late else { return };
        match late.try_recv() {
            Ok(verdict) => {
                self.situation.late = Some(verdict.verdict);
                self.server = Some(verdict.server);
                self.wire = Wire::NothingSent;
                self.late = LateChannel::None;
            }
            Err(TryRecvError::Closed) => self.late = LateChannel::Closed,
            Err(TryRecvError::Empty) => {}
        }
    }

    fn by_backup(&self, decision: &Decision) -> bool {
        use super::failover::{Cause, Reason};
        match decision {
            Decision::In(by) => *by == By::Backup,
            Decision::Refuse(reason, _) => {
                matches!(reason, Reason::Condition(_) | Reason::Backup(_) | Reason::BackupUnreadable)
            }
            Decision::TryAgain(cause) => matches!(cause, Cause::Backup(_)),
            Decision::AskPrimary | Decision::ConfirmOutage | Decision::ReadHash | Decision::AskBackup => false,
        }
    }

    /// What the live verdict says about the account.
    fn learned(&self) -> Learned {
        let verdict = self.situation.late.map_or(self.situation.primary, Asked::Verdict);
        let (Managed::Pta, Some(source)) = (self.situation.method, self.candidate.source.clone()) else {
            return Learned::Nothing;
        };
        let on_record = self.candidate.user.as_ref().is_some_and(|user| user.refusal.is_some());
        match verdict {
            Asked::Verdict(Verdict::Refused(refusal)) if concerns_account(refusal) => {
                Learned::Refused { source, refusal, server: self.server.clone().unwrap_or_default() }
            }
            Asked::Verdict(Verdict::Verified) if on_record => Learned::Allowed { source },
            Asked::Verdict(_) | Asked::NotYet | Asked::Unavailable(_) => Learned::Nothing,
        }
    }

    fn session(&self, by: By, attempt: AttemptId, transaction: &Transaction) -> Result<Opened, TransactionLost> {
        // A decision lets in only an account that is known and allowed.
        let user = self.candidate.user.as_ref().ok_or(TransactionLost::OtherState)?;
        let room = &self.sign_in.room;
        let now = room.clock.now();
        let failover = by == By::Backup;
        let (life, mut amr) = (room.settings.session_life, vec!["pwd".to_owned()]);
        let life = if failover { life.min(room.settings.failover_session_life) } else { life };
        if failover {
            amr.push("failover".to_owned());
        }
        let by_hash = failover || self.situation.method == Managed::Phs;
        let authority = if by_hash { Some("password-hash".to_owned()) } else { self.server.clone() };
        let cookie = random_secret();
        let session = Session {
            sid: SessionId::random(),
            oid: user.oid,
            domain: self.candidate.realm.domain.clone(),
            method: self.situation.method.method(),
            authority: authority.unwrap_or_default(),
            failover,
            attempt,
            amr,
            auth_time: now,
            expires_at: now + life,
            credential_version: if by_hash { self.credential_version } else { None },
        };
        let new = NewSession {
            session,
            cookie_hash: hash_of(&cookie),
            security_stamp: user.security_stamp.clone(),
            password_set: if by_hash { None } else { self.password_set },
            client: transaction.protocol.client.clone(),
            replaces: transaction.replaces.clone(),
        };
        Ok(Opened { new, cookie })
    }
}

fn shape_code(shape: PasswordShape) -> &'static str {
    match shape {
        PasswordShape::Empty => "password-empty",
        PasswordShape::TooLong => "password-too-long",
        PasswordShape::Character => "password-character",
    }
}

impl Candidate {
    /// The audit record of an attempt, but for its outcome and reason.
    fn event(
        &self,
        attempt: AttemptId,
        browser: &Browser,
        transaction: &Transaction,
    ) -> impl Fn(Outcome) -> Event + use<> {
        let network = browser.network.map(|network| network.to_string());
        let client = transaction.protocol.client.clone();
        let (typed, oid) = (self.name.folded(), self.user.as_ref().map(|user| user.oid));
        let (domain, method) = (self.realm.domain.to_string(), self.method.method().as_str());
        move |outcome| {
            let actor = match (outcome, oid) {
                (Outcome::Success, Some(oid)) => Actor::User(oid),
                _ => Actor::Anonymous,
            };
            let subject = oid.map_or_else(|| typed.clone(), |oid| oid.to_string());
            Event::new(EventKind::SignIn, outcome, actor)
                .about(subject)
                .with("name", typed.as_str())
                .with("domain", domain.as_str())
                .with("method", method)
                .with("attempt", attempt.to_string())
                .with("client", client.as_str())
                .with("network", network.clone())
        }
    }
}
