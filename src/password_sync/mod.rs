//! The password channel: hashes and account states from the directories to the credential store, on a path of their
//! own (design section 4, "Password sync").
//!
//! A pass reads a connector's accounts and stores what changed; repeated, it finds nothing and derives nothing. It acts
//! only on accounts that a `credential_source` row names, knows nothing of the metaverse, and never ends a credential
//! because something was not read: that follows released exports. The same rows are read by [`verifier`] at sign-in and
//! upgraded by [`wrapping`] when no sign-in wants the processor.

#[cfg(feature = "gateway")]
pub mod account_result;
pub mod account_state;
pub mod ad_source;
#[cfg(feature = "gateway")]
pub mod channel;
#[cfg(feature = "gateway")]
mod decision;
pub mod ldap_source;
#[cfg(feature = "gateway")]
mod leaks;
#[cfg(feature = "gateway")]
pub mod overview;
#[cfg(feature = "gateway")]
mod pace;
mod password_policy;
mod replication_error;
#[cfg(feature = "gateway")]
pub mod report;
#[cfg(feature = "gateway")]
pub mod sealer;
#[cfg(feature = "gateway")]
pub mod service;
#[cfg(all(test, feature = "gateway"))]
mod service_tests;
pub mod source;
#[cfg(feature = "gateway")]
pub mod store;
#[cfg(all(test, feature = "gateway"))]
mod tests;
#[cfg(feature = "gateway")]
pub mod verifier;
#[cfg(feature = "gateway")]
pub mod wrapping;
pub mod write_stamp;

#[cfg(feature = "gateway")]
pub use account_result::AccountResult;
pub use ad_source::{AdSource, account as replication_account, controllers as replicating_controllers};
#[cfg(feature = "gateway")]
pub use channel::{Channel, ChannelError, Depth};
pub use ldap_source::LdapSource;
#[cfg(feature = "gateway")]
pub use leaks::LeakCheck;
pub use replication_error::remedy as replication_remedy;
#[cfg(feature = "gateway")]
pub use report::PassReport;
#[cfg(feature = "gateway")]
pub use sealer::Sealer;
#[cfg(feature = "gateway")]
pub use service::{EngineEpoch, PasswordSync, PasswordSyncError};
pub use source::{
    AccountSource, Leak, Looked, PasswordTime, PasswordValues, Passwords, SourceAccount, SourceError, SourcePage,
    SourcePosition, SourceVersion,
};
#[cfg(feature = "gateway")]
pub use verifier::StoredHashes;
#[cfg(feature = "gateway")]
pub use wrapping::{Progress, Wrapping};
pub use write_stamp::WriteStamp;
