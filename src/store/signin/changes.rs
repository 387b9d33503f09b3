//! Changes of methods: each step is one transaction over the version that the change had.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::alerts::edit_in;
use super::cut::{cut_in, told};
use super::rollouts::{Claim, claim, write};
use super::{SignInTenant, down, unreadable};
use crate::identity::{ChangeId, DomainName};
use crate::signin::change::{ChangeStep, MethodChange, MethodChanges, RolloutEdit, Stepped};
use crate::signin::store::{CutOff, StoreDown};
use crate::store::tenant::{DomainError, change_in};
use crate::store::{Connection, StoreError, Urgency};

const TABLE: &str = "method_change";

/// Why a step was not taken; the transaction rolls back.
enum NotTaken {
    Left,
    Outdated,
    Refused(String),
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DomainError> for NotTaken {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Store(error) => Self::Store(error),
            DomainError::Changed { .. } => Self::Outdated,
            refused => Self::Refused(refused.to_string()),
        }
    }
}

#[async_trait]
impl MethodChanges for SignInTenant {
    async fn change_by_id(&self, id: ChangeId) -> Result<Option<MethodChange>, StoreDown> {
        let row = sqlx::query("SELECT body, version FROM method_change WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading a change of method"))
            .map_err(down)?;
        row.as_ref().map(read).transpose().map_err(down)
    }

    async fn changes(&self, domain: Option<&DomainName>, limit: u32) -> Result<Vec<MethodChange>, StoreDown> {
        let rows = sqlx::query(
            "SELECT body, version FROM method_change WHERE $1 = '' OR domain = $1 ORDER BY asked_at DESC, id LIMIT $2",
        )
        .bind(domain.map(ToString::to_string).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the changes of methods"))
        .map_err(down)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(down)
    }

    async fn open_changes(&self) -> Result<Vec<MethodChange>, StoreDown> {
        let rows = sqlx::query(
            "SELECT body, version FROM method_change WHERE state IN ('proposed', 'scheduled', 'canary') \
             ORDER BY asked_at, id",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the changes of methods that are open"))
        .map_err(down)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(down)
    }

    async fn step(&self, step: ChangeStep) -> Result<Stepped, StoreDown> {
        let (audit, now) = (self.audit.clone(), self.tenant.now());
        let taken = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let ChangeStep { change, new, domain, rollout, cut, alerts, event } = step;
                    write_change(conn, &change, new).await?;
                    let mut claimed = false;
                    if let Some((version, edit)) = domain {
                        change_in(conn, &change.domain, version, edit.into(), now).await?;
                        claimed = true;
                    }
                    if let Some((version, edit)) = rollout {
                        if !claimed {
                            let claim = claim(conn, &change.domain, version).await?;
                            if let Some(text) = claim.refusal(&change.domain) {
                                return Err(match claim {
                                    Claim::Outdated => NotTaken::Outdated,
                                    Claim::Held | Claim::NotVerified => NotTaken::Refused(text),
                                });
                            }
                        }
                        match edit {
                            RolloutEdit::Put(rollout) => write(conn, &rollout).await?,
                            RolloutEdit::Remove(id) => super::rollouts::delete(conn, id).await?,
                        }
                    }
                    // Records come last: sign-ins write theirs, too, after the rows that they lock.
                    let (mut events, mut ended) = (vec![event], CutOff::default());
                    if let Some((kept, event)) = cut {
                        ended = cut_in(conn, &change.domain, kept, now).await?;
                        events.push(told(event, ended));
                    }
                    events.extend(edit_in(conn, alerts, change.domain.as_str(), now).await?);
                    for event in events {
                        audit.append(conn, event).await?;
                    }
                    Ok(ended)
                })
            })
            .await;
        match taken {
            Ok(cut) => Ok(Stepped::Done(cut)),
            Err(NotTaken::Left) => Ok(Stepped::Left),
            Err(NotTaken::Outdated) => Ok(Stepped::Outdated),
            Err(NotTaken::Refused(text)) => Ok(Stepped::Refused(text)),
            Err(NotTaken::Store(error)) => Err(down(error)),
        }
    }
}

async fn write_change(conn: &mut Connection, change: &MethodChange, new: bool) -> Result<(), NotTaken> {
    let body = serde_json::to_string(change).map_err(|e| unreadable(TABLE, "body", e))?;
    let query = if new {
        sqlx::query(
            "INSERT INTO method_change (id, domain, state, body, asked_at, version) \
             SELECT $1, $2, $3, $4, $5, $6 + 1 WHERE NOT EXISTS (SELECT 1 FROM method_change o \
             WHERE o.domain = $2 AND o.state IN ('proposed', 'scheduled', 'canary'))",
        )
    } else {
        sqlx::query(
            "UPDATE method_change SET state = $3, body = $4, version = $6 + 1 \
             WHERE id = $1 AND domain = $2 AND asked_at = $5 AND version = $6",
        )
    };
    let done = query
        .bind(change.id.to_string())
        .bind(change.domain.to_string())
        .bind(change.state.word())
        .bind(body)
        .bind(change.asked_at.millis())
        .bind(change.version)
        .execute(conn)
        .await
        .map_err(StoreError::doing("writing a change of method"));
    let under_way = || {
        NotTaken::Refused(format!(
            "another change of {} is under way: see domain changes, cancel it or roll it back first",
            change.domain
        ))
    };
    match done {
        // Another node's change, begun at the same time.
        Err(error) if error.is_duplicate() => Err(under_way()),
        Err(error) => Err(error.into()),
        Ok(done) if done.rows_affected() > 0 => Ok(()),
        Ok(_) if new => Err(under_way()),
        Ok(_) => Err(NotTaken::Left),
    }
}

fn read(row: &AnyRow) -> Result<MethodChange, StoreError> {
    let body: String = row.get("body");
    let change: MethodChange = serde_json::from_str(&body).map_err(|e| unreadable(TABLE, "body", e))?;
    Ok(MethodChange { version: row.get("version"), ..change })
}
