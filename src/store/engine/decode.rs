//! Rows to domain types.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::identity::{ConnectorName, Timestamp};
use crate::store::StoreError;
use crate::store::rows::Row;
use crate::sync::attribute::{Attribute, Attributes};
use crate::sync::metaverse::{MvId, MvLink, MvObject};
use crate::sync::space::{
    ExportKind, ExportState, LinkKey, LinkState, ObjectId, ObjectKind, PendingExport, PendingImport, SpaceHead,
    SpaceLink, SpaceObject, Unconfirmed,
};
use crate::sync::store::{LinkEnd, StoreResult};

pub const HEAD: &str = "id, connector, object_type, kind, anchor, parent, rdn, place, digest, pending_import, mv";
pub const OBJECT: &str = "id, connector, object_type, kind, anchor, rdn, shown, pending_import, due, unconfirmed, mv, \
                          joined_by, applied, match_key, found_at";
pub const METAVERSE: &str = "id, object_type, attributes, due, review_at";
pub const EXPORT: &str = "object, connector, kind, changes, state, error, attempts";

pub fn head(row: Row<'_>) -> StoreResult<SpaceHead> {
    Ok(SpaceHead {
        id: ObjectId(row.get("id")),
        connector: connector(row)?,
        object_type: row.get("object_type"),
        kind: code(row, "kind", ObjectKind::from_code)?,
        anchor: row.get("anchor"),
        parent: row.get::<Option<i64>, _>("parent").map(ObjectId),
        rdn: row.get("rdn"),
        place: row.get("place"),
        digest: row.get("digest"),
        pending_import: code(row, "pending_import", PendingImport::from_code)?,
        mv: row.get::<Option<i64>, _>("mv").map(MvId),
    })
}

pub fn object(row: Row<'_>) -> StoreResult<SpaceObject> {
    Ok(SpaceObject {
        id: ObjectId(row.get("id")),
        connector: connector(row)?,
        object_type: row.get("object_type"),
        kind: code(row, "kind", ObjectKind::from_code)?,
        anchor: row.get("anchor"),
        rdn: row.get("rdn"),
        shown: optional_json(row, "shown")?.map(Arc::new),
        pending_import: code(row, "pending_import", PendingImport::from_code)?,
        due: row.get::<i64, _>("due") != 0,
        unconfirmed: optional_json(row, "unconfirmed")?,
        mv: row.get::<Option<i64>, _>("mv").map(MvId),
        joined_by: row.get("joined_by"),
        applied: json::<BTreeSet<String>>(row, "applied")?,
        match_key: row.get("match_key"),
        found_at: row.get::<Option<i64>, _>("found_at").map(Timestamp::from_millis),
    })
}

/// What a target holds of an object, once all accepted exports are confirmed.
pub fn held(row: Row<'_>) -> StoreResult<Option<Attributes>> {
    let shown: Option<Attributes> = optional_json(row, "shown")?;
    let unconfirmed: Option<Unconfirmed> = optional_json(row, "unconfirmed")?;
    Ok(crate::sync::space::held(shown.as_ref(), unconfirmed.as_ref()))
}

pub fn export(row: Row<'_>) -> StoreResult<PendingExport> {
    Ok(PendingExport {
        object: ObjectId(row.get("object")),
        connector: connector(row)?,
        kind: code(row, "kind", ExportKind::from_code)?,
        changes: json(row, "changes")?,
        state: code(row, "state", ExportState::from_code)?,
        error: row.get("error"),
        attempts: row.get("attempts"),
    })
}

pub fn mv_object(row: Row<'_>) -> StoreResult<MvObject> {
    Ok(MvObject {
        id: MvId(row.get("id")),
        object_type: row.get("object_type"),
        attributes: Arc::new(json(row, "attributes")?),
        due: row.get::<i64, _>("due") != 0,
        review: row.get::<Option<i64>, _>("review_at").map(Timestamp::from_millis),
    })
}

pub fn link_key(row: Row<'_>) -> LinkKey {
    LinkKey {
        owner: ObjectId(row.get("owner")),
        attribute: Attribute::new(row.get::<String, _>("attribute")),
        target: ObjectId(row.get("target")),
    }
}

pub fn link(row: Row<'_>) -> StoreResult<SpaceLink> {
    Ok(SpaceLink { key: link_key(row), state: code(row, "state", LinkState::from_code)? })
}

pub fn link_end(row: Row<'_>) -> StoreResult<LinkEnd> {
    /// The part of [`crate::sync::space::Unconfirmed`] that counts here.
    #[derive(serde::Deserialize)]
    struct Accepted {
        kind: ExportKind,
    }

    let accepted: Option<Accepted> = optional_json(row, "unconfirmed")?;
    Ok(LinkEnd {
        id: ObjectId(row.get("id")),
        object_type: row.get("object_type"),
        anchor: row.get("anchor"),
        match_key: row.get("match_key"),
        there: accepted.map_or(row.get::<i64, _>("is_shown") != 0, |accepted| accepted.kind != ExportKind::Delete),
    })
}

pub fn mv_link(row: Row<'_>) -> MvLink {
    MvLink {
        contributor: ObjectId(row.get("contributor")),
        source_attribute: Attribute::new(row.get::<String, _>("source_attribute")),
        source_target: ObjectId(row.get("source_target")),
        owner: MvId(row.get("owner")),
        attribute: Attribute::new(row.get::<String, _>("attribute")),
        target: MvId(row.get("target")),
    }
}

pub fn connector(row: Row<'_>) -> StoreResult<ConnectorName> {
    let text: &str = row.get("connector");
    text.parse().map_err(|e| unreadable("connector", e))
}

pub fn code<T>(row: Row<'_>, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> StoreResult<T> {
    let text: &str = row.get(column);
    parse(text).ok_or_else(|| unreadable(column, format!("unknown code {text}")))
}

pub fn json<T: serde::de::DeserializeOwned>(row: Row<'_>, column: &'static str) -> StoreResult<T> {
    let text: &str = row.get(column);
    serde_json::from_str(text).map_err(|e| unreadable(column, e))
}

fn optional_json<T: serde::de::DeserializeOwned>(row: Row<'_>, column: &'static str) -> StoreResult<Option<T>> {
    let text: Option<&str> = row.get(column);
    text.map(|text| serde_json::from_str(text).map_err(|e| unreadable(column, e))).transpose()
}

/// JSON of a type of ours; its maps have string keys, so that serialising cannot fail.
pub fn to_json(value: &impl serde::Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|e| unreadable("json", e))
}

pub fn unreadable(column: &'static str, reason: impl std::fmt::Display) -> crate::sync::store::EngineStoreError {
    StoreError::Unreadable { table: "engine", column, reason: reason.to_string() }.into()
}

/// The form of attribute names in key columns.
pub fn folded(attribute: &Attribute) -> String {
    attribute.as_str().to_ascii_lowercase()
}
