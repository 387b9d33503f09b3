//! A directory that rules write, against a real slapd and a real 389 Directory Server.

use std::time::Duration;

use landbridge::connectors::ldap::{DeltaChoice, Writable};
use landbridge::connectors::ldap_target::{LdapTarget, LdapTargetSettings, TargetType};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{Filter, ServiceAccount, Trust};
use landbridge::sync::Connector;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{
    Adopted, ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportPage, ImportRequest,
    LinkTarget, ReadBack, Reference, Watermark,
};
use landbridge::sync::space::ObjectId;

use super::conformance::{self, Target};
use super::turn;
use crate::support::ds389::{self, Ds389};
use crate::support::slapd::{SUFFIX, Slapd};

fn settings(slapd: &Slapd) -> LdapTargetSettings {
    let object_type = |name: &str, classes: &[&str], references: &[&str]| TargetType {
        name: name.to_owned(),
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        filter: Filter::equal("objectClass", classes[0]),
        references: references.iter().map(|name| (*name).to_owned()).collect(),
        is_group: name == "group",
    };
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    LdapTargetSettings {
        name: "pages".parse().expect("a name"),
        servers: vec![slapd.ldaps_url().parse().expect("a url")],
        trust: Trust::new(&[slapd.ca_file()]).expect("a CA"),
        account: ServiceAccount {
            dn: slapd.admin_dn().parse().expect("a dn"),
            password: PlainPassword::new(slapd.admin_password().to_owned()).expect("may be typed"),
        },
        deadline: Duration::from_secs(20),
        page_size: 7,
        bases: vec![
            format!("ou=people,{SUFFIX}").parse().expect("a dn"),
            format!("ou=groups,{SUFFIX}").parse().expect("a dn"),
        ],
        anchor: "entryUUID".to_owned(),
        anchor_is_binary: false,
        types: vec![
            object_type("user", &["inetOrgPerson", "testAnchored"], &["manager"]),
            object_type("group", &["groupOfNames"], &["member"]),
        ],
        writable: Writable {
            attributes: list(&["uid", "cn", "sn", "mail", "description", "mS-DS-ConsistencyGuid"]),
            binary: list(&["mS-DS-ConsistencyGuid"]),
        },
        delta: DeltaChoice::Off,
        placeholder_member: Some(format!("cn=nobody,{SUFFIX}").parse().expect("a dn")),
        adopted: Adopted::Kept { mark: None },
    }
}

fn entry(object_type: &str, key: &str, name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let mut put = |name: &str, value: &str| attributes.insert(name.into(), vec![Value::text(value)]);
    put("cn", name);
    put("description", "made by rules");
    if object_type == "user" {
        put("dn", &format!("uid={key},ou=people,{SUFFIX}"));
        put("uid", key);
        put("sn", "Family");
        put("mail", &format!("{key}@alpha.example"));
        attributes.insert("mS-DS-ConsistencyGuid".into(), vec![Value::binary(&[0x41, 0x42, 0x43, 0x44])]);
    } else {
        put("dn", &format!("cn={key},ou=groups,{SUFFIX}"));
        put("cn", key);
    }
    attributes
}

struct Peer(LdapTarget);

impl Target for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        entry(object_type, key, name)
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    fn emptied_attribute(&self) -> &'static str {
        "mail"
    }

    fn member_attribute(&self) -> &'static str {
        "member"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_as_target_conforms() {
    let slapd = Slapd::builder().start();
    conformance::target(&Peer(LdapTarget::new(settings(&slapd)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_as_target_conforms_with_deltas() {
    for delta in [DeltaChoice::Auto, DeltaChoice::AccessLog] {
        let slapd = Slapd::builder().access_log("07+00:00 01+00:00").start();
        conformance::target(&Peer(LdapTarget::new(LdapTargetSettings { delta, ..settings(&slapd) }))).await;
    }
}

/// The same on a server of another make: another anchor, no placeholder, a binary attribute of its own schema.
fn ds389_settings(server: &Ds389) -> LdapTargetSettings {
    let object_type = |name: &str, class: &str, references: &[&str]| TargetType {
        name: name.to_owned(),
        classes: vec![class.to_owned()],
        filter: Filter::equal("objectClass", class),
        references: references.iter().map(|name| (*name).to_owned()).collect(),
        is_group: name == "group",
    };
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    LdapTargetSettings {
        name: "pages".parse().expect("a name"),
        servers: vec![server.ldaps_url().parse().expect("a url")],
        trust: Trust::new(&[server.ca_file()]).expect("a CA"),
        account: ServiceAccount {
            dn: server.manager_dn().parse().expect("a dn"),
            password: PlainPassword::new(server.manager_password().to_owned()).expect("may be typed"),
        },
        deadline: Duration::from_secs(20),
        page_size: 7,
        bases: vec![
            format!("ou=people,{}", ds389::SUFFIX).parse().expect("a dn"),
            format!("ou=groups,{}", ds389::SUFFIX).parse().expect("a dn"),
        ],
        anchor: "nsUniqueId".to_owned(),
        anchor_is_binary: false,
        types: vec![
            object_type("user", "inetOrgPerson", &["manager"]),
            object_type("group", "groupOfNames", &["member"]),
        ],
        writable: Writable {
            attributes: list(&["uid", "cn", "sn", "mail", "description", "jpegPhoto"]),
            binary: list(&["jpegPhoto"]),
        },
        delta: DeltaChoice::Off,
        placeholder_member: None,
        adopted: Adopted::Kept { mark: None },
    }
}

struct Ds389Peer(LdapTarget);

impl Target for Ds389Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        let mut attributes = entry(object_type, key, name);
        let named = attributes[&"dn".into()][0].as_text().replace(SUFFIX, ds389::SUFFIX);
        attributes.insert("dn".into(), vec![Value::text(named)]);
        if let Some(bytes) = attributes.remove(&"mS-DS-ConsistencyGuid".into()) {
            attributes.insert("jpegPhoto".into(), bytes);
        }
        attributes
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    fn emptied_attribute(&self) -> &'static str {
        "mail"
    }

    fn member_attribute(&self) -> &'static str {
        "member"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_389_directory_server_as_target_conforms() {
    let unit = |name: &str| format!("dn: ou={name},{}\nobjectClass: organizationalUnit\nou: {name}\n", ds389::SUFFIX);
    let server = Ds389::builder().referential_integrity().ldif(&unit("people")).ldif(&unit("groups")).start();
    conformance::target(&Ds389Peer(LdapTarget::new(ds389_settings(&server)))).await;
    let with_deltas = LdapTargetSettings { delta: DeltaChoice::Changelog, ..ds389_settings(&server) };
    let server = LdapTarget::new(with_deltas);
    let told = imported(&server, ImportMode::Full).await.expect("a read");
    let since = told.iter().find_map(|page| page.watermark.clone()).expect("a watermark");
    assert!(server.delta_since(&since).is_some_and(|reports| reports.deletes));
}

/// The pages of an import.
async fn imported(target: &LdapTarget, mode: ImportMode) -> Result<Vec<ImportPage>, ConnectorError> {
    let mut stream = target.import(ImportRequest { mode, bases: Vec::new(), wanted: Default::default() }).await?;
    let mut pages = Vec::new();
    while let Some(page) = stream.next_page().await? {
        pages.push(page);
    }
    Ok(pages)
}

fn watermark(pages: &[ImportPage]) -> Watermark {
    pages.iter().find_map(|page| page.watermark.clone()).expect("a watermark")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_of_a_target_tells_what_changed_and_a_renamed_container_is_read_in_full() {
    let within = format!("dn: ou=left,ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: left\n");
    let slapd = Slapd::builder().ldif(&within).start();
    let target = LdapTarget::new(LdapTargetSettings { delta: DeltaChoice::Auto, ..settings(&slapd) });
    let mut anchors = Vec::new();
    for key in ["ada", "bob", "cyd"] {
        anchors.push(anchor(one(&target, add("user", key)).await));
    }
    let team = anchor(one(&target, add("group", "team")).await);
    let since = watermark(&imported(&target, ImportMode::Full).await.expect("a read"));
    let quiet = imported(&target, ImportMode::Delta { since: since.clone() }).await.expect("a read");
    assert!(quiet.iter().all(|page| page.objects.is_empty() && page.deleted.is_empty()), "{quiet:?}");

    // Somebody else changes, renames and deletes, and fills a group.
    slapd.ldapmodify(&format!(
        "dn: uid=ada,ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: uid=byron\ndeleteoldrdn: 1\n\n\
         dn: uid=bob,ou=people,{SUFFIX}\nchangetype: delete\n\n\
         dn: cn=team,ou=groups,{SUFFIX}\nchangetype: modify\nadd: member\nmember: uid=cyd,ou=people,{SUFFIX}\n"
    ));
    let told = imported(&target, ImportMode::Delta { since: watermark(&quiet) }).await.expect("a read");
    let objects: Vec<_> = told.iter().flat_map(|page| &page.objects).collect();
    let ada = objects.iter().find(|object| object.anchor == anchors[0]).expect("she changed");
    assert_eq!(ada.attributes[&"dn".into()], [Value::text(format!("uid=byron,ou=people,{SUFFIX}"))]);
    let group = objects.iter().find(|object| object.anchor == team).expect("it changed");
    assert_eq!(group.references[&"member".into()], [Reference::Anchor(anchors[2].clone())]);
    assert_eq!(objects.len(), 2, "{objects:?}");
    assert_eq!(told.iter().flat_map(|page| &page.deleted).collect::<Vec<_>>(), [&anchors[1]]);

    // Who lies below it is not told, and has another name.
    slapd.ldapmodify(&format!(
        "dn: ou=left,ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: ou=right\ndeleteoldrdn: 1\n"
    ));
    let stale = imported(&target, ImportMode::Delta { since: watermark(&told) }).await;
    assert!(matches!(stale, Err(ConnectorError::StaleWatermark { .. })), "{stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_anchored_by_an_attribute_of_its_own_is_read_in_full() {
    let slapd = Slapd::builder().start();
    // Logs and cookies name entries by the server's own id alone.
    let choice = LdapTargetSettings { delta: DeltaChoice::Auto, anchor: "uid".to_owned(), ..settings(&slapd) };
    let target = LdapTarget::new(choice);
    assert_eq!(target.capabilities().delta, None);
    let told = imported(&target, ImportMode::Full).await.expect("a read");
    assert!(told.iter().all(|page| page.watermark.is_none()));
}

fn change(object_type: &str, operation: ExportOperation) -> ExportChange {
    ExportChange { object: ObjectId(1), object_type: object_type.to_owned(), identity: Attributes::new(), operation }
}

fn add(object_type: &str, key: &str) -> ExportChange {
    change(object_type, ExportOperation::Add { attributes: entry(object_type, key, &format!("Name of {key}")) })
}

async fn one(target: &LdapTarget, change: ExportChange) -> ExportResult {
    target.export(vec![change], &turn()).await.expect("an answer").remove(0)
}

#[track_caller]
fn anchor(result: ExportResult) -> String {
    match result {
        ExportResult::Accepted { anchor: Some(anchor), .. } => anchor,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(result: ExportResult, expected: &str) {
    match result {
        ExportResult::Refused { code, reason } => assert_eq!(code, expected, "{reason}"),
        accepted => panic!("{accepted:?} instead of {expected}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_renamed_and_moved_and_groups_follow() {
    let within = format!("dn: ou=left,ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: left\n");
    let slapd = Slapd::builder().ldif(&within).start();
    let target = LdapTarget::new(settings(&slapd));
    let ada = anchor(one(&target, add("user", "ada")).await);
    let team = anchor(one(&target, add("group", "team")).await);
    let member = LinkTarget { object_type: "user".to_owned(), anchor: ada.clone(), key: String::new() };
    let links = |add: &[&LinkTarget]| ExportOperation::Links {
        anchor: team.clone(),
        attribute: "member".into(),
        add: add.iter().map(|target| (*target).clone()).collect(),
        remove: Vec::new(),
    };
    assert!(matches!(one(&target, change("group", links(&[&member]))).await, ExportResult::Accepted { .. }));
    let renamed = format!("uid=byron,ou=left,ou=people,{SUFFIX}");
    let changes = Attributes::from([
        ("dn".into(), vec![Value::text(renamed.as_str())]),
        ("uid".into(), vec![Value::text("byron")]),
        ("mail".into(), vec![Value::text("byron@alpha.example")]),
    ]);
    let update = || change("user", ExportOperation::Update { anchor: ada.clone(), changes: changes.clone() });
    for _ in 0..2 {
        assert!(matches!(one(&target, update()).await, ExportResult::Accepted { .. }));
        assert_eq!(slapd.values(&renamed, "uid"), ["byron"]);
        assert_eq!(slapd.values(&renamed, "mail"), ["byron@alpha.example"]);
    }
    let group = format!("cn=team,ou=groups,{SUFFIX}");
    let mut members = slapd.values(&group, "member");
    members.sort();
    assert_eq!(members, [format!("cn=nobody,{SUFFIX}"), renamed.clone()], "the directory's own integrity renames it");
    let question = ReadBack::ByAnchor { object_type: "user".to_owned(), anchor: ada.clone() };
    let read = target.read_back(vec![question]).await.expect("an answer").remove(0).expect("it is there");
    assert_eq!(read.attributes[&"dn".into()], [Value::text(renamed.as_str())]);
    assert_eq!(slapd.values(&renamed, "objectClass"), ["inetOrgPerson", "testAnchored"]);

    let nobody = LinkTarget { anchor: "00000000-0000-4000-8000-000000000000".to_owned(), ..member.clone() };
    refused(one(&target, change("group", links(&[&nobody]))).await, "dn-attributes-failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_connectors_is_left_alone() {
    let bob = format!("uid=bob,ou=people,{SUFFIX}");
    let foreign =
        format!("dn: {bob}\nobjectClass: inetOrgPerson\nobjectClass: testAnchored\nuid: bob\ncn: Other\nsn: Other\n");
    let outside = format!("dn: ou=outside,{SUFFIX}\nobjectClass: organizationalUnit\nou: outside\n");
    let slapd = Slapd::builder().ldif(&foreign).ldif(&outside).start();
    let target = LdapTarget::new(settings(&slapd));
    refused(one(&target, add("user", "bob")).await, "cd-existing-object");
    assert_eq!(slapd.values(&bob, "cn"), ["Other"]);
    let with = |name: &str, value: &str| {
        let mut attributes = entry("user", "cyd", "Cyd");
        attributes.insert(name.into(), vec![Value::text(value)]);
        change("user", ExportOperation::Add { attributes })
    };
    refused(one(&target, with("dn", &format!("uid=cyd,ou=outside,{SUFFIX}"))).await, "invalid-dn");
    refused(one(&target, with("dn", "cyd")).await, "invalid-dn");
    refused(one(&target, with("userPassword", "secret")).await, "permission-issue");
    refused(one(&target, with("mS-DS-ConsistencyGuid", "no base64")).await, "invalid-base64-value");
    let mut nameless = entry("user", "cyd", "Cyd");
    nameless.remove(&"dn".into());
    refused(one(&target, change("user", ExportOperation::Add { attributes: nameless })).await, "missing-dn");
    let mut unfit = entry("user", "cyd", "Cyd");
    unfit.remove(&"sn".into());
    refused(one(&target, change("user", ExportOperation::Add { attributes: unfit })).await, "schema-violation");
    refused(
        one(&target, change("device", ExportOperation::Delete { anchor: "x".to_owned() })).await,
        "unmappable-object-type",
    );
    let cyd = anchor(one(&target, add("user", "cyd")).await);
    let child = format!(
        "dn: ou=below,uid=cyd,ou=people,{SUFFIX}\nchangetype: add\nobjectClass: organizationalUnit\nou: below\n"
    );
    slapd.ldapmodify(&child);
    refused(one(&target, change("user", ExportOperation::Delete { anchor: cyd })).await, "not-a-leaf");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_or_not_trusted_leaves_the_batch_in_doubt() {
    let mut slapd = Slapd::builder().start();
    let target = LdapTarget::new(settings(&slapd));
    anchor(one(&target, add("user", "ada")).await);
    let untrusting = LdapTargetSettings { trust: Trust::new(&[]).expect("the system's"), ..settings(&slapd) };
    let error = LdapTarget::new(untrusting).export(vec![add("user", "bob")], &turn()).await.expect_err("no trust");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
    slapd.stop();
    let error = target.export(vec![add("user", "bob")], &turn()).await.expect_err("nobody there");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: Default::default() };
    let mut stream = target.import(request).await.expect("a stream");
    assert!(matches!(stream.next_page().await, Err(ConnectorError::Unreachable { .. })));
}
