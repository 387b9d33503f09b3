//! What attributes and object classes a directory knows: the subschema (RFC 4512, sections 4.1.1, 4.1.2 and 4.4).

use std::collections::{BTreeSet, HashMap};

use super::connection::Connection;
use super::entry::Entry;
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
    /// The server alone sets it.
    pub no_user_modification: bool,
    superior: Option<String>,
}

impl AttributeType {
    /// Whether its values are distinguished names.
    pub fn is_name(&self) -> bool {
        NAME_SYNTAXES.contains(&self.syntax.as_str())
    }
}

/// One object class. What it requires and allows beyond its superiors is in its own lists alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectClass {
    pub oid: String,
    pub names: Vec<String>,
    superiors: Vec<String>,
    must: Vec<String>,
    may: Vec<String>,
}

/// What entries of some object classes hold. Attributes as [`Schema::key`] folds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub required: BTreeSet<String>,
    pub allowed: BTreeSet<String>,
    /// `extensibleObject` is among the classes (RFC 4512, section 4.3).
    pub anything: bool,
}

/// The attribute types and object classes of a server, by name and by OID without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    types: Vec<AttributeType>,
    by_name: HashMap<String, usize>,
    classes: Vec<ObjectClass>,
    class_by_name: HashMap<String, usize>,
}

impl Schema {
    /// Reads `attributeTypes` and `objectClasses` values. A description that cannot be read is passed over: it is one less.
    pub fn read<'a>(types: impl Iterator<Item = &'a str>, classes: impl Iterator<Item = &'a str>) -> Self {
        let mut schema = Self::default();
        for class in classes.filter_map(describe_class) {
            for name in class.names.iter().chain([&class.oid]) {
                schema.class_by_name.insert(name.to_ascii_lowercase(), schema.classes.len());
            }
            schema.classes.push(class);
        }
        for description in types.filter_map(describe) {
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

    pub fn class(&self, name: &str) -> Option<&ObjectClass> {
        self.class_by_name.get(&name.to_ascii_lowercase()).and_then(|at| self.classes.get(*at))
    }

    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.types.iter().flat_map(|known| &known.names).map(String::as_str)
    }

    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().flat_map(|known| &known.names).map(String::as_str)
    }

    /// One text for all names of an attribute.
    pub fn key(&self, name: &str) -> String {
        self.attribute(name).map_or_else(|| name.to_ascii_lowercase(), |known| known.oid.clone())
    }

    /// What entries of these classes hold. Classes that are not known add nothing.
    pub fn content<'a>(&'a self, classes: impl Iterator<Item = &'a str>) -> Content {
        let mut content = Content::default();
        let mut open: Vec<&str> = classes.collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            let Some(class) = self.class(name) else { continue };
            if !seen.insert(&class.oid) {
                continue;
            }
            content.anything |= class.names.iter().any(|name| name.eq_ignore_ascii_case("extensibleObject"));
            content.required.extend(class.must.iter().map(|name| self.key(name)));
            content.allowed.extend(class.must.iter().chain(&class.may).map(|name| self.key(name)));
            open.extend(class.superiors.iter().map(String::as_str));
        }
        content
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
        let attributes = vec!["attributeTypes".to_owned(), "objectClasses".to_owned()];
        let entry = self.read(subschema, attributes).await?;
        let read = |entry: Entry| Schema::read(entry.texts("attributetypes"), entry.texts("objectclasses"));
        Ok(entry.map(read).unwrap_or_default())
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
            Word::Bare("NO-USER-MODIFICATION") => described.no_user_modification = true,
            Word::Bare(_) | Word::Quoted(_) | Word::Open | Word::Close => {}
        }
    }
    Some(described)
}

/// `( OID NAME ( 'a' 'b' ) SUP ( s $ t ) STRUCTURAL MUST ( a $ b ) MAY c ... )`.
fn describe_class(text: &str) -> Option<ObjectClass> {
    let mut words = Words(text.trim().strip_prefix('(')?);
    let mut described = ObjectClass { oid: words.next()?.text()?, ..ObjectClass::default() };
    while let Some(word) = words.next() {
        match word {
            Word::Bare("NAME") => described.names = words.list()?,
            Word::Bare("SUP") => described.superiors = words.list()?,
            Word::Bare("MUST") => described.must = words.list()?,
            Word::Bare("MAY") => described.may = words.list()?,
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
                // Nothing has to stand between a name and a `$`.
                Word::Bare(names) => {
                    list.extend(names.split('$').filter(|name| !name.is_empty()).map(str::to_owned));
                }
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
            std::iter::empty(),
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

    #[test]
    fn classes_require_and_allow_what_their_superiors_do() {
        let schema = Schema::read(
            [
                "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
                "( 2.5.4.4 NAME ( 'sn' 'surname' ) SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
            ]
            .into_iter(),
            [
                "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
                "( 2.5.6.6 NAME 'person' DESC 'MUST ( not ) be read' SUP top STRUCTURAL MUST ( surname$commonName ) MAY ( seeAlso $ userPassword ) )",
                "( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP person STRUCTURAL MAY ( mail $uid ) )",
                "( 1.3.6.1.4.1.1466.101.120.111 NAME 'extensibleObject' SUP top AUXILIARY )",
            ]
            .into_iter(),
        );
        let content = schema.content(["INETORGPERSON"].into_iter());
        assert_eq!(content.required, ["2.5.4.3", "2.5.4.4", "objectclass"].map(str::to_owned).into());
        for (name, allowed) in [("cn", true), ("mail", true), ("uid", true), ("seeAlso", true), ("member", false)] {
            assert_eq!(content.allowed.contains(&schema.key(name)), allowed, "{name}");
        }
        assert!(!content.anything && schema.content(["extensibleObject"].into_iter()).anything);
        assert_eq!(schema.content(["nobody"].into_iter()), Content::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "[(){}$'A-Za-z0-9. é]{0,80}") {
            let _ = Schema::read([text.as_str()].into_iter(), [text.as_str()].into_iter());
        }
    }
}
