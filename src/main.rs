//! The one binary (design D1).

use std::process::ExitCode;

use clap::Parser as _;

/// Requests allocate much and for a moment; measured against the system's, a sign-in takes a tenth less of a core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = landbridge::cli::Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(landbridge::cli::run(args))
}
