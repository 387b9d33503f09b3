//! What failover depends on, user by user, as a drill reads it.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::domain_users::{UsersOf, connector};
use super::{SignInTenant, down, unreadable};
use crate::identity::{DomainName, Refusal, Timestamp, UserId};
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
        let columns = "c.confirmed_at, ds.state, \
             (SELECT r.reason FROM account_refusal r WHERE r.connector = cs.connector AND r.anchor = cs.anchor \
              ORDER BY r.at DESC, r.reason LIMIT 1) AS refusal, \
             (SELECT CAST(MAX(r.at) AS BIGINT) FROM account_refusal r WHERE r.connector = cs.connector \
              AND r.anchor = cs.anchor) AS refusal_at";
        UsersOf { domain, after, limit }.read(&self.db, columns, "reading what failover depends on", read).await
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
        connector: connector(row)?,
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
