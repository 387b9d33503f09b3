//! The guard's memory: what counts, what is held, what was released.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{self, EXPORT, to_json};
use super::exports::LEFT_ALONE;
use super::session::{SqlEngine, count};
use crate::identity::LeaseEpoch;
use crate::identity::{ConnectorName, Timestamp};
use crate::store::rows::Row;
use crate::store::statement::{Statement, in_rows, insert};
use crate::sync::guard::{GuardItem, Hold, Tally, kind, kinds_of};
use crate::sync::space::ExportKind;
use crate::sync::store::{Holds, StoreResult};

#[async_trait::async_trait]
impl Holds for SqlEngine {
    async fn tally(&self, connector: &ConnectorName, since: Timestamp) -> StoreResult<Tally> {
        let mut tally = Tally::default();
        let one = || vec![connector.as_str().into()];
        // Only these can destroy something; the test on the text spares reading the others.
        let columns = EXPORT.split(", ").map(|c| format!("p.{c}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {columns}, o.object_type, o.anchor, o.match_key, o.shown, o.unconfirmed FROM pending_export p \
             JOIN space_object o ON o.id = p.object WHERE p.connector = $1 AND (p.kind = 'delete' OR \
             (p.kind = 'update' AND (p.changes LIKE '%[]%' OR LOWER(p.changes) LIKE '%\"accountenabled\"%' \
             OR LOWER(p.changes) LIKE '%\"credential%')))"
        );
        for row in self.rows("counting pending exports", Statement::new(sql, one())).await?.iter() {
            let export = decode::export(row)?;
            let object_type: String = row.get("object_type");
            let item = item_name(row.get("match_key"), row.get("anchor"));
            let held = match export.kind {
                ExportKind::Update => decode::held(row)?,
                ExportKind::Add | ExportKind::Delete => None,
            };
            for kind in kinds_of(&export, &object_type, held.as_ref()) {
                tally.items.insert(GuardItem { kind, item: item.clone() });
            }
        }
        self.count_memberships(connector, &mut tally).await?;
        let sql = "SELECT kind, CAST(SUM(count) AS BIGINT) AS n FROM guard_ledger \
                   WHERE target = $1 AND at > $2 AND released = 0 GROUP BY kind";
        let args = vec![connector.as_str().into(), since.millis().into()];
        for row in self.rows("reading the guard's ledger", Statement::new(sql, args)).await?.iter() {
            tally.exported.insert(row.get("kind"), row.get("n"));
        }
        Ok(tally)
    }

    async fn populations(&self, connector: &ConnectorName, of: &BTreeSet<&str>) -> StoreResult<BTreeMap<String, i64>> {
        let mut populations = BTreeMap::new();
        for of in of {
            match of.split_once(':') {
                Some(("emptied", attribute)) => {
                    populations.insert((*of).to_owned(), self.holders(connector, attribute).await?);
                }
                // Counted with the tally.
                Some(_) => {}
                None if *of == kind::MEMBERSHIPS => {
                    populations.insert((*of).to_owned(), self.memberships(connector).await?);
                }
                None if populations.contains_key(*of) => {}
                None => populations.extend(self.objects_by_type(connector).await?),
            }
        }
        Ok(populations)
    }

    async fn holds(&self) -> StoreResult<Vec<Hold>> {
        let sql = "SELECT hold FROM guard_hold ORDER BY target, kind";
        let rows = self.rows("reading holds", Statement::new(sql, Vec::new())).await?;
        rows.iter().map(|row| decode::json(row, "hold")).collect()
    }

    async fn put_holds(&self, epoch: LeaseEpoch, target: &str, holds: Vec<Hold>) -> StoreResult<()> {
        let mut statements = vec![Statement::new("DELETE FROM guard_hold WHERE target = $1", vec![target.into()])];
        let mut rows = Vec::new();
        for hold in &holds {
            let since = hold.since.millis().into();
            rows.push(vec![hold.target.as_str().into(), hold.kind.as_str().into(), to_json(hold)?.into(), since]);
        }
        statements.extend(insert("guard_hold (target, kind, hold, since)", rows, ""));
        self.write(epoch, statements).await.map(drop)
    }

    async fn release(
        &self,
        epoch: LeaseEpoch,
        target: &str,
        items: Vec<GuardItem>,
        by: &str,
        at: Timestamp,
    ) -> StoreResult<()> {
        let rows = items
            .into_iter()
            .map(|item| vec![target.into(), item.kind.into(), item.item.into(), by.into(), at.millis().into()])
            .collect();
        let keep =
            "ON CONFLICT (target, kind, item) DO UPDATE SET released_by = excluded.released_by, at = excluded.at";
        self.write(epoch, insert("guard_release (target, kind, item, released_by, at)", rows, keep)).await.map(drop)
    }

    async fn released(&self, target: &str) -> StoreResult<BTreeMap<GuardItem, Timestamp>> {
        let sql = "SELECT kind, item, at FROM guard_release WHERE target = $1";
        let rows = self.rows("reading releases", Statement::new(sql, vec![target.into()])).await?;
        let item = |row: Row<'_>| GuardItem { kind: row.get("kind"), item: row.get("item") };
        Ok(rows.iter().map(|row| (item(row), Timestamp::from_millis(row.get("at")))).collect())
    }

    async fn consume_release(&self, epoch: LeaseEpoch, target: &str, items: &[GuardItem]) -> StoreResult<()> {
        let rows = items.iter().map(|item| vec![item.kind.as_str().into(), item.item.as_str().into()]).collect();
        let sql = "DELETE FROM guard_release WHERE target = $1 AND (kind, item) IN ({})";
        self.write(epoch, in_rows(sql, &[target.into()], rows)).await.map(drop)
    }
}

impl SqlEngine {
    async fn objects_by_type(&self, connector: &ConnectorName) -> StoreResult<Vec<(String, i64)>> {
        let sql = "SELECT object_type, CAST(COUNT(*) AS BIGINT) AS n FROM space_object \
                   WHERE connector = $1 AND shown IS NOT NULL GROUP BY object_type";
        let args = vec![connector.as_str().into()];
        let rows = self.rows("counting a target space", Statement::new(sql, args)).await?;
        Ok(rows.iter().map(|row| (row.get("object_type"), row.get("n"))).collect())
    }

    async fn holders(&self, connector: &ConnectorName, attribute: &str) -> StoreResult<i64> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM space_object WHERE connector = $1 AND LOWER(shown) LIKE $2";
        let named = format!("%\"{}\":[%", attribute.to_ascii_lowercase());
        let args = vec![connector.as_str().into(), named.into()];
        Ok(count(&self.rows("counting holders", Statement::new(sql, args)).await?))
    }

    async fn memberships(&self, connector: &ConnectorName) -> StoreResult<i64> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM space_link l JOIN space_object o ON o.id = l.owner \
                   WHERE l.state <> 'staged-add' AND o.connector = $1";
        Ok(count(&self.rows("counting links", Statement::new(sql, vec![connector.as_str().into()])).await?))
    }

    /// Memberships that would end, and how many their groups have.
    async fn count_memberships(&self, connector: &ConnectorName, tally: &mut Tally) -> StoreResult<()> {
        let mut groups: BTreeMap<i64, String> = BTreeMap::new();
        let ending = Statement::new(ending_memberships(), vec![connector.as_str().into()]);
        for row in self.rows("counting staged links", ending).await?.iter() {
            let group = item_name(row.get("owner_key"), row.get("owner_anchor"));
            let member = item_name(row.get("target_key"), row.get("target_anchor"));
            let item = format!("{group} > {member}");
            tally.items.insert(GuardItem { kind: kind::MEMBERSHIPS.to_owned(), item: item.clone() });
            tally.items.insert(GuardItem { kind: kind::members_of(&group), item });
            groups.insert(row.get("owner"), group);
        }
        if groups.is_empty() {
            return Ok(());
        }
        let sql = "SELECT owner, CAST(COUNT(*) AS BIGINT) AS n FROM space_link \
                   WHERE state <> 'staged-add' AND owner IN ({}) GROUP BY owner";
        let owners = groups.keys().map(|id| (*id).into()).collect();
        for row in self.all_rows("counting members", crate::store::statement::in_list(sql, &[], owners)).await?.iter() {
            if let Some(group) = groups.get(&row.get::<i64, _>("owner")) {
                tally.population.insert(kind::members_of(group), row.get("n"));
            }
        }
        Ok(())
    }
}

/// Of target `$1`. From the index over staged links: SQLite takes the tables of a CROSS JOIN in their order.
pub(super) fn ending_memberships() -> String {
    format!(
        "SELECT l.owner, o.match_key AS owner_key, o.anchor AS owner_anchor, t.match_key AS target_key, \
         t.anchor AS target_anchor FROM space_link l CROSS JOIN space_object o CROSS JOIN space_object t \
         WHERE o.id = l.owner AND t.id = l.target AND l.state IN ('staged-add', 'staged-delete') \
         AND l.state = 'staged-delete' AND o.connector = $1 AND l.owner NOT IN ({LEFT_ALONE})"
    )
}

/// The name of a target object that survives a rebuild of the engine: its join value, or else its anchor.
pub(super) fn item_name(match_key: Option<String>, anchor: Option<String>) -> String {
    match_key.and_then(|key| key.rsplit(['\u{1e}', '\u{1d}']).next().map(str::to_owned)).or(anchor).unwrap_or_default()
}
