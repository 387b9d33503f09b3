//! What is wrong with an expression, or with evaluating it on an object, and where.

use std::fmt;

/// A fault of an expression or of its evaluation, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub kind: ErrorKind,
    /// One clause: what is wrong and what is expected.
    pub cause: String,
}

/// Whom an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no expression.
    Syntax,
    /// A function, word, parameter or variable that does not exist.
    Name,
    /// A wrong number of arguments, or a word where only a result may stand.
    Form,
    /// A value of a type that the operation does not take.
    Type,
    /// A value of the right type that the operation cannot use.
    Value,
    /// More than [`limits`](crate::limits) allow.
    Limit,
    /// The expression called `Error`.
    Raised,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.cause)
    }
}

impl std::error::Error for Error {}

/// An error on its way out: its place is a byte of the text, or not known yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub at: Option<usize>,
    pub kind: ErrorKind,
    pub cause: String,
}

impl Fault {
    pub fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self { at: None, kind, cause: cause.into() }
    }

    pub fn value(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, cause)
    }

    /// Places the fault, unless it has a place.
    pub fn at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }

    pub fn in_text(self, text: &str) -> Error {
        let before = text.get(..self.at.unwrap_or(0)).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error { line, column, kind: self.kind, cause: self.cause }
    }
}
