//! `landbridge agents list|token|revoke|drain|test`: agents and sync servers as the gateway's administrators see them.

use std::time::Duration;

use agent_proto::Versions;
use clap::Subcommand;

use super::output::table;
use super::{Client, Output};
use crate::agents::broker::desk::{AgentSummary, Whom};
use crate::identity::{AgentId, ConnectorName, DomainName};
use crate::web::admin::agents_drain::{self, AgentsDrain};
use crate::web::admin::agents_list::{self, AgentsList};
use crate::web::admin::agents_revoke::{self, AgentsRevoke};
use crate::web::admin::agents_test::{self, AgentsTest};
use crate::web::admin::agents_token::{self, AgentsToken};

#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// List the enrolled agents and sync servers, and whether they are connected to this node.
    List,
    /// Make a one-time enrolment token for a machine beside the connector's directory.
    Token {
        /// The connector; a sync server may have several.
        #[arg(long = "connector", required = true)]
        connectors: Vec<ConnectorName>,
        /// A domain that the agent may answer for; all of the connector's when absent. May be given several times.
        #[arg(long = "domain", conflicts_with = "sync_server")]
        domains: Vec<DomainName>,
        /// The machine becomes a sync server for these connectors, not an agent.
        #[arg(long)]
        sync_server: bool,
        /// Minutes until the token expires.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// Shut an agent or a sync server out for good. Its connections end within a second, on all nodes.
    Revoke { agent: AgentId },
    /// Give an agent no more checks, such as before its machine is maintained.
    Drain {
        agent: AgentId,
        /// Let it have checks again.
        #[arg(long)]
        end: bool,
    },
    /// Let connected agents probe every directory server that they reach, without any user's input.
    Test {
        /// One agent.
        #[arg(required_unless_present = "connector", conflicts_with = "connector")]
        agent: Option<AgentId>,
        /// All agents of a connector.
        #[arg(long)]
        connector: Option<ConnectorName>,
    },
}

/// What an agent does, as far as it says so here and now.
fn purpose(agent: &AgentSummary) -> String {
    let mut words = vec!["checks".to_owned()];
    words.extend(agent.carries.iter().map(ToString::to_string));
    let older = agent.protocol.is_some_and(|version| version < Versions::WITH_EXCHANGES);
    if older {
        words.push("(older release)".to_owned());
    }
    words.join(" ")
}

pub(super) async fn run(client: &Client, command: &AgentsCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        AgentsCommand::List => {
            let agents = client.call::<AgentsList>(&agents_list::Request {}).await?;
            output.show(&agents, |agents| {
                let rows = agents.iter().map(|agent| {
                    let state = serde_json::to_value(agent.state).ok();
                    let state = state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
                    let ends = agent.certificate_ends.map_or_else(String::new, |ends| ends.rfc3339());
                    let (purpose, connectors) = match &agent.connector {
                        Some(connector) => (purpose(agent), connector.to_string()),
                        None => {
                            let names: Vec<_> = agent.synchronises.iter().map(ConnectorName::as_str).collect();
                            ("sync".to_owned(), names.join(" "))
                        }
                    };
                    [agent.id.to_string(), purpose, connectors, agent.host.clone(), state, ends]
                });
                table(["AGENT", "FOR", "CONNECTOR", "HOST", "STATE", "CERTIFICATE ENDS"], rows)
            });
        }
        AgentsCommand::Token { connectors, domains, sync_server, minutes } => {
            let request = agents_token::Request {
                connectors: connectors.iter().cloned().collect(),
                domains: domains.clone(),
                sync_server: *sync_server,
                lifetime: Duration::from_secs(60 * u64::from(*minutes)),
            };
            let issued = client.call::<AgentsToken>(&request).await?;
            output.show(&issued, |issued| issued.token.clone());
            let command = if *sync_server { "sync-server" } else { "agent" };
            let ends = issued.expires_at;
            output.note(&format!("for one machine, until {ends}; run there: landbridge {command} enrol"));
        }
        AgentsCommand::Revoke { agent } => {
            let answer = client.call::<AgentsRevoke>(&agents_revoke::Request { agent: *agent }).await?;
            output.show(&answer, |answer| format!("agent {} is revoked", answer.agent));
        }
        AgentsCommand::Drain { agent, end } => {
            let request = agents_drain::Request { agent: *agent, draining: !end };
            let answer = client.call::<AgentsDrain>(&request).await?;
            output.show(&answer, |answer| match answer.draining {
                true => format!("agent {} gets no more checks", answer.agent),
                false => format!("agent {} gets checks again", answer.agent),
            });
        }
        AgentsCommand::Test { agent, connector } => {
            let whom = match (agent, connector) {
                (Some(agent), _) => Whom::Agent(*agent),
                (None, Some(connector)) => Whom::Connector(connector.clone()),
                (None, None) => anyhow::bail!("name an agent or a connector"),
            };
            let tested = client.call::<AgentsTest>(&agents_test::Request { whom }).await?;
            output.show(&tested, |tested| {
                let rows = tested.iter().map(|tested| {
                    let took = tested.took_ms.map_or_else(String::new, |took| format!("{took} ms"));
                    [tested.server.clone(), took, tested.failure.clone().unwrap_or_else(|| "ok".to_owned())]
                });
                table(["SERVER", "TOOK", "RESULT"], rows)
            });
        }
    }
    Ok(())
}
