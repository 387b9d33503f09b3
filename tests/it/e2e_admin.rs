//! The admin socket, the audit log and the secrets of a running gateway, as an auditor would try them.

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::directory::{ALPHA, BETA, Directory, People, Person};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::process::{is_root, output};
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Tab};

/// The password of two people, who sign in by different methods.
const RIGHT: &str = "Zebra-violin-4711-right";
const BY_HASH: usize = 8;
const LIVE: usize = 9;
/// A group that comes from the directory.
const GROUP: &str = "group00";

/// Principals of the tests besides the one that runs them: uid, role.
const READER: u32 = 61_001;
const AUDITOR: u32 = 61_002;
const SIGN_IN_ADMIN: u32 = 61_003;
const SYNC_ADMIN: u32 = 61_004;
const UNLISTED: u32 = 61_005;

struct Site {
    slapd: Slapd,
    directory: Directory,
    gateway: Gateway,
}

impl Site {
    fn open() -> Self {
        let mut directory = People { people: 30, groups: 3, ..People::default() }.generate();
        for index in [BY_HASH, LIVE] {
            directory.people[index].password = RIGHT.to_owned();
        }
        let slapd = Slapd::builder().directory(&directory).start();
        let port = free_port();
        let agents = format!("[agents]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n");
        let mut gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], "").section(&agents).start();
        let principals = format!(
            "role = \"owner\" }}, {{ name = \"reader\", uid = {READER}, role = \"reader\" }}, \
             {{ name = \"auditor\", uid = {AUDITOR}, role = \"auditor\" }}, \
             {{ name = \"signer\", uid = {SIGN_IN_ADMIN}, role = \"sign-in-admin\" }}, \
             {{ name = \"syncer\", uid = {SYNC_ADMIN}, role = \"sync-admin\" }}]"
        );
        gateway.reconfigure(|text| text.replace("role = \"owner\" }]", &principals));
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run"]);
        gateway.cli(&["password-sync", "run"]);
        tab::register(&gateway);
        Self { slapd, directory, gateway }
    }

    fn person(&self, index: usize) -> &Person {
        &self.directory.people[index]
    }

    /// Sends a request to the socket as `uid`; returns the status with the answer.
    fn ask(&self, uid: u32, operation: &str, request: &Value) -> (u16, Value) {
        assert!(is_root(), "the tests of principals take other uids and run as root");
        let output = Command::new("setpriv")
            .args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--", "curl", "-sS"])
            .arg("--unix-socket")
            .arg(self.gateway.folder().join("admin.sock"))
            .args(["-H", "content-type: application/json", "-w", "\n%{http_code}", "-d", &request.to_string()])
            .arg(format!("http://gateway/admin/v1/{operation}"))
            .output()
            .expect("curl and setpriv are installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| {
            panic!("no answer to {operation}: {}", String::from_utf8_lossy(&output.stderr));
        });
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        (status.parse().expect("a status"), body)
    }
}

fn landbridge(config: &Path, args: &[&str]) -> Output {
    output(Command::new(env!("CARGO_BIN_EXE_landbridge")).arg("--config").arg(config).args(args))
}

/// Every operation: its name, a request, whether it changes something, and who of the principals may do it.
fn operations() -> Vec<(&'static str, Value, bool, Vec<u32>)> {
    let every = vec![READER, AUDITOR, SIGN_IN_ADMIN, SYNC_ADMIN];
    let read = |name, request| (name, request, false, every.clone());
    let audit = |name, request| (name, request, false, vec![AUDITOR]);
    let sign_in = |name, request| (name, request, true, vec![SIGN_IN_ADMIN]);
    let sync = |name, request| (name, request, true, vec![SYNC_ADMIN]);
    let tenant = |name, request| (name, request, true, vec![]);
    let user = "p00008@alpha.example";
    vec![
        read("domain.list", json!({})),
        read("domain.show", json!({ "name": ALPHA })),
        read("user.list", json!({})),
        read("user.show", json!({ "user": user })),
        read("client.list", json!({})),
        read("partner.list", json!({})),
        read("alerts.status", json!({})),
        sign_in("alerts.test", json!({ "channel": "nobody" })),
        read("failover.status", json!({ "probe": true })),
        read("guard.show", json!({})),
        read("sync.status", json!({ "runs": 1 })),
        read("sync.search", json!({ "text": "p00008" })),
        read("sync.object", json!({ "object": user })),
        read("sync.explain", json!({ "attribute": "displayName", "object": user })),
        read("sync.diff", json!({})),
        read("password-sync.status", json!({})),
        audit("password-sync.leaked", json!({})),
        audit("audit.tail", json!({ "limit": 1, "after": null })),
        audit("audit.verify", json!({})),
        sign_in("user.unlock", json!({ "user": user })),
        sign_in("user.revoke-sessions", json!({ "user": user })),
        read("lockout.report", json!({ "hours": 24, "limit": 10 })),
        sign_in("user.wipe-credential", json!({ "user": user })),
        sign_in("domain.set-failover", json!({ "domain": BETA, "backup": "phs" })),
        sign_in("domain.set-method", json!({ "domain": BETA, "method": "pta", "force": true })),
        read("domain.readiness", json!({ "domain": BETA })),
        read("rollout.list", json!({})),
        read("domain.changes", json!({})),
        read("failover.drill", json!({ "domain": BETA })),
        sign_in("domain.approve", json!({ "change": "00000000-0000-4000-8000-000000000000" })),
        sign_in("domain.cancel", json!({ "change": "00000000-0000-4000-8000-000000000000" })),
        sign_in("rollout.add", json!({ "domain": BETA, "percent": 10, "method": "phs", "force": true })),
        sign_in("rollout.remove", json!({ "domain": BETA, "force": true })),
        sign_in("failover.force", json!({ "domain": BETA, "pin": "backup" })),
        sign_in("failover.set-group", json!({ "domain": BETA, "group": GROUP, "failover": "manual" })),
        sign_in("failover.release", json!({ "domain": BETA, "anyway": true })),
        sign_in("domain.rollback", json!({ "domain": BETA, "force": true })),
        ("sync.preview", json!({ "files": false }), false, vec![SYNC_ADMIN]),
        ("sync.preview-settings", json!({}), false, vec![SYNC_ADMIN]),
        ("sync.preview-object", json!({ "object": user }), false, vec![SYNC_ADMIN]),
        sync("sync.run", json!({ "profile": "cycle" })),
        sync("sync.provision", json!({ "object": user })),
        read("sync.progress", json!({})),
        read("sync.runs", json!({ "limit": 1 })),
        sync("sync.cancel", json!({})),
        sync("sync.suspend", json!({ "reason": "test" })),
        sync("sync.resume", json!({})),
        (
            "connector.preview-removal",
            json!({ "removal": { "connector": "corp", "object_type": null } }),
            false,
            vec![SYNC_ADMIN],
        ),
        sync("connector.remove", json!({ "removal": { "connector": "nobody", "object_type": null } })),
        sync("rules.activate", json!({ "even_if_held": true })),
        sync("guard.release", json!({ "target": "tenant", "digest": "none" })),
        sync("password-sync.run", json!({ "connector": null })),
        tenant("domain.add", json!({ "name": "gamma.example" })),
        tenant("domain.verify", json!({ "name": "gamma.example", "vouched": true })),
        tenant("domain.withdraw", json!({ "name": "gamma.example", "connector": "nobody" })),
        tenant(
            "client.add",
            json!({ "client_id": "second", "name": "Second", "public": true, "pairwise": false, "algorithm": "RS256",
                    "redirect_uris": ["https://second.example/cb"], "logout_uris": [] }),
        ),
        tenant("partner.add", json!({ "metadata": "<none/>", "domains": [ALPHA] })),
        tenant("partner.refresh", json!({})),
        tenant("keys.rotate", json!({ "algorithm": "RS256" })),
        read("agents.list", json!({})),
        ("agents.test", json!({ "whom": { "connector": "corp" } }), false, vec![SIGN_IN_ADMIN]),
        sign_in("agents.drain", json!({ "agent": "00000000-0000-4000-8000-000000000001", "draining": true })),
        tenant(
            "agents.token",
            json!({ "connectors": ["corp"], "domains": [], "sync_server": false, "lifetime": { "secs": 60, "nanos": 0 } }),
        ),
        tenant("agents.revoke", json!({ "agent": "00000000-0000-4000-8000-000000000001" })),
        read("directory.quota", json!({})),
        read("directory.quarantine", json!({})),
        tenant("sync.anchor-migrate", json!({ "dry_run": true })),
        tenant("user.add", json!({ "upn": "cloud@alpha.example", "privileged": true })),
        tenant("user.set-privileged", json!({ "user": "cloud@alpha.example", "privileged": false })),
        tenant("user.delete", json!({ "user": "cloud@alpha.example" })),
        read("keys.ring", json!({})),
        tenant("keys.roll-ring", json!({})),
        tenant("keys.retire-ring", json!({ "key": "k-none" })),
    ]
}

/// The names in the source of the operations.
fn operations_in_source() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/admin");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the operations") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name == "socket.rs") {
            continue; // its unit test has an operation of its own
        }
        let text = std::fs::read_to_string(path).expect("a source file");
        names.extend(
            text.split("const NAME: &'static str = \"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next().map(ToOwned::to_owned)),
        );
    }
    names.sort();
    names
}

#[test]
fn every_admin_operation_refuses_who_lacks_the_right_and_leaves_its_record() {
    let site = Site::open();
    let mut listed: Vec<&str> = operations().iter().map(|operation| operation.0).collect();
    listed.sort_unstable();
    assert_eq!(listed, operations_in_source(), "an operation is missing here");

    let before = site.gateway.audit(1000).len();
    for _ in 0..3 {
        assert_eq!(site.ask(UNLISTED, "domain.list", &json!({})).0, 403);
    }
    let records = site.gateway.audit(1000);
    let strangers: Vec<&Value> = records[before..].iter().filter(|record| record["kind"] == "admin-refused").collect();
    assert_eq!(strangers.len(), 1, "one record, however often one uid knocks: {strangers:#?}");
    assert_eq!(strangers[0]["subject"], json!(format!("uid {UNLISTED}")));
    assert_eq!(strangers[0]["reason"], "unlisted-uid");
    assert_eq!(strangers[0]["detail"]["operation"], "domain.list");

    for (name, request, changes, allowed) in operations() {
        let (status, answer) = site.ask(UNLISTED, name, &request);
        assert_eq!((status, &answer["kind"]), (403, &json!("forbidden")), "{name} to an unlisted uid: {answer}");
        for uid in [READER, AUDITOR, SIGN_IN_ADMIN, SYNC_ADMIN] {
            if allowed.contains(&uid) {
                continue;
            }
            let (status, answer) = site.ask(uid, name, &request);
            assert_eq!((status, &answer["kind"]), (403, &json!("forbidden")), "{name} to {uid}: {answer}");
            let last = &site.gateway.audit(1)[0];
            assert_eq!(
                (&last["kind"], &last["outcome"], &last["reason"]),
                (&json!(name), &json!("refused"), &json!("forbidden"))
            );
        }
        if !changes {
            for uid in allowed {
                let (status, answer) = site.ask(uid, name, &request);
                // No agent is connected that could be tested, and there is nothing to compare with.
                let expected = if ["agents.test", "sync.diff"].contains(&name) { 409 } else { 200 };
                assert_eq!(status, expected, "{name} to {uid}: {answer}");
            }
            continue;
        }
        // The owner does it, or the one that has the right.
        let mark = site.gateway.audit(1)[0]["number"].as_i64().expect("a number");
        let (status, answer) = match allowed.first() {
            Some(uid) => site.ask(*uid, name, &request),
            None => site.ask(0, name, &request),
        };
        let refusals = [
            "alerts.test",
            "guard.release",
            "partner.add",
            "partner.refresh",
            "agents.drain",
            "agents.revoke",
            "agents.token",
            "sync.cancel",
            "connector.remove",
            "domain.withdraw",
            "domain.approve",
            "domain.cancel",
            "keys.retire-ring",
        ];
        assert_eq!(status == 200, !refusals.contains(&name), "{name}: {status} {answer}");
        let records = site.gateway.audit(1000);
        let records: Vec<&Value> =
            records.iter().filter(|r| r["number"].as_i64() > Some(mark) && r["kind"] == name).collect();
        let outcome = |record: &Value| record["outcome"].as_str().unwrap_or_default().to_owned();
        assert_eq!(records.first().map(|r| outcome(r)).as_deref(), Some("begun"), "{name}: {records:#?}");
        let end = if refusals.contains(&name) { "failed" } else { "success" };
        assert_eq!(records.last().map(|r| outcome(r)).as_deref(), Some(end), "{name}: {records:#?}");
    }
}

#[tokio::test]
async fn a_changed_audit_record_is_found() {
    let slapd = Slapd::builder().start();
    let mut gateway = Gateway::builder().slapd("corp", &slapd, &["ldap.example"], "").start();
    gateway.cli(&["domain", "add", ALPHA]);
    assert_eq!(gateway.cli(&["audit", "verify"])["breaks"], json!([]));
    gateway.stop();
    let url = format!("sqlite:{}", gateway.folder().join("data").display()).parse().expect("a url");
    let db = landbridge::store::Database::open(&url, landbridge::store::Room::Gateway).await.expect("the store");
    db.write(landbridge::store::Urgency::Waited, |conn| {
        Box::pin(async move {
            let changed =
                sqlx::raw_sql("UPDATE audit SET outcome = 'failed' WHERE kind = 'domain.add' AND outcome = 'begun'")
                    .execute(conn)
                    .await
                    .map_err(landbridge::store::StoreError::doing("a test's write"))?;
            assert_eq!(changed.rows_affected(), 1);
            Ok::<(), landbridge::store::StoreError>(())
        })
    })
    .await
    .expect("a write");
    db.close().await;
    gateway.start_again();
    let output = landbridge(&gateway.settings_file(), &["--json", "audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["breaks"].as_array().map(Vec::len), Some(1), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_password_and_its_hash_are_nowhere_to_be_read() {
    const WRONG: &str = "Zebra-violin-4711-wrong";
    let mut site = Site::open();
    let metrics = crate::support::ports::free_port();
    site.gateway.log_filter("info,landbridge=trace,ldap3=trace,sqlx=debug");
    let listener = format!("[gateway]\nmetrics_listen = \"127.0.0.1:{metrics}\"");
    site.gateway.reconfigure(|text| text.replace("[gateway]", &listener));
    let (hash_person, live_person) = (site.person(BY_HASH).clone(), site.person(LIVE).clone());
    assert!(hash_person.upn.ends_with(ALPHA) && live_person.upn.ends_with(BETA));
    site.gateway.cli(&["password-sync", "run"]);
    site.gateway.cli(&["domain", "set-method", BETA, "pta"]);
    site.gateway.cli(&["domain", "set-failover", BETA, "--backup", "phs", "--mode", "automatic"]);
    let http = site.gateway.http();
    for person in [&hash_person, &live_person] {
        let page = Tab::new(&site.gateway, &http).sign_in(&person.upn, RIGHT).await;
        assert!(page.has_code(), "{}: {} {}", person.upn, page.status, page.body);
        assert!(!Tab::new(&site.gateway, &http).sign_in(&person.upn, WRONG).await.has_code());
    }
    let stored: Vec<String> =
        [&hash_person, &live_person].iter().flat_map(|p| site.slapd.values(&p.dn, "userPassword")).collect();
    assert_eq!(stored.len(), 2);
    // A password in the field for the name, as it happens.
    let mut tab = Tab::new(&site.gateway, &http);
    let page = tab.authorize(&[]).await;
    tab.submit(&page, "name", RIGHT).await;
    // Nobody answers: the check itself fails, or the backup takes it.
    site.slapd.stop();
    let page = Tab::new(&site.gateway, &http).sign_in(&live_person.upn, WRONG).await;
    assert!(!page.has_code());
    let figures = http.get(format!("http://127.0.0.1:{metrics}/metrics")).send().await.expect("an answer");
    let figures = figures.text().await.expect("a text");
    let audit = serde_json::to_string(&site.gateway.audit(1000)).expect("JSON");
    site.gateway.stop();
    let log = site.gateway.log();
    assert!(log.contains("\"level\":\"DEBUG\""), "the log is at its fullest");
    let mut files = vec![("log".to_owned(), log.into_bytes())];
    files.push(("metrics".to_owned(), figures.into_bytes()));
    files.push(("audit".to_owned(), audit.into_bytes()));
    for entry in std::fs::read_dir(site.gateway.folder().join("data")).expect("the store") {
        let path = entry.expect("a file").path();
        files.push((path.display().to_string(), std::fs::read(&path).expect("a store file")));
    }
    assert!(files.iter().any(|(name, _)| name.ends_with("gateway.db")));
    let nt = crate::support::passwords::nt_hash(RIGHT);
    let mut secrets = vec![b"Zebra-violin-4711".to_vec(), nt.clone().into_bytes(), nt.to_lowercase().into_bytes()];
    for value in stored {
        // ldapsearch shows passwords in base64.
        let value = BASE64_STANDARD.decode(value).expect("base64");
        let value = String::from_utf8(value).expect("a scheme and base64");
        let hash = value.strip_prefix("{SSHA}").expect("the usual scheme");
        let bytes = BASE64_STANDARD.decode(hash).expect("base64");
        secrets.extend([hash.as_bytes().to_vec(), hex::encode(&bytes).into_bytes(), bytes[..20].to_vec()]);
    }
    let find = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).position(|window| window == text);
    for known in ["audit", "gateway.db"] {
        let (_, bytes) = files.iter().find(|(name, _)| name.ends_with(known)).expect("it was read");
        assert!(find(bytes, hash_person.upn.as_bytes()).is_some(), "{known} tells of the sign-ins");
    }
    for (name, bytes) in &files {
        for secret in &secrets {
            let around = find(bytes, secret)
                .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(300)..at + secret.len()]).into_owned());
            assert_eq!(around, None, "{} stands in {name}", String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn a_bad_settings_file_is_reported_as_a_whole_with_lines() {
    let slapd = Slapd::builder().start();
    let gateway = Gateway::builder().slapd("corp", &slapd, &["ldap.example"], "").start();
    let good = std::fs::read_to_string(gateway.settings_file()).expect("a settings file");
    assert_eq!(landbridge(&gateway.settings_file(), &["check-config"]).status.code(), Some(0));
    let bad = good
        .replace("public_url = \"https:", "public_url = \"http:")
        .replace("role = \"owner\"", "role = \"king\"")
        .replace("bind_password_file = \"corp.secret\"", "bind_password_file = \"gone.secret\"")
        .replace("[sync]", "[sync]\nunknown_key = 1");
    let file = gateway.folder().join("bad.toml");
    std::fs::write(&file, &bad).expect("a file");
    let output = landbridge(&file, &["check-config"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    for wrong in ["public_url = \"http:", "role = \"king\"", "gone.secret", "unknown_key"] {
        let line = 1 + bad.lines().position(|line| line.contains(wrong)).expect("a line");
        assert!(told.contains(&format!("bad.toml:{line}:")), "line {line} ({wrong}) is not told:\n{told}");
    }
    assert_eq!(landbridge(&gateway.settings_file(), &["nonsense"]).status.code(), Some(2));
}
