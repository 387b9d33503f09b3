//! Sign-out asked for by an application (OpenID Connect RP-Initiated Logout 1.0).

use super::client::Client;
use super::params::Params;
use super::redirect_uri::RedirectUri;
use crate::identity::{ClientId, SessionId};

/// A sign-out request after its parts were checked against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// The session that the hint names. A sign-out without the user's word needs it to be the browser's own.
    pub hinted: Option<SessionId>,
    /// Where to go afterwards, with `state`; only an address registered for the client that asked.
    pub destination: Option<(RedirectUri, Option<String>)>,
}

const MAX_STATE: usize = 4096;

impl LogoutRequest {
    /// The address for the browser afterwards.
    pub fn location(&self) -> Option<String> {
        let (uri, state) = self.destination.as_ref()?;
        let params: Vec<_> = state.iter().map(|state| ("state", state.as_str())).collect();
        Some(uri.with_query(&params))
    }

    /// Without a client that is known, or with an address that is not its own, nobody is sent anywhere.
    pub(super) fn new(hinted: Option<SessionId>, client: Option<&Client>, params: &Params) -> Self {
        let asked = params.one("post_logout_redirect_uri").ok().flatten();
        let uri = client.zip(asked).and_then(|(client, asked)| client.logout_uri(asked)).cloned();
        let state = params.short("state", MAX_STATE).ok().flatten().map(str::to_owned);
        Self { hinted, destination: uri.map(|uri| (uri, state)) }
    }
}

/// Which client asks: the hint's audience, which `client_id` must not contradict.
pub(super) fn asking_client(hint_audience: Option<&str>, params: &Params) -> Option<ClientId> {
    let named = params.one("client_id").ok()?;
    match (hint_audience, named) {
        (Some(audience), Some(named)) if audience != named => None,
        (Some(id), _) | (None, Some(id)) => id.parse().ok(),
        (None, None) => None,
    }
}
