//! Rows of CSV files (RFC 4180) as objects. The anchor of a row is its type and the value of its anchor column.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};

use super::folder::{FileState, OpenFile, check_size};
use super::pages::Sink;
use super::{ReadError, Reading, SetPlan, reference_column};
use crate::config::{CsvSet, CsvType, ReferenceTarget};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::{Hidden, ImportedObject, Reference};

/// Reads one set: the complete file with the changes laid over it, or the new changes alone.
pub fn read(reading: &Reading<'_>, set: &CsvSet, plan: &SetPlan, sink: &mut Sink) -> Result<(), ReadError> {
    check_size(&plan.complete, plan.new.iter())?;
    // Of several changes of one object the last counts.
    let mut changed: BTreeMap<String, Option<ImportedObject>> = BTreeMap::new();
    for file in &plan.new {
        each_row(reading, set, file, FileKind::Changes, sink, |row| {
            match row.change()? {
                Change::Put => {
                    let object = row.object()?;
                    changed.insert(object.anchor.clone(), Some(object));
                }
                Change::Delete => {
                    changed.insert(row.anchor()?, None);
                }
            }
            Ok(None)
        })?;
    }
    if reading.full {
        let mut seen = HashSet::new();
        each_row(reading, set, &plan.complete, FileKind::Complete, sink, |row| {
            let object = row.object()?;
            if !seen.insert(object.anchor.clone()) {
                return Err(Refused::of(&object.anchor, "another line has the same anchor"));
            }
            Ok(Some(object).filter(|object| !changed.contains_key(&object.anchor)))
        })?;
    }
    for (anchor, object) in changed {
        match object {
            Some(object) => sink.object(object)?,
            None if reading.full => {}
            None => sink.deleted(anchor)?,
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Complete,
    Changes,
}

enum Change {
    Put,
    Delete,
}

/// Why a row is no object, and whose place it may hold.
struct Refused {
    reason: String,
    hides: Hidden,
}

impl Refused {
    fn unknown(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hides: Hidden::Anybody }
    }

    fn of(anchor: &str, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hides: Hidden::Object(anchor.to_owned()) }
    }
}

/// Calls `take` for every row, and sends what it makes of it.
fn each_row(
    reading: &Reading<'_>,
    set: &CsvSet,
    file: &FileState,
    kind: FileKind,
    sink: &mut Sink,
    mut take: impl FnMut(Row<'_>) -> Result<Option<ImportedObject>, Refused>,
) -> Result<(), ReadError> {
    let settings = reading.settings;
    let (open, body) = OpenFile::open(&settings.folder, file, settings.end_marker.as_deref())?;
    let (quotes, begun) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = Counter { body, quotes: quotes.clone(), read: 0, begun: begun.clone() };
    let mut rows = ReaderBuilder::new().delimiter(set.delimiter).flexible(true).from_reader(counted);
    let broken = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => open.failed(error),
        other => open.form(format!("{other:?}")),
    };
    let header = rows.byte_headers().map_err(broken)?.clone();
    let columns = Columns::new(set, &header, kind).map_err(|reason| open.form(reason))?;
    for name in reading.keep.wanted.keys().flat_map(|object_type| reading.keep.references(object_type)) {
        if columns.index(name.as_str()).is_some() && reference_column(set, name).is_none() {
            let reason =
                format!("the rules read the column {name} as a reference: name it in `references` with its type");
            return Err(open.form(reason).into());
        }
    }
    let mut record = ByteRecord::new();
    while rows.read_byte_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, csv::Position::line);
        begun.set(rows.position().byte());
        let taken = if record.len() == header.len() {
            take(Row { record: &record, columns: &columns, reading, set })
        } else {
            Err(Refused::unknown(format!("{} fields where the header has {}", record.len(), header.len())))
        };
        match taken {
            Ok(Some(object)) => sink.object(object)?,
            Ok(None) => {}
            Err(Refused { reason, hides }) => sink.refused(format!("{}:{line}", open.name()), reason, hides)?,
        }
    }
    if quotes.get() % 2 == 1 {
        // Whatever stands behind it may have been taken for the text of one field.
        sink.refused(open.name().to_owned(), "a quotation mark is not closed", Hidden::Anybody)?;
    }
    open.unchanged()?;
    Ok(())
}

/// Bytes of one row: what follows a quotation mark that is never closed is one, too.
const LARGEST_ROW: u64 = 16 * 1024 * 1024;

struct Counter<B> {
    body: B,
    quotes: Rc<Cell<u64>>,
    read: u64,
    /// Where the row that is being read begins.
    begun: Rc<Cell<u64>>,
}

impl<B: BufRead> Read for Counter<B> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read - self.begun.get().min(self.read) > LARGEST_ROW {
            let reason = format!(
                "the row at byte {} is larger than {} MiB: a quotation mark may not be closed",
                self.begun.get(),
                LARGEST_ROW >> 20
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let read = self.body.read(into)?;
        self.read += read as u64;
        let quotes = into[..read].iter().filter(|byte| **byte == b'"').count();
        self.quotes.set(self.quotes.get() + quotes as u64);
        Ok(read)
    }
}

/// The header of a file.
struct Columns {
    names: Vec<Attribute>,
    anchor: usize,
    /// Of the object type, where it is a column.
    object_type: Option<usize>,
    /// Of the kind of change, in change files.
    change: Option<usize>,
}

impl Columns {
    fn new(set: &CsvSet, header: &ByteRecord, kind: FileKind) -> Result<Self, String> {
        let mut names: Vec<Attribute> = Vec::new();
        for name in header {
            let name = std::str::from_utf8(name).map_err(|_| "the header is not UTF-8".to_owned())?;
            let name = Attribute::new(name.trim());
            if names.contains(&name) {
                return Err(format!("two columns have the name {name}"));
            }
            names.push(name);
        }
        let find = |name: &str| {
            let column = names.iter().position(|other| *other == Attribute::from(name));
            column.ok_or_else(|| format!("there is no column {name}"))
        };
        let object_type = match &set.object_type {
            CsvType::Fixed(_) => None,
            CsvType::Column(name) => Some(find(name)?),
        };
        for name in set.multi_valued.iter().chain(set.references.iter().map(|reference| &reference.column)) {
            find(name)?;
        }
        let change = if kind == FileKind::Changes { Some(find(&set.change_column)?) } else { None };
        let anchor = find(&set.anchor)?;
        Ok(Self { anchor, object_type, change, names })
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| *other == Attribute::from(name))
    }
}

struct Row<'a> {
    record: &'a ByteRecord,
    columns: &'a Columns,
    reading: &'a Reading<'a>,
    set: &'a CsvSet,
}

impl Row<'_> {
    /// The text of a column that says whom the row is about, or what it is.
    fn key(&self, index: usize) -> Result<&str, Refused> {
        let name = &self.columns.names[index];
        let text = std::str::from_utf8(&self.record[index]);
        let text = text.map_err(|_| Refused::unknown(format!("`{name}` is not UTF-8")))?.trim();
        if text.is_empty() { Err(Refused::unknown(format!("`{name}` is empty"))) } else { Ok(text) }
    }

    fn object_type(&self) -> Result<&str, Refused> {
        match (&self.set.object_type, self.columns.object_type) {
            (CsvType::Fixed(name), _) => Ok(name),
            (CsvType::Column(_), Some(index)) => self.key(index),
            (CsvType::Column(name), None) => Err(Refused::unknown(format!("there is no column {name}"))),
        }
    }

    fn anchor(&self) -> Result<String, Refused> {
        Ok(format!("{}:{}", self.object_type()?, self.key(self.columns.anchor)?))
    }

    fn change(&self) -> Result<Change, Refused> {
        let Some(index) = self.columns.change else { return Ok(Change::Put) };
        match self.key(index)?.to_ascii_lowercase().as_str() {
            "add" | "modify" => Ok(Change::Put),
            "delete" => Ok(Change::Delete),
            other => Err(Refused::unknown(format!("`{other}` is none of add, modify, delete"))),
        }
    }

    fn object(&self) -> Result<ImportedObject, Refused> {
        let anchor = self.anchor()?;
        let object_type = self.object_type()?;
        let refuse = |reason: String| Refused::of(&anchor, reason);
        let mut attributes = Attributes::new();
        let mut references = BTreeMap::new();
        for (name, field) in self.columns.names.iter().zip(self.record) {
            let reference = self.set.references.iter().find(|r| Attribute::from(r.column.as_str()) == *name);
            let is_kept = self.reading.keep.attribute(object_type, name);
            if !is_kept && reference.is_none() {
                continue;
            }
            let text = std::str::from_utf8(field).map_err(|_| refuse(format!("`{name}` is not UTF-8")))?;
            let several = self.set.multi_valued.iter().any(|column| Attribute::from(column.as_str()) == *name);
            let values: Vec<&str> = match several {
                true => text.split(&self.set.value_separator).filter(|value| !value.is_empty()).collect(),
                false => Some(text).filter(|text| !text.is_empty()).into_iter().collect(),
            };
            if let Some(reference) = reference {
                let target = |value: &&str| match &reference.target {
                    ReferenceTarget::Type(name) => Ok(Reference::Anchor(format!("{name}:{}", value.trim()))),
                    ReferenceTarget::InValue if value.contains(':') => Ok(Reference::Anchor(value.trim().to_owned())),
                    ReferenceTarget::InValue => Err(refuse(format!("`{value}` in `{name}` is not TYPE:ANCHOR"))),
                };
                references.insert(name.clone(), values.iter().map(target).collect::<Result<Vec<_>, _>>()?);
            }
            if is_kept && !values.is_empty() {
                attributes.insert(name.clone(), values.into_iter().map(Value::text).collect());
            }
        }
        Ok(ImportedObject {
            anchor,
            dn: None,
            object_type: object_type.to_owned(),
            container: false,
            attributes,
            references,
        })
    }
}
