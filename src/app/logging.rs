//! Structured logs: text on a terminal, JSON lines in a pipe. `LANDBRIDGE_LOG` filters, such as `landbridge=debug`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error for the life of the process.
pub fn start() {
    let filter = EnvFilter::try_from_env("LANDBRIDGE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    // INVARIANT: below this level the crate writes session keys, whatever the environment asks for.
    let filter = match "sspi=info".parse() {
        Ok(capped) => filter.add_directive(capped),
        Err(_) => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    if started.is_err() {
        eprintln!("warning: logging was started twice");
    }
}
