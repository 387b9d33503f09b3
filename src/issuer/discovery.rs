//! The provider's metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414).

use serde::Serialize;

use super::claims::{ACR_MULTIPLE, ACR_SINGLE};
use super::scope::Scope;
use super::settings::IssuerUrl;
use super::signing_key::Algorithm;

/// Paths below the issuer, defined here once: `web` routes them.
pub mod paths {
    pub const METADATA: &str = "/.well-known/openid-configuration";
    pub const AUTHORIZE: &str = "/oauth2/authorize";
    pub const TOKEN: &str = "/oauth2/token";
    pub const USERINFO: &str = "/oauth2/userinfo";
    pub const JWKS: &str = "/oauth2/jwks";
    pub const REVOKE: &str = "/oauth2/revoke";
    pub const LOGOUT: &str = "/oauth2/logout";
}

#[derive(Clone, Debug, Serialize)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    revocation_endpoint: String,
    end_session_endpoint: String,
    scopes_supported: &'static [&'static str],
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 2],
    grant_types_supported: [&'static str; 2],
    subject_types_supported: [&'static str; 2],
    acr_values_supported: [&'static str; 2],
    id_token_signing_alg_values_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    code_challenge_methods_supported: [&'static str; 1],
    claims_supported: Vec<&'static str>,
    prompt_values_supported: [&'static str; 4],
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    pub fn new(issuer: &IssuerUrl) -> Self {
        const AUTHENTICATION: [&str; 3] = ["client_secret_basic", "client_secret_post", "none"];
        Self {
            issuer: issuer.as_str().to_owned(),
            authorization_endpoint: issuer.join(paths::AUTHORIZE),
            token_endpoint: issuer.join(paths::TOKEN),
            userinfo_endpoint: issuer.join(paths::USERINFO),
            jwks_uri: issuer.join(paths::JWKS),
            revocation_endpoint: issuer.join(paths::REVOKE),
            end_session_endpoint: issuer.join(paths::LOGOUT),
            scopes_supported: Scope::SUPPORTED,
            response_types_supported: ["code"],
            response_modes_supported: ["query", "form_post"],
            grant_types_supported: ["authorization_code", "refresh_token"],
            subject_types_supported: ["public", "pairwise"],
            acr_values_supported: [ACR_SINGLE, ACR_MULTIPLE],
            id_token_signing_alg_values_supported: Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect(),
            token_endpoint_auth_methods_supported: AUTHENTICATION,
            revocation_endpoint_auth_methods_supported: AUTHENTICATION,
            code_challenge_methods_supported: ["S256"],
            claims_supported: CLAIMS.to_vec(),
            prompt_values_supported: ["none", "login", "consent", "select_account"],
            claims_parameter_supported: false,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
            authorization_response_iss_parameter_supported: true,
        }
    }
}

const CLAIMS: [&str; 19] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nonce",
    "at_hash",
    "auth_time",
    "acr",
    "amr",
    "sid",
    "oid",
    "upn",
    "preferred_username",
    "name",
    "given_name",
    "family_name",
    "email",
    "groups",
];
