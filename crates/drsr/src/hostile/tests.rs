//! What the client makes of the lies.

use proptest::prelude::*;

use super::page::{SERVER, TestObject, TestPage, encrypted, reply, sid};
use super::server::{self, Script, TOKEN};
use super::{cases, runtime};
use crate::account::AccountChange;
use crate::attribute::{AccountAttribute, AttributeIds};
use crate::calls::{replica, split_status};
use crate::decryption::SessionKey;
use crate::rpc::pdu::{CALL_HEAD, HEADER, SECURITY_TRAILER};
use crate::{Client, Continuity, Cursor, Error, Page, Replicated, Unreadable};

const HASH: [u8; 16] = [0xab; 16];

fn page(objects: Vec<TestObject>) -> TestPage {
    TestPage { version: 6, objects, more: false, usn: 500, status: 0 }
}

fn object(number: u32, password: Option<Vec<u8>>) -> TestObject {
    let control = Some(512u32.to_le_bytes().to_vec());
    TestObject {
        number,
        values: vec![(AccountAttribute::UserAccountControl, control), (AccountAttribute::UnicodePwd, password)],
    }
}

/// One page for each lie about its stub, and one for each about its fragments.
struct Lie<P, F>(P, F);

impl<P, F> Script for Lie<P, F>
where
    P: Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    F: Fn(&mut Vec<Vec<u8>>) + Send + Sync + 'static,
{
    fn page(&self, key: &[u8]) -> Vec<u8> {
        (self.0)(key)
    }

    fn fragments(&self, fragments: &mut Vec<Vec<u8>>) {
        (self.1)(fragments);
    }
}

fn honest_page(key: &[u8]) -> Vec<u8> {
    reply(&page((1000..1030).map(|number| object(number, Some(encrypted(key, HASH, number)))).collect()))
}

fn untouched(_: &mut Vec<Vec<u8>>) {}

async fn ask(script: impl Script) -> Result<Page, Error> {
    let (controller, account) = server::start(script).await;
    let mut client = Client::connect(&controller, &account).await?;
    let page = client.pass(Cursor::start("DC=corp,DC=example")).next_page().await?;
    Ok(page.expect("the first page"))
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    for version in [1, 6, 9] {
        let answer = move |key: &[u8]| {
            let objects = (1000..1030).map(|number| object(number, Some(encrypted(key, HASH, number)))).collect();
            reply(&TestPage { version, ..page(objects) })
        };
        let page = ask(Lie(answer, untouched)).await.unwrap();
        assert_eq!((page.objects, page.continuity, page.is_last), (30, Continuity::First, true));
        assert_eq!(page.cursor.invocation_id(), Some(SERVER));
        for (account, number) in page.accounts.iter().zip(1000..) {
            assert_eq!(account.sid, Some(sid(number)));
            assert_eq!(account.password.value().map(|hash| *hash.expose()), Some(HASH));
            assert_eq!(account.password.stamp().unwrap().version, 3);
        }
    }
}

#[tokio::test]
async fn a_hash_that_does_not_open_costs_its_owner_only() {
    let answer = |key: &[u8]| {
        let mut wrong = encrypted(key, HASH, 1001);
        wrong[20] ^= 1;
        let other_key = encrypted(&[1; 16], HASH, 1002);
        let good = encrypted(key, HASH, 1003);
        reply(&page(vec![
            object(1001, Some(wrong)),
            object(1002, Some(other_key)),
            object(1003, Some(good)),
            object(1004, Some(vec![1; 19])),
            object(1005, None),
        ]))
    };
    let page = ask(Lie(answer, untouched)).await.unwrap();
    let reasons: Vec<_> = page
        .accounts
        .iter()
        .map(|account| match &account.password {
            Replicated::Unreadable(reason, _) => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(
        reasons,
        [Some(Unreadable::Checksum), Some(Unreadable::Checksum), None, Some(Unreadable::Truncated), None]
    );
    assert!(page.accounts[2].password.value().is_some());
    assert!(matches!(page.accounts[4].password, Replicated::Cleared(_)));
}

#[tokio::test]
async fn a_changed_bit_anywhere_in_a_fragment_is_refused() {
    // Header, head, body, trailer, token: each byte of the small parts, some of the body.
    let room = 1024;
    let length = CALL_HEAD + room + SECURITY_TRAILER + TOKEN;
    let body = (CALL_HEAD..CALL_HEAD + room).step_by(97);
    for at in (0..CALL_HEAD).chain(body).chain(length - SECURITY_TRAILER - TOKEN..length) {
        let answer = ask(Lie(honest_page, move |fragments: &mut Vec<Vec<u8>>| fragments[0][at] ^= 0x04)).await;
        // A longer fragment than the server sends is waited for until the connection ends.
        let error = answer.expect_err("something was changed");
        let expected = matches!(
            error,
            Error::Tampered { .. } | Error::Malformed { .. } | Error::Unexpected { .. } | Error::ConnectionLost { .. }
        );
        assert!(expected || at < HEADER, "byte {at}: {error}");
        if at >= HEADER {
            assert!(matches!(error, Error::Tampered { .. }), "byte {at}: {error}");
        }
    }
}

#[tokio::test]
async fn fragments_that_are_dropped_repeated_swapped_or_bare_are_refused() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change); 6] = [
        ("dropped", |fragments| drop(fragments.remove(1))),
        ("first dropped", |fragments| drop(fragments.remove(0))),
        ("repeated", |fragments| fragments.insert(1, fragments[1].clone())),
        ("swapped", |fragments| fragments.swap(1, 2)),
        ("without a signature", |fragments| {
            let fragment = &mut fragments[0];
            fragment.truncate(fragment.len() - TOKEN - SECURITY_TRAILER);
            let length = u16::try_from(fragment.len()).unwrap();
            fragment[8..10].copy_from_slice(&length.to_le_bytes());
            fragment[10..12].copy_from_slice(&[0, 0]);
        }),
        ("of another call", |fragments| fragments[0][12] ^= 1),
    ];
    for (what, change) in changes {
        let error = ask(Lie(honest_page, change)).await.expect_err(what);
        assert!(matches!(error, Error::Tampered { .. } | Error::Unexpected { .. }), "{what}: {error}");
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_refused() {
    for (kind, fault) in [(3, true), (0, false), (12, false), (13, false), (77, false)] {
        let error =
            ask(Lie(honest_page, move |fragments: &mut Vec<Vec<u8>>| fragments[0][2] = kind)).await.unwrap_err();
        assert_eq!(matches!(error, Error::Fault { .. }), fault, "{error}");
        assert!(fault || matches!(error, Error::Unexpected { .. } | Error::Malformed { .. }), "{error}");
    }
    // Compressed (2 and 7), which is never asked for, and one that is not defined.
    for version in [2, 7, 8] {
        let error =
            ask(Lie(move |_: &[u8]| reply(&TestPage { version, ..page(Vec::new()) }), untouched)).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
    let error =
        ask(Lie(|_: &[u8]| reply(&TestPage { more: true, usn: 0, ..page(Vec::new()) }), untouched)).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    for (status, denied) in [(8453, true), (8456, false)] {
        let error =
            ask(Lie(move |_: &[u8]| reply(&TestPage { status, ..page(Vec::new()) }), untouched)).await.unwrap_err();
        assert_eq!(matches!(error, Error::AccessDenied { .. }), denied, "{error}");
        assert_eq!(matches!(error, Error::SourceDisabled { .. }), !denied, "{error}");
    }
}

struct Endless;

impl Script for Endless {
    fn page(&self, _key: &[u8]) -> Vec<u8> {
        vec![0; 40_000]
    }

    fn fragment_room(&self) -> usize {
        4096
    }
}

#[tokio::test]
async fn an_answer_that_grows_beyond_the_limit_is_given_up() {
    let (mut controller, account) = server::start(Endless).await;
    controller.reply_limit = 20_000;
    let mut client = Client::connect(&controller, &account).await.unwrap();
    let error = client.pass(Cursor::start("DC=x")).next_page().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 20_000, .. }), "{error}");
    let error = client.pass(Cursor::start("DC=x")).next_page().await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error}");
}

/// A server that has always more: what it answers to the question of a number.
struct More<F>(F, std::sync::atomic::AtomicI64);

impl<F: Fn(i64) -> TestPage + Send + Sync + 'static> Script for More<F> {
    fn page(&self, _key: &[u8]) -> Vec<u8> {
        reply(&TestPage { more: true, ..(self.0)(self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) })
    }
}

/// The error in which a pass over these pages ends, and after how many of them.
async fn ends(pages: impl Fn(i64) -> TestPage + Send + Sync + 'static) -> (Error, usize) {
    let (mut controller, account) = server::start(More(pages, std::sync::atomic::AtomicI64::new(0))).await;
    (controller.pass_pages, controller.pass_bytes) = (40, 100_000);
    let mut client = Client::connect(&controller, &account).await.unwrap();
    let mut pass = client.pass(Cursor::start("DC=corp,DC=example"));
    let mut taken = 0;
    loop {
        match pass.next_page().await {
            Ok(page) => assert!(page.is_some() && taken < 100, "it has always more"),
            Err(error) => return (error, taken),
        }
        taken += 1;
    }
}

#[tokio::test]
async fn a_server_that_has_always_more_is_given_up() {
    let bare = |number: i64| object(u32::try_from(number).unwrap(), None);
    // The same again and again; two pages in turn; a watermark that goes back.
    let (error, taken) = ends(move |_| page(vec![bare(7)])).await;
    assert!(matches!(error, Error::Unexpected { .. }) && taken == 1, "{taken}: {error}");
    let (error, taken) = ends(move |question| page(vec![bare(question % 2)])).await;
    assert!(matches!(error, Error::Unexpected { .. }) && taken == 2, "{taken}: {error}");
    let (error, taken) = ends(move |question| TestPage { usn: 500 - question, ..page(vec![bare(7)]) }).await;
    assert!(matches!(error, Error::Unexpected { .. }) && taken == 1, "{taken}: {error}");
    // Progress without an end.
    let (error, taken) = ends(|question| TestPage { usn: 500 + question, ..page(Vec::new()) }).await;
    assert!(matches!(error, Error::Endless { pages: 41, .. }) && taken == 40, "{taken}: {error}");
    let many = move |question| (0..100).map(|number| bare(question * 100 + number)).collect();
    let (error, taken) = ends(move |question| page(many(question))).await;
    assert!(matches!(error, Error::Endless { bytes: 100_001.., .. }) && (1..40).contains(&taken), "{taken}: {error}");
}

#[tokio::test]
async fn a_server_may_tell_new_objects_without_moving_on() {
    let last = |question: i64| TestPage { usn: 500, ..page(vec![object(u32::try_from(question).unwrap(), None)]) };
    let (controller, account) = server::start(More(last, std::sync::atomic::AtomicI64::new(0))).await;
    let mut client = Client::connect(&controller, &account).await.unwrap();
    let mut pass = client.pass(Cursor::start("DC=corp,DC=example"));
    for _ in 0..20 {
        assert_eq!(pass.next_page().await.unwrap().expect("there is more").accounts.len(), 1);
    }
}

struct WeakChallenge<F>(F);

impl<F: Fn(&mut Vec<u8>) + Send + Sync + 'static> Script for WeakChallenge<F> {
    fn challenge(&self, challenge: &mut Vec<u8>) {
        (self.0)(challenge);
    }

    fn page(&self, key: &[u8]) -> Vec<u8> {
        honest_page(key)
    }
}

#[tokio::test]
async fn a_challenge_that_weakens_the_seal_is_refused() {
    // SIGN, SEAL, extended session security, 128 bits, key exchange: one flag less each.
    for (byte, bit) in [(20, 0x10), (20, 0x20), (22, 0x08), (23, 0x20), (23, 0x40)] {
        let error = ask(WeakChallenge(move |challenge: &mut Vec<u8>| challenge[byte] &= !bit)).await.unwrap_err();
        assert!(matches!(error, Error::SignInFailed { .. }), "{byte} {bit:#x}: {error}");
    }
    assert!(ask(WeakChallenge(|_: &mut Vec<u8>| {})).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(40), ..ProptestConfig::default() })]

    #[test]
    fn challenges_of_any_bytes_end_in_an_error_or_a_sign_in(noise in prop::collection::vec(any::<(u16, u8)>(), 1..6), cut in any::<u16>()) {
        runtime().block_on(async {
            let answer = ask(WeakChallenge(move |challenge: &mut Vec<u8>| {
                for (at, byte) in &noise {
                    let at = usize::from(*at) % challenge.len();
                    challenge[at] = *byte;
                }
                if cut % 3 == 0 {
                    challenge.truncate(usize::from(cut) % challenge.len());
                }
            }))
            .await;
            if let Ok(page) = answer {
                assert_eq!(page.objects, 30);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(2000), ..ProptestConfig::default() })]

    #[test]
    fn replies_with_any_lies_are_read_or_refused(
        version in prop_oneof![Just(1u32), Just(6), Just(9)],
        lies in prop::collection::vec((any::<u16>(), prop_oneof![
            Just(0u32), Just(1), Just(u32::MAX), Just(0x7fff_ffff), Just(0x0fff_ffff), any::<u32>()
        ]), 1..6),
        cut in any::<u16>(),
    ) {
        let objects = (1000..1004).map(|number| object(number, Some(encrypted(&[7; 16], HASH, number)))).collect();
        let mut stub = reply(&TestPage { version, ..page(objects) });
        for (at, word) in lies {
            let at = usize::from(at) % (stub.len() / 4) * 4;
            stub[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if cut % 3 == 0 {
            stub.truncate(usize::from(cut) % stub.len());
        }
        if let Ok(reply) = split_status(&stub).and_then(|(results, _)| replica::reply(results)) {
            let values: usize = reply.objects.iter().flat_map(|object| &object.attributes).flat_map(|attribute| &attribute.values).map(|value| value.len()).sum();
            prop_assert!(values <= stub.len() && reply.objects.len() <= stub.len() / 32);
            // And what is made of it: names, account states, a hash if its checksum is right.
            let ids = AttributeIds::new(&reply.table);
            let key = SessionKey::new(vec![7; 16]);
            let accounts = reply.objects.iter().filter_map(|object| AccountChange::new(object, &ids, &key));
            prop_assert!(accounts.map(|account| account.name.len()).sum::<usize>() <= 4 * stub.len());
        }
    }
}

#[test]
fn a_reply_cut_anywhere_is_refused() {
    let objects = (1000..1004).map(|number| object(number, Some(encrypted(&[7; 16], HASH, number)))).collect();
    let stub = reply(&page(objects));
    let results = split_status(&stub).unwrap().0;
    assert_eq!(replica::reply(results).unwrap().objects.len(), 4);
    for length in 0..results.len() {
        assert!(replica::reply(&results[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_page_of_any_length_is_read_without_recursion() {
    let count = 100_000;
    let stub = reply(&page((0..count).map(|number| TestObject { number, values: Vec::new() }).collect()));
    let reply = replica::reply(split_status(&stub).unwrap().0).unwrap();
    assert_eq!(reply.objects.len(), usize::try_from(count).unwrap());
}
