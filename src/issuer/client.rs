//! Clients: the applications that may ask for tokens.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::opaque::{Opaque, OpaqueHash};
use super::redirect_uri::{RedirectUri, RedirectUriError};
use super::signing_key::Algorithm;
use crate::identity::{ClientId, Timestamp};

/// A registered application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    /// What pages call it.
    pub name: String,
    pub authentication: ClientAuthentication,
    pub redirect_uris: Vec<RedirectUri>,
    /// Where the browser may be sent after a sign-out.
    pub logout_uris: Vec<RedirectUri>,
    pub subject_type: SubjectType,
    pub algorithm: Algorithm,
    pub created_at: Timestamp,
}

/// How an application proves that it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// It cannot keep a secret; its codes need PKCE.
    Public,
    Secret(OpaqueHash),
}

/// The shape of `sub` (design D22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// `sub` is the `oid`.
    Public,
    /// `sub` differs from client to client.
    Pairwise,
}

/// What an application presented. Made by the token endpoint from the header or the form.
#[derive(Debug)]
pub enum ClientSecret {
    None,
    Presented(Opaque),
}

impl Client {
    /// Whether the presented secret fits: none for a public client, the right one for any other.
    pub fn accepts(&self, secret: &ClientSecret) -> bool {
        match (&self.authentication, secret) {
            (ClientAuthentication::Public, ClientSecret::None) => true,
            (ClientAuthentication::Secret(kept), ClientSecret::Presented(secret)) => *kept == secret.hash(),
            (ClientAuthentication::Public, ClientSecret::Presented(_))
            | (ClientAuthentication::Secret(_), ClientSecret::None) => false,
        }
    }

    pub fn is_public(&self) -> bool {
        self.authentication == ClientAuthentication::Public
    }

    /// The registered address that is exactly `text`.
    pub fn redirect_uri(&self, text: &str) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|uri| uri.as_str() == text)
    }

    /// The registered post-logout address that is exactly `text`.
    pub fn logout_uri(&self, text: &str) -> Option<&RedirectUri> {
        self.logout_uris.iter().find(|uri| uri.as_str() == text)
    }
}

/// An application to be registered, as the operator describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    pub client_id: ClientId,
    pub name: String,
    #[serde(default)]
    pub public: bool,
    pub redirect_uris: Vec<String>,
    #[serde(default)]
    pub logout_uris: Vec<String>,
    #[serde(default)]
    pub pairwise: bool,
    #[serde(default)]
    pub algorithm: Algorithm,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewClientError {
    #[error("a client needs a name of 1 to 200 characters without control characters")]
    Name,
    #[error("a client needs 1 to 50 redirect URIs")]
    RedirectCount,
    #[error("a client has at most 50 logout URIs")]
    LogoutCount,
    #[error("`{uri}` cannot be registered")]
    Uri { uri: String, source: RedirectUriError },
}

const MAX_URIS: usize = 50;

impl NewClient {
    /// Checks the description and draws the secret. The secret is told once, to the operator.
    pub fn register(self, now: Timestamp) -> Result<(Client, Option<Opaque>), NewClientError> {
        let name = self.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(NewClientError::Name);
        }
        if self.redirect_uris.is_empty() || self.redirect_uris.len() > MAX_URIS {
            return Err(NewClientError::RedirectCount);
        }
        if self.logout_uris.len() > MAX_URIS {
            return Err(NewClientError::LogoutCount);
        }
        let secret = (!self.public).then(Opaque::random);
        let client = Client {
            id: self.client_id,
            name,
            authentication: match &secret {
                Some(secret) => ClientAuthentication::Secret(secret.hash()),
                None => ClientAuthentication::Public,
            },
            redirect_uris: parse_uris(self.redirect_uris)?,
            logout_uris: parse_uris(self.logout_uris)?,
            subject_type: if self.pairwise { SubjectType::Pairwise } else { SubjectType::Public },
            algorithm: self.algorithm,
            created_at: now,
        };
        Ok((client, secret))
    }
}

fn parse_uris(texts: Vec<String>) -> Result<Vec<RedirectUri>, NewClientError> {
    let parse = |uri: String| uri.parse().map_err(|source| NewClientError::Uri { uri, source });
    texts.into_iter().map(parse).collect()
}

impl SubjectType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Pairwise => "pairwise",
        }
    }
}

impl FromStr for SubjectType {
    type Err = crate::identity::method::UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "public" => Ok(Self::Public),
            "pairwise" => Ok(Self::Pairwise),
            _ => Err(crate::identity::method::UnknownWord { expected: "public or pairwise" }),
        }
    }
}
