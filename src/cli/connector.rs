//! `landbridge connector check|remove`.

use clap::Subcommand;

use std::path::Path;

use super::ad::describe;
use super::args::Args;
use super::output::table;
use super::sync::{show_preview, show_run};
use super::{Client, Output};
use crate::app::DirectorySettings;
use crate::identity::ConnectorName;
use crate::sync::removal::{Removal, RemovalPreview};
use crate::sync::run::RunOutcome;
use crate::web::admin::connector_remove::{self, ConnectorPreviewRemoval, ConnectorRemove};

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// Tell what of that which the settings and the rules name the LDAP servers know: object classes, attributes, and
    /// whether their values are what the rules take them for. Reads the settings file, its secrets and the rule files;
    /// changes nothing.
    Check {
        /// All connectors to LDAP directories when absent.
        name: Option<ConnectorName>,
    },
    /// Take a connector that the settings no longer name out of the metaverse, and drop its space. What follows from it
    /// leaves with the next run, if the guard agrees.
    Remove {
        name: ConnectorName,
        /// Only the objects of this type.
        #[arg(long = "type")]
        object_type: Option<String>,
        /// Show what it would do, and change nothing.
        #[arg(long, required_unless_present = "yes", conflicts_with = "yes")]
        preview: bool,
        /// Do it.
        #[arg(long)]
        yes: bool,
        /// Although the guard will hold what follows, until it is released.
        #[arg(long, requires = "yes")]
        even_if_held: bool,
    },
}

pub(super) async fn run(args: &Args, command: &ConnectorCommand, output: &Output) -> anyhow::Result<()> {
    match command {
        ConnectorCommand::Check { name } => check(&args.config, name.as_ref(), output).await,
        ConnectorCommand::Remove { name, object_type, yes, even_if_held, preview: _ } => {
            let removal = Removal { connector: name.clone(), object_type: object_type.clone() };
            remove(&super::connect(args)?, removal, yes.then_some(*even_if_held), output).await
        }
    }
}

async fn check(config: &Path, name: Option<&ConnectorName>, output: &Output) -> anyhow::Result<()> {
    crate::app::tls::install_provider();
    let settings = DirectorySettings::load(config)?;
    let rules = super::rules::of_settings(config)?.for_connectors(settings.capabilities()?);
    for behind in settings.agents_only().filter(|behind| name.is_none_or(|wanted| wanted == *behind)) {
        let advice = format!("run `landbridge agents test --connector {behind}` beside a running gateway");
        anyhow::ensure!(name.is_none(), "connector {behind} is reached by agents alone: {advice}");
        output.note(&format!("connector {behind} is passed over, because agents alone reach it: {advice}"));
    }
    let mut subjects = settings.subjects();
    subjects.retain(|subject| name.is_none_or(|wanted| subject.name == *wanted));
    match name {
        Some(name) => anyhow::ensure!(!subjects.is_empty(), "there is no connector {name} to an LDAP directory"),
        None => anyhow::ensure!(!subjects.is_empty(), "no connector is to an LDAP directory"),
    }
    let mut reports = Vec::new();
    for subject in &subjects {
        output.note(&format!("reading the schema of {} ...", subject.name));
        reports.push(crate::schema_check::examine(subject, &rules).await);
    }
    output.show(&reports, |reports| reports.iter().map(describe).collect::<Vec<_>>().join("\n\n"));
    let unsound = reports.iter().filter(|report| !report.is_sound()).map(|report| report.connector.as_str());
    let unsound: Vec<_> = unsound.collect();
    anyhow::ensure!(unsound.is_empty(), "what is configured does not fit the directory: {}", unsound.join(", "));
    Ok(())
}

/// Removes when `sure`, which says whether also if the guard will hold; else shows what removing would do.
async fn remove(client: &Client, removal: Removal, sure: Option<bool>, output: &Output) -> anyhow::Result<()> {
    if let Some(even_if_held) = sure {
        let request = connector_remove::Request { removal, even_if_held };
        let answer = client.call::<ConnectorRemove>(&request).await?;
        output.show(&answer, |answer| show_run(&answer.run, &answer.steps));
        anyhow::ensure!(answer.run.outcome == RunOutcome::Completed, "run {} did not complete", answer.run.number);
    } else {
        let preview = client.call::<ConnectorPreviewRemoval>(&connector_remove::PreviewRequest { removal }).await?;
        output.show(&preview, show_removal);
    }
    Ok(())
}

fn show_removal(preview: &RemovalPreview) -> String {
    let rows = preview.leaving.iter().map(|(of_type, count)| [of_type.clone(), count.to_string()]);
    let mut text = format!("{}\n", table(["LEAVING", "OBJECTS"], rows));
    if preview.configured {
        text.push_str("the settings name the connector: take it out of them and start again first\n");
    }
    match preview.target {
        true => text.push_str("what is there stays as it is, and is not looked after any more"),
        false => text.push_str(&show_preview(&preview.preview)),
    }
    text
}
