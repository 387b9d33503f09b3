use super::*;
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::DisabledTest;

fn flow(target: &str, kind: FlowKind) -> Flow {
    Flow { target: target.into(), kind, apply_once: false, merge: Merge::Update }
}

fn say(flow: &Flow, attributes: &Attributes) -> Result<Yield, FlowError> {
    let disabled = DisabledTest::defaults();
    let source = Source::Space { attributes, imported: attributes, rdn: "CN=Ada", disabled: &disabled };
    flow.evaluate(source, &Parameters::default(), &RunFacts::default())
}

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
            "people.toml:12:11: this operator needs a `value`",
            "people.toml:14:1: a flow has exactly one of direct, constant, expression, account_enabled, source_anchor, reference",
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
            "more.toml:3:8: rule `In - User Join` is also in people.toml: names are unique",
            "more.toml:9:14: precedence 100 is taken by rule `In - User Join`: each rule has its own",
        ]
    );
}

#[test]
fn absent_attributes_fail_positive_tests_and_pass_their_negations() {
    let absent: &[Value] = &[];
    let parameters = Parameters::from_iter([("Department".to_owned(), "sales".to_owned())]);
    let one = [Value::text("Sales")];
    let flags = [Value::text("514")];
    let two = [Value::text("9"), Value::text("Sales")];
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
        // Numbers compare as numbers, everything else as text.
        (Operator::LessThan, "1000", &flags[..], true),
        (Operator::LessThan, "514", &flags[..], false),
        (Operator::LessThanOrEqual, "514", &flags[..], true),
        (Operator::GreaterThan, "60", &flags[..], true),
        (Operator::GreaterThanOrEqual, "515", &flags[..], false),
        (Operator::LessThan, "1000", absent, false),
        (Operator::GreaterThan, "0", absent, false),
        (Operator::LessThan, "support", &one[..], true),
        (Operator::GreaterThan, "marketing", &one[..], true),
        (Operator::IsIn, "sales", &two[..], true),
        (Operator::IsNotIn, "sales", &two[..], false),
        (Operator::Equal, "%Department%", &one[..], true),
        (Operator::NotEqual, "%Department%", &one[..], false),
        (Operator::Equal, "%Unset%", &one[..], false),
        (Operator::NotEqual, "%Unset%", &one[..], true),
    ] {
        let scope = Scope { groups: vec![vec![Clause::new("a", operator, value)]] };
        assert_eq!(scope.admits(&parameters, |_| values), expected, "{operator:?} {value:?} on {values:?}");
    }
}

#[test]
fn groups_are_alternatives_and_clauses_are_all_required() {
    let clause = |name: &str, value: &str| Clause::new(name, Operator::Equal, value);
    let scope = Scope { groups: vec![vec![clause("a", "1"), clause("b", "1")], vec![clause("c", "1")]] };
    let (yes, no) = ([Value::text("1")], [Value::text("0")]);
    let admits = |a: bool, b: bool, c: bool| {
        scope.admits(&Parameters::default(), |name| {
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
    assert!(Scope::default().admits(&Parameters::default(), |_| &[]));
}

#[test]
fn a_source_anchor_is_held_to_the_published_rules() {
    let flow = |encoding| flow("sourceAnchor", FlowKind::SourceAnchor { source: "id".into(), encoding });
    let with = |values: Vec<Value>| Attributes::from([("id".into(), values)]);
    let text = flow(AnchorEncoding::Text);
    assert_eq!(say(&text, &with(vec![Value::text("abc-1")])), Ok(Yield::Values(vec![Value::text("abc-1")])));
    assert_eq!(say(&text, &Attributes::new()), Ok(Yield::Null));
    assert!(matches!(say(&text, &with(vec![Value::text("a@b")])), Err(FlowError::Anchor { .. })));
    let two = with(vec![Value::text("a"), Value::text("b")]);
    assert!(matches!(say(&text, &two), Err(FlowError::SeveralValues { count: 2, .. })));
    let binary = say(&flow(AnchorEncoding::Binary), &with(vec![Value::binary(&[0xff; 16])]));
    assert_eq!(binary, Ok(Yield::Values(vec![Value::text("/////////////////////w==")])));
}

#[test]
fn disabled_is_what_the_connectors_tests_say() {
    let flow = flow("accountEnabled", FlowKind::AccountEnabled);
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
        let expected = Ok(Yield::Values(vec![Value::boolean(enabled)]));
        assert_eq!(say(&flow, &attributes), expected, "{attribute}={value}");
    }
}

/// The faults of one rule with these lines in it.
fn faults(lines: &str) -> Vec<String> {
    let text = format!("{USER}{lines}");
    let faults = parse(&[source(&text)]).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn faults_of_expressions_are_told_at_their_place_in_the_file() {
    for (flow, expected) in [
        (
            "target = \"cn\"\nexpression = 'Left([cn], \"5\")'",
            "people.toml:14:26: argument 2 (`count`) of `Left` must be a number, not a string: `CNum` makes a number",
        ),
        (
            "target = \"cn\"\nexpression = \"Left(\\\"a\\\", x)\"",
            "people.toml:14:27: `x` means nothing here: a text stands in quotes, an attribute in `[ ]`",
        ),
        (
            "target = \"cn\"\nexpression = '''\nIIF([a] = \"x\",\n  Lefft([b], 1), NULL)'''",
            "people.toml:16:3: there is no function `Lefft`: did you mean `Left`?",
        ),
        (
            "target = \"id\"\nexpression = 'Guid()'",
            "people.toml:14:14: `Guid` and `RandomNum` would change with every run: the flow needs apply_once = true",
        ),
        (
            "target = \"cn\"\nexpression = '[uid] & %Suffix%'",
            "people.toml:14:14: there is no parameter `%Suffix%`: set it under [parameters], or use one of Connector.ID, \
             Domain.FQDN, Domain.LDAP, Domain.Netbios, Forest.FQDN, Forest.LDAP, Forest.Netbios",
        ),
        (
            "target = \"cn\"\nexpression = 'DNComponent(CRef([dn]), 1)'",
            "people.toml:14:14: `dn` is not kept with an object: `[rdn]` is its relative name",
        ),
        (
            "target = \"cn\"\ndirect = \"cn\"\nexpression = '[cn]'",
            "people.toml:12:1: a flow has exactly one of direct, constant, expression, account_enabled, source_anchor, reference",
        ),
        (
            "target = \"cn\"\nreference = \"cn\"\nmerge = \"merge\"",
            "people.toml:12:1: a reference flow carries all links: it takes neither apply_once nor merge",
        ),
        (
            "target = \"cn\"\ndirect = \"cn\"\nmerge = \"merge\"\napply_once = true",
            "people.toml:12:1: a flow is either applied once or merged",
        ),
    ] {
        assert_eq!(faults(&format!("\n[[rule.flow]]\n{flow}\n")), [expected], "{flow}");
    }
}

#[test]
fn references_are_seen_by_reference_flows_alone() {
    let told = faults(
        "scope = [[{ attribute = \"member\", operator = \"ISNOTNULL\" }]]\n\n[[rule.flow]]\ntarget = \"member\"\nreference = \"member\"\n\n\
         [[rule.flow]]\ntarget = \"count\"\nexpression = 'Count([member])'\n\n\
         [[rule.flow]]\ntarget = \"memberCount\"\nexpression = 'ValueCount(\"member\")'\n",
    );
    assert_eq!(
        told,
        [
            "people.toml:11:11: `member` holds references: a scope sees them by ISMEMBEROF and ISNOTMEMBEROF alone",
            "people.toml:19:14: `member` holds references: inbound expressions count them with ValueCount, and a \
             `reference` flow carries them",
        ]
    );
}

#[test]
fn both_spellings_of_a_bit_that_is_not_set_are_one_operator() {
    let scope = |operator: &str| {
        let clause = format!("{{ attribute = \"userAccountControl\", operator = \"{operator}\", value = \"2\" }}");
        parse(&[source(&format!("{USER}scope = [[{clause}]]\n"))]).expect("valid").rules()[0].scope.clone()
    };
    assert_eq!(scope("ISNOTBITSET"), scope("ISBITNOTSET"));
}

#[test]
fn a_scope_names_groups_by_distinguished_names_and_in_inbound_rules() {
    let scope = |clause: &str| format!("scope = [[{{ {clause} }}]]\n");
    for (clause, fault) in [
        (
            "operator = \"ISMEMBEROF\", value = \"pilots\"",
            "this operator needs the distinguished name of a group as its `value`",
        ),
        ("operator = \"ISNOTMEMBEROF\"", "this operator needs the distinguished name of a group as its `value`"),
        ("operator = \"EQUAL\", value = \"x\"", "this operator needs an `attribute`"),
    ] {
        assert_eq!(faults(&scope(clause)), [format!("people.toml:11:11: {fault}")], "{clause}");
    }
    let clause = scope("attribute = \"dn\", operator = \"ISMEMBEROF\", value = \"CN=Pilots,DC=example\"");
    let outbound = format!("{}{clause}", USER.replace("inbound", "outbound"));
    let told = parse(&[source(&outbound)]).expect_err("outbound");
    assert!(told[0].message.contains("they are for inbound rules"), "{told:?}");
    let rules = parse(&[source(&format!("{USER}{clause}"))]).expect("valid");
    let scope = &rules.rules()[0].scope;
    let parameters = Parameters::default();
    let of_pilots = [Value::text("cn=pilots,dc=example")];
    let member = |name: &Attribute| if *name == Attribute::from(MEMBER_OF) { &of_pilots[..] } else { &[] };
    assert!(scope.admits(&parameters, member));
    assert!(!scope.admits(&parameters, |_| &[]));
}

#[test]
fn link_types_stand_where_they_mean_something() {
    let outbound = USER.replace("inbound", "outbound").replace("\"provision\"", "\"sticky-join\"");
    let told = parse(&[source(&outbound)]).expect_err("an outbound sticky join");
    assert!(told[0].message.contains("sticky-join is for inbound rules"), "{told:?}");
    let any = USER.replace("metaverse_type = \"user\"", "metaverse_type = \"*\"");
    let told = parse(&[source(&any)]).expect_err("projects to any type");
    assert!(told[0].message.contains("only an inbound join rule"), "{told:?}");
    assert!(parse(&[source(&any.replace("provision", "join"))]).is_ok());
    assert!(parse(&[source(&USER.replace("provision", "sticky-join"))]).is_ok());
}

#[test]
fn rules_are_disabled_and_replaced_without_a_change_of_their_file() {
    let own = USER.replace("In - User Join", "Own - User Join");
    let own = RuleSource { file: "own.toml".to_owned(), text: format!("disable = [\"In - User Join\"]\n{own}") };
    let rules = parse(&[source(USER), own]).expect("the copy takes the name's place and its precedence");
    assert_eq!(rules.rules().iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["Own - User Join"]);
    let rules = parse(&[source(&format!("{USER}disabled = true\n"))]).expect("a disabled rule");
    assert!(rules.rules().is_empty());
    let faults = parse(&[source("disable = [\"No such rule\"]\n")]).expect_err("nothing to disable");
    assert_eq!(faults[0].to_string(), "people.toml:1:12: there is no rule `No such rule`");
}

#[test]
fn flows_to_one_attribute_are_merged_in_one_way() {
    let flow = |merge: &str| format!("\n[[rule.flow]]\ntarget = \"mail\"\ndirect = \"mail\"\nmerge = \"{merge}\"\n");
    let other = USER.replace("In - User Join", "In - Other").replace("100", "101");
    let both = |a: &str, b: &str| parse(&[source(&format!("{USER}{}{other}{}", flow(a), flow(b)))]);
    assert!(both("merge", "merge").is_ok());
    assert!(both("replace", "update").is_ok());
    let faults = both("merge", "merge-case-insensitive").expect_err("two ways");
    assert!(faults[0].message.contains("`mail` is merged in another way by rule `In - User Join`"), "{faults:?}");
}

#[test]
fn parameters_and_types_are_those_of_all_files() {
    let set = RuleSource {
        file: "set.toml".to_owned(),
        text: "[parameters]\nSuffix = \"@example.org\"\n\n[types]\nemployeeNumber = \"integer\"\n".to_owned(),
    };
    let flow = "\n[[rule.flow]]\ntarget = \"upn\"\nexpression = 'CStr([employeeNumber] + 1) & %Suffix%'\n";
    let rules = parse(&[source(&format!("{USER}{flow}")), set.clone()]).expect("valid rules");
    let attributes = Attributes::from([("employeeNumber".into(), vec![Value::text("41")])]);
    let object = Source::Space { attributes: &attributes, imported: &attributes, rdn: "CN=Ada", disabled: &[] };
    let connector = "corp".parse().expect("a name");
    let said = rules.evaluate(&rules.rules()[0].flows[0], &connector, object);
    assert_eq!(said, Ok(Yield::Values(vec![Value::text("42@example.org")])));
    let faults = parse(&[set.clone(), RuleSource { file: "again.toml".to_owned(), ..set }]).expect_err("set twice");
    assert_eq!(faults[0].to_string(), "again.toml:2:10: the parameter `Suffix` is set twice");
}

#[test]
fn expressions_say_all_that_a_flow_can_say() {
    let attributes = Attributes::from([
        ("cn".into(), vec![Value::text(" Ada ")]),
        ("mail".into(), vec![Value::text("a"), Value::text("b")]),
        ("userAccountControl".into(), vec![Value::text("514")]),
        ("isCriticalSystemObject".into(), vec![Value::text("TRUE")]),
        ("objectGUID".into(), vec![Value::binary(&[0xff; 16])]),
    ]);
    let said = |text: &str| {
        let expression = sync_expr::Expression::compile(text).expect("it compiles");
        say(&flow("x", FlowKind::Expression(Formula::new(expression, &Syntaxes::default(), |_| false))), &attributes)
    };
    let one = |text: &str| Ok(Yield::Values(vec![Value::text(text)]));
    assert_eq!(said("Trim([cn])"), one("Ada"));
    assert_eq!(said("[mail]"), Ok(Yield::Values(vec![Value::text("a"), Value::text("b")])));
    assert_eq!(said("BitAnd([userAccountControl], 2)"), one("2"));
    assert_eq!(said("[isCriticalSystemObject] = True"), one("TRUE"));
    assert_eq!(said("ConvertToBase64([objectGUID])"), one("/////////////////////w=="));
    assert_eq!(said("DNComponent(CRef([rdn]), 1)"), one("Ada"));
    assert_eq!(said("ImportedValue(\"cn\")"), one(" Ada "));
    assert_eq!(said("[nothing]"), Ok(Yield::Null));
    assert_eq!(said("AuthoritativeNull"), Ok(Yield::AuthoritativeNull));
    assert_eq!(said("IgnoreThisFlow"), Ok(Yield::Ignore));
    assert!(
        matches!(said("Error(\"no name\")"), Err(FlowError::Formula { source: FormulaError::Raised { text }, .. }) if text == "no name")
    );
    assert!(matches!(said("CNum([cn])"), Err(FlowError::Formula { source: FormulaError::Failed(_), .. })));
    assert!(matches!(said("CRef(\"cn=x\")"), Err(FlowError::Formula { source: FormulaError::Reference, .. })));
}

#[test]
fn merging_adds_what_is_not_there() {
    let values = |texts: &[&str]| texts.iter().map(|text| Value::text(*text)).collect::<Vec<_>>();
    for (merge, expected) in [(Merge::Merge, &["a", "b", "A"][..]), (Merge::MergeCaseInsensitive, &["a", "b"][..])] {
        let mut held = values(&["a"]);
        merge.add(&mut held, values(&["a", "b", "A"]));
        assert_eq!(held, values(expected), "{merge:?}");
    }
}
