//! The SCIM client against scim2-server.

use std::time::Duration;

use landbridge::config::ScimTargetSettings;
use landbridge::connectors::scim::ScimTarget;
use landbridge::identity::PlainPassword;
use landbridge::sync::Connector;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{
    ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportRequest, ReadBack,
};
use landbridge::sync::space::ObjectId;

use super::conformance::{self, Target};
use super::turn;
use crate::support::scim::Scim;

struct Peer(ScimTarget);

fn settings(scim: &Scim) -> ScimTargetSettings {
    let token = std::fs::read_to_string(scim.token_file()).expect("a token");
    ScimTargetSettings {
        name: "app".parse().expect("a name"),
        url: scim.url().parse().expect("a url"),
        token: PlainPassword::new(token).expect("may be typed"),
        ca_file: Some(scim.ca_file()),
        page_size: 7,
        deadline: Duration::from_secs(20),
        longest_wait: Duration::from_secs(5),
        adopted: landbridge::config::AdoptedObjects::Keep,
    }
}

fn connect(settings: &ScimTargetSettings) -> ScimTarget {
    landbridge::app::tls::install_provider();
    ScimTarget::new(settings).expect("a client")
}

impl Target for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        let mut attributes = Attributes::new();
        let mut put = |name: &str, value: &str| attributes.insert(name.into(), vec![Value::text(value)]);
        put("externalId", &format!("{key} \"quoted\\"));
        put("displayName", name);
        if object_type == "user" {
            put("userName", &format!("{key}@verified.example"));
            put("active", "TRUE");
            put("name.familyName", "Family");
            put("emails[type eq \"work\"].value", &format!("{key}@verified.example"));
            put("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "Engines");
        }
        attributes
    }

    fn name_attribute(&self) -> &'static str {
        "displayName"
    }

    fn emptied_attribute(&self) -> &'static str {
        "emails[type eq \"work\"].value"
    }

    fn member_attribute(&self) -> &'static str {
        "members"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scim_service_conforms() {
    let scim = Scim::start();
    conformance::target(&Peer(connect(&settings(&scim)))).await;
}

fn person(key: &str, name: &str) -> ExportChange {
    let mut attributes = Attributes::new();
    for (attribute, value) in [("externalId", key), ("userName", name)] {
        attributes.insert(attribute.into(), vec![Value::text(value)]);
    }
    let operation = ExportOperation::Add { attributes };
    ExportChange { object: ObjectId(1), object_type: "user".to_owned(), identity: Attributes::new(), operation }
}

fn code(result: &ExportResult) -> &str {
    match result {
        ExportResult::Accepted { .. } => "accepted",
        ExportResult::Refused { code, .. } => code,
        ExportResult::Unknown { .. } => "unknown",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_of_one_object_and_outages_of_the_batch() {
    let scim = Scim::start();
    let target = connect(&settings(&scim));
    let batch = || vec![person("1", "ada"), person("2", "ada"), person("3", "bob")];
    let results = target.export(batch(), &turn()).await.expect("answers");
    // Changes of a batch are under way together: which of the two comes first is not told.
    let mut claims: Vec<&str> = results[..2].iter().map(code).collect();
    claims.sort_unstable();
    assert_eq!((claims, code(&results[2])), (vec!["accepted", "uniqueness"], "accepted"), "{results:?}");

    scim.tell("throttle 100");
    let hasty = connect(&ScimTargetSettings { longest_wait: Duration::from_millis(250), ..settings(&scim) });
    let refused = hasty.export(vec![person("4", "cyd")], &turn()).await.expect_err("nothing can be looked up");
    assert!(matches!(refused, ConnectorError::Refused { .. }), "{refused}");
    scim.tell("throttle 2");
    let results = target.export(vec![person("4", "cyd")], &turn()).await.expect("it waits");
    assert_eq!(code(&results[0]), "accepted");

    scim.tell("fail 1");
    let down = target.export(vec![person("5", "dan")], &turn()).await.expect_err("503");
    assert!(matches!(down, ConnectorError::Unreachable { .. }), "{down}");

    // The answer is lost after the resource was made.
    scim.tell("lose 1");
    let lost = target.export(vec![person("6", "eve")], &turn()).await.expect("the others would have been carried out");
    assert!(matches!(lost[..], [ExportResult::Unknown { .. }]), "{lost:?}");
    let question = ReadBack::ByAddKey { object_type: "user".to_owned(), value: "6".to_owned() };
    let found = target.read_back(vec![question]).await.expect("answers").remove(0).expect("it was made");
    let again = target.export(vec![person("6", "eve")], &turn()).await.expect("answers");
    assert_eq!(again, [ExportResult::Accepted { anchor: Some(found.anchor), warning: None }]);
    assert_eq!(scim.resources("Users").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_given_up_at_its_limit() {
    let scim = Scim::start();
    let target = connect(&ScimTargetSettings { deadline: Duration::from_secs(120), ..settings(&scim) });
    target.export(vec![person("1", "ada")], &turn()).await.expect("answers");
    scim.tell("flood 1");
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: Default::default() };
    let mut stream = target.import(request.clone()).await.expect("a stream");
    let flooded = stream.next_page().await.expect_err("it is too long");
    assert!(flooded.to_string().contains("larger than 64 MiB"), "{flooded}");
    let mut stream = target.import(request).await.expect("a stream");
    assert_eq!(stream.next_page().await.expect("answers").expect("a page").objects.len(), 1, "the next one is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_an_unknown_authority_are_refused() {
    let scim = Scim::start();
    let token = PlainPassword::new("another".to_owned()).expect("may be typed");
    let wrong = connect(&ScimTargetSettings { token, ..settings(&scim) });
    let error = wrong.export(vec![person("1", "ada")], &turn()).await.expect_err("401");
    assert!(matches!(error, ConnectorError::Refused { .. }), "{error}");
    let untrusting = connect(&ScimTargetSettings { ca_file: None, ..settings(&scim) });
    let error = untrusting.export(vec![person("1", "ada")], &turn()).await.expect_err("no trust");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: Default::default() };
    let mut stream = untrusting.import(request).await.expect("a stream");
    assert!(matches!(stream.next_page().await, Err(ConnectorError::Aborted { .. })));
    assert_eq!(scim.resources("Users").await.len(), 0);
}
