//! `landbridge serve`.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{Gateway, logging};

pub(super) async fn run(config: &Path) -> anyhow::Result<()> {
    let settings = crate::config::load(config)?;
    logging::start();
    let address = settings.gateway.public_url.clone();
    let gateway = Gateway::start(settings).await?;
    tracing::info!(%address, "the gateway is ready");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the gateway stops");
    gateway.stop().await;
    Ok(())
}
