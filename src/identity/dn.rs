//! LDAP distinguished names, parsed by RFC 4514.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fold::fold;

/// A distinguished name. Keeps the text that the directory sent; compares by folded type and value of each RDN.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DistinguishedName {
    text: String,
    rdns: Vec<Rdn>,
}

/// One relative distinguished name as written, and its folded key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rdn {
    text: String,
    folded: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a distinguished name (RFC 4514): {reason} at character {position}")]
pub struct DnError {
    reason: &'static str,
    position: usize,
}

impl DistinguishedName {
    /// The empty name, above every other.
    pub fn root() -> Self {
        Self { text: String::new(), rdns: Vec::new() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_root(&self) -> bool {
        self.rdns.is_empty()
    }

    /// The first RDN as the directory wrote it, such as `cn=Ada Byron`.
    pub fn rdn(&self) -> Option<&str> {
        self.rdns.first().map(|rdn| rdn.text.as_str())
    }

    /// The name without its first RDN; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.rdns.split_first()?;
        let text = rest.iter().map(|rdn| rdn.text.as_str()).collect::<Vec<_>>().join(",");
        Some(Self { text, rdns: rest.to_vec() })
    }

    /// The DNS name of the domain that the last RDNs spell (RFC 2247), folded: of `cn=ada,dc=corp,dc=example` it is
    /// `corp.example`. Empty where there is none.
    pub fn domain_components(&self) -> String {
        let labels = self.rdns.iter().rev().map_while(|rdn| rdn.folded.strip_prefix("dc="));
        let mut labels: Vec<&str> = labels.collect();
        labels.reverse();
        labels.join(".")
    }

    /// How many RDNs there are.
    pub fn depth(&self) -> usize {
        self.rdns.len()
    }

    /// The first RDN in the form that key columns hold; empty at the root.
    pub fn rdn_folded(&self) -> &str {
        self.rdns.first().map_or("", |rdn| &rdn.folded)
    }

    /// [`Self::folded`] of the parent; empty where the parent is the root, and at the root.
    pub fn parent_folded(&self) -> String {
        folded(self.rdns.get(1..).unwrap_or_default())
    }

    /// Whether `self` is `base` or lies below it.
    pub fn is_within(&self, base: &Self) -> bool {
        self.rdns.len() >= base.rdns.len()
            && self.rdns[self.rdns.len() - base.rdns.len()..].iter().zip(&base.rdns).all(|(a, b)| a.folded == b.folded)
    }

    /// The child of this name with the given attribute and value; the value is escaped (RFC 4514, section 2.4).
    pub fn child(&self, attribute: &str, value: &str) -> Result<Self, DnError> {
        let rdn = format!("{attribute}={}", escape_value(value));
        if self.is_root() { rdn.parse() } else { format!("{rdn},{}", self.text).parse() }
    }

    /// The form that key columns hold: each RDN folded, joined by commas.
    pub fn folded(&self) -> String {
        folded(&self.rdns)
    }
}

fn folded(rdns: &[Rdn]) -> String {
    let mut text = String::with_capacity(rdns.iter().map(|rdn| rdn.folded.len() + 1).sum());
    for (index, rdn) in rdns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&rdn.folded);
    }
    text
}

/// Escapes an attribute value for use in a distinguished name (RFC 4514, section 2.4).
pub fn escape_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                out.push('\\');
                out.push(c);
            }
            '#' if i == 0 => out.push_str("\\#"),
            ' ' if i == 0 || i == last => out.push_str("\\20"),
            '\0' => out.push_str("\\00"),
            c => out.push(c),
        }
    }
    out
}

impl FromStr for DistinguishedName {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rdns = Vec::new();
        if !text.trim().is_empty() {
            let mut parser = Parser { text, at: 0 };
            loop {
                rdns.push(parser.rdn()?);
                if !parser.take(',') && !parser.take(';') {
                    break;
                }
            }
            if parser.at < text.len() {
                return Err(parser.refuse("unexpected text"));
            }
        }
        Ok(Self { text: text.trim().to_owned(), rdns })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn refuse(&self, reason: &'static str) -> DnError {
        DnError { reason, position: self.text[..self.at].chars().count() + 1 }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn blanks(&mut self) {
        while self.take(' ') {}
    }

    fn rdn(&mut self) -> Result<Rdn, DnError> {
        self.blanks();
        let start = self.at;
        let mut parts = Vec::new();
        loop {
            self.blanks();
            let attribute = self.attribute()?;
            let value = self.value()?;
            parts.push(format!("{}={}", attribute, escape_value(&fold(&value))));
            if !self.take('+') {
                break;
            }
        }
        parts.sort();
        Ok(Rdn { text: self.text[start..self.at].trim_end_matches(' ').to_owned(), folded: parts.join("+") })
    }

    fn attribute(&mut self) -> Result<String, DnError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
            self.bump();
        }
        let name = self.text[start..self.at].to_ascii_lowercase();
        if name.is_empty() {
            return Err(self.refuse("an attribute name is expected"));
        }
        self.blanks();
        if !self.take('=') {
            return Err(self.refuse("`=` is expected"));
        }
        self.blanks();
        Ok(name)
    }

    fn value(&mut self) -> Result<String, DnError> {
        let mut bytes: Vec<u8> = Vec::new();
        // Blanks that were written plainly at the end do not belong to the value; escaped ones do.
        let mut significant = 0;
        while let Some(c) = self.peek() {
            match c {
                ',' | ';' | '+' => break,
                '"' | '<' | '>' | '\0' => return Err(self.refuse("a character that must be escaped")),
                '\\' => {
                    self.bump();
                    bytes.extend(self.escaped()?);
                    significant = bytes.len();
                }
                c => {
                    self.bump();
                    bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
                    if c != ' ' {
                        significant = bytes.len();
                    }
                }
            }
        }
        bytes.truncate(significant);
        String::from_utf8(bytes).map_err(|_| self.refuse("an escaped value that is not UTF-8"))
    }

    fn escaped(&mut self) -> Result<Vec<u8>, DnError> {
        let first = self.bump().ok_or_else(|| self.refuse("an escape without a character"))?;
        if " \"#+,;<=>\\".contains(first) {
            return Ok(vec![first as u8]);
        }
        let second = self.bump();
        let digits = (first.to_digit(16), second.and_then(|c| c.to_digit(16)));
        match digits {
            (Some(high), Some(low)) => Ok(vec![(high * 16 + low) as u8]),
            _ => Err(self.refuse("an escape that is neither a special character nor two hex digits")),
        }
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.rdns.len() == other.rdns.len() && self.rdns.iter().zip(&other.rdns).all(|(a, b)| a.folded == b.folded)
    }
}

impl Eq for DistinguishedName {}

impl std::hash::Hash for DistinguishedName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl TryFrom<String> for DistinguishedName {
    type Error = DnError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DistinguishedName> for String {
    fn from(dn: DistinguishedName) -> Self {
        dn.text
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dn(text: &str) -> DistinguishedName {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn spelling_does_not_make_two_names() {
        assert_eq!(dn("CN=Ada Byron, OU=People,dc=Example"), dn("cn=ada byron,ou=people,DC=example"));
        assert_eq!(dn("cn=Byron\\, Ada,dc=example"), dn("CN=byron\\2c ada,dc=example"));
        assert_eq!(dn("cn=a+ou=b,dc=x"), dn("ou=b+cn=a,dc=x"));
        assert_ne!(dn("cn=a\\20,dc=x"), dn("cn=a,dc=x"));
    }

    #[test]
    fn parents_and_bases() {
        let name = dn("cn=Byron\\, Ada,ou=People,dc=example,dc=org");
        assert_eq!(name.rdn(), Some("cn=Byron\\, Ada"));
        assert_eq!(name.parent(), Some(dn("ou=people,dc=example,dc=org")));
        assert!(name.is_within(&dn("OU=People,DC=example,DC=org")));
        assert!(!name.is_within(&dn("ou=eople,dc=example,dc=org")));
        assert!(name.is_within(&dn("")));
    }

    #[test]
    fn the_last_components_spell_a_domain() {
        for (name, domain) in [
            ("CN=Ada,OU=Staff,DC=Corp,DC=Example", "corp.example"),
            ("DC=inner,OU=Staff,DC=corp,DC=example", "corp.example"),
            ("dc=example", "example"),
            ("cn=ada,o=example", ""),
            ("", ""),
        ] {
            assert_eq!(dn(name).domain_components(), domain, "{name}");
        }
    }

    #[test]
    fn broken_names_are_refused_with_a_position() {
        for text in ["ada", "=ada", "cn=a,", "cn=a,,dc=b", "cn=a\\", "cn=a\\zz", "cn=\"a\"", "cn=\\ff"] {
            assert!(text.parse::<DistinguishedName>().is_err(), "{text}");
        }
        assert_eq!("cn=a,b".parse::<DistinguishedName>().map_err(|e| e.position), Err(7));
    }

    proptest! {
        #[test]
        fn any_value_survives_escaping(value in "\\PC{1,30}") {
            let base = dn("ou=people,dc=example");
            let child = base.child("cn", &value).expect("an escaped value parses");
            prop_assert!(child.is_within(&base));
            prop_assert_eq!(child.parent(), Some(base.clone()));
            prop_assert_eq!(&child, &base.child("CN", &value).expect("an escaped value parses"));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            if let Ok(name) = text.parse::<DistinguishedName>() {
                prop_assert_eq!(dn(name.as_str()), name);
            }
        }
    }
}
