//! Life times and the public address.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

/// What the issuer is told at its start.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    pub issuer: IssuerUrl,
    /// Of an authorization code: 60 s to 5 min.
    pub code_lifetime: Duration,
    pub access_token_lifetime: Duration,
    pub id_token_lifetime: Duration,
    /// A refresh token that is not used for so long is dead.
    pub refresh_inactivity: Duration,
    /// A family of refresh tokens ends after this time, however it is used.
    pub grant_lifetime: Duration,
    /// The same for a sign-in that a backup answered (design section 3).
    pub failover_grant_lifetime: Duration,
    /// How long a new signing key is published before it signs.
    pub key_announcement: Duration,
}

/// Shortest and longest life of an authorization code (RFC 6749 section 4.1.2 recommends at most ten minutes).
const CODE_LIFETIME: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(300);

impl IssuerSettings {
    /// Settings for `issuer` with the default life times.
    pub fn new(issuer: IssuerUrl) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            issuer,
            code_lifetime: *CODE_LIFETIME.start(),
            access_token_lifetime: HOUR,
            id_token_lifetime: HOUR,
            refresh_inactivity: HOUR * 24 * 30,
            grant_lifetime: HOUR * 24 * 90,
            failover_grant_lifetime: HOUR * 24,
            key_announcement: Duration::from_secs(300),
        }
    }

    /// The code's life, held within its bounds.
    pub fn bounded_code_lifetime(&self) -> Duration {
        self.code_lifetime.clamp(*CODE_LIFETIME.start(), *CODE_LIFETIME.end())
    }
}

/// The `iss` of every token and the base of every address: an https URL without query, fragment or final slash.
/// Plain http is accepted for a loopback host alone, so that tests and the demonstration can run without certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    origin: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an issuer is an https URL without user, query, fragment or final slash")]
pub struct IssuerUrlError;

impl IssuerUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port, as browsers send them in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The address of `path`, which starts with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

impl FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| IssuerUrlError)?;
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        let plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !text.ends_with('/')
            && !text.contains(['?', '#']);
        if !scheme || !plain {
            return Err(IssuerUrlError);
        }
        Ok(Self { text: text.to_owned(), origin: url.origin().ascii_serialization() })
    }
}

impl fmt::Debug for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
