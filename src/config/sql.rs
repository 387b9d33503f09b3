//! `[[connectors]]` with `kind = "sql"`: tables or queries of a PostgreSQL or SQLite database.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::identity::{ConnectorName, DomainName, PlainPassword};

use super::connector::DisabledTest;
use super::reader::Table;
use super::scim::ca_file;
use super::secret::secret;
use super::systems::{ReferenceColumn, ReferenceTarget, source_disabled, source_domains};

#[derive(Clone, Debug)]
pub struct SqlSourceSettings {
    pub name: ConnectorName,
    pub domains: Vec<DomainName>,
    pub database: SourceDatabase,
    pub disabled: Option<DisabledTest>,
    /// Columns to read besides those that the rules name.
    pub attributes: Vec<String>,
    pub types: Vec<SqlType>,
    /// Rows per page.
    pub page_size: u32,
    /// How long the database may take for one statement's first row.
    pub deadline: Duration,
}

/// Where the tables are. Its text form leaves out the URL, which may hold a password.
#[derive(Clone)]
pub enum SourceDatabase {
    /// Opened for reading only.
    Sqlite {
        file: PathBuf,
    },
    Postgres {
        url: String,
        password: Option<PlainPassword>,
        ca_file: Option<PathBuf>,
    },
}

impl SourceDatabase {
    /// Which database it is, without who asks it and how they prove it.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite { file } => format!("sqlite:{}", file.display()),
            Self::Postgres { url, .. } => match url::Url::parse(url) {
                Ok(url) => {
                    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
                    format!("postgres://{}{port}{}", url.host_str().unwrap_or_default(), url.path())
                }
                Err(_) => "postgres:".to_owned(),
            },
        }
    }
}

impl fmt::Debug for SourceDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// One object type and the rows it is made of.
#[derive(Clone, Debug)]
pub struct SqlType {
    /// The word of the rule files, such as `user`.
    pub name: String,
    pub rows: SqlRows,
    /// Columns that together identify a row for ever.
    pub anchor: Vec<SqlName>,
    pub references: Vec<ReferenceColumn>,
    /// The column that grows with every change of a row: a time or a number.
    pub watermark: Option<SqlName>,
    /// How far before its watermark a delta import reads again, where the column is a time ...
    pub overlap: Duration,
    /// ... and where it is a number.
    pub overlap_number: u64,
    /// The column that tells that a row counts as deleted.
    pub deleted: Option<DeletedTest>,
    pub values: Vec<SqlValues>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlRows {
    /// With its schema, part by part.
    Table(Vec<SqlName>),
    Query(String),
}

/// A side table with one row per value of an attribute.
#[derive(Clone, Debug)]
pub struct SqlValues {
    /// The attribute that the values are of.
    pub attribute: String,
    pub table: Vec<SqlName>,
    /// Its columns that equal the anchor's, in their order.
    pub key: Vec<SqlName>,
    pub column: SqlName,
    /// When the values refer to objects.
    pub target: Option<ReferenceTarget>,
}

/// A name of the database's own: of a table, a schema, a column. Written in double quotes in statements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SqlName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is empty or has a control character")]
pub struct SqlNameError;

impl SqlName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As an identifier of a statement.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl FromStr for SqlName {
    type Err = SqlNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = !text.is_empty() && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned())).ok_or(SqlNameError)
    }
}

/// `COLUMN` (deleted when it is set and not false) or `COLUMN=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTest {
    pub column: SqlName,
    pub value: Option<String>,
}

impl FromStr for DeletedTest {
    type Err = SqlNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None => Ok(Self { column: text.parse()?, value: None }),
            Some((column, value)) => Ok(Self { column: column.parse()?, value: Some(value.to_owned()) }),
        }
    }
}

const NAME: &str = "give a name of the database";

impl SqlSourceSettings {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        table.has("kind");
        let second = Duration::from_secs(1);
        let name = table.required("name", "use letters, digits, `.`, `-` and `_`");
        let domains = source_domains(&table);
        let database = database(&table);
        let disabled = source_disabled(&table);
        let attributes = table.list("attributes", "give column names");
        let tables = table.tables("types");
        if tables.is_empty() {
            table.complain("types", "no object type is given", "add [[connectors.types]] with type, table and anchor");
        }
        let count = tables.len();
        let types: Vec<SqlType> = tables.into_iter().filter_map(SqlType::read).collect();
        for (index, object_type) in types.iter().enumerate() {
            if types[..index].iter().any(|other| other.name == object_type.name) {
                let what = format!("the type {} is given twice", object_type.name);
                table.complain("types", what, "put both into one query");
            }
        }
        let page_size = table.number("page_size", 10..=10_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(1000);
        let deadline = table.duration("deadline", second..=3600 * second).unwrap_or(60 * second);
        table.finish();
        let database = database?;
        (types.len() == count).then_some(())?;
        Some(Self { name: name?, domains, database, disabled, attributes, types, page_size, deadline })
    }
}

fn database(table: &Table<'_>) -> Option<SourceDatabase> {
    let remedy = "write sqlite:FILE, or postgres://USER@HOST:PORT/DATABASE into the file of `url_file`";
    let url = match (table.text("url"), table.has("url_file") || table.has("url_env")) {
        (Some(_), true) => {
            table.complain("url", "the address is given twice", "keep `url`, or `url_file`");
            return None;
        }
        (Some(url), false) => url.into_owned(),
        (None, true) => secret(table, "url_file", "url_env")?.expose().to_owned(),
        (None, false) => {
            table.complain("url", "the key is missing", remedy);
            return None;
        }
    };
    let has_password = table.has("password_file") || table.has("password_env");
    let password = if has_password { Some(secret(table, "password_file", "password_env")?) } else { None };
    let ca_file = ca_file(table);
    if let Some(file) = url.strip_prefix("sqlite:").filter(|rest| !rest.is_empty()) {
        let file = table.source().folder().join(file);
        if !file.is_file() {
            table.complain("url", format!("there is no file {}", file.display()), "give the path of the database");
        }
        return Some(SourceDatabase::Sqlite { file });
    }
    match url::Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "postgres" | "postgresql") => {
            if table.has("url") && parsed.password().is_some() {
                let remedy =
                    "put the address into the file of `url_file`, or the password into that of `password_file`";
                table.complain("url", "the settings file holds a password", remedy);
                return None;
            }
            if parsed.query_pairs().any(|(key, _)| key.starts_with("ssl")) {
                table.complain(
                    "url",
                    "how TLS is used is no choice of the address",
                    "remove ssl... from it; use `ca_file`",
                );
            }
            Some(SourceDatabase::Postgres { url, password, ca_file })
        }
        _ => {
            table.complain("url", "it is no address of a database", remedy);
            None
        }
    }
}

fn table_name(table: &Table<'_>) -> Option<Vec<SqlName>> {
    let text = table.text("table")?;
    let parts: Result<Vec<SqlName>, _> = text.split('.').map(str::parse).collect();
    match parts {
        Ok(parts) if parts.len() <= 2 => Some(parts),
        _ => {
            table.complain("table", "it is no name of a table", "write TABLE or SCHEMA.TABLE");
            None
        }
    }
}

impl SqlType {
    fn read(table: Table<'_>) -> Option<Self> {
        let day = Duration::from_secs(86_400);
        let name: Option<String> = table.required("type", "write the object type of the rules, such as \"user\"");
        let query = table.text("query").map(|text| text.trim().trim_end_matches(';').to_owned());
        let rows = match (table.has("table"), query) {
            (true, None) => table_name(&table).map(SqlRows::Table),
            (false, Some(query)) => Some(SqlRows::Query(query)),
            (true, Some(_)) => {
                table.complain("query", "the rows are given twice", "keep `table` or `query`");
                None
            }
            (false, None) => {
                table.complain("table", "the key is missing", "name a table, or write a `query`");
                None
            }
        };
        let anchor: Vec<SqlName> = table.list("anchor", NAME);
        if anchor.is_empty() {
            table.complain("anchor", "no column is given", "list the columns that identify a row for ever");
        }
        let watermark = table.parsed("watermark", NAME);
        if watermark.is_none() && (table.has("overlap") || table.has("overlap_number")) {
            table.complain("overlap", "there is no watermark that it could precede", "add `watermark`, or remove it");
        }
        let tables = table.tables("values");
        let count = tables.len();
        let values: Vec<SqlValues> = tables.into_iter().filter_map(|t| SqlValues::read(t, anchor.len())).collect();
        let object_type = Self {
            name: name?,
            rows: rows?,
            references: table.list("references", "write COLUMN:TYPE, such as \"manager_id:user\", or COLUMN:*"),
            watermark,
            overlap: table.duration("overlap", Duration::ZERO..=7 * day).unwrap_or(Duration::from_secs(600)),
            overlap_number: table.number("overlap_number", 0..=1_000_000_000).unwrap_or(1000),
            deleted: table.parsed("deleted", "write COLUMN or COLUMN=VALUE"),
            anchor,
            values,
        };
        table.finish();
        (object_type.values.len() == count).then_some(object_type)
    }
}

impl SqlValues {
    fn read(table: Table<'_>, anchor_columns: usize) -> Option<Self> {
        let attribute = table.required("attribute", "name the attribute that the values are of");
        if !table.has("table") {
            table.complain("table", "the key is missing", "name the side table");
        }
        let side = table_name(&table);
        let key: Vec<SqlName> = table.list("key", NAME);
        if key.len() != anchor_columns {
            let remedy = "list the columns that equal those of the anchor, in their order";
            table.complain("key", format!("{} columns where {anchor_columns} are expected", key.len()), remedy);
        }
        let column = table.required("column", NAME);
        let target = table.text("target").map(|text| match text.as_ref() {
            "*" => ReferenceTarget::InValue,
            object_type => ReferenceTarget::Type(object_type.to_owned()),
        });
        table.finish();
        Some(Self { attribute: attribute?, table: side?, key, column: column?, target })
    }
}
