use super::*;
use crate::sync::attribute::{Attributes, Value};

fn source(text: &str) -> RuleSource {
    RuleSource { file: "people.toml".to_owned(), text: text.to_owned() }
}

const USER: &str = r#"
[[rule]]
name = "In - User Join"
direction = "inbound"
connector_kind = "ldap"
space_type = "user"
metaverse_type = "user"
link = "provision"
precedence = 100
join = [[{ space = "entryUUID", metaverse = "sourceAnchor", case_sensitive = true }]]
"#;

#[test]
fn faults_are_told_with_file_and_line_and_all_at_once() {
    let text = format!(
        "{USER}\nscope = [[{{ attribute = \"uid\", operator = \"EQUAL\" }}]]\n\n[[rule.flow]]\ntarget = \"mail\"\ndirect = \"mail\"\nconstant = \"x\"\n"
    );
    let faults = parse(&[source(&text)]).expect_err("two faults");
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "people.toml:12: this operator needs a `value`",
            "people.toml:14: a flow has exactly one of direct, constant, account_enabled, source_anchor, reference",
        ]
    );
}

#[test]
fn unknown_keys_and_broken_syntax_are_refused_where_they_stand() {
    let faults = parse(&[source(&format!("{USER}colour = \"red\"\n"))]).expect_err("an unknown key");
    assert_eq!(faults[0].line, 11);
    assert!(faults[0].message.contains("colour"), "{}", faults[0].message);
    let faults = parse(&[source("[[rule]\n")]).expect_err("broken syntax");
    assert_eq!(faults[0].line, 1);
}

#[test]
fn names_and_precedences_are_unique_over_all_files() {
    let other = RuleSource { file: "more.toml".to_owned(), text: USER.to_owned() };
    let faults = parse(&[source(USER), other]).expect_err("twice the same");
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "more.toml:3: rule `In - User Join` is also in people.toml: names are unique",
            "more.toml:9: precedence 100 is taken by rule `In - User Join`: each rule has its own",
        ]
    );
}

#[test]
fn absent_attributes_fail_positive_tests_and_pass_their_negations() {
    let absent: &[Value] = &[];
    let one = [Value::text("Sales")];
    let flags = [Value::text("514")];
    for (operator, value, values, expected) in [
        (Operator::Equal, "sales", &one[..], true),
        (Operator::Equal, "sales", absent, false),
        (Operator::NotEqual, "sales", absent, true),
        (Operator::NotEqual, "sales", &one[..], false),
        (Operator::StartsWith, "SA", &one[..], true),
        (Operator::StartsWith, "SA", absent, false),
        (Operator::NotStartsWith, "SA", absent, true),
        (Operator::EndsWith, "les", &one[..], true),
        (Operator::NotEndsWith, "les", &one[..], false),
        (Operator::Contains, "ALE", &one[..], true),
        (Operator::NotContains, "x", absent, true),
        (Operator::IsNull, "", absent, true),
        (Operator::IsNull, "", &one[..], false),
        (Operator::IsNotNull, "", &one[..], true),
        (Operator::IsNotNull, "", absent, false),
        (Operator::IsIn, "sales", &one[..], true),
        (Operator::IsNotIn, "sales", absent, true),
        (Operator::IsBitSet, "2", &flags[..], true),
        (Operator::IsBitSet, "1", &flags[..], false),
        (Operator::IsBitSet, "2", absent, false),
        (Operator::IsNotBitSet, "2", absent, true),
    ] {
        let scope = Scope { groups: vec![vec![Clause { attribute: "a".into(), operator, value: value.to_owned() }]] };
        assert_eq!(scope.admits(|_| values), expected, "{operator:?} {value:?} on {values:?}");
    }
}

#[test]
fn groups_are_alternatives_and_clauses_are_all_required() {
    let clause =
        |name: &str, value: &str| Clause { attribute: name.into(), operator: Operator::Equal, value: value.to_owned() };
    let scope = Scope { groups: vec![vec![clause("a", "1"), clause("b", "1")], vec![clause("c", "1")]] };
    let (yes, no) = ([Value::text("1")], [Value::text("0")]);
    let admits = |a: bool, b: bool, c: bool| {
        scope.admits(|name| {
            let on = match name.as_str() {
                "a" => a,
                "b" => b,
                _ => c,
            };
            if on { &yes } else { &no }
        })
    };
    assert!(admits(true, true, false) && admits(false, false, true));
    assert!(!admits(true, false, false));
    assert!(Scope::default().admits(|_| &[]));
}

#[test]
fn a_source_anchor_is_held_to_the_published_rules() {
    let flow = |encoding| Flow {
        target: "sourceAnchor".into(),
        kind: FlowKind::SourceAnchor { source: "id".into(), encoding },
    };
    let with = |values: Vec<Value>| Attributes::from([("id".into(), values)]);
    let text = flow(AnchorEncoding::Text);
    assert_eq!(text.evaluate(&with(vec![Value::text("abc-1")]), &[]), Ok(vec![Value::text("abc-1")]));
    assert_eq!(text.evaluate(&Attributes::new(), &[]), Ok(Vec::new()));
    assert!(matches!(text.evaluate(&with(vec![Value::text("a@b")]), &[]), Err(FlowError::Anchor { .. })));
    let two = with(vec![Value::text("a"), Value::text("b")]);
    assert!(matches!(text.evaluate(&two, &[]), Err(FlowError::SeveralValues { count: 2, .. })));
    let binary = flow(AnchorEncoding::Binary).evaluate(&with(vec![Value::binary(&[0xff; 16])]), &[]);
    assert_eq!(binary, Ok(vec![Value::text("/////////////////////w==")]));
}

#[test]
fn disabled_is_what_the_connectors_tests_say() {
    use crate::sync::connector::DisabledTest;
    let flow = Flow { target: "accountEnabled".into(), kind: FlowKind::AccountEnabled };
    for (attribute, value, enabled) in [
        ("pwdAccountLockedTime", "000001010000Z", false),
        ("pwdAccountLockedTime", "20260101000000Z", true),
        ("nsAccountLock", "true", false),
        ("nsAccountLock", "FALSE", true),
        ("userAccountControl", "514", false),
        ("userAccountControl", "512", true),
        ("uid", "ada", true),
    ] {
        let attributes = Attributes::from([(attribute.into(), vec![Value::text(value)])]);
        let result = flow.evaluate(&attributes, &DisabledTest::defaults());
        assert_eq!(result, Ok(vec![Value::boolean(enabled)]), "{attribute}={value}");
    }
}
