//! `landbridge rules eval`.

use std::fmt;

use serde_json::{Value as Json, json};
use sync_expr::{Error, Expression, Fields, Flow, Value, Values};

use super::{EvalArgs, notation};
use crate::cli::Output;
use crate::identity::clock::{Clock as _, SystemClock};

/// An expression that cannot be compiled or evaluated.
#[derive(Debug)]
pub(in crate::cli) struct ExpressionFault {
    text: String,
    error: Error,
}

pub(super) fn run(args: &EvalArgs, output: &Output) -> anyhow::Result<()> {
    let fault = |error| ExpressionFault { text: args.expression.clone(), error };
    let expression = Expression::compile(&args.expression).map_err(fault)?;
    let mut fields = Fields::default();
    if let Some(path) = &args.object {
        for (name, values) in notation::read(path)? {
            fields.set_values(name, values);
        }
    }
    if let Some(path) = &args.imported {
        fields.set_imported(notation::read(path)?);
    }
    for (name, value) in &args.parameters {
        fields.set_parameter(name, Value::from(value.as_str()));
    }
    let clock = || chrono::DateTime::from_timestamp_millis(SystemClock.now().millis()).unwrap_or_default();
    fields.set_now(args.now.unwrap_or_else(clock));
    fields.set_seed(rand::random());
    let flow = expression.evaluate(&fields).map_err(fault)?;
    println!("{}", if output.is_json() { json(&flow).to_string() } else { people(&flow) });
    Ok(())
}

fn json(flow: &Flow<'_>) -> Json {
    let (word, value) = match flow {
        Flow::Value(values) => ("value", notation::of_values(values)),
        Flow::Null => ("null", Json::Null),
        Flow::AuthoritativeNull => ("authoritative-null", Json::Null),
        Flow::Ignore => ("ignore", Json::Null),
    };
    json!({ "flow": word, "value": value })
}

fn people(flow: &Flow<'_>) -> String {
    match flow {
        Flow::Value(Values::One(value)) => line(value),
        Flow::Value(Values::Many(values)) => values.iter().map(line).collect::<Vec<_>>().join("\n"),
        Flow::Value(Values::Absent) | Flow::Null => "null: contributes nothing".to_owned(),
        Flow::AuthoritativeNull => "authoritative null: removes the attribute".to_owned(),
        Flow::Ignore => "ignore: leaves the attribute as it is".to_owned(),
    }
}

fn line(value: &Value<'_>) -> String {
    match value {
        Value::Text(_) => format!("string     {}", notation::of_value(value)),
        Value::Integer(number) => format!("number     {number}"),
        Value::Boolean(truth) => format!("boolean    {truth}"),
        Value::Binary(_) => format!("binary     {}", notation::of_value(value)["base64"].as_str().unwrap_or_default()),
        Value::Reference(dn) => format!("reference  {dn}"),
        Value::Date(date) => format!("date       {date}"),
    }
}

impl ExpressionFault {
    pub(in crate::cli) fn json(&self) -> Json {
        let Error { line, column, cause, .. } = &self.error;
        json!({ "message": self.error.to_string(), "line": line, "column": column, "cause": cause })
    }
}

/// The message, and the line of the expression with a mark below the place.
impl fmt::Display for ExpressionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.text.lines().nth(self.error.line - 1).unwrap_or_default();
        let mark = " ".repeat(self.error.column - 1);
        write!(f, "{}\n  {line}\n  {mark}^", self.error)
    }
}

impl std::error::Error for ExpressionFault {}
