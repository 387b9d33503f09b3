//! Where a request comes from.

use std::net::IpAddr;

/// The facts about a caller that sign-in decides on. Made by `web` from the connection and the cookies.
#[derive(Clone, Debug)]
pub struct Browser {
    /// `None` behind a balancer without PROXY protocol: per-network limits are off then.
    pub network: Option<IpAddr>,
    /// SHA-256 (hex) of the device cookie; tells familiar from unfamiliar places.
    pub device: Option<String>,
    /// SHA-256 (hex) of the session cookie that came along: a new session takes its place.
    pub session: Option<String>,
    pub user_agent: Option<String>,
}
