//! Federation partners: who answers for a domain, what is asked of them, and whom their assertions speak of.
//!
//! Knows partners, requests and assertions; knows no cookies, no sessions and no SQL. What an assertion says is believed only
//! for the domains of its issuer (design D9), and a user is matched by source anchor *and* user principal name.

pub mod federated_sign_in;
pub mod identify;
pub mod matching;
pub mod partner;
pub mod partner_store;

pub use federated_sign_in::FederatedSignIn;
pub use identify::{FederatedIdentity, FederationRefusal, identify};
pub use partner::Partner;
pub use partner_store::{PartnerStore, PartnerStoreError};
