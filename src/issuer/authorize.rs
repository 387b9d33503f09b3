//! Checking an authorization request (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2, RFC 9700).
//!
//! Until client and redirect address are known to belong together, nothing is sent anywhere: the fault becomes a page.

use serde::{Deserialize, Serialize};

use super::answer::{AuthorizationAnswer, AuthorizeErrorCode, ResponseMode};
use super::client::Client;
use super::params::{Params, ParamsError};
use super::pkce::CodeChallenge;
use super::redirect_uri::RedirectUri;
use super::scope::Scope;
use super::settings::IssuerUrl;
use crate::identity::ClientId;

/// A checked request, as it travels with the sign-in transaction and is bound to the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRequest {
    pub client: ClientId,
    pub redirect_uri: RedirectUri,
    pub mode: ResponseMode,
    pub scope: Scope,
    pub state: Option<String>,
    pub nonce: Option<String>,
    pub challenge: Option<CodeChallenge>,
    /// `sub` of the `id_token_hint`: whom the application asks for.
    #[serde(default)]
    pub subject: Option<String>,
}

/// A checked request and what it demands of the sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub request: AuthorizationRequest,
    pub prompt: Prompt,
    /// Seconds since the user proved themselves.
    pub max_age: Option<u64>,
    pub login_hint: Option<String>,
    pub domain_hint: Option<String>,
}

/// `prompt`. Consent is given by the administrator who adds a client, so `consent` shows nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A session answers, or else pages do.
    Default,
    /// A session answers, or nobody.
    None,
    /// Pages, whatever session there is.
    Login,
}

/// A fault that is shown on a page of ours and sent nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeFault {
    #[error("the request names no client, or names one twice")]
    ClientMissing,
    #[error("the client is not known")]
    ClientUnknown,
    #[error("the request names no redirect address, or names one twice")]
    RedirectMissing,
    #[error("the redirect address is not registered for the client")]
    RedirectUnknown,
}

/// Limits of what is carried through a sign-in, in bytes.
const MAX_STATE: usize = 4096;
const MAX_NONCE: usize = 1024;
const MAX_HINT: usize = 256;

/// The client that the request names.
pub fn named_client(params: &Params) -> Result<ClientId, AuthorizeFault> {
    match params.one("client_id") {
        Ok(Some(text)) => text.parse().map_err(|_| AuthorizeFault::ClientUnknown),
        Ok(None) | Err(_) => Err(AuthorizeFault::ClientMissing),
    }
}

/// Checks the request of `client`: a demand, an error for the application, or a fault for a page.
pub fn check(
    client: &Client,
    issuer: &IssuerUrl,
    params: &Params,
) -> Result<Result<Demand, AuthorizationAnswer>, AuthorizeFault> {
    let asked = match params.one("redirect_uri") {
        Ok(Some(text)) => text,
        Ok(None) | Err(_) => return Err(AuthorizeFault::RedirectMissing),
    };
    let redirect_uri = client.redirect_uri(asked).ok_or(AuthorizeFault::RedirectUnknown)?.clone();
    // A state that is not sent back is worse than a mode that is not honoured: both are read before anything is judged.
    let state = params.short("state", MAX_STATE).map(|state| state.map(str::to_owned));
    let mode = match params.one("response_mode") {
        Ok(Some("form_post")) => Ok(ResponseMode::FormPost),
        Ok(Some("query") | None) => Ok(ResponseMode::Query),
        Ok(Some(_)) => Err(Refused::Invalid("response_mode must be query or form_post")),
        Err(error) => Err(Refused::Params(error)),
    };
    let reply_mode = mode.as_ref().map_or(ResponseMode::Query, |mode| *mode);
    let reply_state = state.as_ref().ok().cloned().flatten();
    let checked = (|| {
        let request = AuthorizationRequest {
            client: client.id.clone(),
            redirect_uri: redirect_uri.clone(),
            mode: mode?,
            scope: check_type_and_scope(params)?,
            state: state?,
            nonce: params.short("nonce", MAX_NONCE)?.map(str::to_owned),
            challenge: check_challenge(client, params)?,
            subject: None,
        };
        demand(request, params)
    })();
    Ok(checked.map_err(|refused| refused.answer(redirect_uri, reply_mode, reply_state, issuer)))
}

fn check_type_and_scope(params: &Params) -> Result<Scope, Refused> {
    for (name, code) in [
        ("request", AuthorizeErrorCode::RequestNotSupported),
        ("request_uri", AuthorizeErrorCode::RequestUriNotSupported),
        ("registration", AuthorizeErrorCode::RegistrationNotSupported),
    ] {
        if params.one(name)?.is_some() {
            return Err(Refused::Code(code, "this way of passing a request is not supported"));
        }
    }
    match params.required("response_type")? {
        "code" => {}
        _ => return Err(Refused::Code(AuthorizeErrorCode::UnsupportedResponseType, "response_type must be code")),
    }
    let bad_scope = |why| Refused::Code(AuthorizeErrorCode::InvalidScope, why);
    let scope: Scope = params
        .one("scope")?
        .unwrap_or_default()
        .parse()
        .map_err(|_| bad_scope("the scope is too long or has characters outside its alphabet"))?;
    if scope.openid() { Ok(scope) } else { Err(bad_scope("the scope openid is missing")) }
}

/// S256 whenever a challenge is sent, and always of a public client (RFC 9700 section 2.1.1).
fn check_challenge(client: &Client, params: &Params) -> Result<Option<CodeChallenge>, Refused> {
    let method = params.one("code_challenge_method")?;
    match (params.one("code_challenge")?, method) {
        (Some(text), Some("S256")) => match text.parse() {
            Ok(challenge) => Ok(Some(challenge)),
            Err(_) => Err(Refused::Invalid("the code challenge is not the base64url text of a SHA-256")),
        },
        (Some(_), _) => Err(Refused::Invalid("code_challenge_method must be S256")),
        (None, Some(_)) => Err(Refused::Invalid("code_challenge_method without code_challenge")),
        (None, None) if client.is_public() => Err(Refused::Invalid("this client must use PKCE with S256")),
        (None, None) => Ok(None),
    }
}

fn demand(request: AuthorizationRequest, params: &Params) -> Result<Demand, Refused> {
    let words: Vec<_> = params.short("prompt", MAX_HINT)?.unwrap_or_default().split(' ').collect();
    let has = |word: &str| words.contains(&word);
    if words.iter().any(|word| !matches!(*word, "" | "none" | "login" | "consent" | "select_account")) {
        return Err(Refused::Invalid("the prompt is not known"));
    }
    if has("none") && words.len() > 1 {
        return Err(Refused::Invalid("prompt none stands alone"));
    }
    let prompt = match (has("none"), has("login") || has("select_account")) {
        (true, _) => Prompt::None,
        (false, true) => Prompt::Login,
        (false, false) => Prompt::Default,
    };
    let max_age = match params.short("max_age", 20)? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refused::Invalid("max_age is not a number of seconds"))?),
    };
    let login_hint = params.short("login_hint", MAX_HINT)?.map(str::to_owned);
    let domain_hint = params.short("domain_hint", MAX_HINT)?.map(str::to_owned);
    Ok(Demand { request, prompt, max_age, login_hint: login_hint.filter(|_| !has("select_account")), domain_hint })
}

enum Refused {
    Code(AuthorizeErrorCode, &'static str),
    Invalid(&'static str),
    Params(ParamsError),
}

impl From<ParamsError> for Refused {
    fn from(error: ParamsError) -> Self {
        Self::Params(error)
    }
}

impl Refused {
    fn answer(
        self,
        redirect_uri: RedirectUri,
        mode: ResponseMode,
        state: Option<String>,
        issuer: &IssuerUrl,
    ) -> AuthorizationAnswer {
        let (code, description) = match self {
            Self::Code(code, description) => (code, description.to_owned()),
            Self::Invalid(description) => (AuthorizeErrorCode::InvalidRequest, description.to_owned()),
            Self::Params(error) => (AuthorizeErrorCode::InvalidRequest, error.to_string()),
        };
        error_answer(code, Some(description), redirect_uri, mode, state, issuer)
    }
}

impl AuthorizationRequest {
    /// Answers this request with an error.
    pub fn refuse(&self, code: AuthorizeErrorCode, issuer: &IssuerUrl) -> AuthorizationAnswer {
        error_answer(code, None, self.redirect_uri.clone(), self.mode, self.state.clone(), issuer)
    }

    /// Answers this request with a code. `iss` guards against mix-up (RFC 9207).
    pub fn grant(&self, code: &str, issuer: &IssuerUrl) -> AuthorizationAnswer {
        let mut params = vec![("code", code.to_owned())];
        params.extend(self.state.clone().map(|state| ("state", state)));
        params.push(("iss", issuer.as_str().to_owned()));
        AuthorizationAnswer { redirect_uri: self.redirect_uri.clone(), mode: self.mode, params }
    }
}

fn error_answer(
    code: AuthorizeErrorCode,
    description: Option<String>,
    redirect_uri: RedirectUri,
    mode: ResponseMode,
    state: Option<String>,
    issuer: &IssuerUrl,
) -> AuthorizationAnswer {
    let mut params = vec![("error", code.as_str().to_owned())];
    params.extend(description.map(|text| ("error_description", text.replace('`', "'"))));
    params.extend(state.map(|state| ("state", state)));
    params.push(("iss", issuer.as_str().to_owned()));
    AuthorizationAnswer { redirect_uri, mode, params }
}

#[cfg(test)]
mod tests;
