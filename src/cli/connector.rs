//! `landbridge connector remove`.

use clap::Subcommand;

use super::output::table;
use super::sync::{show_preview, show_run};
use super::{Client, Output};
use crate::identity::ConnectorName;
use crate::sync::removal::{Removal, RemovalPreview};
use crate::sync::run::RunOutcome;
use crate::web::admin::connector_remove::{self, ConnectorPreviewRemoval, ConnectorRemove};

#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
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

pub(super) async fn run(client: &Client, command: &ConnectorCommand, output: &Output) -> anyhow::Result<()> {
    let ConnectorCommand::Remove { name, object_type, yes, even_if_held, preview: _ } = command;
    let removal = Removal { connector: name.clone(), object_type: object_type.clone() };
    if *yes {
        let request = connector_remove::Request { removal, even_if_held: *even_if_held };
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
