//! A signing key, prepared once: signing does not parse it again.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::IssuerError;
use super::jwk::PublicJwk;
use crate::identity::Timestamp;
use crate::identity::method::UnknownWord;

/// What a key signs with. Fixed per key: a token never chooses (RFC 8725 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "RS256" => Ok(Self::Rs256),
            "ES256" => Ok(Self::Es256),
            _ => Err(UnknownWord { expected: "RS256 or ES256" }),
        }
    }
}

/// `typ` of a token's header: an access token cannot pass for an identity token (RFC 9068 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    IdToken,
    AccessToken,
}

impl TokenType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdToken => "JWT",
            Self::AccessToken => "at+jwt",
        }
    }
}

/// A key and the time in which it signs.
pub struct SigningKey {
    pub jwk: PublicJwk,
    pub active_from: Timestamp,
    pub retired_at: Option<Timestamp>,
    pair: Pair,
}

enum Pair {
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// A new key and its PKCS #8 bytes, which are for sealing.
    pub fn generate(algorithm: Algorithm, active_from: Timestamp) -> Result<(Self, Zeroizing<Vec<u8>>), IssuerError> {
        let fail = |_| IssuerError::KeyGeneration;
        let (pair, bytes) = match algorithm {
            Algorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(fail)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(fail)?;
                let bytes = Zeroizing::new(der.as_ref().to_vec());
                (Pair::Rsa(pair), bytes)
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(fail)?;
                let bytes = Zeroizing::new(pair.to_pkcs8v1().map_err(fail)?.as_ref().to_vec());
                (Pair::Ec(pair), bytes)
            }
        };
        let jwk = pair.jwk().ok_or(IssuerError::KeyGeneration)?;
        Ok((Self { jwk, active_from, retired_at: None, pair }, bytes))
    }

    /// A key from its opened PKCS #8 bytes; `None` when they are not the key that `jwk` publishes.
    pub fn open(jwk: PublicJwk, pkcs8: &[u8], active_from: Timestamp, retired_at: Option<Timestamp>) -> Option<Self> {
        let pair = match jwk.alg {
            Algorithm::Rs256 => Pair::Rsa(rsa::KeyPair::from_pkcs8(pkcs8).ok()?),
            Algorithm::Es256 => Pair::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?),
        };
        (pair.jwk().as_ref() == Some(&jwk)).then_some(Self { jwk, active_from, retired_at, pair })
    }

    /// A signed token in compact form (RFC 7515 section 3.1).
    pub fn sign(&self, typ: TokenType, claims: &impl Serialize) -> Result<String, IssuerError> {
        #[derive(Serialize)]
        struct Header<'a> {
            typ: &'static str,
            alg: &'static str,
            kid: &'a str,
        }
        let header = Header { typ: typ.as_str(), alg: self.jwk.alg.as_str(), kid: &self.jwk.kid };
        let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let header = serde_json::to_vec(&header).map(encode).map_err(|_| IssuerError::Signing)?;
        let claims = serde_json::to_vec(claims).map(encode).map_err(|_| IssuerError::Signing)?;
        let mut token = format!("{header}.{claims}");
        let signature = self.pair.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Whether it signs at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.active_from <= now && self.retired_at.is_none_or(|retired| now < retired)
    }
}

impl Pair {
    fn jwk(&self) -> Option<PublicJwk> {
        match self {
            Self::Rsa(pair) => Some(PublicJwk::of_rsa(pair)),
            Self::Ec(pair) => PublicJwk::of_p256(pair),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| IssuerError::Signing)?;
                Ok(signature)
            }
            Self::Ec(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| IssuerError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.jwk.alg.as_str(), self.jwk.kid)
    }
}
