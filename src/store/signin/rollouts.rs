//! Staged rollouts, and who is in their groups.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{SignInTenant, down, unreadable};
use crate::audit::Event;
use crate::identity::{DomainName, GroupId, RolloutId, Timestamp, UserId};
use crate::signin::rollout::{Lot, Rollout, Scope};
use crate::signin::store::{NamedGroup, RolloutChanged, Rollouts, StoreDown};
use crate::store::tenant::bump_settings;
use crate::store::{Connection, StoreError, Urgency};

const TABLE: &str = "method_rollout";

impl SignInTenant {
    pub(super) async fn read_rollouts(&self) -> Result<Vec<Rollout>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, domain, group_oid, precedence, drawn, percent, method, partner, added_by, added_at \
             FROM method_rollout ORDER BY domain, CASE WHEN group_oid IS NULL THEN 1 ELSE 0 END, precedence",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the rollouts"))?;
        rows.iter().map(read).collect()
    }
}

#[async_trait]
impl Rollouts for SignInTenant {
    async fn rollouts(&self) -> Result<Vec<Rollout>, StoreDown> {
        self.read_rollouts().await.map_err(down)
    }

    async fn put(&self, rollout: Rollout, version: i64, event: Event) -> Result<RolloutChanged, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    if let Some(text) = claim(conn, &rollout.domain, version).await?.refusal(&rollout.domain) {
                        return Ok(RolloutChanged::Refused(text));
                    }
                    write(conn, &rollout).await?;
                    audit.append(conn, event).await?;
                    Ok(RolloutChanged::Done)
                })
            })
            .await
            .map_err(down)
    }

    async fn remove(&self, rollout: Rollout, version: i64, event: Event) -> Result<RolloutChanged, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    if let Some(text) = claim(conn, &rollout.domain, version).await?.refusal(&rollout.domain) {
                        return Ok(RolloutChanged::Refused(text));
                    }
                    delete(conn, rollout.id).await?;
                    audit.append(conn, event).await?;
                    Ok(RolloutChanged::Done)
                })
            })
            .await
            .map_err(down)
    }

    async fn groups(&self, asked: &str) -> Result<Vec<NamedGroup>, StoreDown> {
        let rows = sqlx::query(
            "SELECT oid, display_name FROM tenant_group \
             WHERE (oid = $1 OR display_name = $2) AND deleted_at IS NULL ORDER BY oid",
        )
        .bind(asked.to_lowercase())
        .bind(asked.to_owned())
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("looking for a group"))
        .map_err(down)?;
        rows.iter().map(named).collect::<Result<_, _>>().map_err(down)
    }

    async fn names_of(&self, groups: Vec<GroupId>) -> Result<Vec<NamedGroup>, StoreDown> {
        let mut found = Vec::with_capacity(groups.len());
        for group in groups {
            found.extend(self.groups(&group.to_string()).await?.into_iter().filter(|named| named.oid == group));
        }
        Ok(found)
    }

    async fn members(&self, group: GroupId) -> Result<HashSet<UserId>, StoreDown> {
        let rows = sqlx::query(
            "WITH RECURSIVE inside (oid) AS ( \
               SELECT g.oid FROM tenant_group g WHERE g.oid = $1 AND g.deleted_at IS NULL \
               UNION \
               SELECT m.member_oid FROM inside i JOIN membership m ON m.group_oid = i.oid AND m.member_kind = 'group' \
               JOIN tenant_group g ON g.oid = m.member_oid WHERE g.deleted_at IS NULL \
             ) \
             SELECT m.member_oid FROM inside i JOIN membership m ON m.group_oid = i.oid AND m.member_kind = 'user'",
        )
        .bind(group.to_string())
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the members of a group"))
        .map_err(down)?;
        let oid = |row: &AnyRow| row.get::<String, _>("member_oid").parse();
        rows.iter().map(oid).collect::<Result<_, _>>().map_err(|e| down(unreadable("membership", "member_oid", e)))
    }
}

/// What came of locking a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Held,
    /// It has another version by now.
    Outdated,
    NotVerified,
}

impl Claim {
    pub fn refusal(self, domain: &DomainName) -> Option<String> {
        match self {
            Self::Held => None,
            Self::Outdated => Some(format!("{domain} was changed in the meantime: look at it and ask again")),
            Self::NotVerified => Some(format!("{domain} is not verified")),
        }
    }
}

/// Locks a domain that still has `version`, and makes it a later one: what was decided on the former is decided anew.
pub(super) async fn claim(conn: &mut Connection, domain: &DomainName, version: i64) -> Result<Claim, StoreError> {
    let done = sqlx::query(
        "UPDATE tenant_domain SET version = version + 1 WHERE name = $1 AND version = $2 AND verification <> 'pending'",
    )
    .bind(domain.as_str())
    .bind(version)
    .execute(&mut *conn)
    .await
    .map_err(StoreError::doing("changing the rollouts of a domain"))?;
    if done.rows_affected() == 0 {
        let verified = sqlx::query("SELECT name FROM tenant_domain WHERE name = $1 AND verification <> 'pending'")
            .bind(domain.as_str())
            .fetch_optional(&mut *conn)
            .await
            .map_err(StoreError::doing("reading a domain"))?
            .is_some();
        return Ok(if verified { Claim::Outdated } else { Claim::NotVerified });
    }
    bump_settings(conn).await?;
    Ok(Claim::Held)
}

pub(super) async fn delete(conn: &mut Connection, id: RolloutId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM method_rollout WHERE id = $1")
        .bind(id.to_string())
        .execute(conn)
        .await
        .map_err(StoreError::doing("removing a rollout"))?;
    Ok(())
}

pub(super) async fn write(conn: &mut Connection, rollout: &Rollout) -> Result<(), StoreError> {
    let (scope, group, precedence, drawn, percent) = match rollout.scope {
        Scope::Group { group, precedence, drawn } => {
            let oid = group.to_string();
            (format!("group:{oid}"), Some(oid), Some(i64::from(precedence)), Some(i64::from(drawn.number())), None)
        }
        Scope::Share { percent } => ("share".to_owned(), None, None, None, Some(i64::from(percent.get()))),
    };
    sqlx::query(
        "INSERT INTO method_rollout \
         (id, domain, scope, group_oid, precedence, drawn, percent, method, partner, added_by, added_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO UPDATE SET \
         precedence = excluded.precedence, drawn = excluded.drawn, percent = excluded.percent, \
         added_by = excluded.added_by, added_at = excluded.added_at",
    )
    .bind(rollout.id.to_string())
    .bind(rollout.domain.as_str())
    .bind(scope)
    .bind(group)
    .bind(precedence)
    .bind(drawn)
    .bind(percent)
    .bind(rollout.method.as_str())
    .bind(rollout.partner.as_ref().map(ToString::to_string))
    .bind(rollout.by.clone())
    .bind(rollout.at.millis())
    .execute(conn)
    .await
    .map_err(StoreError::doing("writing a rollout"))?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Rollout, StoreError> {
    let text = |column: &str| row.get::<Option<String>, _>(column);
    let number = |column: &'static str| {
        let value = row.get::<Option<i64>, _>(column).ok_or_else(|| unreadable(TABLE, column, "NULL"))?;
        u32::try_from(value).map_err(|e| unreadable(TABLE, column, e))
    };
    let scope = match text("group_oid") {
        Some(group) => Scope::Group {
            group: group.parse().map_err(|e| unreadable(TABLE, "group_oid", e))?,
            precedence: number("precedence")?,
            drawn: Lot::share(u64::from(number("drawn")?), 10_000),
        },
        None => {
            let percent = u8::try_from(number("percent")?).map_err(|e| unreadable(TABLE, "percent", e))?;
            Scope::Share { percent: percent.try_into().map_err(|e| unreadable(TABLE, "percent", e))? }
        }
    };
    Ok(Rollout {
        id: row.get::<String, _>("id").parse().map_err(|e| unreadable(TABLE, "id", e))?,
        domain: row.get::<String, _>("domain").parse().map_err(|e| unreadable(TABLE, "domain", e))?,
        scope,
        method: row.get::<String, _>("method").parse().map_err(|e| unreadable(TABLE, "method", e))?,
        partner: text("partner")
            .map(|partner| partner.parse())
            .transpose()
            .map_err(|e| unreadable(TABLE, "partner", e))?,
        by: row.get("added_by"),
        at: Timestamp::from_millis(row.get("added_at")),
    })
}

fn named(row: &AnyRow) -> Result<NamedGroup, StoreError> {
    let oid: String = row.get("oid");
    Ok(NamedGroup {
        oid: oid.parse().map_err(|e| unreadable("tenant_group", "oid", e))?,
        name: row.get("display_name"),
    })
}
