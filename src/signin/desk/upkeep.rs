//! What happens to sign-in by itself, every few seconds, on every node.

use super::{DeskError, FAILOVER_OVERDUE, Releasing, SignInDesk, alert_event};
use crate::audit::{Actor, EventKind};
use crate::signin::store::{Alert, StoreDown};
use crate::tenant::Domain;

/// Minutes of the tally are kept for two weeks: a drill looks a week back.
const KEPT: std::time::Duration = std::time::Duration::from_secs(14 * 86_400);

impl SignInDesk {
    /// Writes down what was counted, lets changes go on, ends what has its time. To be called often, on every node.
    pub async fn upkeep(&self) -> Result<(), DeskError> {
        self.write_tally().await?;
        self.go_on().await?;
        self.end_pins().await?;
        self.settle_gone_groups().await
    }

    /// Writes down how tries ended on this node, and how fast it checks.
    pub async fn write_tally(&self) -> Result<(), StoreDown> {
        let room = &self.sign_in.room;
        let (counts, pace, now) = (room.tally.take(), room.hashes.checks_a_minute(), self.time.now().await?);
        if counts.is_empty() && pace.is_none() {
            return Ok(());
        }
        if let Err(error) = self.tallies.add(counts.clone(), pace, now).await {
            room.tally.give_back(counts);
            return Err(error);
        }
        Ok(())
    }

    /// Forgets old minutes of the tally.
    pub async fn forget_tally(&self) -> Result<(), StoreDown> {
        self.tallies.forget(self.sign_in.room.clock.now() - KEPT).await
    }

    /// Releases pins whose time is over. A forced backup stays while nobody could sign in without it, and says so.
    async fn end_pins(&self) -> Result<(), DeskError> {
        let now = self.time.now().await?;
        for domain in self.domains.domains().await? {
            let due = domain.pin.as_ref().and_then(|mark| mark.until).is_some_and(|until| until <= now);
            if !due {
                continue;
            }
            match self.release_as(&domain, Releasing::OnceRecovered, Actor::System("failover".to_owned())).await {
                Ok(_) => {}
                Err(error @ DeskError::StillDown { .. }) => self.overdue(&domain, error.to_string()).await?,
                // Another node, or an operator, was first.
                Err(DeskError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that a pin stays beyond its time, unless it was released or renewed meanwhile.
    async fn overdue(&self, domain: &Domain, detail: String) -> Result<(), DeskError> {
        let (room, name) = (&self.sign_in.room, &domain.name);
        let now = room.clock.now();
        let alert = Alert { name: FAILOVER_OVERDUE, subject: name.to_string(), detail, at: now };
        room.store.raise(alert, vec![alert_event(EventKind::AlertRaised, name, FAILOVER_OVERDUE)]).await?;
        // Whoever moves the pin clears the alert afterwards; it may have been before this.
        match self.domain(name).await?.pin == domain.pin {
            true => Ok(()),
            false => self.clear(&[FAILOVER_OVERDUE], name, now).await,
        }
    }
}
