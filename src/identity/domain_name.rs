//! DNS domain names: the realm part of a user principal name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A DNS domain name in its ASCII, lower-case form (IDNA A-labels), without a final dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a domain name: {reason}")]
pub struct DomainNameError {
    text: String,
    reason: &'static str,
}

impl DomainName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name cannot be verified on the internet: single labels and the reserved suffixes
    /// (RFC 6762 `local`, RFC 2606, RFC 8375, and what directories were commonly named after).
    pub fn is_non_routable(&self) -> bool {
        const RESERVED: [&str; 10] =
            ["local", "localhost", "localdomain", "internal", "intranet", "lan", "corp", "home", "private", "invalid"];
        match self.0.rsplit_once('.') {
            None => true,
            Some((rest, last)) => RESERVED.contains(&last) || (last == "arpa" && rest.ends_with("home")),
        }
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| DomainNameError { text: text.chars().take(80).collect(), reason };
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() || bare.len() > 253 {
            return Err(refuse("it must have 1 to 253 characters"));
        }
        let ascii = match url::Host::parse(bare) {
            Ok(url::Host::Domain(name)) => name,
            Ok(_) => return Err(refuse("it is an address, not a name")),
            Err(_) => return Err(refuse("it has a character that no domain name may have")),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !ascii.split('.').all(label) {
            return Err(refuse("each label must have 1 to 63 letters, digits or inner hyphens"));
        }
        Ok(Self(ascii.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for DomainName {
    type Error = DomainNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::DomainName;

    #[test]
    fn names_are_compared_in_one_form() {
        let plain: DomainName = "Bücher.Example".parse().expect("an IDN is a domain name");
        assert_eq!(plain.as_str(), "xn--bcher-kva.example");
        assert_eq!("xn--bcher-kva.example.".parse(), Ok(plain));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", ".", "a..b", "-a.example", "a b", "127.0.0.1", "[::1]", "a@b", "a/b"] {
            assert!(text.parse::<DomainName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn reserved_suffixes_are_not_routable() {
        for (text, expected) in [("corp.local", true), ("intra", true), ("ad.corp", true), ("corp.example.org", false)]
        {
            let name: DomainName = text.parse().expect("a valid name");
            assert_eq!(name.is_non_routable(), expected, "{text}");
        }
    }
}
