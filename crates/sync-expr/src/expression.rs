//! Compiled expressions.

use std::fmt;

use crate::cell::{Cell, Data};
use crate::check::{Program, check, date_result};
use crate::clock::{self, NextChange, Watch};
use crate::context::Context;
use crate::error::{Error, Fault};
use crate::eval::is_constant;
use crate::parse::parse;
use crate::run::Run;
use crate::value::{Value, Values};

/// A compiled expression; its evaluation shares nothing and may run on any thread.
pub struct Expression {
    text: String,
    program: Program,
}

/// What an expression has to say about its target attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow<'a> {
    Value(Values<'a>),
    /// Contributes nothing; a rule of lower precedence may.
    Null,
    /// Removes the attribute and stops rules of lower precedence.
    AuthoritativeNull,
    /// As if the flow were not there: whatever the attribute holds stays.
    Ignore,
}

impl Expression {
    /// Parses and checks `text`: names, numbers of arguments, and types where they are known beforehand.
    pub fn compile(text: &str) -> Result<Self, Error> {
        let program = parse(text).and_then(|ast| check(&ast)).map_err(|fault| fault.in_text(text))?;
        Ok(Self { text: text.to_owned(), program })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The attributes it reads, also those of `ImportedValue` and `ValueCount`, each once.
    pub fn attributes(&self) -> &[Box<str>] {
        &self.program.attributes
    }

    /// The attributes of which it asks nothing but how many values they have (`ValueCount`).
    pub fn merely_counted_attributes(&self) -> impl Iterator<Item = &str> {
        let counted = self.program.attributes.iter().enumerate().filter(|(i, _)| !self.program.read.contains(i));
        counted.map(|(_, name)| &**name)
    }

    /// The attributes whose values it goes through one by one, with `Select` or `Where`: such a flow costs all values
    /// of the attribute, not what changed.
    pub fn swept_attributes(&self) -> impl Iterator<Item = &str> {
        self.program.swept.iter().map(|index| &*self.program.attributes[*index])
    }

    /// The parameters that must be given; constants of the language are not among them.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.program.parameters.iter().map(|name| &**name).filter(|name| !is_constant(name))
    }

    /// Whether each evaluation may yield something else (`Guid`, `RandomNum`): only for flows that are applied once.
    pub fn is_apply_once_only(&self) -> bool {
        self.program.random
    }

    /// Whether it asks for the time.
    pub fn reads_clock(&self) -> bool {
        self.program.timed
    }

    /// When an evaluation on the same object may come out otherwise than one at the time of the context.
    pub fn next_change(&self, context: &dyn Context) -> NextChange {
        if !self.program.timed {
            return NextChange::Never;
        }
        if clock::is_free(&self.program.root) {
            return NextChange::Anytime;
        }
        let mut run = Run::new(context, &self.program.attributes, self.program.variables);
        run.watch = Some(Watch::default());
        // An error stands until one of the comparisons before it turns over.
        drop(run.evaluate(&self.program.root));
        run.watch.map_or(NextChange::Never, |watch| watch.next())
    }

    /// Evaluates the expression on one object.
    pub fn evaluate<'a>(&'a self, context: &'a dyn Context) -> Result<Flow<'a>, Error> {
        let mut run = Run::new(context, &self.program.attributes, self.program.variables);
        let result = run.evaluate(&self.program.root).and_then(flow);
        result.map_err(|fault| fault.at(self.program.root.at).in_text(&self.text))
    }
}

fn flow(data: Data<'_>) -> Result<Flow<'_>, Fault> {
    let storable = |value: Value<'_>| if matches!(value, Value::Date(_)) { Err(date_result()) } else { Ok(()) };
    match data {
        Data::Authoritative => Ok(Flow::AuthoritativeNull),
        Data::Ignore => Ok(Flow::Ignore),
        Data::One(Cell::Value(value)) => {
            storable(value.borrow())?;
            Ok(Flow::Value(Values::One(value)))
        }
        Data::One(Cell::Null) => Ok(Flow::Null),
        Data::One(Cell::Fault(fault)) => Err(*fault),
        many @ Data::Many(_) => {
            let values = many.into_list()?;
            for value in &values {
                storable(value.borrow())?;
            }
            Ok(if values.is_empty() { Flow::Null } else { Flow::Value(Values::Many(values)) })
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Two expressions are equal when they are written alike.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}
