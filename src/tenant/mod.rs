//! The gateway's own directory: users, groups and domains as sign-in knows them.
//!
//! Its rules protect it from any client: matching by source anchor, calculation of the effective user principal name,
//! quarantine of duplicates, soft deletes. It does not know where objects come from nor how they are stored.

pub mod export;
pub mod read_back;

pub use export::{
    Accepted, Action, CredentialLink, Edit, ErrorCode, ExportChange, ExportError, ExportResult, ExportWarning,
    GroupPatch, ObjectId, ObjectKey, TenantExport, TenantUnavailable, UserPatch,
};
pub use read_back::{
    Change, ChangeOperation, ChangePage, ChangedThing, GroupShadow, LinkPage, LinkPosition, ShadowLink, ShadowObject,
    TenantReadBack, UserShadow,
};
