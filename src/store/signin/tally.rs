//! How tries at passwords ended, minute by minute, added up by each node in rows of its own.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::Row;

use super::{SignInTables, down, unreadable};
use crate::identity::{AuthenticationMethod, DomainName, Timestamp};
use crate::signin::store::StoreDown;
use crate::signin::tally::{Count, Minute, NodePace, Peak, Tallies, minute_of};
use crate::store::{StoreError, Urgency};

#[async_trait]
impl Tallies for SignInTables {
    async fn add(&self, counts: HashMap<Minute, Count>, pace: Option<u64>, at: Timestamp) -> Result<(), StoreDown> {
        let node = self.audit.node().to_string();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    for (key, count) in counts {
                        sqlx::query(
                            "INSERT INTO sign_in_minute (node, domain, method, minute, admitted, refused, unknown) \
                             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (node, domain, method, minute) DO UPDATE \
                             SET admitted = sign_in_minute.admitted + excluded.admitted, \
                             refused = sign_in_minute.refused + excluded.refused, \
                             unknown = sign_in_minute.unknown + excluded.unknown",
                        )
                        .bind(node.clone())
                        .bind(key.domain.to_string())
                        .bind(key.method.as_str())
                        .bind(key.minute)
                        .bind(signed(count.admitted))
                        .bind(signed(count.refused))
                        .bind(signed(count.unknown))
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("adding up tries"))?;
                    }
                    if let Some(pace) = pace {
                        sqlx::query(
                            "INSERT INTO node_pace (node, checks_a_minute, seen_at) VALUES ($1, $2, $3) \
                             ON CONFLICT (node) DO UPDATE SET checks_a_minute = excluded.checks_a_minute, \
                             seen_at = excluded.seen_at",
                        )
                        .bind(node)
                        .bind(signed(pace))
                        .bind(at.millis())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("telling how fast the node is"))?;
                    }
                    Ok(())
                })
            })
            .await
            .map_err(down)
    }

    async fn counted(
        &self,
        domain: &DomainName,
        method: AuthenticationMethod,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Count, StoreDown> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(admitted), 0) AS BIGINT) AS admitted, \
             CAST(COALESCE(SUM(refused), 0) AS BIGINT) AS refused, \
             CAST(COALESCE(SUM(unknown), 0) AS BIGINT) AS unknown \
             FROM sign_in_minute WHERE domain = $1 AND method = $2 AND minute >= $3 AND minute <= $4",
        )
        .bind(domain.to_string())
        .bind(method.as_str())
        .bind(minute_of(from))
        .bind(minute_of(until))
        .fetch_one(self.db.read())
        .await
        .map_err(StoreError::doing("reading how tries ended"))
        .map_err(down)?;
        let number = |column: &str| u64::try_from(row.get::<i64, _>(column)).unwrap_or(0);
        Ok(Count { admitted: number("admitted"), refused: number("refused"), unknown: number("unknown") })
    }

    async fn peak(&self, domain: Option<&DomainName>, since: Timestamp) -> Result<Option<Peak>, StoreDown> {
        let row = sqlx::query(
            "SELECT minute, CAST(SUM(admitted + refused + unknown) AS BIGINT) AS tries FROM sign_in_minute \
             WHERE minute >= $1 AND ($2 = '' OR domain = $2) GROUP BY minute ORDER BY tries DESC, minute DESC LIMIT 1",
        )
        .bind(minute_of(since))
        .bind(domain.map(ToString::to_string).unwrap_or_default())
        .fetch_optional(self.db.read())
        .await
        .map_err(StoreError::doing("reading the busiest minute"))
        .map_err(down)?;
        Ok(row.map(|row| Peak {
            minute_began: Timestamp::from_secs(row.get::<i64, _>("minute").saturating_mul(60)),
            tries: u64::try_from(row.get::<i64, _>("tries")).unwrap_or(0),
        }))
    }

    async fn nodes(&self, since: Timestamp) -> Result<Vec<NodePace>, StoreDown> {
        let rows =
            sqlx::query("SELECT node, checks_a_minute, seen_at FROM node_pace WHERE seen_at >= $1 ORDER BY node")
                .bind(since.millis())
                .fetch_all(self.db.read())
                .await
                .map_err(StoreError::doing("reading how fast the nodes are"))
                .map_err(down)?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(NodePace {
                node: row.get::<String, _>("node").parse().map_err(|e| unreadable("node_pace", "node", e))?,
                checks_a_minute: u64::try_from(row.get::<i64, _>("checks_a_minute")).unwrap_or(0),
                seen_at: Timestamp::from_millis(row.get("seen_at")),
            })
        };
        rows.iter().map(read).collect::<Result<_, StoreError>>().map_err(down)
    }

    async fn forget(&self, before: Timestamp) -> Result<(), StoreDown> {
        let minute = minute_of(before);
        self.db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM sign_in_minute WHERE minute < $1")
                        .bind(minute)
                        .execute(conn)
                        .await
                        .map_err(StoreError::doing("forgetting how tries ended"))?;
                    Ok(())
                })
            })
            .await
            .map_err(down)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
