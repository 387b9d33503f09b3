//! From one change and what the directory has to what the object should be: matching by source anchor, ownership,
//! immutability, limits. Unique values are not judged here.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::addresses::PROXY_ADDRESSES;
use super::catalogue::{ErrorCode, ExportError};
use super::domain::DomainRules;
use super::effective_upn::{EffectiveUpn, effective_upn};
use super::export::{Action, Edit, ExportChange, GroupPatch, ObjectId, PlainKind, PlainPatch, UserPatch};
use super::nickname::Sources;
use super::read_set::ReadSet;
use super::record::{GroupRecord, PlainRecord, Quarantine, UserRecord, Values};
use super::soft_match::{Match, MatchKind, hard_match};
use super::unique::UniqueKind;
use crate::identity::{ConnectorName, DomainName, GroupId, SourceAnchor, Timestamp, Upn, UserId};

/// An object of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    User(Box<UserRecord>),
    Group(Box<GroupRecord>),
    Plain(Box<PlainRecord>),
}

impl Record {
    pub fn id(&self) -> ObjectId {
        match self {
            Self::User(user) => user.id(),
            Self::Group(group) => group.id(),
            Self::Plain(plain) => plain.id(),
        }
    }

    /// The unique values that it holds.
    pub fn held(&self) -> Values {
        match self {
            Self::User(user) => user.held(),
            Self::Group(group) => group.held(),
            Self::Plain(plain) => plain.held(),
        }
    }

    /// The unique values that it wants, besides a name; none once it is deleted.
    pub fn wanted(&self) -> Values {
        match self {
            _ if self.deleted_at().is_some() => Values::new(),
            Self::User(user) => user.wanted(),
            Self::Group(group) => group.wanted(),
            Self::Plain(plain) => plain.wanted(),
        }
    }

    pub fn quarantined(&self) -> &Quarantine {
        match self {
            Self::User(user) => &user.quarantined,
            Self::Group(group) => &group.quarantined,
            Self::Plain(plain) => &plain.quarantined,
        }
    }

    fn deleted_at(&self) -> Option<Timestamp> {
        match self {
            Self::User(user) => user.deleted_at,
            Self::Group(group) => group.deleted_at,
            Self::Plain(plain) => plain.deleted_at,
        }
    }

    /// Made in the cloud and in nobody else's hands, deleted or not.
    fn is_of_cloud(&self) -> bool {
        match self {
            Self::User(user) => user.cloud_mastered,
            Self::Group(group) => group.cloud_mastered,
            Self::Plain(_) => false,
        }
    }

    pub fn is_cloud_mastered(&self) -> bool {
        self.is_of_cloud() && self.deleted_at().is_none()
    }

    /// The connectors that vouch for it: whose object it is, and who gave a user the name.
    pub fn connectors(&self) -> impl Iterator<Item = &ConnectorName> {
        let [owner, namer] = match self {
            Self::User(user) => [user.anchor_connector.as_ref(), user.upn_connector.as_ref()],
            Self::Group(group) => [group.anchor_connector.as_ref(), None],
            Self::Plain(plain) => [Some(&plain.anchor_connector), None],
        };
        owner.into_iter().chain(namer)
    }

    /// Whether it may have a value that others may have too: in a domain for which connectors speak, one of its own does.
    /// What the cloud made is an administrator's word.
    pub fn is_entitled(&self, kind: UniqueKind, value: &str, rules: &DomainRules) -> bool {
        let speaks =
            |speakers: &HashSet<ConnectorName>| self.connectors().any(|connector| speakers.contains(connector));
        self.is_of_cloud() || speakers(rules, kind, value).is_none_or(speaks)
    }

    /// Whether it may have addresses in domains of others while nobody wants them who may: a contact names somebody who is
    /// elsewhere, and nobody signs in as one.
    pub fn borrows(&self) -> bool {
        matches!(self, Self::Plain(plain) if plain.kind == PlainKind::Contact)
    }

    pub fn is_privileged(&self) -> bool {
        match self {
            Self::User(user) => user.privileged,
            Self::Group(_) | Self::Plain(_) => false,
        }
    }

    pub fn source_anchor(&self) -> Option<&SourceAnchor> {
        match self {
            Self::User(user) => user.source_anchor.as_ref(),
            Self::Group(group) => group.source_anchor.as_ref(),
            Self::Plain(plain) => Some(&plain.source_anchor),
        }
    }

    /// The same object in the hands of a connector.
    fn taken_over(self, anchor: SourceAnchor, connector: &ConnectorName, stamp: String) -> Self {
        match self {
            Self::User(mut user) => {
                user.source_anchor = Some(anchor);
                user.anchor_connector = Some(connector.clone());
                user.cloud_mastered = false;
                // Whoever signed in as the object of the cloud signs in anew as that of the directory.
                user.security_stamp = stamp;
                Self::User(user)
            }
            Self::Group(mut group) => {
                group.source_anchor = Some(anchor);
                group.anchor_connector = Some(connector.clone());
                group.cloud_mastered = false;
                Self::Group(group)
            }
            // The cloud makes none.
            Self::Plain(plain) => Self::Plain(plain),
        }
    }

    fn hand_to(&mut self, connector: &ConnectorName) {
        match self {
            Self::User(user) => user.anchor_connector = Some(connector.clone()),
            Self::Group(group) => group.anchor_connector = Some(connector.clone()),
            Self::Plain(plain) => plain.anchor_connector = connector.clone(),
        }
    }
}

/// The connectors that speak for the domain of an address; `None` for addresses that anybody may have, and for other values.
pub fn speakers<'r>(rules: &'r DomainRules, kind: UniqueKind, value: &str) -> Option<&'r HashSet<ConnectorName>> {
    match kind {
        UniqueKind::Address => value.rsplit_once('@').and_then(|(_, domain)| rules.speakers(domain)),
        UniqueKind::Upn | UniqueKind::Sam | UniqueKind::Credential => None,
    }
}

/// What one change makes of its object, before unique values are judged.
#[derive(Clone, Debug)]
pub struct Draft {
    pub before: Option<Record>,
    pub after: Record,
    pub restored: bool,
    /// An object of the cloud that the change takes over.
    pub matched: Option<MatchKind>,
}

/// Longest values, in characters.
const MAX_NAME: usize = 256;
const MAX_PERSON_NAME: usize = 64;
const MAX_UPN_TEXT: usize = 1024;
/// Largest JSON of the attributes without a place of their own, in bytes.
const MAX_ATTRIBUTES: usize = 64 * 1024;

/// Most values of attributes that grow (reference, section 9.2).
const MOST_VALUES: [(&str, usize); 3] = [("userCertificate", 15), ("userSMIMECertificate", 15), (PROXY_ADDRESSES, 300)];

fn refuse(code: ErrorCode, message: impl Into<String>) -> ExportError {
    ExportError { code, message: message.into() }
}

/// A source anchor as exports carry it: text by the published rules, or the base64 of a binary value.
pub fn parse_source_anchor(text: &str) -> Result<SourceAnchor, ExportError> {
    SourceAnchor::from_exported(text).map_err(|error| refuse(ErrorCode::InvalidSourceAnchor, error.to_string()))
}

/// What `change` makes of its object, or of the one that a soft match found for it. `fresh` gives random ids.
pub fn draft(
    change: &ExportChange,
    soft: Option<Match>,
    read: &ReadSet,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Draft, ExportError> {
    let anchor = parse_source_anchor(&change.object.source_anchor)?;
    let found = find(change, &anchor, read)?;
    let puts = matches!(change.action, Action::PutUser(_) | Action::PutGroup(_));
    let matched = match (soft, &found) {
        (Some(soft), None) => Some(soft),
        (_, Some(record)) if puts && change.object.oid.is_none() && record.is_of_cloud() => {
            Some(Match { kind: hard_match(record, read.policy)?, record: record.clone() })
        }
        (_, Some(record)) => {
            check_owner(record, &change.anchor_connector)?;
            None
        }
        (None, None) => None,
    };
    let Some(Match { kind, record: before }) = matched else {
        let mut draft = owned(change, anchor, found, read, now, fresh)?;
        if let Some(connector) = &change.handed_to {
            draft.after.hand_to(connector);
        }
        return Ok(draft);
    };
    let taken = before.clone().taken_over(anchor.clone(), &change.anchor_connector, fresh().to_string());
    let draft = owned(change, anchor, Some(taken), read, now, fresh)?;
    Ok(Draft { before: Some(before), matched: Some(kind), ..draft })
}

/// The same for an object that is the connector's, or nobody's yet.
fn owned(
    change: &ExportChange,
    anchor: SourceAnchor,
    found: Option<Record>,
    read: &ReadSet,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Draft, ExportError> {
    let whole = change.object.oid.is_none();
    match (&change.action, found) {
        (Action::PutUser(patch), None) => {
            let user = put_user(new_user(anchor, &change.anchor_connector, now, fresh), patch, true, &read.rules)?;
            Ok(Draft { before: None, after: Record::User(Box::new(user)), restored: false, matched: None })
        }
        (Action::PutUser(patch), Some(Record::User(before))) => {
            let restored = before.deleted_at.is_some();
            let mut after = put_user((*before).clone(), patch, whole, &read.rules)?;
            after.deleted_at = None;
            if before.account_enabled && !after.account_enabled {
                after.security_stamp = fresh().to_string();
            }
            Ok(Draft {
                before: Some(Record::User(before)),
                after: Record::User(Box::new(after)),
                restored,
                matched: None,
            })
        }
        (Action::PutGroup(patch), None) => {
            let group = put_group(new_group(anchor, &change.anchor_connector, now, fresh), patch, true)?;
            Ok(Draft { before: None, after: Record::Group(Box::new(group)), restored: false, matched: None })
        }
        (Action::PutGroup(patch), Some(Record::Group(before))) => {
            let restored = before.deleted_at.is_some();
            let mut after = put_group((*before).clone(), patch, whole)?;
            after.deleted_at = None;
            Ok(Draft {
                before: Some(Record::Group(before)),
                after: Record::Group(Box::new(after)),
                restored,
                matched: None,
            })
        }
        (Action::DeleteUser, Some(Record::User(before))) => {
            let mut after = (*before).clone();
            if after.deleted_at.is_none() {
                after.deleted_at = Some(now);
                after.credential = None;
                after.security_stamp = fresh().to_string();
            }
            Ok(Draft {
                before: Some(Record::User(before)),
                after: Record::User(Box::new(after)),
                restored: false,
                matched: None,
            })
        }
        (Action::DeleteGroup, Some(Record::Group(before))) => {
            let mut after = (*before).clone();
            after.deleted_at = after.deleted_at.or(Some(now));
            Ok(Draft {
                before: Some(Record::Group(before)),
                after: Record::Group(Box::new(after)),
                restored: false,
                matched: None,
            })
        }
        (Action::PutPlain(kind, patch), None) => {
            let plain = new_plain(*kind, anchor, &change.anchor_connector, now, fresh);
            let plain = put_plain(plain, patch, true)?;
            Ok(Draft { before: None, after: Record::Plain(Box::new(plain)), restored: false, matched: None })
        }
        (Action::PutPlain(kind, patch), Some(Record::Plain(before))) if before.kind == *kind => {
            let restored = before.deleted_at.is_some();
            let mut after = put_plain((*before).clone(), patch, whole)?;
            after.deleted_at = None;
            let after = Record::Plain(Box::new(after));
            Ok(Draft { before: Some(Record::Plain(before)), after, restored, matched: None })
        }
        (Action::DeletePlain(kind), Some(Record::Plain(before))) if before.kind == *kind => {
            let mut after = (*before).clone();
            after.deleted_at = after.deleted_at.or(Some(now));
            let after = Record::Plain(Box::new(after));
            Ok(Draft { before: Some(Record::Plain(before)), after, restored: false, matched: None })
        }
        (Action::DeleteUser | Action::DeleteGroup | Action::DeletePlain(_), None) => {
            Err(refuse(ErrorCode::ObjectNotFound, "no object has this source anchor"))
        }
        (
            Action::PutUser(_)
            | Action::DeleteUser
            | Action::PutGroup(_)
            | Action::DeleteGroup
            | Action::PutPlain(..)
            | Action::DeletePlain(_),
            Some(other),
        ) => {
            let message = format!("the source anchor belongs to a {}", other.id().type_word());
            Err(refuse(ErrorCode::ObjectTypeMismatch, message))
        }
    }
}

fn find(change: &ExportChange, anchor: &SourceAnchor, read: &ReadSet) -> Result<Option<Record>, ExportError> {
    let Some(oid) = change.object.oid else {
        return Ok(read.by_anchor(anchor));
    };
    let record = read.record(oid).ok_or_else(|| refuse(ErrorCode::ObjectNotFound, format!("there is no {oid}")))?;
    let (stored, deleted) = (record.source_anchor(), record.deleted_at().is_some());
    if stored.is_some_and(|stored| stored != anchor) {
        return Err(refuse(ErrorCode::SourceAnchorChanged, "SourceAnchor attribute has changed."));
    }
    let deletes = matches!(change.action, Action::DeleteUser | Action::DeleteGroup | Action::DeletePlain(_));
    if deleted && !deletes {
        return Err(refuse(ErrorCode::ObjectNotFound, format!("{oid} was deleted: add it again to restore it")));
    }
    Ok(Some(record))
}

fn check_owner(record: &Record, connector: &ConnectorName) -> Result<(), ExportError> {
    let (cloud, owner) = match record {
        Record::User(user) => (user.cloud_mastered, user.anchor_connector.as_ref()),
        Record::Group(group) => (group.cloud_mastered, group.anchor_connector.as_ref()),
        Record::Plain(plain) => (false, Some(&plain.anchor_connector)),
    };
    match owner {
        Some(owner) if !cloud && owner == connector => Ok(()),
        Some(owner) if !cloud => {
            Err(refuse(ErrorCode::ObjectOwnedElsewhere, format!("the object belongs to connector {owner}")))
        }
        Some(_) | None => Err(refuse(ErrorCode::ObjectOwnedElsewhere, "the object is mastered in the cloud")),
    }
}

fn new_user(
    anchor: SourceAnchor,
    connector: &ConnectorName,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> UserRecord {
    UserRecord {
        oid: UserId::from_uuid(fresh()),
        source_anchor: Some(anchor),
        anchor_connector: Some(connector.clone()),
        upn: unnamed(),
        on_premises_upn: None,
        upn_connector: None,
        nickname: None,
        named_by: None,
        display_name: None,
        given_name: None,
        surname: None,
        on_premises_mail: None,
        mail: None,
        addresses: Vec::new(),
        sam: None,
        attributes: Map::new(),
        account_enabled: false,
        cloud_mastered: false,
        privileged: false,
        security_stamp: fresh().to_string(),
        credential: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        quarantined: Quarantine::new(),
    }
}

/// What a new user is called until its name is awarded, in the same plan.
fn unnamed() -> Upn {
    let domain: DomainName = "invalid".parse().expect("a single label is a domain name");
    Upn::new("unnamed", domain).expect("letters make a name")
}

fn new_group(
    anchor: SourceAnchor,
    connector: &ConnectorName,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> GroupRecord {
    GroupRecord {
        oid: GroupId::from_uuid(fresh()),
        source_anchor: Some(anchor),
        anchor_connector: Some(connector.clone()),
        display_name: None,
        on_premises_mail: None,
        mail: None,
        addresses: Vec::new(),
        sid: None,
        attributes: Map::new(),
        cloud_mastered: false,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        quarantined: Quarantine::new(),
    }
}

fn new_plain(
    kind: PlainKind,
    anchor: SourceAnchor,
    connector: &ConnectorName,
    now: Timestamp,
    fresh: &mut dyn FnMut() -> Uuid,
) -> PlainRecord {
    PlainRecord {
        kind,
        oid: fresh(),
        source_anchor: anchor,
        anchor_connector: connector.clone(),
        display_name: None,
        on_premises_mail: None,
        mail: None,
        addresses: Vec::new(),
        attributes: Map::new(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        quarantined: Quarantine::new(),
    }
}

/// `whole`: the patch is an add, so that what it does not set is not there.
fn edited<T: Clone>(edit: &Edit<T>, present: Option<T>, whole: bool) -> Option<T> {
    edit.clone().applied(if whole { None } else { present })
}

fn put_user(
    mut user: UserRecord,
    patch: &UserPatch,
    whole: bool,
    rules: &DomainRules,
) -> Result<UserRecord, ExportError> {
    let before = user.clone();
    user.on_premises_upn = edited(&patch.on_premises_upn, user.on_premises_upn, whole);
    user.upn_connector = edited(&patch.upn_connector, user.upn_connector, whole);
    user.display_name = edited(&patch.display_name, user.display_name, whole);
    user.given_name = edited(&patch.given_name, user.given_name, whole);
    user.surname = edited(&patch.surname, user.surname, whole);
    user.on_premises_mail = edited(&patch.mail, user.on_premises_mail, whole);
    user.sam = edited(&patch.sam, user.sam, whole);
    user.account_enabled = edited(&patch.account_enabled, Some(user.account_enabled), whole).unwrap_or(false);
    user.credential = edited(&patch.credential_source, user.credential, whole);
    user.attributes = attributes_after(user.attributes, &patch.attributes, whole)?;
    check_length("displayName", user.display_name.as_deref(), MAX_NAME)?;
    check_length("givenName", user.given_name.as_deref(), MAX_PERSON_NAME)?;
    check_length("surname", user.surname.as_deref(), MAX_PERSON_NAME)?;
    check_length("mail", user.on_premises_mail.as_deref(), MAX_NAME)?;
    check_length("sAMAccountName", user.sam.as_deref(), MAX_NAME)?;
    check_length("userPrincipalName", user.on_premises_upn.as_deref(), MAX_UPN_TEXT)?;
    let renamed = before.on_premises_upn != user.on_premises_upn || before.upn_connector != user.upn_connector;
    user.nickname = sources(&user).nickname(before.nickname.clone(), &sources(&before));
    if renamed {
        user.named_by = user.nickname.clone();
    }
    let Some(named) = name_of(&user, rules) else {
        let message = "a user needs a userPrincipalName and the connector that contributed it";
        return Err(refuse(ErrorCode::IdentityDataValidationFailed, message));
    };
    if let (true, Some(domain), Some(connector)) = (renamed, named.not_registered, &user.upn_connector) {
        let message = format!("connector {connector} may not speak for the domain {domain}: list it in its settings");
        return Err(refuse(ErrorCode::DomainNotRegisteredForConnector, message));
    }
    Ok(user)
}

fn sources(user: &UserRecord) -> Sources<'_> {
    Sources {
        attributes: &user.attributes,
        mail: user.on_premises_mail.as_deref(),
        upn: user.on_premises_upn.as_deref(),
    }
}

/// The name that an exported user should have; `None` without an on-premises name.
pub fn name_of(user: &UserRecord, rules: &DomainRules) -> Option<EffectiveUpn> {
    let text = user.on_premises_upn.as_deref().filter(|text| !text.trim().is_empty())?;
    Some(effective_upn(text, user.upn_connector.as_ref()?, user.named_by.as_ref(), rules, &user.seed()))
}

fn put_group(mut group: GroupRecord, patch: &GroupPatch, whole: bool) -> Result<GroupRecord, ExportError> {
    group.display_name = edited(&patch.display_name, group.display_name, whole);
    group.on_premises_mail = edited(&patch.mail, group.on_premises_mail, whole);
    group.sid = edited(&patch.sid, group.sid, whole);
    group.attributes = attributes_after(group.attributes, &patch.attributes, whole)?;
    check_length("displayName", group.display_name.as_deref(), MAX_NAME)?;
    check_length("mail", group.on_premises_mail.as_deref(), MAX_NAME)?;
    check_length("sid", group.sid.as_deref(), MAX_NAME)?;
    Ok(group)
}

fn put_plain(mut plain: PlainRecord, patch: &PlainPatch, whole: bool) -> Result<PlainRecord, ExportError> {
    plain.display_name = edited(&patch.display_name, plain.display_name, whole);
    plain.on_premises_mail = edited(&patch.mail, plain.on_premises_mail, whole);
    plain.attributes = attributes_after(plain.attributes, &patch.attributes, whole)?;
    check_length("displayName", plain.display_name.as_deref(), MAX_NAME)?;
    check_length("mail", plain.on_premises_mail.as_deref(), MAX_NAME)?;
    Ok(plain)
}

fn attributes_after(
    present: Map<String, Value>,
    edits: &BTreeMap<String, Option<Value>>,
    whole: bool,
) -> Result<Map<String, Value>, ExportError> {
    let mut after = if whole { Map::new() } else { present };
    for (name, value) in edits {
        match value {
            Some(value) => after.insert(name.clone(), value.clone()),
            None => after.remove(name),
        };
    }
    for (name, most) in MOST_VALUES {
        let values =
            after.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_array());
        if let Some(count) = values.map(Vec::len).filter(|count| *count > most) {
            let message = format!("{name} has {count} values, more than {most}");
            return Err(refuse(ErrorCode::LargeObject, message));
        }
    }
    let size: usize = after.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    if size > MAX_ATTRIBUTES {
        let message = format!("the attributes are {size} bytes long, more than {MAX_ATTRIBUTES}");
        return Err(refuse(ErrorCode::ExceededAllowedLength, message));
    }
    Ok(after)
}

fn check_length(attribute: &str, value: Option<&str>, max: usize) -> Result<(), ExportError> {
    match value.map(|value| value.chars().count()) {
        Some(length) if length > max => {
            let message = format!("{attribute} has {length} characters, more than {max}");
            Err(refuse(ErrorCode::ExceededAllowedLength, message))
        }
        Some(_) | None => Ok(()),
    }
}
