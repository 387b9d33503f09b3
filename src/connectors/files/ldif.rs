//! LDIF (RFC 2849): entries and change records, one at a time. A malformed record is told with its line, and reading goes
//! on behind the next blank line. Values by URL (`attribute:< file://...`) are refused: a file names no other files.

use std::io::{self, BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of one record: a group with half a million members fits.
const LARGEST_RECORD: usize = 64 * 1024 * 1024;

/// An attribute with its values, in the order of the record.
pub type Values = (String, Vec<Vec<u8>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of a file that lists entries.
    Entry {
        dn: String,
        attributes: Vec<Values>,
    },
    Add {
        dn: String,
        attributes: Vec<Values>,
    },
    Delete {
        dn: String,
    },
    Modify {
        dn: String,
        changes: Vec<Modification>,
    },
    Rename {
        dn: String,
        new_rdn: String,
        delete_old: bool,
        new_superior: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modification {
    pub operation: Operation,
    pub attribute: String,
    pub values: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Delete,
    Replace,
}

/// Why a record is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LdifError {
    #[error("the line has no attribute and colon")]
    NoColon,
    #[error("`{0}` is no attribute name")]
    Name(String),
    #[error("the value of `{0}` is not base64")]
    Base64(String),
    #[error("the value of `{0}` is at a URL, which is not followed")]
    Url(String),
    #[error("`{0}` is not UTF-8")]
    NotText(String),
    #[error("the record does not begin with a dn")]
    NoDn,
    #[error("there is no change type `{0}`")]
    ChangeType(String),
    #[error("the control {0} is critical and not known")]
    Control(String),
    #[error("`{0}` is not expected here")]
    Unexpected(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("the file begins with a continued line")]
    Continuation,
    #[error("the version of LDIF is not 1")]
    Version,
    #[error("the record is larger than {} MiB", LARGEST_RECORD / 1024 / 1024)]
    TooLarge,
}

/// A record, or what is wrong with it, and the line where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub line: u64,
    pub record: Result<Record, LdifError>,
}

/// Reads records one by one.
pub struct Reader<R> {
    input: R,
    line: u64,
}

/// A line without its continuations, and where it began.
type Line = (u64, Vec<u8>);

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Self {
        Self { input, line: 0 }
    }

    /// The next record; `None` at the end of the file.
    pub fn next_record(&mut self) -> io::Result<Option<Located>> {
        loop {
            let Some((first, block)) = self.block()? else { return Ok(None) };
            let located = match block {
                Err(error) => Located { line: first, record: Err(error) },
                Ok(lines) => match record(&lines) {
                    Ok(None) => continue,
                    Ok(Some(record)) => Located { line: first, record: Ok(record) },
                    Err((line, error)) => Located { line, record: Err(error) },
                },
            };
            return Ok(Some(located));
        }
    }

    /// The lines up to the next blank one, without comments; with the number of the first.
    fn block(&mut self) -> io::Result<Option<(u64, Result<Vec<Line>, LdifError>)>> {
        let (mut lines, mut comment, mut size) = (Vec::<Line>::new(), false, 0);
        let (mut first, mut fault) = (0, None);
        while let Some(line) = self.physical_line()? {
            if first == 0 && !line.is_empty() && line[0] != b'#' && !comment {
                first = self.line;
            }
            size += line.len();
            match line.first() {
                None if first == 0 && !comment => continue,
                // A comment alone is no record.
                None if lines.is_empty() && fault.is_none() => {
                    comment = false;
                    continue;
                }
                None => break,
                Some(b' ') if comment => {}
                Some(b' ') => match lines.last_mut() {
                    Some((_, text)) if size <= LARGEST_RECORD => text.extend_from_slice(&line[1..]),
                    Some(_) => fault = Some(LdifError::TooLarge),
                    None => fault = Some(LdifError::Continuation),
                },
                Some(b'#') => comment = true,
                Some(_) => {
                    comment = false;
                    if size > LARGEST_RECORD {
                        fault = Some(LdifError::TooLarge);
                    } else {
                        lines.push((self.line, line));
                    }
                }
            }
        }
        match (lines.is_empty(), fault) {
            (_, Some(fault)) => Ok(Some((first, Err(fault)))),
            (true, None) => Ok(None),
            (false, None) => Ok(Some((first, Ok(lines)))),
        }
    }

    fn physical_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(LARGEST_RECORD as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        Ok(Some(line))
    }
}

type LineFault = (u64, LdifError);

/// The record of a block; `None` for a block that only tells the version.
fn record(lines: &[Line]) -> Result<Option<Record>, LineFault> {
    let mut lines = Lines { lines, next: 0 };
    if let Some(version) = lines.take_if("version")? {
        if version.value.as_slice() != b"1" {
            return Err((version.line, LdifError::Version));
        }
        if lines.peek().is_none() {
            return Ok(None);
        }
    }
    let dn = lines.take_if("dn")?.ok_or_else(|| (lines.line(), LdifError::NoDn))?.text()?;
    let mut controlled = false;
    while let Some(control) = lines.take_if("control")? {
        let line = control.line;
        let text = control.text()?;
        let mut words = text.split_whitespace();
        let (oid, critical) = (words.next().unwrap_or_default(), words.next());
        if critical.is_some_and(|word| word.trim_end_matches(':').eq_ignore_ascii_case("true")) {
            return Err((line, LdifError::Control(oid.to_owned())));
        }
        controlled = true;
    }
    let Some(change) = lines.take_if("changetype")? else {
        if controlled {
            return Err((lines.line(), LdifError::Missing("changetype")));
        }
        return Ok(Some(Record::Entry { dn, attributes: lines.attributes()? }));
    };
    let line = change.line;
    let change = change.text()?;
    let record = match change.to_ascii_lowercase().as_str() {
        "add" => Record::Add { dn, attributes: lines.attributes()? },
        "delete" => Record::Delete { dn },
        "modify" => Record::Modify { dn, changes: lines.modifications()? },
        "modrdn" | "moddn" => lines.rename(dn)?,
        _ => return Err((line, LdifError::ChangeType(change))),
    };
    lines.expect_end()?;
    Ok(Some(record))
}

/// `attribute: value`.
struct Pair {
    line: u64,
    name: String,
    value: Vec<u8>,
}

impl Pair {
    fn parse((line, text): &Line) -> Result<Self, LineFault> {
        let fault = |error| (*line, error);
        let colon = text.iter().position(|byte| *byte == b':').ok_or_else(|| fault(LdifError::NoColon))?;
        let name = String::from_utf8_lossy(&text[..colon]).into_owned();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;_".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(fault(LdifError::Name(name)));
        }
        let rest = &text[colon + 1..];
        let trimmed =
            |text: &[u8]| text.iter().position(|byte| *byte != b' ').map_or(Vec::new(), |at| text[at..].to_vec());
        let value = match rest.first() {
            Some(b':') => {
                let encoded: Vec<u8> = rest[1..].iter().copied().filter(|byte| *byte != b' ').collect();
                STANDARD.decode(encoded).map_err(|_| fault(LdifError::Base64(name.clone())))?
            }
            Some(b'<') => return Err(fault(LdifError::Url(name))),
            _ => trimmed(rest),
        };
        Ok(Self { line: *line, name, value })
    }

    fn text(self) -> Result<String, LineFault> {
        String::from_utf8(self.value).map_err(|_| (self.line, LdifError::NotText(self.name)))
    }
}

struct Lines<'a> {
    lines: &'a [Line],
    next: usize,
}

impl Lines<'_> {
    fn peek(&self) -> Option<&Line> {
        self.lines.get(self.next)
    }

    /// Where reading stands.
    fn line(&self) -> u64 {
        self.peek().or(self.lines.last()).map_or(0, |(line, _)| *line)
    }

    /// The next line when it is about `name`.
    fn take_if(&mut self, name: &str) -> Result<Option<Pair>, LineFault> {
        let Some(line) = self.peek() else { return Ok(None) };
        let is_it = line.1.len() > name.len()
            && line.1[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            && line.1[name.len()] == b':';
        if !is_it {
            return Ok(None);
        }
        let pair = Pair::parse(line)?;
        self.next += 1;
        Ok(Some(pair))
    }

    fn attributes(&mut self) -> Result<Vec<Values>, LineFault> {
        let mut attributes: Vec<Values> = Vec::new();
        let mut places = std::collections::HashMap::new();
        while let Some(line) = self.peek() {
            let pair = Pair::parse(line)?;
            self.next += 1;
            let place = *places.entry(pair.name.to_ascii_lowercase()).or_insert(attributes.len());
            if place == attributes.len() {
                attributes.push((pair.name, Vec::new()));
            }
            attributes[place].1.push(pair.value);
        }
        Ok(attributes)
    }

    fn modifications(&mut self) -> Result<Vec<Modification>, LineFault> {
        let mut changes = Vec::new();
        while let Some(line) = self.peek() {
            let head = Pair::parse(line)?;
            let at = head.line;
            let operation = match head.name.to_ascii_lowercase().as_str() {
                "add" => Operation::Add,
                "delete" => Operation::Delete,
                "replace" => Operation::Replace,
                _ => return Err((at, LdifError::Unexpected(head.name))),
            };
            self.next += 1;
            let attribute = head.text()?;
            let mut values = Vec::new();
            while let Some(line) = self.peek() {
                if line.1 == b"-" {
                    self.next += 1;
                    break;
                }
                let pair = Pair::parse(line)?;
                if !pair.name.eq_ignore_ascii_case(&attribute) {
                    return Err((pair.line, LdifError::Unexpected(pair.name)));
                }
                values.push(pair.value);
                self.next += 1;
            }
            changes.push(Modification { operation, attribute, values });
        }
        Ok(changes)
    }

    fn rename(&mut self, dn: String) -> Result<Record, LineFault> {
        let missing = |lines: &Self, what| (lines.line(), LdifError::Missing(what));
        let new_rdn = self.take_if("newrdn")?.ok_or_else(|| missing(self, "newrdn"))?.text()?;
        let delete_old = self.take_if("deleteoldrdn")?.ok_or_else(|| missing(self, "deleteoldrdn"))?;
        let delete_old = match delete_old.value.as_slice() {
            b"0" => false,
            b"1" => true,
            _ => return Err((delete_old.line, LdifError::Unexpected("deleteoldrdn".to_owned()))),
        };
        let new_superior = self.take_if("newsuperior")?.map(Pair::text).transpose()?;
        Ok(Record::Rename { dn, new_rdn, delete_old, new_superior })
    }

    fn expect_end(&self) -> Result<(), LineFault> {
        match self.peek() {
            None => Ok(()),
            Some((line, text)) => Err((*line, LdifError::Unexpected(String::from_utf8_lossy(text).into_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<Located> {
        let mut reader = Reader::new(text);
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().expect("bytes in memory can be read") {
            records.push(record);
        }
        records
    }

    fn good(text: &str) -> Vec<Record> {
        read(text.as_bytes()).into_iter().map(|located| located.record.expect(text)).collect()
    }

    fn values(pairs: &[(&str, &[&str])]) -> Vec<Values> {
        let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        pairs.iter().map(|(name, texts)| ((*name).to_owned(), bytes(texts))).collect()
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let text = "version: 1\ndn: cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com\nobjectclass: top\n\
                    objectclass: person\ncn: Barbara Jensen\ndescription:Babs is a big sailing fan, and travels extensively in sea\n \
                    rch of perfect sailing conditions.\n\n# a comment\n that goes on\n\n\
                    dn:: b3U95Za25qWt6YOoLG89QWlyaXVz\nou:: 5Za25qWt6YOo\nou;lang-ja:: 5Za25qWt6YOo\nempty:\n";
        let records = good(text);
        assert_eq!(records.len(), 2);
        let first = values(&[
            ("objectclass", &["top", "person"]),
            ("cn", &["Barbara Jensen"]),
            (
                "description",
                &["Babs is a big sailing fan, and travels extensively in search of perfect sailing conditions."],
            ),
        ]);
        let dn = "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com".to_owned();
        assert_eq!(records[0], Record::Entry { dn, attributes: first });
        let second = values(&[("ou", &["営業部"]), ("ou;lang-ja", &["営業部"]), ("empty", &[""])]);
        assert_eq!(records[1], Record::Entry { dn: "ou=営業部,o=Airius".to_owned(), attributes: second });
    }

    #[test]
    fn change_records_of_every_type_are_read() {
        let text = "dn: cn=a,o=x\nchangetype: add\ncn: a\n\ndn: cn=a,o=x\ncontrol: 1.2.3 false\nchangetype: delete\n\n\
                    dn: cn=a,o=x\nchangetype: modrdn\nnewrdn: cn=b\ndeleteoldrdn: 1\nnewsuperior: ou=p,o=x\n\n\
                    dn: cn=a,o=x\nchangetype: modify\nadd: mail\nmail: a@x\nmail: b@x\n-\ndelete: phone\n-\nreplace: sn\n\
                    sn: new\n-\n";
        let modification = |operation, attribute: &str, texts: &[&str]| Modification {
            operation,
            attribute: attribute.to_owned(),
            values: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        };
        let dn = "cn=a,o=x".to_owned();
        let expected = vec![
            Record::Add { dn: dn.clone(), attributes: values(&[("cn", &["a"])]) },
            Record::Delete { dn: dn.clone() },
            Record::Rename {
                dn: dn.clone(),
                new_rdn: "cn=b".to_owned(),
                delete_old: true,
                new_superior: Some("ou=p,o=x".to_owned()),
            },
            Record::Modify {
                dn,
                changes: vec![
                    modification(Operation::Add, "mail", &["a@x", "b@x"]),
                    modification(Operation::Delete, "phone", &[]),
                    modification(Operation::Replace, "sn", &["new"]),
                ],
            },
        ];
        assert_eq!(good(text), expected);
    }

    #[test]
    fn a_malformed_record_is_told_with_its_line_and_the_next_one_is_read() {
        let rows: [(&str, u64, LdifError); 11] = [
            ("cn: a\n", 3, LdifError::NoDn),
            ("dn: o=a\nno colon\n", 4, LdifError::NoColon),
            ("dn: o=a\nb b: x\n", 4, LdifError::Name("b b".to_owned())),
            ("dn: o=a\njpeg:: ***\n", 4, LdifError::Base64("jpeg".to_owned())),
            ("dn: o=a\njpeg:< file:///etc/shadow\n", 4, LdifError::Url("jpeg".to_owned())),
            ("dn:: /w==\ncn: a\n", 3, LdifError::NotText("dn".to_owned())),
            ("dn: o=a\nchangetype: vanish\n", 4, LdifError::ChangeType("vanish".to_owned())),
            ("dn: o=a\ncontrol: 1.2 true\nchangetype: delete\n", 4, LdifError::Control("1.2".to_owned())),
            ("dn: o=a\nchangetype: delete\ncn: a\n", 5, LdifError::Unexpected("cn: a".to_owned())),
            ("dn: o=a\nchangetype: modrdn\nnewrdn: o=b\n", 5, LdifError::Missing("deleteoldrdn")),
            ("dn: o=a\nchangetype: modify\nincrement: n\nn: 1\n-\n", 5, LdifError::Unexpected("increment".to_owned())),
        ];
        for (text, line, error) in rows {
            let records = read(format!("version: 1\n\n{text}\ndn: o=next\no: next\n").as_bytes());
            assert_eq!(records[0], Located { line, record: Err(error) }, "{text}");
            assert_eq!(records.len(), 2, "{text}");
            assert!(records[1].record.is_ok(), "{text}");
        }
    }

    #[test]
    fn a_continued_line_without_a_line_before_it_is_malformed() {
        let records = read(b"\n continued\n\ndn: o=a\n");
        assert_eq!(records[0], Located { line: 2, record: Err(LdifError::Continuation) });
        assert!(records[1].record.is_ok());
    }

    /// Writes `name: value` folded after `width` bytes, in base64 where the specification asks for it.
    fn line(out: &mut Vec<u8>, name: &str, value: &[u8], width: usize) {
        let safe = value.iter().all(|byte| (1..=127).contains(byte) && !b"\r\n".contains(byte))
            && !value.first().is_some_and(|byte| b" :<".contains(byte))
            && value.last() != Some(&b' ');
        let text = match safe {
            true => [name.as_bytes(), b": ", value].concat(),
            false => format!("{name}:: {}", STANDARD.encode(value)).into_bytes(),
        };
        for (index, piece) in text.chunks(width).enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b"\n " });
            out.extend_from_slice(piece);
        }
        out.push(b'\n');
    }

    proptest! {
        #[test]
        fn what_is_written_by_the_specification_is_read_back(
            entries in prop::collection::vec(
                (
                    "[a-z]{1,8}=[a-zA-Z äöü,+\"]{0,20}",
                    prop::collection::vec(("[a-z][a-z0-9-]{0,8}", prop::collection::vec(any::<u8>(), 0..60)), 0..8),
                ),
                0..6,
            ),
            // The name of an attribute is at the beginning of its line.
            width in 12_usize..90,
        ) {
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for (dn, pairs) in entries {
                line(&mut text, "dn", dn.as_bytes(), width);
                let mut attributes: Vec<Values> = Vec::new();
                for (name, value) in pairs {
                    // These words mean something else at the beginning of a record.
                    let name = format!("x{name}");
                    line(&mut text, &name, &value, width);
                    match attributes.iter_mut().find(|(other, _)| *other == name) {
                        Some((_, values)) => values.push(value),
                        None => attributes.push((name, vec![value])),
                    }
                }
                text.push(b'\n');
                expected.push(Record::Entry { dn, attributes });
            }
            let records: Vec<Record> = read(&text).into_iter().map(|l| l.record.expect("well formed")).collect();
            prop_assert_eq!(records, expected);
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            prop_assert!(read(&bytes).iter().all(|located| located.line <= lines));
        }

        #[test]
        fn no_lines_make_the_reader_fail(
            lines in prop::collection::vec("(dn|cn|control|changetype|add|newrdn|deleteoldrdn|version|-|#|)(:|::|:<|)( |)(a|o=x|modify|modrdn|1|true|=)?", 0..30)
        ) {
            let _ = read(lines.join("\n").as_bytes());
        }
    }
}
