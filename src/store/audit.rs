//! The audit log on SQL. Appending happens inside the transaction of what is recorded (design D25).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::connection::Connection;
use super::database::Database;
use super::error::StoreError;
use super::writer::Urgency;
use crate::audit::{Actor, AuditNumber, ChainBreak, Event, Link, Record, RecordHash};
use crate::identity::{Clock, NodeId, Timestamp};

/// The audit log of one node. Cheap to clone, so that every store can append within its own transactions.
#[derive(Clone, Debug)]
pub struct AuditLog {
    db: Database,
    node: NodeId,
    clock: Arc<dyn Clock>,
}

/// What the `record` column holds.
#[derive(Serialize, Deserialize)]
struct Body {
    actor: Actor,
    subject: Option<String>,
    reason: Option<String>,
    detail: serde_json::Map<String, serde_json::Value>,
}

impl AuditLog {
    pub fn new(db: Database, node: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self { db, node, clock }
    }

    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// Appends within the transaction of `conn`. The number is final once that commits.
    pub async fn append(&self, conn: &mut Connection, event: Event) -> Result<AuditNumber, StoreError> {
        let node = self.node.as_str();
        let head = sqlx::query(
            "INSERT INTO audit_head (node, number, hash) VALUES ($1, 1, $2) \
             ON CONFLICT (node) DO UPDATE SET number = audit_head.number + 1 RETURNING number, hash",
        )
        .bind(node)
        .bind(RecordHash::origin().as_str())
        .fetch_one(&mut *conn)
        .await
        .map_err(StoreError::doing("numbering an audit record"))?;
        let number: i64 = head.get("number");
        let previous = RecordHash::from_stored(head.get("hash"));
        let body = Body { actor: event.actor, subject: event.subject, reason: event.reason, detail: event.detail };
        let record = serde_json::to_string(&body).map_err(|e| unreadable("record", e))?;
        let at = self.clock.now().millis();
        let (kind, outcome) = (event.kind.code(), event.outcome.code());
        let hash = Link { node, number, at, kind, outcome, record: &record }.hash(&previous);
        sqlx::query(
            "INSERT INTO audit (node, number, at, kind, outcome, record, previous_hash, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(node)
        .bind(number)
        .bind(at)
        .bind(kind)
        .bind(outcome)
        .bind(record)
        .bind(previous.as_str())
        .bind(hash.as_str())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("writing an audit record"))?;
        sqlx::query("UPDATE audit_head SET hash = $2 WHERE node = $1")
            .bind(node)
            .bind(hash.as_str())
            .execute(conn)
            .await
            .map_err(StoreError::doing("sealing an audit record"))?;
        Ok(AuditNumber { node: self.node.clone(), number })
    }

    /// Appends in a transaction of its own, for what has no other write.
    pub async fn record(&self, event: Event) -> Result<AuditNumber, StoreError> {
        let log = self.clone();
        self.db.write(Urgency::Waited, move |conn| Box::pin(async move { log.append(conn, event).await })).await
    }

    /// The newest `limit` records of all nodes, oldest first; with `after`, those of one node that follow a number.
    pub async fn tail(&self, after: Option<&AuditNumber>, limit: i64) -> Result<Vec<Record>, StoreError> {
        const COLUMNS: &str = "node, number, at, kind, outcome, record";
        let (sql, newest_first) = match after {
            None => (format!("SELECT {COLUMNS} FROM audit ORDER BY at DESC, number DESC LIMIT $1"), true),
            Some(_) => {
                (format!("SELECT {COLUMNS} FROM audit WHERE node = $2 AND number > $3 ORDER BY number LIMIT $1"), false)
            }
        };
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(limit);
        if let Some(after) = after {
            query = query.bind(after.node.as_str().to_owned()).bind(after.number);
        }
        let rows = query.fetch_all(self.db.read()).await.map_err(StoreError::doing("reading the audit log"))?;
        let mut records = rows.iter().map(read_record).collect::<Result<Vec<_>, _>>()?;
        if newest_first {
            records.reverse();
        }
        Ok(records)
    }

    /// Walks the chain of every node and names each place where it does not hold. Returns how many records were read.
    pub async fn verify(&self) -> Result<(u64, Vec<ChainBreak>), StoreError> {
        const PAGE: i64 = 1000;
        let doing = || StoreError::doing("verifying the audit log");
        let heads = sqlx::query("SELECT node, number, hash FROM audit_head ORDER BY node")
            .fetch_all(self.db.read())
            .await
            .map_err(doing())?;
        let headless = sqlx::query(
            "SELECT DISTINCT node FROM audit WHERE node NOT IN (SELECT node FROM audit_head) ORDER BY node",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(doing())?;
        let (mut read, mut breaks) = (0, Vec::new());
        breaks.extend(headless.iter().map(|row| ChainBreak::HeadMissing { node: row.get("node") }));
        for head in heads {
            let node: String = head.get("node");
            let expected: i64 = head.get("number");
            let (mut last, mut previous) = (None::<i64>, RecordHash::origin());
            loop {
                let rows = sqlx::query(
                    "SELECT number, at, kind, outcome, record, previous_hash, hash FROM audit \
                     WHERE node = $1 AND number > $2 AND number <= $3 ORDER BY number LIMIT $4",
                )
                .bind(node.clone())
                .bind(last.unwrap_or(0))
                .bind(expected)
                .bind(PAGE)
                .fetch_all(self.db.read())
                .await
                .map_err(doing())?;
                if rows.is_empty() {
                    break;
                }
                for row in rows {
                    read += 1;
                    let number: i64 = row.get("number");
                    let (stored, before): (String, String) = (row.get("hash"), row.get("previous_hash"));
                    // Nothing drops records, so the chain of a node begins with number 1.
                    let next = last.unwrap_or(0) + 1;
                    if next != number {
                        breaks.push(ChainBreak::Missing { node: node.clone(), number: next });
                        previous = RecordHash::from_stored(before.clone());
                    }
                    let (kind, outcome, record): (String, String, String) =
                        (row.get("kind"), row.get("outcome"), row.get("record"));
                    let link = Link {
                        node: &node,
                        number,
                        at: row.get("at"),
                        kind: &kind,
                        outcome: &outcome,
                        record: &record,
                    };
                    let hash = link.hash(&previous);
                    if hash.as_str() != stored || previous.as_str() != before {
                        breaks.push(ChainBreak::Changed { node: node.clone(), number });
                    }
                    previous = RecordHash::from_stored(stored);
                    last = Some(number);
                }
            }
            let sealed: String = head.get("hash");
            match last {
                Some(found) if found < expected => {
                    breaks.push(ChainBreak::Truncated { node: node.clone(), expected, found });
                }
                None => breaks.push(ChainBreak::Truncated { node: node.clone(), expected, found: 0 }),
                Some(number) if previous.as_str() != sealed => {
                    breaks.push(ChainBreak::Changed { node: node.clone(), number });
                }
                Some(_) => {}
            }
        }
        Ok((read, breaks))
    }
}

fn read_record(row: &sqlx::any::AnyRow) -> Result<Record, StoreError> {
    let body: Body = serde_json::from_str(row.get("record")).map_err(|e| unreadable("record", e))?;
    let node: String = row.get("node");
    Ok(Record {
        number: AuditNumber { node: node.parse().map_err(|e| unreadable("node", e))?, number: row.get("number") },
        at: Timestamp::from_millis(row.get("at")),
        kind: row.get("kind"),
        outcome: row.get("outcome"),
        actor: body.actor,
        subject: body.subject,
        reason: body.reason,
        detail: body.detail,
    })
}

fn unreadable(column: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { table: "audit", column, reason: reason.to_string() }
}
