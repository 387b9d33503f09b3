//! LDAP as a client: verified TLS, binds, searches, paging, changes, pools (RFC 4511, RFC 2696, RFC 4515).
//!
//! A tool: it knows nothing of sign-in, sync rules or the metaverse, and holds no settings of its own.
//!
//! Every connection is encrypted and verified before anything else is sent: `ldaps` from its first byte, `ldap` by
//! StartTLS. There is no switch that turns either off. A connection does one operation at a time and is owned by
//! whoever does it, so the bytes of a server are read here, by a reader that bounds size and depth (`ber`), and never
//! by a parser that panics or recurses on them. Filters are parsed by `ldap3`; its types end at this module.

mod active_directory;
mod ad_diagnostic;
mod ber;
mod connection;
mod content_sync;
mod dir_sync;
mod entry;
mod error;
mod filter;
mod paged;
mod password_policy;
pub mod pool;
mod range;
mod remedy;
mod request;
mod response;
mod root_dse;
mod schema;
mod search;
mod server_url;
pub mod time;
mod trust;
mod write;

pub use ad_diagnostic::AdSubCode;
pub use connection::{BindAnswer, Connection, ServiceAccount};
pub use content_sync::{Phase, Refresh, RefreshEnd, SyncChange, SyncUuid};
pub use dir_sync::{DIR_SYNC_OID, DirSync, DirSyncEnd};
pub use entry::Entry;
pub use error::LdapError;
pub use filter::{Filter, FilterError, FilterNames, Substring};
pub use paged::{Page, PagedSearch};
pub use password_policy::{PolicyError, PolicyResponse};
pub use root_dse::RootDse;
pub use schema::{AttributeType, Content, ObjectClass, Schema};
pub use search::{Scope, Search};
pub use server_url::{Scheme, ServerUrl, ServerUrlError};
pub use trust::{Trust, TrustError};
pub use write::{Modification, ModificationKind, Rename, WriteAnswer};
