//! Tests of values.

use super::certificate::is_certificate;
use super::convert::{parse_guid, to_number};
use super::date::parse_date;
use super::{Body, Form, Function, Group, Parameter, each, one, parameter};
use crate::cell::{Cell, Data};
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::Args;
use crate::value::Value;

const WHOLE: &[Parameter] = &[parameter("value", Kinds::ANY, Form::Whole)];
const EACH: &[Parameter] = &[parameter("value", Kinds::ANY, Form::Each)];

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "IsNull",
        group: Group::Test,
        parameters: WHOLE,
        summary: "Whether an attribute is absent, or an expression null. The empty text is not null.",
        examples: &[("IsNull(NULL)", "true"), ("IsNull(\"\")", "false"), ("IsNull([nothing])", "true")],
        returns: one(Kinds::BOOLEAN),
        body: Body::List(|_, list, _| answer(list.is_empty())),
    },
    Function {
        name: "IsEmpty",
        group: Group::Test,
        parameters: WHOLE,
        summary: "Whether there is a value, and it is the empty text or binary.",
        examples: &[("IsEmpty(\"\")", "true"), ("IsEmpty(NULL)", "false"), ("IsEmpty(\"a\")", "false")],
        returns: one(Kinds::BOOLEAN),
        body: Body::List(|_, list, _| answer(!list.is_empty() && all_empty(&list))),
    },
    Function {
        name: "IsNullOrEmpty",
        group: Group::Test,
        parameters: WHOLE,
        summary: "Whether there is no value, or only empty ones.",
        examples: &[("IsNullOrEmpty(\"\")", "true"), ("IsNullOrEmpty(NULL)", "true"), ("IsNullOrEmpty(0)", "false")],
        returns: one(Kinds::BOOLEAN),
        body: Body::List(|_, list, _| answer(all_empty(&list))),
    },
    Function {
        name: "IsPresent",
        group: Group::Test,
        parameters: WHOLE,
        summary: "Whether there is a value that is not empty: the contrary of `IsNullOrEmpty`.",
        examples: &[("IsPresent(\"a\")", "true"), ("IsPresent(\"\")", "false"), ("IsPresent([nothing])", "false")],
        returns: one(Kinds::BOOLEAN),
        body: Body::List(|_, list, _| answer(!all_empty(&list))),
    },
    Function {
        name: "IsString",
        group: Group::Test,
        parameters: EACH,
        summary: "Whether `CStr` makes a text of it. Null is none.",
        examples: &[("IsString(\"a\")", "true"), ("IsString(CBin(1, 1))", "false"), ("IsString(NULL)", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, args| {
            test(args, |value| match value {
                Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Reference(_) => true,
                Value::Binary(_) | Value::Date(_) => false,
            })
        }),
    },
    Function {
        name: "IsNumeric",
        group: Group::Test,
        parameters: EACH,
        summary: "Whether `CNum` makes a number of it. Null is none.",
        examples: &[("IsNumeric(\"42\")", "true"), ("IsNumeric(\"4.2\")", "false"), ("IsNumeric(NULL)", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, args| test(args, |value| to_number(value).is_ok())),
    },
    Function {
        name: "IsDate",
        group: Group::Test,
        parameters: EACH,
        summary: "Whether `CDate` makes a date of it, or it is one. Null is none.",
        examples: &[("IsDate(\"2013-01-10\")", "true"), ("IsDate(\"2013-13-01\")", "false"), ("IsDate(Now())", "true")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, args| {
            test(args, |value| match value {
                Value::Text(text) => parse_date(text).is_some(),
                Value::Date(_) => true,
                Value::Integer(_) | Value::Boolean(_) | Value::Binary(_) | Value::Reference(_) => false,
            })
        }),
    },
    Function {
        name: "IsGuid",
        group: Group::Test,
        parameters: &[parameter("text", Kinds::TEXT, Form::Each)],
        summary: "Whether `CGuid` makes a GUID of the text. Null is none.",
        examples: &[("IsGuid(\"{00112233-4455-6677-8899-aabbccddeeff}\")", "true"), ("IsGuid(\"00112233\")", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, args| {
            test(args, |value| matches!(value, Value::Text(text) if parse_guid(text).is_some()))
        }),
    },
    Function {
        name: "IsCert",
        group: Group::Test,
        parameters: &[parameter("certificate", Kinds::BINARY.or(Kinds::TEXT), Form::Each)],
        summary: "Whether it is an X.509 certificate: DER, or base64 of it. Null is none.",
        examples: &[("IsCert(CBin(1, 1))", "false"), ("IsCert(NULL)", "false")],
        returns: each(Kinds::BOOLEAN),
        body: Body::EachOrNull(|_, args| test(args, is_certificate)),
    },
];

fn answer<'a>(truth: bool) -> Result<Data<'a>, Fault> {
    Ok(Data::One(truth.into()))
}

fn all_empty(list: &[Value<'_>]) -> bool {
    list.iter().all(|value| match value {
        Value::Text(text) => text.is_empty(),
        Value::Binary(bytes) => bytes.is_empty(),
        Value::Reference(_) | Value::Integer(_) | Value::Boolean(_) | Value::Date(_) => false,
    })
}

fn test<'a>(mut args: Args<'_, 'a>, holds: impl Fn(&Value<'_>) -> bool) -> Result<Cell<'a>, Fault> {
    Ok(args.value(0).is_some_and(|value| holds(&value)).into())
}
