//! Scopes (RFC 6749 section 3.3; OpenID Connect Core section 5.4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The scopes that mean something here, in the order in which they are written.
const KNOWN: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// Longest scope parameter that is looked at, in bytes.
const MAX_TEXT: usize = 1024;

/// A set of known scopes; unknown ones are dropped, as OpenID Connect Core section 3.1.2.1 asks.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is at most {MAX_TEXT} printable characters")]
pub struct ScopeError;

impl Scope {
    pub const SUPPORTED: &'static [&'static str] = &KNOWN;

    pub fn openid(self) -> bool {
        self.has("openid")
    }

    pub fn profile(self) -> bool {
        self.has("profile")
    }

    pub fn email(self) -> bool {
        self.has("email")
    }

    pub fn groups(self) -> bool {
        self.has("groups")
    }

    pub fn offline_access(self) -> bool {
        self.has("offline_access")
    }

    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn has(self, name: &str) -> bool {
        KNOWN.iter().position(|known| *known == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT || !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(ScopeError);
        }
        let bit = |word: &str| KNOWN.iter().position(|known| *known == word).map_or(0, |bit| 1 << bit);
        Ok(Self(text.split(' ').map(bit).fold(0, |all, one| all | one)))
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = KNOWN.iter().copied().filter(|word| self.has(word)).collect();
        f.write_str(&words.join(" "))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}
