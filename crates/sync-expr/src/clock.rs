//! When an expression that asks for the time may say something else, its object being the same.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cell::{Cell, Data};
use crate::node::{Node, Op};
use crate::operator::Operator;
use crate::value::Value;

/// When an expression may say something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextChange {
    /// It does not depend on the time, or the time has passed.
    Never,
    At(DateTime<Utc>),
    /// It uses the time otherwise than in comparisons.
    Anytime,
}

/// Months and years are of different lengths: a date that is some of them away is looked at some days early, and then this
/// often.
const CALENDAR_SLACK: TimeDelta = TimeDelta::days(4);
const CALENDAR_STEP: TimeDelta = TimeDelta::hours(1);

/// What one evaluation learned.
#[derive(Default)]
pub(crate) struct Watch(Option<DateTime<Utc>>);

impl Watch {
    pub fn next(&self) -> NextChange {
        self.0.map_or(NextChange::Never, NextChange::At)
    }

    /// Notes when the comparison of `operands`, which yielded `data`, turns over.
    pub fn compared(&mut self, now: DateTime<Utc>, operands: &[Node; 2], data: &[Data<'_>; 2]) {
        let (moving, fixed) = match (is_time(&operands[0]), is_time(&operands[1])) {
            (true, false) => (0, 1),
            (false, true) => (1, 0),
            _ => return,
        };
        let calendar = is_calendar(&operands[moving]);
        for moving in cells(&data[moving]) {
            for fixed in cells(&data[fixed]) {
                let Some(gap) = gap(moving, fixed).filter(|gap| *gap >= TimeDelta::zero()) else { continue };
                let gap = if calendar { (gap - CALENDAR_SLACK).max(CALENDAR_STEP.min(gap)) } else { gap };
                // Just behind it: at the instant itself `<` and `<=` differ.
                let Some(at) = now.checked_add_signed(gap + TimeDelta::milliseconds(1)) else { continue };
                self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
            }
        }
    }
}

/// How long until a moving time is where a fixed one is.
fn gap(moving: &Cell<'_>, fixed: &Cell<'_>) -> Option<TimeDelta> {
    match (moving, fixed) {
        (Cell::Value(Value::Date(moving)), Cell::Value(Value::Date(fixed))) => Some(*fixed - *moving),
        // FILETIME: units of 100 ns.
        (Cell::Value(Value::Integer(moving)), Cell::Value(Value::Integer(fixed))) => {
            Some(TimeDelta::microseconds(fixed.checked_sub(*moving)? / 10))
        }
        _ => None,
    }
}

fn cells<'d, 'a>(data: &'d Data<'a>) -> &'d [Cell<'a>] {
    match data {
        Data::One(cell) => std::slice::from_ref(cell),
        Data::Many(cells) => cells,
        Data::Authoritative | Data::Ignore => &[],
    }
}

fn children(node: &Node) -> Vec<&Node> {
    match &node.op {
        Op::Literal(_)
        | Op::Authoritative
        | Op::Ignore
        | Op::Attribute(_)
        | Op::Imported(_)
        | Op::Count(_)
        | Op::Parameter(_)
        | Op::Variable(_) => Vec::new(),
        Op::Call(_, arguments) => arguments.iter().collect(),
        Op::Negate(operand) | Op::Raise(operand) => vec![operand],
        Op::Binary(_, operands) => operands.iter().collect(),
        Op::If(parts) => parts.iter().collect(),
        Op::Switch(arms) => arms.iter().flat_map(|(condition, value)| [condition, value]).collect(),
        Op::Let { value, body, .. } => vec![value, body],
        Op::Map { list, body, .. } => vec![list, body],
        Op::Filter { list, condition, .. } => vec![list, condition],
    }
}

fn is_now(node: &Node) -> bool {
    matches!(&node.op, Op::Call(function, _) if function.name == "Now")
}

pub(crate) fn reads_clock(node: &Node) -> bool {
    is_now(node) || children(node).into_iter().any(reads_clock)
}

/// Whether a node is the time of the evaluation, or a fixed distance from it.
fn is_time(node: &Node) -> bool {
    match &node.op {
        Op::Call(function, arguments) => match (function.name, &**arguments) {
            ("Now", _) => true,
            ("DateAdd", [interval, count, date]) => is_time(date) && !reads_clock(interval) && !reads_clock(count),
            ("NumFromDate", [date]) => is_time(date),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the distance is one of months, or may be.
fn is_calendar(node: &Node) -> bool {
    let Op::Call(function, arguments) = &node.op else { return false };
    let of_months = match arguments.first().map(|interval| &interval.op) {
        Some(Op::Literal(Cell::Value(Value::Text(interval)))) => matches!(&**interval, "yyyy" | "q" | "m"),
        _ => true,
    };
    (function.name == "DateAdd" && of_months) || arguments.iter().any(is_calendar)
}

/// Whether the time is used otherwise than in comparisons with what does not depend on it.
pub(crate) fn is_free(node: &Node) -> bool {
    if let Op::Binary(operator, operands) = &node.op
        && is_order(*operator)
    {
        let [left, right] = &**operands;
        if (is_time(left) && !reads_clock(right)) || (is_time(right) && !reads_clock(left)) {
            return false;
        }
    }
    is_now(node) || children(node).into_iter().any(is_free)
}

pub(crate) fn is_order(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual)
}
