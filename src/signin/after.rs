//! What goes on after an answer has left: late verdicts, and whether the stored hash is still the directory's.

use std::time::Duration;

use tokio::sync::oneshot;

use super::authority::LateVerdict;
use super::candidate::Candidate;
use super::failover::{Asked, Situation, judge_late};
use super::lockout::{Limits, Repeats, Settlement};
use super::realm::Managed;
use super::service::SignIn;
use super::store::{Alert, Late, Learned, Mark, Marked};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{
    AttemptId, CredentialSource, PlainPassword, Refusal, Timestamp, UnavailableCause, UserId, Verdict,
};

/// An attempt whose answer has left.
pub(super) struct Followed {
    pub attempt: AttemptId,
    pub candidate: Candidate,
    pub password: PlainPassword,
    pub situation: Situation,
    pub limits: Limits,
    pub password_set: Option<Timestamp>,
    /// The server that decided.
    pub server: Option<String>,
    /// The backup granted a session.
    pub granted: bool,
    pub late: Option<oneshot::Receiver<LateVerdict>>,
}

/// Pause between two tries to write a late verdict down, and how often. A late refusal must not be lost to a store that
/// is away for a moment.
const RETRY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 60;

impl SignIn {
    pub(super) fn follow(&self, followed: Followed) {
        let sign_in = self.clone();
        let nothing_to_do = followed.late.is_none()
            && followed.situation.method != Managed::Pta
            && followed.situation.primary != Asked::Unavailable(UnavailableCause::CredentialUnreadable);
        if !nothing_to_do {
            self.room.tasks.spawn(async move { sign_in.follow_up(followed).await });
        }
    }

    async fn follow_up(&self, mut followed: Followed) {
        self.raise_oddities(&followed).await;
        let mut verdict = match followed.situation.late.map_or(followed.situation.primary, Asked::Verdict) {
            Asked::Verdict(verdict) => Some(verdict),
            Asked::NotYet | Asked::Unavailable(_) => None,
        };
        if let Some(late) = followed.late.take() {
            match late.await {
                Ok(late) => {
                    verdict = Some(late.verdict);
                    followed.server = Some(late.server.clone());
                    self.write_late(&followed, late).await;
                }
                // It ended without a verdict: whatever the directory did with it, it is not a wrong password.
                Err(_) => {
                    if let Err(error) = self.room.store.give_back(followed.attempt).await {
                        tracing::warn!(error = ?error, "a reservation could not be given back; the sweep will do it");
                    }
                }
            }
        }
        if followed.situation.method == Managed::Pta
            && let (Some(verdict), Some(source)) = (verdict, followed.candidate.source.clone())
        {
            self.compare(&followed, source, verdict).await;
        }
    }

    async fn write_late(&self, followed: &Followed, late: LateVerdict) {
        let judged = judge_late(late.verdict);
        let oid = followed.candidate.user.as_ref().map(|user| user.oid);
        let (outcome, reason) = match late.verdict {
            Verdict::Verified => (Outcome::Success, "verified"),
            Verdict::Refused(refusal) => (Outcome::Refused, refusal.code()),
        };
        let revoke = oid.filter(|_| judged.revoke && followed.granted);
        let learned = match (judged.record, &followed.candidate.source) {
            (Some(refusal), Some(source)) => {
                Learned::Refused { source: source.clone(), refusal, server: late.server.clone() }
            }
            (None, _) | (_, None) => Learned::Nothing,
        };
        let record = Late {
            attempt: followed.attempt,
            at: self.room.clock.now(),
            settlement: if judged.counts {
                Settlement::Keep { fingerprint: None, repeats: Repeats::Count }
            } else {
                Settlement::Return
            },
            limits: followed.limits.clone(),
            learned,
            revoke,
            event: Event::new(EventKind::LateVerdict, outcome, Actor::System("pass-through".to_owned()))
                .about(subject(oid, followed))
                .because(reason)
                .with("attempt", followed.attempt.to_string())
                .with("server", late.server)
                .with("revoked", revoke.is_some()),
        };
        for _ in 0..RETRIES {
            match self.room.store.late(record.clone()).await {
                Ok(()) => return,
                Err(error) => tracing::error!(error = ?error, "a late verdict could not be written yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// After a live verdict: a hash that still accepts what the directory refused, or that is older than the
    /// directory's password, is barred from failover.
    async fn compare(&self, followed: &Followed, source: CredentialSource, verdict: Verdict) {
        let room = &self.room;
        if verdict == Verdict::Refused(Refusal::OldPasswordWindow)
            && let Err(error) = room.store.ask_anew(source.clone(), room.clock.now()).await
        {
            tracing::warn!(error = ?error, "the newest hash of an account could not be asked for; the next pass brings it");
        }
        let facts = match room.hashes.facts(&source).await {
            Ok(Some(facts)) if !facts.outdated => facts,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(error = ?error, "a stored hash could not be compared with the directory's");
                return;
            }
        };
        let newer = followed.password_set.zip(facts.password_set).is_some_and(|(live, stored)| live > stored);
        let mark = if newer {
            Some(Mark::NewerPasswordSet)
        } else if verdict == Verdict::Refused(Refusal::WrongPassword) {
            match room.hashes.matches_spare(&source, &followed.password).await {
                Some(true) => Some(Mark::StillMatchesRefused),
                Some(false) => None,
                None => Some(Mark::Unchecked),
            }
        } else {
            None
        };
        let Some(mark) = mark else { return };
        let oid = followed.candidate.user.as_ref().map(|user| user.oid);
        let event = Event::new(EventKind::CredentialOutdated, Outcome::Success, Actor::System("sign-in".to_owned()))
            .about(subject(oid, followed))
            .because(mark.code())
            .with("attempt", followed.attempt.to_string())
            .with("server", followed.server.clone());
        let marked = Marked { at: room.clock.now(), mark };
        if let Err(error) = room.store.mark(source, facts.version, marked, event).await {
            tracing::error!(error = ?error, "an outdated hash could not be marked");
        }
    }

    /// Alarms that concern nobody's sign-in alone: answers unknown to this version, rows that do not open.
    async fn raise_oddities(&self, followed: &Followed) {
        let unreadable = Asked::Unavailable(UnavailableCause::CredentialUnreadable);
        let (name, subject, detail) = match (followed.situation.primary, followed.situation.backup) {
            (Asked::Verdict(Verdict::Refused(Refusal::RefusedUnknown(code))), _) => {
                let connector = followed.candidate.connector.as_ref().map(ToString::to_string).unwrap_or_default();
                ("unknown-refusal", connector, format!("the directory answered with the unknown code {code}"))
            }
            (primary, backup) if primary == unreadable || backup == unreadable => {
                let source = followed.candidate.source.as_ref().map(ToString::to_string).unwrap_or_default();
                ("credential-unreadable", source, "the stored credential does not open with the key ring".to_owned())
            }
            _ => return,
        };
        let event = Event::new(EventKind::AlertRaised, Outcome::Success, Actor::System("sign-in".to_owned()))
            .about(&subject)
            .because(name);
        let alert = Alert { name, subject, detail, at: self.room.clock.now() };
        if let Err(error) = self.room.store.raise(alert, vec![event]).await {
            tracing::error!(alert = name, error = ?error, "an alert could not be written");
        }
    }
}

fn subject(oid: Option<UserId>, followed: &Followed) -> String {
    oid.map_or_else(|| followed.candidate.name.folded(), |oid| oid.to_string())
}
