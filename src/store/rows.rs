//! What statements return, as plain values: all text of an answer lies in one string, so that a row costs no allocation.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

/// The rows of one or more statements that select the same columns.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Arc<[Box<str>]>,
    text: String,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Int(i64),
    /// Where it lies in the text of all rows.
    Text {
        start: usize,
        end: usize,
    },
}

/// One row. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    rows: &'a Rows,
    first: usize,
}

/// The value of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellValue<'a> {
    Null,
    Int(i64),
    Text(&'a str),
}

/// What a cell can be read as. `None`: it holds something else.
pub trait FromCell<'a>: Sized {
    fn from_cell(value: CellValue<'a>) -> Option<Self>;
}

/// A row of either kind, read by the names of its columns.
///
/// # Panics
/// As [`Row::get`].
pub trait Columns {
    fn text(&self, column: &str) -> Option<String>;
    fn number(&self, column: &str) -> Option<i64>;
}

impl Columns for Row<'_> {
    fn text(&self, column: &str) -> Option<String> {
        self.get(column)
    }

    fn number(&self, column: &str) -> Option<i64> {
        self.get(column)
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Option<String> {
        sqlx::Row::get(self, column)
    }

    fn number(&self, column: &str) -> Option<i64> {
        sqlx::Row::get(self, column)
    }
}

/// A column by name or place.
pub trait ColumnIndex {
    fn index(&self, columns: &[Box<str>]) -> Option<usize>;
}

impl Rows {
    /// Rows of these columns, none yet.
    pub fn of<'n>(columns: impl IntoIterator<Item = &'n str>) -> Self {
        Self { columns: columns.into_iter().map(Box::from).collect(), text: String::new(), cells: Vec::new() }
    }

    pub fn columns(&self) -> &[Box<str>] {
        &self.columns
    }

    /// Adds the next cell; a row is whole when every column has one.
    pub fn push(&mut self, value: CellValue<'_>) {
        let cell = match value {
            CellValue::Null => Cell::Null,
            CellValue::Int(value) => Cell::Int(value),
            CellValue::Text(text) => {
                let start = self.text.len();
                self.text.push_str(text);
                Cell::Text { start, end: self.text.len() }
            }
        };
        self.cells.push(cell);
    }

    /// Adds the rows of a server's answer.
    pub fn extend_from(&mut self, answer: &[AnyRow]) -> Result<(), sqlx::Error> {
        if let Some(row) = answer.first().filter(|_| self.columns.is_empty()) {
            *self = Self::of(row.columns().iter().map(|column| column.name()));
        }
        for row in answer {
            for column in 0..row.len() {
                let value = row.try_get_raw(column)?;
                if value.is_null() {
                    self.push(CellValue::Null);
                } else if value.type_info().name() == "TEXT" {
                    self.push(CellValue::Text(row.try_get(column)?));
                } else {
                    self.push(CellValue::Int(row.try_get(column)?));
                }
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Row<'_>> + ExactSizeIterator {
        (0..self.len()).map(|row| Row { rows: self, first: row * self.columns.len() })
    }

    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    pub fn last(&self) -> Option<Row<'_>> {
        self.iter().next_back()
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = Box<dyn Iterator<Item = Row<'a>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<'a> Row<'a> {
    /// A cell of this row.
    ///
    /// # Panics
    /// When the statement does not select `column`, or the column has another type: both are written in this room.
    pub fn get<T: FromCell<'a>, C: ColumnIndex>(&self, column: C) -> T {
        let index = column.index(&self.rows.columns).expect("the statement selects the columns that are read of it");
        T::from_cell(self.value(index)).expect("columns have the types of the migrations")
    }

    fn value(&self, index: usize) -> CellValue<'a> {
        match self.rows.cells[self.first + index] {
            Cell::Null => CellValue::Null,
            Cell::Int(value) => CellValue::Int(value),
            Cell::Text { start, end } => CellValue::Text(&self.rows.text[start..end]),
        }
    }
}

impl<'a> FromCell<'a> for i64 {
    fn from_cell(value: CellValue<'a>) -> Option<Self> {
        match value {
            CellValue::Int(value) => Some(value),
            CellValue::Null | CellValue::Text(_) => None,
        }
    }
}

impl<'a> FromCell<'a> for &'a str {
    fn from_cell(value: CellValue<'a>) -> Option<Self> {
        match value {
            CellValue::Text(text) => Some(text),
            CellValue::Null | CellValue::Int(_) => None,
        }
    }
}

impl<'a> FromCell<'a> for String {
    fn from_cell(value: CellValue<'a>) -> Option<Self> {
        <&str>::from_cell(value).map(str::to_owned)
    }
}

impl<'a, T: FromCell<'a>> FromCell<'a> for Option<T> {
    fn from_cell(value: CellValue<'a>) -> Option<Self> {
        if value == CellValue::Null { Some(None) } else { T::from_cell(value).map(Some) }
    }
}

impl ColumnIndex for usize {
    fn index(&self, columns: &[Box<str>]) -> Option<usize> {
        (*self < columns.len()).then_some(*self)
    }
}

impl ColumnIndex for &str {
    fn index(&self, columns: &[Box<str>]) -> Option<usize> {
        columns.iter().position(|name| **name == **self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_as_they_were_put() {
        let mut rows = Rows::of(["id", "name"]);
        for (id, name) in [(1, CellValue::Text("ada")), (2, CellValue::Null), (3, CellValue::Text(""))] {
            rows.push(CellValue::Int(id));
            rows.push(name);
        }
        let read: Vec<(i64, Option<&str>)> = rows.iter().map(|row| (row.get(0), row.get("name"))).collect();
        assert_eq!(read, [(1, Some("ada")), (2, None), (3, Some(""))]);
        assert_eq!((rows.len(), rows.last().map(|row| row.get::<i64, _>("id"))), (3, Some(3)));
        assert!(Rows::of(["id"]).is_empty());
    }
}
