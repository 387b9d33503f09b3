//! Tries of many names from one network: the alert while such a network is slowed. What slows it is `lockout::SprayLimits`.

use std::time::{Duration, Instant};

use super::service::SignIn;
use super::store::{Alert, StoreDown};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Network, Timestamp};

/// The alert of a network from which many names are tried.
pub const PASSWORD_SPRAY: &str = "password-spray";
/// Between two writes of such alerts on a node.
pub(super) const SPRAY_TOLD: Duration = Duration::from_secs(2);

impl SignIn {
    /// Raises the alert of a slowed network. Nobody's sign-in depends on it.
    pub(super) async fn tell_of_spray(&self, network: Network) {
        if !self.room.spray_told.now(Instant::now()) {
            return;
        }
        let detail = "many names are tried from this network in vain; its unknown devices are slowed".to_owned();
        let alert = Alert { name: PASSWORD_SPRAY, subject: network.to_string(), detail, at: self.room.clock.now() };
        let event = event(EventKind::AlertRaised, &alert.subject);
        if let Err(error) = self.room.store.raise(alert, vec![event]).await {
            tracing::error!(%network, error = ?error, "the alert of a password spray could not be written");
        }
    }

    /// Clears the alerts of networks that were not slowed since `quiet`.
    pub(super) async fn clear_sprays(&self, quiet: Timestamp) -> Result<(), StoreDown> {
        let store = &self.room.store;
        for alert in store.raised().await?.into_iter().filter(|alert| alert.name == PASSWORD_SPRAY) {
            if !store.was_slowed(&alert.subject, quiet).await? {
                let events = vec![event(EventKind::AlertCleared, &alert.subject)];
                store.clear(PASSWORD_SPRAY, alert.subject, self.room.clock.now(), events).await?;
            }
        }
        Ok(())
    }
}

fn event(kind: EventKind, network: &str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("lockout".to_owned())).about(network).because(PASSWORD_SPRAY)
}
