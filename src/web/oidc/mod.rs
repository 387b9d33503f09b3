//! The OpenID provider's endpoints. What may be answered is decided in `issuer` and `signin`.

pub(super) mod answer;
pub(super) mod authorize;
pub(super) mod jwks;
pub(super) mod logout;
pub(super) mod metadata;
pub(super) mod revoke;
pub(super) mod token;
pub(super) mod userinfo;
