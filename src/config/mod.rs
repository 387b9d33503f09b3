//! The settings file: format, defaults, validation; yields typed settings and acts on none of them.
//!
//! The file is read as a whole: every unknown key, bad value and missing secret is reported together, each with file,
//! line and remedy. Secrets come from a file or the environment, never from the settings file itself.

mod agents;
mod connector;
mod database_url;
mod gateway;
mod problem;
mod reader;
mod secret;
mod settings;
mod signin;
mod words;

pub use agents::{AgentSettings, AgentsSettings};
pub use connector::{ConnectorSettings, Dialect, DisabledTest, ObjectClasses, PasswordAttributes, Reach};
pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use gateway::{AdminPrincipal, AdminSettings, GatewaySettings, Hardening, StoreSettings};
pub use problem::{Problem, Problems};
pub use settings::{Settings, admin_socket, load, load_agent, rules_folder};
pub use signin::{FailoverSettings, LockoutSettings, SignInSettings, SyncSettings, TokenSettings};
