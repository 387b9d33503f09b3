//! The rules of [`super::decision`], without a store and without a directory.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::account_state::StateFault;
use super::decision::{self, Act, Context, Decision, PasswordAct};
use super::store::{Eligibility, KnownAccount, KnownCredential, OutdatedMark, Stage};
use super::{AccountResult, Leak, PasswordTime, PasswordValues, Passwords, SourceAccount, SourceVersion};
use crate::credential::{ClearText, KeyRing, Quarantine, SourceStamp, SourceValue};
use crate::identity::{AccountState, ConnectorName, SourceAnchor, Timestamp};
use crate::signin::store::Mark;

const SSHA: &str = "{SSHA}cqVbhtveg6UlUYb4hGPrp7XYoikAAQIDBAUGBw==";
const OTHER: &str = "{SSHA256}lAejl/Of0h/+J/b6px7T8LLPd/QxmtSbDDvk8djjRJEAAQIDBAUGBw==";
const NOON: Timestamp = Timestamp::from_secs(1_795_262_400);

struct World {
    ring: KeyRing,
    connector: ConnectorName,
    sole_server: bool,
    restored: bool,
}

impl World {
    fn new() -> Self {
        let ring = KeyRing::generate(&mut StdRng::seed_from_u64(1)).expect("a ring");
        Self { ring, connector: "corp".parse().expect("a name"), sole_server: true, restored: false }
    }

    fn decide(&self, known: &KnownAccount, account: SourceAccount) -> Decision {
        let context = Context {
            connector: &self.connector,
            ring: &self.ring,
            clear_text: ClearText::Refused,
            sole_server: self.sole_server,
            restored: self.restored,
            read_at: NOON,
        };
        decision::decide(known, account, &context)
    }

    fn act(&self, known: &KnownAccount, account: SourceAccount) -> Act {
        match self.decide(known, account) {
            Decision::Act(act) => *act,
            Decision::Stale => panic!("stale"),
        }
    }

    /// The account after `value` was stored.
    fn stored(&self, value: &str) -> KnownAccount {
        let stamp = match self.act(&linked(), account(&[value])).password {
            PasswordAct::Derive { stamp, .. } => stamp,
            other => panic!("{other:?}"),
        };
        with_credential(Stage::Sealed, Some(stamp))
    }
}

fn linked() -> KnownAccount {
    KnownAccount {
        anchor: anchor(),
        link: Some(Eligibility::Eligible),
        credential: None,
        state: None,
        result: None,
        fetch_queued: false,
    }
}

fn with_credential(stage: Stage, stamp: Option<SourceStamp>) -> KnownAccount {
    let credential = KnownCredential {
        stage,
        reason: None,
        stamp,
        outdated: None,
        password_set: None,
        confirmed_at: NOON,
        written: None,
        leaked: None,
    };
    KnownAccount {
        credential: Some(credential),
        state: Some((AccountState::unrestricted(), version("20261121110000.000000Z#0"))),
        ..linked()
    }
}

fn marked(mut known: KnownAccount, at: i64, mark: Mark) -> KnownAccount {
    if let Some(credential) = &mut known.credential {
        credential.outdated = Some(OutdatedMark { at: Timestamp::from_secs(at), by: mark });
    }
    known
}

fn account(values: &[&str]) -> SourceAccount {
    let values: Vec<_> = values.iter().map(|value| Zeroizing::new(value.as_bytes().to_vec())).collect();
    let passwords = Passwords::Read(vec![PasswordValues { attribute: "userPassword".to_owned(), values }]);
    let state = Ok(AccountState::unrestricted());
    SourceAccount {
        anchor: anchor(),
        version: version("20261121110000.000000Z#0"),
        state,
        passwords,
        written: None,
        password_time: PasswordTime::OfState,
        leak: Leak::NotLookedFor,
    }
}

fn anchor() -> SourceAnchor {
    SourceAnchor::from_text("4f0c9f4e").expect("an anchor")
}

fn version(text: &str) -> SourceVersion {
    SourceVersion::new(text.to_owned())
}

#[test]
fn an_account_without_a_user_is_only_reported() {
    let known = KnownAccount { link: None, ..linked() };
    let act = World::new().act(&known, account(&[SSHA]));
    assert!(act.state.is_none() && matches!(act.password, PasswordAct::Leave));
    assert_eq!(act.result, AccountResult::NoTargetConnection);
}

#[test]
fn an_ineligible_user_gets_a_state_and_no_hash() {
    let known = KnownAccount { link: Some(Eligibility::Ineligible), ..linked() };
    let act = World::new().act(&known, account(&[SSHA]));
    assert!(act.state.is_some() && matches!(act.password, PasswordAct::Leave));
    assert_eq!(act.result, AccountResult::FilteredByTarget);
}

#[test]
fn an_equal_stamp_derives_nothing_and_a_different_one_does() {
    let world = World::new();
    let known = world.stored(SSHA);
    let same = world.act(&known, account(&[SSHA]));
    assert!(matches!(same.password, PasswordAct::Leave) && same.state.is_none());
    assert_eq!(same.result, AccountResult::Success);
    let changed = world.act(&known, account(&[OTHER]));
    assert!(matches!(changed.password, PasswordAct::Derive { keep_outdated: false, .. }));
    let added = world.act(&known, account(&[SSHA, OTHER]));
    assert!(matches!(added.password, PasswordAct::Derive { .. }));
}

#[test]
fn a_password_read_before_its_state_is_of_the_time_that_was_told_with_it() {
    let set = Some(Timestamp::from_secs(1_795_000_000));
    for (told, of_state, kept) in [(set, set, set), (set, Some(NOON), None), (None, Some(NOON), None)] {
        let state = AccountState { password_set: of_state, ..AccountState::unrestricted() };
        let shown = SourceAccount { state: Ok(state), password_time: PasswordTime::Told(told), ..account(&[SSHA]) };
        match World::new().act(&linked(), shown).password {
            PasswordAct::Derive { password_set, .. } => assert_eq!(password_set, kept),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_wiped_credential_is_taken_anew() {
    let act = World::new().act(&with_credential(Stage::Wiped, None), account(&[SSHA]));
    assert!(matches!(act.password, PasswordAct::Derive { .. }));
}

#[test]
fn a_stamp_under_a_lost_key_derives_anew_and_keeps_the_doubt() {
    let known = World::new().stored(SSHA);
    let stranger = World { ring: KeyRing::generate(&mut StdRng::seed_from_u64(2)).expect("a ring"), ..World::new() };
    let act = stranger.act(&known, account(&[SSHA]));
    assert!(matches!(act.password, PasswordAct::Derive { keep_outdated: true, .. }));
}

#[test]
fn a_stamp_under_an_older_key_is_renewed_without_deriving() {
    let world = World::new();
    let known = world.stored(SSHA);
    let ring = world.ring.with_new_primary(&mut StdRng::seed_from_u64(2)).expect("a ring");
    let rolled = World { ring, ..World::new() };
    match rolled.act(&known, account(&[SSHA])).password {
        PasswordAct::Confirm { clear: None, stamp, .. } => assert!(stamp.is_under(&rolled.ring.primary())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hash_that_cannot_be_used_replaces_the_one_before() {
    let world = World::new();
    let known = world.stored(SSHA);
    let act = world.act(&known, account(&["{CRYPT}$1$salt$hash"]));
    let reason = Quarantine::UnsupportedScheme("{CRYPT} $1$");
    assert!(matches!(act.password, PasswordAct::Quarantine { reason: found, .. } if found == reason));
    assert_eq!(act.result, AccountResult::Quarantined(reason));
}

#[test]
fn a_quarantined_value_is_written_once_and_reported_on() {
    let world = World::new();
    let stamp = match world.act(&linked(), account(&["{SSHA}bad"])).password {
        PasswordAct::Quarantine { stamp, .. } => stamp,
        other => panic!("{other:?}"),
    };
    let act = world.act(&with_credential(Stage::Quarantined, Some(stamp)), account(&["{SSHA}bad"]));
    assert!(matches!(act.password, PasswordAct::Leave));
    assert!(matches!(act.result, AccountResult::Quarantined(Quarantine::Malformed { scheme: "{SSHA}", .. })));
}

#[test]
fn a_stored_password_whose_value_vanished_waits_for_the_end_of_the_pass() {
    let world = World::new();
    let act = world.act(&world.stored(SSHA), account(&[]));
    assert!(matches!(act.password, PasswordAct::Vanished { .. }));
    let never_had_one = world.act(&linked(), account(&[]));
    assert!(matches!(never_had_one.password, PasswordAct::Quarantine { reason: Quarantine::Absent, .. }));
}

#[test]
fn the_connectors_order_of_attributes_decides_and_faults_move_on() {
    let preferred = |first: PasswordValues| {
        let mut account = account(&[SSHA]);
        if let Passwords::Read(passwords) = &mut account.passwords {
            passwords.insert(0, first);
        }
        account
    };
    let nt = b"878D8014606CDA29677A44EFA1353FC7".to_vec();
    let samba = PasswordValues { attribute: "sambaNTPassword".to_owned(), values: vec![Zeroizing::new(nt)] };
    let act = World::new().act(&linked(), preferred(samba));
    assert!(matches!(act.password, PasswordAct::Derive { value: SourceValue::Nt(_), .. }));
    let broken = PasswordValues { attribute: "sambaNTPassword".to_owned(), values: vec![Zeroizing::new(vec![1])] };
    let act = World::new().act(&linked(), preferred(broken));
    assert!(matches!(act.password, PasswordAct::Derive { value: SourceValue::Hashed(_), .. }));
}

#[test]
fn an_older_version_of_an_entry_is_not_believed() {
    let world = World::new();
    let older = SourceAccount { version: version("20261121105959.999999Z#0"), ..account(&[OTHER]) };
    assert!(matches!(world.decide(&world.stored(SSHA), older), Decision::Stale));
    let mut gone = world.stored(SSHA);
    if let Some((state, _)) = &mut gone.state {
        state.deleted = true;
    }
    let restored = SourceAccount { version: version("20261121105959.999999Z#0"), ..account(&[SSHA]) };
    let act = world.act(&gone, restored);
    assert!(act.state.is_some_and(|change| !change.state.deleted), "a restored backup is older");
}

#[test]
fn a_doubt_ends_only_where_the_same_value_was_read_after_it_arose() {
    let (before, after) = (NOON.secs() - 60, NOON.secs() + 60);
    let rows = [
        (before, Mark::StillMatchesRefused, true, true),
        (after, Mark::StillMatchesRefused, true, false),
        // One of several servers may lag behind the one that refused.
        (before, Mark::StillMatchesRefused, false, false),
        (before, Mark::NewerPasswordSet, false, false),
        (before, Mark::Unchecked, false, true),
        (after, Mark::Unchecked, false, false),
    ];
    for (at, mark, sole_server, cleared) in rows {
        let world = World { sole_server, ..World::new() };
        let known = marked(world.stored(SSHA), at, mark);
        let act = world.act(&known, account(&[SSHA])).password;
        let found = matches!(act, PasswordAct::Confirm { clear: Some(_), .. });
        assert_eq!(found, cleared, "{mark:?} at {at}, sole server {sole_server}: {act:?}");
    }
}

#[test]
fn a_password_set_again_to_the_same_value_is_confirmed() {
    let world = World { sole_server: false, ..World::new() };
    let known = marked(world.stored(SSHA), NOON.secs() - 60, Mark::NewerPasswordSet);
    let set = Some(Timestamp::from_secs(NOON.secs() - 90));
    let state = Ok(AccountState { password_set: set, ..AccountState::unrestricted() });
    match world.act(&known, SourceAccount { state, ..account(&[SSHA]) }).password {
        PasswordAct::Confirm { clear: Some(_), password_set, .. } => assert_eq!(password_set, set),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_is_as_old_as_its_version_where_the_server_may_lag() {
    let sole = World::new().act(&linked(), account(&[SSHA])).state.expect("a state");
    assert_eq!(sole.as_of, NOON);
    let several = World { sole_server: false, ..World::new() };
    let state = several.act(&linked(), account(&[SSHA])).state.expect("a state");
    assert_eq!(Some(state.as_of), state.version.instant());
    let unknown = SourceAccount { version: version(""), ..account(&[SSHA]) };
    let state = several.act(&linked(), unknown).state.expect("a state");
    assert_eq!(state.as_of, Timestamp::from_millis(0), "whatever was refused bars");
}

#[test]
fn a_state_that_cannot_be_read_bars_the_account() {
    let fault = StateFault { attribute: "shadowExpire" };
    let act = World::new().act(&linked(), SourceAccount { state: Err(fault), ..account(&[SSHA]) });
    assert!(act.state.is_some_and(|change| !change.state.enabled && change.ends_sessions));
    assert!(matches!(act.result, AccountResult::Error(text) if text.contains("shadowExpire")));
}

#[test]
fn sessions_end_when_an_account_ends_and_not_again() {
    let world = World::new();
    let disabled = || SourceAccount {
        state: Ok(AccountState { enabled: false, ..AccountState::unrestricted() }),
        version: version("20261121110001.000000Z#0"),
        ..account(&[SSHA])
    };
    let mut known = world.stored(SSHA);
    let change = world.act(&known, disabled()).state.expect("a change");
    assert!(change.ends_sessions);
    known.state = Some((change.state, change.version));
    assert!(world.act(&known, disabled()).state.is_none());
    let gone = decision::missing(&known, NOON).expect("a change");
    assert!(gone.state.deleted && !gone.ends_sessions, "disabled before: they have ended");
    known.state = Some((gone.state, gone.version));
    assert!(decision::missing(&known, NOON).is_none());
}

#[test]
fn an_unchanged_password_is_confirmed_only_with_the_time_of_its_setting() {
    let world = World::new();
    let stored = world.stored(SSHA);
    let unchanged = |password_set| SourceAccount {
        passwords: Passwords::Unchanged,
        state: Ok(AccountState { password_set, ..AccountState::unrestricted() }),
        ..account(&[])
    };
    let act = world.act(&stored, unchanged(None));
    assert!(matches!((act.password, act.result), (PasswordAct::Leave, AccountResult::Success)));
    // The time is of a password that was not read yet: the doubt stays.
    let doubted = marked(world.stored(SSHA), 0, Mark::NewerPasswordSet);
    let act = world.act(&doubted, unchanged(Some(NOON)));
    assert!(matches!(act.password, PasswordAct::Leave));
    let act = world.act(&doubted, unchanged(None));
    assert!(matches!(act.password, PasswordAct::Confirm { clear: Some(_), .. }));
    // Nothing is stored, and nothing is known to be gone.
    let act = world.act(&linked(), unchanged(None));
    assert!(matches!(act.password, PasswordAct::Leave));
}

#[test]
fn a_hash_that_cannot_be_read_sets_the_former_one_aside_unless_it_is_the_same_write() {
    const REASON: Quarantine = Quarantine::Malformed { scheme: "unicodePwd", fault: "its checksum is wrong" };
    let stamp = |version| Some(super::WriteStamp { version, at: 100, writer: uuid::Uuid::nil() });
    let of_write = |version| {
        let mut known = World::new().stored(SSHA);
        known.credential.as_mut().expect("stored").written = version;
        known
    };
    let shown = |written| SourceAccount { passwords: Passwords::Unreadable(REASON), written, ..account(&[]) };
    let world = World::new();
    // Of a later write, or where nothing tells which it is.
    for (known, written) in [(stamp(7), stamp(8)), (None, stamp(8)), (stamp(7), None), (None, None)] {
        let act = world.act(&of_write(known), shown(written));
        assert!(matches!(act.password, PasswordAct::Quarantine { reason: REASON, .. }), "{:?}", act.password);
        assert_eq!((act.result, act.settled, act.ask_again), (AccountResult::Quarantined(REASON), false, true));
    }
    // Of the write that is stored: the hash is still the user's.
    let act = world.act(&of_write(stamp(7)), shown(stamp(7)));
    assert!(matches!(act.password, PasswordAct::Leave) && !act.settled && !act.ask_again);
    assert_eq!(act.result, AccountResult::Success);
    // Of an earlier one: the controller lags behind, or its database was restored.
    let act = world.act(&of_write(stamp(7)), shown(stamp(6)));
    assert!(matches!(act.password, PasswordAct::Leave) && !act.settled);
    let restored = World { restored: true, ..World::new() };
    let act = restored.act(&of_write(stamp(7)), shown(stamp(6)));
    assert!(matches!(act.password, PasswordAct::Quarantine { .. }));

    // What was found stays the reason while nothing changes, and a second look at it changes nothing.
    let mut aside = with_credential(Stage::Quarantined, None);
    let credential = aside.credential.as_mut().expect("a row");
    (credential.reason, credential.written) = (Some(REASON.to_string()), stamp(8));
    let unchanged = SourceAccount { passwords: Passwords::Unchanged, ..account(&[]) };
    for shown in [unchanged, shown(stamp(8))] {
        let act = world.act(&aside, shown);
        assert!(matches!(act.password, PasswordAct::Leave) && !act.ask_again);
        assert_eq!(act.result, AccountResult::StillQuarantined(REASON.to_string()));
    }
}
