//! Rules that hold for every chain, and the published vectors of PPH1.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::chain::Match;
use super::key_ring_file::KeyRingFileError;
use super::pool::PoolSize;
use super::pool_queue::{Entry, Limits, Queue};
use super::scheme::NtHash;
use super::step::{Argon2Variant, DigestHash, Pbkdf2Hash, ShaCryptHash, StepError};
use super::*;
use crate::identity::{CredentialSource, Network, PlainPassword, SourceAnchor};

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn password(text: &str) -> PlainPassword {
    PlainPassword::new(text.to_owned()).expect("a password that may be typed")
}

fn source() -> CredentialSource {
    CredentialSource {
        connector: "corp".parse().expect("a name"),
        anchor: SourceAnchor::from_text("4f0c9f4e").expect("an anchor"),
    }
}

fn ring() -> KeyRing {
    KeyRing::generate(&mut rng()).expect("a ring")
}

fn sha1_chain() -> Derived {
    match parse_user_password(b"{SSHA}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw==", ClearText::Refused) {
        Ok(SourceValue::Hashed(derived)) => derived,
        other => panic!("{other:?}"),
    }
}

/// Password or NT hash, salt, key: DSInternals' public vectors and four of our own (outside ASCII, outside the BMP).
const PPH1: [(&str, &str, &str); 10] = [
    ("Pa$$w0rd", "181a3024085fcee2f70e", "b39525c3bc72a1136fcf7c8a338e0c14313d0450d1a4c98ef0a6ddada3bc5b0a"),
    (
        "nt:31d6cfe0d16ae931b73c59d7e0c089c0",
        "01cda06eceb9d9bc2621",
        "9d4fc778add44776555d3fa6ccb4f9637f25e34a62dbc5fa0f782ef8c762c902",
    ),
    ("Pa$$w0rd", "317ee9d1dec6508fa510", "7eaea8e1628dffee62cf319f4e1fc05254da30a1d42ff755ff352f5b13497531"),
    (
        "nt:92937945b518814341de3f726500d4ff",
        "a42b92067e4b8123101a",
        "f0fc762ea9051ef754652becd83ee5e54c1c857c1c0965abac5d85de9c143911",
    ),
    ("Pa$$w0rd", "60eaffd2c886b419df7a", "ab9c532104713157395a70da85cc8a1b418508753c6997f02341d541328ef16b"),
    (
        "nt:92937945b518814341de3f726500d4ff",
        "46c0c5d9095185ce5cf8",
        "6bb7b360d9105ed5157460b343d5d143e465a59195bc9b568718268c334ea4a9",
    ),
    ("Pâsswörd€", "00112233445566778899", "c661e08b8248ae847925af5a44748aaaeb7cfbb8081115d361c046d6f8f1e0f2"),
    (
        "correct horse battery staple",
        "ffeeddccbbaa99887766",
        "0e1df1d4e3d2d3e11432059025103d7110bf643cb89fef86141707665e8f88af",
    ),
    ("🔑Key", "0102030405060708090a", "bed8114184c544c4c81c68da8d75d091fe8b3e8db2ed543a798ccbd5c092dc0d"),
    ("Pa$$w0rd", "00000000000000000000", "16ab294157e1ffb78e0dafb3528ddf686018a8b4016c5246f2959397e968260f"),
];

#[test]
fn every_pph1_vector_comes_out_from_the_password_or_from_its_nt_hash() {
    for (secret, salt, key) in PPH1 {
        let salt = hex::decode(salt).expect("hex");
        let output = match secret.strip_prefix("nt:") {
            Some(nt) => {
                let hash: [u8; 16] = hex::decode(nt).expect("hex").try_into().expect("16 bytes");
                NtHash::new(hash).into_pph1_with(salt, 1000).expect("derives").output
            }
            None => Chain::new(vec![
                Step::Md4Utf16,
                Step::HexUpperUtf16,
                Step::Pbkdf2 { hash: Pbkdf2Hash::Sha256, iterations: 1000, salt, length: 32 },
            ])
            .expect("a chain")
            .derive(&password(secret))
            .expect("derives"),
        };
        assert_eq!(hex::encode(output.expose()), key, "{secret}");
    }
}

#[test]
fn an_nt_hash_verifies_the_password_behind_it_before_and_after_wrapping() {
    let pph1 =
        parse_nt_hash(b"92937945B518814341DE3F726500D4FF").expect("parses").into_pph1(&mut rng()).expect("derives");
    assert!(pph1.chain.to_string().starts_with("md4-utf16>hex-upper-utf16>pbkdf2-sha256(1000,"), "{}", pph1.chain);
    assert_eq!(pph1.verify(&password("Pa$$w0rd")), Ok(Match::Same));
    let wrapped = pph1.wrap(Argon2Cost::default(), &mut rng()).expect("wraps");
    assert!(wrapped.chain.is_wrapped());
    assert!(wrapped.chain.to_string().contains(">argon2id(19456,2,1,"), "{}", wrapped.chain);
    assert_eq!(wrapped.verify(&password("Pa$$w0rd")), Ok(Match::Same));
    assert_eq!(wrapped.verify(&password("pa$$w0rd")), Ok(Match::Different));
}

#[test]
fn a_password_of_our_own_is_argon2id_alone() {
    let derived = Derived::from_password(&password("ours"), Argon2Cost::default(), &mut rng()).expect("derives");
    assert!(derived.chain.is_wrapped());
    assert_eq!(derived.chain.steps().len(), 1);
    assert_eq!(derived.verify(&password("ours")), Ok(Match::Same));
    assert_eq!(derived.verify(&password("Ours")), Ok(Match::Different));
}

#[test]
fn argon2_below_the_floor_or_beyond_the_limits_is_no_cost_of_ours() {
    assert!(Argon2Cost::new(19_456, 2, 1).is_ok());
    for (memory, passes, lanes) in
        [(19_455, 2, 1), (19_456, 1, 1), (19_456, 2, 0), (19_456, 2, 17), (300_000, 2, 1), (200_000, 9, 1)]
    {
        assert!(Argon2Cost::new(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
    }
}

#[test]
fn only_argon2id_at_the_floor_counts_as_wrapped() {
    let step = |variant, memory_kib, passes| Step::Argon2 {
        variant,
        memory_kib,
        passes,
        lanes: 1,
        salt: vec![0; 16],
        length: 32,
    };
    for (step, wrapped) in [
        (step(Argon2Variant::Argon2id, 19_456, 2), true),
        (step(Argon2Variant::Argon2id, 19_455, 2), false),
        (step(Argon2Variant::Argon2id, 19_456, 1), false),
        (step(Argon2Variant::Argon2i, 65_536, 3), false),
        (step(Argon2Variant::Argon2d, 65_536, 3), false),
    ] {
        assert_eq!(Chain::new(vec![step.clone()]).expect("a chain").is_wrapped(), wrapped, "{step:?}");
    }
}

#[test]
fn sealed_hardening_puts_a_slow_step_behind_fast_hashes_only() {
    let fast = sha1_chain().ready_to_seal(Hardening::Sealed, &mut rng()).expect("derives");
    assert!(fast.chain.has_slow_step());
    assert_eq!(fast.verify(&password("secret")), Ok(Match::Same));
    let kept = sha1_chain().ready_to_seal(Hardening::Argon2id(Argon2Cost::default()), &mut rng()).expect("derives");
    assert_eq!(kept.chain, sha1_chain().chain);
    let pph1 = NtHash::new([7; 16]).into_pph1(&mut rng()).expect("derives");
    let chain = pph1.chain.clone();
    assert_eq!(pph1.ready_to_seal(Hardening::Sealed, &mut rng()).expect("derives").chain, chain);
}

#[test]
fn steps_that_take_the_typed_password_stand_first() {
    for step in [
        Step::Md4Utf16,
        Step::Bcrypt { cost: 4, salt: [0; 16] },
        Step::ShaCrypt { hash: ShaCryptHash::Sha256, rounds: 5000, salt: vec![] },
    ] {
        assert_eq!(Chain::new(vec![Step::HexUpperUtf16, step]), Err(ChainError::Order));
    }
    assert_eq!(Chain::new(vec![]), Err(ChainError::Length));
    assert_eq!(Chain::new(vec![Step::HexUpperUtf16; 9]), Err(ChainError::Length));
}

#[test]
fn what_bcrypt_would_not_read_is_refused_and_not_ignored() {
    let chain = Chain::new(vec![
        Step::Bcrypt { cost: 4, salt: [3; 16] },
        Step::Pbkdf2 { hash: Pbkdf2Hash::Sha256, iterations: 1, salt: vec![], length: 32 },
    ])
    .expect("a chain");
    let stored = chain.derive(&password(&"a".repeat(72))).expect("72 bytes are read");
    assert_eq!(chain.verify(&password(&"a".repeat(72)), &stored), Ok(Match::Same));
    assert_eq!(chain.verify(&password(&"a".repeat(73)), &stored), Ok(Match::Different));
    assert_eq!(chain.verify(&password(&format!("{}b", "a".repeat(72))), &stored), Ok(Match::Different));
    assert_eq!(chain.derive(&password(&"a".repeat(73))).map(|_| ()), Err(StepError::BcryptInput));
}

#[test]
fn a_chain_has_one_text_and_strays_are_refused() {
    for text in [
        "",
        ">",
        "md4-utf16>",
        "md4-utf16()",
        "sha1",
        "sha1(AAA*)",
        "sha1(AAE=)",
        "sha1(AAF)",
        "pbkdf2-sha256(01000,AAAA,32)",
        "pbkdf2-sha256(+1000,AAAA,32)",
        "pbkdf2-sha256(0,AAAA,32)",
        "pbkdf2-sha256(10000001,AAAA,32)",
        "pbkdf2-sha256(1000,AAAA,15)",
        "pbkdf2-sha256(1000,AAAA,33)",
        "argon2id(19456,2,1,AAAA,32)",
        "argon2id(4,1,1,AAAAAAAAAAAAAAAAAAAAAA,32)",
        "argon2id(19456,2,0,AAAAAAAAAAAAAAAAAAAAAA,32)",
        "bcrypt(3,AAAAAAAAAAAAAAAAAAAAAA)",
        "bcrypt(10,AAAA)",
        "sha512-crypt(999,AAAA)",
        "MD4-UTF16",
        "md4-utf16 > hex-upper-utf16",
    ] {
        assert!(text.parse::<Chain>().is_err(), "{text}");
    }
}

#[test]
fn estimates_stay_near_what_was_measured() {
    let own = Chain::dummy(Hardening::Argon2id(Argon2Cost::default())).cost();
    assert_eq!(own.memory_kib, 19_456);
    assert!((12..20).contains(&own.time.as_millis()), "{own:?}");
    let pph1 = NtHash::new([0; 16]).into_pph1(&mut rng()).expect("derives").chain.cost();
    assert!((100..150).contains(&pph1.time.as_micros()), "{pph1:?}");
}

#[test]
fn the_dummy_chain_costs_what_ours_does_and_lets_nobody_in() {
    let dummy = Chain::dummy(Hardening::Argon2id(Argon2Cost::default()));
    let own = Derived::from_password(&password("ours"), Argon2Cost::default(), &mut rng()).expect("derives");
    assert_eq!(dummy.cost(), own.chain.cost());
    assert_eq!(dummy.verify_dummy(&password("secret")), Ok(()));
    let sealed = sha1_chain().ready_to_seal(Hardening::Sealed, &mut rng()).expect("derives").chain.cost().time;
    let gap = sealed.abs_diff(Chain::dummy(Hardening::Sealed).cost().time);
    assert!(gap < sealed / 100, "{gap:?} of {sealed:?}");
}

#[test]
fn a_seal_opens_only_with_its_key_and_where_it_belongs() {
    let ring = ring();
    let derived = sha1_chain();
    let bound = AssociatedData::credential("tenant", &source(), &derived.chain);
    let sealed = ring.seal(derived.output.expose(), &bound).expect("seals");
    assert!(ring.open(&sealed, &bound).expect("opens").matches(&derived.output));

    let altered = Err(OpenError::Altered(ring.primary().clone()));
    let other_source = CredentialSource { anchor: SourceAnchor::from_text("other").expect("an anchor"), ..source() };
    let other_chain: Chain = "sha1(AAA)".parse().expect("a chain");
    for elsewhere in [
        AssociatedData::credential("tenant2", &source(), &derived.chain),
        AssociatedData::credential("tenant", &other_source, &derived.chain),
        AssociatedData::credential("tenant", &source(), &other_chain),
        AssociatedData::new("canary", &[]),
    ] {
        assert_eq!(ring.open(&sealed, &elsewhere).map(|_| ()), altered, "{elsewhere:?}");
    }
    let stranger = KeyRing::generate(&mut StdRng::seed_from_u64(8)).expect("a ring");
    assert_eq!(stranger.open(&sealed, &bound).map(|_| ()), Err(OpenError::UnknownKey(ring.primary().clone())));
    let namesake = KeyRing::new(vec![(ring.primary().clone(), Zeroizing::new([9; 32]))]).expect("a ring");
    assert_eq!(namesake.open(&sealed, &bound).map(|_| ()), altered);
}

#[test]
fn fields_of_associated_data_do_not_run_into_one_another() {
    assert_ne!(AssociatedData::new("p", &[b"ab", b"c"]), AssociatedData::new("p", &[b"a", b"bc"]));
    assert_ne!(AssociatedData::new("p", &[b"a"]), AssociatedData::new("p", &[b"a", b""]));
    assert_ne!(AssociatedData::new("pa", &[]), AssociatedData::new("p", &[b"a"]));
}

#[test]
fn a_rolled_ring_opens_what_the_older_key_sealed_and_seals_with_the_new_one() {
    let old = ring();
    let bound = AssociatedData::new("test", &[b"row"]);
    let sealed = old.seal(b"secret", &bound).expect("seals");
    let rolled = old.with_new_primary(&mut StdRng::seed_from_u64(9)).expect("a ring");
    assert_ne!(rolled.primary(), old.primary());
    assert_eq!(rolled.open(&sealed, &bound).expect("opens").expose(), b"secret");
    let resealed = rolled.seal(b"secret", &bound).expect("seals");
    assert_eq!(*resealed.key(), rolled.primary());
    assert_eq!(old.open(&resealed, &bound).map(|_| ()), Err(OpenError::UnknownKey(rolled.primary().clone())));
}

#[test]
fn the_canary_tells_this_ring_from_others() {
    let ring = ring();
    let text = ring.canary().expect("seals").to_string();
    let canary: Sealed = text.parse().expect("round trip");
    assert_eq!(ring.opens_canary(&canary), Ok(()));
    let stranger = KeyRing::new(vec![(ring.primary().clone(), Zeroizing::new([1; 32]))]).expect("a ring");
    assert_eq!(stranger.opens_canary(&canary), Err(OpenError::Altered(ring.primary().clone())));
}

#[test]
fn the_file_of_a_ring_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let ring = KeyRing::create_file(&path, &mut rng()).expect("creates");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    assert!(matches!(KeyRing::create_file(&path, &mut rng()), Err(KeyRingFileError::Write { .. })));

    let canary = ring.canary().expect("seals");
    assert_eq!(KeyRing::load(&path).expect("loads").opens_canary(&canary), Ok(()));
    let rolled = ring.with_new_primary(&mut StdRng::seed_from_u64(9)).expect("a ring");
    rolled.replace_file(&path).expect("replaces");
    let loaded = KeyRing::load(&path).expect("loads");
    assert_eq!(loaded.primary(), rolled.primary());
    assert_eq!(loaded.opens_canary(&canary), Ok(()));

    for mode in [0o640, 0o604, 0o660, 0o622, 0o610] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("own file");
        assert!(matches!(KeyRing::load(&path), Err(KeyRingFileError::TooOpen { mode: found, .. }) if found == mode));
    }
}

#[test]
fn a_ring_file_with_a_fault_is_refused_by_line_and_shows_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let fault = |text: &str| {
        std::fs::write(&path, text).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("own file");
        KeyRing::load(&path).map(|_| ()).expect_err("a fault")
    };
    assert!(matches!(fault(""), KeyRingFileError::Ring { .. }));
    assert!(matches!(fault(&format!("older a {key}\n")), KeyRingFileError::Primary { .. }));
    assert!(matches!(fault(&format!("primary a {key}\nprimary b {key}\n")), KeyRingFileError::Primary { .. }));
    assert!(matches!(fault(&format!("primary a {key}\nolder a {key}\n")), KeyRingFileError::Ring { .. }));
    for line in ["primary a", "primary a AAAA", "primary a/b AAAA", "other a AAAA", &format!("primary a {key} x")] {
        let error = fault(&format!("# a comment\n{line}\n"));
        assert!(matches!(error, KeyRingFileError::Line { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("AAAA"));
    }
}

#[test]
fn a_stamp_knows_its_values_in_any_order_and_nothing_else() {
    let ring = ring();
    let stamp: SourceStamp =
        ring.stamp(&source(), "userPassword", &["a", "b"]).to_string().parse().expect("round trip");
    let compare = |ring: &KeyRing, source: &CredentialSource, attribute, values: &[&str]| {
        ring.compare_stamp(&stamp, source, attribute, values)
    };
    let other = CredentialSource { anchor: SourceAnchor::from_text("other").expect("an anchor"), ..source() };
    assert_eq!(compare(&ring, &source(), "userPassword", &["b", "a"]), StampComparison::Same);
    assert_eq!(compare(&ring, &source(), "userPassword", &["ab"]), StampComparison::Different);
    assert_eq!(compare(&ring, &source(), "userPassword", &["a"]), StampComparison::Different);
    assert_eq!(compare(&ring, &source(), "sambaNTPassword", &["a", "b"]), StampComparison::Different);
    assert_eq!(compare(&ring, &other, "userPassword", &["a", "b"]), StampComparison::Different);
    let rolled = ring.with_new_primary(&mut StdRng::seed_from_u64(9)).expect("a ring");
    assert_eq!(compare(&rolled, &source(), "userPassword", &["a", "b"]), StampComparison::Same);
    let stranger = KeyRing::generate(&mut StdRng::seed_from_u64(8)).expect("a ring");
    assert_eq!(compare(&stranger, &source(), "userPassword", &["a", "b"]), StampComparison::UnknownKey);
}

#[test]
fn secrets_do_not_print() {
    let derived = sha1_chain();
    let ring = ring();
    let sealed = ring.seal(b"secret", &AssociatedData::new("t", &[])).expect("seals");
    let shown = format!("{derived:?} {ring:?} {sealed:?} {:?}", ring.stamp(&source(), "a", &["b"]));
    assert!(shown.contains("ChainOutput(..)"), "{shown}");
    assert!(!shown.contains(&hex::encode(derived.output.expose())) && !shown.contains("114, "), "{shown}");
}

fn network(last: u8) -> Network {
    Network::of(IpAddr::V4(Ipv4Addr::new(10, 0, last, 1)))
}

fn limits() -> Limits {
    Limits { permits: 8, unfamiliar: 4, background: 4, per_network: 2, queue: 40, queue_per_network: 10 }
}

#[test]
fn half_the_permits_stay_for_familiar_devices() {
    let mut queue = Queue::new(limits());
    for ticket in 0..4 {
        assert_eq!(queue.enter(ticket, Demand::Unfamiliar(None)), Entry::Start);
    }
    assert_eq!(queue.enter(4, Demand::Unfamiliar(None)), Entry::Wait);
    for ticket in 5..9 {
        assert_eq!(queue.enter(ticket, Demand::Familiar), Entry::Start);
    }
    assert_eq!(queue.enter(9, Demand::Familiar), Entry::Wait);
    queue.leave(Demand::Unfamiliar(None));
    assert_eq!(queue.next(), Some((9, Demand::Familiar)), "the familiar one goes first");
    queue.leave(Demand::Familiar);
    assert_eq!(queue.next(), Some((4, Demand::Unfamiliar(None))));
    assert_eq!(queue.next(), None);
}

#[test]
fn one_network_neither_fills_the_queue_nor_goes_before_another_beyond_its_share() {
    let mut queue = Queue::new(limits());
    let (loud, quiet) = (Demand::Unfamiliar(Some(network(1))), Demand::Unfamiliar(Some(network(2))));
    for ticket in 0..4 {
        assert_eq!(queue.enter(ticket, loud), Entry::Start, "alone it may use idle permits");
    }
    for ticket in 4..14 {
        assert_eq!(queue.enter(ticket, loud), Entry::Wait);
    }
    assert_eq!(queue.enter(14, loud), Entry::Full);
    assert_eq!(queue.enter(15, quiet), Entry::Wait);
    queue.leave(loud);
    assert_eq!(queue.next(), Some((15, quiet)));
    queue.leave(quiet);
    assert_eq!(queue.next(), Some((4, loud)));
}

#[test]
fn background_work_starts_only_when_no_sign_in_waits_and_cores_are_idle() {
    let mut queue = Queue::new(limits());
    for ticket in 0..4 {
        assert_eq!(queue.enter(ticket, Demand::Unfamiliar(None)), Entry::Start);
    }
    assert_eq!(queue.enter(4, Demand::Background), Entry::Wait);
    assert_eq!(queue.enter(5, Demand::Unfamiliar(None)), Entry::Wait);
    assert_eq!(queue.next(), None);
    queue.leave(Demand::Unfamiliar(None));
    assert_eq!(queue.next(), Some((5, Demand::Unfamiliar(None))));
    assert_eq!(queue.next(), None, "as many run as there are cores");
    queue.leave(Demand::Unfamiliar(None));
    assert_eq!(queue.next(), Some((4, Demand::Background)));
}

#[test]
fn who_goes_away_leaves_no_place_behind() {
    let mut queue = Queue::new(Limits { queue_per_network: 1, ..limits() });
    let demand = Demand::Unfamiliar(Some(network(1)));
    for ticket in 0..4 {
        assert_eq!(queue.enter(ticket, demand), Entry::Start);
    }
    assert_eq!(queue.enter(4, demand), Entry::Wait);
    assert_eq!(queue.enter(5, demand), Entry::Full);
    queue.abandon(4, demand);
    assert_eq!(queue.enter(6, demand), Entry::Wait);
    queue.leave(demand);
    assert_eq!(queue.next(), Some((6, demand)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_runs_no_more_at_once_than_it_may_and_loses_nobody() {
    let pool = HashingPool::new(PoolSize { cores: 2, memory_kib: 3 * 100, each_kib: 100 });
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs = (0..40).map(|number| {
        let (pool, now, most) = (pool.clone(), Arc::clone(&now), Arc::clone(&most));
        let demand = if number % 2 == 0 { Demand::Familiar } else { Demand::Background };
        tokio::spawn(async move {
            pool.run(demand, Duration::from_secs(60), move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                number
            })
            .await
        })
    });
    let mut done = 0;
    for job in jobs.collect::<Vec<_>>() {
        done += usize::from(job.await.expect("joins").is_ok());
    }
    assert_eq!(done, 40);
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_permit_in_time_is_overloaded_and_a_panic_gives_its_permit_back() {
    let pool = HashingPool::new(PoolSize { cores: 1, memory_kib: 1, each_kib: 1 });
    let (release, held) = std::sync::mpsc::channel::<()>();
    let first = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(Demand::Familiar, Duration::from_secs(60), move || held.recv()).await }
    });
    while !first.is_finished() && pool.run(Demand::Familiar, Duration::ZERO, || ()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let late = pool.run(Demand::Familiar, Duration::from_millis(1), || ()).await;
    assert!(matches!(late, Err(PoolError::Overloaded)));
    release.send(()).expect("the first waits");
    assert!(first.await.expect("joins").is_ok());
    let failed = pool.run(Demand::Familiar, Duration::from_secs(60), || panic!("a test's panic")).await;
    assert!(matches!(failed, Err(PoolError::Failed(_))));
    assert!(pool.run(Demand::Familiar, Duration::from_secs(60), || ()).await.is_ok());
}

fn any_step() -> impl Strategy<Value = Step> {
    let salt = || prop::collection::vec(any::<u8>(), 0..40);
    let digest = prop_oneof![
        Just(DigestHash::Md5),
        Just(DigestHash::Sha1),
        Just(DigestHash::Sha256),
        Just(DigestHash::Sha384),
        Just(DigestHash::Sha512)
    ];
    let pbkdf2 = prop_oneof![Just(Pbkdf2Hash::Sha1), Just(Pbkdf2Hash::Sha256), Just(Pbkdf2Hash::Sha512)];
    let crypt = prop_oneof![Just(ShaCryptHash::Sha256), Just(ShaCryptHash::Sha512)];
    let variant =
        prop_oneof![Just(Argon2Variant::Argon2d), Just(Argon2Variant::Argon2i), Just(Argon2Variant::Argon2id)];
    prop_oneof![
        Just(Step::Md4Utf16),
        Just(Step::HexUpperUtf16),
        (digest, salt()).prop_map(|(hash, salt)| Step::Digest { hash, salt }),
        (pbkdf2, 1..10_000_000_u32, salt(), 16..=20_usize).prop_map(|(hash, iterations, salt, length)| Step::Pbkdf2 {
            hash,
            iterations,
            salt,
            length
        }),
        (crypt, 1_000..999_999_999_u32, "[a-zA-Z0-9./]{0,16}").prop_map(|(hash, rounds, salt)| Step::ShaCrypt {
            hash,
            rounds,
            salt: salt.into_bytes()
        }),
        (4..=31_u32, any::<[u8; 16]>()).prop_map(|(cost, salt)| Step::Bcrypt { cost, salt }),
        (variant, 2048..=u32::MAX, 1..100_u32, 1..=255_u32, prop::collection::vec(any::<u8>(), 8..40)).prop_map(
            |(variant, memory_kib, passes, lanes, salt)| Step::Argon2 {
                variant,
                memory_kib,
                passes,
                lanes,
                salt,
                length: 32
            }
        ),
    ]
}

proptest! {
    #[test]
    fn the_text_of_a_chain_leads_back_to_it(steps in prop::collection::vec(any_step(), 1..9)) {
        if let Ok(chain) = Chain::new(steps) {
            let text = chain.to_string();
            prop_assert_eq!(text.parse::<Chain>(), Ok(chain));
        }
    }

    #[test]
    fn no_text_panics_the_readers(text in "\\PC{0,80}") {
        prop_assert!(text.parse::<Chain>().is_err() || text.contains("utf16") || text.contains('('));
        prop_assert!(text.parse::<Sealed>().is_err() || text.contains(':'));
        prop_assert!(text.parse::<SourceStamp>().is_err() || text.contains(':'));
    }

    #[test]
    fn almost_chains_do_not_panic(text in "(md5|sha1|pbkdf2-sha1|argon2id|bcrypt|sha512-crypt)\\([0-9A-Za-z_,-]{0,40}\\)?>?") {
        if let Ok(chain) = text.parse::<Chain>() {
            prop_assert_eq!(chain.to_string(), text);
        }
    }

    #[test]
    fn an_altered_seal_never_opens(secret in prop::collection::vec(any::<u8>(), 0..64), place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let ring = ring();
        let bound = AssociatedData::new("test", &[b"row"]);
        let sealed = ring.seal(&secret, &bound).expect("seals");
        let mut altered = sealed.clone();
        let place = place.index(altered.bytes.len());
        altered.bytes[place] ^= 1 << bit;
        prop_assert!(ring.open(&altered, &bound).is_err());
        altered.bytes.truncate(place);
        prop_assert!(ring.open(&altered, &bound).is_err());
        let again: Sealed = sealed.to_string().parse().expect("round trip");
        let opened = ring.open(&again, &bound).expect("opens");
        prop_assert_eq!(opened.expose(), &secret[..]);
    }

    #[test]
    fn a_seal_bound_elsewhere_never_opens(one in "\\PC{0,8}", other in "\\PC{0,8}", two in "\\PC{0,8}") {
        let ring = ring();
        let sealed = ring.seal(b"secret", &AssociatedData::new("p", &[one.as_bytes(), two.as_bytes()])).expect("seals");
        let opened = ring.open(&sealed, &AssociatedData::new("p", &[other.as_bytes(), two.as_bytes()]));
        prop_assert_eq!(opened.is_ok(), one == other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_wrapped_chain_verifies_the_same_passwords(text in "[a-zA-Zäöü€🔑]{1,30}", other in "[a-z]{1,30}") {
        let nt = Chain::new(vec![Step::Md4Utf16]).expect("a chain").derive(&password(&text)).expect("derives");
        let nt: [u8; 16] = nt.expose().try_into().expect("16 bytes");
        let wrapped = NtHash::new(nt).into_pph1(&mut rng()).and_then(|pph1| pph1.wrap(Argon2Cost::default(), &mut rng())).expect("wraps");
        prop_assert_eq!(wrapped.verify(&password(&text)), Ok(Match::Same));
        let expected = if text == other { Match::Same } else { Match::Different };
        prop_assert_eq!(wrapped.verify(&password(&other)), Ok(expected));
    }
}
