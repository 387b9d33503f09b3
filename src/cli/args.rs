//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Authentication gateway for hybrid identity.
#[derive(Debug, Parser)]
#[command(name = "landbridge", version, max_term_width = 100)]
pub struct Args {
    /// The settings file.
    #[arg(long, global = true, env = "LANDBRIDGE_CONFIG", default_value = "/etc/landbridge/landbridge.toml")]
    pub config: PathBuf,
    /// The admin socket; the one that the settings file names when absent.
    #[arg(long, global = true, env = "LANDBRIDGE_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Print JSON instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Serve,
    /// Run a gateway with a directory, a federation partner and a sample application on this machine.
    Demo(super::demo::DemoArgs),
    /// Create the store and the key ring that the settings name. Running it again changes nothing.
    Init,
    /// Validate the settings file and tell everything that is wrong with it.
    CheckConfig,
    /// Active Directory as the gateway's accounts see it.
    Ad {
        #[command(subcommand)]
        command: super::ad::AdCommand,
    },
    /// Be a pass-through agent beside a directory.
    Agent {
        #[command(subcommand)]
        command: super::agent::AgentCommand,
    },
    /// Be the sync engine of a gateway elsewhere, near the directories.
    SyncServer {
        #[command(subcommand)]
        command: super::sync_server::SyncServerCommand,
    },
    /// The pass-through agents and sync servers of this gateway.
    Agents {
        #[command(subcommand)]
        command: super::agents::AgentsCommand,
    },
    /// Domains: ownership, and how their users sign in.
    Domain {
        #[command(subcommand)]
        command: super::domain::DomainCommand,
    },
    /// Users as the gateway knows them.
    User {
        #[command(subcommand)]
        command: super::user::UserCommand,
    },
    /// Staged rollout: a method for some people of a domain, ahead of the others.
    Rollout {
        #[command(subcommand)]
        command: super::rollout::RolloutCommand,
    },
    /// What answers when a domain's primary method is down.
    Failover {
        #[command(subcommand)]
        command: super::failover::FailoverCommand,
    },
    /// Where alerts are sent.
    Alerts {
        #[command(subcommand)]
        command: super::alerts::AlertsCommand,
    },
    /// Wrong passwords: attacks, and people who forgot.
    Lockout {
        #[command(subcommand)]
        command: super::lockout::LockoutCommand,
    },
    /// Connected systems.
    Connector {
        #[command(subcommand)]
        command: super::connector::ConnectorCommand,
    },
    /// Import, synchronise, export.
    Sync {
        /// Ask a staging instance instead of the active one: run, cancel, runs, status, preview, explain, search, object.
        #[arg(long, global = true)]
        instance: Option<String>,
        #[command(subcommand)]
        command: super::sync::SyncCommand,
    },
    /// Sync rules.
    Rules {
        #[command(subcommand)]
        command: super::rules::RulesCommand,
    },
    /// What the guard holds.
    Guard {
        #[command(subcommand)]
        command: super::sync::GuardCommand,
    },
    /// Applications.
    Client {
        #[command(subcommand)]
        command: super::client_command::ClientCommand,
    },
    /// Signing keys of tokens.
    Keys {
        #[command(subcommand)]
        command: super::client_command::KeysCommand,
    },
    /// The channel that carries password hashes and account states.
    PasswordSync {
        #[command(subcommand)]
        command: super::password_sync::PasswordSyncCommand,
    },
    /// Federation partners.
    Partner {
        #[command(subcommand)]
        command: super::partner::PartnerCommand,
    },
    /// Read and verify the audit log.
    Audit {
        #[command(subcommand)]
        command: super::audit::Audit,
    },
}
