//! How a sync server makes itself known: with its first request, and each minute after that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_proto::GatewayNode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::gateway_link::{CallError, GatewayLink};
use super::protocol::{Hello, Welcome, path};
use crate::agents::SOFTWARE;
use crate::agents::process::{Identity, Renewal, nodes};
use crate::identity::{Clock, causes};
use crate::os;

/// Between two greetings.
const GREETING: Duration = Duration::from_secs(60);
/// Between two tries of the first.
const RETRY: Duration = Duration::from_secs(5);

/// Greets the gateway, and learns where its nodes are.
pub async fn greet(link: &GatewayLink) -> Result<Welcome, CallError> {
    let hello = Hello { host: os::host_name(), software: SOFTWARE.to_owned() };
    let welcome: Welcome = link.ask(path::HELLO, &hello).await?;
    let nodes = welcome.nodes.iter().map(|node| GatewayNode { name: node.name.clone(), url: node.url.clone() });
    link.set_nodes(nodes.collect());
    Ok(welcome)
}

/// Greets until the gateway answers; `None` when `stop` came first.
pub async fn first_welcome(link: &GatewayLink, stop: &CancellationToken) -> Option<Welcome> {
    loop {
        match greet(link).await {
            Ok(welcome) => return Some(welcome),
            Err(error) => tracing::warn!(error = causes(&error), "the gateway does not answer yet; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// The link of an enrolled machine, and the task that renews its certificate, for as long as it runs.
pub fn link(state: PathBuf, identity: Identity, clock: Arc<dyn Clock>) -> (GatewayLink, impl Future<Output = ()>) {
    let (identity, known) = (watch::Sender::new(Arc::new(identity)), nodes::load(&state));
    let link = GatewayLink::new(identity.subscribe(), known);
    let renewal = Renewal { state, clock, identity, nodes: link.nodes() };
    (link, renewal.run())
}

/// Greets each minute, and remembers the gateway's nodes, until `stop`.
pub async fn keep_greeting(link: GatewayLink, state: PathBuf, stop: CancellationToken) {
    let mut nodes = link.nodes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GREETING) => {}
        }
        if let Err(error) = greet(&link).await {
            tracing::warn!(error = causes(&error), "the gateway does not answer");
        }
        if nodes.has_changed().unwrap_or(false) {
            nodes::save(&state, &nodes.borrow_and_update());
        }
    }
}
