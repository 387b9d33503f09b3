//! The statements by which a type's rows are read. Every value they return is text, and every value they take is a
//! parameter; names of the settings are quoted.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDateTime;

use super::database::{Column, Engine};
use crate::config::{DeletedTest, ReferenceTarget, SqlName, SqlRows, SqlType, SqlValues};
use crate::sync::attribute::{Attribute, Value};

/// What a column of a statement is to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Anchor,
    /// `1` for a row that counts as deleted.
    Deleted,
    Attribute(Attribute),
    Reference(Attribute, ReferenceTarget),
    /// Both: the rules read the column as text and as a reference.
    Both(Attribute, ReferenceTarget),
}

/// How the text of a column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// Base64 of bytes.
    Base64,
    /// A JSON array, of texts or numbers or nulls.
    Array,
    /// `t` and a text, or `x` and bytes in hexadecimal: SQLite tells the type with each value.
    Tagged,
}

/// A statement that reads rows of one type.
#[derive(Clone, Debug)]
pub struct Select {
    pub sql: String,
    pub parameters: Vec<String>,
    pub parts: Vec<(Part, Form)>,
}

/// What does not fit between settings, rules and database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("{object_type}: there is no column {column}")]
    NoColumn { object_type: String, column: String },
    #[error("{object_type}: the rules read {name} as a reference, and the settings do not tell of which type")]
    Reference { object_type: String, name: Attribute },
    #[error("{object_type}: the watermark {column} is neither a time nor a number but {kind}")]
    Watermark { object_type: String, column: String, kind: String },
    #[error("{object_type}: `{text}` in the watermark {column} is no time such as 2026-11-21 23:50:00")]
    Time { object_type: String, column: String, text: String },
}

/// A type with the columns that its rows have.
pub struct TypeRows<'a> {
    pub engine: Engine,
    pub settings: &'a SqlType,
    pub columns: BTreeMap<String, Column>,
}

impl<'a> TypeRows<'a> {
    /// The statement whose columns are those of the rows.
    pub fn probe(settings: &SqlType) -> String {
        format!("SELECT * FROM {}", source(&settings.rows))
    }

    pub fn new(engine: Engine, settings: &'a SqlType, columns: Vec<Column>) -> Result<Self, Misfit> {
        let columns = columns.into_iter().map(|column| (column.name.clone(), column)).collect();
        let rows = Self { engine, settings, columns };
        let named = settings.anchor.iter().chain(&settings.watermark);
        for name in named.chain(settings.deleted.as_ref().map(|test| &test.column)) {
            rows.column(name.as_str())?;
        }
        for reference in &settings.references {
            rows.column(&reference.column)?;
        }
        Ok(rows)
    }

    fn column(&self, name: &str) -> Result<&Column, Misfit> {
        self.columns
            .get(name)
            .ok_or_else(|| Misfit::NoColumn { object_type: self.settings.name.clone(), column: name.to_owned() })
    }

    /// Reads all rows with the attributes and references that `keep` wants.
    pub fn select(&self, keep: impl Fn(&Attribute) -> bool, references: &[Attribute]) -> Result<Select, Misfit> {
        let mut select = Select { sql: String::new(), parameters: Vec::new(), parts: Vec::new() };
        let mut expressions = Vec::new();
        for name in &self.settings.anchor {
            expressions.push(format!("CAST({} AS TEXT)", of_row(name)));
            select.parts.push((Part::Anchor, Form::Text));
        }
        if let Some(test) = &self.settings.deleted {
            expressions.push(self.deleted(test, &mut select.parameters)?);
            select.parts.push((Part::Deleted, Form::Text));
        }
        for (name, column) in &self.columns {
            let attribute = Attribute::new(name);
            let reference = self.settings.references.iter().find(|reference| reference.column == *name);
            if reference.is_none() && references.contains(&attribute) {
                return Err(Misfit::Reference { object_type: self.settings.name.clone(), name: attribute });
            }
            let Some(part) = part(attribute, reference.map(|r| &r.target), &keep) else { continue };
            let (expression, form) = self.engine.text(&format!("q.{}", quoted(name)), &column.kind);
            expressions.push(expression);
            select.parts.push((part, form));
        }
        for values in &self.settings.values {
            let attribute = Attribute::from(values.attribute.as_str());
            if values.target.is_none() && references.contains(&attribute) {
                return Err(Misfit::Reference { object_type: self.settings.name.clone(), name: attribute });
            }
            let Some(part) = part(attribute, values.target.as_ref(), &keep) else { continue };
            expressions.push(self.side_values(values));
            select.parts.push((part, Form::Array));
        }
        select.sql = format!("SELECT {} FROM {}", expressions.join(", "), source(&self.settings.rows));
        Ok(select)
    }

    fn side_values(&self, values: &SqlValues) -> String {
        let value = format!("s.{}", values.column.quoted());
        let keys = values.key.iter().zip(&self.settings.anchor);
        let joined: Vec<String> =
            keys.map(|(key, anchor)| format!("s.{} = {}", key.quoted(), of_row(anchor))).collect();
        let list = match self.engine {
            Engine::Sqlite => format!("json_group_array(CAST({value} AS TEXT))"),
            Engine::Postgres => format!("CAST(json_agg(CAST({value} AS TEXT)) AS TEXT)"),
        };
        format!(
            "(SELECT {list} FROM {} AS s WHERE {} AND {value} IS NOT NULL)",
            table(&values.table),
            joined.join(" AND ")
        )
    }

    fn deleted(&self, test: &DeletedTest, parameters: &mut Vec<String>) -> Result<String, Misfit> {
        let (name, kind) = (of_row(&test.column), &self.column(test.column.as_str())?.kind);
        let condition = match (&test.value, self.engine) {
            (Some(value), _) => {
                parameters.push(value.clone());
                let (text, _) = self.engine.plain(&name, kind);
                format!("{text} = ${}", parameters.len())
            }
            (None, Engine::Postgres) if kind == "BOOL" => format!("{name} IS TRUE"),
            (None, Engine::Postgres) => format!("{name} IS NOT NULL"),
            (None, Engine::Sqlite) => format!("COALESCE({name}, 0) NOT IN (0, '', '0', 'false', 'FALSE')"),
        };
        Ok(format!("CASE WHEN {condition} THEN '1' ELSE '0' END"))
    }

    /// Reads the newest watermark, and the storage class of its value on SQLite.
    pub fn newest(&self) -> Option<String> {
        let name = of_row(self.settings.watermark.as_ref()?);
        let class = match self.engine {
            Engine::Sqlite => format!("typeof(MAX({name}))"),
            Engine::Postgres => "''".to_owned(),
        };
        Some(format!("SELECT CAST(MAX({name}) AS TEXT), {class} FROM {}", source(&self.settings.rows)))
    }

    /// How values of the watermark are compared.
    pub fn scale(&self, class: &str) -> Result<Scale, Misfit> {
        let Some(name) = &self.settings.watermark else { return Ok(Scale::Number) };
        let kind = &self.column(name.as_str())?.kind;
        match (self.engine, kind.as_str(), class) {
            (Engine::Postgres, "TIMESTAMP" | "TIMESTAMPTZ" | "DATE", _) => Ok(Scale::Time(kind.clone())),
            (Engine::Postgres, "INT2" | "INT4" | "INT8" | "NUMERIC" | "FLOAT4" | "FLOAT8", _) => Ok(Scale::Number),
            (Engine::Sqlite, _, "integer" | "real" | "null") => Ok(Scale::Number),
            (Engine::Sqlite, _, "text") => Ok(Scale::TimeText),
            _ => Err(Misfit::Watermark {
                object_type: self.settings.name.clone(),
                column: name.as_str().to_owned(),
                kind: if class.is_empty() { kind.clone() } else { class.to_owned() },
            }),
        }
    }

    /// Whether the newest watermark is as new as `since`: `1`, or `0` where data were restored.
    pub fn not_older(&self, since: &str, scale: &Scale) -> Option<(String, Vec<String>)> {
        let name = of_row(self.settings.watermark.as_ref()?);
        let sql = format!(
            "SELECT CASE WHEN MAX({name}) >= {} THEN '1' ELSE '0' END FROM {}",
            scale.parameter(1),
            source(&self.settings.rows)
        );
        Some((sql, vec![since.to_owned()]))
    }

    /// Narrows a statement to rows since a watermark, and the overlap before it.
    pub fn since(&self, mut select: Select, since: &str, scale: &Scale) -> Result<Select, Misfit> {
        let Some(watermark) = &self.settings.watermark else { return Ok(select) };
        let next = select.parameters.len() + 1;
        let seconds = |overlap: Duration| format!("{} seconds", overlap.as_secs());
        let bound = match scale {
            Scale::TimeText => {
                let earlier = earlier(since, self.settings.overlap).ok_or_else(|| Misfit::Time {
                    object_type: self.settings.name.clone(),
                    column: watermark.as_str().to_owned(),
                    text: since.to_owned(),
                })?;
                select.parameters.push(earlier);
                scale.parameter(next)
            }
            Scale::Time(_) => {
                select.parameters.extend([since.to_owned(), seconds(self.settings.overlap)]);
                format!("{} - CAST(${} AS INTERVAL)", scale.parameter(next), next + 1)
            }
            Scale::Number => {
                select.parameters.extend([since.to_owned(), self.settings.overlap_number.to_string()]);
                format!("{} - {}", scale.parameter(next), scale.parameter(next + 1))
            }
        };
        select.sql = format!("{} WHERE {} >= {bound}", select.sql, of_row(watermark));
        Ok(select)
    }
}

/// How watermarks are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A type of PostgreSQL.
    Time(String),
    /// Times as text, which SQLite compares as text.
    TimeText,
    Number,
}

impl Scale {
    fn parameter(&self, number: usize) -> String {
        match self {
            Self::Time(kind) => format!("CAST(${number} AS {kind})"),
            Self::TimeText => format!("${number}"),
            Self::Number => format!("CAST(${number} AS NUMERIC)"),
        }
    }
}

fn part(attribute: Attribute, target: Option<&ReferenceTarget>, keep: &impl Fn(&Attribute) -> bool) -> Option<Part> {
    match (target, keep(&attribute)) {
        (None, false) => None,
        (None, true) => Some(Part::Attribute(attribute)),
        (Some(target), false) => Some(Part::Reference(attribute, target.clone())),
        (Some(target), true) => Some(Part::Both(attribute, target.clone())),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn of_row(name: &SqlName) -> String {
    format!("q.{}", name.quoted())
}

fn table(parts: &[SqlName]) -> String {
    parts.iter().map(SqlName::quoted).collect::<Vec<_>>().join(".")
}

fn source(rows: &SqlRows) -> String {
    match rows {
        SqlRows::Table(name) => format!("{} AS q", table(name)),
        // On lines of its own: the query may end in a comment.
        SqlRows::Query(query) => format!("(\n{query}\n) AS q"),
    }
}

impl Engine {
    /// An expression for the text of a column as it is compared with a text of the settings.
    fn plain(self, name: &str, kind: &str) -> (String, Form) {
        match (self, kind) {
            (Self::Postgres, "BOOL") => {
                (format!("CASE WHEN {name} THEN 'TRUE' WHEN NOT {name} THEN 'FALSE' END"), Form::Text)
            }
            _ => (format!("CAST({name} AS TEXT)"), Form::Text),
        }
    }

    /// An expression for the value of a column of type `kind`, as text.
    fn text(self, name: &str, kind: &str) -> (String, Form) {
        match (self, kind) {
            (Self::Postgres, "BYTEA") => (format!("replace(encode({name}, 'base64'), chr(10), '')"), Form::Base64),
            (Self::Postgres, kind) if kind.ends_with("[]") => (format!("CAST(to_json({name}) AS TEXT)"), Form::Array),
            (Self::Sqlite, "BOOLEAN") => {
                (format!("CASE WHEN {name} THEN 'TRUE' WHEN NOT {name} THEN 'FALSE' END"), Form::Text)
            }
            (Self::Sqlite, _) => (
                format!(
                    "CASE typeof({name}) WHEN 'null' THEN NULL WHEN 'blob' THEN 'x' || hex({name}) ELSE 't' || CAST({name} AS TEXT) END"
                ),
                Form::Tagged,
            ),
            (Self::Postgres, _) => self.plain(name, kind),
        }
    }
}

impl Form {
    /// The values of a column; `None` when its text is not what it should be.
    pub fn values(self, text: Option<&str>) -> Option<Vec<Value>> {
        let Some(text) = text else { return Some(Vec::new()) };
        let values = match self {
            Self::Text => vec![Value::text(text)],
            Self::Base64 => vec![Value::Binary { base64: text.to_owned() }],
            Self::Tagged => vec![match text.split_at_checked(1)? {
                ("t", text) => Value::text(text),
                ("x", digits) => Value::binary(&hex::decode(digits).ok()?),
                _ => return None,
            }],
            Self::Array => {
                let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
                let item = |item: serde_json::Value| match item {
                    serde_json::Value::Null => None,
                    serde_json::Value::String(text) => Some(Value::text(text)),
                    other => Some(Value::text(other.to_string())),
                };
                items.into_iter().filter_map(item).collect()
            }
        };
        // An empty text is a text; whoever does not want it tests for it in rules.
        Some(values)
    }
}

/// A time before `text`, in the same form.
fn earlier(text: &str, by: Duration) -> Option<String> {
    let by = chrono::Duration::from_std(by).ok()?;
    let (body, zone) = match text.strip_suffix('Z') {
        Some(body) => (body, "Z"),
        None => (text, ""),
    };
    let separator = if body.contains('T') { "T" } else { " " };
    let fraction = body.rsplit_once('.').map_or(0, |(_, digits)| digits.len());
    let time = NaiveDateTime::parse_from_str(body, &format!("%Y-%m-%d{separator}%H:%M:%S%.f")).ok()?;
    let time = time.checked_sub_signed(by)?;
    let whole = time.format(&format!("%Y-%m-%d{separator}%H:%M:%S")).to_string();
    let nanos = format!("{:09}", chrono::Timelike::nanosecond(&time));
    let fraction = if fraction == 0 { String::new() } else { format!(".{}", nanos.get(..fraction)?) };
    Some(format!("{whole}{fraction}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_keeps_its_form_when_it_goes_back() {
        let by = Duration::from_secs(3600);
        let rows = [
            ("2026-03-01 00:30:00", Some("2026-02-28 23:30:00")),
            ("2026-03-01T00:30:00Z", Some("2026-02-28T23:30:00Z")),
            ("2026-03-01T00:30:00.125Z", Some("2026-02-28T23:30:00.125Z")),
            ("2026-03-01", None),
            ("yesterday", None),
        ];
        for (text, expected) in rows {
            assert_eq!(earlier(text, by).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn values_are_read_in_the_form_they_are_told_in() {
        let text = |values: &[&str]| Some(values.iter().map(|value| Value::text(*value)).collect::<Vec<_>>());
        assert_eq!(Form::Array.values(Some("[\"a\", null, 3]")), text(&["a", "3"]));
        assert_eq!(Form::Array.values(None), text(&[]));
        assert_eq!(Form::Tagged.values(Some("tplain")), text(&["plain"]));
        assert_eq!(Form::Tagged.values(Some("x00ff")), Some(vec![Value::binary(b"\x00\xff")]));
        assert_eq!(Form::Tagged.values(Some("?")), None);
        assert_eq!(Form::Array.values(Some("{")), None);
    }

    #[test]
    fn names_of_the_settings_cannot_leave_their_quotes() {
        let name: SqlName = "a\" OR 1=1 --".parse().expect("a name");
        assert_eq!(name.quoted(), "\"a\"\" OR 1=1 --\"");
    }
}
