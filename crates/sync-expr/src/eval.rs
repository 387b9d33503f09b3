//! Evaluation of checked expressions.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::cell::{Cell, Data};
use crate::check::{argument_name, mismatch};
use crate::clock::is_order;
use crate::dn;
use crate::error::{ErrorKind, Fault};
use crate::function::{Body, Form, Function};
use crate::kinds::Kinds;
use crate::node::{Node, Op};
use crate::operator::Operator;
use crate::run::{Args, Run, common_length, fits};
use crate::value::Value;

type Evaluated<'a> = Result<Data<'a>, Fault>;

/// Constants that directories define; a parameter of the same name goes before them.
const CONSTANTS: [(&str, i64); 6] = [
    ("ADS_UF_ACCOUNTDISABLE", 0x2),
    ("ADS_GROUP_TYPE_GLOBAL_GROUP", 2),
    ("ADS_GROUP_TYPE_DOMAIN_LOCAL_GROUP", 4),
    ("ADS_GROUP_TYPE_LOCAL_GROUP", 4),
    ("ADS_GROUP_TYPE_UNIVERSAL_GROUP", 8),
    ("ADS_GROUP_TYPE_SECURITY_ENABLED", 0x8000_0000),
];

/// Whether the language itself gives the parameter a value.
pub(crate) fn is_constant(parameter: &str) -> bool {
    CONSTANTS.iter().any(|(name, _)| *name == parameter)
}

impl<'a> Run<'a> {
    pub fn evaluate(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.spend(0).map_err(|fault| fault.at(node.at))?;
        match &node.op {
            Op::Literal(cell) => Ok(Data::One(borrow(cell))),
            Op::Authoritative => Ok(Data::Authoritative),
            Op::Ignore => Ok(Data::Ignore),
            Op::Attribute(index) => {
                let values = self.context.attribute(*index, &self.attributes[*index]);
                self.spend(values.len() * 64).map_err(|fault| fault.at(node.at))?;
                Ok(values.into())
            }
            Op::Imported(index) => {
                let values = self.context.imported(*index, &self.attributes[*index]);
                self.spend(values.len() * 64).map_err(|fault| fault.at(node.at))?;
                Ok(values.into())
            }
            Op::Count(index) => {
                let count = self.context.count(*index, &self.attributes[*index]);
                Ok(Data::One(i64::try_from(count).unwrap_or(i64::MAX).into()))
            }
            Op::Parameter(name) => self.parameter(name).map_err(|fault| fault.at(node.at)),
            Op::Variable(slot) => {
                let data = self.variables[*slot].clone();
                for cell in data.cells() {
                    self.spend(0).and_then(|()| self.made(cell)).map_err(|fault| fault.at(node.at))?;
                }
                Ok(data)
            }
            Op::Call(function, arguments) => self.call(node.at, function, arguments),
            Op::Negate(operand) => {
                let mut operands = [self.evaluate(operand)?];
                self.side_by_side(node.at, &mut operands, &mut |_, cells| negate(&mut cells[0]))
            }
            Op::Binary(operator, operands) => {
                let mut data = [self.evaluate(&operands[0])?, self.evaluate(&operands[1])?];
                if let Some(watch) = self.watch.as_mut().filter(|_| is_order(*operator)) {
                    watch.compared(self.context.now(), operands, &data);
                }
                self.side_by_side(node.at, &mut data, &mut |_, cells| binary(*operator, cells))
            }
            Op::If(parts) => {
                let [test, then, other] = &**parts;
                match self.evaluate(test)? {
                    Data::One(cell) => {
                        let chosen = if truth(&cell).map_err(|fault| fault.at(test.at))? { then } else { other };
                        self.evaluate(chosen)
                    }
                    conditions => self.choose(node.at, vec![(test.at, conditions)], &[then], Some(other)),
                }
            }
            Op::Switch(arms) => self.switch(node.at, arms),
            Op::Let { slot, value, body } => {
                self.variables[*slot] = self.evaluate(value)?;
                self.evaluate(body)
            }
            Op::Map { slot, list, body } => {
                let mut results = Vec::new();
                for value in self.evaluate(list)?.into_list()? {
                    self.variables[*slot] = Data::One(Cell::Value(value));
                    results.extend(self.evaluate(body)?.into_list()?);
                }
                Ok(Data::from_list(results))
            }
            Op::Filter { slot, list, condition } => {
                let mut results = Vec::new();
                for value in self.evaluate(list)?.into_list()? {
                    self.variables[*slot] = Data::One(Cell::Value(value.clone()));
                    if self.condition(condition)? {
                        results.push(value);
                    }
                }
                Ok(Data::from_list(results))
            }
            Op::Raise(text) => {
                let mut values = self.evaluate(text)?.into_list()?;
                let text = match values.pop() {
                    Some(Value::Text(text)) => text.into_owned(),
                    _ => String::new(),
                };
                Err(Fault::new(ErrorKind::Raised, format!("sync-rule-error-function-triggered: {text}")).at(node.at))
            }
        }
    }

    fn parameter(&self, name: &'a str) -> Evaluated<'a> {
        if let Some(value) = self.context.parameter(name) {
            return Ok(Data::One(Cell::Value(value)));
        }
        match CONSTANTS.iter().find(|(known, _)| *known == name) {
            Some((_, number)) => Ok(Data::One((*number).into())),
            None => Err(Fault::new(ErrorKind::Name, format!("there is no parameter `%{name}%`"))),
        }
    }

    /// A condition that is one value.
    fn condition(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match self.evaluate(node)?.into_list()?.as_slice() {
            [] => Ok(false),
            [value] => truth(&Cell::Value(value.borrow())).map_err(|fault| fault.at(node.at)),
            several => {
                let cause = format!("the condition must be one value, not {}", several.len());
                Err(Fault::new(ErrorKind::Type, cause).at(node.at))
            }
        }
    }

    fn call(&mut self, at: usize, function: &'static Function, arguments: &'a [Node]) -> Evaluated<'a> {
        let mut data: [Data<'a>; 4] = std::array::from_fn(|_| Data::NULL);
        for (slot, argument) in data.iter_mut().zip(arguments) {
            *slot = self.evaluate(argument)?;
        }
        // A parameter that was left out is null.
        let data = &mut data[..function.parameters.len()];
        match function.body {
            Body::Each(body) | Body::EachOrNull(body) => {
                let sees_null = matches!(function.body, Body::EachOrNull(_));
                self.side_by_side(at, data, &mut |run, cells| {
                    for (i, cell) in cells.iter().enumerate() {
                        check_argument(function, i, cell, arguments)?;
                        if *cell == Cell::Null && function.parameters[i].required && !sees_null {
                            return Ok(Cell::Null);
                        }
                    }
                    body(run, Args(cells))
                })
            }
            Body::List(body) => {
                let mut data = data.iter_mut().map(std::mem::take);
                let list = data.next().unwrap_or_default().into_list()?;
                for value in &list {
                    self.spend(value.size()).map_err(|fault| fault.at(at))?;
                    check_kind(function, 0, value, arguments)?;
                }
                let mut cells: [Cell<'a>; 3] = std::array::from_fn(|_| Cell::Null);
                for (i, (cell, argument)) in cells.iter_mut().zip(data).enumerate() {
                    *cell =
                        single(argument).map_err(|fault| fault.at(arguments.get(i + 1).map_or(at, |node| node.at)))?;
                    check_argument(function, i + 1, cell, arguments)?;
                }
                let result = body(self, list, Args(&mut cells)).map_err(|fault| fault.at(at))?;
                for cell in result.cells() {
                    self.made(cell).map_err(|fault| fault.at(at))?;
                }
                Ok(result)
            }
            // The checker makes nodes of their own of these.
            Body::Special(_) => Ok(Data::NULL),
        }
    }

    fn switch(&mut self, at: usize, arms: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut conditions = Vec::with_capacity(arms.len());
        for (condition, _) in arms {
            conditions.push((condition.at, self.evaluate(condition)?));
        }
        if conditions.iter().any(|(_, condition)| matches!(condition, Data::Many(_))) {
            let values: Vec<&Node> = arms.iter().map(|(_, value)| value).collect();
            return self.choose(at, conditions, &values, None);
        }
        for ((at, condition), (_, value)) in conditions.iter().zip(arms) {
            if let Data::One(cell) = condition
                && truth(cell).map_err(|fault| fault.at(*at))?
            {
                return self.evaluate(value);
            }
        }
        Ok(Data::NULL)
    }

    /// Chooses for each of several conditions, side by side; evaluates only what is chosen somewhere.
    fn choose(
        &mut self,
        at: usize,
        conditions: Vec<(usize, Data<'a>)>,
        values: &[&'a Node],
        otherwise: Option<&'a Node>,
    ) -> Evaluated<'a> {
        let (places, conditions): (Vec<usize>, Vec<Data<'a>>) = conditions.into_iter().unzip();
        let count = common_length(&conditions).map_err(|fault| fault.at(at))?.unwrap_or(1);
        let mut chosen: Vec<Result<usize, Fault>> = Vec::with_capacity(count);
        for i in 0..count {
            self.spend(0).map_err(|fault| fault.at(at))?;
            let mut choice = Ok(values.len());
            for (arm, (condition, at)) in conditions.iter().zip(&places).enumerate() {
                match condition.cell(i).map_or(Ok(false), truth) {
                    Ok(false) => continue,
                    Ok(true) => choice = Ok(arm),
                    Err(fault) => choice = Err(fault.at(*at)),
                }
                break;
            }
            chosen.push(choice);
        }
        let nodes: Vec<Option<&'a Node>> = values.iter().copied().map(Some).chain([otherwise]).collect();
        let mut results: Vec<Data<'a>> = Vec::with_capacity(nodes.len());
        for (arm, node) in nodes.into_iter().enumerate() {
            let needed = chosen.contains(&Ok(arm));
            results.push(match node {
                Some(node) if needed => self.evaluate(node)?,
                _ => Data::NULL,
            });
        }
        self.gather(at, &chosen, results)
    }

    fn gather(&mut self, at: usize, chosen: &[Result<usize, Fault>], results: Vec<Data<'a>>) -> Evaluated<'a> {
        if let [Ok(first), rest @ ..] = chosen
            && matches!(results[*first], Data::Authoritative | Data::Ignore)
            && rest.iter().all(|choice| choice == &Ok(*first))
        {
            return Ok(results[*first].clone());
        }
        if chosen.iter().flatten().any(|arm| matches!(results[*arm], Data::Authoritative | Data::Ignore)) {
            let cause = "`AuthoritativeNull` and `IgnoreThisFlow` cannot stand for one of several values";
            return Err(Fault::new(ErrorKind::Form, cause).at(at));
        }
        let count = common_length(&results).map_err(|fault| fault.at(at))?.unwrap_or(1);
        if count > 1 && chosen.len() > 1 && count != chosen.len() {
            let cause = format!("{} conditions stand beside {count} values: there is no pairing them", chosen.len());
            return Err(Fault::value(cause).at(at));
        }
        let mut cells = Vec::new();
        for i in 0..count.max(chosen.len()) {
            let choice = if chosen.len() == 1 { &chosen[0] } else { &chosen[i] };
            let cell = match choice {
                Ok(arm) => results[*arm].cell(i).cloned().unwrap_or_default(),
                Err(fault) => Cell::Fault(Box::new(fault.clone())),
            };
            self.spend(0).and_then(|()| self.made(&cell)).map_err(|fault| fault.at(at))?;
            cells.push(cell);
        }
        Ok(Data::Many(cells))
    }
}

impl<'a> Data<'a> {
    fn cells(&self) -> &[Cell<'a>] {
        match self {
            Self::One(cell) => std::slice::from_ref(cell),
            Self::Many(cells) => cells,
            Self::Authoritative | Self::Ignore => &[],
        }
    }

    /// The value at a place; one value stands at every place.
    fn cell(&self, i: usize) -> Option<&Cell<'a>> {
        match self.cells() {
            [cell] => Some(cell),
            cells => cells.get(i),
        }
    }
}

fn borrow<'a>(cell: &'a Cell<'static>) -> Cell<'a> {
    match cell {
        Cell::Value(value) => Cell::Value(value.borrow()),
        Cell::Null | Cell::Fault(_) => Cell::Null,
    }
}

fn single<'a>(data: Data<'a>) -> Result<Cell<'a>, Fault> {
    let mut values = data.into_list()?;
    match values.len() {
        0 | 1 => Ok(values.pop().map_or(Cell::Null, Cell::Value)),
        count => Err(Fault::new(ErrorKind::Type, format!("one value is expected here, not {count}"))),
    }
}

fn check_argument(function: &Function, i: usize, cell: &Cell<'_>, arguments: &[Node]) -> Result<(), Fault> {
    match cell {
        Cell::Value(value) => check_kind(function, i, value, arguments),
        Cell::Null | Cell::Fault(_) => Ok(()),
    }
}

fn check_kind(function: &Function, i: usize, value: &Value<'_>, arguments: &[Node]) -> Result<(), Fault> {
    let Some(parameter) = function.parameters.get(i) else { return Ok(()) };
    let of = Kinds::of(value);
    if parameter.kinds.overlaps(of) || matches!(parameter.form, Form::Word(_) | Form::QuotedWord(_)) {
        return Ok(());
    }
    let fault = mismatch(&argument_name(function, i, parameter), parameter.kinds, of);
    Err(arguments.get(i).map_or(fault.clone(), |node| fault.at(node.at)))
}

/// Null is false, a number is true unless it is zero.
fn truth(cell: &Cell<'_>) -> Result<bool, Fault> {
    match cell {
        Cell::Null => Ok(false),
        Cell::Value(Value::Boolean(truth)) => Ok(*truth),
        Cell::Value(Value::Integer(number)) => Ok(*number != 0),
        Cell::Value(value) => Err(mismatch("a condition", Kinds::CONDITION, Kinds::of(value))),
        Cell::Fault(fault) => Err((**fault).clone()),
    }
}

fn negate<'a>(cell: &mut Cell<'a>) -> Result<Cell<'a>, Fault> {
    match cell {
        Cell::Null => Ok(Cell::Null),
        Cell::Value(Value::Integer(number)) => number.checked_neg().map(Cell::from).ok_or_else(overflow),
        Cell::Value(value) => Err(mismatch("the operand of `-`", Kinds::NUMBER, Kinds::of(value))),
        Cell::Fault(fault) => Err((**fault).clone()),
    }
}

fn overflow() -> Fault {
    Fault::value("the result does not fit into 64 bits")
}

fn binary<'a>(operator: Operator, cells: &mut [Cell<'a>]) -> Result<Cell<'a>, Fault> {
    let [left, right] = cells else { return Ok(Cell::Null) };
    match operator {
        Operator::And => Ok((truth(left)? & truth(right)?).into()),
        Operator::Or => Ok((truth(left)? | truth(right)?).into()),
        Operator::Concat => concat(std::mem::take(left), std::mem::take(right)),
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => arithmetic(operator, left, right),
        Operator::Equal => Ok(compare(operator, left, right)?.is_some_and(Ordering::is_eq).into()),
        Operator::NotEqual => Ok(compare(operator, left, right)?.is_none_or(Ordering::is_ne).into()),
        Operator::Less => Ok(order(operator, left, right)?.is_some_and(Ordering::is_lt).into()),
        Operator::LessOrEqual => Ok(order(operator, left, right)?.is_some_and(Ordering::is_le).into()),
        Operator::Greater => Ok(order(operator, left, right)?.is_some_and(Ordering::is_gt).into()),
        Operator::GreaterOrEqual => Ok(order(operator, left, right)?.is_some_and(Ordering::is_ge).into()),
    }
}

fn arithmetic<'a>(operator: Operator, left: &Cell<'a>, right: &Cell<'a>) -> Result<Cell<'a>, Fault> {
    let number = |cell: &Cell<'_>| match cell {
        Cell::Value(Value::Integer(number)) => Ok(Some(*number)),
        Cell::Value(value) => Err(mismatch(&format!("an operand of `{operator}`"), Kinds::NUMBER, Kinds::of(value))),
        Cell::Null | Cell::Fault(_) => Ok(None),
    };
    let (Some(left), Some(right)) = (number(left)?, number(right)?) else { return Ok(Cell::Null) };
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        _ if right == 0 => return Err(Fault::value("division by zero")),
        _ => left.checked_div(right),
    };
    result.map(Cell::from).ok_or_else(overflow)
}

fn concat<'a>(left: Cell<'a>, right: Cell<'a>) -> Result<Cell<'a>, Fault> {
    for cell in [&left, &right] {
        if let Cell::Value(value) = cell
            && !Kinds::of(value).overlaps(Kinds::TEXT | Kinds::BINARY)
        {
            return Err(mismatch("an operand of `&`", Kinds::TEXT, Kinds::of(value)));
        }
    }
    match (left, right) {
        (Cell::Null, other) | (other, Cell::Null) => Ok(other),
        (Cell::Value(Value::Text(left)), Cell::Value(Value::Text(right))) => {
            fits(left.len() + right.len())?;
            Ok(Cell::Value(Value::Text(left + right)))
        }
        (Cell::Value(Value::Binary(left)), Cell::Value(Value::Binary(right))) => {
            fits(left.len() + right.len())?;
            let mut bytes = left.into_owned();
            bytes.extend_from_slice(&right);
            Ok(Cell::Value(Value::Binary(Cow::Owned(bytes))))
        }
        (Cell::Value(left), Cell::Value(right)) => Err(incomparable("join", &Operator::Concat, &left, &right)),
        (Cell::Fault(fault), _) | (_, Cell::Fault(fault)) => Err(*fault),
    }
}

fn incomparable(what: &str, operator: &Operator, left: &Value<'_>, right: &Value<'_>) -> Fault {
    let (left, right) = (Kinds::of(left), Kinds::of(right));
    Fault::new(ErrorKind::Type, format!("`{operator}` cannot {what} {left} with {right}: convert one of them"))
}

/// `None` when exactly one side is null. Texts compare by code point, names of objects as directories do.
fn compare(operator: Operator, left: &Cell<'_>, right: &Cell<'_>) -> Result<Option<Ordering>, Fault> {
    let (left, right) = match (left, right) {
        (Cell::Value(left), Cell::Value(right)) => (left, right),
        (Cell::Null, Cell::Null) => return Ok(Some(Ordering::Equal)),
        _ => return Ok(None),
    };
    Ok(Some(match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::Binary(left), Value::Binary(right)) => left.cmp(right),
        (Value::Reference(left), Value::Reference(right)) => dn::key(left).cmp(&dn::key(right)),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (left, right) => return Err(incomparable("compare", &operator, left, right)),
    }))
}

/// Like [`compare`], of what has an order; a comparison with null is false.
fn order(operator: Operator, left: &Cell<'_>, right: &Cell<'_>) -> Result<Option<Ordering>, Fault> {
    for cell in [left, right] {
        if let Cell::Value(value) = cell
            && !Kinds::of(value).overlaps(Kinds::TEXT | Kinds::NUMBER | Kinds::DATE)
        {
            let kinds = Kinds::TEXT | Kinds::NUMBER | Kinds::DATE;
            return Err(mismatch(&format!("an operand of `{operator}`"), kinds, Kinds::of(value)));
        }
    }
    match (left, right) {
        (Cell::Value(_), Cell::Value(_)) => compare(operator, left, right),
        _ => Ok(None),
    }
}
