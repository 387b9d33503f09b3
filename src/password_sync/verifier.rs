//! The check of a password against the stored chain: `signin`'s [`HashCheck`] on top of store, key ring and pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::pace::Pace;
use super::sealer::{Sealer, Unreadable};
use super::store::{CredentialReader, CredentialStoreError, StoredCredential};
use crate::credential::chain::Match;
use crate::credential::{Chain, Cost, Demand, Derived, PoolError};
use crate::identity::{
    Answer, Clock, CredentialSource, Network, PlainPassword, Refusal, Unavailable, UnavailableCause, Verdict, Wire,
};
use crate::signin::authority::{Admission, CredentialFacts, CredentialStoreDown, HashAnswer, HashCheck};
use crate::signin::store::{Alert, Alerts, Mark};

/// Stored credentials as an authority.
pub struct StoredHashes {
    store: Arc<dyn CredentialReader>,
    alerts: Arc<dyn Alerts>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    dummy: Chain,
    pace: Pace,
}

/// How long a comparison off the answer path waits for a spare permit.
const SPARE_PATIENCE: Duration = Duration::from_secs(2);
/// Rows read at once when the slowest chain is looked for.
const CALIBRATION_PAGE: u32 = 1_000;

impl StoredHashes {
    pub fn new(
        store: Arc<dyn CredentialReader>,
        alerts: Arc<dyn Alerts>,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let dummy = Chain::dummy(sealer.hardening);
        let pace = Pace::new(dummy.cost());
        Self { store, alerts, sealer, clock, dummy, pace }
    }

    /// Looks for the slowest chain in use, by which all answers are held. To be called at start and from time to time;
    /// in between, a slower chain is learned when it is first checked.
    pub async fn calibrate(&self) -> Result<(), CredentialStoreError> {
        let mut slowest = self.dummy.cost();
        let mut after: Option<CredentialSource> = None;
        loop {
            let page = self.store.chains_after(after.as_ref(), CALIBRATION_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, chain) in &page {
                // A chain that cannot be read is answered as such, and holds nobody else up.
                if let Ok(chain) = chain.parse::<Chain>() {
                    slowest = slower(slowest, chain.cost());
                }
            }
        }
        self.pace.set(slowest);
        Ok(())
    }

    async fn answer(
        &self,
        source: Option<&CredentialSource>,
        password: &PlainPassword,
        admission: &Admission,
    ) -> HashAnswer {
        let stored = match source {
            None => None,
            Some(source) => match self.store.credential(source).await {
                Ok(stored) => stored,
                Err(error) => {
                    tracing::error!(error = ?error, "the credential store could not be read");
                    return unavailable(UnavailableCause::CredentialUnreadable);
                }
            },
        };
        let Some(stored) = stored.filter(|stored| is_usable(stored) && !is_superseded(stored)) else {
            let refusal = if source.is_some() { Refusal::NoCredential } else { Refusal::UnknownUser };
            return self.answer_without(password, admission, refusal).await;
        };
        let derived = match self.sealer.open(&stored.source, &stored.chain, &stored.sealed) {
            Ok(derived) => derived,
            Err(error) => {
                self.alarm(&stored.source, &error).await;
                return unavailable(UnavailableCause::CredentialUnreadable);
            }
        };
        self.pace.meet(derived.chain.cost());
        let answer = match self.compare(demand(admission), admission.patience, derived, password).await {
            Ok(Match::Same) => Answer::Verdict(Verdict::Verified),
            Ok(Match::Different) => Answer::Verdict(Verdict::Refused(Refusal::WrongPassword)),
            Err(error) => return not_compared(&error),
        };
        HashAnswer { answer, credential_version: Some(stored.version) }
    }

    /// The road of a user who has no credential: the same work, and a refusal.
    async fn answer_without(&self, password: &PlainPassword, admission: &Admission, refusal: Refusal) -> HashAnswer {
        let (dummy, password) = (self.dummy.clone(), password.clone());
        let work = move || dummy.verify_dummy(&password);
        match self.sealer.pool.run(demand(admission), admission.patience, work).await {
            Ok(_) => HashAnswer { answer: Answer::Verdict(Verdict::Refused(refusal)), credential_version: None },
            Err(error) => not_compared(&error),
        }
    }

    async fn compare(
        &self,
        demand: Demand,
        patience: Duration,
        derived: Derived,
        password: &PlainPassword,
    ) -> Result<Match, PoolError> {
        let (cost, password) = (derived.chain.cost(), password.clone());
        let work = move || {
            let started = Instant::now();
            (derived.verify(&password), started.elapsed())
        };
        let (found, elapsed) = self.sealer.pool.run(demand, patience, work).await?;
        self.pace.observe(cost, elapsed);
        // Chains are checked when they are stored; a step that cannot run for want of memory is an overload.
        found.map_err(|error| {
            tracing::error!(error = %error, "a stored chain could not be derived");
            PoolError::Overloaded
        })
    }

    async fn alarm(&self, source: &CredentialSource, error: &Unreadable) {
        tracing::error!(source = %source, error = ?error, "a stored credential does not open");
        metrics::counter!("landbridge_credentials_unreadable_total").increment(1);
        let alert = Alert {
            name: "credential-unreadable",
            subject: String::new(),
            detail: format!("the stored credential of {source} does not open: {error}"),
            at: self.clock.now(),
        };
        if let Err(error) = self.alerts.raise(alert, Vec::new()).await {
            tracing::error!(error = ?error, "an alert could not be raised");
        }
    }
}

#[async_trait]
impl HashCheck for StoredHashes {
    async fn check(
        &self,
        source: Option<&CredentialSource>,
        password: &PlainPassword,
        admission: Admission,
    ) -> HashAnswer {
        let started = Instant::now();
        let answer = self.answer(source, password, &admission).await;
        tokio::time::sleep(self.pace.missing(started.elapsed())).await;
        answer
    }

    async fn matches_spare(&self, source: &CredentialSource, password: &PlainPassword) -> Option<bool> {
        let stored = match self.store.credential(source).await {
            Ok(stored) => stored.filter(is_usable)?,
            Err(error) => {
                tracing::warn!(error = ?error, "a refused password could not be compared with the stored hash");
                return None;
            }
        };
        let derived = match self.sealer.open(&stored.source, &stored.chain, &stored.sealed) {
            Ok(derived) => derived,
            Err(error) => {
                self.alarm(source, &error).await;
                return None;
            }
        };
        match self.compare(Demand::Background, SPARE_PATIENCE, derived, password).await {
            Ok(found) => Some(found == Match::Same),
            Err(PoolError::Overloaded) => None,
            Err(error @ PoolError::Failed(_)) => {
                tracing::error!(error = ?error, "a comparison ended abnormally");
                None
            }
        }
    }

    fn checks_a_minute(&self) -> Option<u64> {
        let each = self.pace.each().as_nanos().max(1);
        let all = Duration::from_secs(60).as_nanos().saturating_mul(self.sealer.pool.width() as u128) / each;
        Some(u64::try_from(all).unwrap_or(u64::MAX))
    }

    async fn facts(&self, source: &CredentialSource) -> Result<Option<CredentialFacts>, CredentialStoreDown> {
        let stored = self.store.credential(source).await.map_err(|error| CredentialStoreDown(Box::new(error)))?;
        Ok(stored.map(|stored| CredentialFacts {
            version: stored.version,
            usable: is_usable(&stored),
            outdated: stored.outdated.is_some(),
            password_set: stored.password_set,
            stored_at: stored.stored_at,
            confirmed_at: stored.confirmed_at,
            leaked: stored.leaked && !is_superseded(&stored),
        }))
    }
}

fn is_usable(stored: &StoredCredential) -> bool {
    stored.stage.is_usable() && !stored.ineligible
}

/// The directory has proved to have another password by now, so that this one is nobody's. What it merely refused while
/// nobody compared is in doubt; that bars from failover alone.
fn is_superseded(stored: &StoredCredential) -> bool {
    stored.outdated.as_ref().is_some_and(|mark| match mark.by {
        Mark::StillMatchesRefused | Mark::NewerPasswordSet => true,
        Mark::Unchecked => false,
    })
}

fn demand(admission: &Admission) -> Demand {
    if admission.familiar { Demand::Familiar } else { Demand::Unfamiliar(admission.network.map(Network::of)) }
}

fn not_compared(error: &PoolError) -> HashAnswer {
    if let PoolError::Failed(_) = error {
        tracing::error!(error = ?error, "a check ended abnormally");
    }
    unavailable(UnavailableCause::Overloaded)
}

fn unavailable(cause: UnavailableCause) -> HashAnswer {
    let unavailable = Unavailable { cause, wire: Wire::NothingSent, server: None };
    HashAnswer { answer: Answer::Unavailable(unavailable), credential_version: None }
}

fn slower(one: Cost, other: Cost) -> Cost {
    if other.time > one.time { other } else { one }
}
