//! Addresses of an application that the browser is sent to: registered in full, matched exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A registered redirect or post-logout address, compared byte by byte as it was registered (RFC 9700 section 2.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    #[error("it is not an absolute URI of at most 1024 characters")]
    NotAbsolute,
    #[error("it has a fragment")]
    Fragment,
    #[error("it has a user name or password")]
    UserInfo,
    #[error(
        "its scheme must be https, http with a loopback host, or a private-use scheme with a dot (RFC 8252 section 7.1)"
    )]
    Scheme,
}

const MAX_TEXT: usize = 1024;

impl RedirectUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The source expression for a page's `form-action` (design D13): the origin, or the private-use scheme.
    pub fn origin(&self) -> String {
        match Url::parse(&self.0) {
            Ok(url) if url.origin().is_tuple() => url.origin().ascii_serialization(),
            Ok(url) => format!("{}:", url.scheme()),
            Err(_) => String::new(),
        }
    }

    /// The address with `params` added to its query.
    pub fn with_query(&self, params: &[(&str, &str)]) -> String {
        if params.is_empty() {
            return self.0.clone();
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let separator = match self.0.find('?') {
            None => "?",
            Some(_) if self.0.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        format!("{}{separator}{query}", self.0)
    }
}

impl FromStr for RedirectUri {
    type Err = RedirectUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('\\') {
            return Err(RedirectUriError::NotAbsolute);
        }
        let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
        if text.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RedirectUriError::UserInfo);
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            scheme if scheme.contains('.') => {}
            _ => return Err(RedirectUriError::Scheme),
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = RedirectUriError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_addresses_cannot_be_registered() {
        for (text, error) in [
            ("/callback", RedirectUriError::NotAbsolute),
            ("https://app.example/a b", RedirectUriError::NotAbsolute),
            ("https://app.example\\@evil.example/", RedirectUriError::NotAbsolute),
            ("https://app.example/#x", RedirectUriError::Fragment),
            ("https://user@app.example/", RedirectUriError::UserInfo),
            ("http://app.example/", RedirectUriError::Scheme),
            ("http://127.0.0.1.evil.example/", RedirectUriError::Scheme),
            ("javascript:alert(1)", RedirectUriError::Scheme),
            ("data:text/html,x", RedirectUriError::Scheme),
        ] {
            assert_eq!(text.parse::<RedirectUri>(), Err(error), "{text}");
        }
    }

    #[test]
    fn parameters_join_the_query_that_is_there() {
        for (text, expected) in [
            ("https://app.example/cb", "https://app.example/cb?code=a%2Bb"),
            ("https://app.example/cb?x=1", "https://app.example/cb?x=1&code=a%2Bb"),
            ("http://localhost:8000/cb?", "http://localhost:8000/cb?code=a%2Bb"),
            ("org.example.app:/cb", "org.example.app:/cb?code=a%2Bb"),
        ] {
            let uri: RedirectUri = text.parse().expect("may be registered");
            assert_eq!(uri.with_query(&[("code", "a+b")]), expected);
        }
    }

    #[test]
    fn the_origin_is_fit_for_a_content_security_policy() {
        let origin = |text: &str| text.parse::<RedirectUri>().expect("may be registered").origin();
        assert_eq!(origin("https://app.example/cb?x=1"), "https://app.example");
        assert_eq!(origin("http://127.0.0.1:8000/cb"), "http://127.0.0.1:8000");
        assert_eq!(origin("org.example.app:/cb"), "org.example.app:");
    }
}
