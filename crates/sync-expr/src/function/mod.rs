//! The functions: one table for the checker, the evaluation and the reference page.

mod certificate;
mod convert;
mod date;
mod directory;
mod flow;
mod math;
mod several;
mod test;
mod text;

use std::fmt;

pub use date::parse_date;

use crate::cell::Cell;
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::{Args, Run};
use crate::value::Value;

/// A function of the language.
pub struct Function {
    pub name: &'static str,
    pub group: Group,
    pub parameters: &'static [Parameter],
    /// What it does, edge cases included.
    pub summary: &'static str,
    /// Expressions with what they yield, as JSON; or with `error: ` and a part of the message.
    pub examples: &'static [(&'static str, &'static str)],
    pub(crate) returns: Returns,
    pub(crate) body: Body,
}

/// The chapters of the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Math,
    Conversion,
    Date,
    Directory,
    Test,
    Several,
    Flow,
    Text,
    Certificate,
}

/// A parameter of a function.
pub struct Parameter {
    pub name: &'static str,
    pub(crate) kinds: Kinds,
    pub(crate) form: Form,
    pub(crate) required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One value; of several the function takes each.
    Each,
    /// All values of something that may have several.
    List,
    /// All values of anything.
    Whole,
    /// One value, never several.
    One,
    /// One of these words, without quotes.
    Word(&'static [&'static str]),
    /// One of these words, with or without quotes.
    QuotedWord(&'static [&'static str]),
    /// The name of an attribute, in quotes.
    AttributeName,
    /// A name that begins with `$`.
    Variable,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Returns {
    pub kinds: Kinds,
    /// The kinds are those of the first argument.
    pub as_first: bool,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    Many,
    /// Known when it is evaluated.
    Either,
}

type EachBody = for<'a> fn(&mut Run<'a>, Args<'_, 'a>) -> Result<Cell<'a>, Fault>;
type ListBody = for<'a> fn(&mut Run<'a>, Vec<Value<'a>>, Args<'_, 'a>) -> Result<crate::cell::Data<'a>, Fault>;

#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Null when a required argument is.
    Each(EachBody),
    /// Is told of null arguments.
    EachOrNull(EachBody),
    /// Takes the values of its first argument together.
    List(ListBody),
    Special(Special),
}

/// Functions that are part of the language rather than called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    If,
    Switch,
    With,
    Select,
    Where,
    Imported,
    Count,
    Raise,
}

const TABLES: [&[Function]; 9] = [
    math::FUNCTIONS,
    convert::FUNCTIONS,
    date::FUNCTIONS,
    directory::FUNCTIONS,
    test::FUNCTIONS,
    several::FUNCTIONS,
    flow::FUNCTIONS,
    text::FUNCTIONS,
    certificate::FUNCTIONS,
];

/// All functions, chapter by chapter.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    TABLES.into_iter().flatten()
}

pub(crate) fn by_name(name: &str) -> Option<&'static Function> {
    functions().find(|function| function.name == name)
}

impl Group {
    pub fn title(self) -> &'static str {
        match self {
            Self::Math => "Mathematics and bits",
            Self::Conversion => "Conversion",
            Self::Date => "Date and time",
            Self::Directory => "Directory names",
            Self::Test => "Tests",
            Self::Several => "Several values",
            Self::Flow => "Program flow",
            Self::Text => "Text",
            Self::Certificate => "Certificates",
        }
    }
}

impl Function {
    /// Its values differ from one evaluation to the next: for flows that are applied once.
    pub fn is_random(&self) -> bool {
        matches!(self.name, "Guid" | "RandomNum")
    }

    /// How it is called, such as `str Left(str text, num count)`.
    pub fn signature(&self) -> String {
        let mut text = format!("{} {}(", self.returns, self.name);
        let mut open = 0;
        for (i, parameter) in self.parameters.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            if parameter.required {
                text.push_str(&format!("{comma}{parameter}"));
            } else {
                open += 1;
                text.push_str(&format!("{}[{comma}{parameter}", if i > 0 { " " } else { "" }));
            }
        }
        if self.body.repeats() {
            text.push_str(", ...");
        }
        text.push_str(&"]".repeat(open));
        text.push(')');
        text
    }
}

impl Body {
    pub fn repeats(self) -> bool {
        matches!(self, Self::Special(Special::Switch))
    }
}

impl Parameter {
    /// The words that may stand here, of a parameter that takes one of some words.
    pub fn words(&self) -> Option<&'static [&'static str]> {
        match self.form {
            Form::Word(words) | Form::QuotedWord(words) => Some(words),
            Form::Each | Form::List | Form::Whole | Form::One | Form::AttributeName | Form::Variable => None,
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.form {
            Form::Each | Form::Whole | Form::One => self.kinds.short(),
            Form::List => format!("mv {}", self.kinds.short()),
            Form::Word(_) | Form::QuotedWord(_) => "enum".to_owned(),
            Form::AttributeName => "quoted".to_owned(),
            Form::Variable => return f.write_str(self.name),
        };
        write!(f, "{kind} {}", self.name)
    }
}

impl fmt::Display for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mv = if self.shape == Shape::Many { "mv " } else { "" };
        if self.kinds.is_none() && !self.as_first {
            f.write_str("void")
        } else {
            write!(f, "{mv}{}", self.kinds.short())
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

// The words in which the tables are written.

const fn each(kinds: Kinds) -> Returns {
    Returns { kinds, as_first: false, shape: Shape::Either }
}

const fn one(kinds: Kinds) -> Returns {
    Returns { kinds, as_first: false, shape: Shape::One }
}

const fn many(kinds: Kinds) -> Returns {
    Returns { kinds, as_first: false, shape: Shape::Many }
}

impl Returns {
    const fn as_first(mut self) -> Self {
        self.as_first = true;
        self
    }
}

const fn parameter(name: &'static str, kinds: Kinds, form: Form) -> Parameter {
    Parameter { name, kinds, form, required: true }
}

const fn text(name: &'static str) -> Parameter {
    parameter(name, Kinds::TEXT, Form::Each)
}

const fn number(name: &'static str) -> Parameter {
    parameter(name, Kinds::NUMBER, Form::Each)
}

const fn binary(name: &'static str) -> Parameter {
    parameter(name, Kinds::BINARY, Form::Each)
}

const fn date(name: &'static str) -> Parameter {
    parameter(name, Kinds::DATE, Form::Each)
}

const fn reference(name: &'static str) -> Parameter {
    parameter(name, Kinds::REFERENCE, Form::Each)
}

impl Parameter {
    const fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}
