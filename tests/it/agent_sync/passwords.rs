//! Account states and hashes by agents: the same as the gateway would read, and nothing that is not wrapped and sealed.

use agent_proto::parts::Cutter;
use agent_proto::sealed::{PageBinding, SealingKey};
use agent_proto::{AgentId, RequestId};
use landbridge::agent_sync::AgentAccounts;
use landbridge::agent_sync::words::{Question, Word};
use landbridge::credential::LeakClass;
use landbridge::identity::{Clock as _, SourceAnchor, SystemClock};
use landbridge::password_sync::{
    AccountSource, LdapSource, Leak, Looked, PasswordTime, Passwords, SourceAccount, SourceError, SourcePage,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::faults::Scripted;
use super::world::{machine, run, settings};
use crate::agents::world::{CORP, World};

const CARRIES: &str = "carries = [\"passwords\"]";

fn accounts(world: &World) -> AgentAccounts {
    AgentAccounts::new(&settings(CORP), world.broker.clone(), Zeroizing::new(vec![5; 32])).expect("sound settings")
}

/// What a source tells of every account, by anchor.
pub async fn all(source: &dyn AccountSource) -> Result<BTreeMap<String, SourceAccount>, SourceError> {
    let (sender, mut pages) = mpsc::channel::<SourcePage>(1);
    let take = async {
        let mut told = BTreeMap::new();
        while let Some(page) = pages.recv().await {
            told.extend(page.accounts.into_iter().map(|account| (account.anchor.as_str().to_owned(), account)));
        }
        told
    };
    let (read, told) = tokio::join!(source.read_all(None, sender), take);
    read.map(|_| told)
}

fn values(account: &SourceAccount) -> Vec<(String, Vec<Vec<u8>>)> {
    match &account.passwords {
        Passwords::Read(passwords) => {
            let of = |values: &[Zeroizing<Vec<u8>>]| values.iter().map(|value| value.to_vec()).collect();
            passwords.iter().map(|password| (password.attribute.clone(), of(&password.values))).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_brings_what_the_gateway_itself_would_read() {
    let world = World::open().await;
    let (folder, _agent) = run(&world, "one", &world.slapd, CARRIES).await;
    let own = landbridge::config::load_agent(&folder.join("agent.toml")).expect("valid").connector;
    let direct = LdapSource::new(&own, Arc::new(SystemClock)).expect("sound settings");
    let (expected, told) = (all(&direct).await.expect("a read"), all(&accounts(&world)).await.expect("a read"));
    assert_eq!(told.len(), world.directory.people.len());
    assert!(told.keys().eq(expected.keys()));
    for (anchor, account) in &told {
        let other = &expected[anchor];
        assert_eq!((&account.state, &account.version), (&other.state, &other.version), "{anchor}");
        assert_eq!((account.written, account.password_time), (other.written, other.password_time), "{anchor}");
        assert_eq!(values(account), values(other), "salted hashes go as they are");
    }
    let anchors: Vec<SourceAnchor> =
        told.keys().take(2).chain(&["nobody".to_owned()]).map(|a| SourceAnchor::from_stored(a.clone())).collect();
    let page = accounts(&world).read(&anchors).await.expect("an answer");
    let read: std::collections::BTreeSet<_> = page.accounts.iter().map(|account| account.anchor.as_str()).collect();
    assert_eq!(read, anchors[..2].iter().map(SourceAnchor::as_str).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_carry_passwords_is_not_asked_for_them() {
    let world = World::open().await;
    let folder = machine(&world, "one", &world.slapd, "carries = [\"import\"]", "").await;
    let _agent = world.run(&folder).await;
    let error = all(&accounts(&world)).await.map(drop).expect_err("nobody is asked");
    let reason = landbridge::identity::causes(&error);
    assert!(reason.contains("do not say `passwords` under `carries`"), "{reason}");
}

/// A page with one account whose password is shown under `attribute`.
fn page(attribute: &str, value: &str) -> Vec<u8> {
    json!({
        "server": "ldaps://dc1", "sole_server": true, "restored": false, "read_at": 1,
        "accounts": [{
            "anchor": "a1", "version": "20260101000000Z", "state": { "fault": "pwdReset" }, "written": null, "password_time": null,
            "passwords": { "read": [{ "attribute": attribute, "values": [hex::encode(value)] }] },
        }],
    })
    .to_string()
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_taken_only_as_it_was_sealed_for_this_very_place_and_with_wrapped_hashes() {
    let world = World::open().await;
    let mut agent = Scripted::connect_carrying(&world, "one", &["passwords"]).await;
    let source = accounts(&world);
    let id = agent.id();
    let sound = page("userPassword", "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3");
    let raw = page("unicodePwd", "92937945b518814341de3f726500d4ff");
    let binding = |request: RequestId| PageBinding { request, agent: id, connector: CORP, number: 0 };
    type Place = fn(PageBinding<'static>) -> PageBinding<'static>;
    let rows: [(&str, &[u8], Place, Option<&str>); 7] = [
        ("as it should be", &sound, |place| place, None),
        (
            "of another request",
            &sound,
            |place| PageBinding { request: RequestId::new([1; 16]), ..place },
            Some("cannot be opened"),
        ),
        (
            "of another agent",
            &sound,
            |place| PageBinding { agent: AgentId::new([1; 16]), ..place },
            Some("cannot be opened"),
        ),
        ("of another connector", &sound, |place| PageBinding { connector: "lab", ..place }, Some("cannot be opened")),
        ("another page", &sound, |place| PageBinding { number: 1, ..place }, Some("cannot be opened")),
        ("a raw hash", &raw, |place| place, Some("a password hash that is not wrapped")),
        ("garbage", b"{", |place| place, Some("is not understood")),
    ];
    for (case, text, place, expected) in rows {
        let script = async {
            let (request, question) = agent.asked().await;
            let Question::Accounts { salting, .. } = question else { panic!("{case}: {question:?}") };
            assert_eq!(format!("{salting:?}"), "Salting(..)");
            let key = SealingKey::from_bytes(&hex::decode(&salting.key).expect("hex")).expect("a key");
            let sealed = key.seal_page(text, &place(binding(request))).expect("sealed");
            let mut cutter = Cutter::new(request);
            agent.tell(&mut cutter, &Word::Begun).await;
            agent.tell(&mut cutter, &Word::Accounts(hex::encode(sealed))).await;
            agent.tell(&mut cutter, &Word::Reached(Some("there".to_owned()))).await;
        };
        let ((), read) = tokio::join!(script, all(&source));
        match (read, expected) {
            (Ok(told), None) => assert_eq!(told.len(), 1, "{case}"),
            (Err(error), Some(expected)) => {
                let reason = landbridge::identity::causes(&error);
                assert!(reason.contains(expected), "{case}: {reason}");
            }
            (read, _) => panic!("{case}: {:?}", read.map(|told| told.len())),
        }
    }
}

/// What a source tells page by page.
async fn pages(source: &dyn AccountSource) -> Result<Vec<SourcePage>, SourceError> {
    let (sender, mut pages) = mpsc::channel::<SourcePage>(1);
    let take = async {
        let mut told = Vec::new();
        while let Some(page) = pages.recv().await {
            told.push(page);
        }
        told
    };
    let (read, told) = tokio::join!(source.read_all(None, sender), take);
    read.map(|_| told)
}

/// Answers one read with a page.
async fn answer(agent: &mut Scripted, text: &[u8]) {
    let (request, question) = agent.asked().await;
    let Question::Accounts { salting, .. } = question else { panic!("{question:?}") };
    let key = SealingKey::from_bytes(&hex::decode(&salting.key).expect("hex")).expect("a key");
    let binding = PageBinding { request, agent: agent.id(), connector: CORP, number: 0 };
    let sealed = key.seal_page(text, &binding).expect("sealed");
    let mut cutter = Cutter::new(request);
    agent.tell(&mut cutter, &Word::Accounts(hex::encode(sealed))).await;
    agent.tell(&mut cutter, &Word::Reached(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_says_of_times_outlives_nothing_that_others_say_later() {
    let world = World::open().await;
    let mut agent = Scripted::connect_carrying(&world, "one", &["passwords"]).await;
    let source = accounts(&world);
    let far = 9_000_000_000_000_i64;
    let state = json!({
        "enabled": true, "deleted": false, "locked_until": null, "account_expires": null, "password_expires": null,
        "must_change_password": false, "logon_hours": null, "password_set": far,
    });
    let told = |version: &str| {
        json!({
            "server": "ldaps://dc1\n\u{1b}[2J", "sole_server": true, "restored": false, "read_at": far,
            "accounts": [{
                "anchor": "a1", "version": version, "state": { "read": state }, "passwords": "unchanged",
                "written": format!("{}/1/{}", u32::MAX, "0".repeat(32)), "password_time": far,
            }],
        })
    };
    for (agents, alone) in [(1, true), (2, false)] {
        if agents == 2 {
            world.enrol("two", CORP).await;
        }
        let before = SystemClock.now();
        let text = told("29990101000000Z").to_string();
        let ((), read) = tokio::join!(answer(&mut agent, text.as_bytes()), pages(&source));
        let page = read.expect("a read").remove(0);
        assert!(page.read_at >= before && page.read_at <= SystemClock.now(), "{}", page.read_at);
        assert_eq!(page.sole_server, alone, "another agent may reach another server");
        assert_eq!(page.server, "ldaps://dc1  [2J");
        let account = &page.accounts[0];
        let changed = account.version.instant().expect("a time");
        assert!(changed >= before && changed <= SystemClock.now() + Duration::from_secs(300), "{changed}");
        assert_eq!((account.written, account.password_time), (None, PasswordTime::Told(None)));
        assert_eq!(account.state.as_ref().expect("a state").password_set, None);
    }
    let text = told("the last of all").to_string();
    let ((), read) = tokio::join!(answer(&mut agent, text.as_bytes()), pages(&source));
    let reason = landbridge::identity::causes(&read.map(drop).expect_err("no version"));
    assert!(reason.contains("the version of an account"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_found_in_its_list_arrives_and_one_of_the_former_release_looked_for_nothing() {
    let world = World::open().await;
    let mut agent = Scripted::connect_carrying(&world, "one", &["passwords"]).await;
    let source = accounts(&world);
    let told = |looked: serde_json::Value, leak: serde_json::Value| {
        let sound = page("userPassword", "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3");
        let mut page: serde_json::Value = serde_json::from_slice(&sound).expect("JSON");
        if !looked.is_null() {
            page["looked"] = looked;
            page["accounts"][0]["leak"] = leak;
        }
        page.to_string()
    };
    let long = format!("no such file\u{1b}[2J{}", "x".repeat(10_000));
    let rows = [
        (told(json!(null), json!(null)), Looked::No, Leak::NotLookedFor),
        (told(json!("no"), json!(null)), Looked::No, Leak::NotLookedFor),
        (told(json!("yes"), json!("not-listed")), Looked::Yes, Leak::NotListed),
        (told(json!("yes"), json!({ "listed": "10-99" })), Looked::Yes, Leak::Listed(LeakClass::BelowHundred)),
    ];
    for (text, looked, leak) in rows {
        let ((), read) = tokio::join!(answer(&mut agent, text.as_bytes()), pages(&source));
        let page = read.expect("a read").remove(0);
        assert_eq!((&page.looked, page.accounts[0].leak), (&looked, leak), "{text}");
    }
    let text = told(json!({ "failed": long }), json!(null));
    let ((), read) = tokio::join!(answer(&mut agent, text.as_bytes()), pages(&source));
    let Looked::Failed(reason) = read.expect("a read").remove(0).looked else { panic!("it failed") };
    assert!(reason.starts_with("no such file [2Jxx") && reason.chars().count() <= 510, "{reason}");
    let text = told(json!("yes"), json!({ "listed": "many" }));
    let ((), read) = tokio::join!(answer(&mut agent, text.as_bytes()), pages(&source));
    let reason = landbridge::identity::causes(&read.map(drop).expect_err("no class"));
    assert!(reason.contains("how often a password was met in leaks"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_accounts_that_tells_nothing_is_given_up() {
    let world = World::open().await;
    let mut agent = Scripted::connect_carrying(&world, "one", &["passwords"]).await;
    let source = accounts(&world);
    let script = async {
        let (request, _) = agent.asked().await;
        let mut cutter = Cutter::new(request);
        for _ in 0..70 {
            agent.tell(&mut cutter, &Word::Begun).await;
            // The gateway makes room for more.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ((), read) = tokio::join!(script, pages(&source));
    let reason = landbridge::identity::causes(&read.map(drop).expect_err("it has no end"));
    assert!(reason.contains("it goes on and tells nothing"), "{reason}");
}
