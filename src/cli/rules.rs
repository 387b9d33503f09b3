//! `landbridge rules activate|check|eval|functions|reference`.
//!
//! Only `activate` asks the running gateway; the others work on files and need no store, server or settings.

mod check;
mod eval;
mod functions;
mod notation;
mod reference;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;

pub(super) use check::of_settings;
pub(super) use eval::ExpressionFault;

use super::args::Args;
use super::{Client, Output, sync};
use crate::web::admin::rules_activate::{self, RulesActivate};

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Validate the rule files as a whole and make them the version that all runs use.
    Activate {
        /// Activate although the guard will hold the exports.
        #[arg(long)]
        even_if_held: bool,
    },
    /// Validate rule files as a whole, without a running gateway.
    Check {
        /// Files, and folders of `*.toml` files, that together are the rules; the folder of the settings file when absent.
        paths: Vec<PathBuf>,
    },
    /// Evaluate an expression on an object of a file.
    Eval(EvalArgs),
    /// Print the reference page of the functions of expressions.
    Functions,
    /// Print the reference page of rule files: keys, words, functions, and the shipped rules.
    Reference,
}

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The expression, such as 'Left(Trim([cn]), 64)'.
    #[arg(allow_hyphen_values = true)]
    expression: String,
    /// A JSON object of attributes: string, number, boolean, {"base64": ...}, {"ref": DN}, or an array of these for an
    /// attribute of several values. No attributes when absent.
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// What the last import showed, for ImportedValue, written like the object; the object itself when absent.
    #[arg(long, value_name = "FILE")]
    imported: Option<PathBuf>,
    /// A %parameter%; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// What Now() tells, such as 2026-03-01T12:00:00Z; the clock's time when absent.
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<DateTime<Utc>>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, such as Domain.FQDN=example.org".to_owned()),
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    sync_expr::parse_date(text)
        .ok_or_else(|| "give a date, perhaps with time and zone, such as 2026-03-01T12:00:00Z".to_owned())
}

pub(super) async fn run(args: &Args, command: &RulesCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        RulesCommand::Activate { even_if_held } => activate(&super::connect(args)?, *even_if_held, output).await,
        RulesCommand::Check { paths } => check::run(&args.config, paths, output),
        RulesCommand::Eval(eval) => eval::run(eval, output),
        RulesCommand::Functions => {
            functions::run(output);
            Ok(())
        }
        RulesCommand::Reference => reference::run(output),
    }
}

async fn activate(client: &Client, even_if_held: bool, output: &Output) -> anyhow::Result<()> {
    let answer = client.call::<RulesActivate>(&rules_activate::Request { even_if_held }).await?;
    output.show(&answer, |answer| {
        let preview = answer.preview.as_ref().map(sync::show_preview).unwrap_or_default();
        format!("version {} ({}) is active\n{preview}", answer.number, answer.digest)
    });
    Ok(())
}
