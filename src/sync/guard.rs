//! The guard between pending export and export (design, section 4): counts what destroys, holds what is too much.
//!
//! It counts, per target and kind, what is outstanding and what was exported unreleased in the last 24 hours. A hit
//! holds all exports to that target. A release names the digest of the listed changes: only those pass, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::attribute::{Attribute, Attributes};
use super::fault::{Fault, planted};
use super::rule::names;
use super::space::{ExportKind, PendingExport};
use crate::identity::{ConnectorName, Timestamp};

/// Exports of this long ago still count.
pub const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// A release that did not let its changes pass by then is forgotten.
pub const RELEASE_LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits. What reaches a limit passes; what exceeds it is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// Deletes, disables and ended credentials: this many, or
    pub count: i64,
    /// this share of the object type in percent, whichever is reached first,
    pub percent: i64,
    /// but never fewer than this.
    pub at_least: i64,
    /// One attribute emptied on this share of its holders,
    pub emptied_percent: i64,
    pub emptied_at_least: i64,
    /// Memberships removed, in percent of all of the target,
    pub members_percent: i64,
    /// or in percent of one group of more than `group_above` members.
    pub group_percent: i64,
    pub group_above: i64,
}

impl GuardSettings {
    /// For an engine that changes nothing outside its own tables.
    pub const fn holding_nothing() -> Self {
        Self {
            count: i64::MAX,
            percent: 100,
            at_least: i64::MAX,
            emptied_percent: 100,
            emptied_at_least: i64::MAX,
            members_percent: 100,
            group_percent: 100,
            group_above: i64::MAX,
        }
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            count: 500,
            percent: 10,
            at_least: 5,
            emptied_percent: 10,
            emptied_at_least: 50,
            members_percent: 20,
            group_percent: 50,
            group_above: 50,
        }
    }
}

/// Names of what is counted.
pub mod kind {
    pub const MEMBERSHIPS: &str = "memberships";

    pub fn delete(object_type: &str) -> String {
        format!("delete:{object_type}")
    }
    pub fn disable(object_type: &str) -> String {
        format!("disable:{object_type}")
    }
    pub fn credential(object_type: &str) -> String {
        format!("credential:{object_type}")
    }
    pub fn emptied(attribute: &str) -> String {
        format!("emptied:{attribute}")
    }
    pub fn members_of(group: &str) -> String {
        format!("members-of:{group}")
    }
    pub fn obsolete(object_type: &str) -> String {
        format!("obsolete:{object_type}")
    }
}

/// One change that counts: its kind, and the object by a name that survives a rebuild of the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GuardItem {
    pub kind: String,
    pub item: String,
}

/// An entry of the 24-hour ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardLedgerEntry {
    pub target: ConnectorName,
    pub kind: String,
    pub count: i64,
    pub released: bool,
    pub at: Timestamp,
    /// Items whose releases it used up: they end in the transaction that counts it, so that none passes twice.
    pub used: Vec<String>,
}

/// What the store counted for one target.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub items: BTreeSet<GuardItem>,
    /// Objects of the target by type, holders by `emptied:` kind, members by `members-of:` kind, all memberships. What is
    /// absent counts as nobody.
    pub population: BTreeMap<String, i64>,
    /// Exported unreleased within [`MEMORY`], by kind.
    pub exported: BTreeMap<String, i64>,
}

impl Tally {
    /// What is not released, by kind.
    fn outstanding(&self, released: &BTreeSet<GuardItem>) -> BTreeMap<&str, Vec<&str>> {
        let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for item in self.items.iter().filter(|item| !released.contains(item)) {
            by_kind.entry(&item.kind).or_default().push(&item.item);
        }
        by_kind
    }

    fn left(&self, kind: &str) -> i64 {
        self.exported.get(kind).copied().filter(|_| !planted(Fault::GuardPerRun)).unwrap_or(0)
    }
}

/// A limit that was exceeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// A target connector, or `import:NAME` for an import that would obsolete too much.
    pub target: String,
    pub kind: String,
    pub outstanding: i64,
    pub exported: i64,
    pub limit: i64,
    /// Of the listed changes; a release must name it.
    pub digest: String,
    pub since: Timestamp,
    pub items: Vec<String>,
}

/// Releases of one target, told apart by whether they still hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    pub standing: BTreeSet<GuardItem>,
    /// Too old, or for changes that are no longer outstanding: were they to come back, they are others.
    pub spent: Vec<GuardItem>,
}

impl Releases {
    pub fn of(released: BTreeMap<GuardItem, Timestamp>, tally: &Tally, now: Timestamp) -> Self {
        let mut releases = Self::default();
        for (item, at) in released {
            if at + RELEASE_LASTS > now && tally.items.contains(&item) {
                releases.standing.insert(item);
            } else {
                releases.spent.push(item);
            }
        }
        releases
    }
}

/// What one pending export counts as; `held` is what the target holds of the object.
pub fn kinds_of(export: &PendingExport, object_type: &str, held: Option<&Attributes>) -> Vec<String> {
    match export.kind {
        ExportKind::Delete => vec![kind::delete(object_type)],
        ExportKind::Add => Vec::new(),
        ExportKind::Update => {
            let mut kinds = Vec::new();
            if denies(&export.changes, names::ACCOUNT_ENABLED) {
                kinds.push(kind::disable(object_type));
            }
            // Another source of the credential ends the one that is stored.
            let moves = [names::CREDENTIAL_CONNECTOR, names::CREDENTIAL_ANCHOR]
                .into_iter()
                .map(Attribute::from)
                .any(|name| export.changes.contains_key(&name) && held.is_some_and(|held| held.contains_key(&name)));
            if denies(&export.changes, names::CREDENTIAL_ELIGIBLE) || moves {
                kinds.push(kind::credential(object_type));
            }
            kinds.extend(
                export
                    .changes
                    .iter()
                    .filter(|(_, values)| values.is_empty())
                    .map(|(name, _)| kind::emptied(name.as_str())),
            );
            kinds
        }
    }
}

/// Whether a yes-or-no attribute comes to something else than yes.
fn denies(changes: &Attributes, name: &str) -> bool {
    changes.get(&Attribute::from(name)).is_some_and(|values| values.first().is_none_or(|v| v.folded() != "true"))
}

impl GuardSettings {
    /// Holds nothing: for what is tried and never exported.
    pub fn without_limits() -> Self {
        let none = i64::MAX;
        Self {
            count: none,
            percent: 100,
            at_least: none,
            emptied_percent: 100,
            emptied_at_least: none,
            members_percent: 100,
            group_percent: 100,
            group_above: none,
        }
    }

    /// The most that may happen of a kind.
    pub fn limit(&self, kind: &str, population: i64) -> i64 {
        let share = |percent: i64| population.saturating_mul(percent) / 100;
        match kind.split_once(':') {
            Some(("emptied", _)) => share(self.emptied_percent).max(self.emptied_at_least),
            Some(("members-of", _)) if population > self.group_above => share(self.group_percent),
            Some(("members-of", _)) => i64::MAX,
            None if kind == kind::MEMBERSHIPS => share(self.members_percent).max(self.at_least),
            _ => share(self.percent).max(self.at_least).min(self.count),
        }
    }

    /// The most that may happen of a kind, whatever it is a share of.
    fn floor(&self, kind: &str) -> i64 {
        let smallest = if kind.starts_with("members-of:") { self.group_above.saturating_add(1) } else { 0 };
        self.limit(kind, smallest)
    }

    /// What shares are to be taken of, so that all holds are known: of so few changes that they pass anyway, of nothing.
    /// Counting the objects of a target takes as long as it has many.
    pub fn shares_of<'t>(&self, tally: &'t Tally, released: &BTreeSet<GuardItem>) -> BTreeSet<&'t str> {
        let exceed = |(kind, items): &(&str, Vec<&str>)| items.len() as i64 + tally.left(kind) > self.floor(kind);
        tally.outstanding(released).into_iter().filter(exceed).map(|(kind, _)| base(kind)).collect()
    }

    /// The holds on a target. Empty: everything may leave.
    pub fn judge(&self, target: &str, tally: &Tally, released: &BTreeSet<GuardItem>, now: Timestamp) -> Vec<Hold> {
        let mut holds = Vec::new();
        for (kind, items) in tally.outstanding(released) {
            let exported = tally.left(kind);
            let outstanding = items.len() as i64;
            // What left within the memory was part of the population that shares are taken of.
            let left = if kind.starts_with("disable:") || kind.starts_with("credential:") { 0 } else { exported };
            let limit = self.limit(kind, tally.population.get(base(kind)).copied().unwrap_or(0).saturating_add(left));
            if outstanding + exported > limit {
                holds.push(Hold {
                    target: target.to_owned(),
                    kind: kind.to_owned(),
                    outstanding,
                    exported,
                    limit,
                    digest: digest(target, kind, &items),
                    since: now,
                    items: items.into_iter().map(str::to_owned).collect(),
                });
            }
        }
        holds
    }
}

/// What a kind's share is taken of.
fn base(kind: &str) -> &str {
    match kind.split_once(':') {
        Some(("delete" | "disable" | "credential" | "obsolete", object_type)) => object_type,
        _ => kind,
    }
}

/// Names a list of changes. Sixteen hex digits: enough to tell lists apart, short enough to type.
fn digest(target: &str, kind: &str, items: &[&str]) -> String {
    let mut sorted = items.to_vec();
    sorted.sort_unstable();
    let mut sha = Sha256::new();
    for part in [target, kind].into_iter().chain(sorted) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    hex::encode(&sha.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(deletes: i64, users: i64, exported: i64) -> Tally {
        let items = (0..deletes).map(|n| GuardItem { kind: kind::delete("user"), item: format!("u{n:05}") }).collect();
        Tally {
            items,
            population: BTreeMap::from([("user".to_owned(), users)]),
            exported: BTreeMap::from([(kind::delete("user"), exported)]),
        }
    }

    fn held(deletes: i64, users: i64, exported: i64) -> bool {
        let now = Timestamp::from_secs(0);
        !GuardSettings::default().judge("tenant", &tally(deletes, users, exported), &BTreeSet::new(), now).is_empty()
    }

    #[test]
    fn deletes_are_limited_by_count_or_share_whichever_comes_first() {
        for (deletes, users, exported, expected) in [
            (5, 10, 0, false),
            (6, 10, 0, true),
            (100, 1000, 0, false),
            (101, 1000, 0, true),
            (500, 100_000, 0, false),
            (501, 100_000, 0, true),
            (499, 100_000, 0, false),
            (2, 100_000, 499, true),
            (0, 100_000, 499, false),
        ] {
            assert_eq!(held(deletes, users, exported), expected, "{deletes} of {users} after {exported}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_held_or_let_pass_because_it_was_not_counted(
            kinds in prop::collection::vec((0..6_usize, 1..80_i64, 0..80_i64, 0..300_i64), 0..6),
            limits in prop::array::uniform8(0..100_i64),
            released in 0..40_usize,
        ) {
            let names = ["delete:user", "disable:user", "emptied:mail", "memberships", "members-of:g", "credential:user"];
            let mut tally = Tally::default();
            for (kind, items, exported, population) in kinds {
                let kind = names[kind];
                let item = |number| GuardItem { kind: kind.to_owned(), item: format!("{number}") };
                tally.items.extend((0..items).map(item));
                tally.exported.insert(kind.to_owned(), exported);
                tally.population.insert(base(kind).to_owned(), population);
            }
            let [count, percent, at_least, emptied_percent, emptied_at_least, members_percent, group_percent, group_above] =
                limits;
            let settings = GuardSettings {
                count, percent, at_least, emptied_percent, emptied_at_least, members_percent, group_percent, group_above,
            };
            let released: BTreeSet<GuardItem> = tally.items.iter().take(released).cloned().collect();
            let judged = |tally: &Tally| settings.judge("tenant", tally, &released, Timestamp::from_secs(0));
            let shares = settings.shares_of(&tally, &released);
            let population = tally.population.iter().filter(|(of, _)| shares.contains(of.as_str()));
            let counted = Tally { population: population.map(|(of, n)| (of.clone(), *n)).collect(), ..tally.clone() };
            prop_assert_eq!(judged(&counted), judged(&tally));
        }
    }

    #[test]
    fn changes_that_pass_anyway_are_shares_of_nothing() {
        let settings = GuardSettings::default();
        assert!(settings.shares_of(&tally(5, 0, 0), &BTreeSet::new()).is_empty());
        assert_eq!(settings.shares_of(&tally(6, 0, 0), &BTreeSet::new()), BTreeSet::from(["user"]));
        assert_eq!(settings.shares_of(&tally(5, 0, 1), &BTreeSet::new()), BTreeSet::from(["user"]));
        let six = tally(6, 0, 0);
        assert!(settings.shares_of(&six, &six.items.clone()).is_empty());
    }

    #[test]
    fn a_release_lets_the_listed_changes_pass_and_no_others() {
        let (settings, now) = (GuardSettings::default(), Timestamp::from_secs(0));
        let all = tally(600, 1000, 0);
        let hold = settings.judge("tenant", &all, &BTreeSet::new(), now).remove(0);
        assert_eq!((hold.outstanding, hold.limit, hold.items.len()), (600, 100, 600));
        let released = all.items.clone();
        assert!(settings.judge("tenant", &all, &released, now).is_empty());
        let more = tally(701, 1000, 0);
        let second = settings.judge("tenant", &more, &released, now).remove(0);
        assert_eq!(second.outstanding, 101);
        assert_ne!(second.digest, hold.digest);
    }

    #[test]
    fn memberships_and_emptied_attributes_have_limits_of_their_own() {
        let settings = GuardSettings::default();
        assert_eq!(settings.limit("memberships", 1000), 200);
        assert_eq!(settings.limit("members-of:g", 51), 25);
        assert_eq!(settings.limit("members-of:g", 50), i64::MAX);
        assert_eq!(settings.limit("emptied:mail", 100), 50);
        assert_eq!(settings.limit("emptied:mail", 10_000), 1000);
        assert_eq!(settings.limit("disable:user", 20), 5);
    }

    #[test]
    fn an_update_counts_as_what_it_destroys() {
        use crate::sync::attribute::Value;
        use crate::sync::space::ObjectId;
        let changes = Attributes::from([
            ("accountEnabled".into(), vec![Value::text("FALSE")]),
            ("credentialEligible".into(), vec![Value::text("FALSE")]),
            ("mail".into(), Vec::new()),
            ("displayName".into(), vec![Value::text("x")]),
        ]);
        let connector: ConnectorName = "tenant".parse().expect("a name");
        let update = PendingExport::staged(ObjectId(1), connector, ExportKind::Update, changes);
        assert_eq!(kinds_of(&update, "user", None), ["disable:user", "credential:user", "emptied:mail"]);
    }

    #[test]
    fn another_credential_source_and_a_word_that_is_no_yes_count_too() {
        use crate::sync::attribute::Value;
        use crate::sync::space::ObjectId;
        let connector: ConnectorName = "tenant".parse().expect("a name");
        let held = Attributes::from([
            ("credentialConnector".into(), vec![Value::text("corp")]),
            ("credentialAnchor".into(), vec![Value::text("a1")]),
        ]);
        let says = |name: &str, values: &[&str]| {
            Attributes::from([(name.into(), values.iter().map(|v| Value::text(*v)).collect::<Vec<_>>())])
        };
        for (changes, held, expected) in [
            (says("credentialConnector", &["branch"]), Some(&held), vec!["credential:user"]),
            (says("credentialAnchor", &["a2"]), Some(&held), vec!["credential:user"]),
            (says("credentialAnchor", &[]), Some(&held), vec!["credential:user", "emptied:credentialAnchor"]),
            // Who had none loses none.
            (says("credentialAnchor", &["a1"]), None, vec![]),
            (says("accountEnabled", &["false"]), None, vec!["disable:user"]),
            (says("accountEnabled", &["0"]), None, vec!["disable:user"]),
            (says("accountEnabled", &[]), None, vec!["disable:user", "emptied:accountEnabled"]),
            (says("accountEnabled", &["True"]), None, vec![]),
        ] {
            let update = PendingExport::staged(ObjectId(1), connector.clone(), ExportKind::Update, changes);
            assert_eq!(kinds_of(&update, "user", held), expected, "{:?}", update.changes);
        }
    }

    #[test]
    fn a_release_is_spent_when_its_changes_are_gone_or_a_day_has_passed() {
        let now = Timestamp::from_secs(1_000_000);
        let item = |name: &str| GuardItem { kind: kind::delete("user"), item: name.to_owned() };
        let tally = Tally { items: BTreeSet::from([item("there"), item("old")]), ..Tally::default() };
        let given = now - Duration::from_secs(60);
        let released =
            BTreeMap::from([(item("there"), given), (item("gone"), given), (item("old"), now - RELEASE_LASTS)]);
        let releases = Releases::of(released, &tally, now);
        assert_eq!(releases.standing, BTreeSet::from([item("there")]));
        assert_eq!(releases.spent, [item("gone"), item("old")]);
    }
}
