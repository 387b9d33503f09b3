//! Alerts, and the marks that bar a stored hash from failover.

use async_trait::async_trait;
use sqlx::Row;

use super::{SignInTables, down};
use crate::alerts::Edge;
use crate::audit::Event;
use crate::identity::{CredentialSource, Timestamp};
use crate::signin::change::AlertEdit;
use crate::signin::store::{Alert, Alerts, CredentialMarks, Marked, RaisedAlert, StoreDown};
use crate::store::{Connection, StoreError, Urgency, notices};

#[async_trait]
impl Alerts for SignInTables {
    async fn raise(&self, alert: Alert, events: Vec<Event>) -> Result<bool, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let new = raise_row(conn, &alert).await?;
                    if new {
                        tell_raised(conn, &alert).await?;
                        for event in events {
                            audit.append(conn, event).await?;
                        }
                    }
                    Ok(new)
                })
            })
            .await
            .map_err(down)
    }

    async fn clear(
        &self,
        name: &'static str,
        subject: String,
        at: Timestamp,
        events: Vec<Event>,
    ) -> Result<bool, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let cleared = clear_row(conn, name, &subject, at).await?;
                    if cleared {
                        tell_cleared(conn, name, &subject, at).await?;
                        for event in events {
                            audit.append(conn, event).await?;
                        }
                    }
                    Ok(cleared)
                })
            })
            .await
            .map_err(down)
    }

    async fn raised(&self) -> Result<Vec<RaisedAlert>, StoreDown> {
        let rows = sqlx::query(
            "SELECT name, subject, detail, raised_at, last_at, occurrences FROM alert WHERE cleared_at IS NULL \
             ORDER BY raised_at, name, subject",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the alerts"))
        .map_err(down)?;
        let alert = |row: &sqlx::any::AnyRow| RaisedAlert {
            name: row.get("name"),
            subject: row.get("subject"),
            detail: row.get("detail"),
            raised_at: Timestamp::from_millis(row.get("raised_at")),
            last_at: Timestamp::from_millis(row.get("last_at")),
            occurrences: row.get("occurrences"),
        };
        Ok(rows.iter().map(alert).collect())
    }
}

/// Makes several edits of alerts about one subject within a transaction, and returns the records of those that changed
/// anything. Rows are taken in the order of their names and the counter of notices after all rows, so that no two
/// transactions wait for each other.
pub(super) async fn edit_in(
    conn: &mut Connection,
    mut edits: Vec<AlertEdit>,
    subject: &str,
    at: Timestamp,
) -> Result<Vec<Event>, StoreError> {
    edits.sort_by_key(|edit| match edit {
        AlertEdit::Raise(alert, _) => alert.name,
        AlertEdit::Clear(name, _) => *name,
    });
    let mut moved = Vec::new();
    for edit in edits {
        let changed = match &edit {
            AlertEdit::Raise(alert, _) => raise_row(conn, alert).await?,
            AlertEdit::Clear(name, _) => clear_row(conn, name, subject, at).await?,
        };
        moved.extend(changed.then_some(edit));
    }
    let mut events = Vec::new();
    for edit in moved {
        events.push(match edit {
            AlertEdit::Raise(alert, event) => {
                tell_raised(conn, &alert).await?;
                event
            }
            AlertEdit::Clear(name, event) => {
                tell_cleared(conn, name, subject, at).await?;
                event
            }
        });
    }
    Ok(events)
}

async fn tell_raised(conn: &mut Connection, alert: &Alert) -> Result<(), StoreError> {
    let about = (alert.name, alert.subject.as_str(), alert.detail.as_str());
    notices::add(conn, about, Edge::Raised, alert.at).await
}

async fn tell_cleared(conn: &mut Connection, name: &str, subject: &str, at: Timestamp) -> Result<(), StoreError> {
    notices::add(conn, (name, subject, "over"), Edge::Cleared, at).await
}

/// Raises an alert; whether it was not raised before.
async fn raise_row(conn: &mut Connection, alert: &Alert) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "INSERT INTO alert (name, subject, detail, raised_at, last_at, occurrences, cleared_at) \
         VALUES ($1, $2, $3, $4, $4, 1, NULL) ON CONFLICT (name, subject) DO UPDATE SET \
         detail = $3, last_at = $4, \
         raised_at = CASE WHEN alert.cleared_at IS NULL THEN alert.raised_at ELSE $4 END, \
         occurrences = CASE WHEN alert.cleared_at IS NULL THEN alert.occurrences + 1 ELSE 1 END, \
         cleared_at = NULL RETURNING occurrences",
    )
    .bind(alert.name)
    .bind(alert.subject.as_str())
    .bind(alert.detail.as_str())
    .bind(alert.at.millis())
    .fetch_one(&mut *conn)
    .await
    .map_err(StoreError::doing("raising an alert"))?;
    Ok(row.get::<i64, _>("occurrences") == 1)
}

/// Clears an alert; whether it was raised.
async fn clear_row(
    conn: &mut Connection,
    name: &'static str,
    subject: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE alert SET cleared_at = $3 WHERE name = $1 AND subject = $2 AND cleared_at IS NULL")
        .bind(name)
        .bind(subject)
        .bind(at.millis())
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("clearing an alert"))?;
    Ok(done.rows_affected() > 0)
}

#[async_trait]
impl CredentialMarks for SignInTables {
    async fn mark(
        &self,
        source: CredentialSource,
        version: i64,
        marked: Marked,
        event: Event,
    ) -> Result<(), StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE credential SET outdated_at = $4, outdated_by = $5 \
                         WHERE connector = $1 AND anchor = $2 AND version = $3 AND outdated_at IS NULL",
                    )
                    .bind(source.connector.as_str())
                    .bind(source.anchor.as_str())
                    .bind(version)
                    .bind(marked.at.millis())
                    .bind(marked.mark.code())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("marking a hash as outdated"))?;
                    if done.rows_affected() > 0 {
                        audit.append(conn, event).await?;
                    }
                    Ok(())
                })
            })
            .await
            .map_err(down)
    }

    async fn ask_anew(&self, source: CredentialSource, at: Timestamp) -> Result<(), StoreDown> {
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO credential_fetch (connector, anchor, reason, queued_at, attempts, next_at) \
                         VALUES ($1, $2, 'old-password-window', $3, 0, $3) ON CONFLICT (connector, anchor) DO NOTHING",
                    )
                    .bind(source.connector.as_str())
                    .bind(source.anchor.as_str())
                    .bind(at.millis())
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("queueing a password read"))?;
                    Ok(())
                })
            })
            .await
            .map_err(down)
    }
}
