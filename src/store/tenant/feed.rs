//! The change feed (design D24): numbers in commit order, and a witness that no other history of the directory has.

use rand::RngExt as _;

use super::super::error::StoreError;
use super::super::statement::Statement;
use super::sql::{Cell, insert};
use crate::identity::Timestamp;
use crate::store::Connection;
use crate::tenant::read_back::ChangeOperation;

/// The right to write the directory, until the transaction ends.
pub(super) struct Feed {
    last: i64,
    now: Timestamp,
    rows: Vec<Vec<Cell>>,
}

pub(super) const fn operation_word(operation: ChangeOperation) -> &'static str {
    match operation {
        ChangeOperation::Add => "add",
        ChangeOperation::Update => "update",
        ChangeOperation::Delete => "delete",
        ChangeOperation::Restore => "restore",
    }
}

impl Feed {
    /// Waits for other writers of the directory and locks the counter. The first statement of every such transaction.
    pub(super) async fn lock(conn: &mut Connection, now: Timestamp) -> Result<Self, StoreError> {
        let sql = "UPDATE counter SET value = value WHERE name = 'change_feed' RETURNING value";
        let rows = conn.rows("locking the change feed", vec![Statement::new(sql, Vec::new())]).await?;
        let last = rows.first().ok_or(StoreError::NotInitialised)?.get("value");
        Ok(Self { last, now, rows: Vec::new() })
    }

    pub(super) fn note(&mut self, kind: &str, id: String, member: Option<String>, operation: ChangeOperation) {
        self.last += 1;
        let operation = operation_word(operation);
        self.rows.push(vec![
            self.last.into(),
            kind.into(),
            id.into(),
            member.into(),
            operation.into(),
            self.now.millis().into(),
        ]);
    }

    /// Writes what was noted.
    pub(super) async fn close(self, conn: &mut Connection) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let witness: i64 = rand::rng().random();
        let rows = self.rows.into_iter().map(|mut row| {
            row.push(witness.into());
            row
        });
        let into = "change_feed (number, kind, id, member, operation, at, witness)";
        insert(conn, into, "", rows.collect(), "writing the change feed").await?;
        let sql = "UPDATE counter SET value = $1 WHERE name = 'change_feed'";
        conn.rows("numbering the change feed", vec![Statement::new(sql, vec![self.last.into()])]).await?;
        Ok(())
    }
}
