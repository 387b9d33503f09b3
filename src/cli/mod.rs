//! The command line: commands as clients of the admin API (design D1, D2), and the few that work on files.
//!
//! Every command prints for people, and JSON with `--json`. Exit codes: 0 done, 1 refused or failed, 2 usage.

mod ad;
pub mod agent;
mod agents;
mod alerts;
mod args;
mod audit;
mod check_config;
mod client;
mod client_command;
mod connector;
mod demo;
mod domain;
mod failover;
mod init;
mod lockout;
mod output;
mod partner;
mod password_sync;
mod rollout;
mod rules;
mod serve;
mod switch;
mod sync;
mod sync_following;
mod sync_inspect;
mod sync_server;
mod user;

pub use args::{Args, Command};
pub use client::{Client, ClientError};
pub use output::Output;

use std::process::ExitCode;

/// Runs a command that asks the running gateway, or looks at files.
pub async fn run(args: Args) -> ExitCode {
    let output = Output::new(args.json);
    match dispatch(&args, &output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(args: &Args, output: &Output) -> anyhow::Result<()> {
    match &args.command {
        Command::CheckConfig => check_config::run(&args.config, output),
        Command::Ad { command } => ad::run(&args.config, command, output).await,
        Command::Serve => serve::run(&args.config).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Init => init::run(&args.config, output).await,
        Command::Partner { command } => partner::run(&connect(args)?, command, output).await,
        Command::Agent { command } => agent::run(&args.config, command, output).await,
        Command::SyncServer { command } => sync_server::run(&args.config, command, output).await,
        Command::Agents { command } => agents::run(&connect(args)?, command, output).await,
        Command::Domain { command } => domain::run(&connect(args)?, command, output).await,
        Command::User { command } => user::run(&connect(args)?, command, output).await,
        Command::Failover { command } => failover::run(&connect(args)?, command, output).await,
        Command::Alerts { command } => alerts::run(&connect(args)?, command, output).await,
        Command::Rollout { command } => rollout::run(&connect(args)?, command, output).await,
        Command::Lockout { command } => lockout::run(&connect(args)?, command, output).await,
        Command::Connector { command } => connector::run(args, command, output).await,
        Command::Sync { instance, command } => sync::run(&connect(args)?.at(instance.clone()), command, output).await,
        Command::Rules { command } => rules::run(args, command, output).await,
        Command::Guard { command } => sync::guard(&connect(args)?, command, output).await,
        Command::Client { command } => client_command::run(&connect(args)?, command, output).await,
        Command::Keys { command } => client_command::keys(&connect(args)?, command, output).await,
        Command::PasswordSync { command } => password_sync::run(&connect(args)?, command, output).await,
        Command::Audit { command } => audit::run(&connect(args)?, command, output).await,
    }
}

/// The client of the gateway on `--socket`, or of the one that runs with these settings. Reads no secret, so that an
/// operator needs no access to any.
fn connect(args: &Args) -> anyhow::Result<Client> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => crate::config::admin_socket(&args.config)?,
    };
    Ok(Client::new(&socket))
}
