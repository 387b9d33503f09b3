//! What changes in the store and concerns open connections: revocations, draining, and the list of nodes.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::room::Broker;
use crate::identity::causes;

/// A revocation on one node ends the connections of all within a second.
const POLL: Duration = Duration::from_millis(500);
const REPORT: Duration = Duration::from_secs(5);
/// A node that has not reported for so long is not among those that agents connect to.
const ALIVE: Duration = Duration::from_secs(300);

impl Broker {
    /// Follows the store until `stop`, then ends all connections.
    pub async fn watch(&self, url: &str, stop: CancellationToken) {
        let mut reported: Option<Instant> = None;
        let mut failing = false;
        loop {
            let report = reported.is_none_or(|at| at.elapsed() >= REPORT);
            match self.look(report.then_some(url)).await {
                Ok(()) => {
                    if report {
                        reported = Some(Instant::now());
                    }
                    failing = false;
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(error = causes(&error), "revocations of agents cannot be read; trying on");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.close("the gateway stops");
    }

    async fn look(&self, report: Option<&str>) -> Result<(), super::registry::RegistryDown> {
        let room = &self.0;
        let now = room.clock.now();
        if let Some(url) = report {
            room.registry.report_node(&room.node, url, now).await?;
        }
        let notices = room.registry.notices(now - ALIVE).await?;
        for link in room.links().iter() {
            if notices.revoked.contains(&link.agent) {
                link.shut("the agent is revoked");
            } else if link.certificate_ends <= now {
                link.close("the agent's certificate has ended");
            } else if notices.draining.contains(&link.agent) {
                link.drain(true);
            }
        }
        room.nodes.send_if_modified(|nodes| {
            let changed = *nodes != notices.nodes;
            *nodes = notices.nodes;
            changed
        });
        Ok(())
    }
}
