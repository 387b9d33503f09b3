//! Matching of what a directory shows for the first time to objects that were made in the cloud (reference, section 8.2).
//!
//! A hard match finds an object that holds the same source anchor; a soft match one without anchor, by mail or name. Both
//! hand the object over to the directory, with everything that signs in as it, so that a match never touches a privileged
//! object, and a soft match is off until an operator wants it: whoever may write a mail address on premises could take any
//! such object over.

use serde::{Deserialize, Serialize};

use super::addresses::{Addresses, PROXY_ADDRESSES, texts};
use super::catalogue::{ErrorCode, ExportError};
use super::domain::{DomainRules, Suffix};
use super::export::{Action, Edit, ExportChange, ObjectId};
use super::matching::Record;
use super::read_set::{Needs, ReadSet};
use super::record::fold_mail;
use super::unique::UniqueKind;
use crate::identity::{ConnectorName, SignInName};

/// What may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchPolicy {
    /// By mail address, or by name.
    pub soft: bool,
    /// By source anchor.
    pub hard: bool,
}

impl Default for MatchPolicy {
    fn default() -> Self {
        Self { soft: false, hard: true }
    }
}

/// How an object was found that the cloud had made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchKind {
    SourceAnchor,
    Mail,
    Name,
}

impl MatchKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceAnchor => "source anchor",
            Self::Mail => "mail address",
            Self::Name => "user principal name",
        }
    }
}

/// An object that an add takes over.
#[derive(Clone, Debug)]
pub struct Match {
    pub kind: MatchKind,
    pub record: Record,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> ExportError {
    ExportError { code, message: message.into() }
}

/// Whether an object may be handed over by its source anchor.
pub fn hard_match(record: &Record, policy: MatchPolicy) -> Result<MatchKind, ExportError> {
    if record.is_privileged() {
        return Err(privileged(record));
    }
    if policy.hard {
        return Ok(MatchKind::SourceAnchor);
    }
    let message = format!("{} has this source anchor and was made in the cloud; taking over is blocked", record.id());
    Err(refuse(ErrorCode::InvalidHardMatch, message))
}

fn privileged(record: &Record) -> ExportError {
    let message = format!("{} is privileged and mastered in the cloud: nothing takes it over", record.id());
    refuse(ErrorCode::ExistingAdminRoleConflict, message)
}

/// What a change finds that no source anchor finds.
#[derive(Debug)]
pub enum Found {
    Nothing,
    Object(Box<Match>),
    Refused(ExportError),
    /// The holders of these values have to be read first.
    Unknown(Needs),
}

/// Looks for an object without anchor that a new object of a connector stands for: by the primary address of mail first,
/// then by `mail`, then by the name of a user, or by the other addresses of mail of a group.
pub fn soft_match(change: &ExportChange, read: &ReadSet) -> Found {
    let wanted = wanted(&change.action);
    let mut needs = Needs::default();
    for Wanted { kind, folded, .. } in &wanted {
        match read.holders(*kind).holder(folded) {
            None => needs.holders.push((*kind, folded.clone())),
            Some(Some(holder)) if read.record(holder).is_none() => needs.records.push(holder),
            Some(_) => {}
        }
    }
    if !needs.is_empty() {
        return Found::Unknown(needs);
    }
    for Wanted { by, kind, text, folded, further } in wanted {
        let Some(record) = read.holders(kind).holder(&folded).flatten().and_then(|holder| read.record(holder)) else {
            continue;
        };
        // What a directory owns is a duplicate, to be quarantined; and so is a further address of another kind of object.
        if record.is_cloud_mastered() && (!further || is_of_type(&change.action, record.id())) {
            return match admit(change, &record, by, &text, read) {
                Ok(()) => Found::Object(Box::new(Match { kind: by, record })),
                Err(error) => Found::Refused(error),
            };
        }
    }
    Found::Nothing
}

/// A value by which an object is looked for.
struct Wanted {
    by: MatchKind,
    kind: UniqueKind,
    text: String,
    folded: String,
    /// An address that is not the one by which the object is known.
    further: bool,
}

fn wanted(action: &Action) -> Vec<Wanted> {
    let by_mail = |mail: &str, further: bool| Wanted {
        by: MatchKind::Mail,
        kind: UniqueKind::Address,
        text: mail.to_owned(),
        folded: fold_mail(mail),
        further,
    };
    let (attributes, mail) = match action {
        Action::PutUser(patch) => (&patch.attributes, set(&patch.mail)),
        Action::PutGroup(patch) => (&patch.attributes, set(&patch.mail)),
        Action::DeleteUser | Action::DeleteGroup | Action::PutPlain(..) | Action::DeletePlain(_) => return Vec::new(),
    };
    let listed = attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(PROXY_ADDRESSES));
    let listed = texts(listed.and_then(|(_, value)| value.as_ref()));
    let addresses = Addresses::read(mail.map(String::as_str), listed);
    let known_by = addresses.mailboxes(true).chain(addresses.mail);
    let mut wanted: Vec<Wanted> = known_by.map(|mail| by_mail(mail, false)).collect();
    match action {
        Action::PutUser(patch) => wanted.extend(set(&patch.on_premises_upn).and_then(|name| {
            let folded = name.parse::<crate::identity::Upn>().ok()?.folded();
            Some(Wanted { by: MatchKind::Name, kind: UniqueKind::Upn, text: name.clone(), folded, further: false })
        })),
        Action::PutGroup(_) => wanted.extend(addresses.mailboxes(false).map(|mail| by_mail(mail, true))),
        Action::DeleteUser | Action::DeleteGroup | Action::PutPlain(..) | Action::DeletePlain(_) => {}
    }
    wanted
}

fn set(edit: &Edit<String>) -> Option<&String> {
    match edit {
        Edit::Set(value) => Some(value),
        Edit::Keep | Edit::Clear => None,
    }
}

fn admit(
    change: &ExportChange,
    record: &Record,
    by: MatchKind,
    value: &str,
    read: &ReadSet,
) -> Result<(), ExportError> {
    let held = format!("{} was made in the cloud and holds the {} `{value}`", record.id(), by.as_str());
    if !is_of_type(&change.action, record.id()) {
        return Err(refuse(ErrorCode::ObjectTypeMismatch, format!("{held}; it is of another type")));
    }
    if record.is_privileged() {
        return Err(privileged(record));
    }
    if record.source_anchor().is_some() {
        return Err(refuse(ErrorCode::InvalidSoftMatch, format!("{held}; it has another source anchor")));
    }
    if !read.policy.soft {
        return Err(refuse(ErrorCode::InvalidSoftMatch, format!("{held}; soft match is blocked")));
    }
    if !speaks_for(value, &change.anchor_connector, &read.rules) {
        let message = format!("{held}; connector {} may not speak for its domain", change.anchor_connector);
        return Err(refuse(ErrorCode::InvalidSoftMatch, message));
    }
    Ok(())
}

/// Whether a change is one of such an object.
fn is_of_type(action: &Action, oid: ObjectId) -> bool {
    matches!(
        (action, oid),
        (Action::PutUser(_) | Action::DeleteUser, ObjectId::User(_))
            | (Action::PutGroup(_) | Action::DeleteGroup, ObjectId::Group(_))
    )
}

/// A connector takes over only what lies in a domain that it may speak for (design D9).
fn speaks_for(value: &str, connector: &ConnectorName, rules: &DomainRules) -> bool {
    match value.parse() {
        Ok(SignInName::Address { domain, .. }) => {
            domain != *rules.initial() && rules.suffix(&domain, connector) == Suffix::Usable
        }
        Ok(SignInName::DownLevel { .. }) | Err(_) => false,
    }
}
