//! `landbridge check-config`.

use std::path::Path;

use super::Output;

pub(super) fn run(config: &Path, output: &Output) -> anyhow::Result<()> {
    let settings = crate::config::load(config)?;
    output.show(&settings.warnings, |warnings| {
        let mut text = format!("{} is valid", config.display());
        for warning in warnings {
            text.push_str("\nwarning: ");
            text.push_str(warning);
        }
        text
    });
    Ok(())
}
