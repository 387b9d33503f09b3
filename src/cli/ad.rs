//! `landbridge ad check`.

use std::path::Path;

use clap::Subcommand;

use super::Output;
use crate::ad_check::{Finding, Report, Standing, examine};
use crate::config::Dialect;
use crate::identity::{ConnectorName, SystemClock};

#[derive(Debug, Subcommand)]
pub enum AdCommand {
    /// Tell what the accounts of connectors may do in their Active Directory, what they lack and what is too much, with
    /// the commands that grant it. Reads the settings file and its secrets; changes nothing.
    Check {
        /// All connectors to Active Directory when absent.
        #[arg(long)]
        connector: Option<ConnectorName>,
    },
}

pub(super) async fn run(config: &Path, command: &AdCommand, output: &Output) -> anyhow::Result<()> {
    let AdCommand::Check { connector } = command;
    crate::app::tls::install_provider();
    let settings = crate::config::load(config)?;
    let chosen: Vec<_> = (settings.connectors.iter())
        .filter(|settings| settings.scope.dialect == Dialect::ActiveDirectory)
        .filter(|settings| connector.as_ref().is_none_or(|wanted| settings.name == *wanted))
        .collect();
    match connector {
        Some(name) if chosen.is_empty() => anyhow::bail!("there is no connector {name} to Active Directory"),
        None if chosen.is_empty() => anyhow::bail!("no connector has dialect = \"ad\""),
        Some(_) | None => {}
    }
    let mut reports = Vec::new();
    for settings in chosen {
        output.note(&format!("looking at the directory of {} ...", settings.name));
        reports.push(examine(settings, &SystemClock).await);
    }
    output.show(&reports, |reports| reports.iter().map(describe).collect::<Vec<_>>().join("\n\n"));
    let unsound: Vec<_> =
        reports.iter().filter(|report| !report.is_sound()).map(|report| report.connector.as_str()).collect();
    anyhow::ensure!(unsound.is_empty(), "what is configured does not all work: {}", unsound.join(", "));
    Ok(())
}

pub(super) fn describe(report: &Report) -> String {
    let mut text = format!("{}:", report.connector);
    for finding in &report.findings {
        text.push('\n');
        text.push_str(&line(finding));
    }
    text
}

fn line(finding: &Finding) -> String {
    let word = match finding.standing {
        Standing::Good => "ok     ",
        Standing::Warning => "warning",
        Standing::Missing => "MISSING",
    };
    let mut text = format!("  {word}  {}", finding.text);
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("\n           {remedy}"));
    }
    for command in &finding.commands {
        text.push_str(&format!("\n             {command}"));
    }
    text
}
