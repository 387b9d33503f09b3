//! What operators see of the channel, read from its tables.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::Credentials;
use crate::identity::{SourceAnchor, Timestamp};
use crate::password_sync::overview::{AccountProblem, ChannelOverview, ConnectorOverview, LeakedUser};
use crate::password_sync::store::CredentialStoreError;
use crate::store::StoreError;

#[async_trait]
impl ChannelOverview for Credentials {
    async fn connectors(&self) -> Result<Vec<ConnectorOverview>, CredentialStoreError> {
        let doing = || StoreError::doing("reading the password channel's state");
        let counts = sqlx::query(
            "SELECT connector, stage, CAST(COUNT(*) AS BIGINT) AS number FROM credential GROUP BY connector, stage",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(doing())?;
        let mut stages: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for row in counts {
            stages.entry(row.get("connector")).or_default().insert(row.get("stage"), row.get("number"));
        }
        let rows = sqlx::query(
            "SELECT connector, started_at, completed_at, error, leaked_error FROM connector_pass ORDER BY connector",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(doing())?;
        let read = |row: &AnyRow| {
            let connector: String = row.get("connector");
            Ok(ConnectorOverview {
                credentials: stages.get(&connector).cloned().unwrap_or_default(),
                last_started: Timestamp::from_millis(row.get("started_at")),
                last_completed: row.get::<Option<i64>, _>("completed_at").map(Timestamp::from_millis),
                error: row.get("error"),
                leaked_error: row.get("leaked_error"),
                connector: parse("connector_pass", "connector", &connector)?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn problems(&self, limit: u32) -> Result<Vec<AccountProblem>, CredentialStoreError> {
        let rows = sqlx::query(
            "SELECT r.connector AS connector, r.anchor AS anchor, r.result AS result, r.detail AS detail, r.at AS at, \
             u.oid AS oid, u.upn AS upn FROM credential_result r \
             JOIN credential_source s ON s.connector = r.connector AND s.anchor = r.anchor \
             JOIN tenant_user u ON u.oid = s.oid WHERE r.result <> 'success' ORDER BY r.connector, u.upn_folded LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the password channel's problems"))?;
        let read = |row: &AnyRow| {
            Ok(AccountProblem {
                connector: parse("credential_result", "connector", row.get("connector"))?,
                anchor: SourceAnchor::from_stored(row.get("anchor")),
                oid: parse("tenant_user", "oid", row.get("oid"))?,
                upn: row.get("upn"),
                result: row.get("result"),
                detail: row.get("detail"),
                at: Timestamp::from_millis(row.get("at")),
            })
        };
        rows.iter().map(read).collect()
    }

    async fn leaked(&self, limit: u32) -> Result<Vec<LeakedUser>, CredentialStoreError> {
        let rows = sqlx::query(
            "SELECT c.connector AS connector, c.leaked_at AS leaked_at, c.leaked_class AS leaked_class, u.oid AS oid, \
             u.upn AS upn FROM credential c JOIN credential_source s ON s.connector = c.connector AND s.anchor = c.anchor \
             JOIN tenant_user u ON u.oid = s.oid WHERE c.leaked_at IS NOT NULL ORDER BY c.leaked_at DESC, u.upn_folded LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("listing leaked passwords"))?;
        let read = |row: &AnyRow| {
            Ok(LeakedUser {
                connector: parse("credential", "connector", row.get("connector"))?,
                oid: parse("tenant_user", "oid", row.get("oid"))?,
                upn: row.get("upn"),
                found_at: Timestamp::from_millis(row.get("leaked_at")),
                met: row.get("leaked_class"),
            })
        };
        rows.iter().map(read).collect()
    }
}

fn parse<T>(table: &'static str, column: &'static str, text: &str) -> Result<T, CredentialStoreError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    Ok(text.parse().map_err(|error: T::Err| StoreError::Unreadable { table, column, reason: error.to_string() })?)
}
