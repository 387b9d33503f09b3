//! Where a directory server is, and how its connection is encrypted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

/// How TLS begins. There is no third way: a password never leaves in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ldaps://`: TLS from the first byte.
    Ldaps,
    /// `ldap://`: StartTLS before anything else (RFC 4511, section 4.14).
    StartTls,
}

/// The address of a directory server: `ldaps://host[:port]` or `ldap://host[:port]`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    #[error("`{0}` is not a server address: ldaps://host[:port] or ldap://host[:port] is expected")]
    Scheme(String),
    #[error("`{0}` is not a host name or address")]
    Host(String),
    #[error("`{0}` is not a port")]
    Port(String),
    #[error("`{0}` after the server: neither a path nor a user may be given")]
    Trailing(String),
}

impl ServerUrl {
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as written, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name that the server's certificate must carry.
    pub(super) fn certificate_name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ldaps") => (Scheme::Ldaps, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ldap") => (Scheme::StartTls, rest),
            _ => return Err(ServerUrlError::Scheme(text.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', '%']) {
            return Err(ServerUrlError::Trailing(text.to_owned()));
        }
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| ServerUrlError::Host(rest.to_owned()))?;
            host.parse::<Ipv6Addr>().map_err(|_| ServerUrlError::Host(host.to_owned()))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(ServerUrlError::Port(after.to_owned())),
            }
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ServerUrlError::Host(host.to_owned()))?;
        let port = match port {
            Some(port) => match port.parse() {
                Ok(number) if number > 0 => number,
                _ => return Err(ServerUrlError::Port(port.to_owned())),
            },
            None if scheme == Scheme::Ldaps => 636,
            None => 389,
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, name })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Ldaps => "ldaps",
            Scheme::StartTls => "ldap",
        };
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(host)) => write!(f, "{scheme}://[{host}]:{}", self.port),
            _ => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ServerUrlError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_have_their_port() {
        let url = |text: &str| text.parse::<ServerUrl>().expect(text).to_string();
        assert_eq!(url("ldaps://DC1.example.org"), "ldaps://dc1.example.org:636");
        assert_eq!(url("ldap://dc1.example.org/"), "ldap://dc1.example.org:389");
        assert_eq!(url("LDAP://127.0.0.1:3890"), "ldap://127.0.0.1:3890");
        assert_eq!(url("ldaps://[::1]:6360"), "ldaps://[::1]:6360");
    }

    #[test]
    fn what_is_not_a_server_is_refused() {
        for text in [
            "",
            "dc1",
            "http://dc1",
            "ldapi://x",
            "ldaps://",
            "ldaps://:636",
            "ldaps://dc1:0",
            "ldaps://dc1:x",
            "ldaps://dc1/dc=example",
            "ldaps://user@dc1",
            "ldaps://[::1",
            "ldaps://[dc1]",
            "ldaps://dc 1",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }
}
