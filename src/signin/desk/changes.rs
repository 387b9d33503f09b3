//! Changes of methods, step by step: begun, approved, cancelled, rolled back, and what becomes of them by themselves.

use std::time::Duration;

use super::methods::comparable;
use super::survey::{Paths, Whom};
use super::{DeskError, FAILOVER_FORCED, FAILOVER_OVERDUE, MethodSet, SetMethod, SignInDesk, refused};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{ChangeId, DomainName, EntityId, Percent, RolloutId, causes};
use crate::signin::change::{
    AlertEdit, CanaryPlan, CanaryVerdict, ChangeState, ChangeStep, Former, MethodChange, Plan, RolloutEdit, Stepped,
    judge_canary,
};
use crate::signin::rollout::{Rollout, Scope};
use crate::signin::store::{Alert, CutOff, DomainEdit};
use crate::tenant::Domain;

/// How long a proposal waits for its approver.
const APPROVAL: Duration = Duration::from_secs(24 * 3600);
/// What the rate of refusals of a canary is compared with.
const BEFORE: Duration = Duration::from_secs(24 * 3600);
/// A change that fell due and could not be carried out.
pub const CHANGE_FAILED: &str = "method-change-failed";
/// A canary whose refusals rose.
pub const CANARY_ROLLED_BACK: &str = "canary-rolled-back";
/// Changes that one list tells of.
const MOST_SHOWN: u32 = 1000;

impl SignInDesk {
    /// The changes of a domain, or of all, newest first.
    pub async fn list_changes(&self, domain: Option<&DomainName>, limit: u32) -> Result<Vec<MethodChange>, DeskError> {
        Ok(self.changes.changes(domain, limit.clamp(1, MOST_SHOWN)).await?)
    }

    /// A wish becomes a change: proposed where two pairs of eyes are wanted, else begun.
    pub(super) async fn order(&self, domain: &Domain, wish: SetMethod, by: &str) -> Result<MethodSet, DeskError> {
        let SetMethod { method, cut, force, at, canary, .. } = wish;
        let mut change = self.new_change(domain, Plan::SetMethod { method, cut, force, at, canary }, by);
        let mut set = self.plan_method(domain, method, cut).await?;
        change.partner = set.partner.clone();
        if self.four_eyes {
            let proposed = self.propose(change, by).await?;
            set.change = Some(proposed.id);
            set.state = Some(proposed.state);
            return Ok(set);
        }
        self.begin(change, true, Actor::Admin(by.to_owned())).await
    }

    pub(super) fn new_change(&self, domain: &Domain, plan: Plan, by: &str) -> MethodChange {
        let now = self.sign_in.room.clock.now();
        MethodChange {
            id: ChangeId::random(),
            domain: domain.name.clone(),
            plan,
            partner: None,
            state: ChangeState::Proposed { until: now + APPROVAL },
            asked_by: by.to_owned(),
            asked_at: now,
            approved_by: None,
            former: None,
            version: 0,
        }
    }

    pub(super) async fn propose(&self, change: MethodChange, by: &str) -> Result<MethodChange, DeskError> {
        let event = self.told(&change, "domain.propose", Actor::Admin(by.to_owned()));
        self.take(ChangeStep { new: true, ..ChangeStep::of(change.clone(), event) }).await?;
        Ok(change)
    }

    /// Approves a proposal: another principal than the one who made it. What it asks for begins at once.
    pub async fn approve(&self, id: ChangeId, by: &str) -> Result<MethodChange, DeskError> {
        let mut change = self.one_change(id).await?;
        let ChangeState::Proposed { until } = change.state else {
            return Err(refused(format!("the change {id} is {}: there is nothing to approve", change.state.word())));
        };
        if change.asked_by == by {
            return Err(refused(format!("{by} has proposed the change {id}: another principal approves it")));
        }
        if until <= self.sign_in.room.clock.now() {
            return Err(refused(format!("the proposal {id} expired at {until}: make it again")));
        }
        change.approved_by = Some(by.to_owned());
        let by_whom = change.asked_by.clone();
        match change.plan.clone() {
            Plan::SetMethod { .. } => {
                self.begin(change, false, Actor::Admin(by.to_owned())).await?;
            }
            Plan::AddRollout(wish) => self.approve_rollout(change, self.prepare_add(wish, &by_whom).await?).await?,
            Plan::RemoveRollout(wish) => self.approve_rollout(change, self.prepare_removal(wish).await?).await?,
        }
        self.one_change(id).await
    }

    async fn approve_rollout(
        &self,
        change: MethodChange,
        prepared: super::rollouts::Prepared,
    ) -> Result<(), DeskError> {
        let by = change.approved_by.clone().unwrap_or_default();
        same_partner(&change, prepared.set.rollout.partner.as_ref())?;
        prepared.ready_or_forced()?;
        let event = prepared.event(&by).with("asked_by", change.asked_by.as_str()).with("approved_by", by);
        let at = self.sign_in.room.clock.now();
        let change = MethodChange { state: ChangeState::Done { at }, ..change };
        let rollout = Some((prepared.version, prepared.edit()));
        self.take(ChangeStep { rollout, ..ChangeStep::of(change, event) }).await?;
        Ok(())
    }

    /// Withdraws what has not begun.
    pub async fn cancel(&self, id: ChangeId, by: &str) -> Result<MethodChange, DeskError> {
        let change = self.one_change(id).await?;
        match change.state {
            ChangeState::Proposed { .. } | ChangeState::Scheduled { .. } => {}
            ChangeState::Canary { .. } => {
                let name = &change.domain;
                return Err(refused(format!("the change {id} is being tried: use landbridge domain rollback {name}")));
            }
            ChangeState::Done { .. }
            | ChangeState::Cancelled { .. }
            | ChangeState::Expired { .. }
            | ChangeState::Failed { .. }
            | ChangeState::RolledBack { .. } => {
                return Err(refused(format!("the change {id} is {} already", change.state.word())));
            }
        }
        let state = ChangeState::Cancelled { at: self.sign_in.room.clock.now(), by: by.to_owned() };
        let event = self.told(&change, "domain.cancel", Actor::Admin(by.to_owned()));
        self.take(ChangeStep::of(MethodChange { state, ..change }, event)).await?;
        self.one_change(id).await
    }

    /// Undoes what was done last to a domain: ends its canary, or gives it back the method before the last change.
    /// Refused when more people could not sign in afterwards than cannot now, unless forced.
    pub async fn rollback(&self, name: &DomainName, force: bool, by: &str) -> Result<MethodSet, DeskError> {
        let domain = self.domain(name).await?;
        let actor = Actor::Admin(by.to_owned());
        let changes = self.changes.changes(Some(name), MOST_SHOWN).await?;
        if let Some(canary) = changes.iter().find(|change| matches!(change.state, ChangeState::Canary { .. })) {
            let mut set = self.plan_method(&domain, domain.method, false).await?;
            self.end_canary(canary.clone(), &domain, format!("by {by}"), actor, Vec::new()).await?;
            set.change = Some(canary.id);
            set.changed = true;
            set.state = Some(self.one_change(canary.id).await?.state);
            return Ok(set);
        }
        let made_it_so = |change: &&MethodChange| match (&change.state, &change.plan) {
            (ChangeState::Done { .. }, Plan::SetMethod { method, .. }) => *method == domain.method,
            _ => false,
        };
        let Some(change) = changes.iter().find(made_it_so).cloned() else {
            return Err(refused(format!("nothing is known of what {name} signed in by before {}", domain.method)));
        };
        let Some(former) = change.former.clone() else {
            return Err(refused(format!("the change {} does not tell what was before it", change.id)));
        };
        let now = self.paths(&domain).await?;
        let then = Paths { method: former.method, partner: former.partner.clone(), ..now.clone() };
        let as_is = self.survey(&domain, &now, &now, Whom::Everybody).await?.readiness;
        let readiness = self.survey(&domain, &now, &then, Whom::Everybody).await?.readiness;
        if readiness.not_ready > as_is.not_ready && !force {
            let text = format!(
                "{} of {} users of {name} could not sign in by {}, {} cannot now: see the report, or do it with --force",
                readiness.not_ready, readiness.users, former.method, as_is.not_ready
            );
            return Err(DeskError::Refused { text, readiness: Some(Box::new(readiness)) });
        }
        let mut set = self.plan_of(&domain, &then, readiness, false);
        let at = self.sign_in.room.clock.now();
        let event = self
            .told(&change, "domain.rollback", actor)
            .with("from", domain.method.as_str())
            .with("to", former.method.as_str())
            .with("not_ready", set.readiness.not_ready)
            .with("forced", force);
        let edit = DomainEdit {
            method: Some(former.method),
            partner: Some(former.partner),
            pin: domain.pin.as_ref().map(|_| None),
            ..DomainEdit::default()
        };
        let state = ChangeState::RolledBack { at, why: format!("by {by}") };
        let change = MethodChange { state: state.clone(), ..change };
        set.change = Some(change.id);
        let alerts = settled(name, domain.pin.is_some());
        let domain = Some((domain.version, edit));
        self.take(ChangeStep { domain, alerts, ..ChangeStep::of(change, event) }).await?;
        (set.changed, set.state) = (true, Some(state));
        Ok(set)
    }

    /// What has to happen by itself: proposals expire, what is due begins, canaries end. On every node, as often as one
    /// likes: each step is taken once.
    pub(super) async fn go_on(&self) -> Result<(), DeskError> {
        let now = self.sign_in.room.clock.now();
        for change in self.changes.open_changes().await? {
            let id = change.id;
            let taken = match change.state.clone() {
                ChangeState::Proposed { until } if until <= now => self.expire(change).await,
                ChangeState::Scheduled { at } if at <= now => self.begin_due(change).await,
                ChangeState::Canary { .. } => self.watch_canary(change).await,
                ChangeState::Proposed { .. } | ChangeState::Scheduled { .. } => Ok(()),
                ChangeState::Done { .. }
                | ChangeState::Cancelled { .. }
                | ChangeState::Expired { .. }
                | ChangeState::Failed { .. }
                | ChangeState::RolledBack { .. } => Ok(()),
            };
            match taken {
                // Another node took the step; or the domain was changed meanwhile, and the next look decides anew.
                Ok(()) | Err(DeskError::Moved(_) | DeskError::Outdated(_)) => {}
                // The others do not wait for this one.
                Err(error) => {
                    tracing::warn!(change = %id, error = causes(&error), "a change of a method could not go on");
                }
            }
        }
        Ok(())
    }

    async fn expire(&self, change: MethodChange) -> Result<(), DeskError> {
        let event = self.told(&change, "domain.propose", system()).because("expired");
        let state = ChangeState::Expired { at: self.sign_in.room.clock.now() };
        self.take(ChangeStep::of(MethodChange { state, ..change }, event)).await?;
        Ok(())
    }

    async fn begin_due(&self, change: MethodChange) -> Result<(), DeskError> {
        match self.begin(change.clone(), false, system()).await {
            Ok(_) => Ok(()),
            Err(DeskError::Refused { text, .. }) => self.fail(change, text).await,
            Err(error) => Err(error),
        }
    }

    /// Ends a change that cannot be carried out; the share that a canary was tried on goes back.
    async fn fail(&self, change: MethodChange, why: String) -> Result<(), DeskError> {
        let event = self.told(&change, "domain.set-method", system()).because(why.clone());
        let event = Event { outcome: Outcome::Failed, ..event };
        let name = change.domain.clone();
        let rollout = match change.state {
            ChangeState::Canary { rollout, .. } => {
                Some((self.domain(&name).await?.version, RolloutEdit::Remove(rollout)))
            }
            _ => None,
        };
        let state = ChangeState::Failed { at: self.sign_in.room.clock.now(), why: why.clone() };
        let alerts = vec![self.alarm(CHANGE_FAILED, &name, why)];
        let change = MethodChange { state, ..change };
        self.take(ChangeStep { rollout, alerts, ..ChangeStep::of(change, event) }).await?;
        Ok(())
    }

    /// Looks how a canary fares.
    async fn watch_canary(&self, change: MethodChange) -> Result<(), DeskError> {
        let ChangeState::Canary { since, rollout, before } = change.state else { return Ok(()) };
        let Plan::SetMethod { method, canary: Some(plan), .. } = &change.plan else { return Ok(()) };
        let share = |tried: &Rollout| tried.id == rollout && tried.scope == Scope::Share { percent: plan.percent };
        if !self.rollouts.rollouts().await?.iter().any(share) {
            return self.fail(change, "the share that it was tried on is no longer what it was".to_owned()).await;
        }
        let now = self.sign_in.room.clock.now();
        let during = self.tallies.counted(&change.domain, *method, since, now).await?;
        match judge_canary(plan, before, during, now.since(since)) {
            CanaryVerdict::GoOn => Ok(()),
            CanaryVerdict::Complete => self.begin_due(change).await,
            CanaryVerdict::RollBack { before, during } => {
                let why = format!("{during} of a thousand tries by {method} were refused, {before} before");
                let domain = self.domain(&change.domain).await?;
                let alerts = vec![self.alarm(CANARY_ROLLED_BACK, &domain.name, why.clone())];
                self.end_canary(change, &domain, why, system(), alerts).await
            }
        }
    }

    async fn end_canary(
        &self,
        change: MethodChange,
        domain: &Domain,
        why: String,
        actor: Actor,
        alerts: Vec<AlertEdit>,
    ) -> Result<(), DeskError> {
        let ChangeState::Canary { rollout, .. } = change.state else { return Ok(()) };
        let event = self.told(&change, "domain.rollback", actor).because("canary").with("why", why.as_str());
        let state = ChangeState::RolledBack { at: self.sign_in.room.clock.now(), why };
        let change = MethodChange { state, ..change };
        let rollout = Some((domain.version, RolloutEdit::Remove(rollout)));
        self.take(ChangeStep { rollout, alerts, ..ChangeStep::of(change, event) }).await?;
        Ok(())
    }

    /// The next step of a wish that nobody has to approve any more: it waits for its time, is tried, or is carried out.
    async fn begin(&self, change: MethodChange, new: bool, actor: Actor) -> Result<MethodSet, DeskError> {
        let Plan::SetMethod { method, cut, force, at, canary } = change.plan.clone() else {
            return Err(refused(format!("the change {} is no change of a method", change.id)));
        };
        let domain = self.domain(&change.domain).await?;
        let now = self.sign_in.room.clock.now();
        let mut set = self.plan_method(&domain, method, cut).await?;
        same_partner(&change, set.partner.as_ref())?;
        set.change = Some(change.id);
        let id = change.id;
        let (mut step, waits) = match (&change.state, at, canary) {
            (ChangeState::Proposed { .. }, Some(at), _) if at > now => {
                let state = ChangeState::Scheduled { at };
                let event = self.told(&change, "domain.schedule", actor.clone()).with("at", at.rfc3339());
                let change = MethodChange { state, ..change };
                (ChangeStep { new, ..ChangeStep::of(change, event) }, true)
            }
            (ChangeState::Proposed { .. } | ChangeState::Scheduled { .. }, _, Some(plan))
                if domain.method != method =>
            {
                self.ready_or_forced(&mut set, force)?;
                (self.canary_step(change, new, &domain, &set, plan, &actor).await?, true)
            }
            _ => {
                self.ready_or_forced(&mut set, force)?;
                let step = self.last_step(change, new, &domain, &set, force, &actor);
                let ended = Event::new(EventKind::Admin("domain.set-method"), Outcome::Success, actor)
                    .about(&domain.name)
                    .because("cut");
                (ChangeStep { cut: cut.then_some((method, ended)), ..step }, false)
            }
        };
        step.event = step.event.with("change", id.to_string());
        set.state = Some(step.change.state.clone());
        let ended = self.take(step).await?;
        set.changed = !waits && set.from != set.to;
        (set.transactions_cut, set.sessions_cut) = (ended.transactions, ended.sessions);
        Ok(set)
    }

    async fn canary_step(
        &self,
        change: MethodChange,
        new: bool,
        domain: &Domain,
        set: &MethodSet,
        plan: CanaryPlan,
        actor: &Actor,
    ) -> Result<ChangeStep, DeskError> {
        comparable(domain, set.to)?;
        let partner = self.partner_for(domain, set.to).await?;
        let paths = self.paths(domain).await?;
        if paths.rollouts.iter().any(|rollout| matches!(rollout.scope, Scope::Share { .. })) {
            return Err(refused(format!(
                "a share of {0} has a method of its own already: remove it first, with rollout remove {0} --share",
                domain.name
            )));
        }
        let since = self.sign_in.room.clock.now();
        let before = self.tallies.counted(&domain.name, domain.method, since - BEFORE, since).await?;
        let rollout = Rollout {
            id: RolloutId::random(),
            domain: domain.name.clone(),
            scope: Scope::Share { percent: plan.percent },
            method: set.to,
            partner,
            by: change.asked_by.clone(),
            at: since,
        };
        let event = self
            .told(&change, "domain.canary", actor.clone())
            .with("from", set.from.as_str())
            .with("to", set.to.as_str())
            .with("percent", Percent::get(plan.percent));
        let state = ChangeState::Canary { since, rollout: rollout.id, before };
        let change = MethodChange { state, ..change };
        let rollout = Some((domain.version, RolloutEdit::Put(rollout)));
        Ok(ChangeStep { new, rollout, ..ChangeStep::of(change, event) })
    }

    fn last_step(
        &self,
        change: MethodChange,
        new: bool,
        domain: &Domain,
        set: &MethodSet,
        force: bool,
        actor: &Actor,
    ) -> ChangeStep {
        let edit = DomainEdit {
            method: Some(set.to),
            partner: Some(set.partner.clone()),
            pin: set.released_pin.map(|_| None),
            ..DomainEdit::default()
        };
        let event = self
            .told(&change, "domain.set-method", actor.clone())
            .with("from", set.from.as_str())
            .with("to", set.to.as_str())
            .with("not_ready", set.readiness.not_ready)
            .with("forced", force);
        let rollout = match change.state {
            ChangeState::Canary { rollout, .. } => Some((domain.version, RolloutEdit::Remove(rollout))),
            _ => None,
        };
        let former = Some(Former { method: domain.method, partner: domain.partner.clone() });
        let state = ChangeState::Done { at: self.sign_in.room.clock.now() };
        let change = MethodChange { state, former, ..change };
        let alerts = settled(&domain.name, set.released_pin.is_some());
        ChangeStep { new, domain: Some((domain.version, edit)), rollout, alerts, ..ChangeStep::of(change, event) }
    }

    pub(super) fn ready_or_forced(&self, set: &mut MethodSet, force: bool) -> Result<(), DeskError> {
        if set.readiness.not_ready == 0 || force || set.from == set.to {
            return Ok(());
        }
        let text = format!(
            "{} of {} users of {} could not sign in by {}: see the report, or change it anyway with --force",
            set.readiness.not_ready, set.readiness.users, set.domain, set.to
        );
        Err(DeskError::Refused { text, readiness: Some(Box::new(std::mem::take(&mut set.readiness))) })
    }

    async fn one_change(&self, id: ChangeId) -> Result<MethodChange, DeskError> {
        self.changes.change_by_id(id).await?.ok_or(DeskError::NoChange(id))
    }

    async fn take(&self, step: ChangeStep) -> Result<CutOff, DeskError> {
        let (id, domain) = (step.change.id, step.change.domain.clone());
        match self.changes.step(step).await? {
            Stepped::Done(cut) => Ok(cut),
            Stepped::Left => Err(DeskError::Moved(id)),
            Stepped::Outdated => Err(DeskError::Outdated(domain)),
            Stepped::Refused(text) => Err(refused(text)),
        }
    }

    fn alarm(&self, alert: &'static str, name: &DomainName, detail: String) -> AlertEdit {
        tracing::error!(domain = %name, alert, detail, "a change of a method does not end as planned");
        let raised = Alert { name: alert, subject: name.to_string(), detail, at: self.sign_in.room.clock.now() };
        AlertEdit::Raise(raised, alert_event(EventKind::AlertRaised, name, alert))
    }

    fn told(&self, change: &MethodChange, operation: &'static str, actor: Actor) -> Event {
        let event = Event::new(EventKind::Admin(operation), Outcome::Success, actor)
            .about(&change.domain)
            .with("change", change.id.to_string())
            .with("asked_by", change.asked_by.as_str());
        match &change.approved_by {
            Some(approver) => event.with("approved_by", approver.as_str()),
            None => event,
        }
    }
}

/// Refuses to carry out a change by another partner than the one it was asked for with.
fn same_partner(change: &MethodChange, now: Option<&EntityId>) -> Result<(), DeskError> {
    let name = |partner: Option<&EntityId>| partner.map_or("none".to_owned(), ToString::to_string);
    if change.partner.as_ref() == now {
        return Ok(());
    }
    Err(refused(format!(
        "the partner of {} is {} now and was {} when the change {} was asked for: ask for it anew",
        change.domain,
        name(now),
        name(change.partner.as_ref()),
        change.id
    )))
}

/// What went wrong with earlier changes of a domain is over; so is what an operator had forced, if the pin is released.
fn settled(name: &DomainName, unpinned: bool) -> Vec<AlertEdit> {
    let clear = |alert| AlertEdit::Clear(alert, alert_event(EventKind::AlertCleared, name, alert));
    let forced = [FAILOVER_FORCED, FAILOVER_OVERDUE].into_iter().filter(|_| unpinned);
    [CHANGE_FAILED, CANARY_ROLLED_BACK].into_iter().chain(forced).map(clear).collect()
}

fn system() -> Actor {
    Actor::System("method-change".to_owned())
}

fn alert_event(kind: EventKind, name: &DomainName, alert: &'static str) -> Event {
    Event::new(kind, Outcome::Success, system()).about(name).because(alert)
}
