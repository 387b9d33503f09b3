//! Resources of a SCIM service (RFC 7643) as attributes of the engine, and back.
//!
//! An attribute's name is the SCIM path of its value (RFC 7644, section 3.5.2): `userName`, `name.givenName`,
//! `emails[type eq "work"].value`, and with the schema before it for extensions. What a service shows is taken apart by
//! the same names, so that rules and confirmations speak of the same thing.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::sync::attribute::{Attribute, Attributes, Value, canonical};
use crate::sync::connector::{ImportedObject, Reference};

/// The links of a group.
pub const MEMBERS: &str = "members";
pub const EXTERNAL_ID: &str = "externalId";

/// What belongs to the service or is told as links.
const NOT_ATTRIBUTES: [&str; 5] = ["schemas", "id", "meta", "groups", MEMBERS];
/// Attributes that hold a list of complex values (RFC 7643, section 4.1.2).
const LISTS: [&str; 8] =
    ["emails", "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509Certificates"];
/// Values that are booleans in every schema.
const BOOLEANS: [&str; 2] = ["active", "primary"];

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    User,
    Group,
}

impl ResourceKind {
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    pub fn of(object_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.object_type() == object_type)
    }

    pub const fn object_type(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// Below the base of the service.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    const fn schema(self) -> &'static str {
        match self {
            Self::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            Self::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }
}

/// Where a value stands in a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    /// Of an extension.
    schema: Option<String>,
    name: String,
    /// The `type` that picks one of several values.
    picked: Option<String>,
    sub: Option<String>,
}

impl Path {
    fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no path of a SCIM attribute");
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "$-_".contains(c));
        let (schema, rest) = match text.to_ascii_lowercase().starts_with("urn:") {
            true => text.rsplit_once(':').map(|(schema, rest)| (Some(schema.to_owned()), rest)).ok_or_else(refuse)?,
            false => (None, text),
        };
        let (name, picked, sub) = match rest.split_once('[') {
            Some((name, rest)) => {
                let (filter, sub) = rest.split_once(']').ok_or_else(refuse)?;
                let picked =
                    filter.strip_prefix("type eq ").and_then(|value| serde_json::from_str::<String>(value).ok());
                let sub = sub.strip_prefix('.').ok_or_else(refuse)?;
                (name, Some(picked.ok_or_else(refuse)?), Some(sub))
            }
            None => match rest.split_once('.') {
                Some((name, sub)) => (name, None, Some(sub)),
                None => (rest, None, None),
            },
        };
        if !is_name(name) || !sub.is_none_or(is_name) {
            return Err(refuse());
        }
        Ok(Self { schema, name: name.to_owned(), picked, sub: sub.map(str::to_owned) })
    }

    fn json(&self, values: &[Value]) -> Json {
        let leaf = self.sub.as_ref().unwrap_or(&self.name);
        let boolean = BOOLEANS.iter().any(|name| name.eq_ignore_ascii_case(leaf));
        let one = |value: &Value| match value.folded().as_str() {
            "true" if boolean => Json::Bool(true),
            "false" if boolean => Json::Bool(false),
            _ => Json::String(value.as_text().to_owned()),
        };
        match values {
            [value] => one(value),
            several => several.iter().map(one).collect(),
        }
    }

    /// Writes values into a resource, or takes them out; nothing else of it changes.
    fn put(&self, resource: &mut Map<String, Json>, values: &[Value]) {
        let object = match &self.schema {
            None => resource,
            Some(schema) => member(resource, schema),
        };
        let key = key_of(object, &self.name);
        match (&self.sub, &self.picked) {
            (None, _) if values.is_empty() => drop(object.remove(&key)),
            (None, _) => drop(object.insert(key, self.json(values))),
            (Some(sub), None) if LISTS.iter().any(|name| name.eq_ignore_ascii_case(&self.name)) => {
                let items = list(object, &key);
                // Values without a type are the whole of what this name speaks of.
                items.retain(|item| item.get("type").is_some());
                items.extend(values.iter().map(|value| json!({ sub: self.json(std::slice::from_ref(value)) })));
                drop_empty(object, &key);
            }
            (Some(sub), None) => {
                set(member(object, &key), sub, values, self);
                drop_empty(object, &key);
            }
            (Some(sub), Some(picked)) => {
                let items = list(object, &key);
                let is_it = |item: &Json| item.get("type").and_then(Json::as_str) == Some(picked.as_str());
                if !items.iter().any(is_it) && !values.is_empty() {
                    items.push(json!({ "type": picked }));
                }
                for item in items.iter_mut().filter(|item| is_it(item)) {
                    if let Json::Object(item) = item {
                        set(item, sub, values, self);
                    }
                }
                // A value that is nothing but its type or its rank is none.
                items.retain(|item| {
                    item.as_object().is_none_or(|item| item.keys().any(|key| key != "type" && key != "primary"))
                });
                drop_empty(object, &key);
            }
        }
    }
}

fn set(object: &mut Map<String, Json>, name: &str, values: &[Value], path: &Path) {
    let key = key_of(object, name);
    if values.is_empty() {
        object.remove(&key);
    } else {
        object.insert(key, path.json(values));
    }
}

/// Names are compared without regard to case (RFC 7643, section 2.1).
fn key_of(object: &Map<String, Json>, name: &str) -> String {
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}

fn member<'a>(object: &'a mut Map<String, Json>, name: &str) -> &'a mut Map<String, Json> {
    let key = key_of(object, name);
    let value = object.entry(key).or_insert_with(|| Json::Object(Map::new()));
    if !value.is_object() {
        *value = Json::Object(Map::new());
    }
    match value {
        Json::Object(object) => object,
        _ => unreachable!("made an object above"),
    }
}

fn list<'a>(object: &'a mut Map<String, Json>, key: &str) -> &'a mut Vec<Json> {
    let value = object.entry(key.to_owned()).or_insert_with(|| Json::Array(Vec::new()));
    if !value.is_array() {
        *value = Json::Array(Vec::new());
    }
    match value {
        Json::Array(items) => items,
        _ => unreachable!("made a list above"),
    }
}

fn drop_empty(object: &mut Map<String, Json>, key: &str) {
    let empty = match object.get(key) {
        Some(Json::Object(members)) => members.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        _ => false,
    };
    if empty {
        object.remove(key);
    }
}

/// Where attributes stand; ranks come last, because a value that has nothing else is none.
fn paths(attributes: &Attributes) -> Result<Vec<(Path, &[Value])>, String> {
    let paths = attributes.iter().map(|(name, values)| Ok((Path::parse(name.as_str())?, values.as_slice())));
    let mut paths = paths.collect::<Result<Vec<_>, String>>()?;
    paths.sort_by_key(|(path, _)| path.sub.as_ref().is_some_and(|sub| sub.eq_ignore_ascii_case("primary")));
    Ok(paths)
}

/// The body of a new resource.
pub fn body(kind: ResourceKind, attributes: &Attributes) -> Result<Json, String> {
    let mut resource = Map::new();
    let mut schemas = vec![kind.schema().to_owned()];
    for (path, values) in paths(attributes)? {
        path.put(&mut resource, values);
        if let Some(schema) = path.schema.filter(|schema| !schemas.contains(schema)) {
            schemas.push(schema);
        }
    }
    resource.insert("schemas".to_owned(), json!(schemas));
    Ok(Json::Object(resource))
}

/// The operations of a PATCH (RFC 7644, section 3.5.2) that lead from a resource to the changed one. Whole attributes are
/// replaced: an operation on a value that a filter picks fails where nothing is there to be picked.
pub fn patch(resource: &Json, changes: &Attributes) -> Result<Vec<Json>, String> {
    let before = resource.as_object().ok_or("the resource is no JSON object")?;
    let mut after = before.clone();
    for (path, values) in paths(changes)? {
        path.put(&mut after, values);
    }
    let mut operations = Vec::new();
    let mut compare = |path: String, before: Option<&Json>, after: Option<&Json>| match (before, after) {
        (before, Some(after)) if before != Some(after) => {
            operations.push(json!({ "op": "replace", "path": path, "value": after }));
        }
        (Some(_), None) => operations.push(json!({ "op": "remove", "path": path })),
        _ => {}
    };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        if !key.to_ascii_lowercase().starts_with("urn:") {
            compare(key.clone(), old, new);
            continue;
        }
        let members = |value: Option<&Json>| value.and_then(Json::as_object).cloned().unwrap_or_default();
        let (old, new) = (members(old), members(new));
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            compare(format!("{key}:{name}"), old.get(name), new.get(name));
        }
    }
    Ok(operations)
}

/// The id by which the service knows a resource.
pub fn id(resource: &Json) -> Option<&str> {
    resource.get("id")?.as_str().filter(|id| !id.is_empty())
}

pub fn external_id(resource: &Json) -> Option<&str> {
    let resource = resource.as_object()?;
    resource.get(&key_of(resource, EXTERNAL_ID))?.as_str()
}

/// The ids of a group's members.
pub fn members(resource: &Json) -> Vec<String> {
    let items = resource.get(MEMBERS).and_then(Json::as_array);
    items.into_iter().flatten().filter_map(|item| item.get("value")?.as_str()).map(str::to_owned).collect()
}

/// A resource as the engine sees it; `None` without an id.
pub fn object(kind: ResourceKind, resource: &Json) -> Option<ImportedObject> {
    let mut attributes = Attributes::new();
    for (key, value) in resource.as_object()? {
        if NOT_ATTRIBUTES.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            continue;
        }
        match value {
            Json::Object(members) if key.to_ascii_lowercase().starts_with("urn:") => {
                for (name, value) in members {
                    take(&mut attributes, &format!("{key}:{name}"), value);
                }
            }
            value => take(&mut attributes, key, value),
        }
    }
    let references = match kind {
        ResourceKind::User => BTreeMap::new(),
        ResourceKind::Group => {
            let members = members(resource).into_iter().map(Reference::Anchor).collect();
            BTreeMap::from([(Attribute::from(MEMBERS), members)])
        }
    };
    Some(ImportedObject {
        anchor: id(resource)?.to_owned(),
        dn: None,
        object_type: kind.object_type().to_owned(),
        container: false,
        attributes: canonical(attributes),
        references,
    })
}

/// Takes a value apart under the path `name`.
fn take(attributes: &mut Attributes, name: &str, value: &Json) {
    let mut put = |name: String, value: &Json| {
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Bool(value) => Value::boolean(*value).as_text().to_owned(),
            Json::Number(number) => number.to_string(),
            Json::Null | Json::Array(_) | Json::Object(_) => return,
        };
        attributes.entry(Attribute::new(name)).or_default().push(Value::text(text));
    };
    match value {
        Json::Object(members) => {
            for (sub, value) in members {
                put(format!("{name}.{sub}"), value);
            }
        }
        Json::Array(items) => {
            for item in items {
                let Json::Object(members) = item else {
                    put(name.to_owned(), item);
                    continue;
                };
                let picked = match members.get("type").and_then(Json::as_str) {
                    Some(word) => format!("{name}[type eq {}]", Json::from(word)),
                    None => name.to_owned(),
                };
                for (sub, value) in members.iter().filter(|(sub, _)| *sub != "type") {
                    put(format!("{picked}.{sub}"), value);
                }
            }
        }
        value => put(name.to_owned(), value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";

    fn attributes(pairs: &[(&str, &[&str])]) -> Attributes {
        let values = |texts: &[&str]| texts.iter().map(|text| Value::text(*text)).collect();
        pairs.iter().map(|(name, texts)| (Attribute::from(*name), values(texts))).collect()
    }

    #[test]
    fn what_is_written_is_shown_by_the_same_names() {
        let written = attributes(&[
            ("externalId", &["a1"]),
            ("userName", &["ada@example.org"]),
            ("active", &["FALSE"]),
            ("name.givenName", &["Ada"]),
            ("name.familyName", &["L"]),
            ("emails[type eq \"work\"].value", &["ada@example.org"]),
            ("emails[type eq \"work\"].primary", &["TRUE"]),
            ("emails[type eq \"home\"].value", &["ada@home.example"]),
            ("roles.value", &["admin", "auditor"]),
            (DEPARTMENT, &["Engines"]),
        ]);
        let mut body = body(ResourceKind::User, &written).expect("paths");
        assert_eq!(body["active"], json!(false));
        assert_eq!(body["name"], json!({ "familyName": "L", "givenName": "Ada" }));
        assert_eq!(body["schemas"].as_array().map(Vec::len), Some(2));
        body["id"] = json!("42");
        let shown = object(ResourceKind::User, &body).expect("an id");
        assert_eq!(shown.attributes, written);
        assert_eq!(shown.anchor, "42");
    }

    #[test]
    fn a_patch_changes_what_differs_and_keeps_what_others_wrote() {
        let resource = json!({
            "id": "1", "schemas": [], "userName": "ada", "title": "Dr",
            "emails": [{ "type": "home", "value": "h@x" }, { "type": "work", "value": "w@x", "primary": true }],
            "name": { "givenName": "Ada", "formatted": "kept" },
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "A", "costCenter": "7" },
        });
        let changes = attributes(&[
            ("userName", &["ada"]),
            ("title", &[]),
            ("emails[type eq \"work\"].value", &["new@x"]),
            ("phoneNumbers[type eq \"work\"].value", &["1"]),
            ("name.givenName", &["A"]),
            (DEPARTMENT, &["B"]),
        ]);
        let expected = [
            json!({ "op": "replace", "path": "emails", "value": [
                { "type": "home", "value": "h@x" }, { "type": "work", "value": "new@x", "primary": true }] }),
            json!({ "op": "replace", "path": "name", "value": { "givenName": "A", "formatted": "kept" } }),
            json!({ "op": "replace", "path": "phoneNumbers", "value": [{ "type": "work", "value": "1" }] }),
            json!({ "op": "remove", "path": "title" }),
            json!({ "op": "replace", "path": DEPARTMENT, "value": "B" }),
        ];
        let operations = patch(&resource, &changes).expect("paths");
        assert_eq!(operations, expected);
        assert_eq!(patch(&resource, &attributes(&[("userName", &["ada"])])), Ok(Vec::new()));
        let removed = patch(&resource, &attributes(&[("emails[type eq \"work\"].value", &[])])).expect("a path");
        assert_eq!(
            removed,
            [json!({ "op": "replace", "path": "emails", "value": [{ "type": "home", "value": "h@x" }] })]
        );
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "a b",
            "emails[type eq work].value",
            "emails[type eq \"x\"]",
            "emails[value eq \"x\"].value",
            "a.b.c",
            "urn:x:",
        ] {
            assert!(body(ResourceKind::User, &attributes(&[(text, &["x"])])).is_err(), "{text}");
        }
    }
}
