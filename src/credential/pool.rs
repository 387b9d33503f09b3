//! The hashing pool: derivations run off the async threads, a bounded number at a time, sign-ins before background
//! work and familiar devices before strangers (design D7).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::pool_queue::{Entry, Limits, Queue, Ticket};
use crate::identity::Network;

/// For whom a derivation is run. Lockout and network limits of the sign-in come before this queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A sign-in from a device that its user has signed in from before. Half of the permits are kept for these.
    Familiar,
    /// Any other sign-in, with the network it comes from where that is known.
    Unfamiliar(Option<Network>),
    /// Wrapping and comparisons off the answer path: only what no sign-in wants.
    Background,
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The queue is full, or no permit came in time: *unavailable*, never a wrong password.
    #[error("no key derivation could be started in time")]
    Overloaded,
    #[error("a key derivation ended abnormally")]
    Failed(#[source] tokio::task::JoinError),
}

/// What a pool has to work with.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    pub cores: usize,
    /// Memory that all derivations together may take.
    pub memory_kib: u64,
    /// Memory that one derivation takes.
    pub each_kib: u32,
}

/// A handle; clones share one pool.
#[derive(Clone, Debug)]
pub struct HashingPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next_ticket: AtomicU64,
    state: Mutex<State>,
    /// Derivations that run at full speed at once: one a core.
    width: usize,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    waiting: HashMap<Ticket, oneshot::Sender<Permit>>,
}

/// Waiting places per permit: at the budgeted 15 ms a derivation, one second of work.
const QUEUE_PER_PERMIT: usize = 64;

impl HashingPool {
    /// Twice as many permits as cores, as far as memory allows: strangers get at most one per core, so that the
    /// reservation for familiar devices costs no idle core.
    pub fn new(size: PoolSize) -> Self {
        let cores = size.cores.max(1);
        let affordable = size.memory_kib / u64::from(size.each_kib.max(1));
        let permits = (2 * cores).min(usize::try_from(affordable).unwrap_or(usize::MAX)).max(1);
        let queue = permits * QUEUE_PER_PERMIT;
        let limits = Limits {
            permits,
            unfamiliar: permits.div_ceil(2),
            background: permits.div_ceil(2),
            per_network: (permits / 4).max(1),
            queue,
            queue_per_network: queue / 4,
        };
        let state = State { queue: Queue::new(limits), waiting: HashMap::new() };
        let width = cores.min(permits);
        Self(Arc::new(Inner { next_ticket: AtomicU64::new(0), state: Mutex::new(state), width }))
    }

    /// How many derivations run at full speed at once.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Runs `work` on a blocking thread once a permit is there; gives up after `patience` without one. A derivation
    /// that has begun holds its permit to its end, even when nobody waits for it any more.
    pub async fn run<T, F>(&self, demand: Demand, patience: Duration, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = self.permit(demand, patience).await?;
        let job = move || {
            let _held = permit;
            work()
        };
        tokio::task::spawn_blocking(job).await.map_err(PoolError::Failed)
    }

    async fn permit(&self, demand: Demand, patience: Duration) -> Result<Permit, PoolError> {
        let ticket = self.0.next_ticket.fetch_add(1, Ordering::Relaxed);
        let receiver = {
            let mut state = self.0.lock();
            match state.queue.enter(ticket, demand) {
                Entry::Start => return Ok(Permit { pool: Arc::clone(&self.0), demand }),
                Entry::Full => return Err(PoolError::Overloaded),
                Entry::Wait => {
                    let (sender, receiver) = oneshot::channel();
                    state.waiting.insert(ticket, sender);
                    receiver
                }
            }
        };
        let _place = Place { pool: Arc::clone(&self.0), ticket, demand };
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(PoolError::Overloaded),
        }
    }
}

/// The right to run one derivation; given back when dropped.
#[derive(Debug)]
struct Permit {
    pool: Arc<Inner>,
    demand: Demand,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.lock().queue.leave(self.demand);
        self.pool.start_waiting();
    }
}

/// A place in the queue; given up when its waiter goes, whether served or not.
struct Place {
    pool: Arc<Inner>,
    ticket: Ticket,
    demand: Demand,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if state.waiting.remove(&self.ticket).is_some() {
            state.queue.abandon(self.ticket, self.demand);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The counters are changed by single statements that do not panic in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_waiting(self: &Arc<Self>) {
        loop {
            let (sender, demand) = {
                let mut state = self.lock();
                let Some((ticket, demand)) = state.queue.next() else { return };
                (state.waiting.remove(&ticket), demand)
            };
            let permit = Permit { pool: Arc::clone(self), demand };
            // A waiter that has gone hands its permit back: dropped here, it starts the next one itself.
            if let Some(Err(unwanted)) = sender.map(|sender| sender.send(permit)) {
                drop(unwanted);
            }
        }
    }
}
