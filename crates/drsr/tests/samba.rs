//! Against a real domain controller: Samba, started by each test.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use drsr::{
    Account, AccountChange, Client, Continuity, Controller, CrackedName, Cursor, Error, NameFormat, NtHash, ObjectName,
    Page, Password, Port, Replicated,
};
use samba::{CORP, SYNC_ACCOUNT, SYNC_PASSWORD, Samba};

#[allow(dead_code, reason = "shared with the product's tests, which use other parts of it")]
#[path = "../../../tests/it/support/process.rs"]
mod process;
#[allow(dead_code, reason = "shared with the product's tests, which use other parts of it")]
#[path = "../../../tests/it/support/samba.rs"]
mod samba;
#[allow(dead_code, reason = "shared with the product's tests, which use other parts of it")]
#[path = "../../../tests/it/support/wait.rs"]
mod wait;

const ALL_RIGHTS: [&str; 3] = ["get-changes", "get-changes-all", "deleted-objects"];
/// Random password changes of the delta test; more on demand by `DRSR_CHANGES`.
const CHANGES: usize = 120;
const USERS: usize = 60;

fn controller(samba: &Samba) -> Controller {
    Controller {
        address: Some(IpAddr::V4(samba.address)),
        ..Controller::new(format!("{}.{}", samba.forest.host, samba.forest.realm))
    }
}

fn account(samba: &Samba) -> Account {
    Account::ntlm(samba.forest.netbios, SYNC_ACCOUNT, Password::new(SYNC_PASSWORD.to_owned()))
}

async fn connect(samba: &Samba) -> Client {
    Client::connect(&controller(samba), &account(samba)).await.expect("the server runs and the account has its rights")
}

fn passwords(seed: usize, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("Start-{seed}-{number}-päss!")).collect()
}

fn hash_of(password: &str) -> String {
    hex(&NtHash::of(&Password::new(password.to_owned())))
}

fn hex(hash: &NtHash) -> String {
    hash.expose().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn pages(client: &mut Client, cursor: Cursor, page_objects: u32) -> Vec<Page> {
    let mut pass = client.pass(cursor).page_objects(page_objects);
    let mut pages = Vec::new();
    while let Some(page) = pass.next_page().await.expect("a page") {
        pages.push(page);
    }
    pages
}

/// Hashes by account name; `names` are kept between passes, since a delta does not repeat them.
fn collect_hashes(pages: &[Page], names: &mut BTreeMap<uuid::Uuid, String>) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for change in pages.iter().flat_map(|page| &page.accounts) {
        if let Some(name) = change.sam_account_name.value() {
            names.insert(change.guid, name.clone());
        }
        if let Some(hash) = change.password.value() {
            hashes.insert(names[&change.guid].clone(), hex(hash));
        }
    }
    hashes
}

/// A small generator of numbers that is the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((number ^ number >> 31) % u64::try_from(limit).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn every_hash_is_what_independent_clients_read_and_changes_arrive_as_deltas() {
    let samba = Samba::start(CORP, &ALL_RIGHTS);
    samba.add_users("user", &passwords(0, USERS));
    let mut names = BTreeMap::new();

    let mut client = connect(&samba).await;
    let full = pages(&mut client, Cursor::start(samba.base()), 50).await;
    assert!(full.len() > 1, "several pages");
    assert!(full.iter().all(|page| matches!(page.continuity, Continuity::First | Continuity::Continued)));
    let hashes = collect_hashes(&full, &mut names);
    assert_eq!(hashes, samba.hashes_by_impacket());
    assert_eq!(hashes, samba.stored_hashes());
    assert_eq!(hashes["user7"], hash_of("Start-0-7-päss!"));

    let cursor = full.last().unwrap().cursor.clone();
    let idle = pages(&mut client, cursor.clone(), 1000).await;
    assert_eq!(idle.iter().map(|page| page.accounts.len()).sum::<usize>(), 0, "{idle:?}");

    let changes = std::env::var("DRSR_CHANGES").map_or(CHANGES, |text| text.parse().unwrap());
    let mut numbers = Numbers(20_261_121);
    let changed: Vec<_> = (0..changes)
        .map(|number| (format!("user{}", numbers.below(USERS)), format!("Changed-{number}-pässwörd")))
        .collect();
    samba.set_passwords(changed.iter().map(|(account, password)| (account.as_str(), password.as_str())));
    let last: BTreeMap<_, _> = changed.iter().map(|(account, password)| (account.clone(), hash_of(password))).collect();

    // Over a cursor that was stored, on a new connection.
    client.close().await;
    let stored = serde_json::to_string(&cursor).unwrap();
    let mut client = connect(&samba).await;
    let delta = pages(&mut client, serde_json::from_str(&stored).unwrap(), 1000).await;
    assert!(delta.iter().all(|page| page.continuity == Continuity::Continued));
    assert_eq!(collect_hashes(&delta, &mut names), last);
    for change in delta.iter().flat_map(|page| &page.accounts) {
        let (password, set) = (change.password.stamp().unwrap(), change.password_last_set.stamp().unwrap());
        assert_eq!(password.originating_server, cursor.invocation_id().unwrap());
        assert!(password.version > 1 && set.version > 1, "{change:?}");
        assert!((password.changed_at.ticks() - change.password_last_set.value().unwrap().ticks()).abs() < 600_000_000);
    }
    assert_eq!(samba.stored_hashes(), samba.hashes_by_impacket());
}

#[tokio::test]
async fn single_objects_account_states_and_deletions_are_read() {
    let samba = Samba::start(CORP, &ALL_RIGHTS);
    samba.add_users("user", &passwords(1, 3));
    let mut client = connect(&samba).await;
    let by_name = ObjectName::DistinguishedName(samba.name_of("user1"));
    let user: AccountChange = client.account(&by_name).await.unwrap().unwrap();
    assert_eq!(user.password.value().map(hex), Some(hash_of("Start-1-1-päss!")));
    assert_eq!(user.sam_account_name.value().map(String::as_str), Some("user1"));
    assert_eq!(user.user_principal_name.value().map(String::as_str), Some("user1@corp.example"));
    assert_eq!(user.account_control.value(), Some(&512));
    let sid = user.sid.clone().unwrap();
    for name in [ObjectName::Guid(user.guid), ObjectName::Sid(sid.clone())] {
        assert_eq!(client.account(&name).await.unwrap().unwrap().guid, user.guid, "{name:?}");
    }
    let nobody = ObjectName::Guid(uuid::Uuid::from_u128(1));
    assert!(client.account(&nobody).await.unwrap().is_none());

    let cracked = client
        .crack_names(
            NameFormat::Nt4Account,
            NameFormat::DistinguishedName,
            &["CORP\\user1".to_owned(), "CORP\\nobody".to_owned()],
        )
        .await
        .unwrap();
    assert!(matches!(&cracked[0], CrackedName::Found { name, .. } if *name == samba.name_of("user1")), "{cracked:?}");
    assert_eq!(cracked[1], CrackedName::NotFound);
    let controllers = client.domain_controllers("corp.example").await.unwrap();
    assert_eq!(controllers[0].dns_name.as_deref(), Some("dc1.corp.example"));
    // Asked as the controller itself, as Windows wants it.
    assert!(client.account(&by_name).await.unwrap().is_some());

    let cursor = pages(&mut client, Cursor::start(samba.base()), 1000).await.pop().unwrap().cursor;
    samba.replace("user0", "userAccountControl", "514");
    samba.replace("user1", "pwdLastSet", "0");
    samba.replace("user2", "accountExpires", "130000000000000000");
    let delta = pages(&mut client, cursor, 1000).await;
    let cursor = delta.last().unwrap().cursor.clone();
    let find = |pages: &[Page], name: &str| {
        let mut changes = pages.iter().flat_map(|page| &page.accounts);
        changes.position(|change| change.name == samba.name_of(name)).unwrap()
    };
    let changes = &delta[0].accounts;
    assert_eq!(changes[find(&delta, "user0")].account_control.value(), Some(&514));
    assert_eq!(changes[find(&delta, "user1")].password_last_set.value().map(|time| time.ticks()), Some(0));
    assert_eq!(
        changes[find(&delta, "user2")].account_expires.value().map(|time| time.ticks()),
        Some(130_000_000_000_000_000)
    );

    samba.delete("user1");
    let delta = pages(&mut client, cursor, 1000).await;
    let deleted: Vec<_> = delta.iter().flat_map(|page| &page.accounts).filter(|change| change.is_deleted).collect();
    assert_eq!(deleted.len(), 1, "{deleted:?}");
    assert_eq!((deleted[0].guid, deleted[0].sid.as_ref()), (user.guid, Some(&sid)));
    assert!(matches!(deleted[0].password, Replicated::Cleared(_)), "{deleted:?}");
    let gone = client.account(&ObjectName::Guid(user.guid)).await.unwrap();
    assert!(gone.is_none_or(|account| account.is_deleted));
    client.close().await;
}

async fn refusal(samba: &Samba, controller: &Controller, account: &Account) -> Error {
    match Client::connect(controller, account).await {
        Err(error) => error,
        Ok(mut client) => client.pass(Cursor::start(samba.base())).next_page().await.expect_err("it is refused"),
    }
}

#[tokio::test]
async fn each_failure_has_its_own_error_and_remedy() {
    let samba = Samba::start(CORP, &["get-changes"]);
    samba.add_users("plain", &passwords(2, 2));
    samba.replace("plain1", "userAccountControl", "514");
    let server = controller(&samba);
    let named = |name: &str, password: &str| Account::ntlm("CORP", name, Password::new(password.to_owned()));

    for (who, account) in [
        ("wrong password", named(SYNC_ACCOUNT, "wrong")),
        ("unknown account", named("nobody", "wrong")),
        ("disabled account", named("plain1", "Start-2-1-päss!")),
    ] {
        let error = refusal(&samba, &server, &account).await;
        assert!(
            matches!(&error, Error::LogonFailure { account: shown, .. } if shown.contains(&account.name)),
            "{who}: {error}"
        );
        assert!(!error.is_passing());
    }
    for (who, account) in [("no right", named("plain0", "Start-2-0-päss!")), ("one right of two", account(&samba))] {
        let error = refusal(&samba, &server, &account).await;
        assert!(
            matches!(&error, Error::AccessDenied { naming_context, .. } if *naming_context == samba.base()),
            "{who}: {error}"
        );
        let remedy = error.remedy();
        assert!(remedy.contains("Replicating Directory Changes All") && remedy.contains("1131f6ad-"), "{remedy}");
    }
    samba.grant(SYNC_ACCOUNT, &["get-changes-all"]);
    let mut client = connect(&samba).await;
    for name in ["OU=Staff,DC=corp,DC=example", "DC=other,DC=example"] {
        let error = client.pass(Cursor::start(name)).next_page().await.unwrap_err();
        assert!(matches!(&error, Error::NotANamingContext { name: shown, .. } if shown == name), "{error}");
    }
    // A refusal leaves the connection usable.
    assert!(client.pass(Cursor::start(samba.base())).next_page().await.unwrap().is_some());

    let nowhere = Controller { address: Some(IpAddr::V4(Ipv4Addr::new(127, 255, 254, 253))), ..server.clone() };
    let error = refusal(&samba, &nowhere, &account(&samba)).await;
    assert!(
        matches!(error, Error::Unreachable { port: Port::EndpointMapper(135), .. }) && error.is_passing(),
        "{error}"
    );
    let closed = Controller { replication_port: Some(1), ..server.clone() };
    let error = refusal(&samba, &closed, &account(&samba)).await;
    assert!(matches!(error, Error::Unreachable { port: Port::Replication(1), .. }), "{error}");

    // Accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Controller {
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        endpoint_mapper_port: silent.local_addr().unwrap().port(),
        call_deadline: Duration::from_millis(200),
        ..server
    };
    let error = refusal(&samba, &silent, &account(&samba)).await;
    assert!(matches!(error, Error::Deadline { .. } | Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_restart_in_mid_pass_and_a_new_incarnation_lose_nothing() {
    let mut samba = Samba::start(CORP, &ALL_RIGHTS);
    samba.add_users("user", &passwords(3, 40));
    // More values of links than an answer has room for, and the head of the domain as the newest object of all.
    let (base, members) = (samba.base(), (0..40).map(|user| samba.name_of(&format!("user{user}"))));
    let members: String = members.map(|name| format!("member: {name}\n")).collect();
    let group = |group| format!("dn: CN=g{group},OU=Staff,{base}\nchangetype: add\nobjectClass: group\n{members}\n");
    samba.ldif(&(0..45).map(group).collect::<String>());
    samba.replace_in_domain("lockoutThreshold", "9");
    let mut names = BTreeMap::new();
    let mut client = connect(&samba).await;
    let mut pass = client.pass(Cursor::start(samba.base())).page_objects(40);
    let mut read = vec![pass.next_page().await.unwrap().unwrap()];
    assert!(!read[0].is_last);

    samba.stop();
    let error = pass.next_page().await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }) && error.is_passing(), "{error}");
    assert!(pass.next_page().await.unwrap().is_none());
    let error = client.pass(read[0].cursor.clone()).next_page().await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error}");
    samba.start_again();

    let mut client = connect(&samba).await;
    read.extend(pages(&mut client, read[0].cursor.clone(), 40).await);
    assert_eq!(collect_hashes(&read, &mut names), samba.stored_hashes());
    let cursor = read.last().unwrap().cursor.clone();
    let before = cursor.invocation_id().unwrap();

    samba.stop();
    let after = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    samba.set_invocation_id(&after.to_string());
    samba.start_again();
    samba.set_passwords([("user3", "New-Incarnation-3"), ("user9", "New-Incarnation-9")]);
    let mut client = connect(&samba).await;
    let delta = pages(&mut client, cursor, 1000).await;
    assert_eq!(delta[0].continuity, Continuity::Moved { from: before, to: after });
    let changed = collect_hashes(&delta, &mut names);
    assert_eq!(changed["user3"], hash_of("New-Incarnation-3"));
    assert_eq!(changed["user9"], hash_of("New-Incarnation-9"));
    assert!(changed.len() < 10, "the vector covers what was read before: {changed:?}");
    let cursor = delta.last().unwrap().cursor.clone();
    assert_eq!(cursor.invocation_id(), Some(after));
    let idle = pages(&mut client, cursor, 1000).await;
    assert_eq!(idle[0].continuity, Continuity::Continued);
    assert!(collect_hashes(&idle, &mut names).is_empty());
}

#[tokio::test]
async fn kerberos_reads_the_same_hashes() {
    let samba = Samba::start(CORP, &ALL_RIGHTS);
    samba.add_users("user", &passwords(4, 30));
    let server = controller(&samba);
    let named = |password: &str| Account::kerberos("corp.example", SYNC_ACCOUNT, Password::new(password.to_owned()));
    let mut client = Client::connect(&server, &named(SYNC_PASSWORD)).await.unwrap();
    let read = pages(&mut client, Cursor::start(samba.base()), 40).await;
    assert_eq!(collect_hashes(&read, &mut BTreeMap::new()), samba.stored_hashes());
    client.close().await;

    let error = refusal(&samba, &server, &named("wrong")).await;
    assert!(matches!(error, Error::LogonFailure { .. }), "{error}");
    let error =
        refusal(&samba, &server, &Account::kerberos("corp.example", "nobody", Password::new("x".to_owned()))).await;
    assert!(matches!(error, Error::LogonFailure { .. }), "{error}");
    let closed = Controller { kerberos_port: 1, ..server.clone() };
    let error = refusal(&samba, &closed, &named(SYNC_PASSWORD)).await;
    assert!(matches!(error, Error::Unreachable { port: Port::Kerberos(1), .. }), "{error}");
    let misnamed = Controller { host: "dc9.corp.example".to_owned(), ..server };
    let error = refusal(&samba, &misnamed, &named(SYNC_PASSWORD)).await;
    assert!(matches!(error, Error::SignInFailed { .. } | Error::LogonFailure { .. }), "{error}");
}

#[tokio::test]
async fn the_ticket_service_takes_the_present_password_alone() {
    let samba = Samba::start(CORP, &[]);
    samba.add_users("user", &passwords(5, 2));
    let server = controller(&samba);
    let asked = async |server: &Controller, account: &str, password: &str| {
        let account = Account::kerberos(samba.forest.realm, account, Password::new(password.to_owned()));
        drsr::is_present_password(server, &account).await
    };
    samba.replace_in_domain("lockoutThreshold", "10");
    let (old, new) = ("Start-5-1-päss!", "Änother-5-1-päss!");
    assert!(asked(&server, "user1", old).await.unwrap());
    samba.set_passwords([("user1", new)]);
    assert!(asked(&server, "user1", new).await.unwrap());
    for (account, password) in [("user1", old), ("user1", "wrong"), ("user1", ""), ("nobody", new)] {
        assert!(!asked(&server, account, password).await.unwrap(), "{account} {password}");
    }
    // Each refused password counts once, as at a bind; a former one does too.
    assert_eq!(samba.bad_passwords("user1"), 3);
    // Salted with a name that the account does not have any more.
    samba.replace("user1", "sAMAccountName", "renamed");
    assert!(asked(&server, "renamed", new).await.unwrap());
    assert!(!asked(&server, "renamed", old).await.unwrap());
    let closed = Controller { kerberos_port: 1, ..server.clone() };
    let error = asked(&closed, "renamed", new).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { port: Port::Kerberos(1), .. }), "{error}");
}
