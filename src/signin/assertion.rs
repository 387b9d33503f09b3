//! What a federation partner's checked assertion is worth.

use std::time::Duration;

use super::browser::Browser;
use super::directory::UserForSignIn;
use super::lockout::{Limits, Settlement, SprayLimits, Subject, Try};
use super::outcome::{FederatedIdentity, Session, SignInError, Step, TransactionHandle, TransactionLost};
use super::realm::Managed;
use super::rollout::{Standing, choose};
use super::service::{SignIn, hash_of, random_secret};
use super::session::{NewSession, still_allows};
use super::store::{Concluded, Conclusion, Learned, Reservation, StoreDown};
use super::tally::Ended;
use super::transaction::{State, Transaction};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{AttemptId, AuthenticationMethod, DomainName, EntityId, SessionId, SignInName, Timestamp};

/// By how much a partner's clock may differ from ours.
const PARTNER_CLOCK: Duration = Duration::from_secs(60);

/// The road on which a transaction went to its partner.
#[derive(Clone, Copy)]
struct Road<'a> {
    /// As it was typed, if one was.
    name: Option<&'a str>,
    domain: &'a DomainName,
    partner: &'a EntityId,
    request_id: &'a str,
}

/// Whether the partner's proof is what the application demands: a partner may pass over the wish to ask again.
fn fresh_enough(transaction: &Transaction, proved: Timestamp, now: Timestamp) -> Result<(), &'static str> {
    let demand = transaction.protocol.proof;
    if demand.fresh && proved + PARTNER_CLOCK < transaction.created_at {
        return Err("federation.proof_not_fresh");
    }
    if demand.max_age.is_some_and(|most| now.since(proved) > Duration::from_secs(most) + PARTNER_CLOCK) {
        return Err("federation.proof_too_old");
    }
    Ok(())
}

impl SignIn {
    pub(super) async fn take_assertion(
        &self,
        handle: &TransactionHandle,
        identity: FederatedIdentity,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let transaction = self.load(handle).await?;
        let begun = transaction.state.rests_on().map(|(domain, method)| (domain.clone(), method));
        let taken = self.judge_assertion(transaction, identity, browser).await;
        let ended = match &taken {
            Ok(_) => Some(Ended::Admitted),
            Err(SignInError::AssertionRefused) => Some(Ended::Refused),
            Err(_) => None,
        };
        if let (Some((domain, method)), Some(ended)) = (begun, ended) {
            self.room.tally.note(&domain, method, self.room.clock.now(), ended);
        }
        taken
    }

    async fn judge_assertion(
        &self,
        transaction: Transaction,
        identity: FederatedIdentity,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        let State::Assertion { name, domain, partner, request_id } = transaction.state.clone() else {
            return Err(TransactionLost::OtherState.into());
        };
        let room = &self.room;
        let (attempt, now) = (AttemptId::random(), room.clock.now());
        let event = |outcome, actor| {
            Event::new(EventKind::SignIn, outcome, actor)
                .with("name", identity.upn.to_string())
                .with("domain", domain.as_str())
                .with("method", AuthenticationMethod::Federated.as_str())
                .with("partner", identity.partner.as_str())
                .with("attempt", attempt.to_string())
                .with("client", transaction.protocol.client.as_str())
                .with("network", browser.network.map(|network| network.to_string()))
        };
        let mut conclusion = Conclusion {
            attempt,
            at: now,
            transaction: transaction.id,
            version: transaction.version,
            next: transaction.state.clone(),
            session: None,
            settlement: None,
            device: None,
            learned: Learned::Nothing,
            assertion: None,
            event: event(Outcome::Refused, Actor::Anonymous).about(identity.upn.folded()),
        };
        let road = Road { name: name.as_deref(), domain: &domain, partner: &partner, request_id: &request_id };
        let user = match self.meant(&identity, road).await? {
            Ok(user) => user,
            Err(reason) => {
                conclusion.event = conclusion.event.because(reason);
                room.store.conclude(conclusion).await?;
                return Err(SignInError::AssertionRefused);
            }
        };
        if let Err(reason) = fresh_enough(&transaction, identity.authenticated_at, now) {
            conclusion.event = conclusion.event.about(user.oid).because(reason);
            room.store.conclude(conclusion).await?;
            return Err(SignInError::AssertionRefused);
        }
        // Every path that ends in a token passes the lockout, also where the gateway saw no password.
        let limits = Limits::new(&room.settings.lockout, user.directory_lockout(), Managed::Phs);
        let subject = Subject::user(user.oid);
        let reserve = Try {
            attempt,
            subject,
            device: None,
            // The partner saw the password: no name is tried here.
            network: None,
            limits: limits.clone(),
            spray: SprayLimits::new(&room.settings.lockout),
            at: now,
        };
        if room.store.reserve(reserve).await? == Reservation::Full {
            conclusion.event = conclusion.event.about(user.oid).because("lockout");
            room.store.conclude(conclusion).await?;
            return Err(SignInError::AssertionRefused);
        }
        let cookie = random_secret();
        let session = Session {
            sid: SessionId::random(),
            oid: user.oid,
            domain: user.upn.domain().clone(),
            method: AuthenticationMethod::Federated,
            authority: partner.to_string(),
            failover: false,
            attempt,
            amr: identity.amr.clone(),
            // A partner that answers from its own session proved nothing now.
            auth_time: identity.authenticated_at.min(now),
            expires_at: now + room.settings.session_life,
            credential_version: None,
        };
        conclusion.next = transaction.state.completed(session.sid)?;
        conclusion.assertion = Some((identity.assertion.clone(), identity.valid_until));
        conclusion.settlement = Some((Settlement::Return, limits));
        conclusion.event =
            event(Outcome::Success, Actor::User(user.oid)).about(user.oid).with("sid", session.sid.to_string());
        conclusion.session = Some(NewSession {
            session: session.clone(),
            cookie_hash: hash_of(&cookie),
            security_stamp: user.security_stamp,
            password_set: None,
            client: transaction.protocol.client.clone(),
            replaces: transaction.replaces,
        });
        match room.store.conclude(conclusion).await? {
            Concluded::Done => {
                Ok(Step::Complete { session, cookie: Some(cookie), protocol: Box::new(transaction.protocol) })
            }
            Concluded::Left => Err(TransactionLost::OtherState.into()),
            Concluded::Replayed => Err(SignInError::AssertionRefused),
        }
    }

    /// The user whom an assertion means, or the reason why it means nobody: matched by source anchor *and* UPN, the
    /// UPN's domain and the user's present one must both be the partner's (design D9).
    async fn meant(
        &self,
        identity: &FederatedIdentity,
        road: Road<'_>,
    ) -> Result<Result<UserForSignIn, &'static str>, StoreDown> {
        let Road { domain, partner, request_id, .. } = road;
        if identity.partner != *partner {
            return Ok(Err("federation.other_partner"));
        }
        if identity.request_id != request_id {
            return Ok(Err("federation.other_request"));
        }
        if !self.partners(identity.upn.domain(), domain, partner).await? {
            return Ok(Err("federation.domain_not_the_partners"));
        }
        let Some(user) = self.room.directory.user_by_anchor(&identity.source_anchor).await? else {
            return Ok(Err("federation.unknown_anchor"));
        };
        if !user.answers_to(&identity.upn) {
            return Ok(Err("federation.upn_mismatch"));
        }
        if !self.is_the_partners(&user, road).await? {
            return Ok(Err("federation.user_not_the_partners"));
        }
        if !user.account_enabled {
            return Ok(Err("disabled-in-tenant"));
        }
        let now = self.room.clock.now();
        if !user.directory_state.as_ref().is_none_or(|stored| still_allows(&stored.state, now)) {
            return Ok(Err("disabled-in-directory"));
        }
        Ok(Ok(user))
    }

    /// Whether `asked` is a domain of the partner; the one that the transaction began with stays one to its end.
    async fn partners(&self, asked: &DomainName, begun: &DomainName, partner: &EntityId) -> Result<bool, StoreDown> {
        if asked == begun {
            return Ok(true);
        }
        let realm = self.room.directory.realm(asked).await?;
        Ok(realm.is_some_and(|realm| {
            let answers =
                |method, of: Option<&EntityId>| method == AuthenticationMethod::Federated && of == Some(partner);
            answers(realm.method, realm.partner.as_ref())
                || realm.rollouts.iter().any(|rollout| answers(rollout.method, rollout.partner.as_ref()))
        }))
    }

    /// Whether the partner answers for this very user: where people of a domain sign in by several methods, it does for
    /// those alone who walk to it, or did when the transaction began.
    async fn is_the_partners(&self, user: &UserForSignIn, road: Road<'_>) -> Result<bool, StoreDown> {
        let directory = &self.room.directory;
        let begun = user.upn.domain() == road.domain;
        let Some(realm) = directory.realm(user.upn.domain()).await? else { return Ok(begun) };
        let groups = directory.groups_of_user(user.oid).await?;
        let choice = choose(realm.ground(), Standing::User { oid: user.oid, groups: &groups });
        if choice.method == AuthenticationMethod::Federated && choice.partner.as_ref() == Some(road.partner) {
            return Ok(true);
        }
        if !begun {
            return Ok(false);
        }
        // The partner answered for whoever began this, and for nobody else of the domain.
        match road.name {
            Some(name) => match name.parse::<SignInName>() {
                Ok(name) => Ok(directory.holder(&name).await?.is_some_and(|holder| holder.oid == user.oid)),
                Err(_) => Ok(false),
            },
            None => Ok(realm.rollouts.is_empty()),
        }
    }
}
