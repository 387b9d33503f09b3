//! Stored passwords: derive, verify, import, upgrade and seal them (design D7).
//!
//! A stored password is a chain of steps that ends in Argon2id, and the sealed output of its last step. Every source
//! of hashes (Active Directory's NT hash, the schemes of LDAP's `userPassword`, a password of our own) becomes such a
//! chain, so that one verifier serves all of them.
//!
//! This room knows neither stores nor users nor sign-in: it is given values and gives back values. Derivations are
//! costly; whoever stands on an async thread runs them through [`pool::HashingPool`].

pub mod chain;
mod chain_text;
pub mod cost;
pub mod derived;
pub mod equalise;
pub mod key_ring;
pub mod key_ring_file;
pub mod leaked_list;
pub mod output;
pub mod pool;
mod pool_queue;
pub mod quarantine;
#[cfg(feature = "agent")]
mod recalled_list;
pub mod scheme;
pub mod seal;
pub mod stamp;
pub mod step;

#[cfg(test)]
mod tests;

pub use chain::{Chain, ChainError};
pub use cost::{Cost, CostLimits};
pub use derived::{Argon2Cost, Derived, Hardening};
pub use key_ring::{KeyName, KeyRing, OpenError};
pub use leaked_list::{LeakClass, LeakedList, LeakedListError};
pub use output::ChainOutput;
pub use pool::{Demand, HashingPool, PoolError};
pub use quarantine::Quarantine;
#[cfg(feature = "agent")]
pub use recalled_list::RecalledList;
pub use scheme::{ClearText, NtHash, SourceValue, parse_nt_hash, parse_user_password};
pub use seal::{AssociatedData, Sealed};
pub use stamp::{SourceStamp, StampComparison};
pub use step::Step;
