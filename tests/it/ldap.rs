//! The LDAP client against slapd, and against servers that misbehave on purpose.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landbridge::identity::{PlainPassword, UnavailableCause};
use landbridge::ldap::pool::{Pool, PoolSettings, Purpose};
use landbridge::ldap::{Connection, Filter, LdapError, Scope, Search, ServerUrl, ServiceAccount, Trust};

use crate::support::directory;
use crate::support::scripted_ldap::{
    BIND, DONE, Door, EXTENDED, Scripted, element, entry, message, page_control, result,
};
use crate::support::slapd::{SUFFIX, Slapd};

const DEADLINE: Duration = Duration::from_secs(5);

fn account(slapd: &Slapd) -> ServiceAccount {
    ServiceAccount {
        dn: slapd.service_dn().parse().expect("a name"),
        password: PlainPassword::new(slapd.service_password().to_owned()).expect("fits"),
    }
}

fn everything(base: &str) -> Search {
    Search {
        base: base.parse().expect("a name"),
        scope: Scope::Subtree,
        filter: Filter::any(),
        attributes: vec!["cn".to_owned()],
    }
}

async fn bound(slapd: &Slapd) -> Connection {
    let trust = Trust::new(&[slapd.ca_file()]).expect("the test CA");
    let url = slapd.ldaps_url().parse().expect("an address");
    let mut connection = Connection::open(&url, &trust, DEADLINE).await.expect("opens");
    connection.bind(&account(slapd)).await.expect("binds");
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paged_read_gives_each_entry_once_and_says_when_it_is_complete() {
    let slapd = Slapd::builder().directory(&directory::people(250)).start();
    let mut connection = bound(&slapd).await;
    let whole = connection.search(everything(SUFFIX)).await.expect("found").len();
    let mut names = std::collections::BTreeSet::new();
    let mut sizes = Vec::new();
    let mut pages = connection.search_paged(everything(SUFFIX), 100);
    while let Some(page) = pages.next_page().await.expect("a page") {
        sizes.push((page.entries.len(), page.last));
        assert!(page.unreadable.is_empty());
        names.extend(page.entries.into_iter().map(|entry| entry.dn.as_str().to_owned()));
    }
    assert_eq!(names.len(), whole);
    assert_eq!(sizes.iter().map(|(size, _)| size).sum::<usize>(), whole);
    assert!(sizes.iter().all(|(size, _)| *size <= 100));
    assert_eq!(sizes.iter().filter(|(_, last)| *last).count(), 1);
    assert!(!connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_meets_the_servers_size_limit_is_aborted_and_not_complete() {
    let people = directory::people(100);
    let slapd = Slapd::builder().directory(&people).conf("limits users size=20").start();
    let trust = Trust::new(&[slapd.ca_file()]).expect("the test CA");
    let url = slapd.url().parse().expect("an address");
    let mut connection = Connection::open(&url, &trust, DEADLINE).await.expect("opens");
    let person = ServiceAccount {
        dn: people.people[0].dn.parse().expect("a name"),
        password: PlainPassword::new(people.people[0].password.clone()).expect("fits"),
    };
    connection.bind(&person).await.expect("binds");
    let error = connection.search(everything(SUFFIX)).await.expect_err("more than 20");
    assert!(matches!(error, LdapError::Aborted { code: 4, .. }), "{error:?}");
    assert!(!connection.is_closed(), "an aborted read harms no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_base_is_an_error_of_a_search_and_no_entry_of_a_read() {
    let slapd = Slapd::builder().directory(&directory::people(10)).start();
    let mut connection = bound(&slapd).await;
    let mut nowhere = everything("ou=nowhere,dc=ldap,dc=example");
    nowhere.scope = Scope::OneLevel;
    let error = connection.search(nowhere).await.expect_err("no such base");
    assert!(matches!(error, LdapError::SearchRefused { code: 32, .. }), "{error:?}");
    let absent = "uid=absent,dc=ldap,dc=example".parse().expect("a name");
    assert_eq!(connection.read(&absent, Vec::new()).await.expect("asked"), None);
    assert!(!connection.is_closed(), "a refused search harms no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_lends_kept_connections_and_no_more_than_its_size() {
    let slapd = Slapd::builder().directory(&directory::people(10)).start();
    let trust = Trust::new(&[slapd.ca_file()]).expect("the test CA");
    let settings = PoolSettings { max_size: 2, connect_deadline: DEADLINE, ..PoolSettings::default() };
    let url: ServerUrl = slapd.ldaps_url().parse().expect("an address");
    let pool = Pool::new(url, trust, Purpose::Search(account(&slapd)), settings);
    for _ in 0..10 {
        let mut connection = pool.take(DEADLINE).await.expect("lent");
        assert!(!connection.search(everything(SUFFIX)).await.expect("found").is_empty());
    }
    assert_eq!(slapd.bind_count_of(&slapd.service_dn()), 1, "one connection served all");
    let first = pool.take(DEADLINE).await.expect("lent");
    let second = pool.take(DEADLINE).await.expect("lent");
    let third = pool.take(Duration::from_millis(100)).await.map(|_| ());
    assert!(matches!(third, Err(LdapError::NoFreeConnection { .. })), "{third:?}");
    drop(first);
    assert!(pool.take(DEADLINE).await.is_ok());
    drop(second);
    assert_eq!(slapd.bind_count_of(&slapd.service_dn()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_replaces_connections_that_the_server_closed() {
    let mut slapd = Slapd::builder().directory(&directory::people(10)).start();
    let trust = Trust::new(&[slapd.ca_file()]).expect("the test CA");
    let url: ServerUrl = slapd.ldaps_url().parse().expect("an address");
    let settings = PoolSettings { connect_deadline: DEADLINE, ..PoolSettings::default() };
    let pool = Pool::new(url, trust, Purpose::Search(account(&slapd)), settings);
    drop(pool.take(DEADLINE).await.expect("lent"));
    slapd.stop();
    slapd.start();
    let mut connection = pool.take(DEADLINE).await.expect("a new one");
    assert!(!connection.search(everything(SUFFIX)).await.expect("found").is_empty());
}

async fn bind_at(server: &Scripted) -> Result<u32, LdapError> {
    let mut connection = server.open().await?;
    let password = PlainPassword::new("secret".to_owned()).expect("fits");
    connection.simple_bind(&"uid=ada".parse().expect("a name"), &password).await.map(|answer| answer.code)
}

/// What an answer that cannot be read counts as: LDAP result 80, other.
const UNREADABLE: u32 = 80;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_bind_that_cannot_be_read_is_an_unknown_refusal_and_no_outage() {
    let deep = vec![0x30; 60_000];
    let stray = |id| (0..20).flat_map(|_| message(id, &[entry("uid=x")])).collect::<Vec<_>>();
    type Answers = Vec<(&'static str, Box<dyn Fn(u8, usize) -> Vec<u8> + Send + Sync>)>;
    let rows: Answers = vec![
        ("garbage", Box::new(|_, _| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        ("an endless length", Box::new(|_, _| vec![0x30, 0x88, 0x7f, 255, 255, 255, 255, 255, 255, 255])),
        ("a large message", Box::new(|_, _| vec![0x30, 0x83, 0x10, 0, 0])),
        ("deep nesting", Box::new(move |id, _| message(id, &[element(BIND, &deep)]))),
        ("an empty message", Box::new(|_, _| vec![0x30, 0])),
        ("another request's answer", Box::new(|id, _| message(id + 1, &[result(BIND, 0)]))),
        ("the answer to a search", Box::new(|id, _| message(id, &[result(DONE, 0)]))),
        ("an unknown operation", Box::new(|id, _| message(id, &[result(0x7e, 0)]))),
        ("a negative result", Box::new(|id, _| message(id, &[element(BIND, &[0x0a, 1, 0x80, 4, 0, 4, 0])]))),
        ("a result without text", Box::new(|id, _| message(id, &[element(BIND, &[0x0a, 1, 0])]))),
        ("only stray entries", Box::new(move |id, _| stray(id))),
    ];
    for (what, script) in rows {
        let server = Scripted::start(Door::Ldaps, Vec::new(), script).await;
        assert_eq!(bind_at(&server).await.expect(what), UNREADABLE, "{what}");
    }
    let notice = Scripted::start(Door::Ldaps, Vec::new(), |_, _| message(0, &[result(EXTENDED, 52)])).await;
    assert!(matches!(bind_at(&notice).await, Err(LdapError::ConnectionLost { .. })));
    let silent = Scripted::start(Door::Ldaps, Vec::new(), |_, _| Vec::new()).await;
    assert!(matches!(bind_at(&silent).await, Err(LdapError::Deadline { doing: "bind", .. })));
    let text = Scripted::start(Door::Ldaps, Vec::new(), |id, _| {
        message(id, &[element(BIND, &[&[0x0a, 1, 49, 4, 1, 0xff], &element(4, b"\xff\xfe\x00")[..]].concat())])
    });
    assert_eq!(bind_at(&text.await).await.expect("an answer"), 49);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_failed_is_not_used_again() {
    let server = Scripted::start(Door::Ldaps, Vec::new(), |id, nth| {
        if nth == 0 { Vec::new() } else { message(id - 1, &[result(BIND, 0)]) }
    })
    .await;
    let mut connection = server.open().await.expect("opens");
    connection.set_deadline(Duration::from_millis(200));
    let (name, password) = ("uid=ada".parse().expect("a name"), PlainPassword::new("secret".to_owned()).expect("fits"));
    assert!(matches!(connection.simple_bind(&name, &password).await, Err(LdapError::Deadline { .. })));
    assert!(connection.is_closed());
    assert!(matches!(connection.simple_bind(&name, &password).await, Err(LdapError::Closed { .. })));
    assert_eq!(server.requests.load(Ordering::SeqCst), 1, "the second never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_tls_and_nothing_from_before_it_is_believed() {
    let starting = message(1, &[result(EXTENDED, 0)]);
    let good = Scripted::start(Door::StartTls, starting.clone(), |id, _| message(id, &[result(BIND, 0)])).await;
    assert_eq!(bind_at(&good).await.expect("an answer"), 0);

    // A bind answer that an intruder puts in before the handshake.
    let injected = [starting, message(2, &[result(BIND, 0)])].concat();
    let rows = [
        ("injected answer", injected, UnavailableCause::ConnectionLost),
        ("StartTLS refused", message(1, &[result(EXTENDED, 2)]), UnavailableCause::Tls),
        ("StartTLS unavailable", message(1, &[result(EXTENDED, 52)]), UnavailableCause::ServerUnavailable),
        ("another answer", message(1, &[result(BIND, 0)]), UnavailableCause::ConnectionLost),
        ("garbage", b"220 ready\r\n".to_vec(), UnavailableCause::ConnectionLost),
    ];
    for (what, before_tls, cause) in rows {
        let server = Scripted::start(Door::StartTls, before_tls, |id, _| message(id, &[result(BIND, 0)])).await;
        let error = server.open().await.expect_err(what);
        assert_eq!(error.cause(), cause, "{what}: {error:?}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_complete_only_with_result_zero_and_no_reference() {
    for code in [3, 4, 10, 11] {
        let script = move |id, _| [message(id, &[entry("uid=x")]), message(id, &[result(DONE, code)])].concat();
        let server = Scripted::start(Door::Ldaps, Vec::new(), script).await;
        let mut connection = server.open().await.expect("opens");
        let error = connection.search(everything("dc=example")).await.expect_err("aborted");
        assert!(matches!(error, LdapError::Aborted { code: found, .. } if found == u32::from(code)), "{error:?}");
        let mut pages = connection.search_paged(everything("dc=example"), 10);
        assert!(matches!(pages.next_page().await, Err(LdapError::Aborted { .. })));
        assert!(pages.next_page().await.expect("nothing is read after an error").is_none());
    }
    let reference = Scripted::start(Door::Ldaps, Vec::new(), |id, _| {
        let reference = element(0x73, &element(4, b"ldap://elsewhere/"));
        [message(id, &[reference]), message(id, &[result(DONE, 0)])].concat()
    });
    let mut connection = reference.await.open().await.expect("opens");
    let error = connection.search(everything("dc=example")).await.expect_err("aborted");
    assert!(matches!(error, LdapError::Aborted { code: 0, .. }), "{error:?}");

    let unpaged = Scripted::start(Door::Ldaps, Vec::new(), |id, _| message(id, &[result(DONE, 0)])).await;
    let mut connection = unpaged.open().await.expect("opens");
    let error = connection.search_paged(everything("dc=example"), 10).next_page().await.expect_err("no cookie");
    assert!(matches!(error, LdapError::Aborted { code: 0, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_pages_and_overfull_pages_are_errors() {
    let empty =
        Scripted::start(Door::Ldaps, Vec::new(), |id, _| message(id, &[result(DONE, 0), page_control(b"again")])).await;
    let mut connection = empty.open().await.expect("opens");
    let mut pages = connection.search_paged(everything("dc=example"), 10);
    let error = loop {
        match pages.next_page().await {
            Ok(Some(page)) => assert!(!page.last && page.entries.is_empty()),
            Ok(None) => panic!("it never ends"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LdapError::TooMuch { what: "empty pages", .. }), "{error:?}");

    let overfull = Scripted::start(Door::Ldaps, Vec::new(), |id, _| {
        let entries = (0..11).flat_map(|n| message(id, &[entry(&format!("uid=x{n}"))])).collect::<Vec<_>>();
        [entries, message(id, &[result(DONE, 0), page_control(b"")])].concat()
    });
    let mut connection = overfull.await.open().await.expect("opens");
    let error = connection.search_paged(everything("dc=example"), 10).next_page().await.expect_err("too many");
    assert!(matches!(error, LdapError::TooMuch { what: "entries", .. }), "{error:?}");
    assert!(connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_with_an_unreadable_name_is_told_and_stops_nobody_else() {
    let server = Scripted::start(Door::Ldaps, Vec::new(), |id, _| {
        let entries = ["uid=a", "no name at all", "uid=b"].map(|name| message(id, &[entry(name)])).concat();
        [entries, message(id, &[result(DONE, 0), page_control(b"")])].concat()
    })
    .await;
    let mut connection = server.open().await.expect("opens");
    let page = connection.search_paged(everything("dc=example"), 10).next_page().await.expect("read").expect("a page");
    assert_eq!(page.entries.iter().map(|entry| entry.dn.as_str()).collect::<Vec<_>>(), ["uid=a", "uid=b"]);
    assert_eq!(page.unreadable, ["no name at all"]);
    assert!(page.last);
}

/// An entry with values of one attribute.
fn entry_with(dn: &str, attribute: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| element(4, value.as_bytes())).collect();
    let attribute = element(0x30, &[element(4, attribute.as_bytes()), element(0x31, &values)].concat());
    element(0x64, &[element(4, dn.as_bytes()), element(0x30, &attribute)].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_told_in_pieces_is_read_to_its_end_or_not_at_all() {
    const GROUP: &str = "cn=g";
    let pieces: [&[(&str, &[&str])]; 3] = [
        // As Active Directory tells it: the plain name empty, the first piece beside it.
        &[("member;range=0-1", &["a", "b"]), ("member;range=2-2", &["c"]), ("member;range=3-*", &["d"])],
        // A piece that does not go on.
        &[("member;range=0-1", &["a", "b"]), ("member;range=0-1", &["a", "b"])],
        &[("member;Range=0-*", &["a"])],
    ];
    let read = async |pieces: &'static [(&str, &[&str])]| {
        let server = Scripted::start(Door::Ldaps, Vec::new(), move |id, nth| {
            let (attribute, values) = pieces[nth.min(pieces.len() - 1)];
            [message(id, &[entry_with(GROUP, attribute, values)]), message(id, &[result(DONE, 0)])].concat()
        })
        .await;
        let mut connection = server.open().await.expect("opens");
        let entry = connection.read(&GROUP.parse().expect("a name"), vec!["member".to_owned()]).await;
        let entry = connection.complete(entry.expect("read").expect("there")).await?;
        Ok::<_, LdapError>((entry.texts("member").map(str::to_owned).collect::<Vec<_>>(), entry.attributes.len()))
    };
    assert_eq!(read(pieces[0]).await.expect("complete"), (["a", "b", "c", "d"].map(str::to_owned).to_vec(), 1));
    assert!(matches!(read(pieces[1]).await, Err(LdapError::Malformed { .. })));
    assert_eq!(read(pieces[2]).await.expect("complete"), (vec!["a".to_owned()], 1));
}

/// A control with a value, as the list behind a message.
fn control(oid: &str, value: &[u8]) -> Vec<u8> {
    element(0xa0, &element(0x30, &[element(4, oid.as_bytes()), element(4, value)].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_says_how_removals_were_told_and_is_refused_where_the_control_is_ignored() {
    use landbridge::ldap::{Phase, SyncChange};
    const STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
    const DONE_CONTROL: &str = "1.3.6.1.4.1.4203.1.9.1.3";
    let state = element(0x30, &[vec![0x0a, 1, 1], element(4, &[7; 16])].concat());
    let changed = move |id| message(id, &[entry("uid=x"), control(STATE, &state)]);
    let done = |id, deletes: bool| {
        let flag = if deletes { vec![1, 1, 0xff] } else { Vec::new() };
        message(id, &[result(DONE, 0), control(DONE_CONTROL, &element(0x30, &[element(4, b"c"), flag].concat()))])
    };
    for (deletes, phase) in [(true, Phase::Deletes), (false, Phase::Unclear)] {
        let changed = changed.clone();
        let script = move |id, _| [changed(id), done(id, deletes)].concat();
        let server = Scripted::start(Door::Ldaps, Vec::new(), script).await;
        let mut connection = server.open().await.expect("opens");
        let mut refresh = connection.refresh(&everything("dc=example"), Some(b"old")).await.expect("begins");
        assert!(matches!(refresh.next().await, Ok(Some(SyncChange::Entry { id, .. })) if id == [7; 16]));
        assert_eq!(refresh.next().await.expect("ends"), None);
        let end = refresh.end().expect("it has ended");
        assert_eq!((end.cookie.as_deref(), end.phase), (Some(&b"c"[..]), phase));
        assert!(!connection.is_closed());
    }
    let ignored = |id, _| [message(id, &[entry("uid=x")]), message(id, &[result(DONE, 0)])].concat();
    let server = Scripted::start(Door::Ldaps, Vec::new(), ignored).await;
    let mut connection = server.open().await.expect("opens");
    let mut refresh = connection.refresh(&everything("dc=example"), None).await.expect("begins");
    assert!(matches!(refresh.next().await, Err(LdapError::ControlIgnored { .. })));
    assert!(connection.is_closed(), "given up in the middle");
}
