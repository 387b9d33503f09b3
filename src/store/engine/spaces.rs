//! Reads and writes of import.

use super::decode::{self, HEAD, folded, to_json};
use super::session::SqlEngine;
use super::synchronisation::problem_statements;
use crate::identity::ConnectorName;
use crate::identity::LeaseEpoch;
use crate::store::statement::{Arg, RowArgs, Statement, in_list, insert, update};
use crate::sync::change_set::{ImportBatch, WrittenBack};
use crate::sync::connector::{KnownBase, Watermark};
use crate::sync::fault::{Fault, planted};
use crate::sync::join_key::JoinKey;
use crate::sync::space::{LinkKey, LinkState, ObjectId, PendingImport, SpaceHead, SpaceLink};
use crate::sync::store::{Spaces, StoreResult};

#[async_trait::async_trait]
impl Spaces for SqlEngine {
    async fn heads_by_anchor(&self, connector: &ConnectorName, anchors: &[String]) -> StoreResult<Vec<SpaceHead>> {
        self.heads("anchor", connector, anchors).await
    }

    async fn heads_by_place(&self, connector: &ConnectorName, places: &[String]) -> StoreResult<Vec<SpaceHead>> {
        self.heads("place", connector, places).await
    }

    async fn ids_by_match_key(
        &self,
        connector: &ConnectorName,
        keys: &[JoinKey],
    ) -> StoreResult<Vec<(JoinKey, ObjectId)>> {
        let sql = "SELECT match_key, id FROM space_object WHERE connector = $1 AND match_key IN ({})";
        let keys = keys.iter().map(|key| Arg::from(key.as_str())).collect();
        let rows = self.all_rows("finding target objects", in_list(sql, &[connector.as_str().into()], keys)).await?;
        Ok(rows.iter().map(|row| (JoinKey::from_stored(row.get(0)), ObjectId(row.get(1)))).collect())
    }

    async fn heads_after(
        &self,
        connector: &ConnectorName,
        after: ObjectId,
        limit: usize,
    ) -> StoreResult<Vec<SpaceHead>> {
        let sql = format!(
            "SELECT {HEAD} FROM space_object WHERE connector = $1 AND id > $2 AND kind <> 'placeholder' \
             ORDER BY id LIMIT $3"
        );
        let args = vec![connector.as_str().into(), after.0.into(), (limit as i64).into()];
        self.rows("reading a connector space", Statement::new(sql, args)).await?.iter().map(decode::head).collect()
    }

    async fn population(&self, connector: &ConnectorName) -> StoreResult<Vec<(String, i64)>> {
        let sql = "SELECT object_type, CAST(COUNT(*) AS BIGINT) AS n FROM space_object \
                   WHERE connector = $1 AND kind <> 'placeholder' GROUP BY object_type ORDER BY object_type";
        let rows =
            self.rows("counting a connector space", Statement::new(sql, vec![connector.as_str().into()])).await?;
        Ok(rows.iter().map(|row| (row.get("object_type"), row.get("n"))).collect())
    }

    async fn links_of(&self, owners: &[ObjectId]) -> StoreResult<Vec<SpaceLink>> {
        let sql = "SELECT owner, attribute, target, state FROM space_link WHERE owner IN ({})";
        let rows = self.all_rows("reading links", in_list(sql, &[], ids(owners))).await?;
        rows.iter().map(decode::link).collect()
    }

    async fn watermark(&self, connector: &ConnectorName) -> StoreResult<Option<Watermark>> {
        let sql = "SELECT server, incarnation, value FROM watermark WHERE connector = $1";
        let rows = self.rows("reading a watermark", Statement::new(sql, vec![connector.as_str().into()])).await?;
        Ok(rows.first().map(|row| Watermark {
            server: row.get("server"),
            incarnation: row.get("incarnation"),
            value: row.get("value"),
        }))
    }

    async fn bases(&self, connector: &ConnectorName) -> StoreResult<Vec<KnownBase>> {
        let sql = "SELECT named, anchor FROM scope_base WHERE connector = $1 ORDER BY named";
        let rows = self.rows("reading scope bases", Statement::new(sql, vec![connector.as_str().into()])).await?;
        rows.iter()
            .map(|row| {
                let named: String = row.get("named");
                let named = named.parse().map_err(|e| decode::unreadable("named", e))?;
                Ok(KnownBase { named, anchor: row.get("anchor") })
            })
            .collect()
    }

    async fn stale(&self, connector: &ConnectorName, limit: usize) -> StoreResult<Vec<SpaceHead>> {
        let sql = format!(
            "SELECT {HEAD} FROM space_object WHERE digest = 'stale' AND connector = $1 AND kind <> 'placeholder' \
             AND pending_import <> 'delete' ORDER BY id LIMIT $2"
        );
        let args = vec![connector.as_str().into(), (limit as i64).into()];
        self.rows("reading what is stale", Statement::new(sql, args)).await?.iter().map(decode::head).collect()
    }

    async fn below(&self, tops: &[ObjectId]) -> StoreResult<Vec<ObjectId>> {
        let sql = "WITH RECURSIVE below (id, kind, pending_import) AS \
                   (SELECT id, kind, pending_import FROM space_object WHERE id IN ({}) UNION ALL \
                   SELECT o.id, o.kind, o.pending_import FROM space_object o JOIN below b ON o.parent = b.id) \
                   SELECT id FROM below WHERE kind <> 'placeholder' AND pending_import <> 'delete'";
        let rows = self.all_rows("reading a subtree", in_list(sql, &[], ids(tops))).await?;
        Ok(rows.iter().map(|row| ObjectId(row.get(0))).collect())
    }

    async fn referrers(&self, targets: &[ObjectId]) -> StoreResult<Vec<ObjectId>> {
        let sql = "SELECT DISTINCT l.owner FROM space_link l JOIN space_object o ON o.id = l.owner \
                   WHERE o.kind = 'object' AND l.state <> 'removed' AND l.target IN ({})";
        let rows = self.all_rows("reading referrers", in_list(sql, &[], ids(targets))).await?;
        Ok(rows.iter().map(|row| ObjectId(row.get(0))).collect())
    }

    async fn commit_import(&self, epoch: LeaseEpoch, batch: ImportBatch) -> StoreResult<()> {
        self.write(epoch, import_statements(batch)?).await.map(drop)
    }

    async fn sweep(&self, epoch: LeaseEpoch) -> StoreResult<()> {
        let sql = "DELETE FROM space_object WHERE kind = 'placeholder' AND due = 0 \
                   AND NOT EXISTS (SELECT 1 FROM space_link l WHERE l.target = space_object.id) \
                   AND NOT EXISTS (SELECT 1 FROM space_link l WHERE l.owner = space_object.id) \
                   AND NOT EXISTS (SELECT 1 FROM space_object c WHERE c.parent = space_object.id) RETURNING id";
        // Each round takes the lowest level of a chain of empty parents.
        while !self.write(epoch, vec![Statement::new(sql, Vec::new())]).await?.is_empty() {}
        Ok(())
    }
}

impl SqlEngine {
    async fn heads(&self, column: &str, connector: &ConnectorName, values: &[String]) -> StoreResult<Vec<SpaceHead>> {
        let sql = format!("SELECT {HEAD} FROM space_object WHERE connector = $1 AND {column} IN ({{}})");
        let values = values.iter().map(|value| Arg::from(value.as_str())).collect();
        let rows = self.all_rows("finding objects", in_list(&sql, &[connector.as_str().into()], values)).await?;
        rows.iter().map(decode::head).collect()
    }
}

fn import_statements(batch: ImportBatch) -> StoreResult<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut rows = Vec::new();
    for (head, shown) in &batch.inserted {
        let due = head.pending_import != PendingImport::None;
        rows.push(vec![
            head.id.0.into(),
            head.connector.as_str().into(),
            head.object_type.as_str().into(),
            head.kind.code().into(),
            head.anchor.clone().into(),
            head.parent.map(|id| id.0).into(),
            head.rdn.as_str().into(),
            head.place.clone().into(),
            shown.as_ref().map(to_json).transpose()?.into(),
            head.digest.as_str().into(),
            head.pending_import.code().into(),
            due.into(),
            "[]".into(),
        ]);
    }
    statements.extend(insert(
        "space_object (id, connector, object_type, kind, anchor, parent, rdn, place, shown, digest, pending_import, \
         due, applied)",
        rows,
        "",
    ));
    let mut rows = Vec::new();
    for (head, shown) in &batch.changed {
        let mut row = placement(head);
        row.extend([to_json(shown)?.into(), head.digest.as_str().into(), 1.into()]);
        rows.push(row);
    }
    statements.extend(update(
        "space_object",
        &["id"],
        &["object_type", "kind", "anchor", "parent", "rdn", "place", "pending_import", "shown", "digest", "due"],
        rows,
    ));
    statements.extend(update(
        "space_object",
        &["id"],
        &["object_type", "kind", "anchor", "parent", "rdn", "place", "pending_import"],
        batch.placed.iter().map(placement).collect(),
    ));
    statements.extend(insert(
        "space_link (owner, attribute, target, state, due)",
        batch.links_added.iter().map(|key| link_row(key, LinkState::Confirmed)).collect(),
        "ON CONFLICT (owner, attribute, target) DO UPDATE SET state = excluded.state, due = 1",
    ));
    statements.extend(insert(
        "space_link (owner, attribute, target, state, due)",
        batch.links_removed.iter().map(|key| link_row(key, LinkState::Removed)).collect(),
        "ON CONFLICT (owner, attribute, target) DO UPDATE SET state = excluded.state, due = 1",
    ));
    for (hole, container) in &batch.filled {
        let (old, new) = (format!("{hole}:"), format!("{container}:"));
        let sql = "UPDATE space_object SET parent = $2, place = $3 || SUBSTR(place, CAST($4 AS INTEGER)) \
                   WHERE parent = $1 AND place IS NOT NULL AND kind <> 'placeholder'";
        let rest = old.len() as i64 + 1;
        statements.push(Statement::new(sql, vec![hole.0.into(), container.0.into(), new.into(), rest.into()]));
    }
    statements.extend(in_list(
        "UPDATE space_object SET digest = 'stale' WHERE kind = 'object' AND id IN (SELECT owner FROM space_link \
         WHERE target IN (WITH RECURSIVE below (id) AS (SELECT id FROM space_object WHERE id IN ({}) \
         UNION ALL SELECT o.id FROM space_object o JOIN below b ON o.parent = b.id) SELECT id FROM below))",
        &[],
        if planted(Fault::ReferrersNotStale) { Vec::new() } else { ids(&batch.displaced) },
    ));
    statements.extend(in_list("UPDATE space_object SET digest = 'stale' WHERE id IN ({})", &[], ids(&batch.stale)));
    let deleted = ids(&batch.deleted);
    statements.extend(in_list(
        "UPDATE space_object SET pending_import = 'delete', due = 1, digest = '' WHERE id IN ({})",
        &[],
        deleted.clone(),
    ));
    statements.extend(in_list("UPDATE space_link SET state = 'removed', due = 1 WHERE owner IN ({})", &[], deleted));
    statements.extend(written_back(batch.written_back)?);
    if let Some((connector, watermark)) = batch.watermark {
        statements.push(watermark_statement(&connector, watermark));
    }
    if let Some((connector, bases)) = batch.bases {
        let rows = bases
            .into_iter()
            .map(|base| vec![connector.as_str().into(), base.named.folded().into(), base.anchor.into()])
            .collect();
        statements.extend(insert(
            "scope_base (connector, named, anchor)",
            rows,
            "ON CONFLICT (connector, named) DO UPDATE SET anchor = excluded.anchor",
        ));
    }
    Ok(statements)
}

fn written_back(objects: Vec<WrittenBack>) -> StoreResult<Vec<Statement>> {
    let ids = ids(&objects.iter().map(|object| object.object).collect::<Vec<_>>());
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for WrittenBack { object, unconfirmed, problem } in objects {
        rows.push(vec![object.0.into(), unconfirmed.as_ref().map(to_json).transpose()?.into()]);
        problems.extend(problem.map(|problem| (object, problem)));
    }
    let mut statements = update("space_object", &["id"], &["unconfirmed"], rows);
    let old = "DELETE FROM object_problem WHERE code = 'exported-change-not-reimported' AND object IN ({})";
    statements.extend(in_list(old, &[], ids));
    statements.extend(problem_statements(&[], &problems));
    Ok(statements)
}

pub(super) fn watermark_statement(connector: &ConnectorName, watermark: Watermark) -> Statement {
    Statement::new(
        "INSERT INTO watermark (connector, server, incarnation, value) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (connector) DO UPDATE SET server = excluded.server, incarnation = excluded.incarnation, \
         value = excluded.value",
        vec![connector.as_str().into(), watermark.server.into(), watermark.incarnation.into(), watermark.value.into()],
    )
}

fn placement(head: &SpaceHead) -> RowArgs {
    vec![
        head.id.0.into(),
        head.object_type.as_str().into(),
        head.kind.code().into(),
        head.anchor.clone().into(),
        head.parent.map(|id| id.0).into(),
        head.rdn.as_str().into(),
        head.place.clone().into(),
        head.pending_import.code().into(),
    ]
}

fn link_row(key: &LinkKey, state: LinkState) -> RowArgs {
    vec![key.owner.0.into(), folded(&key.attribute).into(), key.target.0.into(), state.code().into(), 1.into()]
}

pub(super) fn ids(ids: &[ObjectId]) -> Vec<Arg> {
    ids.iter().map(|id| Arg::Int(id.0)).collect()
}
