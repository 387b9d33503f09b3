//! Federation partners: who answers for a domain, what is asked of them, and whom their assertions speak of.
//!
//! Knows partners, requests and assertions; knows no cookies, no sessions and no SQL. It ends where an assertion has become an
//! identity that is claimed for a domain of its issuer. Which user that is, by source anchor *and* user principal name, and
//! that an assertion is used once, is for `signin` to decide (design D9).

mod canary;
mod certificates;
pub mod federated_sign_in;
pub mod identify;
pub mod partner;
pub mod partner_store;
mod published;
pub mod renewal;
mod sign_in_page;
pub mod xml_work;

pub use canary::{CanaryAccount, CanaryBrowser};
pub use certificates::PartnerCertificates;
pub use federated_sign_in::FederatedSignIn;
pub use identify::{FederationRefusal, identify};
pub use partner::Partner;
pub use partner_store::{PartnerStore, PartnerStoreError};
pub use renewal::PartnerRenewal;
pub use xml_work::XmlWork;
