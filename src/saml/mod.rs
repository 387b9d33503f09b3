//! SAML 2.0 messages, signatures and metadata: bytes in, checked values out.
//!
//! Governed by OASIS SAML 2.0 core, bindings, profiles (4.1, web browser SSO) and metadata. The module knows neither users nor
//! applications, keeps nothing and reaches nothing: keys, time and the awaited request are arguments.
//!
//! A response walks through four steps, each of which only accepts what the one before made:
//! [`guard`] (form) -> [`engine`] (signature) -> [`response`] (meaning) -> [`assertion::VerifiedAssertion`].
//! Encryption, single logout and the artifact binding are not built.

pub mod algorithm;
pub mod assertion;
pub mod certificate;
pub mod engine;
pub mod guard;
pub mod issue;
pub mod key;
pub mod metadata;
pub mod names;
pub mod received_request;
pub mod redirect;
pub mod refusal;
pub mod request;
pub mod response;
mod scan;
mod signature_profile;
mod tree;

pub use assertion::VerifiedAssertion;
pub use certificate::SigningCertificate;
pub use engine::{XmlSecEngine, XmlSignatureEngine};
pub use key::SigningKey;
pub use refusal::SamlRefusal;
