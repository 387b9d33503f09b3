//! From an object's draft to its wishes for unique values, and from what it was awarded to what it becomes.

use super::addresses::{Addresses, MAIL, PROXY_ADDRESSES};
use super::domain::DomainRules;
use super::effective_upn::EffectiveUpn;
use super::export::{ExportWarning, ObjectId};
use super::matching::{Draft, Record};
use super::record::{GroupRecord, PlainRecord, Quarantine, Quarantined, UserRecord, Values, fold_mail};
use super::unique::{Award, Right, UniqueKind, Wish};
use crate::identity::{ConnectorName, ProxyAddress, Timestamp, Upn};

/// What one object gets, and how its name was calculated.
pub(super) struct Judgement {
    pub awards: Vec<(UniqueKind, Wish, Award)>,
    /// Addresses that it may not ask for.
    pub foreign: Values,
    pub name: Option<Name>,
}

pub(super) struct Name {
    pub effective: EffectiveUpn,
    pub stand_ins: Vec<Upn>,
}

/// The addresses in domains of others that `draft` lists, does not have and cannot borrow.
pub(super) fn foreign(draft: &Draft, rules: &DomainRules) -> Values {
    if draft.after.borrows() {
        return Values::new();
    }
    let held = draft.before.as_ref().map(Record::held).unwrap_or_default();
    let mut foreign = draft.after.wanted();
    foreign.retain(|(kind, value)| {
        !held.contains(&(*kind, value.clone())) && !draft.after.is_entitled(*kind, value, rules)
    });
    foreign
}

/// What `draft` wishes: one name, which has stand-ins, and of the other kinds each value for itself, but for those that
/// are `foreign`.
pub(super) fn wishes(
    draft: &Draft,
    name: Option<&Name>,
    foreign: &Values,
    rules: &DomainRules,
) -> Vec<(UniqueKind, Wish)> {
    let who = draft.after.id();
    let held = draft.before.as_ref().map(Record::held).unwrap_or_default();
    let waiting = draft.before.as_ref().map(Record::quarantined);
    let wish = |kind: UniqueKind, desired: Option<String>, present: Option<String>, stand_ins: Vec<String>| {
        let waits = desired.as_ref().and_then(|value| waiting?.get(&(kind, value.clone())));
        let waiting_since = waits.map(|waits| waits.since);
        let full = desired.as_ref().is_none_or(|value| draft.after.is_entitled(kind, value, rules));
        let right = if full { Right::Full } else { Right::Lent };
        (kind, Wish { who, desired, right, present, stand_ins, waiting_since })
    };
    let mut wishes = Vec::new();
    let present = held.iter().find(|(kind, _)| *kind == UniqueKind::Upn).map(|(_, value)| value.clone());
    let (desired, stand_ins) = match (&draft.after, name) {
        (Record::User(user), _) if user.deleted_at.is_some() => (None, Vec::new()),
        (Record::User(_), Some(name)) => {
            (Some(name.effective.upn.folded()), name.stand_ins.iter().map(Upn::folded).collect())
        }
        (Record::User(user), None) => (Some(user.upn.folded()), Vec::new()),
        (Record::Group(_) | Record::Plain(_), _) => (None, Vec::new()),
    };
    if desired.is_some() || present.is_some() {
        wishes.push(wish(UniqueKind::Upn, desired, present, stand_ins));
    }
    let wanted = draft.after.wanted();
    let left = held.iter().filter(|value| value.0 != UniqueKind::Upn && !wanted.contains(*value));
    wishes.extend(left.map(|(kind, value)| wish(*kind, None, Some(value.clone()), Vec::new())));
    wishes.extend(wanted.difference(foreign).map(|(kind, value)| {
        let present = held.contains(&(*kind, value.clone())).then(|| value.clone());
        wish(*kind, Some(value.clone()), present, Vec::new())
    }));
    wishes
}

impl Judgement {
    fn denied(&self, now: Timestamp) -> Quarantine {
        let denied = self.awards.iter().filter_map(|(kind, wish, award)| {
            let holder: ObjectId = award.denied_by?;
            let since = wish.waiting_since.unwrap_or(now);
            Some(((*kind, wish.desired.clone()?), Quarantined { held_by: holder.to_string(), since }))
        });
        denied.collect()
    }

    pub fn awarded_user(&self, mut user: UserRecord, now: Timestamp) -> (UserRecord, Vec<ExportWarning>) {
        if user.deleted_at.is_some() {
            user.quarantined.clear();
            return (user, Vec::new());
        }
        let mut warnings = Vec::new();
        if let Some(name) = &self.name {
            warnings.extend(name.effective.warnings.iter().cloned());
            let award = self.awards.iter().find(|(kind, ..)| *kind == UniqueKind::Upn).map(|(.., award)| award);
            let mut candidates = std::iter::once(&name.effective.upn).chain(&name.stand_ins);
            let awarded = award.and_then(|award| candidates.find(|upn| Some(upn.folded()) == award.value));
            if let Some(upn) = awarded {
                user.upn = upn.clone();
            }
        }
        // The exported SAM name stays in its column: whether it may be used is told by the quarantine.
        user.quarantined = self.denied(now);
        let exported = Addresses::of(user.on_premises_mail.as_deref(), &user.attributes);
        let given = self.given(exported, &user.quarantined, user.anchor_connector.as_ref());
        (user.mail, user.addresses) = (given.mail, given.addresses);
        warnings.extend(given.warnings);
        (user, warnings)
    }

    pub fn awarded_group(&self, mut group: GroupRecord, now: Timestamp) -> (GroupRecord, Vec<ExportWarning>) {
        if group.deleted_at.is_some() {
            group.quarantined.clear();
            return (group, Vec::new());
        }
        group.quarantined = self.denied(now);
        let exported = Addresses::of(group.on_premises_mail.as_deref(), &group.attributes);
        let given = self.given(exported, &group.quarantined, group.anchor_connector.as_ref());
        (group.mail, group.addresses) = (given.mail, given.addresses);
        (group, given.warnings)
    }

    pub fn awarded_plain(&self, mut plain: PlainRecord, now: Timestamp) -> (PlainRecord, Vec<ExportWarning>) {
        if plain.deleted_at.is_some() {
            plain.quarantined.clear();
            return (plain, Vec::new());
        }
        plain.quarantined = self.denied(now);
        let exported = Addresses::of(plain.on_premises_mail.as_deref(), &plain.attributes);
        let given = self.given(exported, &plain.quarantined, Some(&plain.anchor_connector));
        (plain.mail, plain.addresses) = (given.mail, given.addresses);
        (plain, given.warnings)
    }

    /// What is left of the exported addresses.
    fn given(&self, exported: Addresses<'_>, quarantined: &Quarantine, connector: Option<&ConnectorName>) -> Given {
        let Addresses { mail, mut listed, warnings: malformed } = exported;
        let mail_value = mail.map(fold_mail);
        let attributes = |value: &str| {
            let is_mail = mail_value.as_deref() == Some(value);
            let is_listed = listed.iter().any(|address| address.folded() == value);
            is_mail.then_some(MAIL).into_iter().chain(is_listed.then_some(PROXY_ADDRESSES))
        };
        let mut warnings = Vec::new();
        for ((kind, value), waiting) in quarantined {
            let mut tell = |attribute: &str| {
                warnings.push(ExportWarning::AttributeValueMustBeUnique {
                    attribute: attribute.to_owned(),
                    value: value.clone(),
                    held_by: waiting.held_by.clone(),
                });
            };
            match kind {
                UniqueKind::Upn | UniqueKind::Sam | UniqueKind::Credential => tell(kind.attribute()),
                UniqueKind::Address => attributes(value).for_each(tell),
            }
        }
        for (_, value) in &self.foreign {
            warnings.extend(attributes(value).map(|attribute| ExportWarning::AddressOfForeignDomain {
                attribute: attribute.to_owned(),
                value: value.clone(),
                connector: connector.map(ToString::to_string).unwrap_or_default(),
            }));
        }
        let goes_without = |value: &str| {
            let value = (UniqueKind::Address, value.to_owned());
            quarantined.contains_key(&value) || self.foreign.contains(&value)
        };
        let kept = mail.filter(|_| !mail_value.as_deref().is_some_and(goes_without)).map(str::to_owned);
        listed.retain(|address| !goes_without(address.folded()));
        warnings.extend(malformed);
        Given { mail: kept, addresses: listed, warnings }
    }
}

/// What is left of the exported addresses, and why others are not.
struct Given {
    mail: Option<String>,
    addresses: Vec<ProxyAddress>,
    warnings: Vec<ExportWarning>,
}
