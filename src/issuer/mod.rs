//! Token issuance: an OpenID provider for the applications (OpenID Connect Core 1.0, RFC 6749, RFC 7636, RFC 9068).
//!
//! Given a session, it answers an application's request with codes and tokens. It knows clients, grants, claims and
//! signing keys. It does not know how the user proved who they are, beyond the session it is given, nor HTTP or SQL:
//! `web` brings checked-for-size parameters, `store::issuer` keeps the rows and applies the pure rules of this room
//! ([`redemption`], [`refresh`], [`standing`]) inside its transactions.

pub mod answer;
pub mod authorize;
pub mod claims;
pub mod client;
pub mod discovery;
pub mod error;
pub mod grant;
pub mod jwk;
pub mod key_set;
pub mod logout;
pub mod opaque;
pub mod params;
pub mod pkce;
pub mod provider;
pub mod redemption;
pub mod redirect_uri;
pub mod refresh;
pub mod scope;
pub mod settings;
pub mod signing_key;
pub mod standing;
pub mod store;
pub mod token;
pub mod verify;

pub use answer::{AuthorizationAnswer, ResponseMode};
pub use authorize::{AuthorizationRequest, AuthorizeFault, Demand, Prompt};
pub use client::{Client, ClientAuthentication, ClientSecret, NewClient, SubjectType};
pub use error::{IssuerError, StoreDown};
pub use grant::{AuthenticationContext, GrantId};
pub use key_set::{KeySealer, SealFault};
pub use params::Params;
pub use provider::Issuer;
pub use settings::{IssuerSettings, IssuerUrl};
pub use signing_key::Algorithm;
pub use token::{TokenAnswer, TokenError};
