//! The engine lease as a sync server holds it: the gateway's, asked for over the wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::gateway_link::{CallError, GatewayLink};
use super::protocol::{Done, FaultCode, OfEpoch, TakenLease, path};
use crate::identity::LeaseEpoch;
use crate::password_sync::EngineEpoch;
use crate::sync::lease::EngineLease;

/// Renewals, or tries to take the lease, within its length: half of them may fail before exports stop.
const RENEWALS: u32 = 6;
/// Between tries while the length of a lease is not known yet.
const FIRST_TRIES: Duration = Duration::from_secs(5);
/// For an answer: a gateway that is so slow does not keep the lease waiting for it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Takes, renews and gives back the lease; its task ends with `run`.
pub struct RemoteLease {
    link: GatewayLink,
    held: watch::Sender<Option<Held>>,
    /// One exchange about the lease at a time.
    turn: Mutex<()>,
    /// An answer was lost under this epoch: it must end before anything else is asked.
    burnt: watch::Sender<Option<LeaseEpoch>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: LeaseEpoch,
    length: Duration,
    /// Before the renewal was asked for, so that it never looks fresher than it is.
    renewed: Instant,
}

impl Held {
    /// INVARIANT: nothing is exported when more than half of the lease has passed.
    fn is_fresh(&self) -> bool {
        self.renewed.elapsed() < self.length / 2
    }
}

impl RemoteLease {
    pub fn new(link: GatewayLink) -> Arc<Self> {
        Arc::new(Self { link, held: watch::Sender::new(None), turn: Mutex::default(), burnt: watch::Sender::new(None) })
    }

    async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(&self, path: &str, question: &Q) -> Result<A, CallError> {
        match tokio::time::timeout(ANSWER_DEADLINE, self.link.ask(path, question)).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Lost("it did not come in time".to_owned())),
        }
    }

    fn fresh(&self) -> Option<Held> {
        self.held.borrow().filter(Held::is_fresh)
    }

    /// Nothing is done under `epoch` any more: what became of a request under it is not known.
    pub fn burn(&self, epoch: LeaseEpoch) {
        let newer = |held: &Option<Held>| held.is_some_and(|held| held.epoch > epoch);
        if !newer(&self.held.borrow()) {
            self.held.send_replace(None);
            self.burnt.send_replace(Some(epoch));
        }
    }

    /// Returns once nothing that was sent before can change the directory any more.
    ///
    /// # Errors
    /// The gateway gives no new epoch. While another server holds the lease, that one's epoch fences as well.
    pub async fn settle(&self) -> Result<(), CallError> {
        if self.burnt.borrow().is_none() {
            return Ok(());
        }
        self.renew().await
    }

    /// Renews the lease, or takes it if it can be had.
    pub async fn renew(&self) -> Result<(), CallError> {
        let _turn = self.turn.lock().await;
        let present = *self.held.borrow();
        let asked = Instant::now();
        if let Some(held) = present {
            let renewal = OfEpoch { epoch: held.epoch.number() };
            return match self.ask::<_, Done>(path::RENEW_LEASE, &renewal).await {
                Ok(Done {}) => {
                    // Unless it was burnt meanwhile.
                    self.held.send_if_modified(|now| match now {
                        Some(now) if now.epoch == held.epoch => {
                            now.renewed = asked;
                            true
                        }
                        Some(_) | None => false,
                    });
                    Ok(())
                }
                Err(CallError::Told(fault)) if fault.error == FaultCode::LeaseLost => {
                    self.held.send_replace(None);
                    Err(CallError::Told(fault))
                }
                // It may still be ours, for as long as it is fresh.
                Err(error) => Err(error),
            };
        }
        match self.ask::<_, TakenLease>(path::TAKE_LEASE, &Done {}).await {
            Ok(TakenLease { epoch, length_ms }) => {
                let epoch = LeaseEpoch::from_number(epoch);
                self.burnt.send_if_modified(|burnt| burnt.take_if(|burnt| *burnt < epoch).is_some());
                let length = Duration::from_millis(length_ms);
                self.held.send_replace(Some(Held { epoch, length, renewed: asked }));
                Ok(())
            }
            Err(CallError::Told(fault)) if fault.error == FaultCode::LeaseHeld => {
                // The other server's epoch is newer than any of ours.
                self.burnt.send_replace(None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the lease until `stop`, then gives it back.
    pub async fn run(&self, stop: CancellationToken) {
        let mut burnt = self.burnt.subscribe();
        loop {
            let pause = self.held.borrow().map_or(FIRST_TRIES, |held| held.length / RENEWALS);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                Ok(()) = burnt.changed() => {}
            }
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the engine lease could not be taken or renewed");
            }
        }
        let held = self.held.send_replace(None);
        if let Some(Held { epoch, .. }) = held
            && let Err(error) = self.ask::<_, Done>(path::RELEASE_LEASE, &OfEpoch { epoch: epoch.number() }).await
        {
            tracing::warn!(%error, "the engine lease could not be given back; it runs out by itself");
        }
    }
}

impl EngineLease for RemoteLease {
    fn held(&self) -> Option<LeaseEpoch> {
        self.fresh().map(|held| held.epoch)
    }
}

#[async_trait]
impl EngineEpoch for RemoteLease {
    async fn current(&self) -> Option<LeaseEpoch> {
        self.fresh().map(|held| held.epoch)
    }
}
