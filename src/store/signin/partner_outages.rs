//! What nodes have found out about federation partners, and the outages that are confirmed.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{SignInTables, down, unreadable};
use crate::audit::Event;
use crate::identity::{DomainName, EntityId, NodeId, Timestamp};
use crate::signin::partner_outage::{NodeView, PartnerOutage, PartnerOutages};
use crate::signin::store::StoreDown;
use crate::store::tenant::bump_settings;
use crate::store::{StoreError, Urgency};

#[async_trait]
impl PartnerOutages for SignInTables {
    fn node(&self) -> NodeId {
        self.audit.node().clone()
    }

    async fn views(&self, partner: &EntityId) -> Result<Vec<NodeView>, StoreDown> {
        let rows = sqlx::query(
            "SELECT node, seen_at, found, detail, failing_since, failures, good, last_good FROM partner_view \
             WHERE partner = $1 ORDER BY node",
        )
        .bind(partner.to_string())
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading what nodes know of a partner"))
        .map_err(down)?;
        rows.iter().map(read_view).collect::<Result<_, _>>().map_err(down)
    }

    async fn note(&self, partner: &EntityId, view: NodeView) -> Result<(), StoreDown> {
        let partner = partner.to_string();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO partner_view \
                         (partner, node, seen_at, found, detail, failing_since, good, last_good, failures) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (partner, node) DO UPDATE SET \
                         seen_at = excluded.seen_at, found = excluded.found, detail = excluded.detail, \
                         failing_since = excluded.failing_since, good = excluded.good, \
                         last_good = excluded.last_good, failures = excluded.failures",
                    )
                    .bind(partner)
                    .bind(view.node.to_string())
                    .bind(view.at.millis())
                    .bind(view.found.as_str())
                    .bind(view.detail)
                    .bind(view.failing_since.map(Timestamp::millis))
                    .bind(i64::from(view.good))
                    .bind(view.last_good.map(Timestamp::millis))
                    .bind(i64::from(view.failures))
                    .execute(conn)
                    .await
                    .map_err(StoreError::doing("noting a synthetic sign-in"))?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .map_err(down)
    }

    async fn outages(&self) -> Result<Vec<PartnerOutage>, StoreDown> {
        read_outages(self.db.read()).await.map_err(down)
    }

    async fn begin(&self, outage: PartnerOutage, event: Event) -> Result<bool, StoreDown> {
        let audit = self.audit.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO partner_outage (domain, partner, since, holds_until) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (domain) DO NOTHING",
                    )
                    .bind(outage.domain.to_string())
                    .bind(outage.partner.to_string())
                    .bind(outage.since.millis())
                    .bind(outage.holds_until.millis())
                    .execute(&mut *conn)
                    .await
                    .map_err(StoreError::doing("confirming an outage of a partner"))?;
                    if done.rows_affected() == 0 {
                        return Ok(false);
                    }
                    bump_settings(conn).await?;
                    audit.append(conn, event).await?;
                    Ok(true)
                })
            })
            .await
            .map_err(down)
    }

    async fn renew(&self, domain: &DomainName, holds_until: Timestamp) -> Result<(), StoreDown> {
        let domain = domain.to_string();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    sqlx::query("UPDATE partner_outage SET holds_until = $2 WHERE domain = $1 AND holds_until < $2")
                        .bind(domain)
                        .bind(holds_until.millis())
                        .execute(conn)
                        .await
                        .map_err(StoreError::doing("renewing an outage of a partner"))?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .map_err(down)
    }

    async fn end(&self, domain: &DomainName, event: Event) -> Result<bool, StoreDown> {
        let (audit, domain) = (self.audit.clone(), domain.to_string());
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM partner_outage WHERE domain = $1")
                        .bind(domain)
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("ending an outage of a partner"))?;
                    if done.rows_affected() == 0 {
                        return Ok(false);
                    }
                    bump_settings(conn).await?;
                    audit.append(conn, event).await?;
                    Ok(true)
                })
            })
            .await
            .map_err(down)
    }

    async fn forget(&self, before: Timestamp) -> Result<(), StoreDown> {
        self.db
            .write(Urgency::Bulk, move |conn| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM partner_view WHERE seen_at < $1")
                        .bind(before.millis())
                        .execute(conn)
                        .await
                        .map_err(StoreError::doing("forgetting what nodes knew of partners"))?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .map_err(down)
    }
}

pub(super) async fn read_outages<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
) -> Result<Vec<PartnerOutage>, StoreError> {
    const TABLE: &str = "partner_outage";
    let rows = sqlx::query("SELECT domain, partner, since, holds_until FROM partner_outage ORDER BY domain")
        .fetch_all(from)
        .await
        .map_err(StoreError::doing("reading the outages of partners"))?;
    let read = |row: &AnyRow| {
        Ok(PartnerOutage {
            domain: row.get::<String, _>("domain").parse().map_err(|e| unreadable(TABLE, "domain", e))?,
            partner: row.get::<String, _>("partner").parse().map_err(|e| unreadable(TABLE, "partner", e))?,
            since: Timestamp::from_millis(row.get("since")),
            holds_until: Timestamp::from_millis(row.get("holds_until")),
        })
    };
    rows.iter().map(read).collect()
}

fn read_view(row: &AnyRow) -> Result<NodeView, StoreError> {
    const TABLE: &str = "partner_view";
    let time = |column: &str| row.get::<Option<i64>, _>(column).map(Timestamp::from_millis);
    Ok(NodeView {
        node: row.get::<String, _>("node").parse().map_err(|e| unreadable(TABLE, "node", e))?,
        at: Timestamp::from_millis(row.get("seen_at")),
        found: row.get::<String, _>("found").parse().map_err(|e| unreadable(TABLE, "found", e))?,
        detail: row.get("detail"),
        failing_since: time("failing_since"),
        failures: u32::try_from(row.get::<i64, _>("failures")).map_err(|e| unreadable(TABLE, "failures", e))?,
        good: u32::try_from(row.get::<i64, _>("good")).map_err(|e| unreadable(TABLE, "good", e))?,
        last_good: time("last_good"),
    })
}
