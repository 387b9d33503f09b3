//! `landbridge demo`.

use std::path::PathBuf;

use clap::Args;

use crate::demo::{self, DemoOptions};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder of the demonstration; emptied at every start.
    #[arg(long, default_value = "landbridge-demo")]
    folder: PathBuf,
    #[arg(long, default_value_t = 8443)]
    gateway_port: u16,
    #[arg(long, default_value_t = 8080)]
    application_port: u16,
    #[arg(long, default_value_t = 8081)]
    partner_port: u16,
    #[arg(long, default_value_t = 6360)]
    directory_port: u16,
}

pub(super) async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let options = DemoOptions {
        folder: args.folder.clone(),
        gateway_port: args.gateway_port,
        application_port: args.application_port,
        partner_port: args.partner_port,
        directory_port: args.directory_port,
    };
    demo::run(options, |text| println!("{text}")).await
}
