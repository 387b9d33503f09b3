//! Prometheus metrics on a listener of their own.

use std::net::SocketAddr;
use std::sync::OnceLock;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The process's one recorder: gateways in one process (tests, the demonstration) share it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts recording for the process; `None` when another recorder is installed.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    let made = RECORDER.get_or_init(|| match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(%error, "metrics are not recorded");
            None
        }
    });
    made.as_ref()
}

/// Serves `/metrics` until `stop` resolves.
pub async fn serve(address: SocketAddr, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let text = || async { recorder().map(PrometheusHandle::render).unwrap_or_default() };
    let router = Router::new().route("/metrics", get(text));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
