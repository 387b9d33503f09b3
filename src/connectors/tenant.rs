//! The tenant directory as a target: exports are batches of its own API, the confirming import reads back what was
//! exported and then follows its change feed (design D24).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::json;

use crate::identity::{ConnectorName, CredentialSource, SourceAnchor};
use crate::sync::attribute::{Attribute, Attributes, Value, canonical};
use crate::sync::connector::{
    Capabilities, Connector, ConnectorError, DeltaReports, ExportChange, ExportOperation, ExportResult, ImportMode,
    ImportPage, ImportRequest, ImportStream, ImportedObject, LinkReport, LinkReports, ReadBack, Watermark,
};
use crate::sync::lease::Turn;
use crate::sync::rule::names;
use crate::tenant::addresses::PROXY_ADDRESSES;
use crate::tenant::{
    self, Action, ChangeMark, ChangeOperation, ChangedThing, CredentialLink, Edit, GroupPatch, ObjectId, ObjectKey,
    PlainKind, PlainPatch, ShadowLink, ShadowObject, TenantExport, TenantReadBack, TenantUnavailable, UserPatch,
};

/// Objects per page of a read, and changes per batch of an export.
const PAGE: u32 = 500;
/// Entries of the change feed, or links, per page of a read.
const LINES: u32 = 2000;

pub struct TenantConnector {
    name: ConnectorName,
    export: Arc<dyn TenantExport>,
    read_back: Arc<dyn TenantReadBack>,
}

impl TenantConnector {
    pub fn new(name: ConnectorName, export: Arc<dyn TenantExport>, read_back: Arc<dyn TenantReadBack>) -> Self {
        Self { name, export, read_back }
    }

    fn unavailable(&self, error: &TenantUnavailable) -> ConnectorError {
        let mut reason = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            reason = format!("{reason}: {source}");
        }
        ConnectorError::Unreachable { connector: self.name.clone(), reason }
    }

    fn stale(&self) -> ConnectorError {
        stale(&self.name)
    }

    fn change(&self, change: &ExportChange) -> Result<tenant::ExportChange, String> {
        if let ExportOperation::Add { attributes: changes } | ExportOperation::Update { changes, .. } =
            &change.operation
            && let Some((name, _)) = changes.iter().find(|(_, values)| values.iter().any(Value::has_nul))
        {
            return Err(format!("a value of `{name}` holds a NUL character"));
        }
        let all = Known { identity: &change.identity, changes: None };
        let (oid, action) = match (&change.operation, change.object_type.as_str()) {
            (ExportOperation::Add { attributes }, "user") => {
                let known = Known { identity: &change.identity, changes: Some(attributes) };
                (None, Action::PutUser(Box::new(user_patch(attributes, &known)?)))
            }
            (ExportOperation::Add { attributes }, "group") => {
                (None, Action::PutGroup(Box::new(group_patch(attributes))))
            }
            (ExportOperation::Update { anchor, changes }, "user") => {
                let known = Known { identity: &change.identity, changes: Some(changes) };
                (Some(user_id(anchor)?), Action::PutUser(Box::new(user_patch(changes, &known)?)))
            }
            (ExportOperation::Update { anchor, changes }, "group") => {
                (Some(group_id(anchor)?), Action::PutGroup(Box::new(group_patch(changes))))
            }
            (ExportOperation::Add { attributes }, word) if PlainKind::from_stored(word).is_some() => {
                let kind = PlainKind::from_stored(word).ok_or("no type")?;
                (None, Action::PutPlain(kind, Box::new(plain_patch(attributes))))
            }
            (ExportOperation::Update { anchor, changes }, word) if PlainKind::from_stored(word).is_some() => {
                let kind = PlainKind::from_stored(word).ok_or("no type")?;
                (Some(plain_id(kind, anchor)?), Action::PutPlain(kind, Box::new(plain_patch(changes))))
            }
            (ExportOperation::Delete { anchor }, word) if PlainKind::from_stored(word).is_some() => {
                let kind = PlainKind::from_stored(word).ok_or("no type")?;
                (Some(plain_id(kind, anchor)?), Action::DeletePlain(kind))
            }
            (ExportOperation::Delete { anchor }, "user") => (Some(user_id(anchor)?), Action::DeleteUser),
            (ExportOperation::Delete { anchor }, "group") => (Some(group_id(anchor)?), Action::DeleteGroup),
            (ExportOperation::Links { anchor, add, remove, .. }, "group") => {
                let keys = |targets: &[crate::sync::connector::LinkTarget]| {
                    targets.iter().map(|target| target.key.clone()).collect()
                };
                let patch =
                    GroupPatch { members_added: keys(add), members_removed: keys(remove), ..GroupPatch::default() };
                (Some(group_id(anchor)?), Action::PutGroup(Box::new(patch)))
            }
            (_, other) => return Err(format!("the tenant holds no objects of type {other}")),
        };
        let anchor_connector = all.or_changed(names::ANCHOR_CONNECTOR, &change.operation);
        let handed_to = match &change.operation {
            ExportOperation::Update { changes, .. } => changes.get(&Attribute::from(names::ANCHOR_CONNECTOR)),
            ExportOperation::Add { .. } | ExportOperation::Delete { .. } | ExportOperation::Links { .. } => None,
        };
        let handed_to = handed_to.and_then(|values| values.first()).map(|name| name.as_text().parse());
        let source_anchor = all.or_changed(names::SOURCE_ANCHOR, &change.operation);
        let anchor_connector = anchor_connector.ok_or("no connector contributed the source anchor")?;
        Ok(tenant::ExportChange {
            object: ObjectKey { oid, source_anchor: source_anchor.ok_or("there is no source anchor")? },
            anchor_connector: anchor_connector.parse().map_err(|_| "the contributing connector has no valid name")?,
            handed_to: handed_to.transpose().map_err(|_| "the contributing connector has no valid name")?,
            action,
        })
    }
}

#[async_trait::async_trait]
impl Connector for TenantConnector {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let identity = [
            names::SOURCE_ANCHOR,
            names::ANCHOR_CONNECTOR,
            names::UPN,
            names::UPN_CONNECTOR,
            names::CREDENTIAL_CONNECTOR,
            names::CREDENTIAL_ANCHOR,
            names::CREDENTIAL_ELIGIBLE,
        ];
        Capabilities {
            delta: Some(DeltaReports { deletes: true, moves: true, filter_exits: true }),
            links: LinkReports::OneByOne,
            identity: identity.into_iter().map(Attribute::from).collect(),
            unique: vec![names::UPN.into(), "mail".into(), PROXY_ADDRESSES.into()],
            server_incarnation: true,
            ..Capabilities::target("tenant", names::SOURCE_ANCHOR)
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        let position = match request.mode {
            ImportMode::Full => {
                let newest = self.read_back.newest_change().await.map_err(|e| self.unavailable(&e))?;
                Position::Users { newest, after: None }
            }
            ImportMode::Delta { since } => {
                let after = change_mark(&since).ok_or_else(|| self.stale())?;
                // Asked before anything is told: a directory that was restored has other changes under the same numbers.
                let first = self.read_back.changes_after(after, 1).await.map_err(|e| self.unavailable(&e))?;
                first.ok_or_else(|| self.stale())?;
                Position::Changes { after }
            }
            ImportMode::Selected { .. } => {
                return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "selected import" });
            }
        };
        Ok(Box::new(Reading { name: self.name.clone(), read_back: self.read_back.clone(), position }))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        let mut results = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(PAGE as usize) {
            // The store asks again, in the transaction.
            turn.check()
                .map_err(|error| ConnectorError::Refused { connector: self.name.clone(), reason: error.to_string() })?;
            let translated: Vec<Result<tenant::ExportChange, String>> =
                chunk.iter().map(|change| self.change(change)).collect();
            let sent: Vec<tenant::ExportChange> = translated.iter().filter_map(|c| c.as_ref().ok().cloned()).collect();
            let answers = self.export.apply_batch(turn.epoch, sent).await.map_err(|e| self.unavailable(&e))?;
            let mut answers = VecDeque::from(answers);
            for change in translated {
                results.push(match change {
                    Err(reason) => ExportResult::Refused { code: "untranslatable".to_owned(), reason },
                    Ok(_) => match answers.pop_front() {
                        Some(Ok(accepted)) => ExportResult::Accepted {
                            anchor: Some(accepted.oid.to_string()),
                            warning: warning(&accepted.warnings),
                        },
                        Some(Err(error)) => {
                            ExportResult::Refused { code: error.code.to_string(), reason: error.message }
                        }
                        None => {
                            let reason = "fewer answers than changes".to_owned();
                            return Err(ConnectorError::Refused { connector: self.name.clone(), reason });
                        }
                    },
                });
            }
        }
        Ok(results)
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let (mut oids, mut keys) = (Vec::new(), Vec::new());
        for question in &objects {
            match question {
                ReadBack::ByAnchor { object_type, anchor } => oids.extend(match object_type.as_str() {
                    "group" => group_id(anchor),
                    word => match PlainKind::from_stored(word) {
                        Some(kind) => plain_id(kind, anchor),
                        None => user_id(anchor),
                    },
                }),
                ReadBack::ByAddKey { value, .. } => keys.push(SourceAnchor::from_stored(value.clone())),
            }
        }
        let mut found = self.read_back.objects(&oids).await.map_err(|e| self.unavailable(&e))?;
        found.extend(self.read_back.anchored(&keys).await.map_err(|e| self.unavailable(&e))?);
        let (mut by_anchor, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        for object in found {
            let key = object.source_anchor().to_string();
            let object = shown(object);
            by_key.insert((object.object_type.clone(), key), object.clone());
            by_anchor.insert(object.anchor.clone(), object);
        }
        let answer = |question: ReadBack| match question {
            ReadBack::ByAnchor { anchor, .. } => by_anchor.get(&anchor).cloned(),
            ReadBack::ByAddKey { object_type, value } => by_key.get(&(object_type, value)).cloned(),
        };
        Ok(objects.into_iter().map(answer).collect())
    }
}

fn user_id(anchor: &str) -> Result<ObjectId, String> {
    anchor.parse().map(ObjectId::User).map_err(|_| format!("{anchor} is no oid"))
}

fn group_id(anchor: &str) -> Result<ObjectId, String> {
    anchor.parse().map(ObjectId::Group).map_err(|_| format!("{anchor} is no oid"))
}

fn plain_id(kind: PlainKind, anchor: &str) -> Result<ObjectId, String> {
    anchor.parse().map(|oid| kind.id(oid)).map_err(|_| format!("{anchor} is no oid"))
}

fn warning(warnings: &[tenant::ExportWarning]) -> Option<String> {
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// What the directory holds of an object's identity, overlaid by what a change says.
struct Known<'a> {
    identity: &'a Attributes,
    changes: Option<&'a Attributes>,
}

impl Known<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let name = Attribute::from(name);
        let changed = self.changes.and_then(|changes| changes.get(&name));
        changed.or_else(|| self.identity.get(&name))?.first().map(|value| value.as_text().to_owned())
    }

    fn or_changed(&self, name: &str, operation: &ExportOperation) -> Option<String> {
        let added = match operation {
            ExportOperation::Add { attributes } => attributes.get(&Attribute::from(name)),
            ExportOperation::Update { .. } | ExportOperation::Delete { .. } | ExportOperation::Links { .. } => None,
        };
        self.text(name).or_else(|| added?.first().map(|value| value.as_text().to_owned()))
    }
}

fn user_patch(changes: &Attributes, known: &Known<'_>) -> Result<UserPatch, String> {
    let mut patch = UserPatch::default();
    let changed = |name: &str| changes.contains_key(&Attribute::from(name));
    if changed(names::UPN) || changed(names::UPN_CONNECTOR) {
        patch.on_premises_upn = known.text(names::UPN).map_or(Edit::Clear, Edit::Set);
        patch.upn_connector = match known.text(names::UPN_CONNECTOR) {
            Some(name) => Edit::Set(name.parse().map_err(|_| format!("{name} is no connector"))?),
            None => Edit::Clear,
        };
    }
    let credential = [names::CREDENTIAL_CONNECTOR, names::CREDENTIAL_ANCHOR, names::CREDENTIAL_ELIGIBLE];
    if credential.into_iter().any(changed) {
        patch.credential_source = match (known.text(credential[0]), known.text(credential[1])) {
            (Some(connector), Some(anchor)) => Edit::Set(CredentialLink {
                source: CredentialSource {
                    connector: connector.parse().map_err(|_| format!("{connector} is no connector"))?,
                    anchor: SourceAnchor::from_stored(anchor),
                },
                eligible: known.text(credential[2]).is_some_and(|text| text == "TRUE"),
            }),
            _ => Edit::Clear,
        };
    }
    for (name, values) in changes {
        let text = || values.first().map_or(Edit::Clear, |value| Edit::Set(value.as_text().to_owned()));
        match name.as_str() {
            "displayName" => patch.display_name = text(),
            "givenName" => patch.given_name = text(),
            "surname" => patch.surname = text(),
            "mail" => patch.mail = text(),
            "sam" => patch.sam = text(),
            names::ACCOUNT_ENABLED => {
                patch.account_enabled = values.first().map_or(Edit::Clear, |value| Edit::Set(value.folded() == "true"));
            }
            name if is_identity(name) => {}
            name => {
                patch.attributes.insert(name.to_owned(), other(values));
            }
        }
    }
    Ok(patch)
}

fn group_patch(changes: &Attributes) -> GroupPatch {
    let mut patch = GroupPatch::default();
    for (name, values) in changes {
        let text = || values.first().map_or(Edit::Clear, |value| Edit::Set(value.as_text().to_owned()));
        match name.as_str() {
            "displayName" => patch.display_name = text(),
            "mail" => patch.mail = text(),
            "sid" => patch.sid = text(),
            name if is_identity(name) => {}
            name => {
                patch.attributes.insert(name.to_owned(), other(values));
            }
        }
    }
    patch
}

fn plain_patch(changes: &Attributes) -> PlainPatch {
    let mut patch = PlainPatch::default();
    for (name, values) in changes {
        let text = || values.first().map_or(Edit::Clear, |value| Edit::Set(value.as_text().to_owned()));
        match name.as_str() {
            "displayName" => patch.display_name = text(),
            "mail" => patch.mail = text(),
            name if is_identity(name) => {}
            name => {
                patch.attributes.insert(name.to_owned(), other(values));
            }
        }
    }
    patch
}

fn is_identity(name: &str) -> bool {
    [
        names::SOURCE_ANCHOR,
        names::ANCHOR_CONNECTOR,
        names::UPN,
        names::UPN_CONNECTOR,
        names::CREDENTIAL_CONNECTOR,
        names::CREDENTIAL_ANCHOR,
        names::CREDENTIAL_ELIGIBLE,
    ]
    .contains(&name)
}

/// Attributes without a place of their own are kept as lists; `None` removes.
fn other(values: &[Value]) -> Option<serde_json::Value> {
    (!values.is_empty()).then(|| json!(values))
}

/// An object of the directory as the engine exported it.
fn shown(object: ShadowObject) -> ImportedObject {
    let mut attributes = Attributes::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            attributes.insert(name.into(), vec![Value::text(value)]);
        }
    };
    let (anchor, object_type, rest) = match object {
        ShadowObject::User(user) => {
            put(names::CLOUD_MASTERED, Some("FALSE".to_owned()));
            put(names::CLOUD_ANCHOR, Some(format!("User_{}", user.oid)));
            put(names::CLOUD_SOURCE_ANCHOR, Some(user.source_anchor.to_string()));
            put(names::SOURCE_ANCHOR, Some(user.source_anchor.to_string()));
            put(names::ANCHOR_CONNECTOR, Some(user.anchor_connector.to_string()));
            put(names::UPN, user.on_premises_upn);
            put(names::UPN_CONNECTOR, user.upn_connector.map(|name| name.to_string()));
            put("displayName", user.display_name);
            put("givenName", user.given_name);
            put("surname", user.surname);
            put("mail", user.mail);
            put("sam", user.sam);
            put(names::ACCOUNT_ENABLED, Some(if user.account_enabled { "TRUE" } else { "FALSE" }.to_owned()));
            if let Some(link) = user.credential_source {
                put(names::CREDENTIAL_CONNECTOR, Some(link.source.connector.to_string()));
                put(names::CREDENTIAL_ANCHOR, Some(link.source.anchor.to_string()));
                put(names::CREDENTIAL_ELIGIBLE, Some(if link.eligible { "TRUE" } else { "FALSE" }.to_owned()));
            }
            (user.oid.to_string(), "user", user.attributes)
        }
        ShadowObject::Group(group) => {
            put(names::CLOUD_MASTERED, Some("FALSE".to_owned()));
            put(names::CLOUD_ANCHOR, Some(format!("Group_{}", group.oid)));
            put(names::CLOUD_SOURCE_ANCHOR, Some(group.source_anchor.to_string()));
            put(names::SOURCE_ANCHOR, Some(group.source_anchor.to_string()));
            put(names::ANCHOR_CONNECTOR, Some(group.anchor_connector.to_string()));
            put("displayName", group.display_name);
            put("mail", group.mail);
            put("sid", group.sid);
            (group.oid.to_string(), "group", group.attributes)
        }
        ShadowObject::Plain(plain) => {
            let word = plain.oid.type_word();
            put(names::CLOUD_MASTERED, Some("FALSE".to_owned()));
            put(names::CLOUD_ANCHOR, Some(format!("{}{}_{}", word[..1].to_uppercase(), &word[1..], plain.oid)));
            put(names::CLOUD_SOURCE_ANCHOR, Some(plain.source_anchor.to_string()));
            put(names::SOURCE_ANCHOR, Some(plain.source_anchor.to_string()));
            put(names::ANCHOR_CONNECTOR, Some(plain.anchor_connector.to_string()));
            put("displayName", plain.display_name);
            put("mail", plain.mail);
            (plain.oid.to_string(), word, plain.attributes)
        }
    };
    for (name, value) in rest {
        // What is not a list of values was put there by somebody else.
        if let Ok(values) = serde_json::from_value::<Vec<Value>>(value) {
            attributes.insert(Attribute::new(name), values);
        }
    }
    ImportedObject {
        anchor,
        dn: None,
        object_type: object_type.to_owned(),
        container: false,
        attributes: canonical(attributes),
        references: BTreeMap::new(),
    }
}

/// A read of the directory, page by page.
struct Reading {
    name: ConnectorName,
    read_back: Arc<dyn TenantReadBack>,
    position: Position,
}

enum Position {
    Users { newest: ChangeMark, after: Option<SourceAnchor> },
    Groups { newest: ChangeMark, after: Option<SourceAnchor> },
    Plain { newest: ChangeMark, after: Option<SourceAnchor> },
    Links { newest: ChangeMark, after: Option<tenant::LinkPosition> },
    Changes { after: ChangeMark },
    Ended,
}

#[async_trait::async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let position = std::mem::replace(&mut self.position, Position::Ended);
        let aborted = |error: TenantUnavailable| ConnectorError::Aborted {
            connector: self.name.clone(),
            reason: error.to_string(),
        };
        let mut page = ImportPage::default();
        self.position = match position {
            Position::Ended => return Ok(None),
            Position::Users { newest, after } => {
                let users = self.read_back.users_after(after.as_ref(), PAGE).await.map_err(aborted)?;
                let last = users.last().map(|object| object.source_anchor().clone());
                page.objects = users.into_iter().map(shown).collect();
                match last {
                    Some(last) => Position::Users { newest, after: Some(last) },
                    None => Position::Groups { newest, after: None },
                }
            }
            Position::Groups { newest, after } => {
                let groups = self.read_back.groups_after(after.as_ref(), PAGE).await.map_err(aborted)?;
                let last = groups.last().map(|object| object.source_anchor().clone());
                page.objects = groups.into_iter().map(shown).collect();
                match last {
                    Some(last) => Position::Groups { newest, after: Some(last) },
                    None => Position::Plain { newest, after: None },
                }
            }
            Position::Plain { newest, after } => {
                let plains = self.read_back.plain_after(after.as_ref(), PAGE).await.map_err(aborted)?;
                let last = plains.last().map(|object| object.source_anchor().clone());
                page.objects = plains.into_iter().map(shown).collect();
                match last {
                    Some(last) => Position::Plain { newest, after: Some(last) },
                    None => Position::Links { newest, after: None },
                }
            }
            Position::Links { newest, after } => {
                let links = self.read_back.links_after(after.as_ref(), LINES).await.map_err(aborted)?;
                page.links = links.links.iter().map(|link| report(link, true)).collect();
                match links.next {
                    Some(next) => Position::Links { newest, after: Some(next) },
                    None => {
                        page.watermark = Some(watermark(newest));
                        Position::Ended
                    }
                }
            }
            Position::Changes { after } => {
                let changes = self.read_back.changes_after(after, LINES).await.map_err(aborted)?;
                let changes = changes.ok_or_else(|| stale(&self.name))?;
                let ended = changes.upto == after;
                self.take_changes(changes.changes, &mut page).await?;
                page.watermark = (!ended).then(|| watermark(changes.upto));
                if ended { Position::Ended } else { Position::Changes { after: changes.upto } }
            }
        };
        Ok(Some(page))
    }
}

impl Reading {
    /// The present state of what changed; of a link, its last change.
    async fn take_changes(&self, changes: Vec<tenant::Change>, page: &mut ImportPage) -> Result<(), ConnectorError> {
        let mut oids = BTreeSet::new();
        let mut links: BTreeMap<(String, String), LinkReport> = BTreeMap::new();
        for change in changes {
            match change.what {
                ChangedThing::Object { oid, .. } => {
                    oids.insert(oid);
                }
                ChangedThing::Link(link) => {
                    let key = (link.group.to_string(), link.member.to_string());
                    links.insert(key, report(&link, change.operation != ChangeOperation::Delete));
                }
                ChangedThing::Domain(_) => {}
            }
        }
        let oids: Vec<ObjectId> = oids.into_iter().collect();
        let found = self
            .read_back
            .objects(&oids)
            .await
            .map_err(|error| ConnectorError::Aborted { connector: self.name.clone(), reason: error.to_string() })?;
        page.objects = found.into_iter().map(shown).collect();
        let there: BTreeSet<&str> = page.objects.iter().map(|object| object.anchor.as_str()).collect();
        page.deleted = oids.iter().map(ToString::to_string).filter(|oid| !there.contains(oid.as_str())).collect();
        page.links = links.into_values().collect();
        Ok(())
    }
}

fn report(link: &ShadowLink, present: bool) -> LinkReport {
    LinkReport { owner: link.group.to_string(), attribute: "member".into(), target: link.member.to_string(), present }
}

/// The change up to which a watermark of this connector covers the directory's change feed.
pub fn feed_number(watermark: &Watermark) -> Option<i64> {
    Some(change_mark(watermark)?.number)
}

fn watermark(mark: ChangeMark) -> Watermark {
    Watermark { server: "tenant".to_owned(), incarnation: mark.witness.to_string(), value: mark.number.to_string() }
}

fn change_mark(watermark: &Watermark) -> Option<ChangeMark> {
    Some(ChangeMark { number: watermark.value.parse().ok()?, witness: watermark.incarnation.parse().ok()? })
}

fn stale(connector: &ConnectorName) -> ConnectorError {
    let reason = "the directory's changes are not those that were read: it was restored, or they were trimmed";
    ConnectorError::StaleWatermark { connector: connector.clone(), reason: reason.to_owned() }
}
