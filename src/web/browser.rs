//! The caller as sign-in sees it.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::Response;

use super::cookies::Cookies;
use super::services::{ClientNetworks, Shared};
use super::signin::step;
use crate::signin::Browser;

/// Longest user agent that is carried on.
const MAX_USER_AGENT: usize = 256;

/// The network from the connection, the device and the session from their cookies.
fn browser_of(parts: &Parts, services: &Shared) -> Browser {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let cookies = Cookies::of(&parts.headers);
    Browser {
        network: peer.filter(|_| services.networks == ClientNetworks::FromConnection),
        device: cookies.device_hash(),
        session: cookies.session_hash(),
        user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT).collect()),
    }
}

/// A caller whose network has not asked too much of sign-in lately. Made only by the check, before anything is
/// written for the request.
pub(super) struct PacedCaller(pub Browser);

impl FromRequestParts<Shared> for PacedCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Response> {
        let browser = browser_of(parts, services);
        match services.pace.admits(browser.network) {
            Ok(()) => Ok(Self(browser)),
            Err(wait) => {
                tracing::debug!(network = ?browser.network, "a network asks too much of sign-in");
                Err(step::too_many(services, wait))
            }
        }
    }
}
