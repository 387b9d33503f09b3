//! The Unix socket of the admin API: peers are authenticated by the kernel (`SO_PEERCRED`) and mapped to principals.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::post;
use axum::serve::IncomingStream;
use axum::{Extension, Json, Router};
use tokio::net::UnixListener;

use super::error::{Kind, OperationError};
use super::operation::{AdminSession, Operation, call};
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

type Principals = Arc<Vec<AdminPrincipal>>;

/// Unlisted uids are refused here, before any operation is looked at.
impl<S: Send + Sync> FromRequestParts<S> for AdminSession {
    type Rejection = OperationError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(Peer(uid))| *uid);
        let principals = parts.extensions.get::<Principals>();
        let found = principals.zip(peer).and_then(|(list, uid)| list.iter().find(|principal| principal.uid == uid));
        match (found, peer) {
            (Some(principal), _) => Ok(Self::authenticated(principal.name.clone(), principal.role)),
            (None, uid) => {
                let uid = uid.map_or_else(|| "unknown".to_owned(), |uid| uid.to_string());
                tracing::warn!(peer.uid = uid, "an unlisted uid asked for the admin socket");
                let message = format!("uid {uid} is no admin principal; list it under [[admin.principals]]");
                Err(OperationError::new(Kind::Forbidden, message))
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
}

impl AdminRoutes {
    pub fn new(audit: AuditLog) -> Self {
        Self { router: Router::new(), audit, names: Vec::new() }
    }

    /// Adds the operation `O`, which works on `gateway`.
    pub fn with<O: Operation>(mut self, gateway: &Arc<O::Gateway>) -> Self {
        let (gateway, audit) = (gateway.clone(), self.audit.clone());
        let handler = move |admin: AdminSession, Json(request): Json<O::Request>| {
            let (gateway, audit) = (gateway.clone(), audit.clone());
            async move { call::<O>(&gateway, &audit, &admin, request).await.map(Json) }
        };
        self.router = self.router.route(&format!("/admin/v1/{}", O::NAME), post(handler));
        self.names.push(O::NAME);
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
        path: &Path,
        principals: Vec<AdminPrincipal>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let listener = bind(path).await?;
        let router =
            self.router.layer(Extension::<Principals>(Arc::new(principals))).layer(DefaultBodyLimit::max(BODY_LIMIT));
        let service = router.into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
        // The name is ours; a later start replaces it if this fails.
        let _ = std::fs::remove_file(path);
        served
    }
}

async fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if path.exists() {
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
