//! What failover depends on, user by user, as a drill reads it.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{SignInTenant, down, unreadable};
use crate::identity::{ConnectorName, DomainName, Refusal, Timestamp, UserId};
use crate::signin::coverage::{BackupCoverage, Coverage};
use crate::signin::directory::{AccountRefusal, DirectoryState};
use crate::signin::failover::HashStanding;
use crate::signin::store::{Rollouts as _, StoreDown};
use crate::store::StoreError;

#[async_trait]
impl BackupCoverage for SignInTenant {
    async fn coverage(
        &self,
        domain: &DomainName,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Coverage>, StoreDown> {
        let rows = sqlx::query(
            "SELECT u.oid, u.upn, cs.connector, cs.eligible, cd.connector AS registered, td.is_initial, c.stage, \
             c.outdated_at, c.confirmed_at, ds.state, ds.observed_at, p.completed_at, \
             (SELECT r.reason FROM account_refusal r WHERE r.connector = cs.connector AND r.anchor = cs.anchor \
              ORDER BY r.at DESC, r.reason LIMIT 1) AS refusal, \
             (SELECT CAST(MAX(r.at) AS BIGINT) FROM account_refusal r WHERE r.connector = cs.connector \
              AND r.anchor = cs.anchor) AS refusal_at FROM tenant_user u \
             LEFT JOIN tenant_domain td ON td.name = u.domain \
             LEFT JOIN credential_source cs ON cs.oid = u.oid \
             LEFT JOIN connector_domain cd ON cd.connector = cs.connector AND cd.domain = u.domain \
             LEFT JOIN credential c ON c.connector = cs.connector AND c.anchor = cs.anchor \
             LEFT JOIN directory_state ds ON ds.connector = cs.connector AND ds.anchor = cs.anchor \
             LEFT JOIN connector_pass p ON p.connector = cs.connector \
             WHERE u.domain = $1 AND u.oid > $2 AND u.deleted_at IS NULL AND u.account_enabled = 1 \
             ORDER BY u.oid LIMIT $3",
        )
        .bind(domain.as_str().to_owned())
        .bind(after.map(|oid| oid.to_string()).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading what failover depends on"))
        .map_err(down)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(down)
    }

    async fn barred(&self) -> Result<HashSet<UserId>, StoreDown> {
        let rows =
            sqlx::query("SELECT oid, sid, source_anchor, display_name FROM tenant_group WHERE deleted_at IS NULL")
                .fetch_all(self.db.read())
                .await
                .map_err(StoreError::doing("reading the groups that failover is closed to"))
                .map_err(down)?;
        let mut barred = HashSet::new();
        for row in rows {
            let text = |column: &str| row.get::<Option<String>, _>(column);
            if self.bars(text("sid").as_deref(), text("source_anchor").as_deref(), text("display_name").as_deref()) {
                let oid: String = row.get("oid");
                let group = oid.parse().map_err(|e| down(unreadable("tenant_group", "oid", e)))?;
                barred.extend(self.members(group).await?);
            }
        }
        Ok(barred)
    }
}

fn read(row: &AnyRow) -> Result<Coverage, StoreError> {
    let text = |column: &str| row.get::<Option<String>, _>(column);
    let time = |column: &str| row.get::<Option<i64>, _>(column).map(Timestamp::from_millis);
    let registered = row.get::<Option<i64>, _>("is_initial") == Some(1) || text("registered").is_some();
    let connector: Option<ConnectorName> = text("connector")
        .filter(|_| registered)
        .map(|name| name.parse().map_err(|e| unreadable("credential_source", "connector", e)))
        .transpose()?;
    let eligible = row.get::<Option<i64>, _>("eligible") == Some(1);
    let state = match (text("state"), time("observed_at")) {
        (Some(state), Some(observed_at)) => Some(DirectoryState {
            state: serde_json::from_str(&state).map_err(|e| unreadable("directory_state", "state", e))?,
            observed_at,
        }),
        _ => None,
    };
    Ok(Coverage {
        oid: row.get::<String, _>("oid").parse().map_err(|e| unreadable("tenant_user", "oid", e))?,
        upn: row.get::<String, _>("upn").parse().map_err(|e| unreadable("tenant_user", "upn", e))?,
        connector,
        hash: match text("stage").as_deref() {
            Some("sealed" | "wrapped") if eligible && time("outdated_at").is_some() => HashStanding::Outdated,
            Some("sealed" | "wrapped") if eligible => HashStanding::Usable,
            _ => HashStanding::Missing,
        },
        confirmed_at: time("confirmed_at"),
        state,
        refusal: text("refusal")
            .zip(time("refusal_at"))
            .map(|(reason, at)| AccountRefusal { refusal: Refusal::from_code(&reason), at }),
        last_pass: time("completed_at"),
    })
}
