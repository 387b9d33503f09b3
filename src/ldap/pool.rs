//! Kept connections to one server: one pool for searches as the service account, one for nothing but binds.
//!
//! A connection is lent to one user at a time, so a bind pool never has two binds outstanding on a connection
//! (RFC 4511, section 4.2.1). Waiting is first come, first served.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, ServiceAccount};
use super::error::LdapError;
use super::server_url::ServerUrl;
use super::trust::Trust;

/// What a pool's connections are for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// Bound as the service account when opened.
    Search(ServiceAccount),
    /// Binds of users; never searched on.
    Bind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Most connections in use and idle together.
    pub max_size: usize,
    /// Older connections are closed when they come back, so that a moved name or a changed CA is noticed.
    pub max_age: Duration,
    /// Connections that nobody used for this long are not used again: firewalls forget them silently.
    pub idle_limit: Duration,
    /// For name, connection, handshake and the service bind together.
    pub connect_deadline: Duration,
    /// Most connections outside the pool whose operation was given up and is still read to its end.
    pub max_given_up: usize,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_size: 16,
            max_age: Duration::from_secs(30 * 60),
            idle_limit: Duration::from_secs(60),
            connect_deadline: Duration::from_secs(1),
            max_given_up: 256,
        }
    }
}

/// Connections to one server for one purpose. Cheap to clone: clones share the connections.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    server: ServerUrl,
    trust: Trust,
    purpose: Purpose,
    settings: PoolSettings,
    permits: Arc<Semaphore>,
    given_up: Arc<Semaphore>,
    /// Last returned, first taken; a lock never held across an await.
    idle: Mutex<Vec<Idle>>,
    refused: Mutex<Option<Refused>>,
}

/// The directory refused the service account.
#[derive(Clone)]
struct Refused {
    at: Instant,
    code: u32,
    diagnostic: String,
}

/// After a refusal the service account is not tried again for this long: a wrong password, tried with every sign-in,
/// would get the account locked.
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub fn new(server: ServerUrl, trust: Trust, purpose: Purpose, settings: PoolSettings) -> Self {
        let permits = Arc::new(Semaphore::new(settings.max_size.max(1)));
        let given_up = Arc::new(Semaphore::new(settings.max_given_up));
        Self(Arc::new(Shared {
            server,
            trust,
            purpose,
            settings,
            permits,
            given_up,
            idle: Mutex::default(),
            refused: Mutex::default(),
        }))
    }

    pub fn server(&self) -> &ServerUrl {
        &self.0.server
    }

    /// A connection that was healthy a moment ago, kept or new. `deadline` bounds the wait for a free place; opening
    /// a new one has the pool's own deadline. Each call on the connection then has `deadline` too.
    pub async fn take(&self, deadline: Duration) -> Result<Pooled, LdapError> {
        let permit = self.permit(deadline).await?;
        while let Some(mut idle) = self.pop() {
            if idle.since.elapsed() < self.0.settings.idle_limit
                && self.is_young(&idle.connection)
                && !idle.connection.is_closed()
            {
                idle.connection.set_deadline(deadline);
                return Ok(self.lend(idle.connection, permit));
            }
        }
        let mut connection = self.open().await?;
        connection.set_deadline(deadline);
        Ok(self.lend(connection, permit))
    }

    /// A new connection, whatever is kept; after a kept one failed under an operation that may be repeated.
    pub async fn take_new(&self, deadline: Duration) -> Result<Pooled, LdapError> {
        let permit = self.permit(deadline).await?;
        let mut connection = self.open().await?;
        connection.set_deadline(deadline);
        Ok(self.lend(connection, permit))
    }

    /// Closes connections that were idle too long. Taking does this as well; a quiet pool needs a push now and then.
    pub fn prune(&self) {
        let limit = self.0.settings.idle_limit;
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|idle| idle.since.elapsed() < limit);
    }

    async fn permit(&self, deadline: Duration) -> Result<OwnedSemaphorePermit, LdapError> {
        match tokio::time::timeout(deadline, Arc::clone(&self.0.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(LdapError::NoFreeConnection { server: self.0.server.clone() }),
        }
    }

    async fn open(&self) -> Result<Connection, LdapError> {
        let Shared { server, trust, purpose, settings, refused, .. } = &*self.0;
        let before = refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Refused { code, diagnostic, .. }) = before.filter(|refused| refused.at.elapsed() < REFUSAL_PAUSE) {
            return Err(LdapError::ServiceBind { server: server.clone(), code, diagnostic });
        }
        let opening = async {
            let mut connection = Connection::open(server, trust, settings.connect_deadline).await?;
            if let Purpose::Search(account) = purpose {
                let bound = connection.bind(account).await;
                if let Err(LdapError::ServiceBind { code, diagnostic, .. }) = &bound {
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(Refused { at: Instant::now(), code: *code, diagnostic: diagnostic.clone() });
                }
                bound?;
            }
            Ok(connection)
        };
        match tokio::time::timeout(settings.connect_deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(LdapError::Deadline { server: server.clone(), doing: "connection attempt" }),
        }
    }

    fn pop(&self) -> Option<Idle> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn lend(&self, connection: Connection, permit: OwnedSemaphorePermit) -> Pooled {
        let place = Place { held: Arc::new(Mutex::new(Held::InPool { _permit: permit })), pool: self.clone() };
        Pooled { connection: Some(connection), place }
    }

    fn is_young(&self, connection: &Connection) -> bool {
        connection.age() < self.0.settings.max_age
    }
}

/// A connection lent by a pool. Dropping gives it back, if it is still good.
pub struct Pooled {
    /// INVARIANT: present until dropped.
    connection: Option<Connection>,
    place: Place,
}

/// The place that a lent connection takes in its pool.
#[derive(Clone)]
pub struct Place {
    held: Arc<Mutex<Held>>,
    pool: Pool,
}

enum Held {
    InPool {
        _permit: OwnedSemaphorePermit,
    },
    /// Counted among those given up.
    Outside {
        _permit: OwnedSemaphorePermit,
    },
    Nowhere,
}

impl Place {
    /// Gives the place to others while the connection's operation is still awaited: one that hangs must not keep
    /// anybody waiting. The connection is closed afterwards, never lent again. `false` when too many are awaited
    /// already: the operation should then be dropped.
    pub fn leave(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match Arc::clone(&self.pool.0.given_up).try_acquire_owned() {
            Ok(permit) => {
                *held = Held::Outside { _permit: permit };
                true
            }
            Err(_) => {
                *held = Held::Nowhere;
                false
            }
        }
    }

    fn is_in_pool(&self) -> bool {
        matches!(*self.held.lock().unwrap_or_else(PoisonError::into_inner), Held::InPool { .. })
    }
}

impl Pooled {
    pub fn place(&self) -> Place {
        self.place.clone()
    }
}

impl Deref for Pooled {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("present until dropped")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("present until dropped")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let pool = &self.place.pool;
        if self.place.is_in_pool() && pool.is_young(&connection) && !connection.is_closed() {
            let idle = Idle { connection, since: Instant::now() };
            pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
        // Whoever keeps a `Place` beyond its connection keeps nobody else waiting.
        *self.place.held.lock().unwrap_or_else(PoisonError::into_inner) = Held::Nowhere;
    }
}
