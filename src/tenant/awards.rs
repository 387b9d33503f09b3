//! From an object's draft to its wishes for unique values, and from what it was awarded to what it becomes.

use serde_json::{Map, Value};

use super::effective_upn::EffectiveUpn;
use super::export::{ExportWarning, ObjectId};
use super::matching::{Draft, Record};
use super::record::{
    GroupRecord, PROXY_ADDRESSES, PlainRecord, Quarantine, Quarantined, UserRecord, exported_addresses, fold_mail,
};
use super::unique::{Award, UniqueKind, Wish};
use crate::identity::{ProxyAddress, Timestamp, Upn};

/// What one object gets, and how its name was calculated.
pub(super) struct Judgement {
    pub awards: Vec<(UniqueKind, Wish, Award)>,
    pub name: Option<Name>,
}

pub(super) struct Name {
    pub effective: EffectiveUpn,
    pub stand_ins: Vec<Upn>,
}

/// What `draft` wishes: one name, which has stand-ins, and of the other kinds each value for itself.
pub(super) fn wishes(draft: &Draft, name: Option<&Name>) -> Vec<(UniqueKind, Wish)> {
    let who = draft.after.id();
    let held = draft.before.as_ref().map(Record::held).unwrap_or_default();
    let waiting = draft.before.as_ref().map(Record::quarantined);
    let wish = |kind: UniqueKind, desired: Option<String>, present: Option<String>, stand_ins: Vec<String>| {
        let waits = desired.as_ref().and_then(|value| waiting?.get(&(kind, value.clone())));
        let waiting_since = waits.map(|waits| waits.since);
        (kind, Wish { who, desired, present, stand_ins, waiting_since })
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
    wishes.extend(wanted.iter().map(|(kind, value)| {
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
        let given = given(user.on_premises_mail.as_deref(), &user.attributes, &user.quarantined);
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
        let given = given(group.on_premises_mail.as_deref(), &group.attributes, &group.quarantined);
        (group.mail, group.addresses) = (given.mail, given.addresses);
        (group, given.warnings)
    }

    pub fn awarded_plain(&self, mut plain: PlainRecord, now: Timestamp) -> (PlainRecord, Vec<ExportWarning>) {
        if plain.deleted_at.is_some() {
            plain.quarantined.clear();
            return (plain, Vec::new());
        }
        plain.quarantined = self.denied(now);
        let given = given(plain.on_premises_mail.as_deref(), &plain.attributes, &plain.quarantined);
        (plain.mail, plain.addresses) = (given.mail, given.addresses);
        (plain, given.warnings)
    }
}

/// What is left of the exported addresses, and why others are not.
struct Given {
    mail: Option<String>,
    addresses: Vec<ProxyAddress>,
    warnings: Vec<ExportWarning>,
}

fn given(mail: Option<&str>, attributes: &Map<String, Value>, quarantined: &Quarantine) -> Given {
    let (mut addresses, mut malformed) = (Vec::new(), Vec::new());
    for text in exported_addresses(attributes) {
        match text.parse::<ProxyAddress>() {
            Ok(address) => addresses.push(address),
            Err(reason) => malformed.push(ExportWarning::MalformedAddress {
                value: text.chars().take(120).collect(),
                reason: reason.to_string(),
            }),
        }
    }
    let mail_value = mail.map(fold_mail);
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
            UniqueKind::Address => {
                if mail_value.as_ref() == Some(value) {
                    tell("mail");
                }
                if addresses.iter().any(|address| address.folded() == value) {
                    tell(PROXY_ADDRESSES);
                }
            }
        }
    }
    let waits = |value: &str| quarantined.contains_key(&(UniqueKind::Address, value.to_owned()));
    let kept = mail.filter(|_| !mail_value.as_deref().is_some_and(waits)).map(str::to_owned);
    addresses.retain(|address| !waits(address.folded()));
    warnings.extend(malformed);
    Given { mail: kept, addresses, warnings }
}
