//! The token endpoint's request and answers (RFC 6749 sections 4.1.3, 5 and 6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::ClientSecret;
use super::error::IssuerError;
use super::opaque::Opaque;
use super::params::{Params, ParamsError};
use super::redemption::Proof;
use super::scope::Scope;
use crate::identity::ClientId;

/// What an application may be told (RFC 6749 section 5.2).
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{0}")]
    InvalidRequest(String),
    /// `basic` says that the attempt was made in the header, so that the answer must challenge.
    #[error("client authentication failed")]
    InvalidClient { basic: bool },
    #[error("the code or refresh token is not valid")]
    InvalidGrant,
    #[error("the scope was not granted")]
    InvalidScope,
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    #[error("the gateway cannot answer now")]
    Unavailable(#[source] IssuerError),
}

impl TokenError {
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient { .. } => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::Unavailable(_) => "temporarily_unavailable",
        }
    }
}

impl From<ParamsError> for TokenError {
    fn from(error: ParamsError) -> Self {
        Self::InvalidRequest(error.to_string().replace('`', "'"))
    }
}

impl<E: Into<IssuerError>> From<E> for TokenError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The answer to a successful request (OpenID Connect Core section 3.1.3.3). Holds secrets: no `Debug`.
#[derive(Serialize)]
pub struct TokenAnswer {
    pub access_token: String,
    pub token_type: &'static str,
    pub expires_in: u64,
    pub scope: Scope,
    pub id_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// Who calls a back-channel endpoint, before anything is compared.
#[derive(Debug)]
pub struct Caller {
    pub client: ClientId,
    pub secret: ClientSecret,
    pub basic: bool,
}

impl Caller {
    /// Reads client authentication from the `Authorization` header or the form, never from both (RFC 6749 section 2.3).
    pub fn read(authorization: Option<&str>, form: &Params) -> Result<Self, TokenError> {
        let (id, secret) = (form.one("client_id")?, form.one("client_secret")?);
        let basic = authorization.is_some();
        let failed = || TokenError::InvalidClient { basic };
        let presented = |text: &str| Opaque::presented(text).map(ClientSecret::Presented).ok_or_else(failed);
        let Some(header) = authorization else {
            let client = id.ok_or(TokenError::InvalidRequest("the parameter 'client_id' is missing".to_owned()))?;
            let secret = secret.map_or(Ok(ClientSecret::None), presented)?;
            return Ok(Self { client: client.parse().map_err(|_| failed())?, secret, basic });
        };
        if secret.is_some() {
            return Err(TokenError::InvalidRequest("the client authenticates twice".to_owned()));
        }
        let (user, password) = basic_credentials(header).ok_or_else(failed)?;
        let client: ClientId = user.parse().map_err(|_| failed())?;
        if id.is_some_and(|id| id != client.as_str()) {
            return Err(TokenError::InvalidRequest("the header and the form name different clients".to_owned()));
        }
        Ok(Self { client, secret: presented(&password)?, basic })
    }
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 4096 {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((form_decoded(user)?.to_string(), form_decoded(password)?))
}

fn form_decoded(text: &str) -> Option<Zeroizing<String>> {
    // One value without a name: the parser takes it as a name.
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    let (name, value) = pairs.next()?;
    (value.is_empty() && pairs.next().is_none() && !text.contains(['=', '&']))
        .then(|| Zeroizing::new(name.into_owned()))
}

/// What the caller wants for what they hold.
#[derive(Debug)]
pub enum GrantRequest {
    Code { code: Opaque, proof: Proof },
    Refresh { token: Opaque, scope: Option<Scope> },
}

impl GrantRequest {
    pub fn read(form: &Params) -> Result<Self, TokenError> {
        match form.required("grant_type")? {
            "authorization_code" => Ok(Self::Code {
                code: Opaque::presented(form.required("code")?).ok_or(TokenError::InvalidGrant)?,
                proof: Proof {
                    redirect_uri: form.required("redirect_uri")?.to_owned(),
                    verifier: form.one("code_verifier")?.map(str::to_owned),
                },
            }),
            "refresh_token" => Ok(Self::Refresh {
                token: Opaque::presented(form.required("refresh_token")?).ok_or(TokenError::InvalidGrant)?,
                scope: match form.one("scope")? {
                    Some(text) => Some(text.parse().map_err(|_| TokenError::InvalidScope)?),
                    None => None,
                },
            }),
            _ => Err(TokenError::UnsupportedGrantType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    fn secret(caller: &Caller) -> Option<&str> {
        match &caller.secret {
            ClientSecret::Presented(secret) => Some(secret.expose()),
            ClientSecret::None => None,
        }
    }

    #[test]
    fn a_caller_is_read_from_header_or_form_and_never_from_both() {
        let read = |header: Option<&str>, form: &str| Caller::read(header, &Params::decode(form.as_bytes()));
        let caller = read(Some(&basic("app:s%2Bt%3A")), "").expect("header");
        assert_eq!((caller.client.as_str(), secret(&caller)), ("app", Some("s+t:")));
        let caller = read(None, "client_id=app&client_secret=st").expect("form");
        assert_eq!((caller.client.as_str(), secret(&caller)), ("app", Some("st")));
        let caller = read(None, "client_id=app").expect("public");
        assert_eq!((caller.client.as_str(), secret(&caller)), ("app", None));
        for (header, form, code) in [
            (Some(basic("app:st")), "client_secret=st", "invalid_request"),
            (Some(basic("app:st")), "client_id=other", "invalid_request"),
            (None, "", "invalid_request"),
            (None, "client_id=a&client_id=b", "invalid_request"),
            (Some(basic("app")), "", "invalid_client"),
            (Some(basic("app:")), "", "invalid_client"),
            (Some(basic("a=b&c:st")), "", "invalid_client"),
            (Some("Bearer abc".to_owned()), "", "invalid_client"),
            (Some("Basic !!".to_owned()), "client_id=app", "invalid_client"),
        ] {
            assert_eq!(read(header.as_deref(), form).map(|_| ()).map_err(|e| e.code()), Err(code), "{header:?} {form}");
        }
    }

    #[test]
    fn only_the_two_grants_are_known() {
        let read = |form: &str| GrantRequest::read(&Params::decode(form.as_bytes())).map(|_| ()).map_err(|e| e.code());
        assert_eq!(read("grant_type=authorization_code&code=c&redirect_uri=r"), Ok(()));
        assert_eq!(read("grant_type=refresh_token&refresh_token=t&scope=openid"), Ok(()));
        for (form, code) in [
            ("", "invalid_request"),
            ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
            ("grant_type=client_credentials", "unsupported_grant_type"),
            ("grant_type=authorization_code&code=c", "invalid_request"),
            ("grant_type=authorization_code&redirect_uri=r", "invalid_request"),
            ("grant_type=refresh_token", "invalid_request"),
        ] {
            assert_eq!(read(form), Err(code), "{form}");
        }
    }
}
