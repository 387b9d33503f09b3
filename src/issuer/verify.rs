//! Checking our own tokens when they come back: an access token at userinfo, an identity token as a hint.
//!
//! The header decides nothing: it must have exactly the members that we write, the key is looked up by its id among
//! ours, and the algorithm is the key's (RFC 8725 section 3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::claims::{AccessTokenClaims, IdTokenClaims};
use super::jwk::{Material, PublicJwk};
use super::key_set::KeySet;
use super::settings::IssuerUrl;
use super::signing_key::{Algorithm, TokenType};
use crate::identity::Timestamp;

/// Longest token that is looked at, in bytes: ours are below two thousand.
const MAX_TOKEN: usize = 16 * 1024;
/// An identity token serves as a hint for this long after its end: browsers come back late to sign out.
const HINT_SECONDS: i64 = 90 * 24 * 3600;

/// Why a token is not one of ours, or not one of now. For logs; the caller is told one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("it is not a token in compact form")]
    Form,
    #[error("its header is not one that we write")]
    Header,
    #[error("its key is not ours, or no longer published")]
    Key,
    #[error("its algorithm is not its key's")]
    Algorithm,
    #[error("it is a token of another type")]
    Type,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claims cannot be read")]
    Claims,
    #[error("it was issued by somebody else or for somebody else")]
    Party,
    #[error("it has expired, or is not yet valid")]
    Time,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

/// Checks an access token for use at this issuer.
pub fn access_token(
    keys: &KeySet,
    issuer: &IssuerUrl,
    token: &str,
    now: Timestamp,
) -> Result<AccessTokenClaims, TokenFault> {
    let claims: AccessTokenClaims = checked(keys, TokenType::AccessToken, token)?;
    if claims.iss != issuer.as_str() || claims.aud != issuer.as_str() {
        return Err(TokenFault::Party);
    }
    if claims.exp <= now.secs() || claims.iat > now.secs() + 60 {
        return Err(TokenFault::Time);
    }
    Ok(claims)
}

/// Checks an identity token given as a hint; it may have expired (RP-Initiated Logout section 2).
pub fn id_token_hint(
    keys: &KeySet,
    issuer: &IssuerUrl,
    token: &str,
    now: Timestamp,
) -> Result<IdTokenClaims, TokenFault> {
    let claims: IdTokenClaims = checked(keys, TokenType::IdToken, token)?;
    if claims.iss != issuer.as_str() {
        return Err(TokenFault::Party);
    }
    if claims.exp + HINT_SECONDS <= now.secs() || claims.iat > now.secs() + 60 {
        return Err(TokenFault::Time);
    }
    Ok(claims)
}

fn checked<C: DeserializeOwned>(keys: &KeySet, typ: TokenType, token: &str) -> Result<C, TokenFault> {
    if token.len() > MAX_TOKEN || token.split('.').count() != 3 {
        return Err(TokenFault::Form);
    }
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenFault::Form)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenFault::Header)?;
    let jwk = keys.by_id(&header.kid).ok_or(TokenFault::Key)?;
    if header.alg != jwk.alg.as_str() {
        return Err(TokenFault::Algorithm);
    }
    if header.typ != typ.as_str() {
        return Err(TokenFault::Type);
    }
    let mut validation = Validation::new(match jwk.alg {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
    });
    // Times, issuer and audience are compared by the callers, against the clock they are given.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    match jsonwebtoken::decode::<C>(token, &decoding_key(&jwk)?, &validation) {
        Ok(decoded) => Ok(decoded.claims),
        Err(error) => match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => Err(TokenFault::Signature),
            _ => Err(TokenFault::Claims),
        },
    }
}

fn decoding_key(jwk: &PublicJwk) -> Result<DecodingKey, TokenFault> {
    let key = match &jwk.material {
        Material::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
        Material::Ec { x, y, .. } => DecodingKey::from_ec_components(x, y),
    };
    key.map_err(|_| TokenFault::Key)
}

#[cfg(test)]
mod tests;
