//! The settings file: format, defaults, validation; yields typed settings and acts on none of them.
//!
//! The file is read as a whole: every unknown key, bad value and missing secret is reported together, each with file,
//! line and remedy. Secrets come from a file or the environment, never from the settings file itself.

mod agents;
mod alerts;
mod connector;
mod database_url;
mod directory;
mod files;
mod gateway;
mod instance;
mod ldap_target;
mod leaked_passwords;
mod limits;
mod problem;
mod reader;
mod replication;
mod scim;
mod scope;
mod secret;
mod settings;
mod signin;
mod sql;
mod sync;
mod sync_server;
mod systems;
mod words;

pub use agents::{AgentSettings, AgentsSettings};
pub use alerts::{ChannelName, ChannelSettings, MailAddress, MailEncryption, MailSettings, WebhookSettings};
pub use connector::{ConnectorSettings, DeltaMethod, Dialect, DisabledTest, ObjectClasses, PasswordAttributes, Reach};
pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use directory::{DirectorySettings, MatchingSettings};
pub use files::{CsvSet, CsvType, FileNames, FilePattern, FileSourceSettings, Files, LdifSet};
pub use gateway::{AdminPrincipal, AdminSettings, GatewaySettings, Hardening, StoreSettings};
pub use instance::{InstanceName, InstanceNameError, InstanceSettings, InstanceTable};
pub use ldap_target::{LdapTargetSettings, WritableAttributes};
pub use leaked_passwords::{LeakPolicy, LeakedPasswordSettings};
pub use limits::{LimitsSettings, PerNetwork};
pub use problem::{Problem, Problems};
pub use replication::{ReplicationSettings, ReplicationSignIn};
pub use scim::{AdoptedObjects, ScimTargetSettings};
pub use scope::{AgentsOnlySettings, Bounds, Carried, DirectoryScope, OutOfBounds};
pub use settings::{Settings, admin_socket, is_of_sync_server, load, load_agent, load_sync_server, rules_folder};
pub use signin::{FailoverSettings, LockoutSettings, PartnerCanarySettings, SignInSettings, TokenSettings};
pub use sql::{DeletedTest, SourceDatabase, SqlName, SqlRows, SqlSourceSettings, SqlType, SqlValues};
pub use sync::{RunProfileSettings, RunStep, RunStepKind, SyncSettings, WindowHolds, WindowSettings};
pub use sync_server::{SyncServerSettings, SyncServersSettings, SynchronisedConnector};
pub use systems::{ReferenceColumn, ReferenceTarget, SystemSettings};
