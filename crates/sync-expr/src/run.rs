//! One evaluation: what it may still spend, and how calls reach functions.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::cell::{Cell, Data};
use crate::clock::Watch;
use crate::context::Context;
use crate::error::{ErrorKind, Fault};
use crate::limits;
use crate::value::Value;

pub(crate) struct Run<'a> {
    pub context: &'a dyn Context,
    pub attributes: &'a [Box<str>],
    pub variables: Vec<Data<'a>>,
    /// Of an evaluation that asks when it would come out otherwise.
    pub watch: Option<Watch>,
    steps: u64,
    bytes: usize,
}

/// The arguments of one call, of the kinds that its parameters name.
pub(crate) struct Args<'c, 'a>(pub &'c mut [Cell<'a>]);

impl<'a> Run<'a> {
    pub fn new(context: &'a dyn Context, attributes: &'a [Box<str>], variables: usize) -> Self {
        Self { context, attributes, variables: vec![Data::NULL; variables], watch: None, steps: 0, bytes: 0 }
    }

    /// Counts work: one step and what is read.
    pub fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.steps += 1 + (bytes / 64) as u64;
        if self.steps > limits::STEPS {
            return Err(Fault::new(
                ErrorKind::Limit,
                format!("the evaluation takes more than {} steps", limits::STEPS),
            ));
        }
        Ok(())
    }

    /// Counts a value that was made.
    pub fn made(&mut self, cell: &Cell<'_>) -> Result<(), Fault> {
        let made = match cell {
            Cell::Value(Value::Text(Cow::Owned(text)) | Value::Reference(Cow::Owned(text))) => text.len(),
            Cell::Value(Value::Binary(Cow::Owned(bytes))) => bytes.len(),
            _ => return Ok(()),
        };
        fits(made)?;
        self.bytes += made;
        if self.bytes > limits::BYTES {
            return Err(Fault::new(
                ErrorKind::Limit,
                format!("the evaluation makes more than {} bytes", limits::BYTES),
            ));
        }
        Ok(())
    }

    /// Applies `body` to the values of the arguments, side by side; `at` places its errors.
    pub fn side_by_side(
        &mut self,
        at: usize,
        arguments: &mut [Data<'a>],
        body: &mut dyn FnMut(&mut Self, &mut [Cell<'a>]) -> Result<Cell<'a>, Fault>,
    ) -> Result<Data<'a>, Fault> {
        let mut cells: [Cell<'a>; 4] = std::array::from_fn(|_| Cell::Null);
        let cells = &mut cells[..arguments.len()];
        let Some(count) = common_length(arguments).map_err(|fault| fault.at(at))? else {
            for (cell, argument) in cells.iter_mut().zip(arguments) {
                if let Data::One(value) = std::mem::take(argument) {
                    *cell = value;
                }
            }
            return self.apply(cells, body).map(Data::One).map_err(|fault| fault.at(at));
        };
        let mut results = Vec::with_capacity(count);
        for i in 0..count {
            let mut hole = false;
            for (cell, argument) in cells.iter_mut().zip(arguments.iter_mut()) {
                *cell = match argument {
                    Data::One(value) => value.clone(),
                    Data::Many(values) if values.len() == 1 => values[0].clone(),
                    Data::Many(values) => std::mem::take(&mut values[i]),
                    Data::Authoritative | Data::Ignore => Cell::Null,
                };
                hole |= matches!(argument, Data::Many(_)) && *cell == Cell::Null;
            }
            let result = if hole { self.spend(0).map(|()| Cell::Null) } else { self.apply(cells, body) };
            results.push(match result {
                Ok(cell) => cell,
                Err(fault) if fault.kind == ErrorKind::Limit => return Err(fault.at(at)),
                Err(fault) => Cell::Fault(Box::new(fault.at(at))),
            });
        }
        Ok(Data::Many(results))
    }

    fn apply(
        &mut self,
        cells: &mut [Cell<'a>],
        body: &mut dyn FnMut(&mut Self, &mut [Cell<'a>]) -> Result<Cell<'a>, Fault>,
    ) -> Result<Cell<'a>, Fault> {
        let mut read = 0;
        for cell in cells.iter_mut() {
            match cell {
                Cell::Null => {}
                Cell::Value(value) => read += value.size(),
                Cell::Fault(_) => {
                    if let Cell::Fault(fault) = std::mem::take(cell) {
                        return Err(*fault);
                    }
                }
            }
        }
        self.spend(read)?;
        let result = body(self, cells)?;
        self.made(&result)?;
        Ok(result)
    }
}

/// How many values lie side by side; `None` when every argument is one value.
pub(crate) fn common_length(arguments: &[Data<'_>]) -> Result<Option<usize>, Fault> {
    let mut common = None;
    for argument in arguments {
        let Data::Many(values) = argument else { continue };
        common = match common {
            None | Some(1) => Some(values.len()),
            Some(count) if values.len() == count || values.len() == 1 => Some(count),
            Some(count) => {
                let cause = format!("{count} values stand beside {}: there is no pairing them", values.len());
                return Err(Fault::value(cause));
            }
        };
    }
    Ok(common)
}

/// Refuses to make a value of more bytes than allowed; to be asked before it is made where input does not bound it.
pub(crate) fn fits(bytes: usize) -> Result<(), Fault> {
    if bytes > limits::TEXT {
        let cause = format!("the result would have {bytes} bytes; at most {} are allowed", limits::TEXT);
        return Err(Fault::new(ErrorKind::Limit, cause));
    }
    Ok(())
}

impl<'a> Args<'_, 'a> {
    pub fn is_null(&self, i: usize) -> bool {
        matches!(self.0.get(i), None | Some(Cell::Null))
    }

    /// The value of an argument; `None` when it is null or was left out.
    pub fn value(&mut self, i: usize) -> Option<Value<'a>> {
        match self.0.get_mut(i).map(std::mem::take) {
            Some(Cell::Value(value)) => Some(value),
            _ => None,
        }
    }

    /// A text or the name of a reference; null is the empty text.
    pub fn text(&mut self, i: usize) -> Cow<'a, str> {
        match self.value(i) {
            Some(Value::Text(text) | Value::Reference(text)) => text,
            _ => Cow::Borrowed(""),
        }
    }

    pub fn number(&mut self, i: usize) -> Option<i64> {
        match self.value(i) {
            Some(Value::Integer(number)) => Some(number),
            _ => None,
        }
    }

    pub fn bytes(&mut self, i: usize) -> Cow<'a, [u8]> {
        match self.value(i) {
            Some(Value::Binary(bytes)) => bytes,
            _ => Cow::Borrowed(&[]),
        }
    }

    pub fn date(&mut self, i: usize) -> Option<DateTime<Utc>> {
        match self.value(i) {
            Some(Value::Date(date)) => Some(date),
            _ => None,
        }
    }

    pub fn truth(&mut self, i: usize) -> bool {
        match self.value(i) {
            Some(Value::Boolean(truth)) => truth,
            Some(Value::Integer(number)) => number != 0,
            _ => false,
        }
    }
}
