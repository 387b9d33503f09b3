//! The vocabulary of the product: names, identifiers, states and outcomes that every room speaks.
//!
//! No I/O, no settings, no async. Whatever comes from outside is parsed into one of these types at the edge, once.

pub mod account_state;
pub mod admin;
pub mod causes;
pub mod clock;
pub mod dn;
pub mod domain_name;
pub mod fold;
pub mod ids;
pub mod lease_epoch;
pub mod method;
pub mod network;
pub mod password;
pub mod percent;
pub mod proxy_address;
pub mod shown;
pub mod source_anchor;
pub mod unseen;
pub mod upn;
pub mod verdict;

pub use account_state::{AccountState, DirectoryLockout, LogonHours};
pub use admin::{Right, Role};
pub use causes::causes;
pub use clock::{Clock, SettableClock, SystemClock, Timestamp};
pub use dn::DistinguishedName;
pub use domain_name::DomainName;
pub use fold::fold;
pub use ids::{
    AgentId, AttemptId, ChangeId, ClientId, ConnectorName, ContactId, CredentialSource, DeviceId, EntityId, GroupId,
    NodeId, RolloutId, SessionId, TransactionId, UserId,
};
pub use lease_epoch::LeaseEpoch;
pub use method::{AuthenticationMethod, Backup, FailoverMode, GroupFailover, Pin};
pub use network::Network;
pub use password::{PasswordShape, PlainPassword};
pub use percent::Percent;
pub use proxy_address::{ProxyAddress, ProxyAddressError};
pub use shown::shown;
pub use source_anchor::SourceAnchor;
pub use unseen::unseen;
pub use upn::{SignInName, Upn};
pub use verdict::{Answer, Refusal, Unavailable, UnavailableCause, Verdict, Wire};
