//! `landbridge init`.

use std::path::Path;

use super::Output;
use crate::app::installation::Installation;

pub(super) async fn run(config: &Path, output: &Output) -> anyhow::Result<()> {
    let settings = crate::config::load(config)?;
    let installation = Installation::init(&settings.store).await?;
    installation.gateway.close().await;
    installation.engine.close().await;
    let facts = serde_json::json!({
        "tenant": installation.tenant,
        "store": settings.store.url.to_string(),
        "key_ring": settings.store.key_ring,
    });
    output.show(&facts, |_| {
        format!(
            "tenant {}\nstore {}\nkey ring {}: back it up apart from the store; without it the store is lost",
            installation.tenant,
            settings.store.url,
            settings.store.key_ring.display()
        )
    });
    Ok(())
}
