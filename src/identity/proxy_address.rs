//! Addresses of mail and other messages as directories list them in `proxyAddresses`: `SMTP:ada@example.org`.

use std::fmt;
use std::str::FromStr;

use super::fold::fold;
use super::unseen::unseen;
use super::upn::SignInName;

/// One value of `proxyAddresses`, shown as it was written.
///
/// The type is told before the first colon; in capitals it marks the address from which the object sends. A value without
/// a type is an address of mail. Addresses are compared without regard to case, types and marks.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    text: String,
    kind: AddressKind,
    primary: bool,
    folded: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AddressKind {
    Smtp,
    /// In lower case: `x500`, `sip`, `eum`.
    Other(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyAddressError {
    #[error("an address has 1 to 256 characters and none for control")]
    Length,
    #[error("the character U+{:04X} cannot be seen, or looks like a blank: the address looks like another one", u32::from(*.0))]
    Unseen(char),
    #[error("the type before the colon has 1 to 16 letters, digits or hyphens")]
    Kind,
    #[error("an address of mail is `name@domain`, without blanks and none of < > ( ) , ; : [ ] \"")]
    Mailbox,
}

const MAX: usize = 256;
const MAX_KIND: usize = 16;
/// What the directories' own checks refuse within an address of mail (reference, section 9.5), and the colon, which tells
/// folded addresses of other types from it.
const NOT_IN_MAILBOX: &[char] = &['<', '>', '(', ')', ',', ';', ':', '[', ']', '"'];

impl ProxyAddress {
    /// Whether the object sends from this address; one of a kind should.
    pub const fn is_primary(&self) -> bool {
        self.primary
    }

    /// The address of mail, without its type; `None` for other types.
    pub fn mailbox(&self) -> Option<&str> {
        match self.kind {
            AddressKind::Smtp => Some(self.bare()),
            AddressKind::Other(_) => None,
        }
    }

    /// The form by which it is compared: an address of mail as in `mail`, others with their type before them.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The same as a further address.
    pub fn as_further(&self) -> Self {
        let text = match self.text.split_once(':') {
            Some((kind, bare)) => format!("{}:{bare}", kind.to_ascii_lowercase()),
            None => self.text.clone(),
        };
        Self { text, kind: self.kind.clone(), primary: false, folded: self.folded.clone() }
    }

    /// An address that an earlier version accepted: it may have characters that are refused by now.
    pub fn from_stored(text: &str) -> Result<Self, ProxyAddressError> {
        Self::read(text.trim())
    }

    fn bare(&self) -> &str {
        match self.text.split_once(':') {
            Some((_, bare)) => bare,
            None => &self.text,
        }
    }
}

impl FromStr for ProxyAddress {
    type Err = ProxyAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        match unseen(text) {
            Some(unseen) => Err(ProxyAddressError::Unseen(unseen)),
            None => Self::read(text),
        }
    }
}

impl ProxyAddress {
    fn read(text: &str) -> Result<Self, ProxyAddressError> {
        if text.is_empty() || text.chars().count() > MAX || text.chars().any(char::is_control) {
            return Err(ProxyAddressError::Length);
        }
        let (word, bare) = match text.split_once(':') {
            Some((word, bare)) => (word, bare),
            None => ("smtp", text),
        };
        let fits = !word.is_empty()
            && word.len() <= MAX_KIND
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !fits {
            return Err(ProxyAddressError::Kind);
        }
        let primary =
            word.bytes().any(|byte| byte.is_ascii_uppercase()) && !word.bytes().any(|b| b.is_ascii_lowercase());
        let kind = match word.to_ascii_lowercase() {
            smtp if smtp == "smtp" => AddressKind::Smtp,
            other => AddressKind::Other(other),
        };
        let folded = match &kind {
            AddressKind::Smtp => mailbox(bare)?,
            AddressKind::Other(_) if bare.trim().is_empty() => return Err(ProxyAddressError::Length),
            AddressKind::Other(kind) => format!("{kind}:{}", fold(bare)),
        };
        Ok(Self { text: text.to_owned(), kind, primary, folded })
    }
}

/// The folded form of an address of mail.
fn mailbox(text: &str) -> Result<String, ProxyAddressError> {
    if text.chars().any(char::is_whitespace) {
        return Err(ProxyAddressError::Mailbox);
    }
    let folded = match text.parse() {
        Ok(name @ SignInName::Address { .. }) => name.folded(),
        Ok(SignInName::DownLevel { .. }) | Err(_) => return Err(ProxyAddressError::Mailbox),
    };
    // Folding makes such characters of others.
    if folded.contains(NOT_IN_MAILBOX) { Err(ProxyAddressError::Mailbox) } else { Ok(folded) }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_spelling_has_its_type_its_mark_and_its_folded_form() {
        let rows = [
            ("SMTP:Ada@Example.org", true, Some("Ada@Example.org"), "ada@example.org"),
            ("smtp:Ada@Example.org", false, Some("Ada@Example.org"), "ada@example.org"),
            ("Smtp:ada@example.org", false, Some("ada@example.org"), "ada@example.org"),
            (" ada@example.org ", false, Some("ada@example.org"), "ada@example.org"),
            (
                "smtp:zoe\u{308}@b\u{fc}cher.example",
                false,
                Some("zoe\u{308}@b\u{fc}cher.example"),
                "zo\u{eb}@xn--bcher-kva.example",
            ),
            ("SIP:Ada@example.org", true, None, "sip:ada@example.org"),
            ("X500:/o=Org/ou=Site (A)/cn=Ada", true, None, "x500:/o=org/ou=site (a)/cn=ada"),
            ("x500:/o=a:b", false, None, "x500:/o=a:b"),
            ("EUM:1234;phone-context=plan.example", true, None, "eum:1234;phone-context=plan.example"),
        ];
        for (text, primary, mailbox, folded) in rows {
            let address: ProxyAddress = text.parse().expect(text);
            assert_eq!(
                (address.is_primary(), address.mailbox(), address.folded()),
                (primary, mailbox, folded),
                "{text}"
            );
            assert_eq!(address.to_string(), text.trim());
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        let long = format!("smtp:{}@example.org", "a".repeat(MAX));
        let rows = [
            ("", ProxyAddressError::Length),
            ("smtp:a\u{0}b@example.org", ProxyAddressError::Length),
            (&long, ProxyAddressError::Length),
            ("sip:", ProxyAddressError::Length),
            (":ada@example.org", ProxyAddressError::Kind),
            ("s mtp:ada@example.org", ProxyAddressError::Kind),
            ("a-type-of-no-known-kind:x", ProxyAddressError::Kind),
            ("smtp:", ProxyAddressError::Mailbox),
            ("smtp:ada", ProxyAddressError::Mailbox),
            ("ada", ProxyAddressError::Mailbox),
            ("smtp:ada byron@example.org", ProxyAddressError::Mailbox),
            ("smtp:ada\u{a0}@example.org", ProxyAddressError::Unseen('\u{a0}')),
            ("smtp:a\u{200b}da@example.org", ProxyAddressError::Unseen('\u{200b}')),
            ("smtp:ada@exam\u{ad}ple.org", ProxyAddressError::Unseen('\u{ad}')),
            ("smtp:ada\u{3164}@example.org", ProxyAddressError::Unseen('\u{3164}')),
            ("smtp:ada\u{2800}@example.org", ProxyAddressError::Unseen('\u{2800}')),
            ("smtp:\u{202e}ada@example.org", ProxyAddressError::Unseen('\u{202e}')),
            ("sip:ada\u{2003}b@example.org", ProxyAddressError::Unseen('\u{2003}')),
            ("\u{feff}smtp:ada@example.org", ProxyAddressError::Unseen('\u{feff}')),
            ("smtp:<ada@example.org>", ProxyAddressError::Mailbox),
            ("smtp:sip:ada@example.org", ProxyAddressError::Mailbox),
            ("smtp:sip\u{ff1a}ada@example.org", ProxyAddressError::Mailbox),
            ("smtp:a@b@example.org", ProxyAddressError::Mailbox),
            ("smtp:CORP\\ada@example.org", ProxyAddressError::Mailbox),
            ("smtp:ada@", ProxyAddressError::Mailbox),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<ProxyAddress>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_was_accepted_before_stays_readable() {
        for text in ["smtp:a\u{200b}da@example.org", "SIP:ada\u{2003}b@example.org", "SMTP:ada@example.org"] {
            let address = ProxyAddress::from_stored(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_further_address_is_the_same_without_its_mark() {
        for (text, further) in [
            ("SMTP:Ada@Example.org", "smtp:Ada@Example.org"),
            ("smtp:ada@example.org", "smtp:ada@example.org"),
            ("ada@example.org", "ada@example.org"),
        ] {
            let address: ProxyAddress = text.parse().expect(text);
            let made = address.as_further();
            assert_eq!(made.to_string(), further);
            assert_eq!(Ok(made), further.parse());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_the_same_again(text in "(([a-zA-Z0-9-]{0,6}):)?\\PC{0,30}(@\\PC{0,12})?") {
            if let Ok(address) = text.parse::<ProxyAddress>() {
                prop_assert_eq!(&address.to_string().parse::<ProxyAddress>(), &Ok(address.clone()));
                prop_assert_eq!(address.mailbox().is_some(), !address.folded().contains(':'));
            }
        }

        #[test]
        fn case_and_mark_make_no_other_address(local in "[a-z]{1,8}", domain in "[a-z]{1,8}\\.example", kind in "smtp|sip|x500") {
            let lower: ProxyAddress = format!("{kind}:{local}@{domain}").parse().expect("an address");
            let upper: ProxyAddress = format!("{kind}:{local}@{domain}").to_uppercase().parse().expect("an address");
            prop_assert_eq!(lower.folded(), upper.folded());
            prop_assert!(upper.is_primary() && !lower.is_primary());
        }
    }
}
