//! Nothing that is written, and nothing that an object holds, makes the language panic.

use proptest::prelude::*;
use sync_expr::{Expression, Fields, Flow, Value, Values, functions};

/// Pieces from which a random text is more often nearly an expression.
fn piece() -> impl Strategy<Value = String> {
    let names = functions().map(|function| function.name.to_owned()).collect::<Vec<_>>();
    prop_oneof![
        3 => prop::sample::select(names).prop_map(|name| format!("{name}(")),
        6 => prop::sample::select(vec![
            "[a]", "[many]", "[bin]", "[num]", "[dn]", "[when]", "[cert]", "%p%", "$x", "\"\"", "\"a\"", "\"cn=a,dc=b\"", "\"2020-01-01\"",
            "0", "1", "-1", "9223372036854775807", "&HFF", "True", "False", "NULL", "CRLF", "IgnoreThisFlow",
            "AuthoritativeNull", "CaseInsensitive", "vbTextCompare", "UTF8", "\"DC\"", "\"a:b,c:\"", "\"yyyy-MM-dd'\"",
        ]).prop_map(str::to_owned),
        4 => prop::sample::select(vec![",", ")", "(", " "]).prop_map(str::to_owned),
        3 => prop::sample::select(vec!["+", "-", "*", "/", "&", "=", "<>", "<", "<=", ">", ">=", "&&", "||"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,4}",
    ]
}

/// Well-formed calls of any function with any operands: what the parser lets through more often than not.
fn call() -> impl Strategy<Value = String> {
    let operand = prop::sample::select(vec![
        "[a]",
        "[many]",
        "[bin]",
        "[num]",
        "[dn]",
        "[cert]",
        "[nothing]",
        "%p%",
        "\"\"",
        "\"a\"",
        "\"ä\\t\"",
        "\"cn=a,dc=b\"",
        "\"a:b,c:\"",
        "\"2020-01-01 10:00 PM -8\"",
        "\"20200101000000Z\"",
        "0",
        "1",
        "-1",
        "5",
        "9223372036854775807",
        "-9223372036854775808",
        "True",
        "NULL",
        "CDate(\"2020-02-29\")",
        "DateFromNum([num])",
        "CRef(\"cn=a\\\\,b,dc=c\")",
        "vbTextCompare",
        "UTF8",
        "\"DC\"",
        "\"yyyy\"",
        "\"m\"",
        "CaseInsensitive",
    ])
    .prop_map(str::to_owned);
    operand.prop_recursive(4, 40, 4, |inner| {
        let names = functions().map(|function| (function.name, function.parameters.len())).collect::<Vec<_>>();
        prop_oneof![
            4 => (prop::sample::select(names), prop::collection::vec(inner.clone(), 4), 0usize..2).prop_map(
                |((name, count), arguments, fewer)| {
                    let count = count.saturating_sub(fewer).min(4);
                    format!("{name}({})", arguments[..count].join(", "))
                }
            ),
            1 => (inner.clone(), inner.clone()).prop_map(|(list, body)| format!("Select($x, {list}, {body} & $x)")),
            1 => (inner.clone(), inner.clone(), prop::sample::select(vec!["+", "*", "/", "&", "=", "<", "&&"]))
                .prop_map(|(a, b, op)| format!("({a} {op} {b})")),
        ]
    })
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        "\\PC{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Binary(bytes.into())),
        "\\PC{0,12}".prop_map(|dn| Value::Reference(dn.into())),
    ]
}

fn object() -> impl Strategy<Value = Fields> {
    let values = prop_oneof![
        1 => Just(Values::Absent),
        2 => value().prop_map(Values::One),
        2 => prop::collection::vec(value(), 0..5).prop_map(Values::Many),
    ];
    let names = ["a", "many", "bin", "num", "dn", "cert"];
    (prop::collection::vec(values, names.len()), value()).prop_map(move |(values, parameter)| {
        let mut fields = Fields::default();
        for (name, values) in names.into_iter().zip(values) {
            fields.set_values(name, values);
        }
        fields.set_parameter("p", parameter);
        fields
    })
}

/// Whatever comes out is whole: no date, and no list without values.
fn evaluate(text: &str, fields: &Fields) {
    let Ok(expression) = Expression::compile(text) else { return };
    match expression.evaluate(fields) {
        Ok(Flow::Value(Values::Many(values))) => {
            assert!(!values.is_empty(), "{text}");
            assert!(!values.iter().any(|value| matches!(value, Value::Date(_))), "{text}");
        }
        Ok(Flow::Value(value)) => assert!(!matches!(value, Values::Absent | Values::One(Value::Date(_))), "{text}"),
        Ok(Flow::Null | Flow::AuthoritativeNull | Flow::Ignore) => {}
        Err(error) => assert!(error.line > 0 && error.column > 0 && !error.cause.is_empty(), "{text}: {error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in "\\PC{0,60}", fields in object()) {
        evaluate(&text, &fields);
    }

    #[test]
    fn no_near_expression_panics(pieces in prop::collection::vec(piece(), 0..24), fields in object()) {
        evaluate(&pieces.concat(), &fields);
    }

    #[test]
    fn no_call_panics(text in call(), fields in object()) {
        evaluate(&text, &fields);
    }

    #[test]
    fn the_same_object_yields_the_same(text in call(), fields in object()) {
        if let Ok(expression) = Expression::compile(&text)
            && !expression.is_apply_once_only()
        {
            prop_assert_eq!(expression.evaluate(&fields), expression.evaluate(&fields));
        }
    }
}
