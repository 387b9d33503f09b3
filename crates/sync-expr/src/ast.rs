//! Expressions as they were written, names unresolved.

use std::fmt;

use crate::operator::Operator;

/// A byte offset in the text. Trees are equal wherever they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub usize);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ast {
    pub at: At,
    pub kind: AstKind,
    /// Levels of the tree below and with this node.
    pub depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AstKind {
    Text(String),
    Number(i64),
    Boolean(bool),
    Null,
    LineBreak,
    Ignore,
    Authoritative,
    Attribute(String),
    Parameter(String),
    Variable(String),
    /// A bare word, such as an option of a function.
    Word(String),
    Call(String, Vec<Ast>),
    Negate(Box<Ast>),
    Binary(Operator, Box<Ast>, Box<Ast>),
}

impl Ast {
    pub fn new(at: usize, kind: AstKind) -> Self {
        let below = match &kind {
            AstKind::Call(_, arguments) => arguments.iter().map(|a| a.depth).max().unwrap_or(0),
            AstKind::Negate(operand) => operand.depth,
            AstKind::Binary(_, left, right) => left.depth.max(right.depth),
            _ => 0,
        };
        Self { at: At(at), kind, depth: below + 1 }
    }

    fn precedence(&self) -> u8 {
        match &self.kind {
            AstKind::Binary(operator, ..) => operator.precedence(),
            _ => u8::MAX,
        }
    }

    fn write_operand(&self, f: &mut fmt::Formatter<'_>, parenthesise: bool) -> fmt::Result {
        if parenthesise { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

/// The shortest form that parses to the same tree.
impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            AstKind::Text(text) => {
                f.write_str("\"")?;
                for c in text.chars() {
                    match c {
                        '\\' => f.write_str("\\\\")?,
                        '"' => f.write_str("\\\"")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        '\t' => f.write_str("\\t")?,
                        c => write!(f, "{c}")?,
                    }
                }
                f.write_str("\"")
            }
            AstKind::Number(number) => write!(f, "{number}"),
            AstKind::Boolean(true) => f.write_str("True"),
            AstKind::Boolean(false) => f.write_str("False"),
            AstKind::Null => f.write_str("NULL"),
            AstKind::LineBreak => f.write_str("CRLF"),
            AstKind::Ignore => f.write_str("IgnoreThisFlow"),
            AstKind::Authoritative => f.write_str("AuthoritativeNull"),
            AstKind::Attribute(name) => write!(f, "[{name}]"),
            AstKind::Parameter(name) => write!(f, "%{name}%"),
            AstKind::Variable(name) => write!(f, "${name}"),
            AstKind::Word(word) => f.write_str(word),
            AstKind::Call(name, arguments) => {
                write!(f, "{name}(")?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            AstKind::Negate(operand) => {
                f.write_str("-")?;
                // A number after a minus would be read as a negative number.
                let parenthesise = operand.precedence() < u8::MAX || matches!(operand.kind, AstKind::Number(_));
                operand.write_operand(f, parenthesise)
            }
            AstKind::Binary(operator, left, right) => {
                let own = operator.precedence();
                left.write_operand(f, left.precedence() < own)?;
                write!(f, " {operator} ")?;
                right.write_operand(f, right.precedence() <= own)
            }
        }
    }
}
