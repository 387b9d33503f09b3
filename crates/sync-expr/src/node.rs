//! Checked expressions: every name resolved, every call well formed.

use crate::cell::Cell;
use crate::function::Function;
use crate::operator::Operator;

#[derive(Debug)]
pub(crate) struct Node {
    /// Byte offset in the text.
    pub at: usize,
    pub op: Op,
}

#[derive(Debug)]
pub(crate) enum Op {
    Literal(Cell<'static>),
    Authoritative,
    Ignore,
    /// By index in the expression's list of attributes.
    Attribute(usize),
    Imported(usize),
    Count(usize),
    Parameter(Box<str>),
    /// By slot.
    Variable(usize),
    Call(&'static Function, Box<[Node]>),
    Negate(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    If(Box<[Node; 3]>),
    /// Conditions and values.
    Switch(Box<[(Node, Node)]>),
    Let {
        slot: usize,
        value: Box<Node>,
        body: Box<Node>,
    },
    Map {
        slot: usize,
        list: Box<Node>,
        body: Box<Node>,
    },
    Filter {
        slot: usize,
        list: Box<Node>,
        condition: Box<Node>,
    },
    Raise(Box<Node>),
}
