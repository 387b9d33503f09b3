//! `landbridge agent enrol|run|status`: the agent on premises. Its `--config` is the agent's own settings file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_proto::EnrolmentToken;
use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Output;
use crate::agent_sync;
use crate::agents::Calling;
use crate::agents::process::{self, Identity, NodeState, Status};
use crate::app::{logging, tls};
use crate::config::{self, AgentSettings};
use crate::identity::{AgentId, Clock, ConnectorName, DomainName, SystemClock, Timestamp};
use crate::os;
use crate::pass_through::{AgentCheck, PassThroughSettings};

#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make this machine an agent, by a token of `landbridge agents token` on standard input.
    Enrol {
        /// The file that holds the token, instead of standard input.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
    /// Run the agent until SIGTERM.
    Run,
    /// Tell who this agent is, and which nodes it is connected to.
    Status,
}

/// A status that was not renewed for so long is of an agent that does not run.
const STALE: Duration = Duration::from_secs(20);
/// Longest token, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

pub async fn run(config: &Path, command: &AgentCommand, output: &Output) -> anyhow::Result<()> {
    let settings = config::load_agent(config)?;
    match command {
        AgentCommand::Enrol { token_file } => enrol(settings, token_file.as_deref(), output).await,
        AgentCommand::Run => serve(settings).await,
        AgentCommand::Status => status(&settings, output),
    }
}

async fn enrol(settings: AgentSettings, token_file: Option<&Path>, output: &Output) -> anyhow::Result<()> {
    tls::install_provider();
    let token: EnrolmentToken = read_token(token_file)?.parse()?;
    let identity = process::enrol(&settings.state, &settings.connector.name, &token, &SystemClock).await?;
    output.show(&Enrolled::of(&identity, &settings), |enrolled| {
        format!(
            "enrolled as agent {} of connector {} for {}\nthe certificate ends {}",
            enrolled.agent,
            enrolled.connector,
            enrolled.domains.iter().map(DomainName::as_str).collect::<Vec<_>>().join(", "),
            enrolled.certificate_ends
        )
    });
    let check = AgentCheck::new(PassThroughSettings::new(&settings.connector)?, Arc::new(SystemClock));
    for probe in check.probe().await {
        match probe.outcome {
            Ok(took) => output.note(&format!("{} answers within {} ms", probe.server, took.as_millis())),
            Err(failure) => output.note(&format!("warning: {} does not answer rightly: {failure}", probe.server)),
        }
    }
    Ok(())
}

pub(super) fn read_token(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text));
            read.with_context(|| format!("the token file {} cannot be read", path.display()))?;
        }
        None => {
            std::io::stdin().take(MAX_TOKEN).read_to_string(&mut text).context("standard input cannot be read")?;
        }
    }
    Ok(text)
}

async fn serve(settings: AgentSettings) -> anyhow::Result<()> {
    tls::install_provider();
    logging::start();
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            if let Err(error) = os::stop_signal().await {
                tracing::error!(%error, "signals cannot be heard: the agent stops");
            }
            stop.cancel();
        }
    });
    tracing::info!(connector = %settings.connector.name, "the agent starts");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let carrier = agent_sync::carrier(&settings, &clock);
    Ok(process::run(settings, carrier, clock, stop).await?)
}

/// Who the agent is, without its keys.
#[derive(Debug, Serialize)]
struct Enrolled {
    agent: AgentId,
    connector: ConnectorName,
    domains: Vec<DomainName>,
    certificate_ends: Timestamp,
}

impl Enrolled {
    fn of(identity: &Identity, settings: &AgentSettings) -> Self {
        let domains = match &identity.calling {
            Calling::Checks { domains, .. } => domains.clone(),
            Calling::Synchronise { .. } => Vec::new(),
        };
        Self {
            agent: identity.id(),
            connector: settings.connector.name.clone(),
            domains,
            certificate_ends: identity.ends,
        }
    }
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    enrolled: Enrolled,
    running: bool,
    /// What the agent wrote last.
    last: Option<Status>,
}

fn status(settings: &AgentSettings, output: &Output) -> anyhow::Result<()> {
    let identity = Identity::load(&settings.state)?;
    let last = Status::load(&settings.state);
    let running = last.as_ref().is_some_and(|last| SystemClock.now().since(last.at) < STALE);
    output.show(&Told { enrolled: Enrolled::of(&identity, settings), running, last }, |told| {
        let enrolled = &told.enrolled;
        let mut text = format!(
            "agent {} of connector {}\ncertificate ends {}\n",
            enrolled.agent, enrolled.connector, enrolled.certificate_ends
        );
        match &told.last {
            Some(last) if told.running => {
                text.push_str(&format!(
                    "running as process {}; {} checks answered, {} under way\n",
                    last.pid, last.answered, last.busy
                ));
                for node in &last.nodes {
                    let state = match &node.state {
                        NodeState::Connecting => "connecting".to_owned(),
                        NodeState::Connected { node } => format!("connected to {node}"),
                        NodeState::Away { reason } => format!("not connected: {reason}"),
                    };
                    text.push_str(&format!("{}  {state} since {}\n", node.url, node.since));
                }
            }
            _ => text.push_str("not running\n"),
        }
        text
    });
    Ok(())
}
