//! Certificates that are going to end, told 60, 30 and 7 days before, and when they have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Clock, Timestamp, causes};
use crate::password_sync::EngineEpoch;
use crate::signin::store::{Alert, Alerts, StoreDown};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The alerts, nearest end first, each with the time before the end at which it is raised.
const STAGES: [(&str, Duration); 4] = [
    ("certificate-ended", Duration::ZERO),
    ("certificate-ends-in-7-days", Duration::from_secs(7 * 86_400)),
    ("certificate-ends-in-30-days", Duration::from_secs(30 * 86_400)),
    ("certificate-ends-in-60-days", Duration::from_secs(60 * 86_400)),
];

/// A certificate on which sign-ins rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose it is, such as a partner's entity id.
    pub subject: String,
    pub not_after: Timestamp,
    /// What an operator can do.
    pub remedy: String,
}

/// Who knows such certificates.
#[async_trait]
pub trait Endings: Send + Sync {
    async fn endings(&self) -> Result<Vec<Ending>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Looks each hour, on the node that holds the engine lease.
pub struct CertificateWatch {
    pub sources: Vec<Arc<dyn Endings>>,
    pub alerts: Arc<dyn Alerts>,
    pub epoch: Arc<dyn EngineEpoch>,
    pub clock: Arc<dyn Clock>,
}

/// The stage that `not_after` has reached.
fn stage(not_after: Timestamp, now: Timestamp) -> Option<&'static str> {
    STAGES.iter().find(|(_, before)| now + *before >= not_after).map(|(name, _)| *name)
}

impl CertificateWatch {
    pub async fn run(self, stop: CancellationToken) {
        // A node that has just started may not hold the lease yet.
        let mut wait = Duration::from_secs(10);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = LOOK;
            if self.epoch.current().await.is_none() {
                wait = Duration::from_secs(60);
                continue;
            }
            if let Err(error) = self.look().await {
                tracing::warn!(error = causes(&*error), "certificates that end could not be looked for");
            }
        }
    }

    async fn look(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let now = self.clock.now();
        let mut endings = Vec::new();
        let mut all_known = true;
        for source in &self.sources {
            match source.endings().await {
                Ok(known) => endings.extend(known),
                Err(error) => {
                    all_known = false;
                    tracing::warn!(error = causes(&*error), "the end of some certificates is not known");
                }
            }
        }
        for ending in &endings {
            if let Some(name) = stage(ending.not_after, now) {
                self.raise(name, ending, now).await?;
            }
        }
        let right = |name: &str, subject: &str| {
            endings.iter().any(|ending| ending.subject == subject && stage(ending.not_after, now) == Some(name))
        };
        for raised in self.alerts.raised().await? {
            let Some((name, _)) = STAGES.iter().find(|(name, _)| *name == raised.name) else { continue };
            if all_known && !right(name, &raised.subject) {
                let events = vec![event(EventKind::AlertCleared, name, &raised.subject)];
                self.alerts.clear(name, raised.subject, now, events).await?;
            }
        }
        Ok(())
    }

    async fn raise(&self, name: &'static str, ending: &Ending, now: Timestamp) -> Result<(), StoreDown> {
        let days = ending.not_after.since(now).as_secs() / DAY.as_secs();
        let when = match ending.not_after <= now {
            true => format!("its certificate ended at {}", ending.not_after),
            false => format!("its certificate ends at {}, in {days} days", ending.not_after),
        };
        let subject = ending.subject.clone();
        let events = vec![event(EventKind::AlertRaised, name, &subject)];
        let alert = Alert { name, subject, detail: format!("{when}; {}", ending.remedy), at: now };
        self.alerts.raise(alert, events).await.map(|_| ())
    }
}

fn event(kind: EventKind, name: &str, subject: &str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("certificates".to_owned())).about(subject).because(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_begins_on_its_day() {
        let end = Timestamp::from_secs(100 * 86_400);
        let at = |days: u64, then: Duration| stage(end, end - days as u32 * DAY + then);
        let second = Duration::from_secs(1);
        assert_eq!(stage(end, end - 60 * DAY - second), None);
        assert_eq!(at(60, Duration::ZERO), Some("certificate-ends-in-60-days"));
        assert_eq!(at(31, DAY - second), Some("certificate-ends-in-60-days"));
        assert_eq!(at(30, Duration::ZERO), Some("certificate-ends-in-30-days"));
        assert_eq!(at(7, Duration::ZERO), Some("certificate-ends-in-7-days"));
        assert_eq!(at(0, Duration::ZERO), Some("certificate-ended"));
        assert_eq!(stage(end, end + 400 * DAY), Some("certificate-ended"));
    }
}
