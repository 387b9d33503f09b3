//! Names, forms and types, before the first evaluation.

use std::collections::BTreeSet;

use crate::ast::{Ast, AstKind};
use crate::cell::Cell;
use crate::clock;
use crate::error::{ErrorKind, Fault};
use crate::function::{self, Body, Form, Function, Parameter, Shape, Special};
use crate::kinds::Kinds;
use crate::limits;
use crate::near::nearest;
use crate::node::{Node, Op};
use crate::operator::Operator;
use crate::value::Value;

/// What is known of a node's values beforehand.
#[derive(Clone, Copy, Debug)]
struct Type {
    kinds: Kinds,
    shape: Shape,
}

/// Where a node stands: `IgnoreThisFlow` and `AuthoritativeNull` are results, not arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Result,
    Argument,
}

type Checked = Result<(Node, Type), Fault>;

/// A checked expression.
pub(crate) struct Program {
    pub root: Node,
    pub attributes: Vec<Box<str>>,
    pub parameters: BTreeSet<Box<str>>,
    /// Attributes, by index, whose values it reads.
    pub read: BTreeSet<usize>,
    /// Attributes, by index, that `Select` or `Where` goes through value by value.
    pub swept: BTreeSet<usize>,
    pub variables: usize,
    pub random: bool,
    /// It asks for the time.
    pub timed: bool,
}

pub(crate) fn check(ast: &Ast) -> Result<Program, Fault> {
    let mut checker = Checker::default();
    let (root, result) = checker.node(ast, Place::Result)?;
    if result.kinds == Kinds::DATE {
        return Err(date_result().at(root.at));
    }
    let Checker { attributes, parameters, read, swept, most, random, .. } = checker;
    let timed = clock::reads_clock(&root);
    Ok(Program { root, attributes, parameters, read, swept, variables: most, random, timed })
}

pub(crate) fn date_result() -> Fault {
    Fault::new(ErrorKind::Type, "a date cannot be the result: `FormatDateTime` or `NumFromDate` make a value of it")
}

#[derive(Default)]
struct Checker {
    attributes: Vec<Box<str>>,
    parameters: BTreeSet<Box<str>>,
    read: BTreeSet<usize>,
    swept: BTreeSet<usize>,
    sweeping: bool,
    scope: Vec<(String, Type)>,
    most: usize,
    random: bool,
}

impl Checker {
    fn node(&mut self, ast: &Ast, place: Place) -> Checked {
        let at = ast.at.0;
        let one = |kinds| Type { kinds, shape: Shape::One };
        let (op, of) = match &ast.kind {
            AstKind::Text(text) => (Op::Literal(Value::from(text.clone()).into()), one(Kinds::TEXT)),
            AstKind::LineBreak => (Op::Literal("\r\n".into()), one(Kinds::TEXT)),
            AstKind::Number(number) => (Op::Literal((*number).into()), one(Kinds::NUMBER)),
            AstKind::Boolean(truth) => (Op::Literal((*truth).into()), one(Kinds::BOOLEAN)),
            AstKind::Null => (Op::Literal(Cell::Null), one(Kinds::NONE)),
            AstKind::Ignore | AstKind::Authoritative if place == Place::Argument => {
                let cause = format!("`{ast}` is a result of the whole flow: it cannot be an argument");
                return Err(Fault::new(ErrorKind::Form, cause).at(at));
            }
            AstKind::Ignore => (Op::Ignore, one(Kinds::NONE)),
            AstKind::Authoritative => (Op::Authoritative, one(Kinds::NONE)),
            AstKind::Attribute(name) => {
                let index = self.attribute(name);
                self.read.insert(index);
                (Op::Attribute(index), Type { kinds: Kinds::STORABLE, shape: Shape::Either })
            }
            AstKind::Parameter(name) => {
                self.parameters.insert(name.as_str().into());
                (Op::Parameter(name.as_str().into()), one(Kinds::STORABLE))
            }
            AstKind::Variable(name) => {
                let slot = self.scope.iter().rposition(|(known, _)| known == name).ok_or_else(|| {
                    let cause = format!("there is no variable `${name}` here: `Select`, `Where` and `With` name one");
                    Fault::new(ErrorKind::Name, cause).at(at)
                })?;
                (Op::Variable(slot), self.scope[slot].1)
            }
            AstKind::Word(word) => return Err(unknown_word(word).at(at)),
            AstKind::Call(name, arguments) => return self.call(at, name, arguments, place),
            AstKind::Negate(operand) => {
                let (node, of) = self.node(operand, Place::Argument)?;
                expect(&of, Kinds::NUMBER, || "the operand of `-`".to_owned()).map_err(|f| f.at(node.at))?;
                (Op::Negate(Box::new(node)), Type { kinds: Kinds::NUMBER, shape: of.shape })
            }
            AstKind::Binary(operator, left, right) => {
                let (left, left_type) = self.node(left, Place::Argument)?;
                let (right, right_type) = self.node(right, Place::Argument)?;
                let kinds = binary(*operator, (left.at, left_type), (right.at, right_type)).map_err(|f| f.at(at))?;
                let shape = join_shapes([left_type.shape, right_type.shape]);
                (Op::Binary(*operator, Box::new([left, right])), Type { kinds, shape })
            }
        };
        Ok((Node { at, op }, of))
    }

    fn attribute(&mut self, name: &str) -> usize {
        let index = self.attributes.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.attributes.push(name.into());
            self.attributes.len() - 1
        });
        if self.sweeping {
            self.swept.insert(index);
        }
        index
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Ast], place: Place) -> Checked {
        let function = function::by_name(name).ok_or_else(|| unknown_function(name).at(at))?;
        count_arguments(function, arguments.len()).map_err(|fault| fault.at(at))?;
        self.random |= function.is_random();
        if let Body::Special(special) = function.body {
            return self.special(at, function, special, arguments, place);
        }
        let (mut nodes, mut shapes, mut first) = (Vec::new(), Vec::new(), None);
        for (i, (argument, parameter)) in arguments.iter().zip(function.parameters).enumerate() {
            let (node, of) = self.argument(function, i, argument, parameter)?;
            first.get_or_insert(of.kinds);
            shapes.push(of.shape);
            nodes.push(node);
        }
        let returns = function.returns;
        let kinds = match first {
            Some(first) if returns.as_first => first.and(returns.kinds),
            _ => returns.kinds,
        };
        let shape = if returns.shape == Shape::Either { join_shapes(shapes) } else { returns.shape };
        Ok((Node { at, op: Op::Call(function, nodes.into()) }, Type { kinds, shape }))
    }

    fn argument(&mut self, function: &Function, i: usize, argument: &Ast, parameter: &Parameter) -> Checked {
        if let Form::Word(words) | Form::QuotedWord(words) = parameter.form {
            return option(function, i, argument, parameter, words);
        }
        let (node, of) = self.node(argument, Place::Argument)?;
        let fault = |fault: Fault| fault.at(node.at);
        expect(&of, parameter.kinds, || argument_name(function, i, parameter)).map_err(fault)?;
        match (parameter.form, of.shape) {
            (Form::List, Shape::One) if !of.kinds.is_none() => {
                let what = argument_name(function, i, parameter);
                let cause = format!("{what} must be something that may have several values");
                Err(fault(Fault::new(ErrorKind::Type, cause)))
            }
            (Form::One, Shape::Many) => {
                let cause = format!("{} must be one value", argument_name(function, i, parameter));
                Err(fault(Fault::new(ErrorKind::Type, cause)))
            }
            _ => Ok((node, of)),
        }
    }

    fn special(
        &mut self,
        at: usize,
        function: &Function,
        special: Special,
        arguments: &[Ast],
        place: Place,
    ) -> Checked {
        let condition = |checker: &mut Self, i: usize| {
            let (node, of) = checker.node(&arguments[i], Place::Argument)?;
            expect(&of, Kinds::CONDITION, || format!("argument {} of `{}`, a condition,", i + 1, function.name))
                .map_err(|fault| fault.at(node.at))?;
            Ok::<_, Fault>((node, of))
        };
        let (op, of) = match special {
            Special::If => {
                let (test, test_type) = condition(self, 0)?;
                let (then, then_type) = self.node(&arguments[1], place)?;
                let (other, other_type) = self.node(&arguments[2], place)?;
                let shape = choice_shape(test_type.shape, [then_type.shape, other_type.shape]);
                let of = Type { kinds: then_type.kinds | other_type.kinds, shape };
                (Op::If(Box::new([test, then, other])), of)
            }
            Special::Switch => {
                let (mut arms, mut kinds, mut conditions, mut values) =
                    (Vec::new(), Kinds::NONE, Vec::new(), Vec::new());
                for i in (0..arguments.len()).step_by(2) {
                    let (test, test_type) = condition(self, i)?;
                    let (value, value_type) = self.node(&arguments[i + 1], place)?;
                    kinds = kinds | value_type.kinds;
                    conditions.push(test_type.shape);
                    values.push(value_type.shape);
                    arms.push((test, value));
                }
                let shape = choice_shape(join_shapes(conditions), values);
                (Op::Switch(arms.into()), Type { kinds, shape })
            }
            Special::With => {
                let name = variable(function, &arguments[0])?;
                let (value, value_type) = self.node(&arguments[1], Place::Argument)?;
                let slot = self.enter(at, name, value_type)?;
                let (body, of) = self.node(&arguments[2], place)?;
                self.scope.pop();
                (Op::Let { slot, value: Box::new(value), body: Box::new(body) }, of)
            }
            Special::Select | Special::Where => {
                let name = variable(function, &arguments[0])?;
                let outer = std::mem::replace(&mut self.sweeping, true);
                let list = self.node(&arguments[1], Place::Argument);
                self.sweeping = outer;
                let (list, list_type) = list?;
                let item = Type { kinds: list_type.kinds, shape: Shape::One };
                let slot = self.enter(at, name, item)?;
                let list = Box::new(list);
                let checked = if special == Special::Select {
                    let (body, of) = self.node(&arguments[2], Place::Argument)?;
                    let of = Type { kinds: of.kinds, shape: Shape::Many };
                    (Op::Map { slot, list, body: Box::new(body) }, of)
                } else {
                    let (test, _) = condition(self, 2)?;
                    let of = Type { kinds: list_type.kinds, shape: Shape::Many };
                    (Op::Filter { slot, list, condition: Box::new(test) }, of)
                };
                self.scope.pop();
                checked
            }
            Special::Imported => {
                let index = self.attribute(attribute_name(function, &arguments[0])?);
                self.read.insert(index);
                (Op::Imported(index), Type { kinds: Kinds::STORABLE, shape: Shape::Either })
            }
            Special::Count => {
                let index = self.attribute(attribute_name(function, &arguments[0])?);
                (Op::Count(index), Type { kinds: Kinds::NUMBER, shape: Shape::One })
            }
            Special::Raise => {
                let (node, of) = self.node(&arguments[0], Place::Argument)?;
                expect(&of, Kinds::TEXT, || argument_name(function, 0, &function.parameters[0]))
                    .map_err(|fault| fault.at(node.at))?;
                (Op::Raise(Box::new(node)), Type { kinds: Kinds::NONE, shape: Shape::One })
            }
        };
        Ok((Node { at, op }, of))
    }

    fn enter(&mut self, at: usize, name: &str, of: Type) -> Result<usize, Fault> {
        let slot = self.scope.len();
        if slot >= limits::VARIABLES {
            let cause = format!("more than {} variables at once", limits::VARIABLES);
            return Err(Fault::new(ErrorKind::Limit, cause).at(at));
        }
        self.scope.push((name.to_owned(), of));
        self.most = self.most.max(slot + 1);
        Ok(slot)
    }
}

/// Refuses what can never be of the kinds expected.
fn expect(of: &Type, expected: Kinds, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if of.kinds.is_none() || of.kinds.overlaps(expected) { Ok(()) } else { Err(mismatch(&what(), expected, of.kinds)) }
}

pub(crate) fn mismatch(what: &str, expected: Kinds, found: Kinds) -> Fault {
    let hint = match found {
        Kinds::NUMBER | Kinds::BOOLEAN | Kinds::REFERENCE if expected.overlaps(Kinds::TEXT) => {
            ": `CStr` makes a string"
        }
        Kinds::DATE if expected.overlaps(Kinds::TEXT) => ": `FormatDateTime` makes a string",
        Kinds::DATE if expected.overlaps(Kinds::NUMBER) => ": `NumFromDate` makes a number",
        Kinds::BINARY if expected == Kinds::TEXT => ": `ConvertToBase64` makes a string",
        Kinds::TEXT if expected == Kinds::NUMBER => ": `CNum` makes a number",
        Kinds::TEXT if expected == Kinds::REFERENCE => ": `CRef` makes a reference",
        Kinds::TEXT if expected == Kinds::DATE => ": `CDate` makes a date",
        Kinds::TEXT if expected == Kinds::CONDITION => ": compare it with something, or use `CBool`",
        Kinds::NUMBER if expected == Kinds::DATE => ": `DateFromNum` makes a date",
        _ => "",
    };
    let expected = if expected == Kinds::CONDITION { "a boolean".to_owned() } else { expected.to_string() };
    Fault::new(ErrorKind::Type, format!("{what} must be {expected}, not {found}{hint}"))
}

pub(crate) fn argument_name(function: &Function, i: usize, parameter: &Parameter) -> String {
    format!("argument {} (`{}`) of `{}`", i + 1, parameter.name, function.name)
}

fn binary(operator: Operator, left: (usize, Type), right: (usize, Type)) -> Result<Kinds, Fault> {
    let both = |kinds: Kinds| {
        for (at, of) in [left, right] {
            expect(&of, kinds, || format!("an operand of `{operator}`")).map_err(|fault| fault.at(at))?;
        }
        Ok::<_, Fault>(())
    };
    let same = |what: &str| {
        let (a, b) = (left.1.kinds, right.1.kinds);
        if a.is_none() || b.is_none() || a.overlaps(b) {
            return Ok(());
        }
        Err(Fault::new(ErrorKind::Type, format!("`{operator}` cannot {what} {a} with {b}: convert one of them")))
    };
    match operator {
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
            both(Kinds::NUMBER)?;
            Ok(Kinds::NUMBER)
        }
        Operator::Concat => {
            both(Kinds::TEXT | Kinds::BINARY)?;
            same("join")?;
            Ok((left.1.kinds | right.1.kinds).and(Kinds::TEXT | Kinds::BINARY))
        }
        Operator::And | Operator::Or => {
            both(Kinds::CONDITION)?;
            Ok(Kinds::BOOLEAN)
        }
        Operator::Equal | Operator::NotEqual => same("compare").map(|()| Kinds::BOOLEAN),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            both(Kinds::TEXT | Kinds::NUMBER | Kinds::DATE)?;
            same("compare")?;
            Ok(Kinds::BOOLEAN)
        }
    }
}

fn join_shapes(shapes: impl IntoIterator<Item = Shape>) -> Shape {
    shapes.into_iter().fold(Shape::One, |joined, shape| match (joined, shape) {
        (Shape::Many, _) | (_, Shape::Many) => Shape::Many,
        (Shape::Either, _) | (_, Shape::Either) => Shape::Either,
        (Shape::One, Shape::One) => Shape::One,
    })
}

/// Which of several values is chosen is not known: it is one or many only when all are.
fn choice_shape(condition: Shape, values: impl IntoIterator<Item = Shape>) -> Shape {
    if condition != Shape::One {
        return condition;
    }
    let mut values = values.into_iter();
    let first = values.next().unwrap_or(Shape::One);
    values.fold(first, |chosen, shape| if chosen == shape { chosen } else { Shape::Either })
}

fn count_arguments(function: &Function, count: usize) -> Result<(), Fault> {
    let least = function.parameters.iter().filter(|parameter| parameter.required).count();
    let most = function.parameters.len();
    let fits = if function.body.repeats() {
        count >= least && count.is_multiple_of(most)
    } else {
        (least..=most).contains(&count)
    };
    if fits {
        return Ok(());
    }
    let expected = match (function.body.repeats(), least, most) {
        (true, ..) => "pairs of a condition and a value".to_owned(),
        (_, 0, 0) => "no argument".to_owned(),
        (_, 1, 1) => "1 argument".to_owned(),
        (_, least, most) if least == most => format!("{most} arguments"),
        (_, least, most) => format!("{least} to {most} arguments"),
    };
    let cause = format!("`{}` takes {expected}, not {count}: {}", function.name, function.signature());
    Err(Fault::new(ErrorKind::Form, cause))
}

fn option(
    function: &Function,
    i: usize,
    argument: &Ast,
    parameter: &Parameter,
    words: &'static [&'static str],
) -> Checked {
    let written = match &argument.kind {
        AstKind::Word(word) => Some(word),
        AstKind::Text(word) if matches!(parameter.form, Form::QuotedWord(_)) => Some(word),
        _ => None,
    };
    let Some(word) = written.and_then(|written| words.iter().find(|word| *word == written)) else {
        let cause = format!(
            "argument {} (`{}`) of `{}` must be one of the words {}",
            i + 1,
            parameter.name,
            function.name,
            words.join(", ")
        );
        return Err(Fault::new(ErrorKind::Name, cause).at(argument.at.0));
    };
    let of = Type { kinds: Kinds::TEXT, shape: Shape::One };
    Ok((Node { at: argument.at.0, op: Op::Literal((*word).into()) }, of))
}

fn variable<'t>(function: &Function, argument: &'t Ast) -> Result<&'t str, Fault> {
    match &argument.kind {
        AstKind::Variable(name) => Ok(name),
        _ => {
            let cause = format!("argument 1 of `{}` must be a variable, such as `$item`", function.name);
            Err(Fault::new(ErrorKind::Form, cause).at(argument.at.0))
        }
    }
}

fn attribute_name<'t>(function: &Function, argument: &'t Ast) -> Result<&'t str, Fault> {
    match &argument.kind {
        AstKind::Text(name) if !name.is_empty() => Ok(name),
        _ => {
            let cause = format!(
                "argument 1 of `{name}` must be the name of an attribute in quotes, as in `{name}(\"mail\")`",
                name = function.name
            );
            Err(Fault::new(ErrorKind::Form, cause).at(argument.at.0))
        }
    }
}

fn unknown_function(name: &str) -> Fault {
    let near = nearest(function::functions().map(|function| function.name), name);
    let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    Fault::new(ErrorKind::Name, format!("there is no function `{name}`{hint}"))
}

fn unknown_word(word: &str) -> Fault {
    const WORDS: [&str; 6] = ["NULL", "CRLF", "IgnoreThisFlow", "AuthoritativeNull", "True", "False"];
    let cause = match WORDS.iter().find(|known| known.eq_ignore_ascii_case(word)) {
        Some(known) => format!("`{word}` means nothing here: did you mean `{known}`?"),
        None if function::by_name(word).is_some() => format!("`{word}` is a function: its arguments stand in `( )`"),
        None => format!("`{word}` means nothing here: a text stands in quotes, an attribute in `[ ]`"),
    };
    Fault::new(ErrorKind::Name, cause)
}
