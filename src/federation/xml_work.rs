//! XML signatures are made and checked off the async threads, a few at a time: anybody can post an answer that has to be
//! looked at.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::identity::Network;
use crate::limits::{Full, Limits, Places};

/// Jobs that run or wait at once, and how many of them one network may have. A check takes some milliseconds.
const PLACES: Limits = Limits { all: 128, per_network: 32 };

/// Why a job was not done: *unavailable*, never a refusal.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    #[error("too many answers of partners are being checked")]
    Overloaded(#[source] Full),
    #[error("the check of a signature ended abnormally")]
    Failed(#[source] tokio::task::JoinError),
}

/// A handle; clones share the places.
#[derive(Clone, Debug)]
pub struct XmlWork {
    places: Places,
    running: Arc<Semaphore>,
}

impl XmlWork {
    /// At most `at_once` jobs run.
    pub fn new(at_once: usize) -> Self {
        Self::with_places(at_once, PLACES)
    }

    fn with_places(at_once: usize, places: Limits) -> Self {
        Self { places: Places::new(places), running: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// Runs a job for a caller in `network`. A caller who goes away leaves the job to end by itself.
    pub async fn run<T: Send + 'static>(
        &self,
        network: Option<Network>,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let place = self.places.take(network).map_err(NotDone::Overloaded)?;
        let permit = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        let work = tokio::task::spawn_blocking(move || {
            let _held = (place, permit);
            job()
        });
        work.await.map_err(NotDone::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn one_network_waits_within_its_share_and_leaves_places_to_others() {
        let work = XmlWork::with_places(1, Limits { all: 4, per_network: 2 });
        let (loud, quiet) = (Network::of([10, 0, 0, 1].into()), Network::of([10, 0, 1, 1].into()));
        let (end, ended) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let running = tokio::spawn({
            let work = work.clone();
            async move {
                let job = move || {
                    begun.send(()).expect("the test waits");
                    ended.recv()
                };
                work.run(Some(loud), job).await
            }
        });
        begins.await.expect("the job runs");
        // Polled once, each holds its place and waits for the one that runs.
        let mut waiting = Box::pin(work.run(Some(loud), || 7));
        assert!(futures::poll!(&mut waiting).is_pending());
        let refused = work.run(Some(loud), || 8).await;
        assert!(matches!(refused, Err(NotDone::Overloaded(Full::Network))), "{refused:?}");
        let mut other = Box::pin(work.run(Some(quiet), || 9));
        assert!(futures::poll!(&mut other).is_pending());
        end.send(()).expect("the job waits");
        running.await.expect("a task").expect("done").expect("told");
        assert_eq!(waiting.await.expect("done"), 7);
        assert_eq!(other.await.expect("done"), 9);
        work.run(Some(loud), || 10).await.expect("the places were given back");
    }

    #[tokio::test]
    async fn a_job_that_panics_is_no_verdict() {
        let work = XmlWork::new(1);
        let failed: Result<(), NotDone> = work.run(None, || panic!("asked for")).await;
        assert!(matches!(failed, Err(NotDone::Failed(_))));
        assert_eq!(work.run(None, || 1).await.expect("the permit was given back"), 1);
    }
}
