//! The Unix socket of the admin API: peers are authenticated by the kernel (`SO_PEERCRED`) and mapped to principals.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::post;
use axum::serve::IncomingStream;
use axum::{Extension, Json, Router};
use tokio::net::UnixListener;

use super::error::{Kind, OperationError};
use super::operation::{AdminSession, Operation, call};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::AdminPrincipal;
use crate::store::audit::AuditLog;

/// Largest request body: batches of names, not files.
const BODY_LIMIT: usize = 1024 * 1024;

/// The uid of the process at the other end of the socket; `None` when the kernel did not tell.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|cred| cred.uid()))
    }
}

/// Where the operations of staging instances are.
const INSTANCES: &str = "/admin/v1/instances";

/// Who may knock, and where it is written down who may not.
struct Gatekeeper {
    principals: Vec<AdminPrincipal>,
    audit: AuditLog,
    /// Uids that were refused, and when it was last written down.
    refused: Mutex<HashMap<Option<u32>, Instant>>,
}

/// How long the refusals of one uid make one audit record: everybody on the machine can knock, as often as they like.
const REFUSALS_TOGETHER: Duration = Duration::from_secs(60);
/// Uids that are remembered at once; when there are more, all are forgotten.
const REMEMBERED_UIDS: usize = 1024;

impl Gatekeeper {
    /// Whether this refusal is to be recorded.
    fn is_news(&self, uid: Option<u32>) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.get(&uid).is_some_and(|last| last.elapsed() < REFUSALS_TOGETHER) {
            return false;
        }
        if refused.len() >= REMEMBERED_UIDS {
            refused.clear();
        }
        refused.insert(uid, Instant::now());
        true
    }

    async fn refuse(&self, uid: Option<u32>, operation: &str) -> OperationError {
        let text = uid.map_or_else(|| "unknown".to_owned(), |uid| uid.to_string());
        if self.is_news(uid) {
            tracing::warn!(peer.uid = text, operation, "an unlisted uid asked for the admin socket");
            let event = Event::new(EventKind::AdminRefused, Outcome::Refused, Actor::Anonymous)
                .about(format_args!("uid {text}"))
                .because("unlisted-uid")
                .with("operation", operation);
            if let Err(error) = self.audit.record(event).await {
                return OperationError::internal(&error);
            }
        }
        let message = format!("uid {text} is no admin principal; list it under [[admin.principals]]");
        OperationError::new(Kind::Forbidden, message)
    }
}

/// Unlisted uids are refused here, before any operation is looked at.
impl<S: Send + Sync> FromRequestParts<S> for AdminSession {
    type Rejection = OperationError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(Peer(uid))| *uid);
        let Some(gatekeeper) = parts.extensions.get::<Arc<Gatekeeper>>().cloned() else {
            return Err(OperationError::new(Kind::Internal, "the admin socket has no gatekeeper"));
        };
        let found = peer.and_then(|uid| gatekeeper.principals.iter().find(|principal| principal.uid == uid));
        match found {
            Some(principal) => Ok(Self::authenticated(principal.name.clone(), principal.role)),
            None => {
                let operation = parts.uri.path().rsplit('/').next().unwrap_or_default();
                Err(gatekeeper.refuse(peer, operation).await)
            }
        }
    }
}

/// The routes of the admin API, built operation by operation.
#[derive(Clone)]
pub struct AdminRoutes {
    router: Router,
    audit: AuditLog,
    names: Vec<&'static str>,
    /// The staging instance that operations are added for.
    instance: Option<String>,
}

impl AdminRoutes {
    pub fn new(audit: AuditLog) -> Self {
        Self { router: Router::new(), audit, names: Vec::new(), instance: None }
    }

    /// Adds the operation `O`, which works on `gateway`.
    pub fn with<O: Operation>(mut self, gateway: &Arc<O::Gateway>) -> Self {
        let (gateway, audit, instance) = (gateway.clone(), self.audit.clone(), self.instance.clone());
        let path = match &instance {
            Some(instance) => format!("{INSTANCES}/{instance}/{}", O::NAME),
            None => {
                self.names.push(O::NAME);
                format!("/admin/v1/{}", O::NAME)
            }
        };
        let handler = move |admin: AdminSession, Json(request): Json<O::Request>| {
            let (gateway, audit, instance) = (gateway.clone(), audit.clone(), instance.clone());
            // A task of its own: a caller that hangs up must not cut an operation off between its writes, nor keep its end
            // out of the audit log.
            let called =
                tokio::spawn(async move { call::<O>(&gateway, instance.as_deref(), &audit, &admin, request).await });
            async move {
                match called.await {
                    Ok(answer) => answer.map(Json),
                    Err(error) => Err(OperationError::internal(&error)),
                }
            }
        };
        self.router = self.router.route(&path, post(handler));
        self
    }

    /// What is added next is for the staging instance `name`.
    pub fn at(mut self, name: &str) -> Self {
        self.instance = Some(name.to_owned());
        self
    }

    /// What is added next is for the gateway itself.
    pub fn at_active(mut self) -> Self {
        self.instance = None;
        self
    }

    /// Answers whoever asks an instance that there is not, or for what instances do not do.
    pub fn of_instances(mut self) -> Self {
        let refuse = |_: AdminSession, Path((instance, operation)): Path<(String, String)>| async move {
            OperationError::not_found(format!("there is no staging instance {instance} that does {operation}"))
        };
        self.router = self.router.route(&format!("{INSTANCES}/{{instance}}/{{operation}}"), post(refuse));
        self
    }

    /// The names of all operations, so that a test can walk them.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Serves the operations on a new socket at `path` until `stop` resolves. A socket left by a dead process is
    /// replaced; one that answers is not.
    pub async fn serve(
        self,
        path: &std::path::Path,
        principals: Vec<AdminPrincipal>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let listener = bind(path).await?;
        let gatekeeper = Gatekeeper { principals, audit: self.audit, refused: Mutex::default() };
        let router = self.router.layer(Extension(Arc::new(gatekeeper))).layer(DefaultBodyLimit::max(BODY_LIMIT));
        let service = router.into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
        // The name is ours; a later start replaces it if this fails.
        let _ = std::fs::remove_file(path);
        served
    }
}

async fn bind(path: &std::path::Path) -> std::io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            let message = format!("{} exists and is no socket; correct admin.socket", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, message));
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            let message = format!("another process serves the admin socket {}", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, message));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Who may do what is decided per peer; the mode lets every local principal knock.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use serde::{Deserialize, Serialize};
    use tokio::io::AsyncWriteExt as _;
    use tokio::sync::Notify;

    use super::*;
    use crate::config::DatabaseUrl;
    use crate::identity::{Right, Role, SettableClock, Timestamp};
    use crate::store::{Database, Room};

    /// An operation that begins, and ends when it is let.
    struct Slow;

    #[derive(Default)]
    struct Gate {
        begun: Notify,
        end: Notify,
    }

    #[derive(Serialize, Deserialize)]
    struct Nothing {}

    impl Operation for Slow {
        const NAME: &'static str = "slow.run";
        const RIGHT: Right = Right::ManageSync;
        const CHANGES: bool = true;
        type Request = Nothing;
        type Response = Nothing;
        type Gateway = Gate;

        fn subject(_: &Nothing) -> Option<String> {
            None
        }

        async fn run(gate: &Gate, _: &AdminSession, _: Nothing) -> Result<Nothing, OperationError> {
            gate.begun.notify_one();
            gate.end.notified().await;
            Ok(Nothing {})
        }
    }

    #[tokio::test]
    async fn an_operation_whose_caller_has_gone_runs_to_its_end_and_is_recorded() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite { directory: folder.path().to_owned() };
        let db = Database::open(&url, Room::Gateway).await.expect("a store");
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1)));
        let audit = AuditLog::new(db, "node1".parse().expect("a node"), clock);
        let uid = std::fs::metadata(folder.path()).expect("a folder").uid();
        let principals = vec![AdminPrincipal { name: "ada".to_owned(), uid, role: Role::Owner }];
        let (gate, path) = (Arc::new(Gate::default()), folder.path().join("admin.sock"));
        let routes = AdminRoutes::new(audit.clone()).with::<Slow>(&gate);
        let listener = path.clone();
        let served = tokio::spawn(async move { routes.serve(&listener, principals, std::future::pending()).await });
        let mut caller = loop {
            match tokio::net::UnixStream::connect(&path).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let request = b"POST /admin/v1/slow.run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                        content-length: 2\r\n\r\n{}";
        caller.write_all(request).await.expect("sent");
        gate.begun.notified().await;
        drop(caller);
        // Long enough for the server to notice; what it does about it is the question.
        tokio::time::sleep(Duration::from_millis(200)).await;
        gate.end.notify_one();
        let mut outcomes = Vec::new();
        for _ in 0..100 {
            let records = audit.tail(None, 10).await.expect("records");
            outcomes = records.into_iter().map(|record| record.outcome).collect();
            if outcomes.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        served.abort();
        assert_eq!(outcomes, ["begun", "success"]);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_replaced_by_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.db");
        std::fs::write(&path, b"precious").expect("a file");
        let refused = bind(&path).await.expect_err("not a socket");
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }
}
