//! What failover is for groups of a domain.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::rollouts::claim;
use super::{SignInTenant, down, unreadable};
use crate::audit::Event;
use crate::identity::{DomainName, GroupId, Timestamp};
use crate::signin::failover_groups::{FailoverGroup, FailoverGroups};
use crate::signin::store::StoreDown;
use crate::store::{Connection, StoreError, Urgency};

const TABLE: &str = "failover_group";

impl SignInTenant {
    pub(super) async fn read_failover_groups(&self) -> Result<Vec<FailoverGroup>, StoreError> {
        let rows = sqlx::query(
            "SELECT domain, group_oid, failover, added_by, added_at FROM failover_group ORDER BY domain, group_oid",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading what failover is for groups"))?;
        rows.iter().map(read).collect()
    }
}

#[async_trait]
impl FailoverGroups for SignInTenant {
    async fn failover_groups(&self) -> Result<Vec<FailoverGroup>, StoreDown> {
        self.read_failover_groups().await.map_err(down)
    }

    async fn put(&self, policy: FailoverGroup, version: i64, event: Event) -> Result<Result<bool, String>, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let was = present(conn, &policy.domain, policy.group).await?;
                    if was.as_deref() == Some(policy.failover.as_str()) {
                        return Ok(Ok(false));
                    }
                    if let Some(text) = claim(conn, &policy.domain, version).await?.refusal(&policy.domain) {
                        return Ok(Err(text));
                    }
                    sqlx::query(
                        "INSERT INTO failover_group (domain, group_oid, failover, added_by, added_at) \
                         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (domain, group_oid) DO UPDATE SET \
                         failover = excluded.failover, added_by = excluded.added_by, added_at = excluded.added_at",
                    )
                    .bind(policy.domain.to_string())
                    .bind(policy.group.to_string())
                    .bind(policy.failover.as_str())
                    .bind(policy.by)
                    .bind(policy.at.millis())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("writing what failover is for a group"))?;
                    audit.append(conn, event.with("was", was.unwrap_or_else(as_domain))).await?;
                    Ok(Ok(true))
                })
            })
            .await
            .map_err(down)
    }

    async fn remove(
        &self,
        domain: DomainName,
        group: GroupId,
        version: i64,
        event: Event,
    ) -> Result<Result<bool, String>, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let Some(was) = present(conn, &domain, group).await? else { return Ok(Ok(false)) };
                    if let Some(text) = claim(conn, &domain, version).await?.refusal(&domain) {
                        return Ok(Err(text));
                    }
                    sqlx::query("DELETE FROM failover_group WHERE domain = $1 AND group_oid = $2")
                        .bind(domain.to_string())
                        .bind(group.to_string())
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("removing what failover is for a group"))?;
                    audit.append(conn, event.with("was", was)).await?;
                    Ok(Ok(true))
                })
            })
            .await
            .map_err(down)
    }
}

fn as_domain() -> String {
    "as-domain".to_owned()
}

/// What failover is for the group; `None`: as for the domain. Whoever changes it changes the domain's version with it.
async fn present(conn: &mut Connection, domain: &DomainName, group: GroupId) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT failover FROM failover_group WHERE domain = $1 AND group_oid = $2")
        .bind(domain.to_string())
        .bind(group.to_string())
        .fetch_optional(conn)
        .await
        .map_err(StoreError::doing("reading what failover is for a group"))?;
    Ok(row.map(|row| row.get("failover")))
}

fn read(row: &AnyRow) -> Result<FailoverGroup, StoreError> {
    let text = |column: &str| row.get::<String, _>(column);
    Ok(FailoverGroup {
        domain: text("domain").parse().map_err(|e| unreadable(TABLE, "domain", e))?,
        group: text("group_oid").parse().map_err(|e| unreadable(TABLE, "group_oid", e))?,
        failover: text("failover").parse().map_err(|e| unreadable(TABLE, "failover", e))?,
        by: text("added_by"),
        at: Timestamp::from_millis(row.get("added_at")),
    })
}
