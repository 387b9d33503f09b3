//! `landbridge sync-server enrol|run|status`: the sync engine on premises. Its `--config` is the sync server's own settings
//! file; `sync`, `rules`, `guard`, `connector` and `audit` work on it as on a gateway.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Output;
use super::agent::read_token;
use crate::agents::process::{self, Identity};
use crate::app::installation::Installation;
use crate::app::{SyncServer, logging, tls};
use crate::config::{self, SyncServerSettings};
use crate::identity::{AgentId, Clock as _, SystemClock, Timestamp};
use crate::os;

#[derive(Debug, Subcommand)]
pub enum SyncServerCommand {
    /// Make this machine a sync server, by a token of `landbridge agents token --sync-server` on standard input. Creates
    /// its store and its key ring.
    Enrol {
        /// The file that holds the token, instead of standard input.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
    /// Run the sync server until SIGTERM.
    Run,
    /// Tell who this sync server is, and until when its certificate counts.
    Status,
    /// Validate the settings file and tell everything that is wrong with it.
    CheckConfig,
}

pub(super) async fn run(config: &Path, command: &SyncServerCommand, output: &Output) -> anyhow::Result<()> {
    let settings = config::load_sync_server(config)?;
    match command {
        SyncServerCommand::Enrol { token_file } => enrol(&settings, token_file.as_deref(), output).await,
        SyncServerCommand::Run => serve(settings).await,
        SyncServerCommand::Status => {
            output.show(&Enrolled::of(&Identity::load(&settings.state)?), Enrolled::text);
            Ok(())
        }
        SyncServerCommand::CheckConfig => {
            output.show(&settings.warnings, |warnings| {
                let mut text = format!("{} is valid", config.display());
                for warning in warnings {
                    text.push_str("\nwarning: ");
                    text.push_str(warning);
                }
                text
            });
            Ok(())
        }
    }
}

async fn enrol(settings: &SyncServerSettings, token_file: Option<&Path>, output: &Output) -> anyhow::Result<()> {
    tls::install_provider();
    let token = read_token(token_file)?.parse()?;
    // Before the token is used: what comes after it must not fail.
    let installation = Installation::init(&settings.store).await?;
    installation.gateway.close().await;
    installation.engine.close().await;
    let identity = process::enrol_sync_server(&settings.state, &settings.sources(), &token, &SystemClock).await?;
    output.show(&Enrolled::of(&identity), Enrolled::text);
    Ok(())
}

async fn serve(settings: SyncServerSettings) -> anyhow::Result<()> {
    logging::start();
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            if let Err(error) = os::stop_signal().await {
                tracing::error!(%error, "signals cannot be heard: the sync server stops");
            }
            stop.cancel();
        }
    });
    tracing::info!("the sync server starts");
    if let Some(server) = SyncServer::start(settings, stop.clone()).await? {
        tracing::info!("the sync server is ready");
        stop.cancelled().await;
        tracing::info!("the sync server stops");
        server.stop().await;
    }
    Ok(())
}

/// Who the server is, without its keys.
#[derive(Debug, Serialize)]
struct Enrolled {
    server: AgentId,
    calling: String,
    gateway: String,
    certificate_ends: Timestamp,
    certificate_counts: bool,
}

impl Enrolled {
    fn of(identity: &Identity) -> Self {
        Self {
            server: identity.id(),
            calling: identity.calling.to_string(),
            gateway: identity.first_url.clone(),
            certificate_ends: identity.ends,
            certificate_counts: !identity.has_ended(SystemClock.now()),
        }
    }

    fn text(&self) -> String {
        let Self { server, calling, gateway, certificate_ends, .. } = self;
        format!("{server}: {calling}\nenrolled at {gateway}\nthe certificate ends {certificate_ends}")
    }
}
