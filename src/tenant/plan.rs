//! The plan of a batch: what every object becomes, judged on the batch's end state. Pure: from a read set to a plan,
//! or to what must be read before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::awards::{Judgement, Name, foreign, wishes};
use super::catalogue::{ErrorCode, ExportError};
use super::effective_upn::stand_ins;
use super::export::{Accepted, ExportChange, ExportResult, ExportWarning, ObjectId};
use super::matching::{Draft, Record, draft, name_of, parse_source_anchor, speakers};
use super::read_back::ChangeOperation;
use super::read_set::{Needs, ReadSet};
use super::record::{GroupRecord, PlainRecord, UserRecord};
use super::soft_match::{Found, Match, soft_match};
use super::unique::{Right, UniqueKind, Wish, award};
use crate::identity::Timestamp;

/// What is to be written, and what the client is answered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per change, in their order.
    pub results: Vec<ExportResult>,
    /// Of the objects that were only recalculated.
    pub recalculated: Vec<ExportWarning>,
    pub users: Vec<Written<UserRecord>>,
    pub groups: Vec<Written<GroupRecord>>,
    pub plains: Vec<Written<PlainRecord>>,
}

/// An object that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Written<R> {
    pub before: Option<R>,
    pub after: R,
    pub operation: ChangeOperation,
}

/// Objects, of the read set, that are judged without a change to them.
#[derive(Clone, Debug)]
pub enum Touched {
    /// What they have and go without. Nobody gets another name by it.
    Judged(Vec<ObjectId>),
    /// Their names too: the tenant's domains have changed, and a user is called by the present nickname then.
    Recalculated(Vec<ObjectId>),
}

impl Touched {
    pub fn nothing() -> Self {
        Self::Judged(Vec::new())
    }

    pub fn objects(&self) -> &[ObjectId] {
        match self {
            Self::Judged(objects) | Self::Recalculated(objects) => objects,
        }
    }
}

/// Judges `changes`, and the objects `touched`. `fresh` gives random ids.
pub fn plan(
    changes: &[ExportChange],
    touched: &Touched,
    read: &ReadSet,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Plan, Needs> {
    let mut matches = soft_matches(changes, read)?;
    let mut batch = Batch { read, entries: Vec::new(), members: HashSet::new(), errors: HashMap::new() };
    let mut anchors = HashSet::new();
    let mut room = read.room;
    for (index, change) in changes.iter().enumerate() {
        let soft = matches.remove(&index).transpose();
        let drafted = if anchors.insert(change.object.source_anchor.as_str()) {
            soft.and_then(|soft| draft(change, soft, read, now, fresh))
        } else {
            let message = "an object may occur once in a batch".to_owned();
            Err(ExportError { code: ErrorCode::ObjectTwiceInBatch, message })
        };
        match drafted.and_then(|draft| batch.fitting(draft, &mut room)) {
            Ok(draft) => batch.add(Entry { change: Some(index), draft }),
            Err(error) => {
                batch.errors.insert(index, error);
            }
        }
    }
    for oid in touched.objects() {
        match touched {
            Touched::Judged(_) => batch.touch(*oid),
            Touched::Recalculated(_) => batch.recalculate(*oid),
        }
    }
    batch.settle(changes.len(), now)
}

/// Judges one object of the cloud that is made or deleted.
pub fn plan_alone(draft: Draft, read: &ReadSet, now: Timestamp) -> Result<Plan, Needs> {
    let mut batch = Batch { read, entries: Vec::new(), members: HashSet::new(), errors: HashMap::new() };
    let mut room = read.room;
    match batch.fitting(draft, &mut room) {
        Ok(draft) => batch.add(Entry { change: Some(0), draft }),
        Err(error) => {
            batch.errors.insert(0, error);
        }
    }
    batch.settle(1, now)
}

/// What adds without a known anchor take over, or why they must not.
fn soft_matches(changes: &[ExportChange], read: &ReadSet) -> Result<HashMap<usize, Result<Match, ExportError>>, Needs> {
    let (mut found, mut needs) = (HashMap::new(), Needs::default());
    for (index, change) in changes.iter().enumerate() {
        let known =
            parse_source_anchor(&change.object.source_anchor).is_ok_and(|anchor| read.by_anchor(&anchor).is_some());
        if known || change.object.oid.is_some() {
            continue;
        }
        match soft_match(change, read) {
            Found::Nothing => {}
            Found::Object(matched) => {
                found.insert(index, Ok(*matched));
            }
            Found::Refused(error) => {
                found.insert(index, Err(error));
            }
            Found::Unknown(unknown) => {
                needs.holders.extend(unknown.holders);
                needs.records.extend(unknown.records);
            }
        }
    }
    if needs.is_empty() { Ok(found) } else { Err(needs) }
}

struct Batch<'a> {
    read: &'a ReadSet,
    entries: Vec<Entry>,
    members: HashSet<ObjectId>,
    errors: HashMap<usize, ExportError>,
}

struct Entry {
    /// `None` for objects that are only recalculated.
    change: Option<usize>,
    draft: Draft,
}

impl Batch<'_> {
    fn settle(mut self, changes: usize, now: Timestamp) -> Result<Plan, Needs> {
        loop {
            let judged = self.judge()?;
            if self.refuse_losers(&judged) {
                continue;
            }
            let concerned = self.concerned(&judged)?;
            if concerned.is_empty() {
                return Ok(self.finish(changes, judged, now));
            }
            for oid in concerned {
                self.touch(oid);
            }
        }
    }

    /// Objects outside the batch that its end concerns: who waits longest for what is let go, of those with the best right to
    /// it, and who has a value to which somebody in the batch has the better right.
    fn concerned(&self, judged: &[Judgement]) -> Result<BTreeSet<ObjectId>, Needs> {
        let (mut concerned, mut needs) = (BTreeSet::new(), Needs::default());
        for (kind, value, winner) in freed(judged) {
            let claimants = self.read.claimants(kind, value);
            let known = claimants.map_or(&[][..], |claimants| &claimants.first);
            let outside = known.iter().filter(|(_, oid)| !self.members.contains(oid));
            let waits = outside.map(|(since, oid)| (self.right(*oid, kind, value), *since, *oid)).min();
            let rank = waits.map(|(right, since, _)| (right, since));
            let best = rank.into_iter().chain(winner).min();
            // Whoever is not known waits no longer than those who are, and may have the full right.
            let nobody_better = known.last().zip(best).is_some_and(|((since, _), best)| best <= (Right::Full, *since));
            if nobody_better || claimants.is_some_and(|claimants| claimants.all) {
                let next = waits.filter(|_| winner.is_none_or(|winner| rank < Some(winner)));
                concerned.extend(next.map(|(.., oid)| oid));
            } else {
                let asked = claimants.map_or(0, |claimants| claimants.asked);
                needs.claimants.push((kind, value.clone(), (asked * 2).max(1)));
            }
        }
        for (kind, wish, award) in judged.iter().flat_map(|judgement| &judgement.awards) {
            let Some((holder, value)) = award.denied_by.zip(wish.desired.as_ref()) else { continue };
            if wish.right != Right::Full
                || self.members.contains(&holder)
                || speakers(&self.read.rules, *kind, value).is_none()
            {
                continue;
            }
            match self.read.record(holder) {
                Some(record) if record.is_entitled(*kind, value, &self.read.rules) => {}
                Some(_) => {
                    concerned.insert(holder);
                }
                None => needs.records.push(holder),
            }
        }
        if needs.is_empty() { Ok(concerned) } else { Err(needs) }
    }

    /// By what right somebody waits for a value whose record is known with the claim.
    fn right(&self, claimant: ObjectId, kind: UniqueKind, value: &str) -> Right {
        let rules = &self.read.rules;
        let is_foreign = speakers(rules, kind, value).is_some()
            && self.read.record(claimant).is_some_and(|record| !record.is_entitled(kind, value, rules));
        if is_foreign { Right::Lent } else { Right::Full }
    }

    /// A draft, if the directory has room for what it adds, and nobody else takes the same object over.
    fn fitting(&self, draft: Draft, room: &mut i64) -> Result<Draft, ExportError> {
        if draft.matched.is_some() && self.members.contains(&draft.after.id()) {
            let message = format!("another object of this batch takes {} over", draft.after.id());
            return Err(ExportError { code: ErrorCode::InvalidSoftMatch, message });
        }
        if draft.before.is_none() || draft.restored {
            if *room <= 0 {
                let message = "the directory holds as many objects as its quota allows".to_owned();
                return Err(ExportError { code: ErrorCode::DirectoryQuotaExceeded, message });
            }
            *room -= 1;
        }
        Ok(draft)
    }

    fn add(&mut self, entry: Entry) {
        self.members.insert(entry.draft.after.id());
        self.entries.push(entry);
    }

    /// Judges an object again, as it is.
    fn touch(&mut self, oid: ObjectId) {
        if !self.members.contains(&oid)
            && let Some(record) = self.read.record(oid)
        {
            let draft = Draft { before: Some(record.clone()), after: record, restored: false, matched: None };
            self.add(Entry { change: None, draft });
        }
    }

    /// The same, when the tenant's domains have changed: a user is called by the present nickname then.
    fn recalculate(&mut self, oid: ObjectId) {
        let before = self.entries.len();
        self.touch(oid);
        if let Some(Record::User(user)) = self.entries.get_mut(before).map(|entry| &mut entry.draft.after) {
            user.named_by = user.nickname.clone();
        }
    }

    /// Awards all unique values to the entries as they are now.
    fn judge(&self) -> Result<Vec<Judgement>, Needs> {
        let rules = &self.read.rules;
        let mut judged: Vec<Judgement> = self.entries.iter().map(|entry| self.name(entry)).collect();
        let mut of_kind: BTreeMap<UniqueKind, (Vec<usize>, Vec<Wish>)> = BTreeMap::new();
        for (place, (entry, judgement)) in self.entries.iter().zip(&judged).enumerate() {
            for (kind, wish) in wishes(&entry.draft, judgement.name.as_ref(), &judgement.foreign, rules) {
                let (places, wishes) = of_kind.entry(kind).or_default();
                places.push(place);
                wishes.push(wish);
            }
        }
        let mut needs = Needs::default();
        for (kind, (places, wishes)) in of_kind {
            match award(&wishes, self.read.holders(kind)) {
                Ok(awards) => {
                    for ((place, wish), award) in places.into_iter().zip(wishes).zip(awards) {
                        judged[place].awards.push((kind, wish, award));
                    }
                }
                Err(unknown) => needs.holders.extend(unknown.into_iter().map(|value| (kind, value))),
            }
        }
        if needs.is_empty() { Ok(judged) } else { Err(needs) }
    }

    fn name(&self, entry: &Entry) -> Judgement {
        let name = match &entry.draft.after {
            Record::User(user) if user.deleted_at.is_none() => name_of(user, &self.read.rules).map(|effective| {
                let stand_ins = stand_ins(&effective.upn, &self.read.rules, &user.seed());
                Name { effective, stand_ins }
            }),
            Record::User(_) | Record::Group(_) | Record::Plain(_) => None,
        };
        Judgement { awards: Vec::new(), foreign: foreign(&entry.draft, &self.read.rules), name }
    }

    /// Takes changes out that ended without a value they cannot be without. Returns whether there were any.
    fn refuse_losers(&mut self, judged: &[Judgement]) -> bool {
        let mut losers = HashMap::new();
        for (place, judgement) in judged.iter().enumerate() {
            for (kind, wish, award) in &judgement.awards {
                let code = match kind {
                    UniqueKind::Upn => ErrorCode::AttributeValueMustBeUnique,
                    UniqueKind::Credential => ErrorCode::CredentialSourceTaken,
                    UniqueKind::Address | UniqueKind::Sam => continue,
                };
                if let (Some(desired), None) = (&wish.desired, &award.value) {
                    let holder = award.denied_by.map_or_else(String::new, |oid| oid.to_string());
                    let message = format!("{} `{desired}` belongs to {holder} already", kind.attribute());
                    losers.insert(place, ExportError { code, message });
                }
            }
        }
        if losers.is_empty() {
            return false;
        }
        let mut place = 0;
        let (members, errors) = (&mut self.members, &mut self.errors);
        self.entries.retain(|entry| {
            let lost = losers.remove(&place);
            place += 1;
            let Some(error) = lost else { return true };
            members.remove(&entry.draft.after.id());
            if let Some(change) = entry.change {
                errors.insert(change, error);
            }
            false
        });
        true
    }

    fn finish(self, changes: usize, judged: Vec<Judgement>, now: Timestamp) -> Plan {
        let mut results: Vec<Option<ExportResult>> = (0..changes).map(|_| None).collect();
        for (index, error) in self.errors {
            results[index] = Some(Err(error));
        }
        let (mut users, mut groups, mut plains, mut recalculated) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (entry, judgement) in self.entries.into_iter().zip(judged) {
            let Draft { before, after, restored, matched } = entry.draft;
            let taken = matched.map(|by| ExportWarning::TookOver { by });
            let accepted = match after {
                Record::User(user) => {
                    let before = before.and_then(|before| match before {
                        Record::User(before) => Some(*before),
                        Record::Group(_) | Record::Plain(_) => None,
                    });
                    let (user, mut warnings) = judgement.awarded_user(*user, now);
                    warnings.extend(taken);
                    let deleted = user.deleted_at.is_some();
                    let accepted = Accepted {
                        oid: user.id(),
                        restored,
                        effective_upn: if deleted { None } else { Some(user.upn.clone()) },
                        warnings,
                        members_waiting: Vec::new(),
                    };
                    users.extend(written(before, user, now, |user| (&mut user.updated_at, user.deleted_at)));
                    accepted
                }
                Record::Group(group) => {
                    let before = before.and_then(|before| match before {
                        Record::Group(before) => Some(*before),
                        Record::User(_) | Record::Plain(_) => None,
                    });
                    let (group, mut warnings) = judgement.awarded_group(*group, now);
                    warnings.extend(taken);
                    let accepted = Accepted {
                        oid: group.id(),
                        restored,
                        effective_upn: None,
                        warnings,
                        members_waiting: Vec::new(),
                    };
                    groups.extend(written(before, group, now, |group| (&mut group.updated_at, group.deleted_at)));
                    accepted
                }
                Record::Plain(plain) => {
                    let before = before.and_then(|before| match before {
                        Record::Plain(before) => Some(*before),
                        Record::User(_) | Record::Group(_) => None,
                    });
                    let (plain, warnings) = judgement.awarded_plain(*plain, now);
                    let accepted = Accepted {
                        oid: plain.id(),
                        restored,
                        effective_upn: None,
                        warnings,
                        members_waiting: Vec::new(),
                    };
                    plains.extend(written(before, plain, now, |plain| (&mut plain.updated_at, plain.deleted_at)));
                    accepted
                }
            };
            match entry.change {
                Some(change) => results[change] = Some(Ok(accepted)),
                None => recalculated.extend(accepted.warnings),
            }
        }
        let results = results.into_iter().map(|result| result.expect("each change was drafted or refused")).collect();
        Plan { results, recalculated, users, groups, plains }
    }
}

/// Values that somebody lets go of, and by what right and since when whoever gets them has waited.
fn freed(judged: &[Judgement]) -> impl Iterator<Item = (UniqueKind, &String, Option<(Right, Timestamp)>)> {
    let awards = || judged.iter().flat_map(|judgement| &judgement.awards);
    let newcomer = Timestamp::from_millis(i64::MAX);
    let won: HashMap<(UniqueKind, &String), (Right, Timestamp)> = awards()
        .filter_map(|(kind, wish, award)| {
            let value = award.value.as_ref()?;
            let waited = wish.waiting_since.filter(|_| wish.desired.as_ref() == Some(value));
            Some(((*kind, value), (wish.right, waited.unwrap_or(newcomer))))
        })
        .collect();
    awards().filter_map(move |(kind, wish, award)| {
        let left = wish.present.as_ref().filter(|present| award.value.as_ref() != Some(present));
        // A credential source has no claimants: nobody waits for one.
        let left = left.filter(|_| *kind != UniqueKind::Credential)?;
        Some((*kind, left, won.get(&(*kind, left)).copied()))
    })
}

/// The write of an object that differs from what it was.
fn written<R: Clone + PartialEq>(
    before: Option<R>,
    mut after: R,
    now: Timestamp,
    times: fn(&mut R) -> (&mut Timestamp, Option<Timestamp>),
) -> Option<Written<R>> {
    if before.as_ref() == Some(&after) {
        return None;
    }
    let was_deleted = before.clone().map(|mut before| times(&mut before).1.is_some());
    let (updated_at, deleted_at) = times(&mut after);
    *updated_at = now;
    let operation = match (was_deleted, deleted_at.is_some()) {
        (None, _) => ChangeOperation::Add,
        (Some(true), false) => ChangeOperation::Restore,
        (Some(false), true) => ChangeOperation::Delete,
        (Some(_), _) => ChangeOperation::Update,
    };
    Some(Written { before, after, operation })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
