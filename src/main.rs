//! The one binary (design D1); or the agent alone, when it is built so (design D21).

use std::process::ExitCode;

use clap::Parser as _;

#[cfg(feature = "gateway")]
use landbridge::cli::{Args, run};

/// Requests allocate much and for a moment, and a run as much as it gets: this one gives back what was freed from a thread of
/// its own, also when nobody allocates any more. The system's keeps it, split up among threads.
#[cfg(feature = "gateway")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(args))
}

#[cfg(not(feature = "gateway"))]
use landbridge::cli::agent_alone::{Args, run};
