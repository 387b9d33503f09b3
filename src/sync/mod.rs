//! The identity plane's engine: import, synchronise, guard, export, confirm (design, section 4).
//!
//! It decides and knows no wire: directories stand behind [`Connector`], tables behind [`store::EngineStore`].
//! Synchronise is made of pure passes over a [`workspace::Workspace`] that was read beforehand; what changed in it is
//! committed in one transaction per batch (design D5).

pub mod activation;
pub mod anchor_migration;
pub mod attribute;
pub mod change_set;
pub mod confirm;
pub mod connector;
pub mod diff;
pub mod doubt;
pub mod explain;
pub mod export;
pub mod fault;
pub mod guard;
pub mod import;
pub mod inspection;
pub mod join_key;
pub mod lease;
pub mod maintenance;
pub mod metaverse;
pub mod object_id;
pub mod problem;
pub mod profile;
pub mod provision;
pub mod read_ahead;
pub mod removal;
pub mod rule;
pub mod run;
pub mod scheduler;
pub mod source_import;
pub mod space;
pub mod store;
pub mod synchronise;
pub mod trace;
pub mod workspace;

pub use attribute::{Attribute, Attributes, Value};
pub use connector::Connector;
pub use rule::RuleSet;
