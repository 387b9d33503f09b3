//! A service that takes users and groups by SCIM 2.0 (RFC 7643, RFC 7644) as a target.
//!
//! A resource's anchor is its `id`; its `externalId` is the key under which an add is found again. An add looks for that
//! key first, so that one whose answer was lost makes no second resource, whatever the service holds unique.

mod client;
mod resource;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::{Value as Json, json};

use self::client::{ClientError, Failure, Patience, ScimClient};
use self::resource::{EXTERNAL_ID, ResourceKind};
use crate::config::{AdoptedObjects, ScimTargetSettings};
use crate::identity::ConnectorName;
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::connector::{
    Adopted, Capabilities, Connector, ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode,
    ImportPage, ImportRequest, ImportStream, ImportedObject, LinkTarget, ReadBack,
};
use crate::sync::lease::Turn;

/// Changes per batch: what leaves within seconds of a check of the engine's lease.
const BATCH: usize = 50;
/// Requests under way at the same time.
const PARALLEL: usize = 4;
/// External ids per search: a request line of a few kilobytes.
const KEYS: usize = 20;
/// Members per operation, and operations per request.
const MEMBERS: usize = 500;

pub struct ScimTarget {
    name: ConnectorName,
    client: Arc<ScimClient>,
    page_size: usize,
    adopted: Adopted,
}

impl ScimTarget {
    pub fn new(settings: &ScimTargetSettings) -> Result<Self, ClientError> {
        let client = Arc::new(ScimClient::new(settings)?);
        let adopted = match settings.adopted {
            // The identifier that the provisioning client gives (RFC 7643, section 3.1).
            AdoptedObjects::Keep => Adopted::Kept { mark: Some(EXTERNAL_ID.into()) },
            AdoptedObjects::Delete => Adopted::Deleted,
        };
        Ok(Self { name: settings.name.clone(), client, page_size: settings.page_size as usize, adopted })
    }

    fn whole(&self, failure: Failure) -> ConnectorError {
        whole(&self.name, failure)
    }

    /// Resources by external id.
    async fn find(
        &self,
        kind: ResourceKind,
        keys: &BTreeSet<&str>,
        patience: &Patience,
    ) -> Result<HashMap<String, Json>, Failure> {
        let keys: Vec<&str> = keys.iter().copied().collect();
        let mut found = HashMap::new();
        for chunk in keys.chunks(KEYS) {
            let resources = match self.client.find(kind, chunk, patience).await {
                // A service that cannot search for several is asked for each.
                Err(Failure::Refused { status: 400 | 501, .. }) if chunk.len() > 1 => {
                    let mut resources = Vec::new();
                    for key in chunk {
                        resources.extend(self.client.find(kind, &[key], patience).await?);
                    }
                    resources
                }
                other => other?,
            };
            for resource in resources {
                // A service that ignores the filter answers with what was not asked for.
                if let Some(key) = resource::external_id(&resource).filter(|key| chunk.contains(key)) {
                    found.insert(key.to_owned(), resource.clone());
                }
            }
        }
        Ok(found)
    }

    async fn carry_out(
        &self,
        change: &ExportChange,
        known: &HashMap<(ResourceKind, String), Json>,
        patience: &Patience,
    ) -> Result<Option<String>, Failure> {
        let kind = ResourceKind::of(&change.object_type).ok_or_else(|| {
            refused("unsupported-type", format!("a SCIM service holds no objects of type {}", change.object_type))
        })?;
        match &change.operation {
            ExportOperation::Add { attributes } => self.add(kind, attributes, known, patience).await.map(Some),
            ExportOperation::Update { anchor, changes } => {
                let resource = self.client.read(kind, anchor, patience).await?.ok_or_else(|| absent(anchor))?;
                self.update(kind, anchor, &resource, changes, patience).await.map(|()| None)
            }
            ExportOperation::Delete { anchor } => self.client.delete(kind, anchor, patience).await.map(|()| None),
            ExportOperation::Links { anchor, attribute, add, remove } => {
                if *attribute != Attribute::from(resource::MEMBERS) {
                    return Err(refused("unsupported-link", format!("`{attribute}` is no list of members")));
                }
                self.links(kind, anchor, add, remove, patience).await.map(|()| None)
            }
        }
    }

    async fn add(
        &self,
        kind: ResourceKind,
        attributes: &Attributes,
        known: &HashMap<(ResourceKind, String), Json>,
        patience: &Patience,
    ) -> Result<String, Failure> {
        let key = key_of(attributes).ok_or_else(|| refused("no-external-id", "the rules give it no externalId"))?;
        let found = known.get(&(kind, key.to_owned()));
        if let Some((resource, id)) = found.and_then(|resource| Some((resource, resource::id(resource)?))) {
            self.update(kind, id, resource, attributes, patience).await?;
            return Ok(id.to_owned());
        }
        let body = resource::body(kind, attributes).map_err(|reason| refused("invalid-path", reason))?;
        let made = self.client.create(kind, &body, patience).await?;
        let id = resource::id(&made).map(str::to_owned);
        id.ok_or_else(|| Failure::Unreachable("the service made a resource and told no id".to_owned()))
    }

    async fn update(
        &self,
        kind: ResourceKind,
        id: &str,
        resource: &Json,
        changes: &Attributes,
        patience: &Patience,
    ) -> Result<(), Failure> {
        let operations = resource::patch(resource, changes).map_err(|reason| refused("invalid-path", reason))?;
        if operations.is_empty() { Ok(()) } else { self.client.patch(kind, id, &operations, patience).await }
    }

    async fn links(
        &self,
        kind: ResourceKind,
        group: &str,
        add: &[LinkTarget],
        remove: &[LinkTarget],
        patience: &Patience,
    ) -> Result<(), Failure> {
        let ids = |targets: &[LinkTarget]| targets.iter().map(|target| target.anchor.clone()).collect::<BTreeSet<_>>();
        let (add, remove) = (ids(add), ids(remove));
        match self.send_links(kind, group, &add, &remove, patience).await {
            // Somebody took one out before: only what is there is removed.
            Err(failure) if failure.is_no_target() => {
                let resource = self.client.read(kind, group, patience).await?.ok_or_else(|| absent(group))?;
                let held: BTreeSet<String> = resource::members(&resource).into_iter().collect();
                let add = add.difference(&held).cloned().collect();
                let remove = remove.intersection(&held).cloned().collect();
                self.send_links(kind, group, &add, &remove, patience).await
            }
            other => other,
        }
    }

    async fn send_links(
        &self,
        kind: ResourceKind,
        group: &str,
        add: &BTreeSet<String>,
        remove: &BTreeSet<String>,
        patience: &Patience,
    ) -> Result<(), Failure> {
        let add: Vec<&String> = add.iter().collect();
        for chunk in add.chunks(MEMBERS) {
            let value: Vec<Json> = chunk.iter().map(|id| json!({ "value": id })).collect();
            let operation = json!({ "op": "add", "path": resource::MEMBERS, "value": value });
            self.client.patch(kind, group, &[operation], patience).await?;
        }
        let remove: Vec<&String> = remove.iter().collect();
        for chunk in remove.chunks(MEMBERS) {
            let path = |id: &String| format!("{}[value eq {}]", resource::MEMBERS, Json::from(id.as_str()));
            let operations: Vec<Json> = chunk.iter().map(|id| json!({ "op": "remove", "path": path(id) })).collect();
            self.client.patch(kind, group, &operations, patience).await?;
        }
        Ok(())
    }
}

fn key_of(attributes: &Attributes) -> Option<&str> {
    attributes.get(&Attribute::from(EXTERNAL_ID))?.first().map(|value| value.as_text())
}

fn refused(code: &str, reason: impl Into<String>) -> Failure {
    Failure::Refused { status: 0, code: code.to_owned(), reason: reason.into() }
}

fn absent(id: &str) -> Failure {
    Failure::Refused { status: 404, code: "not-found".to_owned(), reason: format!("the service has no resource {id}") }
}

fn whole(connector: &ConnectorName, failure: Failure) -> ConnectorError {
    let (connector, reason) = (connector.clone(), failure.to_string());
    match failure {
        Failure::Unreachable(_) => ConnectorError::Unreachable { connector, reason },
        Failure::Unauthorised(_) | Failure::Throttled | Failure::Refused { .. } => {
            ConnectorError::Refused { connector, reason }
        }
    }
}

#[async_trait::async_trait]
impl Connector for ScimTarget {
    fn name(&self) -> &ConnectorName {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            largest_batch: BATCH,
            unique: vec!["userName".into()],
            adopted: self.adopted.clone(),
            ..Capabilities::target("scim", EXTERNAL_ID)
        }
    }

    async fn import(&self, request: ImportRequest) -> Result<Box<dyn ImportStream>, ConnectorError> {
        if request.mode != ImportMode::Full {
            return Err(ConnectorError::Unsupported { connector: self.name.clone(), what: "delta import" });
        }
        Ok(Box::new(Reading {
            connector: self.name.clone(),
            client: self.client.clone(),
            page_size: self.page_size,
            patience: self.client.patience(),
            kinds: ResourceKind::ALL.to_vec(),
            total: None,
            seen: BTreeSet::new(),
        }))
    }

    async fn export(&self, batch: Vec<ExportChange>, turn: &Turn) -> Result<Vec<ExportResult>, ConnectorError> {
        turn.check().map_err(|error| self.whole(Failure::Unreachable(error.to_string())))?;
        let patience = self.client.patience().within(turn.clone());
        let mut keys: BTreeMap<ResourceKind, BTreeSet<&str>> = BTreeMap::new();
        for change in &batch {
            if let (Some(kind), ExportOperation::Add { attributes }) =
                (ResourceKind::of(&change.object_type), &change.operation)
            {
                keys.entry(kind).or_default().extend(key_of(attributes));
            }
        }
        let mut known = HashMap::new();
        for (kind, keys) in keys {
            let found = self.find(kind, &keys, &patience).await.map_err(|failure| self.whole(failure))?;
            known.extend(found.into_iter().map(|(key, resource)| ((kind, key), resource)));
        }
        let (known, patience) = (&known, &patience);
        let results: Vec<Result<Option<String>, Failure>> = futures::stream::iter(batch)
            .map(|change| async move { self.carry_out(&change, known, patience).await })
            .buffered(PARALLEL)
            .collect()
            .await;
        let told = |result| match result {
            Ok(anchor) => Ok(ExportResult::Accepted { anchor, warning: None }),
            Err(Failure::Refused { code, reason, .. }) => Ok(ExportResult::Refused { code, reason }),
            Err(failure @ Failure::Throttled) => {
                Ok(ExportResult::Refused { code: "rate-limited".to_owned(), reason: failure.to_string() })
            }
            Err(Failure::Unreachable(reason)) => Ok(ExportResult::Unknown { reason }),
            Err(failure @ Failure::Unauthorised(_)) => Err(self.whole(failure)),
        };
        results.into_iter().map(told).collect()
    }

    async fn read_back(&self, objects: Vec<ReadBack>) -> Result<Vec<Option<ImportedObject>>, ConnectorError> {
        let patience = self.client.patience();
        let mut keys: BTreeMap<ResourceKind, BTreeSet<&str>> = BTreeMap::new();
        for question in &objects {
            if let ReadBack::ByAddKey { object_type, value } = question
                && let Some(kind) = ResourceKind::of(object_type)
            {
                keys.entry(kind).or_default().insert(value);
            }
        }
        let mut found = HashMap::new();
        for (kind, keys) in &keys {
            found.insert(*kind, self.find(*kind, keys, &patience).await.map_err(|failure| self.whole(failure))?);
        }
        let mut answers = Vec::with_capacity(objects.len());
        for question in &objects {
            let (ReadBack::ByAnchor { object_type, .. } | ReadBack::ByAddKey { object_type, .. }) = question;
            let Some(kind) = ResourceKind::of(object_type) else {
                answers.push(None);
                continue;
            };
            let resource = match question {
                ReadBack::ByAnchor { anchor, .. } => {
                    self.client.read(kind, anchor, &patience).await.map_err(|failure| self.whole(failure))?
                }
                ReadBack::ByAddKey { value, .. } => found.get(&kind).and_then(|found| found.get(value)).cloned(),
            };
            answers.push(resource.and_then(|resource| resource::object(kind, &resource)));
        }
        Ok(answers)
    }
}

/// A read of all users, then of all groups.
struct Reading {
    connector: ConnectorName,
    client: Arc<ScimClient>,
    page_size: usize,
    patience: Patience,
    /// Those still to be read; the first is under way.
    kinds: Vec<ResourceKind>,
    /// What the service says it holds of the kind under way, once it has said it.
    total: Option<u64>,
    /// Ids of that kind, told or refused.
    seen: BTreeSet<String>,
}

#[async_trait::async_trait]
impl ImportStream for Reading {
    async fn next_page(&mut self) -> Result<Option<ImportPage>, ConnectorError> {
        let Some(kind) = self.kinds.first().copied() else { return Ok(None) };
        let start = self.seen.len() + 1;
        let answer = self.client.list(kind, start, self.page_size, &self.patience).await;
        let answer = answer.map_err(|failure| self.aborted(failure.to_string()))?;
        let total = answer.get("totalResults").and_then(Json::as_u64);
        let total = total.ok_or_else(|| self.aborted("a list does not tell how many it has".to_owned()))?;
        if *self.total.get_or_insert(total) != total {
            return Err(self.aborted("resources came or went while they were read".to_owned()));
        }
        let resources = answer.get("Resources").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut page = ImportPage::default();
        for resource in &resources {
            let Some(object) = resource::object(kind, resource) else {
                return Err(self.aborted("a resource has no id".to_owned()));
            };
            if !self.seen.insert(object.anchor.clone()) {
                // Whatever moved from one page to another pushed something else out.
                return Err(self.aborted(format!("{} was told twice", object.anchor)));
            }
            page.objects.push(object);
        }
        let read = self.seen.len() as u64;
        if read >= total {
            self.kinds.remove(0);
            self.total = None;
            self.seen.clear();
        } else if resources.is_empty() {
            return Err(self.aborted(format!("a list ended at {read} of {total} resources")));
        }
        Ok(Some(page))
    }
}

impl Reading {
    fn aborted(&self, reason: String) -> ConnectorError {
        ConnectorError::Aborted { connector: self.connector.clone(), reason }
    }
}
