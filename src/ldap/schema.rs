//! What attributes a directory knows: the subschema (RFC 4512, sections 4.1.2 and 4.4).

use std::collections::HashMap;

use super::connection::Connection;
use super::error::LdapError;
use crate::identity::DistinguishedName;

/// Syntaxes whose values are names of entries: DN, Name And Optional UID, and AD's DN with String and DN with Binary
/// (RFC 4517, sections 3.3.9 and 3.3.21; MS-ADTS, section 3.1.1.2.2.2).
const NAME_SYNTAXES: [&str; 4] = [
    "1.3.6.1.4.1.1466.115.121.1.12",
    "1.3.6.1.4.1.1466.115.121.1.34",
    "1.2.840.113556.1.4.903",
    "1.2.840.113556.1.4.904",
];

/// One attribute type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeType {
    pub oid: String,
    pub names: Vec<String>,
    pub single_valued: bool,
    /// Of its own or inherited; empty when the server tells none.
    pub syntax: String,
    superior: Option<String>,
}

impl AttributeType {
    /// Whether its values are distinguished names.
    pub fn is_name(&self) -> bool {
        NAME_SYNTAXES.contains(&self.syntax.as_str())
    }
}

/// The attribute types of a server, by name and by OID without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    types: Vec<AttributeType>,
    by_name: HashMap<String, usize>,
}

impl Schema {
    /// Reads `attributeTypes` values. A description that cannot be read is passed over: it is one attribute less.
    pub fn read<'a>(descriptions: impl Iterator<Item = &'a str>) -> Self {
        let mut schema = Self::default();
        for description in descriptions.filter_map(describe) {
            let at = schema.types.len();
            for name in description.names.iter().chain([&description.oid]) {
                schema.by_name.insert(name.to_ascii_lowercase(), at);
            }
            schema.types.push(description);
        }
        schema.inherit();
        schema
    }

    /// The attribute type of a name or OID; options such as `;binary` do not count.
    pub fn attribute(&self, name: &str) -> Option<&AttributeType> {
        let name = name.split(';').next().unwrap_or(name).to_ascii_lowercase();
        self.by_name.get(&name).and_then(|at| self.types.get(*at))
    }

    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// A type without syntax has that of its superior, to any depth a real schema has.
    fn inherit(&mut self) {
        const DEEPEST: usize = 16;
        for at in 0..self.types.len() {
            let mut superior = self.types[at].superior.clone();
            for _ in 0..DEEPEST {
                let Some(above) = superior.take() else { break };
                if !self.types[at].syntax.is_empty() {
                    break;
                }
                let Some(above) = self.attribute(&above) else { break };
                let (syntax, next) = (above.syntax.clone(), above.superior.clone());
                self.types[at].syntax = syntax;
                superior = next;
            }
        }
    }
}

impl Connection {
    /// Reads the schema that governs the server's entries; empty when it tells none.
    pub async fn schema(&mut self, subschema: &DistinguishedName) -> Result<Schema, LdapError> {
        let entry = self.read(subschema, vec!["attributeTypes".to_owned()]).await?;
        Ok(entry.map(|entry| Schema::read(entry.texts("attributetypes"))).unwrap_or_default())
    }
}

/// `( OID NAME ( 'a' 'b' ) SUP s SYNTAX o{n} SINGLE-VALUE ... )`; what else stands in it is passed over.
fn describe(text: &str) -> Option<AttributeType> {
    let mut words = Words(text.trim().strip_prefix('(')?);
    let mut described = AttributeType { oid: words.next()?.text()?, ..AttributeType::default() };
    while let Some(word) = words.next() {
        match word {
            Word::Bare("NAME") => described.names = words.list()?,
            Word::Bare("SUP") => described.superior = words.list()?.into_iter().next(),
            Word::Bare("SYNTAX") => {
                let syntax = words.next()?.text()?;
                syntax.split('{').next().unwrap_or(&syntax).clone_into(&mut described.syntax);
            }
            Word::Bare("SINGLE-VALUE") => described.single_valued = true,
            Word::Bare(_) | Word::Quoted(_) | Word::Open | Word::Close => {}
        }
    }
    Some(described)
}

enum Word<'a> {
    Open,
    Close,
    Bare(&'a str),
    Quoted(&'a str),
}

impl Word<'_> {
    fn text(self) -> Option<String> {
        match self {
            Self::Bare(text) | Self::Quoted(text) => Some(text.to_owned()),
            Self::Open | Self::Close => None,
        }
    }
}

struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let text = self.0.trim_start();
        let first = text.chars().next()?;
        let (word, rest) = match first {
            '(' => (Word::Open, &text[1..]),
            ')' => (Word::Close, &text[1..]),
            '\'' => {
                let end = text[1..].find('\'')?;
                (Word::Quoted(&text[1..=end]), &text[end + 2..])
            }
            _ => {
                let end = text.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(text.len());
                (Word::Bare(&text[..end]), &text[end..])
            }
        };
        self.0 = rest;
        Some(word)
    }
}

impl Words<'_> {
    /// One word, or words in parentheses; `$` separates OIDs.
    fn list(&mut self) -> Option<Vec<String>> {
        match self.next()? {
            Word::Open => {}
            word => return Some(vec![word.text()?]),
        }
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Word::Close => return Some(list),
                Word::Bare("$") => {}
                word => list.push(word.text()?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_are_found_by_each_name_with_inherited_syntax() {
        let schema = Schema::read(
            [
                "( 2.5.4.41 NAME 'name' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{32768} )",
                "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'RFC4519: (odd) text' SUP name )",
                "( 2.5.4.49 NAME 'distinguishedName' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )",
                "( 2.5.4.31 NAME 'member' SUP distinguishedName )",
                "( 1.2.840.113556.1.2.102 NAME 'memberOf' SYNTAX '1.3.6.1.4.1.1466.115.121.1.12' NO-USER-MODIFICATION )",
                "( 1.3.6.1.1.16.4 NAME 'entryUUID' SYNTAX 1.3.6.1.1.16.1 SINGLE-VALUE USAGE directoryOperation X-ORIGIN ( 'a' 'b' ) )",
                "not a description",
                "( ",
            ]
            .into_iter(),
        );
        assert_eq!(schema.attribute("COMMONNAME").expect("known").syntax, "1.3.6.1.4.1.1466.115.121.1.15");
        assert_eq!(schema.attribute("2.5.4.3").expect("known").names, ["cn", "commonName"]);
        for (name, is_name) in [("member", true), ("memberOf", true), ("member;range=0-9", true), ("cn", false)] {
            assert_eq!(schema.attribute(name).expect("known").is_name(), is_name, "{name}");
        }
        assert!(schema.attribute("entryUUID").expect("known").single_valued);
        assert!(!schema.attribute("cn").expect("known").single_valued);
        assert_eq!(schema.attribute("nobody"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "[(){}$'A-Za-z0-9. é]{0,80}") {
            let _ = Schema::read([text.as_str()].into_iter());
        }
    }
}
