//! Read sets of the link passes and their commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::decode::{self, folded, link_key};
use super::session::SqlEngine;
use super::synchronisation::mv_ids;
use crate::identity::ConnectorName;
use crate::identity::LeaseEpoch;
use crate::store::rows::Row;
use crate::store::statement::{RowArgs, Statement, in_list, in_rows, insert};
use crate::sync::attribute::Attribute;
use crate::sync::change_set::{LinkBatch, MvPair};
use crate::sync::metaverse::{MvId, MvLink};
use crate::sync::space::{LinkKey, LinkState, ObjectId};
use crate::sync::store::{Links, StoreResult};
use crate::sync::synchronise::{DueLink, FlowInUse, TargetEnds};

#[async_trait::async_trait]
impl Links for SqlEngine {
    async fn compare_links(&self, epoch: LeaseEpoch, targets: &[ConnectorName]) -> StoreResult<()> {
        let of_target = format!("owner IN (SELECT id FROM space_object WHERE connector IN ({}))", names(targets));
        let sources = format!(
            "UPDATE space_link SET due = 1 WHERE due = 0 AND NOT ({of_target}) AND NOT EXISTS \
             (SELECT 1 FROM mv_link m WHERE m.contributor = space_link.owner \
             AND m.source_attribute = space_link.attribute AND m.source_target = space_link.target)"
        );
        // A pair without a link between its target objects, and a link without a pair. SQLite takes the tables of a
        // CROSS JOIN in the order in which they stand.
        let pairs = format!(
            "UPDATE mv_link SET due = 1 WHERE due = 0 AND NOT EXISTS \
             (SELECT 1 FROM space_object o CROSS JOIN space_object t CROSS JOIN space_link l \
             WHERE o.mv = mv_link.owner AND o.connector IN ({0}) AND t.mv = mv_link.target AND t.connector = o.connector \
             AND l.owner = o.id AND l.target = t.id)",
            names(targets)
        );
        let links = format!(
            "UPDATE space_link SET due = 1 WHERE due = 0 AND {of_target} AND NOT EXISTS \
             (SELECT 1 FROM space_object o JOIN mv_link m ON m.owner = o.mv JOIN space_object t ON t.mv = m.target \
             WHERE o.id = space_link.owner AND t.id = space_link.target)"
        );
        // By the index over `mv`, which tells the id: the plus keeps the rows, with all that they show, unread.
        let stale = "UPDATE space_link SET due = 1 WHERE due = 0 AND EXISTS (SELECT 1 FROM mv_link m \
                     WHERE m.contributor = space_link.owner AND m.source_attribute = space_link.attribute \
                     AND m.source_target = space_link.target AND (NOT EXISTS (SELECT 1 FROM space_object o \
                     WHERE +o.id = space_link.owner AND o.mv = m.owner) OR NOT EXISTS (SELECT 1 FROM space_object t \
                     WHERE +t.id = space_link.target AND t.mv = m.target)))";
        let statements = [sources, pairs, links, stale.to_owned()];
        self.write(epoch, statements.into_iter().map(|sql| Statement::new(sql, Vec::new())).collect()).await.map(drop)
    }

    async fn flows_in_use(&self, targets: &[ConnectorName]) -> StoreResult<Vec<FlowInUse>> {
        let sql = format!(
            "SELECT DISTINCT o.applied, m.source_attribute AS attribute, m.attribute AS flowed_to \
             FROM mv_link m JOIN space_object o ON o.id = m.contributor WHERE m.gone = 0 \
             UNION ALL SELECT DISTINCT o.applied, l.attribute, NULL \
             FROM space_link l JOIN space_object o ON o.id = l.owner \
             WHERE l.state IN ('confirmed', 'staged-add', 'sent-add') AND o.connector IN ({})",
            names(targets)
        );
        let rows = self.rows("reading the flows of links", Statement::new(sql, Vec::new())).await?;
        let mut applied = Applied::default();
        rows.iter()
            .map(|row| {
                Ok(FlowInUse {
                    applied: applied.read(row, "applied")?,
                    attribute: Attribute::new(row.get::<String, _>("attribute")),
                    flowed_to: row.get::<Option<String>, _>("flowed_to").map(Attribute::new),
                })
            })
            .collect()
    }

    async fn end_flows(&self, epoch: LeaseEpoch, targets: &[ConnectorName], ended: &[FlowInUse]) -> StoreResult<()> {
        let inbound = "UPDATE space_link SET due = 1 WHERE due = 0 AND attribute = $1 \
                       AND owner IN (SELECT id FROM space_object WHERE applied = $2)";
        // A target's attribute that nothing flows to had the name of the metaverse attribute.
        let outbound = format!(
            "UPDATE mv_link SET due = 1 WHERE due = 0 AND attribute = $1 \
             AND owner IN (SELECT mv FROM space_object WHERE applied = $2 AND connector IN ({}))",
            names(targets)
        );
        let mut statements = Vec::new();
        for flow in ended {
            let sql = if flow.flowed_to.is_some() { inbound } else { outbound.as_str() };
            let args = vec![folded(&flow.attribute).into(), decode::to_json(&*flow.applied)?.into()];
            statements.push(Statement::new(sql, args));
        }
        if statements.is_empty() {
            return Ok(());
        }
        self.write(epoch, statements).await.map(drop)
    }

    async fn due_links(
        &self,
        targets: &[ConnectorName],
        after: Option<&LinkKey>,
        limit: usize,
    ) -> StoreResult<Vec<DueLink>> {
        let mut args = vec![(limit as i64).into()];
        let mut behind = "";
        if let Some(after) = after {
            args.extend(key_row(after));
            behind = "AND (l.owner, l.attribute, l.target) > ($2, $3, $4)";
        }
        let sql = format!(
            "SELECT l.owner, l.attribute, l.target, l.state, o.mv AS owner_mv, o.applied AS owner_applied, \
             t.mv AS target_mv FROM space_link l JOIN space_object o ON o.id = l.owner \
             LEFT JOIN space_object t ON t.id = l.target WHERE l.due = 1 AND o.connector NOT IN ({}) {behind} \
             ORDER BY l.owner, l.attribute, l.target LIMIT $1",
            names(targets)
        );
        let rows = self.rows("reading due links", Statement::new(sql, args)).await?;
        let mut applied = Applied::default();
        rows.iter()
            .map(|row| {
                Ok(DueLink {
                    link: decode::link(row)?,
                    owner_mv: row.get::<Option<i64>, _>("owner_mv").map(MvId),
                    owner_applied: applied.read(row, "owner_applied")?,
                    target_mv: row.get::<Option<i64>, _>("target_mv").map(MvId),
                })
            })
            .collect()
    }

    async fn mv_links_from(&self, links: &[LinkKey]) -> StoreResult<Vec<MvLink>> {
        let sql = "SELECT contributor, source_attribute, source_target, owner, attribute, target FROM mv_link \
                   WHERE gone = 0 AND (contributor, source_attribute, source_target) IN ({})";
        let rows =
            self.all_rows("reading metaverse links", in_rows(sql, &[], links.iter().map(key_row).collect())).await?;
        Ok(rows.iter().map(decode::mv_link).collect())
    }

    async fn due_pairs(&self, limit: usize) -> StoreResult<BTreeSet<MvPair>> {
        let sql =
            "SELECT owner, attribute, target FROM mv_link WHERE due = 1 ORDER BY owner, attribute, target LIMIT $1";
        let rows = self.rows("reading due metaverse links", Statement::new(sql, vec![(limit as i64).into()])).await?;
        Ok(rows.iter().map(pair).collect())
    }

    async fn due_target_links(
        &self,
        targets: &[ConnectorName],
        limit: usize,
    ) -> StoreResult<Vec<(LinkKey, Option<MvId>, Option<MvId>)>> {
        let sql = format!(
            "SELECT l.owner, l.attribute, l.target, o.mv AS owner_mv, t.mv AS target_mv FROM space_link l \
             CROSS JOIN space_object o LEFT JOIN space_object t ON t.id = l.target \
             WHERE o.id = l.owner AND l.due = 1 AND o.connector IN ({}) ORDER BY l.owner, l.attribute, l.target LIMIT $1",
            names(targets)
        );
        let rows = self.rows("reading due links", Statement::new(sql, vec![(limit as i64).into()])).await?;
        let mv = |row: Row<'_>, column| row.get::<Option<i64>, _>(column).map(MvId);
        Ok(rows.iter().map(|row| (link_key(row), mv(row, "owner_mv"), mv(row, "target_mv"))).collect())
    }

    async fn alive_pairs(&self, pairs: &BTreeSet<MvPair>) -> StoreResult<BTreeSet<MvPair>> {
        let sql = "SELECT owner, attribute, target FROM mv_link WHERE gone = 0 \
                   AND (owner, attribute, target) IN ({})";
        let alive =
            self.all_rows("reading metaverse links", in_rows(sql, &[], pairs.iter().map(pair_row).collect())).await?;
        Ok(alive.iter().map(pair).collect())
    }

    async fn target_ends(&self, targets: &[ConnectorName], mvs: &[MvId]) -> StoreResult<TargetEnds> {
        let sql = "SELECT id, connector, mv, applied FROM space_object WHERE mv IN ({})";
        let (mut ends, mut applied) = (TargetEnds::default(), Applied::default());
        for row in self.all_rows("reading target objects", in_list(sql, &[], mv_ids(mvs))).await?.iter() {
            let connector: &str = row.get("connector");
            if let Some(connector) = targets.iter().find(|name| name.as_str() == connector) {
                let end = (ObjectId(row.get("id")), applied.read(row, "applied")?);
                ends.entry(connector.clone()).or_default().insert(MvId(row.get("mv")), end);
            }
        }
        Ok(ends)
    }

    async fn commit_links(&self, epoch: LeaseEpoch, batch: LinkBatch) -> StoreResult<()> {
        self.write(epoch, link_statements(&batch)).await.map(drop)
    }
}

pub(super) fn link_statements(batch: &LinkBatch) -> Vec<Statement> {
    let keys = |keys: &[LinkKey]| keys.iter().map(key_row).collect::<Vec<RowArgs>>();
    let mut statements = Vec::new();
    statements.extend(in_rows(
        "UPDATE space_link SET due = 0 WHERE (owner, attribute, target) IN ({})",
        &[],
        keys(&batch.evaluated),
    ));
    statements.extend(in_rows(
        "DELETE FROM space_link WHERE (owner, attribute, target) IN ({})",
        &[],
        keys(&batch.forgotten),
    ));
    statements.extend(in_rows(
        "UPDATE mv_link SET gone = 1, due = 1 \
         WHERE (contributor, source_attribute, source_target, owner, target) IN ({})",
        &[],
        batch.mv_gone.iter().map(mv_row_key).collect(),
    ));
    let rows = batch.mv_added.iter().map(|link| {
        let mut row = mv_row_key(link);
        row.extend([folded(&link.attribute).into(), 0.into(), 0.into()]);
        row
    });
    statements.extend(insert(
        "mv_link (contributor, source_attribute, source_target, owner, target, attribute, due, gone)",
        rows.collect(),
        "ON CONFLICT (contributor, source_attribute, source_target, owner, target) DO UPDATE SET \
         attribute = excluded.attribute, due = 0, gone = 0",
    ));
    // Two metaverse attributes may flow to one of the target's: one statement must not write its link twice.
    let written: BTreeMap<&LinkKey, LinkState> =
        batch.target_written.iter().map(|link| (&link.key, link.state)).collect();
    let rows = written.into_iter().map(|(key, state)| {
        let mut row = key_row(key);
        row.extend([state.code().into(), 0.into()]);
        row
    });
    statements.extend(insert(
        "space_link (owner, attribute, target, state, due)",
        rows.collect(),
        "ON CONFLICT (owner, attribute, target) DO UPDATE SET state = excluded.state, due = 0",
    ));
    statements.extend(in_rows(
        "DELETE FROM space_link WHERE (owner, attribute, target) IN ({})",
        &[],
        keys(&batch.target_removed),
    ));
    statements.extend(in_rows(
        "UPDATE space_link SET due = 0 WHERE (owner, attribute, target) IN ({})",
        &[],
        keys(&batch.target_evaluated),
    ));
    let pairs: Vec<RowArgs> = batch.pairs.iter().map(pair_row).collect();
    statements.extend(in_rows(
        "DELETE FROM mv_link WHERE gone = 1 AND (owner, attribute, target) IN ({})",
        &[],
        pairs.clone(),
    ));
    statements.extend(in_rows("UPDATE mv_link SET due = 0 WHERE (owner, attribute, target) IN ({})", &[], pairs));
    statements
}

/// The sets of applied rules of an answer: few different ones on many rows.
#[derive(Default)]
pub(super) struct Applied(HashMap<String, Arc<BTreeSet<String>>>);

impl Applied {
    pub(super) fn read(&mut self, row: Row<'_>, column: &'static str) -> StoreResult<Arc<BTreeSet<String>>> {
        let text: &str = row.get(column);
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let applied: Arc<BTreeSet<String>> = Arc::new(decode::json(row, column)?);
        self.0.insert(text.to_owned(), applied.clone());
        Ok(applied)
    }
}

pub(super) fn key_row(key: &LinkKey) -> RowArgs {
    vec![key.owner.0.into(), folded(&key.attribute).into(), key.target.0.into()]
}

fn pair_row(pair: &MvPair) -> RowArgs {
    vec![pair.owner.0.into(), folded(&pair.attribute).into(), pair.target.0.into()]
}

fn mv_row_key(link: &MvLink) -> RowArgs {
    vec![
        link.contributor.0.into(),
        folded(&link.source_attribute).into(),
        link.source_target.0.into(),
        link.owner.0.into(),
        link.target.0.into(),
    ]
}

pub(super) fn pair(row: Row<'_>) -> MvPair {
    MvPair {
        owner: MvId(row.get("owner")),
        attribute: Attribute::new(row.get::<String, _>("attribute")),
        target: MvId(row.get("target")),
    }
}

/// Connector names as SQL literals: their alphabet is letters, digits and `-_.` (`ConnectorName`).
pub(super) fn names(connectors: &[ConnectorName]) -> String {
    if connectors.is_empty() {
        return "''".to_owned();
    }
    connectors.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
