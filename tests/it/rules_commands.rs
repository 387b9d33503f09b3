//! `landbridge rules eval|check|functions`: on files alone, without settings, store or server.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn landbridge(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_landbridge"))
        .current_dir(folder)
        .env("LANDBRIDGE_CONFIG", "no-such-file.toml")
        .args(args)
        .output()
        .expect("the command runs")
}

/// A folder with the objects that the rows refer to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let object = json!({
        "uid": "ada",
        "cn": "  Ada \"the first\" Byron ",
        "empty": "",
        "none": [],
        "absent": null,
        "most": i64::MAX,
        "enabled": true,
        "userAccountControl": 514,
        "one": ["a"],
        "proxyAddresses": ["SMTP:ada@example.org", "SIP:ada@example.org", "smtp:ab@example.org"],
        "objectGUID": { "base64": "/////////////////////w==" },
        "manager": { "ref": "CN=Boss,DC=x" },
        "member": [{ "ref": "cn=a,dc=x" }, { "ref": "cn=b,dc=x" }],
        "greeting": "日本語 Zoë",
    });
    std::fs::write(folder.path().join("object.json"), object.to_string()).expect("a file");
    std::fs::write(folder.path().join("imported.json"), json!({ "uid": "before" }).to_string()).expect("a file");
    folder
}

const COMMON: [&str; 9] = [
    "--object",
    "object.json",
    "--imported",
    "imported.json",
    "--param",
    "Domain.FQDN=example.org",
    "--now",
    "2026-03-01T12:00:00Z",
    "--json",
];

#[test]
fn eval_answers_one_line_in_the_notation_of_its_input() {
    let folder = folder();
    for (expression, flow, value) in [
        ("[uid]", "value", json!("ada")),
        ("[cn]", "value", json!("  Ada \"the first\" Byron ")),
        ("Trim([cn])", "value", json!("Ada \"the first\" Byron")),
        ("[empty]", "value", json!("")),
        ("[none]", "null", Value::Null),
        ("[absent]", "null", Value::Null),
        ("[Uid]", "null", Value::Null),
        ("[most]", "value", json!(i64::MAX)),
        ("BitAnd([userAccountControl], 2) = 0", "value", json!(false)),
        ("[enabled]", "value", json!(true)),
        ("[one]", "value", json!(["a"])),
        ("Item([one], 1)", "value", json!("a")),
        ("[objectGUID]", "value", json!({ "base64": "/////////////////////w==" })),
        ("ConvertToBase64([objectGUID])", "value", json!("/////////////////////w==")),
        ("[manager]", "value", json!({ "ref": "CN=Boss,DC=x" })),
        ("Where($m, [member], DNComponent($m, 1) = \"b\")", "value", json!([{ "ref": "cn=b,dc=x" }])),
        ("CRef(\"cn=c,dc=x\")", "value", json!({ "ref": "cn=c,dc=x" })),
        ("[greeting]", "value", json!("日本語 Zoë")),
        ("ImportedValue(\"uid\")", "value", json!("before")),
        ("ImportedValue(\"cn\")", "null", Value::Null),
        ("[uid] & \"@\" & %Domain.FQDN%", "value", json!("ada@example.org")),
        ("FormatDateTime(Now(), \"yyyy-MM-dd HH:mm\")", "value", json!("2026-03-01 12:00")),
        (
            "IIF(InStr([proxyAddresses],\"SIP:\")=1,NULL,[proxyAddresses])",
            "value",
            json!(["SMTP:ada@example.org", "smtp:ab@example.org"]),
        ),
        ("IIF(IsPresent([mail]), [mail], IgnoreThisFlow)", "ignore", Value::Null),
        ("AuthoritativeNull", "authoritative-null", Value::Null),
        ("-5 + 2", "value", json!(-3)),
    ] {
        let output = landbridge(folder.path(), &[&["rules", "eval", expression], &COMMON[..]].concat());
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{expression}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(told.lines().count(), 1, "{expression}: {told}");
        let answer: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(answer, json!({ "flow": flow, "value": value }), "{expression}");
    }
}

#[test]
fn eval_names_line_column_and_cause_of_what_is_wrong() {
    let folder = folder();
    for (expression, line, column, cause) in [
        ("Left(5, 2)", 1, 6, "argument 1 (`text`) of `Left` must be a string, not a number: `CStr` makes a string"),
        ("[uid] & 5", 1, 9, "an operand of `&` must be a string or a binary, not a number: `CStr` makes a string"),
        ("[uid]\n  & x", 2, 5, "`x` means nothing here: a text stands in quotes, an attribute in `[ ]`"),
        ("[uid] [cn]", 1, 7, "expected an operator or the end, found `[cn]`"),
        ("\"Zoë\" & frob()", 1, 9, "there is no function `frob`"),
        ("[most] + 1", 1, 8, "the result does not fit into 64 bits"),
        ("[uid] = 5", 1, 7, "`=` cannot compare a string with a number: convert one of them"),
        ("%Forest.FQDN%", 1, 1, "there is no parameter `%Forest.FQDN%`"),
        ("Item([one], 2)", 1, 1, "there is no item 2: the attribute has 1 value"),
        ("Error(\"no account\")", 1, 1, "sync-rule-error-function-triggered: no account"),
        ("Now()", 1, 1, "a date cannot be the result: `FormatDateTime` or `NumFromDate` make a value of it"),
        (
            "IIF([enabled], Now(), 1)",
            1,
            1,
            "a date cannot be the result: `FormatDateTime` or `NumFromDate` make a value of it",
        ),
        ("", 1, 1, "expected a value, an attribute, a function or `(`, found the end"),
    ] {
        let output = landbridge(folder.path(), &[&["rules", "eval", expression], &COMMON[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{expression}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{expression}");
        let answer: Value = serde_json::from_slice(&output.stderr).expect("JSON");
        let message = format!("line {line}, column {column}: {cause}");
        let expected = json!({ "line": line, "column": column, "cause": cause, "message": message });
        assert_eq!(answer["error"], expected, "{expression}");
    }
    let people = landbridge(folder.path(), &["rules", "eval", "Left(5, 2)"]);
    let told = String::from_utf8_lossy(&people.stderr);
    assert!(told.starts_with("error: line 1, column 6: ") && told.ends_with("  Left(5, 2)\n       ^\n"), "{told}");
}

#[test]
fn eval_refuses_files_that_are_no_object() {
    let folder = folder();
    for (text, part) in [
        ("[1]", "a JSON object of attributes is expected"),
        ("{", "is no JSON"),
        ("{\"a\": 1.5}", "attribute `a`: 1.5 is no whole number of 64 bits"),
        ("{\"a\": 9223372036854775808}", "is no whole number of 64 bits"),
        ("{\"a\": [\"x\", [\"y\"]]}", "an array cannot stand in an array"),
        ("{\"a\": [null]}", "null cannot be one of several values"),
        ("{\"a\": {\"base64\": \"%\"}}", "attribute `a`: `%` is no base64"),
        ("{\"a\": {\"ref\": \"Joe\"}}", "`Joe` is no distinguished name"),
        ("{\"a\": {\"hex\": \"00\"}}", "is neither {\"base64\": text} nor {\"ref\": DN}"),
    ] {
        std::fs::write(folder.path().join("wrong.json"), text).expect("a file");
        let output = landbridge(folder.path(), &["rules", "eval", "1", "--object", "wrong.json"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(told.contains("wrong.json") && told.contains(part), "{text}: {told}");
    }
    let missing = landbridge(folder.path(), &["rules", "eval", "1", "--object", "missing.json"]);
    assert_eq!(missing.status.code(), Some(1));
    let usage = landbridge(folder.path(), &["rules", "eval", "1", "--param", "nonsense"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn eval_prints_for_people_without_json() {
    let folder = folder();
    let told = |expression: &str| {
        let output = landbridge(folder.path(), &["rules", "eval", expression, "--object", "object.json"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(told("[uid]"), "string     \"ada\"\n");
    assert_eq!(told("[member]"), "reference  cn=a,dc=x\nreference  cn=b,dc=x\n");
    assert_eq!(told("NULL"), "null: contributes nothing\n");
}

#[test]
fn the_shipped_rules_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = landbridge(root, &["--json", "rules", "check", "config/rules"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(answer["rules"].as_u64().is_some_and(|rules| rules > 0), "{answer}");
}

#[test]
fn the_reference_pages_are_what_the_product_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (command, page) in [("functions", "expression-functions.md"), ("reference", "rule-reference.md")] {
        let printed = landbridge(root, &["rules", command]);
        let held = std::fs::read_to_string(root.join("docs").join(page)).expect("the page");
        assert!(
            String::from_utf8_lossy(&printed.stdout) == held,
            "docs/{page} differs: write it anew with `landbridge rules {command}`"
        );
    }
}

#[test]
fn the_reference_tells_machines_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = landbridge(root, &["--json", "rules", "reference"]);
    let told: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    let named = |list: &Value, name: &str| {
        list.as_array().expect("a list").iter().any(|entry| entry["name"] == name || entry["file"] == name)
    };
    assert!(named(&told["shipped"], "Out to tenant - Group Join"), "{told}");
    assert!(named(&told["options"], "member-limit.toml"), "{told}");
    assert_eq!(told["options"].as_array().map(Vec::len), Some(7));
}
