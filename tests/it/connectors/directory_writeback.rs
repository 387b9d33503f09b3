//! Writeback to a directory that is a source, against a real slapd.

use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings, Writable};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{ServiceAccount, Trust};
use landbridge::sync::Connector;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{
    ConnectorError, DisabledTest, ExportChange, ExportOperation, ExportResult, ReadBack,
};
use landbridge::sync::space::ObjectId;

use super::turn;

use crate::support::slapd::{SUFFIX, Slapd};

/// With `objectGUID` as anchor, as in Active Directory.
pub fn settings(slapd: &Slapd) -> LdapConnectorSettings {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut types = LdapConnectorSettings::usual_types();
    types[0].binary = list(&["objectGUID", "mS-DS-ConsistencyGuid"]);
    LdapConnectorSettings {
        name: "corp".parse().expect("a name"),
        kind: "ldap".to_owned(),
        servers: vec![slapd.ldaps_url().parse().expect("a url")],
        trust: Trust::new(&[slapd.ca_file()]).expect("a CA"),
        account: ServiceAccount {
            dn: slapd.admin_dn().parse().expect("a dn"),
            password: PlainPassword::new(slapd.admin_password().to_owned()).expect("may be typed"),
        },
        deadline: Duration::from_secs(20),
        page_size: 10,
        root: SUFFIX.parse().expect("a dn"),
        // Containers of this server have no such anchor: the whole tree is in scope.
        include: Vec::new(),
        exclude: Vec::new(),
        anchor: "objectGUID".to_owned(),
        anchor_is_binary: true,
        container_filter: LdapConnectorSettings::usual_containers(),
        types,
        disabled_when: DisabledTest::defaults(),
        delta: DeltaChoice::Timestamp,
        writeback: Some(Writable {
            attributes: list(&["mS-DS-ConsistencyGuid", "description", "jpegPhoto"]),
            binary: list(&["mS-DS-ConsistencyGuid", "jpegPhoto"]),
        }),
        bounds: Bounds::Everywhere,
    }
}

/// Bytes that are no text, and one that looks like it.
pub const GUIDS: [[u8; 16]; 3] =
    [[0xf0; 16], *b"looks like text!", [0x2a, 0, 0x29, 0x28, 0x5c, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]];

pub fn person(key: &str, guid: &[u8; 16]) -> String {
    use base64::Engine as _;
    let guid = base64::engine::general_purpose::STANDARD.encode(guid);
    format!(
        "dn: uid={key},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: testPerson\n\
         objectClass: testNumbered\nobjectClass: testAnchored\nuid: {key}\ncn: {key}\nsn: {key}\n\
         mail: {key}@alpha.example\nobjectGUID:: {guid}\n"
    )
}

fn update(guid: &[u8; 16], changes: &[(&str, &[Value])]) -> ExportChange {
    let changes: Attributes = changes.iter().map(|(name, values)| ((*name).into(), values.to_vec())).collect();
    let anchor = Value::binary(guid).as_text().to_owned();
    let operation = ExportOperation::Update { anchor, changes };
    ExportChange { object: ObjectId(1), object_type: "user".to_owned(), identity: Attributes::new(), operation }
}

async fn export(connector: &LdapConnector, batch: Vec<ExportChange>) -> Vec<String> {
    let results = connector.export(batch, &turn()).await.expect("answers");
    let word = |result| match result {
        ExportResult::Accepted { .. } => "accepted".to_owned(),
        ExportResult::Refused { code, .. } => code,
        ExportResult::Unknown { reason } => reason,
    };
    results.into_iter().map(word).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_attributes_are_written_to_entries_found_by_binary_anchors() {
    let slapd = Slapd::builder()
        .ldif(&person("ada", &GUIDS[0]))
        .ldif(&person("bob", &GUIDS[1]))
        .ldif(&person("cyd", &GUIDS[2]))
        .start();
    let connector = LdapConnector::new(settings(&slapd));
    let capabilities = connector.capabilities();
    assert!(capabilities.writes_back && capabilities.single_read && !capabilities.exports);
    let text = |text: &str| vec![Value::text(text)];
    let batch = || {
        vec![
            update(&GUIDS[0], &[("mS-DS-ConsistencyGuid", &[Value::binary(&GUIDS[0])]), ("description", &text("a"))]),
            update(&GUIDS[1], &[("mS-DS-ConsistencyGuid", &[Value::binary(&GUIDS[1])])]),
            update(&GUIDS[2], &[("mail", &text("x@alpha.example"))]),
            update(&[7; 16], &[("description", &text("nobody"))]),
            update(&GUIDS[2], &[("description", &text("c"))]),
        ]
    };
    // Every change may arrive twice.
    for _ in 0..2 {
        let words = export(&connector, batch()).await;
        assert_eq!(words, ["accepted", "accepted", "permission-issue", "cd-missing-object", "accepted"]);
    }
    slapd.ldapmodify(&format!(
        "dn: uid=cyd,ou=people,{SUFFIX}\nchangetype: modrdn\nnewrdn: uid=moved\ndeleteoldrdn: 1\n"
    ));
    assert_eq!(export(&connector, vec![update(&GUIDS[2], &[("description", &text("renamed"))])]).await, ["accepted"]);
    assert_eq!(slapd.values(&format!("uid=moved,ou=people,{SUFFIX}"), "description"), ["renamed"]);

    let ask = |guid: &[u8; 16]| ReadBack::ByAnchor {
        object_type: "user".to_owned(),
        anchor: Value::binary(guid).as_text().to_owned(),
    };
    let read = connector.read_back(vec![ask(&GUIDS[0]), ask(&[7; 16]), ask(&GUIDS[1])]).await.expect("answers");
    assert!(read[1].is_none());
    for (read, guid) in [(&read[0], &GUIDS[0]), (&read[2], &GUIDS[1])] {
        let object = read.as_ref().expect("it is there");
        assert_eq!(object.attributes[&"mS-DS-ConsistencyGuid".into()], [Value::binary(guid)]);
    }
    assert_eq!(export(&connector, vec![update(&GUIDS[0], &[("description", &[])])]).await, ["accepted"]);
    assert_eq!(slapd.values(&format!("uid=ada,ou=people,{SUFFIX}"), "description"), [""; 0]);
    let delete = ExportOperation::Delete { anchor: Value::binary(&GUIDS[0]).as_text().to_owned() };
    assert_eq!(
        export(&connector, vec![ExportChange { operation: delete, ..update(&GUIDS[0], &[]) }]).await,
        ["unsupported"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_without_being_allowed() {
    let slapd = Slapd::builder().ldif(&person("ada", &GUIDS[0])).start();
    let quiet = LdapConnector::new(LdapConnectorSettings { writeback: None, ..settings(&slapd) });
    assert!(!quiet.capabilities().writes_back && !quiet.capabilities().single_read);
    let change = || vec![update(&GUIDS[0], &[("description", &[Value::text("x")])])];
    assert!(matches!(quiet.export(change(), &turn()).await, Err(ConnectorError::Unsupported { .. })));
    assert!(matches!(quiet.read_back(Vec::new()).await, Err(ConnectorError::Unsupported { .. })));
    let reader = LdapConnectorSettings {
        account: ServiceAccount {
            dn: slapd.service_dn().parse().expect("a dn"),
            password: PlainPassword::new(slapd.service_password().to_owned()).expect("may be typed"),
        },
        ..settings(&slapd)
    };
    assert_eq!(export(&LdapConnector::new(reader), change()).await, ["permission-issue"]);
}
