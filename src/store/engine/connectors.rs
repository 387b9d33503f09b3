//! The connectors that have spaces, and the end of a space.

use super::decode::{self, to_json};
use super::session::{SqlEngine, count};
use crate::identity::{ConnectorName, LeaseEpoch};
use crate::store::statement::{Statement, insert};
use crate::sync::connector::Capabilities;
use crate::sync::store::{KnownConnectors, StoreResult};

#[async_trait::async_trait]
impl KnownConnectors for SqlEngine {
    async fn known_connectors(&self) -> StoreResult<Vec<(ConnectorName, Capabilities)>> {
        let sql = "SELECT connector, capabilities FROM known_connector ORDER BY place";
        let rows = self.rows("reading the known connectors", Statement::new(sql, Vec::new())).await?;
        rows.iter().map(|row| Ok((decode::connector(row)?, decode::json(row, "capabilities")?))).collect()
    }

    async fn put_known_connectors(
        &self,
        epoch: LeaseEpoch,
        connectors: &[(ConnectorName, Capabilities)],
    ) -> StoreResult<()> {
        let mut statements = vec![Statement::new("DELETE FROM known_connector", Vec::new())];
        let mut rows = Vec::new();
        for (place, (connector, capabilities)) in connectors.iter().enumerate() {
            rows.push(vec![connector.as_str().into(), (place as i64).into(), to_json(capabilities)?.into()]);
        }
        statements.extend(insert("known_connector (connector, place, capabilities)", rows, ""));
        self.write(epoch, statements).await.map(drop)
    }

    async fn contributions(&self, connector: &ConnectorName) -> StoreResult<i64> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM space_object WHERE connector = $1 AND mv IS NOT NULL";
        let args = vec![connector.as_str().into()];
        Ok(count(&self.rows("counting contributions", Statement::new(sql, args)).await?))
    }

    async fn forget_watermark(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<()> {
        let sql = "DELETE FROM watermark WHERE connector = $1";
        self.write(epoch, vec![Statement::new(sql, vec![connector.as_str().into()])]).await.map(drop)
    }

    async fn drop_space(&self, epoch: LeaseEpoch, connector: &ConnectorName) -> StoreResult<()> {
        const OWN: &str = "(SELECT id FROM space_object WHERE connector = $1)";
        let own = [
            format!("DELETE FROM space_link WHERE owner IN {OWN}"),
            format!("DELETE FROM space_link WHERE target IN {OWN}"),
            format!("DELETE FROM join_wait WHERE object IN {OWN}"),
            format!("DELETE FROM object_problem WHERE object IN {OWN}"),
            format!("DELETE FROM mv_link WHERE contributor IN {OWN}"),
        ];
        let named = ["pending_export", "space_object", "watermark", "scope_base", "known_connector"];
        let kept_under = [("guard_hold", "target"), ("guard_release", "target"), ("guard_ledger", "target")];
        let name = connector.as_str();
        let mut statements: Vec<Statement> =
            own.into_iter().map(|sql| Statement::new(sql, vec![name.into()])).collect();
        for table in named {
            statements.push(Statement::new(format!("DELETE FROM {table} WHERE connector = $1"), vec![name.into()]));
        }
        for (table, column) in kept_under {
            for kept in [name.to_owned(), format!("import:{name}")] {
                statements.push(Statement::new(format!("DELETE FROM {table} WHERE {column} = $1"), vec![kept.into()]));
            }
        }
        let mark = format!("full-import:{name}");
        statements.push(Statement::new("DELETE FROM engine_mark WHERE name = $1", vec![mark.into()]));
        self.write(epoch, statements).await.map(drop)
    }
}
