//! The canonical dump: all state without engine ids and times, as sorted lines.

use std::collections::HashMap;

use super::holds::item_name;
use super::session::SqlEngine;
use crate::store::statement::Statement;
use crate::sync::store::StoreResult;

pub(super) async fn dump(engine: &SqlEngine) -> StoreResult<String> {
    let mut lines = Vec::new();
    let doing = "dumping the engine";
    let all = |sql: &str| Statement::new(sql, Vec::new());

    let rows = engine
        .rows(
            doing,
            all("SELECT id, connector, object_type, kind, anchor, parent, rdn, shown, pending_import, due, \
                          unconfirmed, mv, joined_by, applied, match_key FROM space_object"),
        )
        .await?;
    let rdns: HashMap<i64, (Option<i64>, String)> =
        rows.iter().map(|row| (row.get("id"), (row.get("parent"), row.get("rdn")))).collect();
    let dn = |id: i64| {
        let (mut parts, mut next) = (Vec::new(), Some(id));
        while let Some((parent, rdn)) = next.and_then(|id| rdns.get(&id)) {
            parts.push(rdn.to_ascii_lowercase());
            next = *parent;
        }
        parts.join(",")
    };
    let names: HashMap<i64, String> = rows
        .iter()
        .map(|row| {
            let (id, connector): (i64, String) = (row.get("id"), row.get("connector"));
            let key: Option<String> = row.get("match_key");
            let name = if key.is_some() { item_name(key, None) } else { dn(id) };
            (id, format!("{connector}/{}/{name}", row.get::<String, _>("object_type")))
        })
        .collect();
    let name = |id: i64| names.get(&id).cloned().unwrap_or_else(|| "?".to_owned());
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());

    let mut mv_names: HashMap<i64, Vec<String>> = HashMap::new();
    for row in &rows {
        if let Some(mv) = row.get::<Option<i64>, _>("mv") {
            mv_names.entry(mv).or_default().push(name(row.get("id")));
        }
    }
    mv_names.values_mut().for_each(|names| names.sort());
    let mv_name = |id: i64| mv_names.get(&id).map_or_else(|| "?".to_owned(), |names| names.join("+"));

    for row in &rows {
        let id: i64 = row.get("id");
        lines.push(format!(
            "object {} kind={} pending={} due={} mv={} by={} applied={} shown={} unconfirmed={}",
            name(id),
            row.get::<String, _>("kind"),
            row.get::<String, _>("pending_import"),
            row.get::<i64, _>("due"),
            row.get::<Option<i64>, _>("mv").map_or_else(|| "-".to_owned(), mv_name),
            text(row.get("joined_by")),
            row.get::<String, _>("applied"),
            text(row.get("shown")),
            text(row.get("unconfirmed")),
        ));
    }
    for row in engine.rows(doing, all("SELECT owner, attribute, target, state, due FROM space_link")).await?.iter() {
        lines.push(format!(
            "link {} {} {} {} due={}",
            name(row.get("owner")),
            row.get::<String, _>("attribute"),
            name(row.get("target")),
            row.get::<String, _>("state"),
            row.get::<i64, _>("due"),
        ));
    }
    for row in engine.rows(doing, all("SELECT id, object_type, attributes, due FROM mv_object")).await?.iter() {
        let mut attributes: serde_json::Value = super::decode::json(row, "attributes")?;
        for contribution in attributes.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            if let Some(object) = contribution.get("object").and_then(serde_json::Value::as_i64) {
                contribution["object"] = name(object).into();
            }
        }
        let (id, due): (i64, i64) = (row.get("id"), row.get("due"));
        lines.push(format!("metaverse {} {} due={due} {attributes}", mv_name(id), row.get::<String, _>("object_type")));
    }
    for row in engine.rows(doing, all("SELECT owner, attribute, target, gone, due FROM mv_link")).await?.iter() {
        lines.push(format!(
            "metaverse-link {} {} {} gone={} due={}",
            mv_name(row.get("owner")),
            row.get::<String, _>("attribute"),
            mv_name(row.get("target")),
            row.get::<i64, _>("gone"),
            row.get::<i64, _>("due"),
        ));
    }
    for row in engine.rows(doing, all("SELECT object, kind, changes, state FROM pending_export")).await?.iter() {
        lines.push(format!(
            "export {} {} {} {}",
            name(row.get("object")),
            row.get::<String, _>("kind"),
            row.get::<String, _>("state"),
            row.get::<String, _>("changes"),
        ));
    }
    for row in engine.rows(doing, all("SELECT key, mv FROM mv_key")).await?.iter() {
        lines.push(format!("key {:?} {}", row.get::<String, _>("key"), mv_name(row.get("mv"))));
    }
    for row in engine.rows(doing, all("SELECT key, object FROM join_wait")).await?.iter() {
        lines.push(format!("wait {:?} {}", row.get::<String, _>("key"), name(row.get("object"))));
    }
    for row in engine.rows(doing, all("SELECT object, code, detail FROM object_problem")).await?.iter() {
        let (code, detail): (String, String) = (row.get("code"), row.get("detail"));
        lines.push(format!("problem {} {code} {detail}", name(row.get("object"))));
    }
    lines.sort();
    Ok(lines.join("\n"))
}
