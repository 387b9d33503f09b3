//! The caller as sign-in sees it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;

use super::cookies::Cookies;
use super::services::{ClientNetworks, Shared};
use crate::signin::Browser;

/// Longest user agent that is carried on.
const MAX_USER_AGENT: usize = 256;

/// Extracts [`Browser`]: the network from the connection, the device from its cookie.
pub(super) struct Caller(pub Browser);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(Browser {
            network: peer.filter(|_| services.networks == ClientNetworks::FromConnection),
            device: Cookies::of(&parts.headers).device_hash(),
            user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT).collect()),
        }))
    }
}
