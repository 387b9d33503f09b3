//! Builds everything, spawns the tasks, shuts down. Holds rules of no kind.

pub mod installation;
pub mod lease_keeper;
pub mod logging;
pub mod metrics;
pub mod sealing;
pub mod tls;
