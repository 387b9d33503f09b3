//! `[[connectors]]` with `kind = "file"`: CSV or LDIF files in a drop folder.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::identity::{ConnectorName, DomainName};

use super::connector::{DisabledTest, ObjectClasses};
use super::reader::Table;
use super::systems::{ReferenceColumn, source_disabled, source_domains};
use super::words::setting_words;

setting_words! {
    /// What the files are written in.
    FileFormat { Csv = "csv", Ldif = "ldif" } "csv, ldif"
}

/// A file name in which one `*` may stand for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern {
    before: String,
    /// What follows the `*`; `None`: a fixed name.
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no file name in which one `*` may stand for any text")]
pub struct FilePatternError;

impl FilePattern {
    pub fn matches(&self, name: &str) -> bool {
        match &self.after {
            None => name == self.before,
            Some(after) => {
                name.len() >= self.before.len() + after.len() && name.starts_with(&self.before) && name.ends_with(after)
            }
        }
    }
}

impl FromStr for FilePattern {
    type Err = FilePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.contains(['/', '\\', '\0']) || text.starts_with('.') {
            return Err(FilePatternError);
        }
        match text.split_once('*') {
            None => Ok(Self { before: text.to_owned(), after: None }),
            Some((_, after)) if after.contains('*') => Err(FilePatternError),
            Some((before, after)) => Ok(Self { before: before.to_owned(), after: Some(after.to_owned()) }),
        }
    }
}

impl std::fmt::Display for FilePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.after {
            None => f.write_str(&self.before),
            Some(after) => write!(f, "{}*{after}", self.before),
        }
    }
}

#[derive(Clone, Debug)]
pub struct FileSourceSettings {
    pub name: ConnectorName,
    pub domains: Vec<DomainName>,
    pub folder: PathBuf,
    /// A file counts as written when its size and time did not change for this long.
    pub settle: Duration,
    /// The last line of a file that was written to its end; without it a file is not read.
    pub end_marker: Option<String>,
    pub disabled: Option<DisabledTest>,
    /// Attributes to read besides those that the rules name.
    pub attributes: Vec<String>,
    pub files: Files,
}

#[derive(Clone, Debug)]
pub enum Files {
    Csv(Vec<CsvSet>),
    Ldif(LdifSet),
}

/// Which files hold a set of objects, and which hold changes on top of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNames {
    /// Everything; of several matches, the last in the order of their names.
    pub complete: FilePattern,
    /// Changes since, read in the order of their names.
    pub changes: Option<FilePattern>,
}

/// One set of CSV files with the same columns.
#[derive(Clone, Debug)]
pub struct CsvSet {
    pub names: FileNames,
    pub object_type: CsvType,
    /// The column that identifies an object for ever.
    pub anchor: String,
    pub delimiter: u8,
    /// Columns that hold several values, and what separates these.
    pub multi_valued: Vec<String>,
    pub value_separator: String,
    pub references: Vec<ReferenceColumn>,
    /// The column of change files that says `add`, `modify` or `delete`.
    pub change_column: String,
}

/// Where the object type of a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvType {
    Fixed(String),
    Column(String),
}

#[derive(Clone, Debug)]
pub struct LdifSet {
    pub names: FileNames,
    /// The attribute that identifies an entry for ever; `dn` where there is none.
    pub anchor: String,
    pub classes: ObjectClasses,
}

impl FileSourceSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        table.has("kind");
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let domains = source_domains(&table);
        let folder = table.path("folder");
        match &folder {
            None => table.complain("folder", "the key is missing", "give the folder into which the files are put"),
            Some(folder) if !folder.is_dir() => {
                table.complain("folder", format!("there is no folder {}", folder.display()), "make it");
            }
            Some(_) => {}
        }
        let settle = table.duration("settle", Duration::ZERO..=Duration::from_secs(600));
        let end_marker = table.text("end_marker").map(|text| text.trim().to_owned());
        if end_marker.as_ref().is_some_and(String::is_empty) {
            table.complain("end_marker", "the marker is empty", "give the text of the last line, such as \"# end\"");
        }
        let disabled = source_disabled(&table);
        let attributes = table.list("attributes", "give attribute names");
        let files = match table.required("format", "write csv or ldif") {
            Some(FileFormat::Csv) => csv_sets(&table).map(Files::Csv),
            Some(FileFormat::Ldif) => LdifSet::read(&table).map(Files::Ldif),
            None => None,
        };
        table.finish();
        Some(Self {
            name: name?,
            domains,
            folder: folder?,
            settle: settle.unwrap_or(Duration::from_secs(2)),
            end_marker,
            disabled,
            attributes,
            files: files?,
        })
    }
}

fn csv_sets(table: &Table<'_>) -> Option<Vec<CsvSet>> {
    let tables = table.tables("sets");
    if tables.is_empty() {
        table.complain("sets", "no set of files is given", "add [[connectors.sets]] with complete, type and anchor");
        return None;
    }
    tables.into_iter().map(CsvSet::read).collect()
}

impl FileNames {
    fn read(table: &Table<'_>) -> Option<Self> {
        let remedy = "give a file name; one * may stand for any text";
        let complete: Option<FilePattern> = table.required("complete", remedy);
        let changes: Option<FilePattern> = table.parsed("changes", remedy);
        if let (Some(complete), Some(changes)) = (&complete, &changes)
            && complete == changes
        {
            table.complain("changes", "the same files cannot be both complete and changes", "name them differently");
        }
        Some(Self { complete: complete?, changes })
    }
}

impl CsvSet {
    fn read(table: Table<'_>) -> Option<Self> {
        let names = FileNames::read(&table);
        let text = |key| table.text(key).map(|text| text.into_owned());
        let object_type = match (text("type"), text("type_column")) {
            (Some(name), None) => Some(CsvType::Fixed(name)),
            (None, Some(column)) => Some(CsvType::Column(column)),
            (Some(_), Some(_)) => {
                table.complain("type_column", "the type is given twice", "keep `type` or `type_column`");
                None
            }
            (None, None) => {
                table.complain("type", "the key is missing", "write the object type of the rules, such as \"user\"");
                None
            }
        };
        let anchor = table.required("anchor", "name the column that identifies a row for ever");
        let delimiter = match text("delimiter") {
            None => Some(b','),
            Some(text) => match text.as_bytes() {
                [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Some(*byte),
                _ => {
                    table.complain("delimiter", "it is no single ASCII character", "write \",\", \";\" or \"\\t\"");
                    None
                }
            },
        };
        let value_separator = text("value_separator").unwrap_or_else(|| "|".to_owned());
        if value_separator.is_empty() {
            table.complain("value_separator", "it is empty", "write the text between two values, such as \"|\"");
        }
        let set = Self {
            names: names?,
            object_type: object_type?,
            anchor: anchor?,
            delimiter: delimiter?,
            multi_valued: table.list("multi_valued", "give column names"),
            value_separator,
            references: table.list("references", "write COLUMN:TYPE, such as \"manager:user\", or COLUMN:*"),
            change_column: text("change_column").unwrap_or_else(|| "change".to_owned()),
        };
        table.finish();
        Some(set)
    }
}

impl LdifSet {
    fn read(table: &Table<'_>) -> Option<Self> {
        let text = |key, default: &str| table.text(key).map_or_else(|| default.to_owned(), |text| text.into_owned());
        let classes = ObjectClasses {
            user: text("user_class", "inetOrgPerson"),
            group: text("group_class", "groupOfNames"),
            container: text("container_class", "organizationalUnit"),
        };
        let anchor = text("anchor_attribute", "entryUUID");
        Some(Self { names: FileNames::read(table)?, anchor, classes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = |text: &str| text.parse::<FilePattern>();
        let people = pattern("people-*.csv").expect("a pattern");
        assert!(people.matches("people-20261121.csv") && people.matches("people-.csv"));
        assert!(!people.matches("people.csv") && !people.matches("people-1.csv.tmp"));
        let short = pattern("aa*aa").expect("a pattern");
        assert!(!short.matches("aaa") && short.matches("aaaa"));
        for wrong in ["", "a/b.csv", "../x", "*a*", ".hidden"] {
            assert_eq!(pattern(wrong), Err(FilePatternError), "{wrong}");
        }
    }
}
