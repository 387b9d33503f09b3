//! User principal names and what people type to sign in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::domain_name::DomainName;
use super::fold::fold;

/// An effective user principal name: `local@domain`, fit for sign-in.
///
/// At most 64 characters before the `@` and 48 in the domain, 113 in all; letters, digits and `' . - _ ! # ^ ~`;
/// no dot at either end of the local part. Compared in folded form, shown as it was written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upn {
    local: String,
    domain: DomainName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpnError {
    #[error("a user principal name needs exactly one `@`")]
    At,
    #[error("the part before the `@` must have 1 to 64 characters")]
    LocalLength,
    #[error("the part before the `@` has a character that is not allowed")]
    LocalCharacter,
    #[error("the part before the `@` must not start or end with a dot")]
    LocalDot,
    #[error("the domain of the user principal name is not a domain name of at most 48 characters")]
    Domain,
}

const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 48;

impl Upn {
    pub fn new(local: &str, domain: DomainName) -> Result<Self, UpnError> {
        if local.is_empty() || local.chars().count() > MAX_LOCAL {
            return Err(UpnError::LocalLength);
        }
        if !local.chars().all(|c| c.is_ascii_alphanumeric() || "'.-_!#^~".contains(c)) {
            return Err(UpnError::LocalCharacter);
        }
        if local.starts_with('.') || local.ends_with('.') {
            return Err(UpnError::LocalDot);
        }
        if domain.as_str().len() > MAX_DOMAIN {
            return Err(UpnError::Domain);
        }
        Ok(Self { local: local.to_owned(), domain })
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The form that key columns hold.
    pub fn folded(&self) -> String {
        format!("{}@{}", fold(&self.local), self.domain)
    }
}

impl FromStr for Upn {
    type Err = UpnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, domain) = text.split_once('@').ok_or(UpnError::At)?;
        if domain.contains('@') {
            return Err(UpnError::At);
        }
        Self::new(local, domain.parse().map_err(|_| UpnError::Domain)?)
    }
}

impl TryFrom<String> for Upn {
    type Error = UpnError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Upn> for String {
    fn from(upn: Upn) -> Self {
        upn.to_string()
    }
}

impl PartialEq for Upn {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Eq for Upn {}

impl std::hash::Hash for Upn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl fmt::Display for Upn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Upn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What somebody typed to say who they are. Capped in length before anything looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInName {
    /// `local@domain`: a user principal name or an alternate login id.
    Address { folded: String, domain: DomainName },
    /// `DOMAIN\user`, the down-level form.
    DownLevel { netbios: String, account: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sign-in name is neither `name@domain` nor `DOMAIN\\name`")]
pub struct SignInNameError;

/// Longest sign-in name that is looked at, in bytes.
const MAX_SIGN_IN_NAME: usize = 256;

impl SignInName {
    /// The form by which the sign-in name table is asked.
    pub fn folded(&self) -> String {
        match self {
            Self::Address { folded, .. } => folded.clone(),
            Self::DownLevel { netbios, account } => format!("{netbios}\\{account}"),
        }
    }
}

impl FromStr for SignInName {
    type Err = SignInNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_SIGN_IN_NAME || text.chars().any(char::is_control) {
            return Err(SignInNameError);
        }
        if let Some((netbios, account)) = text.split_once('\\') {
            let fits = |part: &str| !part.is_empty() && !part.contains(['\\', '@']);
            if fits(netbios) && fits(account) {
                return Ok(Self::DownLevel { netbios: fold(netbios), account: fold(account) });
            }
            return Err(SignInNameError);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(SignInNameError)?;
        if local.is_empty() || local.contains('@') {
            return Err(SignInNameError);
        }
        let domain: DomainName = domain.parse().map_err(|_| SignInNameError)?;
        Ok(Self::Address { folded: format!("{}@{domain}", fold(local)), domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_make_two_people() {
        let one: Upn = "Ada.Byron@Example.org".parse().expect("valid");
        let two: Upn = "ada.byron@EXAMPLE.ORG".parse().expect("valid");
        assert_eq!(one, two);
        assert_eq!(one.to_string(), "Ada.Byron@example.org");
    }

    #[test]
    fn unfit_names_are_refused_for_their_own_reason() {
        for (text, error) in [
            ("ada", UpnError::At),
            ("a@b@c.example", UpnError::At),
            ("@example.org", UpnError::LocalLength),
            ("ada byron@example.org", UpnError::LocalCharacter),
            ("ada\u{e9}@example.org", UpnError::LocalCharacter),
            ("ada.@example.org", UpnError::LocalDot),
            ("ada@", UpnError::Domain),
        ] {
            assert_eq!(text.parse::<Upn>().map(|_| ()), Err(error), "{text}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        assert_eq!(long.parse::<Upn>().map(|_| ()), Err(UpnError::LocalLength));
    }

    #[test]
    fn typed_names_are_sorted_into_their_kinds() {
        assert!(
            matches!(" Ada@Example.org ".parse(), Ok(SignInName::Address { folded, .. }) if folded == "ada@example.org")
        );
        assert!(
            matches!("CORP\\Ada".parse(), Ok(SignInName::DownLevel { netbios, account }) if netbios == "corp" && account == "ada")
        );
        for text in ["ada", "\\ada", "a\\b\\c", "a@b@c.example", "ada\0@example.org"] {
            assert_eq!(text.parse::<SignInName>(), Err(SignInNameError), "{text:?}");
        }
    }
}
