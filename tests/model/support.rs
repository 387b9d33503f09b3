//! What the other tests start servers with.

#[path = "../it/support/pki.rs"]
pub mod pki;
#[path = "../it/support/ports.rs"]
pub mod ports;
#[path = "../it/support/postgres.rs"]
pub mod postgres;
#[path = "../it/support/process.rs"]
pub mod process;
#[path = "../it/support/wait.rs"]
pub mod wait;
