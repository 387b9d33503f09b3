use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::identity::{ConnectorName, DomainName, SourceAnchor, UserId};
use crate::tenant::addresses::PROXY_ADDRESSES;
use crate::tenant::domain::DomainRules;
use crate::tenant::export::{Action, Edit, ObjectKey, UserPatch};
use crate::tenant::pieces::pieces;
use crate::tenant::read_set::Claimants;
use crate::tenant::record::Quarantine;
use crate::tenant::soft_match::{MatchKind, MatchPolicy};

/// A directory in memory, applied to by the same plans as the one on SQL.
struct Directory {
    users: BTreeMap<UserId, UserRecord>,
    rules: DomainRules,
    policy: MatchPolicy,
    room: i64,
    clock: i64,
    ids: u128,
    /// Users that the last piece wrote.
    written: usize,
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
        Self { users: BTreeMap::new(), rules, policy, room: i64::MAX, clock: 0, ids: 0, written: 0 }
    }

    /// Applies a batch in pieces of at most `size`.
    fn apply(&mut self, changes: &[ExportChange], size: usize) -> Vec<ExportResult> {
        self.clock += 1;
        let now = Timestamp::from_millis(self.clock);
        let mut results = vec![None; changes.len()];
        for piece in pieces(changes, &self.read(), now, size) {
            let part: Vec<ExportChange> = piece.iter().map(|index| changes[*index].clone()).collect();
            let judged = self.apply_piece(&part, &Touched::nothing(), now);
            for (index, result) in piece.into_iter().zip(judged) {
                assert!(results[index].replace(result).is_none(), "each change is in one piece");
            }
        }
        results.into_iter().map(|result| result.expect("each change is in a piece")).collect()
    }

    fn apply_piece(&mut self, changes: &[ExportChange], touched: &Touched, now: Timestamp) -> Vec<ExportResult> {
        let mut read = self.read();
        let plan = loop {
            let mut ids = self.ids;
            let mut fresh = || {
                ids += 1;
                Uuid::from_u128(ids)
            };
            match plan(changes, touched, &read, now, &mut fresh) {
                Ok(plan) => {
                    self.ids = ids;
                    break plan;
                }
                Err(needs) => self.add(&mut read, needs),
            }
        };
        self.written = plan.users.len();
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
            let holder = self.users.values().find(|user| user.held().contains(&(kind, value.clone())));
            read.set_holder(kind, value, holder.map(UserRecord::id));
        }
        for oid in needs.records {
            assert!(self.users.values().any(|user| user.id() == oid), "every record is in the read set");
        }
        for (kind, value, most) in needs.claimants {
            let waits = |user: &UserRecord| Some((user.quarantined.get(&(kind, value.clone()))?.since, user.id()));
            let mut first: Vec<_> = self.users.values().filter_map(waits).collect();
            first.sort();
            first.truncate(most);
            let all = first.len() < most;
            read.set_claimants(kind, value, Claimants { first, asked: most, all });
        }
    }

    /// Effective addresses of a user, as they were written.
    fn addresses(&self, anchor: &str) -> Vec<String> {
        let user = self.users.values().find(|user| user.seed() == anchor).expect("the user is there");
        user.addresses.iter().map(ToString::to_string).collect()
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

impl ExportChange {
    fn listing(mut self, addresses: &[&str]) -> Self {
        let values = (!addresses.is_empty()).then(|| serde_json::json!(addresses));
        match &mut self.action {
            Action::PutUser(patch) => patch.attributes.insert(PROXY_ADDRESSES.to_owned(), values),
            Action::PutGroup(patch) => patch.attributes.insert(PROXY_ADDRESSES.to_owned(), values),
            Action::PutPlain(_, patch) => patch.attributes.insert(PROXY_ADDRESSES.to_owned(), values),
            Action::DeleteUser | Action::DeleteGroup | Action::DeletePlain(_) => None,
        };
        self
    }

    fn called(mut self, alias: &str) -> Self {
        if let Action::PutUser(patch) = &mut self.action {
            patch.attributes.insert("alias".to_owned(), Some(serde_json::json!([alias])));
        }
        self
    }
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
        nickname: None,
        named_by: None,
        display_name: Some("Made in the cloud".to_owned()),
        given_name: None,
        surname: None,
        on_premises_mail: mail.map(str::to_owned),
        mail: mail.map(str::to_owned),
        addresses: Vec::new(),
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
        quarantined: Quarantine::new(),
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

#[test]
fn the_worked_example_of_names_in_the_initial_domain() {
    let mut directory = Directory::new();
    let nickname = |directory: &Directory| {
        let user = directory.users.values().next().expect("the user is there");
        (user.nickname.as_ref().map(ToString::to_string).unwrap_or_default(), user.upn.to_string())
    };
    let is = |nickname: &str, upn: &str| (nickname.to_owned(), upn.to_owned());
    let first = put("a1", "user3@contoso.example", Some("user2@contoso.example"));
    directory
        .one(first.clone().listing(&["smtp:user0@contoso.example", "SMTP:user1@contoso.example"]))
        .expect("an add");
    assert_eq!(nickname(&directory), is("user1", "user1@tenant.example"));
    let listed = ["SMTP:user1@contoso.example"];
    directory.one(first.listing(&listed).called("user4")).expect("an update");
    assert_eq!(nickname(&directory), is("user4", "user1@tenant.example"));
    let renamed = put("a1", "user5@contoso.example", Some("user2@contoso.example")).called("user4");
    directory.one(renamed.listing(&listed)).expect("an update");
    assert_eq!(nickname(&directory), is("user4", "user4@tenant.example"));
    let moved = put("a1", "user5@contoso.example", Some("user7@contoso.example")).called("user4");
    directory.one(moved.listing(&["SMTP:user6@contoso.example"])).expect("an update");
    assert_eq!(nickname(&directory), is("user4", "user4@tenant.example"));
    directory.one(put("a1", "user5@verified.example", None).called("user4")).expect("an update");
    assert_eq!(nickname(&directory), is("user4", "user5@verified.example"));
}

#[test]
fn a_later_nickname_names_the_user_when_the_domains_change() {
    let mut directory = Directory::new();
    directory.one(put("a1", "ada@contoso.example", None)).expect("an add");
    directory.one(put("a1", "ada@contoso.example", None).called("countess")).expect("an update");
    assert_eq!(directory.upn("a1"), "ada@tenant.example");
    let everybody: Vec<ObjectId> = directory.users.values().map(UserRecord::id).collect();
    directory.apply_piece(&[], &Touched::Judged(everybody.clone()), Timestamp::from_millis(9));
    assert_eq!(directory.upn("a1"), "ada@tenant.example", "a judgement renames nobody");
    directory.apply_piece(&[], &Touched::Recalculated(everybody), Timestamp::from_millis(9));
    assert_eq!(directory.upn("a1"), "countess@tenant.example");
}

#[test]
fn an_address_has_one_owner_whichever_attribute_lists_it() {
    let mut directory = Directory::new();
    let ada = put("a1", "ada@verified.example", Some("ada@mail.example"));
    directory
        .one(ada.listing(&["SMTP:ada@mail.example", "smtp:countess@mail.example", "SIP:ada@mail.example"]))
        .expect("an add");
    let rows: [(&[&str], &[&str], usize); 4] = [
        (&["SMTP:ADA@Mail.example", "smtp:own@mail.example"], &["smtp:own@mail.example"], 1),
        (&["sip:ada@mail.example", "sip:countess@mail.example"], &["sip:countess@mail.example"], 1),
        (
            &["X500:ada@mail.example", "smtp:byron@mail.example"],
            &["X500:ada@mail.example", "smtp:byron@mail.example"],
            0,
        ),
        (&["smtp:ada byron@mail.example", "own2@mail.example"], &["own2@mail.example"], 1),
    ];
    for (place, (listed, kept, warnings)) in rows.into_iter().enumerate() {
        let anchor = format!("b{place}");
        let accepted = directory.one(put(&anchor, &format!("b{place}@verified.example"), None).listing(listed));
        assert_eq!(accepted.expect("an add").warnings.len(), warnings, "{listed:?}");
        assert_eq!(directory.addresses(&anchor), kept);
    }
    // The other's listed address is nobody's mail, and the other way round.
    let accepted = directory.one(put("c1", "c1@verified.example", Some("Countess@mail.example"))).expect("an add");
    assert_eq!(accepted.warnings.len(), 1, "{accepted:?}");
}

#[test]
fn a_swap_of_addresses_quarantines_nobody_and_what_is_freed_goes_to_who_waits() {
    let mut directory = Directory::new();
    let one = |listed: &[&str]| put("a1", "one@verified.example", Some("one@mail.example")).listing(listed);
    let two = |listed: &[&str]| put("a2", "two@verified.example", None).listing(listed);
    directory.apply(&[one(&["smtp:x@mail.example"]), two(&["smtp:y@mail.example", "smtp:z@mail.example"])], 10);
    let swapped =
        directory.apply(&[one(&["smtp:y@mail.example"]), two(&["smtp:x@mail.example", "smtp:z@mail.example"])], 1);
    assert!(
        swapped.iter().all(|result| result.as_ref().is_ok_and(|accepted| accepted.warnings.is_empty())),
        "{swapped:?}"
    );
    // Of three that are wanted, the one that another has is left out; the others stay.
    directory
        .one(put("a3", "three@verified.example", None).listing(&["smtp:x@mail.example", "smtp:w@mail.example"]))
        .expect("an add");
    assert_eq!(directory.addresses("a3"), ["smtp:w@mail.example"]);
    directory.one(two(&["smtp:z@mail.example"])).expect("an update");
    assert_eq!(directory.addresses("a3"), ["smtp:x@mail.example", "smtp:w@mail.example"]);
    // A deleted object holds nothing; one that comes back waits for what was given away meanwhile.
    directory.one(put("a4", "four@verified.example", None).listing(&["smtp:y@mail.example"])).expect("an add");
    directory.one(change("a1", Action::DeleteUser)).expect("a delete");
    assert_eq!(directory.addresses("a4"), ["smtp:y@mail.example"]);
    let back = directory.one(one(&["smtp:y@mail.example", "smtp:v@mail.example"])).expect("a restore");
    assert!(back.restored && back.warnings.len() == 1, "{back:?}");
    assert_eq!(directory.addresses("a1"), ["smtp:v@mail.example"]);
}

#[test]
fn the_primary_address_soft_matches_and_a_further_one_does_not() {
    let mut directory = Directory::holding([
        cloud(1, "one@verified.example", Some("one@verified.example")),
        cloud(2, "two@verified.example", Some("two@verified.example")),
    ]);
    let further =
        put("a1", "x@verified.example", None).listing(&["SMTP:x@verified.example", "smtp:one@verified.example"]);
    let accepted = directory.one(further).expect("a new user");
    assert_eq!(accepted.warnings.len(), 1, "a duplicate: {accepted:?}");
    assert!(directory.users[&UserId::from_uuid(Uuid::from_u128(1))].cloud_mastered);
    let primary =
        put("a2", "y@verified.example", None).listing(&["smtp:y@verified.example", "SMTP:Two@verified.example"]);
    let accepted = directory.one(primary).expect("a match");
    assert_eq!(accepted.warnings, [ExportWarning::TookOver { by: MatchKind::Mail }]);
    assert_eq!(accepted.oid, ObjectId::User(UserId::from_uuid(Uuid::from_u128(2))));
    let mut privileged = cloud(3, "three@verified.example", Some("three@verified.example"));
    privileged.privileged = true;
    directory.users.insert(privileged.oid, privileged);
    let refused_one = put("a3", "z@verified.example", None).listing(&["SMTP:three@verified.example"]);
    refused(directory.one(refused_one), ErrorCode::ExistingAdminRoleConflict);
    let mut anchored = cloud(4, "four@verified.example", Some("four@verified.example"));
    anchored.source_anchor = Some(SourceAnchor::from_stored("other".to_owned()));
    directory.users.insert(anchored.oid, anchored);
    let refused_one = put("a4", "z@verified.example", None).listing(&["SMTP:four@verified.example"]);
    refused(directory.one(refused_one), ErrorCode::InvalidSoftMatch);
}

#[test]
fn a_value_that_many_wait_for_concerns_the_longest_wait_alone() {
    let mut directory = Directory::new();
    let shared = |n: usize| put(&format!("a{n}"), &format!("p{n}@verified.example"), Some("shared@mail.example"));
    let changes: Vec<ExportChange> = (0..40).map(shared).collect();
    assert_eq!(pieces(&changes, &directory.read(), Timestamp::from_millis(0), 10).len(), 4, "nobody lets it go");
    for change in changes {
        directory.one(change).expect("an add");
    }
    for n in 0..3 {
        let holder = |directory: &Directory| {
            let user = directory.users.values().find(|user| user.mail.is_some()).expect("somebody has it");
            user.seed()
        };
        assert_eq!(holder(&directory), format!("a{n}"));
        directory.one(put(&format!("a{n}"), &format!("p{n}@verified.example"), None)).expect("an update");
        assert_eq!(directory.written, 2, "who lets go, and who gets it");
        assert_eq!(holder(&directory), format!("a{}", n + 1));
    }
    // The longest wait ends with a delete: the next in line is served.
    directory.one(change("a4", Action::DeleteUser)).expect("a delete");
    let results = directory.apply(&[change("a5", Action::DeleteUser), change("a3", Action::DeleteUser)], 1);
    assert!(results.iter().all(Result::is_ok));
    let user = directory.users.values().find(|user| user.held().iter().any(|(_, value)| value.starts_with("shared")));
    assert_eq!(user.expect("somebody has it").seed(), "a6");
}

#[test]
fn of_several_primary_addresses_one_is_and_it_is_told() {
    let listed = ["SMTP:zoe@mail.example", "SMTP:ada@mail.example", "SIP:ada@mail.example", "SMTP:Mid@mail.example"];
    let second = |value: &str, primary: &str| ExportWarning::SecondPrimaryAddress {
        value: value.to_owned(),
        primary: primary.to_owned(),
    };
    let mut directory = Directory::new();
    for (anchor, mail, kept, warnings) in [
        (
            "a1",
            None,
            ["smtp:zoe@mail.example", "SMTP:ada@mail.example", "SIP:ada@mail.example", "smtp:Mid@mail.example"],
            [second(listed[0], listed[1]), second(listed[3], listed[1])],
        ),
        (
            "a2",
            Some("mid@mail.example"),
            ["smtp:zoe@mail.example", "smtp:ada@mail.example", "SIP:ada@mail.example", "SMTP:Mid@mail.example"],
            [second(listed[0], listed[3]), second(listed[1], listed[3])],
        ),
    ] {
        let accepted = directory.one(put(anchor, "ada@corp.local", mail).listing(&listed)).expect("an add");
        let told = accepted.warnings.iter().filter(|told| matches!(told, ExportWarning::SecondPrimaryAddress { .. }));
        assert_eq!(told.cloned().collect::<Vec<_>>(), warnings);
        assert_eq!(directory.addresses(anchor), kept);
        let named = directory.users.values().find(|user| user.seed() == anchor).expect("the user");
        assert_eq!(named.upn.local(), if mail.is_some() { "Mid" } else { "ada" }, "it gives the nickname too");
        directory.one(change(anchor, Action::DeleteUser)).expect("a delete");
    }
    // The one that is primary matches, and no other does.
    let mut directory = Directory::holding([
        cloud(1, "one@verified.example", Some("one@verified.example")),
        cloud(2, "two@verified.example", Some("two@verified.example")),
    ]);
    let both =
        put("a1", "x@verified.example", None).listing(&["SMTP:two@verified.example", "SMTP:one@verified.example"]);
    let accepted = directory.one(both).expect("a match");
    assert_eq!(accepted.oid, ObjectId::User(UserId::from_uuid(Uuid::from_u128(1))));
    assert!(directory.users[&UserId::from_uuid(Uuid::from_u128(2))].cloud_mastered);
}

#[test]
fn an_address_that_looks_like_another_is_left_out() {
    let mut directory = Directory::new();
    let listed = ["SMTP:ada@mail.example", "smtp:a\u{200b}da@mail.example", "smtp:ada\u{2003}b@mail.example"];
    let accepted = directory
        .one(put("a1", "ada@verified.example", Some("ada\u{ad}@mail.example")).listing(&listed))
        .expect("an add");
    let told: Vec<String> = accepted.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with("mail `ada\\u{ad}@mail.example` is left out: the character U+00AD cannot be seen"),
        "{told:?}"
    );
    assert_eq!(directory.addresses("a1"), listed[..1]);
    let user = directory.users.values().next().expect("the user");
    assert_eq!((user.mail.as_deref(), user.quarantined.len()), (None, 0));
}

#[test]
fn a_further_address_that_the_cloud_has_is_a_duplicate_of_an_object_of_another_type() {
    let group = |mail: Option<&str>, addresses: &[&str]| {
        let patch = crate::tenant::GroupPatch {
            mail: mail.map_or(Edit::Keep, |mail| Edit::Set(mail.to_owned())),
            ..Default::default()
        };
        change("g1", Action::PutGroup(Box::new(patch))).listing(addresses)
    };
    let user = || cloud(1, "b@tenant.example", Some("bob@verified.example"));
    let accepted = Directory::holding([user()])
        .one(group(None, &["SMTP:all@verified.example", "smtp:bob@verified.example"]))
        .expect("the group goes through");
    let denied = ExportWarning::AttributeValueMustBeUnique {
        attribute: PROXY_ADDRESSES.to_owned(),
        value: "bob@verified.example".to_owned(),
        held_by: user().oid.to_string(),
    };
    assert_eq!(accepted.warnings, [denied]);
    refused(
        Directory::holding([user()]).one(group(None, &["SMTP:bob@verified.example"])),
        ErrorCode::ObjectTypeMismatch,
    );
}

fn by(connector: &str, mut change: ExportChange) -> ExportChange {
    let connector: ConnectorName = connector.parse().expect("a name");
    if let Action::PutUser(patch) = &mut change.action {
        patch.upn_connector = Edit::Set(connector.clone());
    }
    ExportChange { anchor_connector: connector, ..change }
}

#[test]
fn a_connector_occupies_no_address_in_a_domain_of_others() {
    let mut directory = Directory::new();
    let hostile = by("branch", put("a1", "eve@corp.local", Some("Boss@Verified.example"))).listing(&[
        "SMTP:boss@verified.example",
        "smtp:eve@tenant.example",
        "smtp:eve@free.example",
    ]);
    let accepted = directory.one(hostile.clone()).expect("an add");
    let foreign = |attribute: &str| ExportWarning::AddressOfForeignDomain {
        attribute: attribute.to_owned(),
        value: "boss@verified.example".to_owned(),
        connector: "branch".to_owned(),
    };
    assert!(accepted.warnings.contains(&foreign("mail")), "{:?}", accepted.warnings);
    assert!(accepted.warnings.contains(&foreign(PROXY_ADDRESSES)), "{:?}", accepted.warnings);
    assert_eq!(directory.addresses("a1"), ["smtp:eve@tenant.example", "smtp:eve@free.example"]);
    let user = directory.users.values().next().expect("the user");
    assert_eq!((user.mail.as_deref(), user.quarantined.len()), (None, 0));
    let boss = directory.one(put("a2", "boss@verified.example", Some("boss@verified.example"))).expect("an add");
    assert_eq!(boss.warnings, []);

    // What it had before the domain was another's it keeps until somebody wants it who may have it.
    let domain = || "free.example".parse::<DomainName>().expect("a domain");
    directory.rules.verify(domain());
    directory.rules.register(connector(), domain());
    directory.one(hostile.clone()).expect("an update");
    assert_eq!(directory.addresses("a1"), ["smtp:eve@tenant.example", "smtp:eve@free.example"]);
    let mut rightful = directory.one(put("a3", "x@verified.example", Some("eve@free.example"))).expect("an add");
    assert_eq!(rightful.warnings, []);
    assert_eq!(directory.addresses("a1"), ["smtp:eve@tenant.example"]);
    rightful = directory.one(put("a3", "x@verified.example", None)).expect("an update");
    assert_eq!(rightful.warnings, []);
    assert_eq!(directory.addresses("a1"), ["smtp:eve@tenant.example"], "once lost it is not given back");
    assert!(directory.users.values().all(|user| user.quarantined.is_empty()), "and not waited for");

    // Whose name comes from a connector that speaks for the domain may have its addresses, whoever the owner is.
    let joined = by("branch", put("a4", "joined@verified.example", None));
    let mut joined = joined.listing(&["SMTP:joined@verified.example"]);
    if let Action::PutUser(patch) = &mut joined.action {
        patch.upn_connector = Edit::Set(connector());
    }
    assert_eq!(directory.one(joined).expect("an add").warnings, []);
    // And an administrator may give any.
    let made = cloud(9, "c@tenant.example", Some("c@verified.example"));
    let draft = Draft { before: None, after: Record::User(Box::new(made)), restored: false, matched: None };
    let mut read = directory.read();
    let plan = loop {
        match plan_alone(draft.clone(), &read, Timestamp::from_millis(1)) {
            Ok(plan) => break plan,
            Err(needs) => directory.add(&mut read, needs),
        }
    };
    assert_eq!(plan.users[0].after.mail.as_deref(), Some("c@verified.example"));
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

/// Addresses that collide with each other and with `mail`, and one that is none.
const LISTED: [&str; 6] = [
    "SMTP:x@mail.example",
    "smtp:X@mail.example",
    "smtp:y@mail.example",
    "SIP:x@mail.example",
    "smtp:z z@mail.example",
    "z@mail.example",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_batches_keep_every_value_single_and_nobody_waits_for_a_free_one(
        batches in prop::collection::vec(
            prop::collection::btree_map(
                0_usize..8,
                prop::option::of((0_usize..6, prop::option::of(0_usize..3), prop::collection::vec(0_usize..6, 0..4))),
                1..8,
            ),
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
                        Some((name, mail, listed)) => {
                            let listed: Vec<&str> = listed.into_iter().map(|listed| LISTED[listed]).collect();
                            let mail = mail.map(|mail| ["x@mail.example", "X@Mail.example", "y@mail.example"][mail]);
                            put(&anchor, NAMES[name], mail).listing(&listed)
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
                if user.quarantined.keys().any(|(kind, _)| *kind == UniqueKind::Upn) {
                    prop_assert!(held.contains(&(UniqueKind::Upn, wanted.clone())), "it waits for a free name");
                    prop_assert_eq!(user.upn.domain(), directory.rules.initial());
                } else {
                    prop_assert_eq!(user.upn.folded(), wanted.clone());
                }
                let mut waits: BTreeSet<_> = user.quarantined.keys().cloned().collect();
                for value in user.wanted() {
                    let waits = waits.remove(&value);
                    prop_assert!(held.contains(&value), "it waits for a free value: {value:?}");
                    prop_assert_eq!(user.held().contains(&value), !waits, "{:?}", value);
                }
                waits.remove(&(UniqueKind::Upn, wanted));
                prop_assert!(waits.is_empty(), "nobody waits for what it does not want: {waits:?}");
            }
        }
    }
}
