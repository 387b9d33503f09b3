//! Reads a TOML table key by key and collects every problem instead of stopping at the first.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// The file being read, and what was found wrong so far.
pub(super) struct Source {
    path: PathBuf,
    text: String,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, problems: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The folder against which relative paths are read.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.parent().map_or_else(PathBuf::new, Path::to_owned)
    }

    pub(super) fn report(&self, at: Option<usize>, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let line = at.map_or(0, |at| self.text.get(..at).unwrap_or_default().matches('\n').count() + 1);
        self.problems.borrow_mut().push(Problem {
            file: self.path.clone(),
            line,
            key: key.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// What was found that is valid but deserves an operator's attention.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

/// An item of [`Table::texts_or_tables`].
pub(super) enum TextOrTable<'a> {
    Text(Cow<'a, str>),
    Table(Table<'a>),
}

/// A table of the file. When it is dropped by [`finish`](Self::finish), keys that nobody asked for are reported.
pub(super) struct Table<'a> {
    source: &'a Source,
    table: Option<&'a DeTable<'a>>,
    at: usize,
    path: String,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(source: &'a Source, table: &'a DeTable<'a>) -> Self {
        Self { source, table: Some(table), at: 0, path: String::new(), asked: RefCell::default() }
    }

    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Reports a problem with the key `name` of this table, at its line or at the table's.
    pub(super) fn complain(&self, name: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let at = self.peek(name).map_or(self.at, |value| value.span().start);
        self.source.report(Some(at), &self.key(name), what, remedy);
    }

    /// Points out what is valid but deserves attention.
    pub(super) fn warn(&self, text: String) {
        self.source.warnings.borrow_mut().push(text);
    }

    fn peek(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value))
    }

    fn value(&self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(name);
        self.peek(name)
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.value(name).is_some()
    }

    /// A sub-table; an absent one reads as empty, so that its required keys are reported.
    pub(super) fn table(&self, name: &'static str) -> Table<'a> {
        let value = self.value(name);
        let table = match value.map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => Some(table),
            Some(_) => {
                self.complain(name, "a table is expected", format!("write [{}]", self.key(name)));
                None
            }
            None => None,
        };
        let at = value.map_or(self.at, |value| value.span().start);
        Table { source: self.source, table, at, path: self.key(name), asked: RefCell::default() }
    }

    /// The tables of an array of tables, `[[name]]`.
    pub(super) fn tables(&self, name: &'static str) -> Vec<Table<'a>> {
        let items = match self.value(name).map(Spanned::get_ref) {
            Some(DeValue::Array(items)) => items,
            Some(_) => {
                self.complain(name, "an array of tables is expected", format!("write [[{}]]", self.key(name)));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut tables = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", self.key(name));
            match item.get_ref() {
                DeValue::Table(table) => tables.push(Table {
                    source: self.source,
                    table: Some(table),
                    at: item.span().start,
                    path,
                    asked: RefCell::default(),
                }),
                _ => {
                    self.source.report(Some(item.span().start), &path, "a table is expected", "write key = value lines")
                }
            }
        }
        tables
    }

    pub(super) fn text(&self, name: &'static str) -> Option<Cow<'a, str>> {
        match self.value(name)?.get_ref() {
            DeValue::String(text) => Some(text.clone()),
            _ => {
                self.complain(name, "a text is expected", "put the value in double quotes");
                None
            }
        }
    }

    /// A text that is parsed into `T`; `remedy` tells what is expected.
    pub(super) fn parsed<T>(&self, name: &'static str, remedy: &str) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let text = self.text(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.complain(name, error.to_string(), remedy);
                None
            }
        }
    }

    /// Like [`parsed`](Self::parsed), and absent is a problem too.
    pub(super) fn required<T>(&self, name: &'static str, remedy: &str) -> Option<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        if !self.has(name) {
            self.complain(name, "the key is missing", remedy);
            return None;
        }
        self.parsed(name, remedy)
    }

    /// A list of texts, each parsed into `T`. Absent is an empty list.
    pub(super) fn list<T>(&self, name: &'static str, remedy: &str) -> Vec<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let items = match self.value(name).map(Spanned::get_ref) {
            None => return Vec::new(),
            Some(DeValue::Array(items)) => items,
            Some(_) => {
                self.complain(name, "a list of texts is expected", remedy);
                return Vec::new();
            }
        };
        let mut list = Vec::new();
        for item in items {
            let at = Some(item.span().start);
            match item.get_ref() {
                DeValue::String(text) => match text.parse() {
                    Ok(value) => list.push(value),
                    Err(error) => self.source.report(at, &self.key(name), format!("`{text}`: {error}"), remedy),
                },
                _ => self.source.report(at, &self.key(name), "a text is expected", remedy),
            }
        }
        list
    }

    /// A list in which a text stands for a table with that text alone: `[step, {...}]` under `name`.
    pub(super) fn texts_or_tables(&self, name: &'static str, remedy: &str) -> Vec<TextOrTable<'a>> {
        let items = match self.value(name).map(Spanned::get_ref) {
            None => return Vec::new(),
            Some(DeValue::Array(items)) => items,
            Some(_) => {
                self.complain(name, "a list is expected", remedy);
                return Vec::new();
            }
        };
        let mut list = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let (at, path) = (item.span().start, format!("{}[{i}]", self.key(name)));
            match item.get_ref() {
                DeValue::String(text) => list.push(TextOrTable::Text(text.clone())),
                DeValue::Table(table) => {
                    let table = Some(table);
                    let asked = RefCell::default();
                    list.push(TextOrTable::Table(Table { source: self.source, table, at, path, asked }));
                }
                _ => self.source.report(Some(at), &path, "a text or a table is expected", remedy),
            }
        }
        list
    }

    pub(super) fn number(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let remedy = format!("give a whole number from {} to {}", range.start(), range.end());
        let value = match self.value(name)?.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        if !value.is_some_and(|value| range.contains(&value)) {
            self.complain(name, "the value is not in its range", remedy);
            return None;
        }
        value
    }

    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        match self.value(name)?.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                self.complain(name, "true or false is expected", "write it without quotes");
                None
            }
        }
    }

    /// A time such as `"250ms"`, `"2s"`, `"10m"`, `"8h"`, `"7d"`.
    pub(super) fn duration(&self, name: &'static str, range: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text(name)?;
        let remedy = format!(
            "give a time between {} and {}, such as \"2s\", \"10m\", \"8h\" or \"7d\"",
            short(*range.start()),
            short(*range.end())
        );
        match parse_duration(&text).filter(|time| range.contains(time)) {
            Some(time) => Some(time),
            None => {
                self.complain(name, format!("`{text}` is not a time in its range"), remedy);
                None
            }
        }
    }

    /// A path, relative to the folder of the settings file.
    pub(super) fn path(&self, name: &'static str) -> Option<PathBuf> {
        Some(self.source.folder().join(self.text(name)?.as_ref()))
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.borrow();
        for (key, _) in table {
            if !asked.contains(key.get_ref().as_ref()) {
                let known = asked.iter().copied().collect::<Vec<_>>().join(", ");
                let remedy = format!("remove it or correct its name (known here: {known})");
                self.source.report(Some(key.span().start), &self.key(key.get_ref()), "unknown key", remedy);
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

fn short(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= length && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}
