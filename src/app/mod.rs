//! Builds everything, spawns the tasks, shuts down. Holds rules of no kind.

mod agent_watch;
mod agents;
mod alerts;
mod background;
mod connector_api;
mod directories;
mod directory_settings;
mod engine;
mod federation_gate;
mod gateway;
mod housekeeping;
pub mod installation;
mod instances;
mod key_pair;
mod lease_keeper;
pub mod logging;
pub mod metrics;
mod operations;
mod partner_watch;
mod passwords;
mod public_listener;
mod readiness;
mod registrations;
mod ring_exchange;
mod ring_keeper;
mod saml_key;
mod schedule;
mod sealing;
mod sign_in;
mod switching;
mod sync_server;
pub mod tls;
mod upkeep;

pub use directory_settings::DirectorySettings;
pub use gateway::{Gateway, StartError};
pub use sync_server::SyncServer;
