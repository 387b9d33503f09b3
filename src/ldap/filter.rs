//! Search filters, made by constructors so that no value can change their structure (RFC 4515, RFC 4511 section 4.5.1.7).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ldap3::asn1::ASNTag as _;

use super::ber::{BerError, Reader, Writer};

/// A search filter. Its text form is for people and settings; what is sent is built from the values themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
    encoded: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("`{0}` is not a search filter (RFC 4515)")]
    Syntax(String),
    #[error("the search filter is longer than {MAX_LENGTH} bytes or nested deeper than {MAX_DEPTH}")]
    Size,
}

/// More than any operator writes; bounds the recursion of the parser.
const MAX_LENGTH: usize = 8192;
const MAX_DEPTH: usize = 32;

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER_OR_EQUAL: u8 = 0xa5;
const LESS_OR_EQUAL: u8 = 0xa6;
const APPROX: u8 = 0xa8;
const PRESENT: u8 = 0x87;
const EXTENSIBLE: u8 = 0xa9;
const OCTET_STRING: u8 = super::ber::OCTET_STRING;

/// Which part of a value a substring filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substring {
    Initial,
    Any,
    Final,
}

impl Filter {
    /// Parses a filter that an operator wrote.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let depth = text.bytes().scan(0usize, |depth, byte| {
            match byte {
                b'(' => *depth += 1,
                b')' => *depth = depth.saturating_sub(1),
                _ => {}
            }
            Some(*depth)
        });
        if text.len() > MAX_LENGTH || depth.max().unwrap_or(0) > MAX_DEPTH {
            return Err(FilterError::Size);
        }
        let syntax = || FilterError::Syntax(text.to_owned());
        let tag = ldap3::parse_filter(text.trim()).map_err(|()| syntax())?;
        let mut encoded = tokio_util::bytes::BytesMut::new();
        lber::write::encode_into(&mut encoded, tag.into_structure()).map_err(|_| syntax())?;
        Ok(Self { text: text.trim().to_owned(), encoded: encoded.to_vec() })
    }

    /// Every entry: each has an object class.
    pub fn any() -> Self {
        Self::present("objectClass")
    }

    pub fn equal(attribute: &str, value: impl AsRef<[u8]>) -> Self {
        Self::assertion(EQUALITY, attribute, "=", value.as_ref())
    }

    pub fn at_least(attribute: &str, value: impl AsRef<[u8]>) -> Self {
        Self::assertion(GREATER_OR_EQUAL, attribute, ">=", value.as_ref())
    }

    pub fn at_most(attribute: &str, value: impl AsRef<[u8]>) -> Self {
        Self::assertion(LESS_OR_EQUAL, attribute, "<=", value.as_ref())
    }

    pub fn present(attribute: &str) -> Self {
        let mut writer = Writer::new();
        writer.element(PRESENT, attribute.as_bytes());
        Self { text: format!("({attribute}=*)"), encoded: writer.finish().to_vec() }
    }

    pub fn substring(attribute: &str, part: Substring, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let (tag, escaped) = (escape(value), value);
        let (text, choice) = match part {
            Substring::Initial => (format!("({attribute}={tag}*)"), 0x80),
            Substring::Any => (format!("({attribute}=*{tag}*)"), 0x81),
            Substring::Final => (format!("({attribute}=*{tag})"), 0x82),
        };
        let mut writer = Writer::new();
        writer.constructed(SUBSTRINGS, |filter| {
            filter.element(OCTET_STRING, attribute.as_bytes()).constructed(super::ber::SEQUENCE, |parts| {
                parts.element(choice, escaped);
            });
        });
        Self { text, encoded: writer.finish().to_vec() }
    }

    /// All bits of `mask` are set in the integer `attribute` (the AD rule 1.2.840.113556.1.4.803).
    pub fn bits_set(attribute: &str, mask: u32) -> Self {
        const BIT_AND: &str = "1.2.840.113556.1.4.803";
        let mut writer = Writer::new();
        writer.constructed(EXTENSIBLE, |filter| {
            filter
                .element(0x81, BIT_AND.as_bytes())
                .element(0x82, attribute.as_bytes())
                .element(0x83, mask.to_string().as_bytes());
        });
        Self { text: format!("({attribute}:{BIT_AND}:={mask})"), encoded: writer.finish().to_vec() }
    }

    /// All of `filters`; none of them is "true" (RFC 4526).
    pub fn and(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::set(AND, '&', filters)
    }

    /// Any of `filters`; none of them is "false" (RFC 4526).
    pub fn or(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self::set(OR, '|', filters)
    }

    #[expect(clippy::should_implement_trait, reason = "the name of the filter choice, beside `and` and `or`")]
    pub fn not(filter: Filter) -> Self {
        let mut writer = Writer::new();
        writer.element(NOT, &filter.encoded);
        Self { text: format!("(!{})", filter.text), encoded: writer.finish().to_vec() }
    }

    /// What it speaks of.
    pub fn names(&self) -> FilterNames {
        let mut names = FilterNames::default();
        // What was built or parsed here can be read here; a part that could not would be told by no name.
        let _unread = names.collect(Reader::new(&self.encoded));
        names
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    fn assertion(tag: u8, attribute: &str, sign: &str, value: &[u8]) -> Self {
        let mut writer = Writer::new();
        writer.constructed(tag, |filter| {
            filter.element(OCTET_STRING, attribute.as_bytes()).element(OCTET_STRING, value);
        });
        Self { text: format!("({attribute}{sign}{})", escape(value)), encoded: writer.finish().to_vec() }
    }

    fn set(tag: u8, sign: char, filters: impl IntoIterator<Item = Filter>) -> Self {
        let mut text = format!("({sign}");
        let mut content = Vec::new();
        for filter in filters {
            text.push_str(&filter.text);
            content.extend_from_slice(&filter.encoded);
        }
        text.push(')');
        let mut writer = Writer::new();
        writer.element(tag, &content);
        Self { text, encoded: writer.finish().to_vec() }
    }
}

/// The names in a filter, as they are written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterNames {
    pub attributes: BTreeSet<String>,
    pub object_classes: BTreeSet<String>,
}

impl FilterNames {
    fn collect(&mut self, mut filters: Reader<'_>) -> Result<(), BerError> {
        const MATCHING_RULE_TYPE: u8 = 0x82;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        while !filters.is_empty() {
            let (tag, content) = filters.element()?;
            let mut parts = Reader::new(content);
            match tag {
                AND | OR | NOT => self.collect(parts)?,
                PRESENT => {
                    self.attributes.insert(text(content));
                }
                EXTENSIBLE => {
                    while !parts.is_empty() {
                        if let (MATCHING_RULE_TYPE, name) = parts.element()? {
                            self.attributes.insert(text(name));
                        }
                    }
                }
                EQUALITY | SUBSTRINGS | GREATER_OR_EQUAL | LESS_OR_EQUAL | APPROX => {
                    let name = text(parts.expect(OCTET_STRING)?);
                    if tag == EQUALITY && name.eq_ignore_ascii_case("objectClass") {
                        self.object_classes.insert(text(parts.expect(OCTET_STRING)?));
                    }
                    self.attributes.insert(name);
                }
                _ => return Err(BerError("a filter of another kind")),
            }
        }
        Ok(())
    }
}

/// The text form of a value: what is not plain, printable ASCII as `\xx` (RFC 4515, section 3).
fn escape(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for &byte in value {
        if (byte.is_ascii_graphic() || byte == b' ') && !b"*()\\".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('\\');
            out.push_str(&hex::encode([byte]));
        }
    }
    out
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constructors_agree_with_the_parser() {
        let rows = [
            (Filter::any(), "(objectClass=*)"),
            (Filter::equal("cn", "Ada (Countess) *\\"), "(cn=Ada \\28Countess\\29 \\2a\\5c)"),
            (Filter::equal("objectGUID", [0u8, 0xff]), "(objectGUID=\\00\\ff)"),
            (Filter::at_least("uSNChanged", "12"), "(uSNChanged>=12)"),
            (Filter::at_most("uSNChanged", "12"), "(uSNChanged<=12)"),
            (Filter::substring("cn", Substring::Initial, "a*"), "(cn=a\\2a*)"),
            (Filter::substring("cn", Substring::Any, "a"), "(cn=*a*)"),
            (Filter::substring("cn", Substring::Final, "a"), "(cn=*a)"),
            (Filter::bits_set("userAccountControl", 2), "(userAccountControl:1.2.840.113556.1.4.803:=2)"),
            (
                Filter::and([
                    Filter::equal("a", "1"),
                    Filter::or([Filter::equal("b", "2"), Filter::not(Filter::present("c"))]),
                ]),
                "(&(a=1)(|(b=2)(!(c=*))))",
            ),
        ];
        for (built, text) in rows {
            assert_eq!(built.to_string(), text);
            let parsed = Filter::parse(text).expect(text);
            assert_eq!(hex::encode(parsed.encoded()), hex::encode(built.encoded()), "{text}");
        }
    }

    #[test]
    fn a_filter_tells_what_it_speaks_of() {
        let text =
            "(&(objectClass=person)(!(employeeType=robot))(|(mail=*)(sn~=x)(cn=a*b)(uidNumber>=5))(uac:1.2.3:=2))";
        let names = Filter::parse(text).expect(text).names();
        assert_eq!(names.object_classes, ["person".to_owned()].into());
        let attributes = ["cn", "employeeType", "mail", "objectClass", "sn", "uac", "uidNumber"];
        assert_eq!(names.attributes, attributes.map(str::to_owned).into());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "(", "(cn=a", "cn=a)(uid=*", "(&(a=1)", "()", "(cn=a))", "(cn=\\zz)"] {
            assert_eq!(Filter::parse(text), Err(FilterError::Syntax(text.to_owned())), "{text}");
        }
        assert_eq!(Filter::parse(&"(!".repeat(40)), Err(FilterError::Size));
        assert_eq!(Filter::parse(&format!("(cn={})", "a".repeat(MAX_LENGTH))), Err(FilterError::Size));
    }

    proptest! {
        #[test]
        fn a_value_never_changes_the_structure(value in proptest::collection::vec(any::<u8>(), 1..40)) {
            let built = Filter::equal("uid", &value);
            let parsed = Filter::parse(&built.to_string()).expect("escaped text parses");
            prop_assert_eq!(parsed.encoded(), built.encoded());
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            if let Ok(filter) = Filter::parse(&text) { prop_assert!(!filter.encoded().is_empty()); }
        }
    }
}
