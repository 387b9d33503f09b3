use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::identity::{ConnectorName, DomainName, SourceAnchor, UserId};
use crate::tenant::domain::DomainRules;
use crate::tenant::export::{Action, Edit, ObjectKey, UserPatch};
use crate::tenant::pieces::pieces;
use crate::tenant::soft_match::{MatchKind, MatchPolicy};

/// A directory in memory, applied to by the same plans as the one on SQL.
struct Directory {
    users: BTreeMap<UserId, UserRecord>,
    rules: DomainRules,
    policy: MatchPolicy,
    room: i64,
    clock: i64,
    ids: u128,
}

fn connector() -> ConnectorName {
    "corp".parse().expect("a name")
}

impl Directory {
    fn new() -> Self {
        let domain = |text: &str| text.parse::<DomainName>().expect("a domain");
        let mut rules = DomainRules::new(domain("tenant.example"));
        rules.verify(domain("verified.example"));
        rules.register(connector(), domain("verified.example"));
        let policy = MatchPolicy { soft: true, hard: true };
        Self { users: BTreeMap::new(), rules, policy, room: i64::MAX, clock: 0, ids: 0 }
    }

    /// Applies a batch in pieces of at most `size`.
    fn apply(&mut self, changes: &[ExportChange], size: usize) -> Vec<ExportResult> {
        self.clock += 1;
        let now = Timestamp::from_millis(self.clock);
        let mut results = vec![None; changes.len()];
        for piece in pieces(changes, &self.read(), now, size) {
            let part: Vec<ExportChange> = piece.iter().map(|index| changes[*index].clone()).collect();
            let judged = self.apply_piece(&part, now);
            for (index, result) in piece.into_iter().zip(judged) {
                assert!(results[index].replace(result).is_none(), "each change is in one piece");
            }
        }
        results.into_iter().map(|result| result.expect("each change is in a piece")).collect()
    }

    fn apply_piece(&mut self, changes: &[ExportChange], now: Timestamp) -> Vec<ExportResult> {
        let mut read = self.read();
        let plan = loop {
            let mut ids = self.ids;
            let mut fresh = || {
                ids += 1;
                Uuid::from_u128(ids)
            };
            match plan(changes, &[], &read, now, &mut fresh) {
                Ok(plan) => {
                    self.ids = ids;
                    break plan;
                }
                Err(needs) => self.add(&mut read, needs),
            }
        };
        for written in plan.users {
            self.users.insert(written.after.oid, written.after);
        }
        plan.results
    }

    fn read(&self) -> ReadSet {
        let mut read = ReadSet::new(self.rules.clone());
        (read.policy, read.room) = (self.policy, self.room);
        self.users.values().for_each(|user| read.add_user(user.clone()));
        read
    }

    fn add(&self, read: &mut ReadSet, needs: Needs) {
        assert!(!needs.is_empty(), "a plan that fails says what it needs");
        for (kind, value) in needs.holders {
            let holder = self.users.values().find(|user| user.held().get(&kind) == Some(&value));
            read.set_holder(kind, value, holder.map(UserRecord::id));
        }
        for oid in needs.records {
            assert!(self.users.values().any(|user| user.id() == oid), "every record is in the read set");
        }
        for (kind, value) in needs.claimants {
            let waits = |user: &&UserRecord| user.quarantined.get(&kind).is_some_and(|waiting| waiting.value == value);
            let claimants = self.users.values().filter(waits).map(UserRecord::id).collect();
            read.set_claimants(kind, value, claimants);
        }
    }

    fn upn(&self, anchor: &str) -> String {
        let user = self.users.values().find(|user| user.seed() == anchor);
        user.expect("the user is there").upn.to_string()
    }
}

fn put(anchor: &str, upn: &str, mail: Option<&str>) -> ExportChange {
    let patch = UserPatch {
        on_premises_upn: Edit::Set(upn.to_owned()),
        upn_connector: Edit::Set(connector()),
        mail: mail.map_or(Edit::Clear, |mail| Edit::Set(mail.to_owned())),
        ..UserPatch::default()
    };
    change(anchor, Action::PutUser(Box::new(patch)))
}

fn change(anchor: &str, action: Action) -> ExportChange {
    let object = ObjectKey { oid: None, source_anchor: anchor.to_owned() };
    ExportChange { object, anchor_connector: connector(), handed_to: None, action }
}

#[test]
fn a_ring_of_renames_larger_than_a_piece_is_served_whole() {
    let mut directory = Directory::new();
    let names: Vec<String> = (0..30).map(|n| format!("p{n}@verified.example")).collect();
    let anchors: Vec<String> = (0..30).map(|n| format!("a{n}")).collect();
    let ring = |shift: usize| -> Vec<ExportChange> {
        anchors.iter().enumerate().map(|(n, anchor)| put(anchor, &names[(n + shift) % 30], None)).collect()
    };
    directory.apply(&ring(0), 4);
    let results = directory.apply(&ring(1), 4);
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|accepted| accepted.warnings.is_empty())));
    assert_eq!(directory.upn("a0"), "p1@verified.example");
    assert_eq!(directory.upn("a29"), "p0@verified.example");
}

#[test]
fn a_released_claimant_frees_its_stand_in_for_the_next() {
    let mut directory = Directory::new();
    directory.apply(&[put("a1", "ada@verified.example", None), put("a2", "ada@verified.example", None)], 10);
    let stand_in = directory.upn("a2");
    // Somebody wants the very name that stands in, and has to wait for it.
    directory.apply(&[put("a3", &stand_in, None)], 10);
    assert_ne!(directory.upn("a3"), stand_in);
    directory.apply(&[put("a1", "byron@verified.example", None)], 10);
    assert_eq!(directory.upn("a2"), "ada@verified.example");
    assert_eq!(directory.upn("a3"), stand_in);
}

/// A user that was made in the cloud.
fn cloud(number: u128, upn: &str, mail: Option<&str>) -> UserRecord {
    UserRecord {
        oid: UserId::from_uuid(Uuid::from_u128(number)),
        source_anchor: None,
        anchor_connector: None,
        upn: upn.parse().expect("a name"),
        on_premises_upn: None,
        upn_connector: None,
        display_name: Some("Made in the cloud".to_owned()),
        given_name: None,
        surname: None,
        on_premises_mail: mail.map(str::to_owned),
        mail: mail.map(str::to_owned),
        sam: None,
        attributes: serde_json::Map::new(),
        account_enabled: true,
        cloud_mastered: true,
        privileged: false,
        security_stamp: "stamp".to_owned(),
        credential: None,
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
        deleted_at: None,
        quarantined: BTreeMap::new(),
    }
}

impl Directory {
    fn holding(users: impl IntoIterator<Item = UserRecord>) -> Self {
        Self { users: users.into_iter().map(|user| (user.oid, user)).collect(), ids: 1 << 64, ..Self::new() }
    }

    fn one(&mut self, change: ExportChange) -> ExportResult {
        self.apply(&[change], 10).remove(0)
    }
}

#[track_caller]
fn refused(result: ExportResult, expected: ErrorCode) {
    assert_eq!(result.map_err(|error| error.code), Err(expected));
}

#[test]
fn a_new_object_takes_over_what_the_cloud_made_by_mail_before_name() {
    for (upn, mail, by, taken) in [
        ("ada@verified.example", None, MatchKind::Name, 1),
        ("Ada@Verified.example", Some("other@verified.example"), MatchKind::Name, 1),
        ("new@verified.example", Some("BOB@verified.example"), MatchKind::Mail, 2),
        ("ada@verified.example", Some("bob@verified.example"), MatchKind::Mail, 2),
    ] {
        let users =
            [cloud(1, "ada@verified.example", None), cloud(2, "b@tenant.example", Some("bob@verified.example"))];
        let mut directory = Directory::holding(users);
        let accepted = directory.one(put("a1", upn, mail)).expect("accepted");
        let oid = UserId::from_uuid(Uuid::from_u128(taken));
        assert_eq!(accepted.oid, ObjectId::User(oid), "{upn} {mail:?}");
        assert!(accepted.warnings.contains(&ExportWarning::TookOver { by }), "{:?}", accepted.warnings);
        let user = &directory.users[&oid];
        assert_eq!(user.source_anchor.as_ref().map(ToString::to_string).as_deref(), Some("a1"));
        assert!(!user.cloud_mastered && user.security_stamp != "stamp" && user.display_name.is_none());
        // From now on it is an object like every other.
        let again = directory.one(put("a1", upn, mail)).expect("accepted");
        assert!(again.warnings.iter().all(|warning| !matches!(warning, ExportWarning::TookOver { .. })));
    }
}

#[test]
fn nothing_is_taken_over_that_must_not_be() {
    let soft = || put("a1", "ada@verified.example", None);
    let mut directory = Directory::holding([cloud(1, "ada@verified.example", None)]);
    directory.policy = MatchPolicy::default();
    refused(directory.one(soft()), ErrorCode::InvalidSoftMatch);

    let privileged = UserRecord { privileged: true, ..cloud(1, "ada@verified.example", None) };
    refused(Directory::holding([privileged.clone()]).one(soft()), ErrorCode::ExistingAdminRoleConflict);

    let anchored =
        |user: UserRecord| UserRecord { source_anchor: Some(SourceAnchor::from_stored("a9".into())), ..user };
    let held = anchored(cloud(1, "ada@verified.example", None));
    refused(Directory::holding([held.clone()]).one(soft()), ErrorCode::InvalidSoftMatch);
    let hard = || put("a9", "new@verified.example", None);
    let mut blocked = Directory::holding([held.clone()]);
    blocked.policy.hard = false;
    refused(blocked.one(hard()), ErrorCode::InvalidHardMatch);
    refused(Directory::holding([anchored(privileged)]).one(hard()), ErrorCode::ExistingAdminRoleConflict);
    let accepted = Directory::holding([held]).one(hard()).expect("the same anchor");
    assert!(accepted.warnings.contains(&ExportWarning::TookOver { by: MatchKind::SourceAnchor }));

    let foreign = cloud(1, "b@tenant.example", Some("ada@elsewhere.example"));
    let by_mail = put("a1", "ada@verified.example", Some("ada@elsewhere.example"));
    refused(Directory::holding([foreign]).one(by_mail), ErrorCode::InvalidSoftMatch);
    let group = change(
        "g1",
        Action::PutGroup(Box::new(crate::tenant::GroupPatch {
            mail: Edit::Set("bob@verified.example".to_owned()),
            ..Default::default()
        })),
    );
    let user = cloud(1, "b@tenant.example", Some("bob@verified.example"));
    refused(Directory::holding([user]).one(group), ErrorCode::ObjectTypeMismatch);
}

#[test]
fn an_object_that_a_directory_owns_never_matches() {
    let mut directory = Directory::holding([cloud(1, "ada@verified.example", None)]);
    let accepted = directory.one(put("a1", "bob@verified.example", None)).expect("accepted");
    let renamed = ExportChange {
        object: ObjectKey { oid: Some(accepted.oid), source_anchor: "a1".to_owned() },
        ..put("a1", "ada@verified.example", None)
    };
    let accepted = directory.one(renamed).expect("a duplicate is quarantined");
    assert!(matches!(&accepted.warnings[..], [ExportWarning::AttributeValueMustBeUnique { .. }]));
    assert!(directory.users[&UserId::from_uuid(Uuid::from_u128(1))].cloud_mastered);
}

#[test]
fn an_object_follows_its_anchor_to_another_connector_and_obeys_no_third() {
    let mut directory = Directory::new();
    let accepted = directory.one(put("a1", "ada@verified.example", None)).expect("accepted");
    let named = |upn: &str, by: ConnectorName| ExportChange {
        object: ObjectKey { oid: Some(accepted.oid), source_anchor: "a1".to_owned() },
        anchor_connector: by,
        ..put("a1", upn, None)
    };
    let other: ConnectorName = "branch".parse().expect("a name");
    refused(directory.one(named("bob@verified.example", other.clone())), ErrorCode::ObjectOwnedElsewhere);
    let handed = ExportChange { handed_to: Some(other.clone()), ..named("ada@verified.example", connector()) };
    directory.one(handed).expect("its owner hands it over");
    directory.one(named("eve@verified.example", other)).expect("it is the other one's");
    refused(directory.one(named("bob@verified.example", connector())), ErrorCode::ObjectOwnedElsewhere);
}

#[test]
fn two_objects_of_a_batch_take_one_over_once() {
    let mut directory = Directory::holding([cloud(1, "ada@verified.example", Some("ada@verified.example"))]);
    let changes =
        [put("a1", "ada@verified.example", None), put("a2", "bob@verified.example", Some("ada@verified.example"))];
    let results = directory.apply(&changes, 10);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().any(|result| matches!(result, Err(error) if error.code == ErrorCode::InvalidSoftMatch)));
}

#[test]
fn a_full_directory_takes_changes_and_no_more_objects() {
    let mut directory = Directory::new();
    directory.room = 2;
    let changes: Vec<ExportChange> =
        (0..3).map(|n| put(&format!("a{n}"), &format!("p{n}@verified.example"), None)).collect();
    let results = directory.apply(&changes, 10);
    assert!(results[0].is_ok() && results[1].is_ok());
    refused(results[2].clone(), ErrorCode::DirectoryQuotaExceeded);
    directory.room = 0;
    assert!(directory.one(put("a1", "renamed@verified.example", None)).is_ok());
}

/// Names that collide with each other, with stand-ins of unverified suffixes, and in spelling.
const NAMES: [&str; 6] = [
    "ada@verified.example",
    "Ada@Verified.example",
    "ada@corp.local",
    "ada@tenant.example",
    "bob@verified.example",
    "b\u{f6}b@verified.example",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_batches_keep_every_value_single_and_nobody_waits_for_a_free_one(
        batches in prop::collection::vec(
            prop::collection::btree_map(0_usize..8, prop::option::of((0_usize..6, prop::option::of(0_usize..3))), 1..8),
            1..6,
        ),
        size in 1_usize..5,
    ) {
        let mut directory = Directory::new();
        for batch in batches {
            let changes: Vec<ExportChange> = batch
                .into_iter()
                .map(|(who, what)| {
                    let anchor = format!("a{who}");
                    match what {
                        None => change(&anchor, Action::DeleteUser),
                        Some((name, mail)) => {
                            let mail = mail.map(|mail| ["x@mail.example", "X@Mail.example", "y@mail.example"][mail]);
                            put(&anchor, NAMES[name], mail)
                        }
                    }
                })
                .collect();
            for (change, result) in changes.iter().zip(directory.apply(&changes, size)) {
                let deletes = matches!(change.action, Action::DeleteUser);
                prop_assert!(result.is_ok() || deletes, "{result:?}");
            }
            let mut held = BTreeSet::new();
            for user in directory.users.values() {
                for value in user.held() {
                    prop_assert!(held.insert(value.clone()), "{value:?} twice");
                }
            }
            for user in directory.users.values().filter(|user| user.deleted_at.is_none()) {
                let wanted = name_of(user, &directory.rules).expect("a name").upn.folded();
                match user.quarantined.get(&UniqueKind::Upn) {
                    None => prop_assert_eq!(user.upn.folded(), wanted),
                    Some(waiting) => {
                        prop_assert_eq!(&waiting.value, &wanted);
                        prop_assert!(held.contains(&(UniqueKind::Upn, wanted)), "it waits for a free name");
                        prop_assert_eq!(user.upn.domain(), directory.rules.initial());
                    }
                }
                if let Some(waiting) = user.quarantined.get(&UniqueKind::Mail) {
                    prop_assert!(held.contains(&(UniqueKind::Mail, waiting.value.clone())), "it waits for a free mail");
                    prop_assert_eq!(&user.mail, &None);
                }
            }
        }
    }
}
