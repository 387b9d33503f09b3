//! The password channel: hashes and account states from the directories to the credential store, on a path of their
//! own (design section 4, "Password sync").
//!
//! A pass reads a connector's accounts and stores what changed; repeated, it finds nothing and derives nothing. It acts
//! only on accounts that a `credential_source` row names, knows nothing of the metaverse, and never ends a credential
//! because something was not read: that follows released exports. The same rows are read by [`verifier`] at sign-in and
//! upgraded by [`wrapping`] when no sign-in wants the processor.

pub mod account_result;
pub mod account_state;
pub mod ad_source;
pub mod channel;
mod decision;
pub mod ldap_source;
mod leaks;
pub mod overview;
mod pace;
mod password_policy;
mod replication_error;
pub mod report;
pub mod sealer;
pub mod service;
#[cfg(test)]
mod service_tests;
pub mod source;
pub mod store;
#[cfg(test)]
mod tests;
pub mod verifier;
pub mod wrapping;
pub mod write_stamp;

pub use account_result::AccountResult;
pub use ad_source::{AdSource, account as replication_account, controllers as replicating_controllers};
pub use channel::{Channel, ChannelError, Depth};
pub use ldap_source::LdapSource;
pub use leaks::{Leak, LeakCheck};
pub use replication_error::remedy as replication_remedy;
pub use report::PassReport;
pub use sealer::Sealer;
pub use service::{EngineEpoch, PasswordSync, PasswordSyncError};
pub use source::{
    AccountSource, PasswordTime, PasswordValues, Passwords, SourceAccount, SourceError, SourcePage, SourcePosition,
    SourceVersion,
};
pub use verifier::StoredHashes;
pub use wrapping::{Progress, Wrapping};
pub use write_stamp::WriteStamp;
