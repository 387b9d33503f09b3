//! Expressions as flows of rules: compiled once, with their attributes looked up by the engine's names.

use std::fmt;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sync_expr::{Error, ErrorKind, Expression, NextChange, Values};

use super::parameters::Parameters;
use super::source::Source;
use super::syntax::{Syntax, Syntaxes};
use crate::identity::Timestamp;
use crate::sync::attribute::{Attribute, Value};

/// The attribute by which expressions of inbound rules see the relative name of an object, such as `CN=Ada Byron`.
pub const RDN: &str = "rdn";

/// A compiled expression of a rule.
#[derive(Clone, Debug)]
pub struct Formula {
    expression: Arc<Expression>,
    /// In the order of the expression.
    attributes: Arc<[(Attribute, Syntax)]>,
    /// Reference attributes whose values it counts.
    counted: Arc<[Attribute]>,
}

/// The attribute under which an object of a space keeps how many references it shows of `name`: no plain attribute can
/// have this name.
pub fn count_of(name: &Attribute) -> Attribute {
    Attribute::new(format!("{name};count"))
}

/// What an expression has to say, in values of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yield {
    Values(Vec<Value>),
    /// Nothing; a weaker rule may.
    Null,
    /// No value, and no weaker rule is asked.
    AuthoritativeNull,
    /// As if the flow were not there.
    Ignore,
}

/// What is the same in a whole run.
#[derive(Debug)]
pub struct RunFacts {
    started: DateTime<Utc>,
    rng: Mutex<StdRng>,
}

impl RunFacts {
    pub fn new(started: Timestamp, rng: StdRng) -> Self {
        let started = DateTime::from_timestamp_millis(started.millis()).unwrap_or_default();
        Self { started, rng: Mutex::new(rng) }
    }

    /// What `Now` tells.
    pub fn started(&self) -> Timestamp {
        Timestamp::from_millis(self.started.timestamp_millis())
    }
}

/// For rules that are looked at and not run.
impl Default for RunFacts {
    fn default() -> Self {
        Self::new(Timestamp::from_millis(0), StdRng::seed_from_u64(0))
    }
}

/// What an expression is evaluated on.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub source: Source<'a>,
    pub parameters: &'a Parameters,
    pub run: &'a RunFacts,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormulaError {
    #[error("sync-rule-error-function-triggered: {text}")]
    Raised { text: String },
    #[error("the expression fails: {0}")]
    Failed(Error),
    #[error("the expression yields a reference: links flow by `reference`")]
    Reference,
}

impl Formula {
    /// Of the attributes that it merely counts, those that are `links` hold references.
    pub fn new(expression: Expression, syntaxes: &Syntaxes, links: impl Fn(&Attribute) -> bool) -> Self {
        let attribute = |name: &str| {
            let name = Attribute::from(name);
            let syntax = syntaxes.of(&name);
            (name, syntax)
        };
        let attributes = expression.attributes().iter().map(|name| attribute(name)).collect();
        let counted = expression.merely_counted_attributes().map(Attribute::from).filter(links).collect();
        Self { expression: Arc::new(expression), attributes, counted }
    }

    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The attributes it reads of the object.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().map(|(name, _)| name).filter(|name| !self.counted.contains(name))
    }

    /// The reference attributes whose values it counts.
    pub fn counted(&self) -> &[Attribute] {
        &self.counted
    }

    pub fn reads_clock(&self) -> bool {
        self.expression.reads_clock()
    }

    /// When it may say something else of the same object.
    pub fn next_change(&self, surroundings: &Surroundings<'_>) -> NextChange {
        self.expression.next_change(&Context { formula: self, of: surroundings })
    }

    pub fn evaluate(&self, surroundings: &Surroundings<'_>) -> Result<Yield, FormulaError> {
        let context = Context { formula: self, of: surroundings };
        let flow = self.expression.evaluate(&context).map_err(|error| match error.kind {
            ErrorKind::Raised => {
                let text = error.cause.split_once(": ").map_or("", |(_, text)| text).to_owned();
                FormulaError::Raised { text }
            }
            ErrorKind::Syntax
            | ErrorKind::Name
            | ErrorKind::Form
            | ErrorKind::Type
            | ErrorKind::Value
            | ErrorKind::Limit => FormulaError::Failed(error),
        })?;
        Ok(match flow {
            sync_expr::Flow::Value(Values::One(value)) => Yield::Values(vec![stored(value)?]),
            sync_expr::Flow::Value(Values::Many(values)) => {
                Yield::Values(values.into_iter().map(stored).collect::<Result<_, _>>()?)
            }
            sync_expr::Flow::Value(Values::Absent) | sync_expr::Flow::Null => Yield::Null,
            sync_expr::Flow::AuthoritativeNull => Yield::AuthoritativeNull,
            sync_expr::Flow::Ignore => Yield::Ignore,
        })
    }
}

fn stored(value: sync_expr::Value<'_>) -> Result<Value, FormulaError> {
    Ok(match value {
        sync_expr::Value::Text(text) => Value::Text(text.into_owned()),
        sync_expr::Value::Integer(number) => Value::Text(number.to_string()),
        sync_expr::Value::Boolean(truth) => Value::boolean(truth),
        sync_expr::Value::Binary(bytes) => Value::binary(&bytes),
        // The language refuses a date as result.
        sync_expr::Value::Reference(_) | sync_expr::Value::Date(_) => return Err(FormulaError::Reference),
    })
}

struct Context<'a> {
    formula: &'a Formula,
    of: &'a Surroundings<'a>,
}

impl Context<'_> {
    fn values(&self, index: usize, read: impl for<'s> Fn(&Source<'s>, &Attribute) -> &'s [Value]) -> Values<'_> {
        let Some((name, syntax)) = self.formula.attributes.get(index) else { return Values::Absent };
        if let Some(rdn) = self.of.source.rdn().filter(|_| name.as_str() == RDN) {
            return Values::One(sync_expr::Value::from(rdn));
        }
        match read(&self.of.source, name) {
            [] => Values::Absent,
            [value] => Values::One(syntax.typed(value)),
            several => Values::Many(several.iter().map(|value| syntax.typed(value)).collect()),
        }
    }
}

impl sync_expr::Context for Context<'_> {
    fn attribute(&self, index: usize, _: &str) -> Values<'_> {
        self.values(index, |source, name| source.values(name))
    }

    fn count(&self, index: usize, _: &str) -> usize {
        let Some((name, _)) = self.formula.attributes.get(index) else { return 0 };
        if !self.formula.counted.contains(name) {
            return self.values(index, |source, name| source.values(name)).len();
        }
        let count = self.of.source.values(&count_of(name)).first().and_then(|value| value.as_text().parse().ok());
        count.unwrap_or_default()
    }

    fn imported(&self, index: usize, _: &str) -> Values<'_> {
        self.values(index, |source, name| source.imported(name))
    }

    fn parameter(&self, name: &str) -> Option<sync_expr::Value<'_>> {
        self.of.parameters.get(name).map(sync_expr::Value::from)
    }

    fn now(&self) -> DateTime<Utc> {
        self.of.run.started
    }

    fn random(&self) -> u64 {
        match self.of.run.rng.lock() {
            Ok(mut rng) => rng.random(),
            // A panic while the lock was held leaves a generator that is as good as before.
            Err(poisoned) => poisoned.into_inner().random(),
        }
    }
}

/// Formulas are equal when they are written alike and see the same types.
impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.attributes == other.attributes
    }
}

impl Eq for Formula {}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expression.text())
    }
}
