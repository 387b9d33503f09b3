//! Several values at once.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Body, Form, Function, Group, Parameter, Special, each, many, one, parameter, text};
use crate::cell::Data;
use crate::dn;
use crate::error::Fault;
use crate::function::text::fold_simply;
use crate::kinds::Kinds;
use crate::run::{Args, Run, fits};
use crate::value::Value;

const fn list(kinds: Kinds) -> Parameter {
    parameter("values", kinds, Form::List)
}

const fn single(name: &'static str, kinds: Kinds) -> Parameter {
    parameter(name, kinds, Form::One)
}

const ITEM: &[Parameter] = &[list(Kinds::ANY), single("number", Kinds::NUMBER)];
const COUNTED: &[Parameter] = &[parameter("attribute", Kinds::NONE, Form::AttributeName)];

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "Contains",
        group: Group::Several,
        parameters: &[
            list(Kinds::TEXT.or(Kinds::REFERENCE)),
            single("text", Kinds::TEXT.or(Kinds::REFERENCE)),
            parameter("compare", Kinds::TEXT, Form::Word(&["CaseSensitive", "CaseInsensitive"])).optional(),
        ],
        summary: "The place, from 1, of the first text that contains another, or of the first reference that equals a name; \
                  0 when there is none. Texts are compared with regard to case unless `CaseInsensitive` is given.",
        examples: &[
            ("Contains(Split(\"smtp:a,SMTP:b\", \",\"), \"SMTP:\")", "2"),
            ("Contains(Split(\"smtp:a,SMTP:b\", \",\"), \"zzz\")", "0"),
            ("Contains(Split(\"smtp:a,SMTP:b\", \",\"), \"SMTP:\", CaseInsensitive)", "1"),
            ("Contains(NULL, \"a\")", "0"),
        ],
        returns: one(Kinds::NUMBER),
        body: Body::List(contains),
    },
    Function {
        name: "Count",
        group: Group::Several,
        parameters: &[list(Kinds::ANY)],
        summary: "The number of values; 0 for null.",
        examples: &[("Count(Split(\"a,b\", \",\"))", "2"), ("Count([nothing])", "0")],
        returns: one(Kinds::NUMBER),
        body: Body::List(|_, list, _| Ok(Data::One((list.len() as i64).into()))),
    },
    Function {
        name: "ValueCount",
        group: Group::Several,
        parameters: COUNTED,
        summary: "The number of values of an attribute, by its quoted name, without reading them.",
        examples: &[("ValueCount(\"nothing\")", "0")],
        returns: one(Kinds::NUMBER),
        body: Body::Special(Special::Count),
    },
    Function {
        name: "Item",
        group: Group::Several,
        parameters: ITEM,
        summary: "The value at a place, from 1. A place without value is an error.",
        examples: &[
            ("Item(Split(\"a,b\", \",\"), 2)", "\"b\""),
            ("Item(Split(\"a\", \",\"), 2)", "error: has 1 value"),
        ],
        returns: one(Kinds::ANY).as_first(),
        body: Body::List(|_, list, args| {
            let count = list.len();
            let number = args.0.first().cloned();
            match item(list, args) {
                Some(value) => Ok(Data::One(crate::cell::Cell::Value(value))),
                None => {
                    let number = match number {
                        Some(crate::cell::Cell::Value(Value::Integer(number))) => number.to_string(),
                        _ => "null".to_owned(),
                    };
                    let has = if count == 1 { "has 1 value".to_owned() } else { format!("has {count} values") };
                    Err(Fault::value(format!("there is no item {number}: the attribute {has}")))
                }
            }
        }),
    },
    Function {
        name: "ItemOrNull",
        group: Group::Several,
        parameters: ITEM,
        summary: "The value at a place, from 1; null when there is none.",
        examples: &[("ItemOrNull(Split(\"a,b\", \",\"), 2)", "\"b\""), ("ItemOrNull(Split(\"a\", \",\"), 2)", "null")],
        returns: one(Kinds::ANY).as_first(),
        body: Body::List(|_, list, args| {
            Ok(item(list, args).map_or(Data::NULL, |value| Data::One(crate::cell::Cell::Value(value))))
        }),
    },
    Function {
        name: "Join",
        group: Group::Several,
        parameters: &[list(Kinds::TEXT), single("delimiter", Kinds::TEXT).optional()],
        summary: "All values in one text, with a delimiter between them: a blank unless another is given. Null when there are none.",
        examples: &[
            ("Join(Split(\"a,b\", \",\"), \",\")", "\"a,b\""),
            ("Join(Split(\"a,b\", \",\"))", "\"a b\""),
            ("Join(Split(\"a,b\", \",\"), \"\")", "\"ab\""),
        ],
        returns: one(Kinds::TEXT),
        body: Body::List(join),
    },
    Function {
        name: "Split",
        group: Group::Several,
        parameters: &[text("text"), single("delimiter", Kinds::TEXT), single("limit", Kinds::NUMBER).optional()],
        summary: "The parts of a text between delimiters of one character; empty parts count. With a limit there are at most \
                  so many values, the last one being the rest; a negative limit is none.",
        examples: &[
            ("Split(\"a,b\", \",\")", "[\"a\",\"b\"]"),
            ("Split(\"a,b,c\", \",\", 2)", "[\"a\",\"b,c\"]"),
            ("Split(\"a,,c\", \",\")", "[\"a\",\"\",\"c\"]"),
            ("Split(\"a\", \", \")", "error: one character"),
        ],
        returns: many(Kinds::TEXT),
        body: Body::List(split),
    },
    Function {
        name: "RemoveDuplicates",
        group: Group::Several,
        parameters: &[list(Kinds::ANY)],
        summary: "Each value once, in the order of their first occurrence. Texts that differ in case are not duplicates.",
        examples: &[("RemoveDuplicates(Split(\"a,b,a,A\", \",\"))", "[\"a\",\"b\",\"A\"]")],
        returns: many(Kinds::ANY).as_first(),
        body: Body::List(|_, mut list, _| {
            let mut seen = HashSet::new();
            list.retain(|value| seen.insert(identity(value)));
            Ok(Data::from_list(list))
        }),
    },
    Function {
        name: "Select",
        group: Group::Several,
        parameters: &[
            parameter("$item", Kinds::NONE, Form::Variable),
            parameter("values", Kinds::ANY, Form::Whole),
            parameter("result", Kinds::ANY, Form::Each),
        ],
        summary: "The results of an expression for each value, which stands in it as the variable. Null results are left out.",
        examples: &[
            ("Select($item, Split(\"a,b\", \",\"), UCase($item) & \"!\")", "[\"A!\",\"B!\"]"),
            ("Select($item, Split(\"a,b\", \",\"), IIF($item = \"a\", NULL, $item))", "[\"b\"]"),
        ],
        returns: many(Kinds::ANY),
        body: Body::Special(Special::Select),
    },
    Function {
        name: "Where",
        group: Group::Several,
        parameters: &[
            parameter("$item", Kinds::NONE, Form::Variable),
            parameter("values", Kinds::ANY, Form::Whole),
            parameter("condition", Kinds::CONDITION, Form::One),
        ],
        summary: "The values for which a condition holds, in which they stand as the variable.",
        examples: &[("Where($item, Split(\"a,bb\", \",\"), Len($item) > 1)", "[\"bb\"]")],
        returns: many(Kinds::ANY),
        body: Body::Special(Special::Where),
    },
    Function {
        name: "ImportedValue",
        group: Group::Several,
        parameters: COUNTED,
        summary: "What the last import showed of an attribute, by its quoted name, while `[attribute]` also tells exports that \
                  are not confirmed yet. Null when it showed nothing.",
        examples: &[("ImportedValue(\"nothing\")", "null")],
        returns: each(Kinds::STORABLE),
        body: Body::Special(Special::Imported),
    },
];

fn contains<'a>(_: &mut Run<'a>, list: Vec<Value<'a>>, mut args: Args<'_, 'a>) -> Result<Data<'a>, Fault> {
    if args.is_null(0) {
        return Ok(Data::One(0.into()));
    }
    let (wanted, compare) = (args.text(0), args.text(1));
    let folded = (compare == "CaseInsensitive").then(|| fold_simply(&wanted));
    let name = dn::key(&wanted);
    let place = list.iter().position(|value| match (value, &folded) {
        (Value::Reference(dn), _) => dn::key(dn) == name,
        (Value::Text(text), Some(wanted)) => fold_simply(text).contains(&**wanted),
        (Value::Text(text), None) => text.contains(&*wanted),
        _ => false,
    });
    Ok(Data::One((place.map_or(0, |place| place as i64 + 1)).into()))
}

fn item<'a>(mut list: Vec<Value<'a>>, mut args: Args<'_, 'a>) -> Option<Value<'a>> {
    let place = usize::try_from(args.number(0)?).ok()?.checked_sub(1)?;
    (place < list.len()).then(|| list.swap_remove(place))
}

fn join<'a>(_: &mut Run<'a>, list: Vec<Value<'a>>, mut args: Args<'_, 'a>) -> Result<Data<'a>, Fault> {
    if list.is_empty() {
        return Ok(Data::NULL);
    }
    let delimiter = if args.is_null(0) { Cow::Borrowed(" ") } else { args.text(0) };
    let mut joined = String::new();
    for (i, value) in list.iter().enumerate() {
        if let Value::Text(text) = value {
            fits(joined.len() + delimiter.len() + text.len())?;
            if i > 0 {
                joined.push_str(&delimiter);
            }
            joined.push_str(text);
        }
    }
    Ok(Data::text(joined))
}

fn split<'a>(_: &mut Run<'a>, mut list: Vec<Value<'a>>, mut args: Args<'_, 'a>) -> Result<Data<'a>, Fault> {
    let delimiter = args.text(0);
    let mut marks = delimiter.chars();
    let (Some(mark), None) = (marks.next(), marks.next()) else {
        return Err(Fault::value("the delimiter of `Split` must be one character"));
    };
    let limit = args.number(1).filter(|limit| *limit >= 0).map_or(usize::MAX, |limit| limit as usize);
    match (list.pop(), list.is_empty()) {
        (None, _) => Ok(Data::NULL),
        (Some(Value::Text(Cow::Borrowed(text))), true) => {
            Ok(Data::from_list(text.splitn(limit, mark).map(Value::from).collect()))
        }
        (Some(Value::Text(Cow::Owned(text))), true) => {
            Ok(Data::from_list(text.splitn(limit, mark).map(|part| Value::from(part.to_owned())).collect()))
        }
        (Some(_), _) => Err(Fault::value("`Split` takes one text apart, not several")),
    }
}

/// What tells a value from others: its kind and its bytes.
fn identity(value: &Value<'_>) -> (u8, Vec<u8>) {
    match value {
        Value::Text(text) => (0, text.as_bytes().to_vec()),
        Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
        Value::Boolean(truth) => (2, vec![u8::from(*truth)]),
        Value::Binary(bytes) => (3, bytes.to_vec()),
        Value::Reference(name) => (4, dn::key(name).into_bytes()),
        Value::Date(date) => {
            (5, [date.timestamp().to_be_bytes(), i64::from(date.timestamp_subsec_nanos()).to_be_bytes()].concat())
        }
    }
}
