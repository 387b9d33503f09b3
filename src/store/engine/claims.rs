//! Who claims what a target holds.

use super::decode::{self, OBJECT};
use super::links::names;
use super::session::SqlEngine;
use crate::identity::{ConnectorName, Timestamp};
use crate::store::statement::Statement;
use crate::sync::space::{ObjectId, SpaceObject};
use crate::sync::store::{Claims, StoreResult};

/// Of the target `$1`.
const UNCLAIMED: &str = "connector = $1 AND mv IS NULL AND kind = 'object' AND anchor IS NOT NULL AND shown IS NOT NULL \
                         AND unconfirmed IS NULL \
                         AND NOT EXISTS (SELECT 1 FROM pending_export e WHERE e.object = space_object.id)";

#[async_trait::async_trait]
impl Claims for SqlEngine {
    async fn unclaimed(&self, target: &ConnectorName, after: ObjectId, limit: usize) -> StoreResult<Vec<SpaceObject>> {
        let sql = format!("SELECT {OBJECT} FROM space_object WHERE {UNCLAIMED} AND id > $2 ORDER BY id LIMIT $3");
        let args = vec![target.as_str().into(), after.0.into(), (limit as i64).into()];
        let rows = self.rows("reading what nobody claims", Statement::new(sql, args)).await?;
        rows.iter().map(decode::object).collect()
    }

    async fn unclaimed_until(&self, target: &ConnectorName, until: Timestamp) -> StoreResult<bool> {
        let sql = format!("SELECT id FROM space_object WHERE {UNCLAIMED} AND found_at > 0 AND found_at <= $2 LIMIT 1");
        let args = vec![target.as_str().into(), until.millis().into()];
        let rows = self.rows("looking for what nobody claims", Statement::new(sql, args)).await?;
        Ok(rows.first().is_some())
    }

    async fn doubtful_claims(&self, sources: &[ConnectorName]) -> StoreResult<i64> {
        let sql = format!(
            "SELECT COUNT(*) AS number FROM space_object o WHERE o.connector IN ({}) AND o.mv IS NULL \
             AND EXISTS (SELECT 1 FROM object_problem p WHERE p.object = o.id)",
            names(sources)
        );
        let rows = self.rows("counting objects that are not projected", Statement::new(sql, Vec::new())).await?;
        Ok(rows.first().map_or(0, |row| row.get("number")))
    }
}
