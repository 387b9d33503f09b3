//! The users of a domain and where their passwords are, in pages.

use async_trait::async_trait;
use sqlx::Row;

use super::{SignInTables, down, unreadable};
use crate::identity::{ConnectorName, DomainName, Timestamp, UserId};
use crate::signin::readiness::{CredentialReadiness, StoredHash, UserReadiness};
use crate::signin::store::StoreDown;
use crate::store::StoreError;

#[async_trait]
impl CredentialReadiness for SignInTables {
    async fn users(
        &self,
        domain: &DomainName,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<UserReadiness>, StoreDown> {
        let rows = sqlx::query(
            "SELECT u.oid, u.upn, u.source_anchor, cs.connector, cs.eligible, cd.connector AS registered, td.is_initial, c.stage, \
             c.outdated_at, ds.observed_at, p.completed_at FROM tenant_user u \
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
        .map_err(StoreError::doing("reading the users of a domain"))
        .map_err(down)?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(down)
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<UserReadiness, StoreError> {
    let (oid, upn): (String, String) = (row.get("oid"), row.get("upn"));
    let known = |column: &str| row.get::<Option<String>, _>(column);
    let registered = row.get::<Option<i64>, _>("is_initial") == Some(1) || known("registered").is_some();
    let connector: Option<ConnectorName> = known("connector")
        .filter(|_| registered)
        .map(|name| name.parse().map_err(|e| unreadable("credential_source", "connector", e)))
        .transpose()?;
    let outdated = row.get::<Option<i64>, _>("outdated_at").is_some();
    Ok(UserReadiness {
        oid: oid.parse().map_err(|e| unreadable("tenant_user", "oid", e))?,
        upn: upn.parse().map_err(|e| unreadable("tenant_user", "upn", e))?,
        has_source_anchor: known("source_anchor").is_some(),
        connector,
        hash: match known("stage").as_deref() {
            // The rules took the account out of password synchronisation: its hash is asked no more.
            _ if row.get::<Option<i64>, _>("eligible") == Some(0) => StoredHash::None,
            Some("sealed" | "wrapped") if outdated => StoredHash::Outdated,
            Some("sealed" | "wrapped") => StoredHash::Usable,
            Some("quarantined") => StoredHash::Quarantined,
            _ => StoredHash::None,
        },
        state_known: row.get::<Option<i64>, _>("observed_at").is_some(),
        last_pass: row.get::<Option<i64>, _>("completed_at").map(Timestamp::from_millis),
    })
}
