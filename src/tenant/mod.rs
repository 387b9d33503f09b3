//! The gateway's own directory: users, groups and domains as sign-in knows them.
//!
//! Its rules protect it from any client: matching by source anchor, mail or name, calculation of the effective user principal name,
//! quarantine of duplicates, soft deletes. It does not know where objects come from nor how they are stored.

pub mod addresses;
mod awards;
pub mod catalogue;
pub mod domain;
pub mod effective_upn;
pub mod effects;
pub mod export;
pub mod lookup;
pub mod matching;
pub mod nickname;
pub mod pieces;
pub mod plan;
pub mod read_back;
pub mod read_set;
pub mod record;
pub mod soft_match;
pub mod unique;
pub mod verification;

pub use catalogue::{ErrorCode, ExportError};
pub use domain::{Domain, DomainRules, PinMark, Verification};

pub use export::{
    Accepted, Action, CredentialLink, Edit, ExportChange, ExportResult, ExportWarning, GroupPatch, ObjectId, ObjectKey,
    PlainKind, PlainPatch, TenantExport, TenantUnavailable, UserPatch,
};
pub use lookup::{DirectoryUnavailable, GroupMembership, SignInDirectory, SignInLookup, UserForSignIn};
pub use read_back::{
    Change, ChangeMark, ChangeOperation, ChangePage, ChangedThing, GroupShadow, LinkPage, LinkPosition, PlainShadow,
    ShadowLink, ShadowObject, TenantReadBack, UserShadow,
};
