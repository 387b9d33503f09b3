//! The command line of an agent that is built alone (design D21): `landbridge agent`, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::Output;
use super::agent::{self, AgentCommand};

/// Pass-through agent of Landbridge, built without the gateway.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version, max_term_width = 100)]
pub struct Args {
    /// The settings file.
    #[arg(long, global = true, env = "LANDBRIDGE_CONFIG", default_value = "/etc/landbridge/agent.toml")]
    config: PathBuf,
    /// Print JSON instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be a pass-through agent beside a directory.
    Agent {
        #[command(subcommand)]
        command: AgentCommand,
    },
}

pub async fn run(args: Args) -> ExitCode {
    let output = Output::new(args.json);
    let Command::Agent { command } = &args.command;
    match agent::run(&args.config, command, &output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}
