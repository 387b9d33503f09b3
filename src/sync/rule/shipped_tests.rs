//! The shipped rules, their options, and the worked examples of the documentation.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::sync::activation::{read_file, read_folder};
use crate::sync::attribute::{Attribute, Attributes, Value};
use crate::sync::connector::DisabledTest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn shipped() -> Vec<RuleSource> {
    read_folder(&root().join("config/rules")).expect("the shipped rules")
}

fn attributes(json: &Json) -> Attributes {
    let value = |json: &Json| match json {
        Json::Object(fields) => Value::Binary { base64: fields["base64"].as_str().expect("base64").to_owned() },
        Json::String(text) => Value::text(text.clone()),
        other => Value::text(other.to_string()),
    };
    let fields = json.as_object().expect("an object").iter();
    let values = |json: &Json| json.as_array().map_or_else(|| vec![value(json)], |all| all.iter().map(value).collect());
    fields.map(|(name, json)| (Attribute::from(name.as_str()), values(json))).collect()
}

/// What rules say of an object, the strongest first; of those that `of` admits.
fn says(
    rules: &RuleSet,
    space_type: &str,
    object: &Attributes,
    rdn: &str,
    of: impl Fn(&Rule) -> bool,
) -> Map<String, Json> {
    let connector = "corp".parse().expect("a name");
    let disabled = DisabledTest::defaults();
    let source = Source::Space { attributes: object, imported: object, rdn, disabled: &disabled };
    let mut said = Map::new();
    let parameters = Parameters::default();
    let in_scope = rules.rules().iter().filter(|rule| {
        rule.direction == Direction::Inbound
            && rule.space_type == space_type
            && rule.scope.admits(&parameters, |name| source.values(name))
            && of(rule)
    });
    for flow in in_scope.flat_map(|rule| &rule.flows) {
        let target = flow.target.to_string();
        if said.get(&target).is_some_and(|said| said != "null") || matches!(flow.kind, FlowKind::Reference { .. }) {
            continue;
        }
        let answer = match rules.evaluate(flow, &connector, source) {
            Ok(Yield::Values(values)) => values.iter().map(|value| json!(value.as_text())).collect(),
            Ok(Yield::Null) => json!("null"),
            Ok(Yield::AuthoritativeNull) => json!("authoritative-null"),
            Ok(Yield::Ignore) => json!("ignore"),
            Err(error) => json!(format!("{error:?}")),
        };
        said.insert(target, answer);
    }
    said
}

#[test]
fn the_files_of_an_installation_are_those_of_the_product() {
    assert_eq!(super::shipped::rules(), shipped());
    assert_eq!(super::shipped::options(), read_folder(&root().join("config/rules-options")).expect("the options"));
}

#[test]
fn the_shipped_rules_and_each_of_their_options_are_valid() {
    let rules = parse(&shipped()).expect("valid rules");
    assert!(rules.rules().iter().all(|rule| rule.precedence >= 100), "below 100 is for own rules");
    for option in read_folder(&root().join("config/rules-options")).expect("the options") {
        let name = option.file.clone();
        let rules = parse(&[shipped(), vec![option]].concat());
        let rules = rules.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        if !name.starts_with("join-") {
            continue;
        }
        let joins = rules.rules().iter().filter(|rule| {
            rule.direction == Direction::Inbound && rule.space_type == "user" && rule.link == LinkType::Provision
        });
        let of_ad = joins.filter(|rule| rule.connector == ConnectorKind::Kind("ad".to_owned()));
        assert_eq!(of_ad.map(|rule| rule.precedence).collect::<Vec<_>>(), [60], "{name} replaces the shipped join");
    }
}

/// The code blocks of a language in a section.
fn blocks<'t>(section: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    section.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn the_worked_examples_do_what_the_page_says() {
    let page = std::fs::read_to_string(root().join("docs/sync-rules.md")).expect("the page");
    let examples: Vec<&str> = page.split("\n### ").skip(1).collect();
    assert_eq!(examples.len(), 10);
    for example in examples {
        let title = example.lines().next().unwrap_or_default();
        let text = blocks(example, "toml").concat();
        let own = RuleSource { file: "own.toml".to_owned(), text };
        let names: Vec<String> = parse(std::slice::from_ref(&own))
            .map_or_else(|_| Vec::new(), |rules| rules.rules().iter().map(|r| r.name.clone()).collect());
        let all = parse(&[shipped(), vec![own]].concat());
        let all = all.unwrap_or_else(|faults| panic!("{title}: {faults:?}"));
        let is_own = |rule: &Rule| rule.precedence < 100 || names.contains(&rule.name);
        for line in blocks(example, "json").concat().lines() {
            let case: Json = serde_json::from_str(line).expect("JSON");
            let mut said = says(&all, "user", &attributes(&case["object"]), "CN=Ada", is_own);
            for (target, expected) in case["says"].as_object().expect("an object") {
                let said = said.remove(target);
                if expected == "random" {
                    assert!(said.is_some_and(|said| said.is_array()), "{title}: {line}");
                } else {
                    assert_eq!(said.as_ref(), Some(expected), "{title}: {line}");
                }
            }
            assert!(said.is_empty(), "{title}: {said:?} is said too");
        }
    }
}

/// An account as Active Directory has them.
fn account() -> Json {
    json!({
        "cn": "Ada Byron",
        "sAMAccountName": "ada",
        "userPrincipalName": "ada@example.org",
        "userAccountControl": 512,
        "objectGUID": { "base64": "/////////////////////w==" },
        "objectSid": { "base64": "AQIAAAAAAAUgAAAAIAIAAA==" },
        "pwdLastSet": 129_699_324_000_000_000_i64,
        "description": ["  First programmer  "],
        "proxyAddresses": ["SMTP:ada@example.org", "SMTP:ada@example.org ", "X400:c=de"],
    })
}

fn said_of(object: &Json, rdn: &str) -> Map<String, Json> {
    let rules = parse(&shipped()).expect("valid rules");
    let of_ad = |rule: &Rule| rule.connector == ConnectorKind::Kind("ad".to_owned());
    says(&rules, "user", &attributes(object), rdn, of_ad)
}

#[test]
fn an_account_of_active_directory_flows_as_the_reference_says() {
    let said = said_of(&account(), "CN=Ada Byron");
    for (target, expected) in [
        ("sourceAnchor", json!(["/////////////////////w=="])),
        ("userPrincipalName", json!(["ada@example.org"])),
        ("accountEnabled", json!(["TRUE"])),
        ("sourceObjectType", json!(["User"])),
        ("objectSidString", json!(["S-1-5-32-544"])),
        ("accountName", json!(["ada"])),
        ("lastPasswordChangeTimestamp", json!(["20120101230000.0Z"])),
        ("displayName", json!(["Ada Byron"])),
        ("description", json!(["First programmer"])),
        ("proxyAddresses", json!(["SMTP:ada@example.org", "X400:c=de"])),
        ("cloudFiltered", json!("null")),
        ("title", json!("null")),
    ] {
        assert_eq!(said.get(target), Some(&expected), "{target}");
    }
}

#[test]
fn system_accounts_and_conflicts_are_filtered_and_nobody_else() {
    let with = |changes: Json| {
        let mut object = account();
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Json::Null => object.as_object_mut().expect("an object").remove(name),
                value => object.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
            };
        }
        object
    };
    for (changes, rdn, filtered) in [
        (json!({}), "CN=Ada", false),
        (json!({ "sAMAccountName": null }), "CN=Ada", true),
        (json!({ "sAMAccountName": "SUPPORT_388945a0" }), "CN=Ada", true),
        (json!({ "sAMAccountName": "AAD_1234" }), "CN=Ada", true),
        (json!({ "sAMAccountName": "MSOL_1234" }), "CN=Ada", true),
        (json!({ "sAMAccountName": "CAS_{1}" }), "CN=Ada", true),
        (json!({ "mailNickname": "CAS_{1}" }), "CN=Ada", true),
        (json!({ "mailNickname": "CAS_1" }), "CN=Ada", false),
        (json!({ "mailNickname": "SystemMailbox{1F05A927}" }), "CN=Ada", true),
        (json!({ "msExchRecipientTypeDetails": 0x1000 }), "CN=Ada", true),
        (json!({ "msExchRecipientTypeDetails": 0x2000_0000 }), "CN=Ada", true),
        (json!({ "msExchRecipientTypeDetails": 1 }), "CN=Ada", false),
        (json!({}), "CN=Ada\\0ACNF:6b1c8a70", true),
    ] {
        let said = said_of(&with(changes.clone()), rdn);
        let expected = if filtered { json!(["TRUE"]) } else { json!("null") };
        assert_eq!(said.get("cloudFiltered"), Some(&expected), "{changes} {rdn}");
    }
}

#[test]
fn a_linked_mailbox_and_a_disabled_account_contribute_what_they_may() {
    let mut mailbox = account();
    mailbox["msExchRecipientTypeDetails"] = json!(2);
    mailbox["userAccountControl"] = json!(514);
    let said = said_of(&mailbox, "CN=Ada");
    assert_eq!((said.get("sourceAnchor"), said.get("sourceObjectType")), (Some(&json!("null")), Some(&json!("null"))));
    let mut disabled = account();
    disabled["userAccountControl"] = json!(514);
    disabled.as_object_mut().expect("an object").remove("userPrincipalName");
    let said = said_of(&disabled, "CN=Ada");
    assert_eq!(said.get("accountEnabled"), Some(&json!(["FALSE"])));
    assert_eq!(said.get("sourceAnchor"), Some(&json!(["/////////////////////w=="])));
    let upn = said.get("userPrincipalName").map(ToString::to_string).unwrap_or_default();
    assert!(upn.contains("there is no parameter `%Domain.FQDN%`"), "only a connector tells the domain: {upn}");
}

#[test]
fn every_option_file_is_read_alone_too() {
    for file in ["join-once.toml", "join-by-mail.toml", "join-by-account-name.toml", "join-by-attribute.toml"] {
        let source = read_file(&root().join("config/rules-options").join(file)).expect("the file");
        let faults = parse(&[source]).expect_err("the shipped rule that it replaces is not there");
        assert!(faults.iter().all(|fault| fault.message.starts_with("there is no rule `In from AD")), "{faults:?}");
    }
}
