//! A server that lies: the protocol's other side, scripted, for tests of what a client must refuse.

mod kdc;
mod page;
mod server;
mod tests;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// More on demand: `DRSR_FUZZ_FACTOR=1000`.
fn cases(usual: u32) -> u32 {
    let factor = std::env::var("DRSR_FUZZ_FACTOR").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    usual.saturating_mul(factor)
}
